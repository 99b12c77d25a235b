/* AVX-512 for CPUs without it: SIMDe's emulation, and in terms of it what SIMDe 0.7.4 lacks of what src/kernels/x86_avx512*.c use.  Built
 * with AVX2, FMA and F16C, so that a fused multiply-add is fused. */
#ifndef TESTS_KERNELS_SIMDE_AVX512_H
#define TESTS_KERNELS_SIMDE_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <simde/x86/avx512.h>
#pragma GCC diagnostic pop

static inline __m512 shim_from_halves(__m256 low, __m256 high) {
    __m512 v;
    memcpy(&v, &low, sizeof low);
    memcpy((char *)&v + sizeof low, &high, sizeof high);
    return v;
}

static inline __m256 shim_half(__m512 v, int high) {
    __m256 half;
    memcpy(&half, (const char *)&v + (high ? sizeof half : 0), sizeof half);
    return half;
}

/* Only the lanes of the mask may be touched. */
static inline __m512 shim_mask_loadu_ps(__m512 source, uint16_t lanes, const void *p) {
    for (size_t i = 0; i < 16; i++) {
        if (lanes >> i & 1) memcpy((char *)&source + 4 * i, (const char *)p + 4 * i, 4);
    }
    return source;
}

static inline void shim_mask_storeu_ps(void *p, uint16_t lanes, __m512 v) {
    for (size_t i = 0; i < 16; i++) {
        if (lanes >> i & 1) memcpy((char *)p + 4 * i, (const char *)&v + 4 * i, 4);
    }
}

static inline void shim_mask_storeu_epi16(void *p, uint16_t lanes, __m256i v) {
    for (size_t i = 0; i < 16; i++) {
        if (lanes >> i & 1) memcpy((char *)p + 2 * i, (const char *)&v + 2 * i, 2);
    }
}

static inline __m256i shim_maskz_loadu_epi16(uint16_t lanes, const void *p) {
    uint16_t values[16] = {0};
    for (size_t i = 0; i < 16; i++) {
        if (lanes >> i & 1) memcpy(&values[i], (const char *)p + 2 * i, 2);
    }
    return _mm256_loadu_si256((const __m256i *)values);
}

static inline __m512 shim_cvtph_ps(__m256i halves) {
    return shim_from_halves(_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
}

static inline __m256i shim_cvtps_ph(__m512 v) {
    __m128i low = _mm256_cvtps_ph(shim_half(v, 0), _MM_FROUND_TO_NEAREST_INT);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm256_cvtps_ph(shim_half(v, 1), _MM_FROUND_TO_NEAREST_INT), 1);
}

static inline __m512i shim_cvtps_epi32(__m512 v) {
    return _mm512_castps_si512(shim_from_halves(_mm256_castsi256_ps(_mm256_cvtps_epi32(shim_half(v, 0))),
                                                _mm256_castsi256_ps(_mm256_cvtps_epi32(shim_half(v, 1)))));
}

static inline __m512 shim_cvtepi32_ps(__m512i v) {
    __m512 floats = _mm512_castsi512_ps(v);
    return shim_from_halves(_mm256_cvtepi32_ps(_mm256_castps_si256(shim_half(floats, 0))),
                            _mm256_cvtepi32_ps(_mm256_castps_si256(shim_half(floats, 1))));
}

static inline __m512d shim_cvtps_pd(__m256 v) {
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v)), high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    __m512d d;
    memcpy(&d, &low, sizeof low);
    memcpy((char *)&d + sizeof low, &high, sizeof high);
    return d;
}

/* Truncates, as the instruction does. */
static inline __m128i shim_cvtepi32_epi8(__m512i v) {
    int32_t wide[16];
    uint8_t narrow[16];
    memcpy(wide, &v, sizeof wide);
    for (size_t i = 0; i < 16; i++) narrow[i] = (uint8_t)wide[i];
    return _mm_loadu_si128((const __m128i *)narrow);
}

static inline int32_t shim_reduce_max_epi32(__m512i v) {
    int32_t lane[16], largest = INT32_MIN;
    memcpy(lane, &v, sizeof lane);
    for (size_t i = 0; i < 16; i++) largest = lane[i] > largest ? lane[i] : largest;
    return largest;
}

/* Compilers that know the instructions have some of these as macros. */
#undef _mm512_mask_loadu_ps
#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm256_mask_storeu_epi16
#undef _mm256_maskz_loadu_epi16
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_pd
#undef _mm512_cvtepi32_epi8
#undef _mm512_reduce_max_epi32
#undef _mm512_extractf32x8_ps
#undef _mm512_mask_cmp_ps_mask
#define _mm512_mask_loadu_ps(source, lanes, p)          shim_mask_loadu_ps(source, lanes, p)
#define _mm512_maskz_loadu_ps(lanes, p)                 shim_mask_loadu_ps(_mm512_setzero_ps(), lanes, p)
#define _mm512_mask_storeu_ps(p, lanes, v)              shim_mask_storeu_ps(p, lanes, v)
#define _mm256_mask_storeu_epi16(p, lanes, v)           shim_mask_storeu_epi16(p, lanes, v)
#define _mm256_maskz_loadu_epi16(lanes, p)              shim_maskz_loadu_epi16(lanes, p)
#define _mm512_cvtph_ps(v)                              shim_cvtph_ps(v)
#define _mm512_cvtps_ph(v, rounding)                    shim_cvtps_ph(v)
#define _mm512_cvtps_epi32(v)                           shim_cvtps_epi32(v)
#define _mm512_cvtepi32_ps(v)                           shim_cvtepi32_ps(v)
#define _mm512_cvtps_pd(v)                              shim_cvtps_pd(v)
#define _mm512_cvtepi32_epi8(v)                         shim_cvtepi32_epi8(v)
#define _mm512_reduce_max_epi32(v)                      shim_reduce_max_epi32(v)
#define _mm512_extractf32x8_ps(v, high)                 shim_half(v, high)
#define _mm512_mask_cmp_ps_mask(lanes, a, b, predicate) ((__mmask16)((lanes)&_mm512_cmp_ps_mask(a, b, predicate)))

#endif
