/* From start to stop. */
#include "server/server.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/internal.h"

#define THREAD_STACK_BYTES (1 << 20)

const server_options server_defaults = {.port = SERVER_DEFAULT_PORT};

static qaio_status check_key(const server_options *o, qaio_error *err) {
    if (!o->api_key) return QAIO_OK;
    size_t n = strlen(o->api_key);
    if (n < SERVER_MIN_KEY_BYTES)
        return error_set(err, QAIO_ERR_ARGUMENT, "the API key has %zu characters; at least %d are needed", n, SERVER_MIN_KEY_BYTES);
    for (size_t i = 0; i < n; i++)
        if (o->api_key[i] <= ' ' || o->api_key[i] > '~')
            return error_set(err, QAIO_ERR_ARGUMENT, "the API key may hold printable ASCII without spaces only");
    return QAIO_OK;
}

static qaio_status start_daemon(server *s, const server_options *o, qaio_error *err) {
    unsigned connections = o->max_connections ? o->max_connections : SERVER_DEFAULT_CONNECTIONS;
    s->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0, NULL,
                                 NULL, connection_request, s, MHD_OPTION_LISTEN_SOCKET, s->listener.fd, MHD_OPTION_CONNECTION_LIMIT,
                                 connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MAX_HEADER_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
                                 0u, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK_BYTES,
                                 MHD_OPTION_NOTIFY_COMPLETED, connection_completed, s, MHD_OPTION_NOTIFY_CONNECTION, connection_notify, s,
                                 MHD_OPTION_END);
    return s->daemon ? QAIO_OK : error_set(err, QAIO_ERR_IO, "the HTTP library cannot start: %s", strerror(errno));
}

static void server_free(server *s) {
    watch_free(s->watch);
    guard_deinit(&s->guard);
    pthread_cond_destroy(&s->became_idle);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static server *server_new(resident *r, const server_options *o) {
    server *s = mem_zalloc(sizeof *s);
    if (!s) return NULL;
    s->resident = r;
    s->receive_ms = o->receive_ms ? o->receive_ms : SERVER_DEFAULT_RECEIVE_MS;
    s->send_ms = o->send_ms ? o->send_ms : SERVER_DEFAULT_SEND_MS;
    s->listener.fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->became_idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

qaio_status server_start(server **out, resident *r, const server_options *o, qaio_error *err) {
    qaio_status status = check_key(o, err);
    if (status) return status;
    server *s = server_new(r, o);
    if (!s) return error_memory(err);
    status = listener_open(&s->listener, o->host ? o->host : SERVER_DEFAULT_HOST, o->port, !o->api_key && !o->is_insecure, err);
    if (!status) status = guard_init(&s->guard, o, &s->listener, err);
    if (!status) status = watch_new(&s->watch, err);
    if (!status) status = start_daemon(s, o, err);
    if (status) {
        if (s->listener.fd >= 0) close(s->listener.fd);
        server_free(s);
        return status;
    }
    *out = s;
    return QAIO_OK;
}

uint16_t server_port(const server *s) { return s->listener.port; }

const char *server_url(const server *s) { return s->listener.url; }

/* Waits until no request is running, or the deadline. */
static void wait_until_idle(server *s, int deadline_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += deadline_ms / 1000;
    until.tv_nsec += deadline_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&s->lock);
    while (s->n_exchanges > 0 && pthread_cond_timedwait(&s->became_idle, &s->lock, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&s->lock);
}

void server_stop(server *s, int deadline_ms) {
    if (!s) return;
    atomic_store(&s->is_draining, true);
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET) close(fd);
    if (deadline_ms > 0) wait_until_idle(s, deadline_ms);
    atomic_store(&s->is_cut, true);
    MHD_stop_daemon(s->daemon);
    server_free(s);
}
