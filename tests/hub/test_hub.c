/* Names, addresses, lists and the cache, without a network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/http.h"
#include "hub/listing.h"
#include "hub/name.h"
#include "hub/site.h"

#define SHA256_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA1_B   "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void known_names_and_repository_ids_are_understood(void **state) {
    (void)state;
    hub_name name;
    assert_int_equal(hub_name_parse(&name, "qwen3-0.6b", NULL), QAIO_OK);
    assert_string_equal(name.repo, "Qwen/Qwen3-0.6B");
    assert_string_equal(name.file, "");
    assert_int_equal(hub_name_parse(&name, "owner/na.me_1:sub/x.gguf", NULL), QAIO_OK);
    assert_string_equal(name.repo, "owner/na.me_1");
    assert_string_equal(name.file, "sub/x.gguf");
    size_t n;
    const hub_known *known = hub_known_models(&n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(hub_name_parse(&name, known[i].name, NULL), QAIO_OK);
        char *shown = hub_name_display(&name);
        assert_string_equal(shown, known[i].name);
        mem_free(shown);
        str explicit = {0};
        str_printf(&explicit, "%s%s%s", known[i].repo, known[i].file ? ":" : "", known[i].file ? known[i].file : "");
        assert_int_equal(hub_name_parse(&name, explicit.data, NULL), QAIO_OK);
        str_deinit(&explicit);
    }
}

static void names_that_could_leave_the_cache_are_refused(void **state) {
    (void)state;
    static const char *const BAD[] = {"",
                                      "x",
                                      "/x",
                                      "x/",
                                      "a/b/c",
                                      "../b",
                                      "a/..",
                                      "a/b--c",
                                      "a--b/c",
                                      "a/-b",
                                      "a/b.",
                                      "a b/c",
                                      "a/b:",
                                      "a/b:../x.gguf",
                                      "a/b:/x.gguf",
                                      "a/b:x.safetensors",
                                      "a/b:x\\y.gguf",
                                      "a/b:c:\n.gguf"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        hub_name name;
        if (hub_name_parse(&name, BAD[i], NULL) == QAIO_OK) fail_msg("accepted: %s", BAD[i]);
    }
    char *longest = mem_alloc(200);
    memset(longest, 'a', 199);
    longest[199] = '\0';
    longest[5] = '/';
    hub_name name;
    assert_int_equal(hub_name_parse(&name, longest, NULL), QAIO_ERR_NOT_FOUND);
    mem_free(longest);
}

static void a_mistyped_name_gets_a_suggestion(void **state) {
    (void)state;
    hub_name name;
    qaio_error err;
    assert_int_equal(hub_name_parse(&name, "qwen2.5-0.5b-instrct", &err), QAIO_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "did you mean qwen2.5-0.5b-instruct?"));
    assert_int_equal(hub_name_parse(&name, "zzzzzzzz", &err), QAIO_ERR_NOT_FOUND);
    assert_null(strstr(err.message, "did you mean"));
}

static void unsafe_paths_are_told_from_safe_ones(void **state) {
    (void)state;
    static const char *const SAFE[] = {"a", "a/b.gguf", "..a", "a..", "模型.gguf", ".gitattributes"};
    static const char *const UNSAFE[] = {"",    "/a",   "a/",   "a//b",  ".",    "..",     "a/../b",  "a/..",
                                         "./a", "a\\b", "a\nb", "a\x7f", "\xff", "a.part", "\xc2\x85"};
    for (size_t i = 0; i < sizeof SAFE / sizeof SAFE[0]; i++) assert_true(hub_path_is_safe(SAFE[i]));
    for (size_t i = 0; i < sizeof UNSAFE / sizeof UNSAFE[0]; i++) assert_false(hub_path_is_safe(UNSAFE[i]));
}

static void addresses_are_encoded(void **state) {
    (void)state;
    static const struct {
        hub_source source;
        const char *list, *file;
    } CASES[] = {
        {HUB_HUGGINGFACE, "https://h/api/models/o/r/tree/a%2Fb?recursive=true", "https://h/o/r/resolve/a%2Fb/d/x%20%3F%25.gguf"},
        {HUB_MODELSCOPE, "https://h/api/v1/models/o/r/repo/files?Revision=a%2Fb&Recursive=true",
         "https://h/api/v1/models/o/r/repo?Revision=a%2Fb&FilePath=d%2Fx%20%3F%25.gguf"},
    };
    for (size_t i = 0; i < 2; i++) {
        str url = {0};
        site_list_url(&url, CASES[i].source, "https://h", "o/r", "a/b");
        assert_string_equal(url.data, CASES[i].list);
        str_clear(&url);
        site_file_url(&url, CASES[i].source, "https://h", "o/r", "a/b", "d/x ?%.gguf");
        assert_string_equal(url.data, CASES[i].file);
        str_deinit(&url);
    }
}

static void the_token_goes_to_the_endpoint_only(void **state) {
    (void)state;
    assert_true(http_may_send_token("https://hub.co", "https://hub.co/x"));
    assert_true(http_may_send_token("https://hub.co/mirror", "https://HUB.co:443/x"));
    assert_false(http_may_send_token("https://hub.co", "http://hub.co/x"));
    assert_false(http_may_send_token("https://hub.co", "https://hub.co:8443/x"));
    assert_false(http_may_send_token("https://hub.co", "https://cdn.hub.co/x"));
    assert_false(http_may_send_token("https://hub.co", "https://hub.co@evil.example/x"));
    assert_false(http_may_send_token("https://hub.co", "https://hub.co.evil.example/x"));
}

static void https_is_never_left(void **state) {
    (void)state;
    assert_true(http_may_visit("https://hub.co", "https://other.example/x"));
    assert_false(http_may_visit("https://hub.co", "http://hub.co/x"));
    assert_true(http_may_visit("http://127.0.0.1:8", "http://127.0.0.1:9/x"));
    assert_false(http_may_visit("http://127.0.0.1:8", "file:///etc/passwd"));
    assert_false(http_may_visit("http://127.0.0.1:8", "ftp://127.0.0.1/x"));
}

static void bad_endpoints_and_tokens_are_refused(void **state) {
    (void)state;
    static const char *const BAD[] = {"", "hub co", "ftp://hub.co", "https://user:pw@hub.co", "https://hub.co?x=1", "file:///x"};
    http_client *client = NULL;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_int_equal(http_client_new(&client, &(http_config){.endpoint = BAD[i]}, NULL), QAIO_ERR_ARGUMENT);
    }
    http_config config = {.endpoint = "https://hub.co/", .token = "a\r\nX: y", .token_variable = "T", .token_header = "A: "};
    assert_int_equal(http_client_new(&client, &config, NULL), QAIO_ERR_ARGUMENT);
    config.token = "hf_abc";
    assert_int_equal(http_client_new(&client, &config, NULL), QAIO_OK);
    assert_string_equal(http_client_endpoint(client), "https://hub.co");
    http_client_free(client);
}

static void the_next_page_is_found_in_a_link_header(void **state) {
    (void)state;
    const char *address;
    size_t n;
    assert_true(http_link_next(" <https://h/a?c=1>; rel=\"first\", <https://h/b>; rel=\"next\"\r\n", &address, &n));
    assert_int_equal(n, strlen("https://h/b"));
    assert_memory_equal(address, "https://h/b", n);
    assert_true(http_link_next("<u>;rel=next", &address, &n));
    assert_false(http_link_next("<u>; rel=\"prev\"", &address, &n));
    assert_false(http_link_next("<u; rel=\"next\"", &address, &n));
    assert_false(http_link_next("", &address, &n));
}

static qaio_status add(listing *l, hub_source source, const char *json, qaio_error *err) {
    return listing_add_page(l, source, json, strlen(json), err);
}

static void both_lists_are_read_and_the_model_files_chosen(void **state) {
    (void)state;
    static const char *const LISTS[] = {"[{\"type\":\"directory\",\"path\":\"d\"},"
                                        "{\"type\":\"file\",\"path\":\"model.safetensors\",\"size\":7,\"oid\":\"" SHA1_B
                                        "\",\"lfs\":{\"oid\":\"" SHA256_A "\",\"size\":7}},"
                                        "{\"type\":\"file\",\"path\":\"config.json\",\"size\":3,\"oid\":\"" SHA1_B "\"},"
                                        "{\"type\":\"file\",\"path\":\"d/config.json\",\"size\":3,\"oid\":\"" SHA1_B "\"},"
                                        "{\"type\":\"file\",\"path\":\"pytorch_model.bin\",\"size\":3,\"oid\":\"" SHA1_B "\"}]",
                                        "{\"Code\":200,\"Data\":{\"Files\":[{\"Type\":\"tree\",\"Path\":\"d\"},"
                                        "{\"Type\":\"blob\",\"Path\":\"model.safetensors\",\"Size\":7,\"Sha256\":\"" SHA256_A "\"},"
                                        "{\"Type\":\"blob\",\"Path\":\"config.json\",\"Size\":3,\"Sha256\":\"" SHA256_A "\"},"
                                        "{\"Type\":\"blob\",\"Path\":\"d/config.json\",\"Size\":3,\"Sha256\":\"" SHA256_A "\"}]}}"};
    for (int source = HUB_HUGGINGFACE; source <= HUB_MODELSCOPE; source++) {
        listing l = {0};
        assert_int_equal(add(&l, (hub_source)source, LISTS[source], NULL), QAIO_OK);
        assert_int_equal(listing_choose(&l, "o/r", "", NULL), QAIO_OK);
        assert_int_equal(l.n, 2);
        assert_string_equal(l.files[0].path, "model.safetensors");
        assert_int_equal(l.files[0].kind, DIGEST_SHA256);
        assert_int_equal(l.files[0].digest[31], 0xaa);
        assert_int_equal(l.files[0].bytes, 7);
        assert_string_equal(l.files[1].path, "config.json"); /* last: its presence says that the model is whole */
        assert_int_equal(l.files[1].kind, source == HUB_HUGGINGFACE ? DIGEST_GIT_BLOB : DIGEST_SHA256);
        listing_deinit(&l);
    }
}

#define ENTRY(path, size) "{\"type\":\"file\",\"path\":\"" path "\",\"size\":" size ",\"oid\":\"" SHA1_B "\"}"

static void hostile_lists_are_refused(void **state) {
    (void)state;
    static const char *const BAD[] = {"",
                                      "null",
                                      "{}",
                                      "[3]",
                                      "[" ENTRY("../x", "1") "]",
                                      "[" ENTRY("/x", "1") "]",
                                      "[" ENTRY("a\\u0000b", "1") "]",
                                      "[" ENTRY("x", "-1") "]",
                                      "[" ENTRY("x", "1.5") "]",
                                      "[" ENTRY("x", "9223372036854775807") "]",
                                      "[" ENTRY("x", "\"1\"") "]",
                                      "[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"lfs\":{\"size\":2}}]",
                                      "[{\"type\":\"file\"}]"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        listing l = {0};
        if (add(&l, HUB_HUGGINGFACE, BAD[i], NULL) != QAIO_ERR_FORMAT) fail_msg("not refused: %s", BAD[i]);
        listing_deinit(&l);
    }
}

static void choice_says_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *json, *file;
        qaio_status status;
        const char *said;
    } CASES[] = {
        {"[" ENTRY("a.gguf", "1") "," ENTRY("b.gguf", "1") "]", "", QAIO_ERR_ARGUMENT, "a.gguf, b.gguf"},
        {"[" ENTRY("a.gguf", "1") "]", "c.gguf", QAIO_ERR_NOT_FOUND, "it has a.gguf"},
        {"[" ENTRY("README.md", "1") "]", "", QAIO_ERR_NOT_FOUND, "holds no model"},
        {"[" ENTRY("a.gguf", "1") "," ENTRY("a.gguf", "1") "]", "a.gguf", QAIO_ERR_FORMAT, "twice"},
        {"[{\"type\":\"file\",\"path\":\"a.gguf\",\"size\":1,\"oid\":\"12\"}]", "", QAIO_ERR_FORMAT, "no hash"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        listing l = {0};
        qaio_error err;
        assert_int_equal(add(&l, HUB_HUGGINGFACE, CASES[i].json, NULL), QAIO_OK);
        assert_int_equal(listing_choose(&l, "o/r", CASES[i].file, &err), CASES[i].status);
        if (!strstr(err.message, CASES[i].said)) fail_msg("%s", err.message);
        listing_deinit(&l);
    }
}

static void the_cache_follows_the_environment(void **state) {
    (void)state;
    static const struct {
        const char *qaio_home, *xdg, *home, *dir;
    } CASES[] = {
        {"/q", "/x", "/h", "/q"}, {"", "/x", "/h", "/x/qaio"}, {"", "relative", "/h", "/h/.cache/qaio"}, {"", "", "/h", "/h/.cache/qaio"}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        setenv("QAIO_HOME", CASES[i].qaio_home, 1);
        setenv("XDG_CACHE_HOME", CASES[i].xdg, 1);
        setenv("HOME", CASES[i].home, 1);
        char *dir = hub_cache_dir();
        assert_string_equal(dir, CASES[i].dir);
        mem_free(dir);
    }
    unsetenv("QAIO_HOME");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_null(hub_cache_dir());
    hub_local *list;
    size_t n;
    assert_int_equal(hub_list(&list, &n, NULL), QAIO_ERR_NOT_FOUND);
}

/* An empty cache in a new folder, as QAIO_HOME; owned by the test, removed by remove_cache. */
static char *new_cache(void) {
    char template[] = "/tmp/qaio-hub-XXXXXX";
    assert_non_null(mkdtemp(template));
    setenv("QAIO_HOME", template, 1);
    return mem_strndup(template, strlen(template));
}

static void remove_cache(char *cache) {
    str command = {0};
    str_printf(&command, "rm -rf '%s'", cache);
    assert_int_equal(system(command.data), 0);
    str_deinit(&command);
    mem_free(cache);
}

static void put(const char *cache, const char *path, size_t bytes) {
    str full = {0};
    str_printf(&full, "%s/models/%s", cache, path);
    char *slash = strrchr(full.data, '/');
    *slash = '\0';
    assert_int_equal(file_make_directories(full.data, NULL), QAIO_OK);
    *slash = '/';
    FILE *f = fopen(full.data, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < bytes; i++) fputc('x', f);
    fclose(f);
    str_deinit(&full);
}

static void whole_models_are_listed_and_found_and_halves_are_not(void **state) {
    (void)state;
    char *cache = new_cache();
    hub_local *list;
    size_t n = 7;
    assert_int_equal(hub_list(&list, &n, NULL), QAIO_OK);
    assert_int_equal(n, 0);
    hub_list_free(list, n);
    put(cache, "Qwen--Qwen3-0.6B/config.json", 10);
    put(cache, "Qwen--Qwen3-0.6B/model.safetensors", 20);
    put(cache, "half--done/model.safetensors.part", 20);
    put(cache, "half--weights/model.safetensors", 20);
    put(cache, "half--config/config.json", 20);
    put(cache, "a--one/sub/m.gguf", 5);
    put(cache, "b--two/x.gguf", 5);
    put(cache, "b--two/y.gguf", 5);
    put(cache, "notours/x.gguf", 5);
    assert_int_equal(hub_list(&list, &n, NULL), QAIO_OK);
    static const char *const NAMES[] = {"a/one:sub/m.gguf", "b/two:x.gguf", "b/two:y.gguf", "qwen3-0.6b"};
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(list[i].name, NAMES[i]);
        assert_true(file_exists(list[i].path));
        char *path;
        assert_int_equal(hub_find(&path, list[i].name, NULL), QAIO_OK);
        assert_string_equal(path, list[i].path);
        mem_free(path);
    }
    assert_int_equal(list[3].bytes, 30);
    hub_list_free(list, n);

    static const struct {
        const char *name;
        qaio_status status;
        const char *said;
    } FINDS[] = {{"a/one", QAIO_OK, "a--one/sub/m.gguf"},
                 {"Qwen/Qwen3-0.6B", QAIO_OK, "models/Qwen--Qwen3-0.6B"},
                 {"b/two", QAIO_ERR_ARGUMENT, "b/two:x.gguf"},
                 {"b/two:z.gguf", QAIO_ERR_NOT_FOUND, "qaio pull b/two:z.gguf"},
                 {"half/weights", QAIO_ERR_NOT_FOUND, "qaio pull half/weights"},
                 {"qwen1.5-0.5b-chat", QAIO_ERR_NOT_FOUND, "qaio pull qwen1.5-0.5b-chat"},
                 {"no such file", QAIO_ERR_NOT_FOUND, "no known name"}};
    for (size_t i = 0; i < sizeof FINDS / sizeof FINDS[0]; i++) {
        char *path = NULL;
        qaio_error err;
        assert_int_equal(hub_find(&path, FINDS[i].name, &err), FINDS[i].status);
        assert_non_null(strstr(FINDS[i].status == QAIO_OK ? path : err.message, FINDS[i].said));
        mem_free(path);
    }
    char *path;
    assert_int_equal(hub_find(&path, cache, NULL), QAIO_OK); /* what exists is taken as it is */
    assert_string_equal(path, cache);
    mem_free(path);
    remove_cache(cache);
}

static void finding_and_listing_survive_failed_allocations(void **state) {
    (void)state;
    char *cache = new_cache();
    put(cache, "a--one/config.json", 1);
    put(cache, "a--one/model.safetensors", 1);
    put(cache, "b--two/sub/y.gguf", 5);
    bool is_done = false;
    for (long fail_at = 0; !is_done; fail_at++) {
        hub_local *list = NULL;
        size_t n = 0;
        char *path = NULL;
        mem_fail_after(fail_at);
        qaio_status listed = hub_list(&list, &n, NULL);
        qaio_status found = listed == QAIO_OK ? hub_find(&path, "b/two", NULL) : listed;
        mem_fail_after(-1);
        assert_true(found == QAIO_OK || found == QAIO_ERR_MEMORY);
        if (listed == QAIO_OK) hub_list_free(list, n);
        mem_free(path);
        is_done = found == QAIO_OK;
        assert_true(fail_at < 1000);
    }
    remove_cache(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_names_and_repository_ids_are_understood),
        cmocka_unit_test(names_that_could_leave_the_cache_are_refused),
        cmocka_unit_test(a_mistyped_name_gets_a_suggestion),
        cmocka_unit_test(unsafe_paths_are_told_from_safe_ones),
        cmocka_unit_test(addresses_are_encoded),
        cmocka_unit_test(the_token_goes_to_the_endpoint_only),
        cmocka_unit_test(https_is_never_left),
        cmocka_unit_test(bad_endpoints_and_tokens_are_refused),
        cmocka_unit_test(the_next_page_is_found_in_a_link_header),
        cmocka_unit_test(both_lists_are_read_and_the_model_files_chosen),
        cmocka_unit_test(hostile_lists_are_refused),
        cmocka_unit_test(choice_says_what_is_wrong),
        cmocka_unit_test(the_cache_follows_the_environment),
        cmocka_unit_test(whole_models_are_listed_and_found_and_halves_are_not),
        cmocka_unit_test(finding_and_listing_survive_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
