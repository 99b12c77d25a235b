/* Answers: what a handler says becomes a response of libmicrohttpd. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/internal.h"

#define DIGITS 15 /* of real numbers: 0.9 stays 0.9 */

static const char *header(const exchange *x, const char *name) { return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name); }

/* Lets the pages named in the options read the answer; without these headers a browser keeps it from every other page. */
static void add_cors(const exchange *x, struct MHD_Response *response) {
    const char *origin = header(x, MHD_HTTP_HEADER_ORIGIN);
    if (guard_origin(&x->server->guard, origin, header(x, MHD_HTTP_HEADER_HOST)) != ORIGIN_ALLOWED) return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Vary", "Origin");
    if (!x->route || strcmp(x->route->method, "OPTIONS") != 0) return;
    MHD_add_response_header(response, "Access-Control-Allow-Methods", x->allow);
    MHD_add_response_header(response, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    MHD_add_response_header(response, "Access-Control-Max-Age", "600");
}

/* Queues and lets go of the response, which may be NULL (out of memory: the connection is closed). */
static void queue(exchange *x, unsigned status, const char *content_type, const char *cache, struct MHD_Response *response) {
    x->result = MHD_NO;
    if (!response) return;
    if (content_type) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, cache);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED || status == MHD_HTTP_NO_CONTENT)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, x->allow);
    if (status == MHD_HTTP_UNAUTHORIZED) MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (status == MHD_HTTP_TOO_MANY_REQUESTS) MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (atomic_load(&x->server->is_draining)) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    add_cors(x, response);
    metrics_count(&x->server->metrics, route_index(x->route), status);
    x->result = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
}

void answer_text(exchange *x, unsigned status, const char *content_type, str *text) {
    struct MHD_Response *response = NULL;
    if (!text->failed && text->data) response = MHD_create_response_from_buffer_with_free_callback(text->len, text->data, &mem_free);
    if (!response) str_deinit(text);
    *text = (str){0};
    queue(x, status, content_type, "no-store", response);
}

static int append_chunk(const char *bytes, size_t n, void *out) {
    str_append(out, bytes, n);
    return 0;
}

void json_append(str *out, json_t *value) {
    if (!value || json_dump_callback(value, append_chunk, out, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) != 0) out->failed = true;
    json_decref(value);
}

void answer_json(exchange *x, unsigned status, json_t *value) {
    str text = {0};
    json_append(&text, value);
    str_putc(&text, '\n');
    answer_text(x, status, "application/json", &text);
}

void answer_failure(exchange *x, const failure *f) { answer_json(x, (unsigned)f->status, failure_to_json(f)); }

void answer_empty(exchange *x, unsigned status) {
    queue(x, status, NULL, "no-store", MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

void answer_nothing(exchange *x) { x->result = MHD_NO; }

/* Nothing but our own files, no inline code, no frames: what a model says can never become a script. */
static const char page_policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
                                  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

void answer_static(exchange *x, unsigned status, const char *content_type, const void *bytes, size_t n, const char *etag) {
    struct MHD_Response *response = MHD_create_response_from_buffer(n, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT);
    if (response) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, etag);
        MHD_add_response_header(response, "Content-Security-Policy", page_policy);
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    queue(x, status, content_type, "no-cache", response);
}

bool exchange_is_over(const exchange *x) {
    if (atomic_load(&x->server->is_cut)) return true;
    struct pollfd p = {.fd = watched_fd(x->watched), .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

/* ---- event streams ---- */

#define EVENT_BLOCK_BYTES (16 << 10)

typedef struct events {
    exchange *x;
    event_source source;
    str out;
    size_t sent;      /* of out */
    double spoken_ms; /* when it last said something */
    bool is_done;
    bool is_half_closed; /* the client's sending side */
} events;

static void free_events(void *state) {
    events *e = state;
    e->source.free(e->source.state);
    str_deinit(&e->out);
    mem_free(e);
}

/* A client that has shut its sending side may have left, or may still read: a comment finds out, it makes a socket without a reader fail.
 */
static bool is_client_gone(events *e) {
    struct pollfd p = {.fd = watched_fd(e->x->watched), .events = e->is_half_closed ? 0 : POLLRDHUP};
    if (poll(&p, 1, 0) <= 0) return false;
    if (p.revents & (POLLHUP | POLLERR | POLLNVAL)) return true;
    e->is_half_closed = true;
    str_puts(&e->out, ":\n\n");
    return false;
}

/* Fills e->out; false when the stream has to be cut. */
static bool produce(events *e) {
    str_clear(&e->out);
    e->sent = 0;
    while (e->out.len == 0 && !e->is_done) {
        if (atomic_load(&e->x->server->is_cut) || is_client_gone(e)) return false;
        if (e->out.len) break; /* the comment that finds out whether the client is there goes at once */
        e->is_done = !e->source.next(e->source.state, &e->out, WAIT_MS);
        if (e->out.len == 0 && clock_ms() - e->spoken_ms >= HEARTBEAT_MS) str_puts(&e->out, ": waiting\n\n");
    }
    e->spoken_ms = clock_ms();
    return !e->out.failed;
}

static ssize_t read_events(void *state, uint64_t position, char *buffer, size_t max) {
    (void)position;
    events *e = state;
    if (e->sent == e->out.len) {
        watch_set(e->x->server->watch, e->x->watched, 0);
        bool is_alive = produce(e);
        watch_set(e->x->server->watch, e->x->watched, e->x->server->send_ms);
        if (!is_alive) return MHD_CONTENT_READER_END_WITH_ERROR;
        if (e->out.len == 0) return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t left = e->out.len - e->sent, n = left < max ? left : max;
    memcpy(buffer, e->out.data + e->sent, n);
    e->sent += n;
    return (ssize_t)n;
}

void answer_events(exchange *x, const event_source *source) {
    events *e = mem_zalloc(sizeof *e);
    struct MHD_Response *response = NULL;
    if (e) {
        *e = (events){.x = x, .source = *source, .spoken_ms = clock_ms()};
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EVENT_BLOCK_BYTES, read_events, e, free_events);
    }
    if (!response) {
        mem_free(e);
        source->free(source->state);
    } else {
        MHD_add_response_header(response, "X-Accel-Buffering", "no");
    }
    queue(x, MHD_HTTP_OK, "text/event-stream", "no-cache", response);
}

void event_append(str *out, const char *name, json_t *value) {
    if (name) str_printf(out, "event: %s\n", name);
    str_puts(out, "data: ");
    json_append(out, value);
    str_puts(out, "\n\n");
}
