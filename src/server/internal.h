/* What the files of the server share. */
#ifndef QAIO_SERVER_INTERNAL_H
#define QAIO_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/exchange.h"
#include "server/guard.h"
#include "server/metrics.h"

#define MAX_HEADER_BYTES  (32 << 10) /* request line and headers, together with libmicrohttpd's own buffers */
#define MAX_DISCARD_BYTES (16 << 20) /* of a refused body that is still read, so that the client gets to see the answer */

struct server {
    resident *resident;
    listener listener;
    guard guard;
    unsigned receive_ms, send_ms;
    struct MHD_Daemon *daemon;
    watch *watch;
    metrics metrics;
    atomic_bool is_draining; /* no new requests */
    atomic_bool is_cut;      /* running ones end now */
    pthread_mutex_t lock;
    pthread_cond_t became_idle;
    size_t n_exchanges; /* under the lock */
};

/* connection.c: libmicrohttpd's callbacks; cls is the server. */
enum MHD_Result connection_request(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                                   const char *upload, size_t *upload_bytes, void **state);
void connection_completed(void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why);
void connection_notify(void *cls, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode what);

/* routes.c */
typedef struct route_match {
    const route *route; /* NULL: none for this path and method */
    const char *tail;
    const char *allow; /* the methods of this path; NULL: there is no such path */
} route_match;
route_match route_find(const char *method, const char *path);
/* Rows for the metrics: those of the table, then the page, OPTIONS, and what found no route. */
size_t route_count(void);
size_t route_index(const route *r);
const route *route_at(size_t index);

/* answer.c: queues a response with the headers that all have, and lets go of it; NULL (out of memory) closes the connection. */
void answer_response(exchange *x, unsigned status, const char *content_type, const char *cache, struct MHD_Response *response);

/* Handlers. */
void handle_chat_completions(exchange *x);
void handle_completions(exchange *x);
void handle_analyze(exchange *x);
void handle_decisions(exchange *x);
void handle_systemone(exchange *x);
void handle_task(exchange *x);
void handle_task_get(exchange *x);
void handle_task_list(exchange *x);
void handle_model_get(exchange *x);
void handle_model_list(exchange *x);
void handle_health(exchange *x);
void handle_ready(exchange *x);
void handle_metrics(exchange *x);
void handle_asset(exchange *x);

/* assets.c: whether the page has a file at this path. */
bool asset_exists(const char *path);

#endif
