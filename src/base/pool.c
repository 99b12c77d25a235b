/* A pool of threads for short parallel loops.
 *
 *   caller            workers
 *   publish loop  ->  wake (spin on `generation`, else futex-like condition wait)
 *   take chunks       take chunks            (one atomic counter)
 *   wait n_busy==0 <- last chunk done
 *
 * A loop in a forward pass takes tens of microseconds, so a worker spins for about one such loop before it sleeps. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define SPIN_NS 60000 /* how long a worker looks for the next loop before it sleeps */

struct pool {
    int n_threads;
    int n_started;
    pthread_t threads[POOL_MAX_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_uint generation; /* one more for each loop published */
    atomic_int n_sleeping;
    atomic_bool is_closing;
    /* the loop at hand */
    pool_fn *fn;
    void *ctx;
    size_t n_items, chunk;
    atomic_size_t next;
    atomic_int n_busy; /* workers that have not finished this loop */
};

typedef struct worker_arg {
    pool *p;
    int thread;
} worker_arg;

static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* cpu.max of this cgroup (v2), or cfs quota (v1), as whole CPUs rounded up; 0 when unlimited or unknown. */
static int quota_cpus(void) {
    long long quota = 0, period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (f) {
        if (fscanf(f, "%lld %lld", &quota, &period) != 2) quota = 0;
        fclose(f);
    } else {
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re"))) {
            if (fscanf(f, "%lld", &quota) != 1) quota = 0;
            fclose(f);
        }
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re"))) {
            if (fscanf(f, "%lld", &period) != 1) period = 0;
            fclose(f);
        }
    }
    if (quota <= 0 || period <= 0) return 0;
    return (int)((quota + period - 1) / period);
}

int pool_default_threads(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = quota_cpus();
    if (quota > 0 && quota < n) n = quota;
    return n < 1 ? 1 : n > POOL_MAX_THREADS ? POOL_MAX_THREADS : n;
}

static void take_chunks(pool *p, int thread) {
    for (;;) {
        size_t begin = atomic_fetch_add_explicit(&p->next, p->chunk, memory_order_relaxed);
        if (begin >= p->n_items) return;
        size_t end = p->n_items - begin > p->chunk ? begin + p->chunk : p->n_items;
        p->fn(p->ctx, begin, end, thread);
    }
}

/* Returns the new generation, or `seen` when the pool closes. */
static unsigned wait_for_loop(pool *p, unsigned seen) {
    int64_t until = clock_ns() + SPIN_NS;
    unsigned now;
    for (unsigned spins = 0;; spins++) {
        if ((now = atomic_load_explicit(&p->generation, memory_order_acquire)) != seen) return now;
        if (atomic_load_explicit(&p->is_closing, memory_order_relaxed)) return seen;
        cpu_relax();
        if ((spins & 63) == 63 && clock_ns() > until) break;
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_sleeping, 1);
    while ((now = atomic_load(&p->generation)) == seen && !atomic_load(&p->is_closing)) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->n_sleeping, 1);
    pthread_mutex_unlock(&p->lock);
    return now;
}

static void *worker(void *arg) {
    worker_arg w = *(worker_arg *)arg;
    mem_free(arg);
    unsigned seen = 0;
    for (;;) {
        unsigned now = wait_for_loop(w.p, seen);
        if (now == seen) return NULL;
        seen = now;
        take_chunks(w.p, w.thread);
        atomic_fetch_sub_explicit(&w.p->n_busy, 1, memory_order_release);
    }
}

qaio_status pool_new(pool **out, int n_threads, qaio_error *err) {
    if (n_threads <= 0) n_threads = pool_default_threads();
    if (n_threads > POOL_MAX_THREADS) return error_set(err, QAIO_ERR_ARGUMENT, "%d threads, at most %d", n_threads, POOL_MAX_THREADS);
    pool *p = mem_zalloc(sizeof *p);
    if (!p) return error_memory(err);
    p->n_threads = n_threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    for (int i = 1; i < n_threads; i++) {
        worker_arg *arg = mem_alloc(sizeof *arg);
        if (arg) *arg = (worker_arg){p, i};
        if (!arg || pthread_create(&p->threads[i], NULL, worker, arg) != 0) {
            mem_free(arg);
            pool_free(p);
            return error_set(err, QAIO_ERR_MEMORY, "cannot start thread %d of %d", i + 1, n_threads);
        }
        p->n_started = i;
    }
    *out = p;
    return QAIO_OK;
}

void pool_free(pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->is_closing, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 1; i <= p->n_started; i++) pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

int pool_threads(const pool *p) { return p->n_threads; }

void pool_run(pool *p, pool_fn *fn, void *ctx, size_t n_items, size_t chunk) {
    if (chunk == 0) chunk = 1;
    if (p->n_threads == 1 || n_items <= chunk) {
        if (n_items) fn(ctx, 0, n_items, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n_items = n_items;
    p->chunk = chunk;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->n_busy, p->n_threads - 1, memory_order_relaxed);
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->n_sleeping) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
    take_chunks(p, 0);
    /* A worker that has no CPU of its own would wait for us: give ours away after a while. */
    for (unsigned spins = 0; atomic_load_explicit(&p->n_busy, memory_order_acquire) > 0; spins++) {
        cpu_relax();
        if ((spins & 1023) == 1023) sched_yield();
    }
}
