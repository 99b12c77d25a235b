/* The HTTP server: OpenAI's wire format, the decision routes, the page.  docs/http.md describes the routes.
 *
 * One thread a connection, at most max_connections of them; the model's work happens in the engine's threads.  The server never prints. */
#ifndef QAIO_SERVER_SERVER_H
#define QAIO_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tasks/resident.h"

#define SERVER_DEFAULT_HOST        "127.0.0.1"
#define SERVER_DEFAULT_PORT        7860
#define SERVER_DEFAULT_CONNECTIONS 256
#define SERVER_DEFAULT_RECEIVE_MS  30000 /* a connection has this long to deliver its next request, whole */
#define SERVER_DEFAULT_SEND_MS     60000 /* a client has this long to take what was sent */
#define SERVER_MAX_BODY_BYTES      (1 << 20)
#define SERVER_MIN_KEY_BYTES       8

typedef struct server_options {
    const char *host;                 /* address or name to listen on; NULL: SERVER_DEFAULT_HOST */
    uint16_t port;                    /* 0: a free one, see server_port */
    const char *api_key;              /* asked for as "Authorization: Bearer KEY" by every route but the page and the probes; NULL: none */
    bool is_insecure;                 /* allows an address that is not loopback without a key */
    const char *const *allowed_hosts; /* names in the Host header besides the loopback names and the bound address */
    size_t n_allowed_hosts;
    const char *const *allowed_origins; /* "https://chat.example": web pages elsewhere that may call (CORS) */
    size_t n_allowed_origins;
    unsigned max_connections; /* 0: SERVER_DEFAULT_CONNECTIONS */
    unsigned receive_ms;      /* 0: SERVER_DEFAULT_RECEIVE_MS */
    unsigned send_ms;         /* 0: SERVER_DEFAULT_SEND_MS */
} server_options;

extern const server_options server_defaults; /* loopback, port SERVER_DEFAULT_PORT, no key */

typedef struct server server;

/* Listens and serves in threads of its own until server_stop.  The resident is borrowed and has to live longer; the options are copied.
 * QAIO_ERR_ARGUMENT: a public address without a key, an impossible host, a short key; QAIO_ERR_IO: the port is taken. */
qaio_status server_start(server **out, resident *r, const server_options *options, qaio_error *err);

uint16_t server_port(const server *s);
/* "http://127.0.0.1:7860/": what to open in a browser on this machine; borrowed. */
const char *server_url(const server *s);

/* Stops accepting, lets running replies finish for at most deadline_ms, cuts the rest, frees.  Takes NULL. */
void server_stop(server *s, int deadline_ms);

#endif
