#include "server/metrics.h"

#include <inttypes.h>

#include "server/internal.h"

/* The statuses we answer with; the last counts all others. */
static const unsigned codes[METRICS_N_CODES] = {200, 204, 304, 400, 401, 403, 404, 405, 413, 415, 421, 429, 500, 503};

void metrics_count(metrics *m, size_t row, unsigned status) {
    size_t code = 0;
    while (code < METRICS_N_CODES - 1 && codes[code] != status) code++;
    atomic_fetch_add_explicit(&m->requests[row][code], 1, memory_order_relaxed);
}

void metrics_write_requests(metrics *m, str *out) {
    str_puts(out, "# HELP qaio_http_requests_total Requests answered.\n# TYPE qaio_http_requests_total counter\n");
    for (size_t i = 0; i < route_count(); i++) {
        for (size_t code = 0; code < METRICS_N_CODES; code++) {
            uint64_t n = atomic_load_explicit(&m->requests[i][code], memory_order_relaxed);
            if (n)
                str_printf(out, "qaio_http_requests_total{method=\"%s\",route=\"%s\",code=\"%u\"} %" PRIu64 "\n", route_at(i)->method,
                           route_at(i)->path, codes[code], n);
        }
    }
}
