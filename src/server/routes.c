/* The routes: one row each. */
#include <string.h>

#include "server/internal.h"

static const route routes[] = {
    {"POST", "/v1/chat/completions", handle_chat_completions, false},
    {"POST", "/v1/completions", handle_completions, false},
    {"GET", "/v1/models", handle_model_list, false},
    {"GET", "/v1/models/", handle_model_get, false},
    {"POST", "/v1/analyze", handle_analyze, false},
    {"POST", "/v1/decisions", handle_decisions, false},
    {"POST", "/v1/systemone", handle_systemone, false},
    {"GET", "/v1/tasks", handle_task_list, false},
    {"GET", "/v1/tasks/", handle_task_get, false},
    {"POST", "/v1/tasks/", handle_task, false},
    {"GET", "/healthz", handle_health, true},
    {"GET", "/readyz", handle_ready, true},
    {"GET", "/metrics", handle_metrics, false},
};
#define N_ROUTES (sizeof routes / sizeof *routes)

static const route page = {"GET", "/", handle_asset, true};

/* A browser's question before a call from another page; answer_empty says what is allowed. */
static void handle_options(exchange *x) { answer_empty(x, MHD_HTTP_NO_CONTENT); }
static const route options = {"OPTIONS", "*", handle_options, true};

_Static_assert(N_ROUTES + 3 <= METRICS_MAX_ROUTES, "a row of counts for each route, the page, OPTIONS and nothing");

/* What follows the route's path, NULL when the path is not of the route. */
static const char *tail_of(const route *r, const char *path) {
    size_t n = strlen(r->path);
    if (strncmp(path, r->path, n) != 0) return NULL;
    bool is_prefix = r->path[n - 1] == '/';
    return is_prefix == (path[n] != 0) ? path + n : NULL;
}

static bool takes(const route *r, const char *method) {
    return strcmp(r->method, method) == 0 || (strcmp(r->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

route_match route_find(const char *method, const char *path) {
    static const char *const allow[] = {NULL, "GET, HEAD, OPTIONS", "POST, OPTIONS", "GET, HEAD, POST, OPTIONS"};
    route_match match = {0};
    unsigned methods = 0;
    for (size_t i = 0; i < N_ROUTES; i++) {
        const char *tail = tail_of(&routes[i], path);
        if (!tail) continue;
        methods |= routes[i].method[0] == 'G' ? 1 : 2;
        if (takes(&routes[i], method)) match = (route_match){.route = &routes[i], .tail = tail};
    }
    if (!methods && asset_exists(path)) {
        methods = 1;
        if (takes(&page, method)) match = (route_match){.route = &page, .tail = path + 1};
    }
    if (methods && strcmp(method, "OPTIONS") == 0) match = (route_match){.route = &options, .tail = ""};
    match.allow = allow[methods];
    return match;
}

size_t route_index(const route *r) {
    for (size_t i = 0; i < N_ROUTES; i++)
        if (r == &routes[i]) return i;
    return r == &page ? N_ROUTES : r == &options ? N_ROUTES + 1 : N_ROUTES + 2;
}

size_t route_count(void) { return N_ROUTES + 3; }

const route *route_at(size_t index) {
    static const route none = {"-", "none", NULL, true};
    return index < N_ROUTES ? &routes[index] : index == N_ROUTES ? &page : index == N_ROUTES + 1 ? &options : &none;
}
