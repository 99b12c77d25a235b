/* One request and its answer.  A route's handler runs in the connection's thread once the body is complete; it calls one answer_... */
#ifndef QAIO_SERVER_EXCHANGE_H
#define QAIO_SERVER_EXCHANGE_H

#include <microhttpd.h>

#include "base/str.h"
#include "server/failure.h"
#include "server/server.h"
#include "server/watch.h"
#include "tasks/decision.h"

#define WAIT_MS      100  /* between two looks at whether the client is still there */
#define HEARTBEAT_MS 5000 /* a silent event stream sends a comment this often */

typedef struct exchange exchange;

/* A row of the table in routes.c. */
typedef struct route {
    const char *method; /* "GET" (also answers HEAD) or "POST" */
    const char *path;   /* ending in "/": a prefix, what follows is exchange.tail; "/" itself is exact */
    void (*handle)(exchange *x);
    bool is_open; /* needs no key */
} route;

struct exchange {
    server *server;
    resident *resident;
    const task_set *tasks; /* of this request, whatever is reloaded meanwhile; counted, from when its handler runs */
    struct MHD_Connection *connection;
    watched *watched;
    const route *route; /* NULL: no such path or method */
    const char *tail;   /* of the path, behind the route's; valid within the handler */
    str body;
    size_t discarded_bytes; /* of a body nobody wants */
    failure refusal;        /* decided before the body: answered when it has come */
    const char *allow;      /* for 405: the methods there are */
    enum MHD_Result result; /* of the answer_... call */
};

/* Each queues the answer.  value, text: moved. */
void answer_json(exchange *x, unsigned status, json_t *value);
void answer_failure(exchange *x, const failure *f);
void answer_text(exchange *x, unsigned status, const char *content_type, str *text);
/* bytes: static; etag: quoted, or NULL. */
void answer_static(exchange *x, unsigned status, const char *content_type, const void *bytes, size_t n, const char *etag);
void answer_empty(exchange *x, unsigned status);
/* The client has left; the connection is closed. */
void answer_nothing(exchange *x);

/* Something that produces server-sent events, in the connection's thread. */
typedef struct event_source {
    void *state;
    /* Appends the events there are, waiting at most wait_ms for the first; false: these were the last. */
    bool (*next)(void *state, str *out, int wait_ms);
    void (*free)(void *state); /* also when the client left before the end */
} event_source;
/* source: moved. */
void answer_events(exchange *x, const event_source *source);

/* "event: NAME\ndata: JSON\n\n", without the first line when name is NULL.  value: moved; NULL makes the stream fail. */
void event_append(str *out, const char *name, json_t *value);
void answer_append_json(str *out, json_t *value); /* compact; value: moved */

/* True when waiting for the model makes no sense any more: the client has left (its sending side is closed) or the server is stopping. */
bool exchange_is_over(const exchange *x);

/* Waits for a label, or a decision; false: the exchange is over before it came. */
bool exchange_await_label(const exchange *x, label_read *read);
bool exchange_await_decision(const exchange *x, decision *d);

/* Appends a reply's whole text; `also` (may be NULL) sees each piece.  False: the exchange is over, memory has run out, or `also` said so.
 */
bool exchange_gather(exchange *x, reply *p, str *text, bool (*also)(void *state, const reply_piece *piece), void *state);

#endif
