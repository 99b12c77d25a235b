/* hub_pull against fake_hub.py, which speaks both hubs' wire formats and misbehaves by the repository's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/http.h"
#include "hub/hub.h"

#define WEIGHTS_BYTES 300000

typedef struct fixture {
    pid_t server;
    int server_stdin;
    char endpoint[64];
    char cache[64];
} fixture;
static fixture hub;

/* ---- the server and the cache ---- */

static int start_server(void **state) {
    (void)state;
    setenv("no_proxy", "127.0.0.1", 1);
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    hub.server = fork();
    if (hub.server == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execlp("python3", "python3", "tests/hub/fake_hub.py", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    hub.server_stdin = in[1]; /* closed with this process, which ends the server */
    FILE *stream = fdopen(out[0], "r");
    int port = 0;
    int n = fscanf(stream, "%d", &port);
    fclose(stream);
    snprintf(hub.endpoint, sizeof hub.endpoint, "http://127.0.0.1:%d", port);
    return n == 1 ? 0 : -1;
}

static int stop_server(void **state) {
    (void)state;
    close(hub.server_stdin);
    int status;
    return waitpid(hub.server, &status, 0) == hub.server && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int new_cache(void **state) {
    (void)state;
    strcpy(hub.cache, "/tmp/qaio-pull-XXXXXX");
    if (!mkdtemp(hub.cache)) return -1;
    return setenv("QAIO_HOME", hub.cache, 1);
}

static int remove_cache(void **state) {
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", hub.cache);
    return system(command);
}

static char *in_cache(const char *repo, const char *file) {
    str path = {0};
    str_printf(&path, "%s/models/t--%s%s%s", hub.cache, repo, file[0] ? "/" : "", file);
    return path.data;
}

static bool is_in_cache(const char *repo, const char *file) {
    char *path = in_cache(repo, file);
    bool is_there = file_exists(path);
    mem_free(path);
    return is_there;
}

static char content(size_t i) { return (char)(i * 31 + (i >> 8)); }

static void put(const char *repo, const char *file, size_t bytes, char spoil) {
    char *dir = in_cache(repo, ""), *path = in_cache(repo, file);
    assert_int_equal(file_make_directories(dir, NULL), QAIO_OK);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < bytes; i++) fputc(content(i) ^ spoil, f);
    fclose(f);
    mem_free(dir);
    mem_free(path);
}

static void assert_content(const char *repo, const char *file, size_t bytes) {
    char *path = in_cache(repo, file), *data;
    size_t n;
    assert_int_equal(file_read(&data, &n, path, 1 << 20, NULL), QAIO_OK);
    assert_int_equal(n, bytes);
    for (size_t i = 0; i < n; i++) {
        if (data[i] != content(i)) fail_msg("%s differs at byte %zu", path, i);
    }
    mem_free(data);
    mem_free(path);
}

static qaio_status pull_from(hub_source source, const char *repo, const char *token, qaio_error *err) {
    char name[64];
    char *path = NULL;
    snprintf(name, sizeof name, "t/%s", repo);
    qaio_status status = hub_pull(&path, name, &(hub_options){.source = source, .endpoint = hub.endpoint, .token = token}, err);
    assert_true((status == QAIO_OK) == (path != NULL));
    mem_free(path);
    return status;
}

static void assert_pulls(hub_source source, const char *repo, const char *token) {
    qaio_error err = {0};
    if (pull_from(source, repo, token, &err) != QAIO_OK) fail_msg("%s: %s", repo, err.message);
    assert_content(repo, "model.safetensors", WEIGHTS_BYTES);
    assert_content(repo, "config.json", 700);
    assert_content(repo, "tokenizer.json", 5000);
    assert_false(is_in_cache(repo, "README.md"));
    assert_false(is_in_cache(repo, "model.safetensors.part"));
}

static void assert_refused(hub_source source, const char *repo, const char *token, qaio_status expected, const char *said) {
    qaio_error err = {0};
    qaio_status status = pull_from(source, repo, token, &err);
    if (status != expected || !strstr(err.message, said)) fail_msg("%s: status %d, %s", repo, status, err.message);
    assert_false(is_in_cache(repo, "config.json"));
}

/* ---- what works ---- */

static void both_hubs_give_a_model_that_is_then_found(void **state) {
    (void)state;
    for (int source = HUB_HUGGINGFACE; source <= HUB_MODELSCOPE; source++) {
        const char *repo = source == HUB_HUGGINGFACE ? "plain" : "plain2";
        assert_pulls((hub_source)source, repo, NULL);
        char name[32], *path;
        snprintf(name, sizeof name, "t/%s", repo);
        assert_int_equal(hub_find(&path, name, NULL), QAIO_OK);
        mem_free(path);
    }
}

static void the_environment_gives_endpoint_and_token(void **state) {
    (void)state;
    char *path;
    setenv("HF_ENDPOINT", hub.endpoint, 1);
    setenv("HF_TOKEN", "secret", 1);
    qaio_status status = hub_pull(&path, "t/token", &(hub_options){.source = HUB_HUGGINGFACE}, NULL);
    unsetenv("HF_ENDPOINT");
    unsetenv("HF_TOKEN");
    assert_int_equal(status, QAIO_OK);
    mem_free(path);
}

static void gguf_files_are_pulled_alone(void **state) {
    (void)state;
    static const char *const NAMES[] = {"t/gguf", "t/ggufs:q/m-q4_0.gguf"};
    for (size_t i = 0; i < 2; i++) {
        char *path, *found;
        qaio_error err;
        if (hub_pull(&path, NAMES[i], &(hub_options){.endpoint = hub.endpoint}, &err) != QAIO_OK) fail_msg("%s", err.message);
        assert_int_equal(hub_find(&found, NAMES[i], NULL), QAIO_OK);
        assert_string_equal(found, path);
        mem_free(found);
        mem_free(path);
    }
    assert_false(is_in_cache("ggufs", "m-q8_0.gguf"));
    assert_refused(HUB_HUGGINGFACE, "ggufs", NULL, QAIO_ERR_ARGUMENT, "name one as t/ggufs:FILE");
}

static void redirects_to_another_host_go_without_the_token(void **state) {
    (void)state;
    assert_pulls(HUB_HUGGINGFACE, "redirect", NULL);
    assert_pulls(HUB_HUGGINGFACE, "token", "secret");
    remove_cache(NULL);
    assert_pulls(HUB_MODELSCOPE, "token", "secret");
}

static void cut_connections_are_continued(void **state) {
    (void)state;
    assert_pulls(HUB_HUGGINGFACE, "cut", NULL); /* no answer is longer than 100,000 bytes, so only continuing can work */
    remove_cache(NULL);
    assert_pulls(HUB_MODELSCOPE, "cut", NULL);
}

static void servers_without_or_with_wrong_ranges_are_asked_for_the_whole(void **state) {
    (void)state;
    assert_pulls(HUB_HUGGINGFACE, "norange", NULL);
    assert_pulls(HUB_HUGGINGFACE, "badrange", NULL);
}

static void passing_errors_are_waited_out(void **state) {
    (void)state;
    double start = clock_ms();
    assert_pulls(HUB_HUGGINGFACE, "busy", NULL);
    assert_true(clock_ms() - start >= 900); /* Retry-After: 1 */
    assert_pulls(HUB_MODELSCOPE, "flaky", NULL);
}

static void lists_come_in_pages(void **state) {
    (void)state;
    assert_pulls(HUB_HUGGINGFACE, "pages", NULL);
    assert_refused(HUB_HUGGINGFACE, "endless", NULL, QAIO_ERR_LIMIT, "pages");
}

static void empty_files_are_files(void **state) {
    (void)state;
    assert_int_equal(pull_from(HUB_HUGGINGFACE, "empty", NULL, NULL), QAIO_OK);
    assert_content("empty", "merges.txt", 0);
}

static void a_part_of_an_earlier_run_is_continued(void **state) {
    (void)state;
    assert_refused(HUB_HUGGINGFACE, "tail", NULL, QAIO_ERR_NOT_FOUND, "HTTP 403"); /* it gives the weights only from their middle on */
    put("tail", "model.safetensors.part", 123456, 0);
    assert_pulls(HUB_HUGGINGFACE, "tail", NULL);
    put("plain", "model.safetensors.part", WEIGHTS_BYTES, 0); /* complete, but not yet renamed */
    assert_pulls(HUB_HUGGINGFACE, "plain", NULL);
}

static void a_part_of_something_else_is_started_over(void **state) {
    (void)state;
    put("plain", "model.safetensors.part", 1000, 1);
    assert_pulls(HUB_HUGGINGFACE, "plain", NULL);
    remove_cache(NULL);
    put("plain", "model.safetensors.part", WEIGHTS_BYTES + 5, 0);
    assert_pulls(HUB_HUGGINGFACE, "plain", NULL);
}

static void a_second_pull_mends_what_was_spoilt(void **state) {
    (void)state;
    assert_pulls(HUB_HUGGINGFACE, "plain", NULL);
    put("plain", "model.safetensors", WEIGHTS_BYTES, 1);
    assert_pulls(HUB_HUGGINGFACE, "plain", NULL);
}

/* ---- what is refused ---- */

static void lies_about_hashes_and_sizes_leave_nothing(void **state) {
    (void)state;
    assert_refused(HUB_HUGGINGFACE, "wronghash", NULL, QAIO_ERR_FORMAT, "SHA-256 differs");
    assert_false(is_in_cache("wronghash", "model.safetensors"));
    assert_false(is_in_cache("wronghash", "model.safetensors.part"));
    assert_refused(HUB_MODELSCOPE, "wronghash", NULL, QAIO_ERR_FORMAT, "SHA-256 differs");
    assert_refused(HUB_HUGGINGFACE, "wrongblob", NULL, QAIO_ERR_FORMAT, "git SHA-1 differs");
    assert_refused(HUB_HUGGINGFACE, "longer", NULL, QAIO_ERR_FORMAT, "the server announces");
    assert_refused(HUB_HUGGINGFACE, "shorter", NULL, QAIO_ERR_FORMAT, "the server announces");
    assert_refused(HUB_HUGGINGFACE, "nohash", NULL, QAIO_ERR_FORMAT, "no hash");
    assert_refused(HUB_MODELSCOPE, "nohash", NULL, QAIO_ERR_FORMAT, "no hash");
}

static void missing_and_private_repositories_say_so(void **state) {
    (void)state;
    assert_refused(HUB_HUGGINGFACE, "missing", NULL, QAIO_ERR_NOT_FOUND, "HTTP 404");
    assert_refused(HUB_MODELSCOPE, "missing", NULL, QAIO_ERR_NOT_FOUND, "no such model");
    assert_refused(HUB_HUGGINGFACE, "private", NULL, QAIO_ERR_NOT_FOUND, "HF_TOKEN");
    assert_refused(HUB_MODELSCOPE, "private", NULL, QAIO_ERR_NOT_FOUND, "MODELSCOPE_API_TOKEN");
    assert_refused(HUB_HUGGINGFACE, "token", "wrong", QAIO_ERR_NOT_FOUND, "HTTP 401");
    assert_refused(HUB_HUGGINGFACE, "readme", NULL, QAIO_ERR_NOT_FOUND, "holds no model");
    assert_refused(HUB_HUGGINGFACE, "notjson", NULL, QAIO_ERR_FORMAT, "not JSON");
}

static void paths_that_leave_the_folder_refuse_the_list(void **state) {
    (void)state;
    static const char *const REPOS[] = {"up", "absolute", "backslash"};
    for (size_t i = 0; i < 3; i++) {
        assert_refused(HUB_HUGGINGFACE, REPOS[i], NULL, QAIO_ERR_FORMAT, "unsafe path");
        assert_refused(HUB_MODELSCOPE, REPOS[i], NULL, QAIO_ERR_FORMAT, "unsafe path");
    }
}

static void endless_and_unsafe_redirects_are_refused(void **state) {
    (void)state;
    assert_refused(HUB_HUGGINGFACE, "loop", NULL, QAIO_ERR_IO, "more than 8 redirects");
    assert_refused(HUB_HUGGINGFACE, "downgrade", NULL, QAIO_ERR_IO, "not HTTPS");
}

static void a_full_disk_is_noticed_before_and_while_writing(void **state) {
    (void)state;
    assert_refused(HUB_HUGGINGFACE, "huge", NULL, QAIO_ERR_IO, "the disk is too full");
    struct rlimit old, small = {.rlim_cur = 200000};
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    qaio_error err;
    qaio_status status = pull_from(HUB_HUGGINGFACE, "plain", NULL, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, QAIO_ERR_IO);
    assert_non_null(strstr(err.path, "model.safetensors.part"));
    assert_pulls(HUB_HUGGINGFACE, "plain", NULL); /* and with room again it goes on */
}

static void two_pulls_of_one_repository_do_not_mix(void **state) {
    (void)state;
    put("plain", ".lock", 0, 0);
    char *path = in_cache("plain", ".lock");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_refused(HUB_HUGGINGFACE, "plain", NULL, QAIO_ERR_BUSY, "another process");
    close(fd);
    mem_free(path);
    assert_pulls(HUB_HUGGINGFACE, "plain", NULL);
}

/* ---- progress, cancelling, giving up ---- */

typedef struct watch {
    uint64_t last_total, total;
    size_t n_calls, n_files;
    uint64_t stop_at;
    bool went_back;
} watch;

static bool watch_progress(void *ctx, const hub_progress *p) {
    watch *w = ctx;
    w->n_calls++;
    w->went_back = w->went_back || p->total_done < w->last_total || p->file_done > p->file_bytes;
    w->last_total = p->total_done;
    w->total = p->total_bytes;
    w->n_files = p->n_files;
    return p->total_done < w->stop_at;
}

static void progress_runs_from_nothing_to_everything(void **state) {
    (void)state;
    watch w = {.stop_at = UINT64_MAX};
    char *path;
    hub_options options = {.endpoint = hub.endpoint, .progress = watch_progress, .ctx = &w};
    assert_int_equal(hub_pull(&path, "t/plain", &options, NULL), QAIO_OK);
    mem_free(path);
    assert_int_equal(w.total, 700 + 5000 + WEIGHTS_BYTES);
    assert_int_equal(w.last_total, w.total);
    assert_int_equal(w.n_files, 3);
    assert_false(w.went_back);
}

static void a_cancelled_pull_stops_at_once_and_keeps_what_came(void **state) {
    (void)state;
    watch w = {.stop_at = 1000}; /* "stall" stops after 1000 bytes of weights and would hang */
    char *path = NULL;
    hub_options options = {.endpoint = hub.endpoint, .progress = watch_progress, .ctx = &w};
    double start = clock_ms();
    assert_int_equal(hub_pull(&path, "t/stall", &options, NULL), QAIO_ERR_CANCELLED);
    assert_true(clock_ms() - start < 5000);
    assert_null(path);
    assert_true(is_in_cache("stall", "model.safetensors.part"));
    assert_false(is_in_cache("stall", "model.safetensors"));
    assert_false(is_in_cache("stall", "config.json"));
}

static bool always(void *ctx) {
    (void)ctx;
    return true;
}

/* A GET by a client that is less patient than hub_pull's. */
static qaio_status get_text(const char *endpoint, const char *path, size_t max_bytes, qaio_error *err) {
    http_client *client;
    http_config config = {.endpoint = endpoint, .stall_timeout_s = 1, .first_pause_ms = 1};
    assert_int_equal(http_client_new(&client, &config, NULL), QAIO_OK);
    char url[128], *text, *next;
    size_t n;
    snprintf(url, sizeof url, "%s%s", endpoint, path);
    qaio_status status = http_get_text(client, url, "the text", max_bytes, always, NULL, &text, &n, &next, err);
    if (status == QAIO_OK) {
        for (size_t i = 0; i < n; i++) assert_int_equal(text[i], content(i));
        mem_free(text);
        mem_free(next);
    }
    http_client_free(client);
    return status;
}

static void a_server_that_stays_broken_is_given_up(void **state) {
    (void)state;
    char nobody[] = "http://127.0.0.1:1";
    qaio_error err;
    assert_int_equal(get_text(hub.endpoint, "/api/models/t/broken/tree/main", 1 << 20, &err), QAIO_ERR_IO);
    assert_non_null(strstr(err.message, "HTTP 500"));
    assert_int_equal(get_text(nobody, "/", 1 << 20, &err), QAIO_ERR_IO);
}

static void a_stalled_answer_is_asked_for_again(void **state) {
    (void)state;
    assert_int_equal(get_text(hub.endpoint, "/t/stallonce/resolve/main/model.safetensors", 1 << 20, NULL), QAIO_OK);
}

static void texts_of_any_length_are_cut_off(void **state) {
    (void)state;
    assert_int_equal(get_text(hub.endpoint, "/t/plain/resolve/main/model.safetensors", WEIGHTS_BYTES, NULL), QAIO_OK);
    assert_int_equal(get_text(hub.endpoint, "/t/plain/resolve/main/model.safetensors", WEIGHTS_BYTES - 1, NULL), QAIO_ERR_LIMIT);
}

static void failed_allocations_fail_the_pull_cleanly(void **state) {
    (void)state;
    bool is_done = false;
    for (long fail_at = 0; !is_done; fail_at++) {
        char *path = NULL;
        mem_fail_after(fail_at);
        qaio_status status = hub_pull(&path, "t/pages", &(hub_options){.endpoint = hub.endpoint}, NULL);
        mem_fail_after(-1);
        if (status != QAIO_OK && status != QAIO_ERR_MEMORY) fail_msg("allocation %ld: status %d", fail_at, status);
        is_done = status == QAIO_OK;
        mem_free(path);
        assert_true(fail_at < 2000);
    }
    assert_pulls(HUB_HUGGINGFACE, "pages", NULL);
}

#define PULL_TEST(name) cmocka_unit_test_setup_teardown(name, new_cache, remove_cache)

int main(void) {
    const struct CMUnitTest tests[] = {
        PULL_TEST(both_hubs_give_a_model_that_is_then_found),
        PULL_TEST(the_environment_gives_endpoint_and_token),
        PULL_TEST(gguf_files_are_pulled_alone),
        PULL_TEST(redirects_to_another_host_go_without_the_token),
        PULL_TEST(cut_connections_are_continued),
        PULL_TEST(servers_without_or_with_wrong_ranges_are_asked_for_the_whole),
        PULL_TEST(passing_errors_are_waited_out),
        PULL_TEST(lists_come_in_pages),
        PULL_TEST(empty_files_are_files),
        PULL_TEST(a_part_of_an_earlier_run_is_continued),
        PULL_TEST(a_part_of_something_else_is_started_over),
        PULL_TEST(a_second_pull_mends_what_was_spoilt),
        PULL_TEST(lies_about_hashes_and_sizes_leave_nothing),
        PULL_TEST(missing_and_private_repositories_say_so),
        PULL_TEST(paths_that_leave_the_folder_refuse_the_list),
        PULL_TEST(endless_and_unsafe_redirects_are_refused),
        PULL_TEST(a_full_disk_is_noticed_before_and_while_writing),
        PULL_TEST(a_server_that_stays_broken_is_given_up),
        PULL_TEST(two_pulls_of_one_repository_do_not_mix),
        PULL_TEST(progress_runs_from_nothing_to_everything),
        PULL_TEST(a_cancelled_pull_stops_at_once_and_keeps_what_came),
        PULL_TEST(a_stalled_answer_is_asked_for_again),
        PULL_TEST(texts_of_any_length_are_cut_off),
        PULL_TEST(failed_allocations_fail_the_pull_cleanly),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
