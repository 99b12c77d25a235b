/* What the files with AVX-512 share: masks, exp_approx on 16 lanes, reductions in the order kernels.h fixes, results of products. */
#ifndef QAIO_KERNELS_X86_AVX512_H
#define QAIO_KERNELS_X86_AVX512_H

/* A test on a CPU without AVX-512 names a header here that emulates the instructions. */
#if defined(QAIO_AVX512_INTRINSICS)
#include QAIO_AVX512_INTRINSICS
#else
#include <immintrin.h>
#endif

#include "kernels/isa.h"

/* The first n of 16 lanes, all from 16 on. */
ALWAYS_INLINE __mmask16 first_lanes(size_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1); }

ALWAYS_INLINE __m512 exp16(__m512 x) {
    __m512 clamped = _mm512_min_ps(_mm512_set1_ps(EXP_MAX), x); /* the second operand where x is NaN */
    __m512 magic = _mm512_set1_ps(EXP_MAGIC);
    __m512 shifted = _mm512_fmadd_ps(clamped, _mm512_set1_ps(EXP_LOG2E), magic), n = _mm512_sub_ps(shifted, magic);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN2_HI), clamped);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN2_LO), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(EXP_C4), r, _mm512_set1_ps(EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C0));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    __m512i bits = _mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(shifted), 23));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), in_range = _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXP_MIN), _CMP_NLT_UQ);
    return _mm512_mask_mov_ps(_mm512_maskz_mov_ps(in_range, _mm512_castsi512_ps(bits)), nan, x);
}

ALWAYS_INLINE float add_lanes(__m512 v) {
    __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* No lane may be NaN. */
ALWAYS_INLINE float max_lanes(__m512 v) {
    __m256 v8 = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 v4 = _mm_max_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    __m128 v2 = _mm_max_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_max_ss(v2, _mm_movehdup_ps(v2)));
}

/* The 16 results of a group for one row of a product, as far as they exist. */
ALWAYS_INLINE void store_results(const matmul_args *a, size_t group, size_t row, __m512 v) {
    size_t first = group * PACK_ROWS;
    __mmask16 lanes = first_lanes(a->w->n_rows - first);
    float *y = a->y + row * a->y_stride + first;
    if (a->bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(lanes, a->bias + first));
    if (a->accumulate) v = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), v);
    _mm512_mask_storeu_ps(y, lanes, v);
}

void matmul_f32_avx512(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_f16_avx512(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_bf16_avx512(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_q8_0_avx512(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_q4_0_avx512(const matmul_args *a, size_t group_begin, size_t group_end);
void attention_avx512(const attention_args *a);

#endif
