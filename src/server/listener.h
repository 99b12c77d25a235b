/* The socket the server listens on. */
#ifndef QAIO_SERVER_LISTENER_H
#define QAIO_SERVER_LISTENER_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define LISTENER_URL_BYTES (INET6_ADDRSTRLEN + 32)

typedef struct listener {
    int fd; /* owned by whoever takes it */
    uint16_t port;
    bool is_loopback, is_wildcard;
    char address[INET6_ADDRSTRLEN]; /* "127.0.0.1" */
    char url[LISTENER_URL_BYTES];   /* "http://127.0.0.1:7860/" */
} listener;

/* Binds and listens.  must_be_loopback: anything else is a QAIO_ERR_ARGUMENT that says what is missing. */
qaio_status listener_open(listener *out, const char *host, uint16_t port, bool must_be_loopback, qaio_error *err);

#endif
