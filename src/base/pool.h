/* A pool of threads for short parallel loops: spins briefly for the next loop, then sleeps, so an idle pool uses no CPU. */
#ifndef QAIO_BASE_POOL_H
#define QAIO_BASE_POOL_H

#include <stddef.h>

#include "base/error.h"

typedef struct pool pool;

#define POOL_MAX_THREADS 256

/* CPUs this process may really use: its affinity mask, capped by the cgroup v2 (cpu.max) or v1 quota, at least 1. */
int pool_default_threads(void);

/* n_threads counts the calling thread: 1 starts none.  0 means pool_default_threads(). */
qaio_status pool_new(pool **out, int n_threads, qaio_error *err);
void pool_free(pool *p);
int pool_threads(const pool *p);

/* Runs fn(ctx, begin, end, thread) over [0, n_items) in chunks of `chunk` items; returns when all are done.  `thread` is 0..n_threads-1,
 * for per-thread scratch.  Chunks are taken in order from a shared counter, so a thread that lost its core delays only its own chunk. One
 * caller at a time. */
typedef void pool_fn(void *ctx, size_t begin, size_t end, int thread);
void pool_run(pool *p, pool_fn *fn, void *ctx, size_t n_items, size_t chunk);

#endif
