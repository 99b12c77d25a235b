/* Limits of AVX-512, its VNNI and its BF16. */
#include <immintrin.h>

#include "kernels/measure_isa.h"

enum { CHAINS = 16 };

static uint32_t first_word(__m512i v) { return (uint32_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(v)); }

static uint32_t run_f32(size_t n_steps) {
    __m512 chain[CHAINS], factor = _mm512_set1_ps(0.999999f), sum = _mm512_setzero_ps();
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chain[i] = factor;
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = _mm512_fmadd_ps(chain[i], factor, factor);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) sum = _mm512_add_ps(sum, chain[i]);
    return first_word(_mm512_castps_si512(sum));
}

static uint32_t run_vnni(size_t n_steps) {
    __m512i chain[CHAINS], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(-5), sum = _mm512_setzero_si512();
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chain[i] = _mm512_setzero_si512();
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = _mm512_dpbusd_epi32(chain[i], w, x);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) sum = _mm512_add_epi32(sum, chain[i]);
    return first_word(sum);
}

__attribute__((target("avx512bf16"))) static uint32_t run_bf16(size_t n_steps) {
    __m512 chain[CHAINS], one = _mm512_set1_ps(1.0f), sum = _mm512_setzero_ps();
    __m512bh pair = _mm512_cvtne2ps_pbh(one, one);
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chain[i] = one;
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = _mm512_dpbf16_ps(chain[i], pair, pair);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) sum = _mm512_add_ps(sum, chain[i]);
    return first_word(_mm512_castps_si512(sum));
}

const measure_loop measure_avx512[] = {
    {"avx512", MEASURE_F32, "AVX-512", 2.0 * 16 * CHAINS, run_f32},
    {"avx512-vnni", MEASURE_INT8, "AVX512-VNNI", 2.0 * 64 * CHAINS, run_vnni},
    {"avx512-bf16", MEASURE_BF16, "AVX512-BF16", 2.0 * 32 * CHAINS, run_bf16},
    {0},
};
