/* Who may call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "server/guard.h"

static guard make(const char *address, bool is_wildcard, const char *key) {
    static const char *const hosts[] = {"chat.example"}, *const origins[] = {"https://chat.example"};
    listener l = {.is_wildcard = is_wildcard};
    strcpy(l.address, address);
    server_options options = {
        .api_key = key, .allowed_hosts = hosts, .n_allowed_hosts = 1, .allowed_origins = origins, .n_allowed_origins = 1};
    guard g;
    assert_int_equal(guard_init(&g, &options, &l, NULL), QAIO_OK);
    return g;
}

static void only_known_names_get_through_the_host_check(void **state) {
    (void)state;
    guard g = make("192.168.1.5", false, NULL);
    static const char *const good[] = {"localhost",   "LOCALHOST:7860", "127.0.0.1:1", "[::1]:7860",      "[::1]",
                                       "192.168.1.5", "chat.example",   "localhost.",  "Chat.Example:443"};
    static const char *const bad[] = {"",
                                      ":80",
                                      "evil.example",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil.example",
                                      "10.0.0.1",
                                      "[::1",
                                      "[::1]x",
                                      "[]",
                                      "chat.example.evil",
                                      "0.0.0.0:1",
                                      "localhost/",
                                      "@localhost"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!guard_allows_host(&g, good[i])) fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (guard_allows_host(&g, bad[i])) fail_msg("allowed: %s", bad[i]);
    assert_true(guard_allows_host(&g, NULL));
    guard_deinit(&g);
}

static void on_all_addresses_any_address_but_no_strange_name_is_allowed(void **state) {
    (void)state;
    guard g = make("0.0.0.0", true, NULL);
    assert_true(guard_allows_host(&g, "10.1.2.3:7860"));
    assert_true(guard_allows_host(&g, "[fe80::1]:7860"));
    assert_true(guard_allows_host(&g, "localhost:7860"));
    assert_false(guard_allows_host(&g, "evil.example:7860"));
    assert_false(guard_allows_host(&g, "10.1.2.3.evil.example"));
    guard_deinit(&g);
}

static void a_very_long_host_is_refused(void **state) {
    (void)state;
    guard g = make("127.0.0.1", false, NULL);
    char host[5000];
    memset(host, 'a', sizeof host);
    host[sizeof host - 1] = 0;
    assert_false(guard_allows_host(&g, host));
    guard_deinit(&g);
}

static void only_our_page_and_named_ones_may_post(void **state) {
    (void)state;
    guard g = make("127.0.0.1", false, NULL);
    assert_int_equal(guard_origin(&g, NULL, "localhost:7860"), ORIGIN_SAME);
    assert_int_equal(guard_origin(&g, "http://localhost:7860", "localhost:7860"), ORIGIN_SAME);
    assert_int_equal(guard_origin(&g, "https://chat.example", "localhost:7860"), ORIGIN_ALLOWED);
    static const char *const foreign[] = {"null",          "", "http://evil.example", "http://localhost:1", "https://chat.example.evil",
                                          "localhost:7860"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_int_equal(guard_origin(&g, foreign[i], "localhost:7860"), ORIGIN_FOREIGN);
    assert_int_equal(guard_origin(&g, "http://localhost:7860", NULL), ORIGIN_FOREIGN);
    guard_deinit(&g);
}

static void only_the_whole_key_opens(void **state) {
    (void)state;
    guard g = make("127.0.0.1", false, "secret-key");
    assert_true(guard_allows_key(&g, "Bearer secret-key"));
    assert_true(guard_allows_key(&g, "bearer secret-key"));
    static const char *const wrong[] = {
        "Bearer secret-ke", "Bearer secret-keys", "Bearer secret-kez",           "Bearer ", "Bearer", "secret-key",
        "Basic secret-key", "Bearer  secret-key", "Bearer secret-keysecret-key", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (guard_allows_key(&g, wrong[i])) fail_msg("opened: %s", wrong[i]);
    assert_false(guard_allows_key(&g, NULL));
    guard_deinit(&g);
    g = make("127.0.0.1", false, NULL);
    assert_true(guard_allows_key(&g, NULL));
    guard_deinit(&g);
}

static void a_public_address_needs_a_key(void **state) {
    (void)state;
    listener l;
    qaio_error err;
    static const char *const public[] = {"0.0.0.0", "::"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(listener_open(&l, public[i], 0, true, &err), QAIO_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "--api-key-file"));
    }
    assert_int_equal(listener_open(&l, "no such host at all", 0, true, &err), QAIO_ERR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_known_names_get_through_the_host_check),
        cmocka_unit_test(on_all_addresses_any_address_but_no_strange_name_is_allowed),
        cmocka_unit_test(a_very_long_host_is_refused),
        cmocka_unit_test(only_our_page_and_named_ones_may_post),
        cmocka_unit_test(only_the_whole_key_opens),
        cmocka_unit_test(a_public_address_needs_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
