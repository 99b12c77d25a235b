#include "server/guard.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"

static qaio_status copy_list(char ***out, size_t *n_out, const char *const *list, size_t n, qaio_error *err) {
    if (!(*out = mem_array(n, sizeof **out))) return error_memory(err);
    for (size_t i = 0; i < n; i++, ++*n_out)
        if (!((*out)[i] = mem_strndup(list[i], strlen(list[i])))) return error_memory(err);
    return QAIO_OK;
}

qaio_status guard_init(guard *g, const server_options *options, const listener *l, qaio_error *err) {
    *g = (guard){.is_wildcard = l->is_wildcard};
    memcpy(g->address, l->address, sizeof g->address);
    if (options->api_key) {
        g->key_bytes = strlen(options->api_key);
        if (!(g->key = mem_strndup(options->api_key, g->key_bytes))) return error_memory(err);
    }
    qaio_status status = copy_list(&g->hosts, &g->n_hosts, options->allowed_hosts, options->n_allowed_hosts, err);
    return status ? status : copy_list(&g->origins, &g->n_origins, options->allowed_origins, options->n_allowed_origins, err);
}

void guard_deinit(guard *g) {
    for (size_t i = 0; i < g->n_hosts; i++) mem_free(g->hosts[i]);
    for (size_t i = 0; i < g->n_origins; i++) mem_free(g->origins[i]);
    mem_free(g->hosts);
    mem_free(g->origins);
    mem_free(g->key);
    *g = (guard){0};
}

/* "name:port", "[::1]:port" -> the name without brackets, port and a final dot; false when it does not fit. */
static bool split_host(const char *host, char *name, size_t name_bytes) {
    const char *end;
    if (*host == '[') {
        host++;
        end = strchr(host, ']');
        if (!end || (end[1] != 0 && end[1] != ':')) return false;
    } else {
        end = host + strcspn(host, ":");
    }
    size_t n = (size_t)(end - host);
    if (n > 1 && host[n - 1] == '.') n--;
    if (n == 0 || n >= name_bytes) return false;
    memcpy(name, host, n);
    name[n] = 0;
    return true;
}

static bool is_address(const char *name) {
    struct in6_addr any;
    return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

bool guard_allows_host(const guard *g, const char *host) {
    static const char *const loopback[] = {"localhost", "127.0.0.1", "::1"};
    char name[256];
    if (!host) return true;
    if (!split_host(host, name, sizeof name)) return false;
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++)
        if (strcasecmp(name, loopback[i]) == 0) return true;
    for (size_t i = 0; i < g->n_hosts; i++)
        if (strcasecmp(name, g->hosts[i]) == 0) return true;
    /* Rebinding needs a name: an address in the header is the one the browser really went to. */
    return g->is_wildcard ? is_address(name) : strcasecmp(name, g->address) == 0;
}

origin_kind guard_origin(const guard *g, const char *origin, const char *host) {
    if (!origin) return ORIGIN_SAME;
    const char *authority = strstr(origin, "://");
    if (authority && host && strcasecmp(authority + 3, host) == 0) return ORIGIN_SAME;
    for (size_t i = 0; i < g->n_origins; i++)
        if (strcasecmp(origin, g->origins[i]) == 0) return ORIGIN_ALLOWED;
    return ORIGIN_FOREIGN;
}

bool guard_allows_key(const guard *g, const char *authorization) {
    static const char scheme[] = "Bearer ";
    if (!g->key) return true;
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) return false;
    const char *given = authorization + sizeof scheme - 1;
    size_t n = strlen(given);
    size_t difference = n ^ g->key_bytes;
    for (size_t i = 0; i < n; i++) difference |= (size_t)(unsigned char)given[i] ^ (size_t)(unsigned char)g->key[i % g->key_bytes];
    return difference == 0;
}
