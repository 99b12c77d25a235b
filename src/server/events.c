/* Server-sent events (HTML standard, section 9.2). */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/internal.h"

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
    answer_response(x, MHD_HTTP_OK, "text/event-stream", "no-cache", response);
}

void event_append(str *out, const char *name, json_t *value) {
    if (name) str_printf(out, "event: %s\n", name);
    str_puts(out, "data: ");
    answer_append_json(out, value);
    str_puts(out, "\n\n");
}
