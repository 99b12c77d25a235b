#include "kernels/measure.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kernels/measure_isa.h"

enum {
    ROUNDS = 8,
    CALLS_A_THREAD = 8,      /* so that a thread that loses its core for a while hardly counts */
    STEPS = 100000,          /* of a call: about a millisecond */
    MIN_READ_NS = 200000000, /* of all rounds of reading */
    READ_CHUNK = 1 << 15,    /* words */
    STREAMS = 4,             /* read in turn, in registers of their own */
    WORDS = 2,               /* of such a register, which every CPU has */
};

#define SMALL_BUFFER ((size_t)256 << 20)
#define LARGE_BUFFER ((size_t)512 << 20)

typedef uint64_t words __attribute__((vector_size(WORDS * 8)));

static const measure_loop *const all_loops[] = {
#if defined(__x86_64__)
    measure_avx2,
    measure_avx512,
#elif defined(__aarch64__)
    measure_neon,
#endif
    NULL,
};

static bool has_word(const char *list, const char *word, size_t n) {
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return true;
    return false;
}

static bool has_all(const char *features, const char *needs) {
    while (*needs) {
        char word[32];
        size_t n = strcspn(needs, " ");
        memcpy(word, needs, n);
        word[n] = '\0';
        if (!has_word(features, word, n)) return false;
        needs += n + (needs[n] == ' ');
    }
    return true;
}

/* The ith loop that this CPU runs, or NULL; *n (may be NULL) counts them. */
static const measure_loop *loop_at(size_t i, size_t *n) {
    char features[512];
    size_t count = 0;
    const measure_loop *found = NULL;
    kernels_cpu_features(features, sizeof features);
    for (const measure_loop *const *list = all_loops; *list; list++)
        for (const measure_loop *loop = *list; loop->run; loop++) {
            if (!has_all(features, loop->needs)) continue;
            if (count++ == i) found = loop;
        }
    if (n) *n = count;
    return found;
}

size_t measure_n_peaks(void) {
    size_t n;
    loop_at(0, &n);
    return n;
}

static volatile uint32_t kept; /* what was computed, so that it is */

static void run_loop(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const measure_loop *loop = ctx;
    for (size_t i = begin; i < end; i++) kept = loop->run(STEPS);
}

measured_peak measure_peak(size_t i, pool *p) {
    const measure_loop *loop = loop_at(i, NULL);
    size_t calls = CALLS_A_THREAD * (size_t)pool_threads(p);
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = clock_ns();
        pool_run(p, run_loop, (void *)loop, calls, 1);
        int64_t took = clock_ns() - start;
        if (took < best) best = took;
    }
    return (measured_peak){loop->instructions, loop->kind, 1e9 * loop->operations_per_step * STEPS * (double)calls / (double)best};
}

/* The exclusive or of all words: every byte is read. */
static void read_words(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const uint64_t *data = ctx;
    words x[STREAMS] = {0};
    size_t i = begin;
    for (; i + STREAMS * WORDS <= end; i += STREAMS * WORDS) {
        UNROLL for (size_t s = 0; s < STREAMS; s++) {
            words v;
            memcpy(&v, data + i + s * WORDS, sizeof v);
            x[s] ^= v;
        }
    }
    for (size_t s = 1; s < STREAMS; s++) x[0] ^= x[s];
    for (; i < end; i++) x[0][0] ^= data[i];
    kept = (uint32_t)(x[0][0] ^ x[0][1]);
}

qaio_status measure_read(double *bytes_per_second, pool *p, size_t bytes, qaio_error *err) {
    size_t n = bytes / sizeof(uint64_t);
    if (n == 0) return error_set(err, QAIO_ERR_ARGUMENT, "nothing to read");
    uint64_t *data = mem_pages(n * sizeof *data);
    if (!data) return error_memory(err);
    memset(data, 1, n * sizeof *data);
    int64_t best = INT64_MAX, total = 0;
    for (int round = 0; round < 2 || total < MIN_READ_NS; round++) {
        int64_t start = clock_ns();
        pool_run(p, read_words, data, n, READ_CHUNK);
        int64_t took = clock_ns() - start;
        if (took < best) best = took;
        total += took;
    }
    mem_pages_free(data, n * sizeof *data);
    *bytes_per_second = 1e9 * (double)n * sizeof(uint64_t) / (double)best;
    return QAIO_OK;
}

size_t measure_large_buffer(void) {
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t bytes = cache > 0 ? 8 * (size_t)cache : 0;
    return bytes < SMALL_BUFFER ? SMALL_BUFFER : bytes > LARGE_BUFFER ? LARGE_BUFFER : bytes;
}
