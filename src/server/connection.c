/* libmicrohttpd's callbacks: connections come and go, a request's head is checked, its body gathered, its route run.
 *
 *   receiving (deadline receive_ms) -> the handler waits for the model (none) -> sending (send_ms, anew with every event) -> receiving */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "server/internal.h"

static const char *header(struct MHD_Connection *c, const char *name) { return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name); }

void connection_notify(void *cls, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode what) {
    server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        watch_remove(s->watch, *context);
        atomic_fetch_sub(&s->metrics.n_connections, 1);
        return;
    }
    int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    atomic_fetch_add(&s->metrics.n_connections, 1);
    *context = watch_add(s->watch, fd);
    if (*context)
        watch_set(s->watch, *context, s->receive_ms);
    else
        shutdown(fd, SHUT_RDWR); /* out of memory: nothing would watch it */
}

/* ---- the head of a request ---- */

static bool is_json(const char *content_type) {
    static const char json[] = "application/json";
    if (!content_type) return true;
    if (strncasecmp(content_type, json, sizeof json - 1) != 0) return false;
    const char *rest = content_type + sizeof json - 1;
    return rest[strspn(rest, " \t")] == 0 || rest[strspn(rest, " \t")] == ';';
}

static bool check_caller(exchange *x, const char *method) {
    const guard *g = &x->server->guard;
    failure *f = &x->refusal;
    const char *host = header(x->connection, MHD_HTTP_HEADER_HOST);
    if (!guard_allows_host(g, host))
        return failure_set(f, 421, "wrong_host", "", "this server is not \"%.100s\"; more names are allowed with --allow-host", host);
    bool is_safe = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
    const char *origin = header(x->connection, MHD_HTTP_HEADER_ORIGIN);
    if (!is_safe && guard_origin(g, origin, host) == ORIGIN_FOREIGN)
        return failure_set(f, 403, "foreign_origin", "", "pages of %.100s may not call this server; allow them with --allow-origin",
                           origin);
    return true;
}

static bool check_route(exchange *x, const char *path, const char *method) {
    failure *f = &x->refusal;
    if (!x->allow) return failure_set(f, 404, "unknown_url", "", "there is nothing at %.200s", path);
    if (!x->route) return failure_set(f, 405, "method_not_allowed", "", "%.20s is not possible here; try %s", method, x->allow);
    if (!x->route->is_open && !guard_allows_key(&x->server->guard, header(x->connection, MHD_HTTP_HEADER_AUTHORIZATION)))
        return failure_set(f, 401, "invalid_api_key", "", "the right key is missing: send it as \"Authorization: Bearer KEY\"");
    if (atomic_load(&x->server->is_draining)) return failure_set(f, 503, "stopping", "", "the server is stopping");
    if (strcmp(method, "POST") == 0 && !is_json(header(x->connection, MHD_HTTP_HEADER_CONTENT_TYPE)))
        return failure_set(f, 415, "unsupported_media_type", "", "send JSON, with Content-Type: application/json");
    return true;
}

static bool too_large(failure *f) {
    return failure_set(f, 413, "too_large", "", "the body may have at most %d bytes", SERVER_MAX_BODY_BYTES);
}

/* Whether to answer before the body: nobody should have to send what will not be read. */
static bool is_answered_at_once(exchange *x, unsigned long long body_bytes) {
    return x->refusal.status && (body_bytes > MAX_DISCARD_BYTES || header(x->connection, MHD_HTTP_HEADER_EXPECT));
}

static enum MHD_Result begin(server *s, struct MHD_Connection *c, const char *path, const char *method, void **state) {
    exchange *x = mem_zalloc(sizeof *x);
    if (!x) return MHD_NO;
    const union MHD_ConnectionInfo *socket = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    *x = (exchange){.server = s, .resident = s->resident, .connection = c, .watched = socket->socket_context, .result = MHD_NO};
    *state = x;
    pthread_mutex_lock(&s->lock);
    s->n_exchanges++;
    pthread_mutex_unlock(&s->lock);
    route_match match = route_find(method, path);
    x->route = match.route;
    x->allow = match.allow;
    const char *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
    unsigned long long body_bytes = length ? strtoull(length, NULL, 10) : 0;
    if (check_caller(x, method) && check_route(x, path, method) && body_bytes > SERVER_MAX_BODY_BYTES) too_large(&x->refusal);
    if (!is_answered_at_once(x, body_bytes)) return MHD_YES;
    answer_failure(x, &x->refusal);
    return x->result;
}

/* ---- the body, the answer ---- */

static enum MHD_Result gather(exchange *x, const char *bytes, size_t *n) {
    size_t taken = *n;
    *n = 0;
    if (!x->refusal.status && x->body.len + taken <= SERVER_MAX_BODY_BYTES) {
        str_append(&x->body, bytes, taken);
        if (x->body.failed) failure_memory(&x->refusal);
        return MHD_YES;
    }
    if (!x->refusal.status) too_large(&x->refusal);
    x->discarded_bytes += taken;
    return x->discarded_bytes <= MAX_DISCARD_BYTES ? MHD_YES : MHD_NO;
}

static enum MHD_Result run(exchange *x, const char *method, const char *path) {
    watch_set(x->server->watch, x->watched, 0);
    if (x->refusal.status) {
        answer_failure(x, &x->refusal);
    } else {
        x->tail = route_find(method, path).tail;
        x->tasks = resident_acquire_tasks(x->resident);
        x->route->handle(x);
    }
    watch_set(x->server->watch, x->watched, x->server->send_ms);
    return x->result;
}

enum MHD_Result connection_request(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                                   const char *upload, size_t *upload_bytes, void **state) {
    (void)version;
    if (!*state) return begin(cls, c, url, method, state);
    if (*upload_bytes) return gather(*state, upload, upload_bytes);
    return run(*state, method, url);
}

void connection_completed(void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why) {
    (void)c, (void)why;
    server *s = cls;
    exchange *x = *state;
    if (!x) return;
    watch_set(s->watch, x->watched, s->receive_ms);
    resident_release_tasks(x->resident, x->tasks);
    str_deinit(&x->body);
    mem_free(x);
    *state = NULL;
    pthread_mutex_lock(&s->lock);
    if (--s->n_exchanges == 0) pthread_cond_broadcast(&s->became_idle);
    pthread_mutex_unlock(&s->lock);
}
