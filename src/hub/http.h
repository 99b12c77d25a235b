/* A hub seen as an HTTP client sees it: GET with redirects, ranges, retries.
 *
 *     http_get
 *       attempt 1   GET url  (Range: bytes=position-)  -> 302 -> other host, without the token -> body -> sink
 *       cut?  pause, attempt 2 continues at the sink's position; gives up after HTTP_RETRIES attempts in a row that brought nothing
 *
 * The token goes to the endpoint's own scheme, host and port and to nothing else.  Redirects and page links may lead to http only when the
 * endpoint itself is http. */
#ifndef QAIO_HUB_HTTP_H
#define QAIO_HUB_HTTP_H

#include "hub/hub.h"

#define HTTP_MAX_REDIRECTS     8
#define HTTP_RETRIES           5
#define HTTP_PROGRESS_BYTES    (64 << 10) /* an attempt that brought this much does not count against HTTP_RETRIES */
#define HTTP_MAX_PAUSE_S       60         /* of a server's Retry-After */
#define HTTP_CONNECT_TIMEOUT_S 20
#define HTTP_STALL_TIMEOUT_S   30 /* without HTTP_STALL_BYTES a second */
#define HTTP_STALL_BYTES       100
#define HTTP_SIZE_UNKNOWN      UINT64_MAX

typedef struct http_client http_client;

typedef struct http_config {
    const char *endpoint;       /* "https://huggingface.co"; a path may follow, a trailing slash is dropped */
    const char *token;          /* or NULL */
    const char *token_variable; /* for the message that a token is needed */
    const char *token_header;   /* "Authorization: Bearer " or how the hub wants it */
    long stall_timeout_s;       /* 0: HTTP_STALL_TIMEOUT_S */
    long first_pause_ms;        /* before the first retry, doubled for each further one; 0: 200 */
} http_config;

qaio_status http_client_new(http_client **out, const http_config *config, qaio_error *err);
void http_client_free(http_client *c);
const char *http_client_endpoint(const http_client *c); /* without trailing slash; borrowed */

/* Where a body goes. */
typedef struct http_sink http_sink;
struct http_sink {
    uint64_t position;                                     /* bytes it has: set before the call to continue, kept up to date by http_get */
    uint64_t bytes;                                        /* size of the whole, or HTTP_SIZE_UNKNOWN */
    qaio_status (*restart)(http_sink *s, qaio_error *err); /* the body comes from its first byte on: forget what is there */
    qaio_status (*write)(http_sink *s, const char *data, size_t n, qaio_error *err);
    bool (*keep_going)(http_sink *s); /* asked often; false cancels */
};

/* `what` names the thing in messages.  QAIO_ERR_IO: the network; QAIO_ERR_NOT_FOUND: 401, 403, 404; QAIO_ERR_FORMAT: not as many bytes as
 * the sink expects; QAIO_ERR_CANCELLED. */
qaio_status http_get(http_client *c, const char *url, const char *what, http_sink *sink, qaio_error *err);

/* A body of at most max_bytes as text; *next is the address of Link: <...>; rel="next" or NULL.  Both owned. */
qaio_status http_get_text(http_client *c, const char *url, const char *what, size_t max_bytes, bool (*keep_going)(void *ctx), void *ctx,
                          char **text, size_t *text_bytes, char **next, qaio_error *err);

/* For tests. ---- */

/* Finds the address with rel="next" in the value of a Link header: borrowed from it. */
bool http_link_next(const char *value, const char **address, size_t *address_bytes);
/* Whether a request that belongs to `endpoint` may go to `url`, and whether with the token. */
bool http_may_visit(const char *endpoint, const char *url);
bool http_may_send_token(const char *endpoint, const char *url);

#endif
