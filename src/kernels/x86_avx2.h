/* What the AVX2 files share: parts of a vector, exp_approx on 8 lanes, reductions in the order kernels.h fixes.  The 16 lanes of kernels.h
 * are two registers. */
#ifndef QAIO_KERNELS_X86_AVX2_H
#define QAIO_KERNELS_X86_AVX2_H

#include <immintrin.h>

#include "kernels/isa.h"

/* The first n of 8 lanes, all from 8 on. */
ALWAYS_INLINE __m256i first_lanes(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first n floats at p, at most 8, and zeros. */
ALWAYS_INLINE __m256 load_first(const float *p, size_t n) { return n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first_lanes(n)); }

ALWAYS_INLINE void store_first(float *p, size_t n, __m256 v) {
    if (n >= 8) {
        _mm256_storeu_ps(p, v);
    } else {
        _mm256_maskstore_ps(p, first_lanes(n), v);
    }
}

ALWAYS_INLINE __m256 exp8(__m256 x) {
    __m256 clamped = _mm256_min_ps(_mm256_set1_ps(EXP_MAX), x); /* the second operand where x is NaN */
    __m256 magic = _mm256_set1_ps(EXP_MAGIC);
    __m256 shifted = _mm256_fmadd_ps(clamped, _mm256_set1_ps(EXP_LOG2E), magic), n = _mm256_sub_ps(shifted, magic);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN2_HI), clamped);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN2_LO), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(EXP_C4), r, _mm256_set1_ps(EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C0));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    __m256i bits = _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23));
    p = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(EXP_MIN), _CMP_LT_OQ), _mm256_castsi256_ps(bits));
    return _mm256_or_ps(p, _mm256_cmp_ps(x, x, _CMP_UNORD_Q)); /* all ones are a NaN */
}

/* 16 lanes, the lower eight first. */
ALWAYS_INLINE float add_lanes(__m256 low, __m256 high) {
    __m256 v8 = _mm256_add_ps(low, high);
    __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* No lane may be NaN. */
ALWAYS_INLINE float max_lanes(__m256 v8) {
    __m128 v4 = _mm_max_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    __m128 v2 = _mm_max_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_max_ss(v2, _mm_movehdup_ps(v2)));
}

void matmul_f32_avx2(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_f16_avx2(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_bf16_avx2(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_q8_0_avx2(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_q4_0_avx2(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_q8_0_avxvnni(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_q4_0_avxvnni(const matmul_args *a, size_t group_begin, size_t group_end);
void attention_avx2(const attention_args *a);

#endif
