#include "server/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128

static void describe(listener *l, const struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, l->address, sizeof l->address);
        l->port = ntohs(v6->sin6_port);
        l->is_loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
        l->is_wildcard = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
        snprintf(l->url, sizeof l->url, "http://[%s]:%u/", l->is_wildcard ? "::1" : l->address, l->port);
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, l->address, sizeof l->address);
        l->port = ntohs(v4->sin_port);
        l->is_loopback = (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
        l->is_wildcard = v4->sin_addr.s_addr == htonl(INADDR_ANY);
        snprintf(l->url, sizeof l->url, "http://%s:%u/", l->is_wildcard ? "127.0.0.1" : l->address, l->port);
    }
}

/* Binds to one address; -1 with errno on failure. */
static int bind_socket(const struct addrinfo *at) {
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol), on = 1;
    if (fd < 0) return -1;
    /* A server that was just stopped leaves connections in TIME_WAIT; they must not keep the port. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static qaio_status cannot_listen(const char *host, uint16_t port, int why, qaio_error *err) {
    if (why == EADDRINUSE)
        return error_set(err, QAIO_ERR_IO, "port %u of %s is in use; choose another with --port, or 0 for a free one", port, host);
    return error_set(err, QAIO_ERR_IO, "cannot listen on %s, port %u: %s", host, port, strerror(why));
}

qaio_status listener_open(listener *out, const char *host, uint16_t port, bool must_be_loopback, qaio_error *err) {
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    int failed = getaddrinfo(host, service, &hints, &found);
    if (failed) return error_set(err, QAIO_ERR_ARGUMENT, "no address to listen on for \"%s\": %s", host, gai_strerror(failed));
    listener l = {.fd = -1};
    struct sockaddr_storage address = {0};
    memcpy(&address, found->ai_addr, found->ai_addrlen);
    describe(&l, &address);
    qaio_status status = QAIO_OK;
    if (must_be_loopback && !l.is_loopback)
        status = error_set(err, QAIO_ERR_ARGUMENT, "%s can be reached from other machines: give --api-key-file, or --insecure", host);
    else if ((l.fd = bind_socket(found)) < 0)
        status = cannot_listen(host, port, errno, err);
    freeaddrinfo(found);
    if (status) return status;
    socklen_t length = sizeof address;
    getsockname(l.fd, (struct sockaddr *)&address, &length);
    describe(&l, &address);
    *out = l;
    return QAIO_OK;
}
