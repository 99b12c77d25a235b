/* The server in this process, in front of the fake resident: starting, many clients at once, stopping.  Run under TSan, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "fake_resident.h"
#include "server/server.h"

#define TOKEN_MS   5
#define TIMEOUT_MS 10000
#define N_CLIENTS  8
#define LEFT_MS    2000 /* an endless reply would take minutes */

typedef struct fixture {
    resident *resident;
    server *server;
} fixture;

static server *started(resident *r, const server_options *options) {
    server *s;
    qaio_error err;
    if (server_start(&s, r, options, &err)) fail_msg("%s", err.message);
    return s;
}

static int set_up(void **state) {
    fixture *f = mem_zalloc(sizeof *f);
    f->resident = fake_resident_new(TOKEN_MS);
    f->server = started(f->resident, &(server_options){.receive_ms = 1000});
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    server_stop(f->server, 1000);
    fake_resident_free(f->resident);
    mem_free(f);
    return 0;
}

static int connected(const server *s) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(server_port(s)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) return -1;
    return fd;
}

static void post(int fd, const char *path, const char *body) {
    char request[1024];
    int n = snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                     path, strlen(body), body);
    (void)!send(fd, request, (size_t)n, MSG_NOSIGNAL);
}

/* Appends what comes until the text is there, or the end; false at the end, or after TIMEOUT_MS. */
static bool receive_until(int fd, str *out, const char *text) {
    double begun_ms = clock_ms();
    for (;;) {
        if (text && out->data && strstr(out->data, text)) return true;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char buffer[4096];
        if (clock_ms() - begun_ms > TIMEOUT_MS || poll(&p, 1, TIMEOUT_MS) <= 0) return false;
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0) return false;
        str_append(out, buffer, (size_t)n);
    }
}

static size_t n_active(fixture *f) {
    engine_stats stats;
    engine_get_stats(resident_engine(f->resident), &stats);
    return stats.n_active;
}

static bool becomes_active(fixture *f, size_t n, int within_ms) {
    for (int waited = 0; waited < within_ms; waited += 10, usleep(10000))
        if (n_active(f) == n) return true;
    return false;
}

/* ---- clients ---- */

typedef struct client {
    pthread_t thread;
    const server *server;
    int number;
    const char *failed;
} client;

static const struct {
    const char *path, *body, *end;
} requests[] = {
    {"/v1/analyze", "{\"text\":\"心情很低落\",\"stream\":true}", "event: done"},
    {"/v1/analyze", "{\"text\":\"心情很低落\",\"reply\":\"service\"}", "soothe"},
    {"/v1/analyze", "{\"text\":\"a\",\"reply\":\"service\",\"layout\":\"probe\",\"stream\":true}", "event: done"},
    {"/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}", "[DONE]"},
    {"/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"logprobs\":true}", "陪着"},
    {"/v1/tasks/sentiment", "{\"texts\":[\"a\",\"b\",\"c\"]}", "results"},
    {"/v1/tasks/service", "{\"text\":\"心情很低落\"}", "soothe"},
    {"/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":4,\"logprobs\":2}", "text_completion"},
    {"/v1/analyze", "{\"text\":", "invalid_json"},
};
#define N_REQUESTS (sizeof requests / sizeof *requests)

static void *talk(void *arg) {
    client *c = arg;
    for (int round = 0; round < 6 && !c->failed; round++) {
        size_t i = (size_t)(c->number + round) % N_REQUESTS;
        str answer = {0};
        int fd = connected(c->server);
        post(fd, requests[i].path, requests[i].body);
        receive_until(fd, &answer, NULL);
        if (!answer.data || !strstr(answer.data, requests[i].end)) c->failed = requests[i].path;
        close(fd);
        str_deinit(&answer);
    }
    return NULL;
}

static void many_clients_get_their_own_answers(void **state) {
    fixture *f = *state;
    client clients[N_CLIENTS] = {0};
    for (int i = 0; i < N_CLIENTS; i++) {
        clients[i] = (client){.server = f->server, .number = i};
        pthread_create(&clients[i].thread, NULL, talk, &clients[i]);
    }
    for (int i = 0; i < N_CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        if (clients[i].failed) fail_msg("client %d: %s", i, clients[i].failed);
    }
    assert_true(becomes_active(f, 0, LEFT_MS));
}

#define ENDLESS_CHAT "{\"messages\":[{\"role\":\"user\",\"content\":\"#endless\"}],\"max_tokens\":100000,\"stream\":%s}"

static void a_client_that_leaves_stops_its_generation(void **state) {
    fixture *f = *state;
    static const char *const streams[] = {"true", "false"};
    for (size_t i = 0; i < 2; i++) {
        char body[200];
        str answer = {0};
        snprintf(body, sizeof body, ENDLESS_CHAT, streams[i]);
        int fd = connected(f->server);
        post(fd, "/v1/chat/completions", body);
        if (i == 0) assert_true(receive_until(fd, &answer, "听起来"));
        assert_true(becomes_active(f, 1, TIMEOUT_MS));
        close(fd);
        assert_true(becomes_active(f, 0, LEFT_MS));
        str_deinit(&answer);
    }
}

/* What comes until the end, without an allocation. */
static bool answer_holds(int fd, const char *text) {
    static char answer[64 << 10];
    size_t n = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (n + 1 < sizeof answer && poll(&p, 1, TIMEOUT_MS) > 0) {
        ssize_t got = recv(fd, answer + n, sizeof answer - 1 - n, 0);
        if (got <= 0) break;
        n += (size_t)got;
    }
    answer[n] = 0;
    return strstr(answer, text) != NULL;
}

static void failed_allocations_fail_one_request_and_no_other(void **state) {
    fixture *f = *state;
#ifdef __SANITIZE_THREAD__
    skip(); /* the switch is a plain variable */
#endif
    for (size_t i = 0; i < N_REQUESTS; i++) {
        bool is_whole = false;
        for (long n = 0; !is_whole; n++) {
            assert_true(n < 1000);
            int fd = connected(f->server);
            mem_fail_after(n);
            post(fd, requests[i].path, requests[i].body);
            is_whole = answer_holds(fd, requests[i].end);
            close(fd);
            assert_true(becomes_active(f, 0, LEFT_MS));
            mem_fail_after(-1);
        }
    }
}

static void a_trickling_client_is_cut_off(void **state) {
    fixture *f = *state;
    int fd = connected(f->server);
    double begun_ms = clock_ms();
    bool is_open = true;
    static const char head[] = "GET / HTTP/1.1\r\nX-Slow: ";
    (void)!send(fd, head, sizeof head - 1, MSG_NOSIGNAL);
    while (is_open && clock_ms() - begun_ms < TIMEOUT_MS) {
        char byte;
        usleep(50000);
        is_open = send(fd, "a", 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) != 0;
    }
    assert_false(is_open);
    assert_true(clock_ms() - begun_ms < 3000); /* receive_ms is 1000 */
    close(fd);
}

/* ---- stopping ---- */

static void stopping_lets_a_reply_finish(void **state) {
    fixture *f = *state;
    str answer = {0};
    int fd = connected(f->server);
    post(fd, "/v1/analyze", "{\"text\":\"a\",\"stream\":true}");
    assert_true(receive_until(fd, &answer, "event: label"));
    server_stop(f->server, 3000);
    f->server = NULL;
    receive_until(fd, &answer, NULL);
    assert_non_null(strstr(answer.data, "event: done"));
    str_deinit(&answer);
    close(fd);
}

static void stopping_cuts_what_is_too_long(void **state) {
    fixture *f = *state;
    str answer = {0};
    char body[200];
    snprintf(body, sizeof body, ENDLESS_CHAT, "true");
    int fd = connected(f->server), idle = connected(f->server);
    post(fd, "/v1/chat/completions", body);
    assert_true(receive_until(fd, &answer, "听起来"));
    double begun_ms = clock_ms();
    server_stop(f->server, 200);
    f->server = NULL;
    assert_true(clock_ms() - begun_ms < 2000);
    assert_int_equal(n_active(f), 0);
    str_deinit(&answer);
    close(fd);
    close(idle);
}

/* ---- starting ---- */

static void a_taken_port_is_an_error_that_says_so(void **state) {
    fixture *f = *state;
    server *second;
    qaio_error err;
    server_options options = {.port = server_port(f->server)};
    assert_int_equal(server_start(&second, f->resident, &options, &err), QAIO_ERR_IO);
    assert_non_null(strstr(err.message, "in use"));
}

static void a_weak_key_or_an_open_door_is_refused(void **state) {
    fixture *f = *state;
    server *second;
    qaio_error err;
    static const server_options bad[] = {{.api_key = "short"}, {.api_key = "has a space in"}, {.api_key = ""}, {.host = "0.0.0.0"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(server_start(&second, f->resident, &bad[i], &err), QAIO_ERR_ARGUMENT);
    second = started(f->resident, &(server_options){.host = "0.0.0.0", .api_key = "long-enough"});
    server_stop(second, 0);
    second = started(f->resident, &(server_options){.host = "0.0.0.0", .is_insecure = true});
    server_stop(second, 0);
    server_stop(NULL, 0);
}

static void failed_allocations_at_start_leave_nothing_behind(void **state) {
    fixture *f = *state;
    static const char *const names[] = {"chat.example"};
    server_options options = {.api_key = "long-enough", .allowed_hosts = names, .n_allowed_hosts = 1};
    for (long n = 0;; n++) {
        server *second;
        qaio_error err;
        mem_fail_after(n);
        qaio_status status = server_start(&second, f->resident, &options, &err);
        mem_fail_after(-1);
        if (status == QAIO_OK) {
            server_stop(second, 0);
            assert_true(n > 3);
            return;
        }
        assert_int_equal(status, QAIO_ERR_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_clients_get_their_own_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_leaves_stops_its_generation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_allocations_fail_one_request_and_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_trickling_client_is_cut_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stopping_lets_a_reply_finish, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stopping_cuts_what_is_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_taken_port_is_an_error_that_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_weak_key_or_an_open_door_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_allocations_at_start_leave_nothing_behind, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
