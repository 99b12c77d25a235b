/* Counts of requests, for /metrics. */
#ifndef QAIO_SERVER_METRICS_H
#define QAIO_SERVER_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/str.h"

#define METRICS_MAX_ROUTES 32
#define METRICS_N_CODES    16

typedef struct metrics {
    atomic_uint_fast64_t requests[METRICS_MAX_ROUTES][METRICS_N_CODES];
    atomic_size_t n_connections, n_exchanges;
} metrics;

/* row: the route's in the table; one behind the last counts what found no route. */
void metrics_count(metrics *m, size_t row, unsigned status);
void metrics_write_requests(metrics *m, str *out);

#endif
