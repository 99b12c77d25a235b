/* Who may call: the key, the Host header (against DNS rebinding), the Origin header (against other web pages). */
#ifndef QAIO_SERVER_GUARD_H
#define QAIO_SERVER_GUARD_H

#include "server/listener.h"
#include "server/server.h"

typedef struct guard {
    char *key; /* NULL: none is asked for */
    size_t key_bytes;
    char address[INET6_ADDRSTRLEN]; /* we listen on */
    bool is_wildcard;
    char **hosts, **origins;
    size_t n_hosts, n_origins;
} guard;

/* Copies what it needs; guard_deinit also after a failure. */
qaio_status guard_init(guard *g, const server_options *options, const listener *l, qaio_error *err);
void guard_deinit(guard *g);

/* host: the header, "name" or "name:port"; NULL (HTTP/1.0): allowed, browsers always send one. */
bool guard_allows_host(const guard *g, const char *host);

typedef enum origin_kind {
    ORIGIN_SAME,    /* none, or our own page */
    ORIGIN_ALLOWED, /* another page, named in the options */
    ORIGIN_FOREIGN,
} origin_kind;
origin_kind guard_origin(const guard *g, const char *origin, const char *host);

/* authorization: the header or NULL.  Takes the same time for every wrong key of a length. */
bool guard_allows_key(const guard *g, const char *authorization);

#endif
