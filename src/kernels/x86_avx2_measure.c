/* Limits of AVX2 and AVX-VNNI. */
#include <immintrin.h>

#include "kernels/measure_isa.h"

/* With the operands they fit 16 registers, and no compiler moves one to memory (check the disassembly). */
enum { CHAINS = 10, SUMS = 6 };

static uint32_t first_word(__m256i v) { return (uint32_t)_mm256_extract_epi32(v, 0); }

static uint32_t run_f32(size_t n_steps) {
    __m256 chain[CHAINS], factor = _mm256_set1_ps(0.999999f), sum = _mm256_setzero_ps();
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chain[i] = factor;
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = _mm256_fmadd_ps(chain[i], factor, factor);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) sum = _mm256_add_ps(sum, chain[i]);
    return first_word(_mm256_castps_si256(sum));
}

/* The product that is the same every time; an instruction that the compiler cannot move out of the loop. */
ALWAYS_INLINE __m256i products(__m256i w, __m256i x) {
    __m256i pairs;
    __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(w), "x"(x));
    return pairs;
}

/* vpmaddubsw, vpmaddwd, vpaddd: 32 products a chain. */
static uint32_t run_int8(size_t n_steps) {
    __m256i chain[SUMS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1), sum = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < SUMS; i++) {
        chain[i] = _mm256_setzero_si256();
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < SUMS; i++) chain[i] = _mm256_add_epi32(chain[i], _mm256_madd_epi16(products(w, x), ones));
    }
    UNROLL for (int i = 0; i < SUMS; i++) sum = _mm256_add_epi32(sum, chain[i]);
    return first_word(sum);
}

/* vpmaddubsw, vpaddw. */
static uint32_t run_int4(size_t n_steps) {
    __m256i chain[SUMS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5), sum = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < SUMS; i++) {
        chain[i] = _mm256_setzero_si256();
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < SUMS; i++) chain[i] = _mm256_add_epi16(chain[i], products(w, x));
    }
    UNROLL for (int i = 0; i < SUMS; i++) sum = _mm256_add_epi16(sum, chain[i]);
    return first_word(sum);
}

__attribute__((target("avxvnni"))) static uint32_t run_vnni(size_t n_steps) {
    __m256i chain[CHAINS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5), sum = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chain[i] = _mm256_setzero_si256();
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = _mm256_dpbusd_avx_epi32(chain[i], w, x);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) sum = _mm256_add_epi32(sum, chain[i]);
    return first_word(sum);
}

const measure_loop measure_avx2[] = {
    {"avx2", MEASURE_F32, "AVX2 FMA", 2.0 * 8 * CHAINS, run_f32},
    {"avx2", MEASURE_INT8, "AVX2", 2.0 * 32 * SUMS, run_int8},
    {"avx2", MEASURE_INT4, "AVX2", 2.0 * 32 * SUMS, run_int4},
    {"avx-vnni", MEASURE_INT8, "AVX-VNNI", 2.0 * 32 * CHAINS, run_vnni},
    {0},
};
