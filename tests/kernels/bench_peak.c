#include "bench_peak.h"

#include <string.h>

/* Bytes of a register. */
#if defined(__AVX512F__)
#define REGISTER 64
#elif defined(__AVX2__)
#define REGISTER 32
#else
#define REGISTER 16
#endif

typedef float lanes __attribute__((vector_size(REGISTER)));
typedef uint64_t words __attribute__((vector_size(REGISTER)));

/* CHAINS: more than latency times throughput of today's cores. */
enum { LANES = REGISTER / 4, CHAINS = 12, STEPS = 100000, STREAMS = 4, WORDS = REGISTER / 8 };

double bench_fma_operations(void) { return 2.0 * LANES * CHAINS * STEPS; }

/* Built with -ffp-contract=fast: one instruction each. */
float bench_fma(void) {
    lanes chain[CHAINS], factor = {0}, sum = {0};
    factor += 0.999999f;
    for (size_t i = 0; i < CHAINS; i++) chain[i] = factor;
    for (size_t step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
        for (size_t i = 0; i < CHAINS; i++) chain[i] = chain[i] * factor + factor;
    }
    for (size_t i = 0; i < CHAINS; i++) sum += chain[i];
    return sum[0];
}

uint64_t bench_read(const uint64_t *data, size_t n) {
    words x[STREAMS] = {0};
    uint64_t result = 0;
    for (size_t i = 0; i + STREAMS * WORDS <= n; i += STREAMS * WORDS) {
#pragma GCC unroll 4
        for (size_t s = 0; s < STREAMS; s++) {
            words v;
            memcpy(&v, data + i + s * WORDS, sizeof v);
            x[s] ^= v;
        }
    }
    for (size_t s = 0; s < STREAMS; s++) {
        for (size_t i = 0; i < WORDS; i++) result ^= x[s][i];
    }
    return result;
}
