/* AVX-VNNI in plain C, as Intel's SDM (volume 2, VPDPBUSD) has it: unsigned bytes of a times signed bytes of b, four to a sum, no
 * saturation. */
#ifndef TESTS_KERNELS_MODEL_AVXVNNI_H
#define TESTS_KERNELS_MODEL_AVXVNNI_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

static inline __m256i model_dpbusd(__m256i sum, __m256i a, __m256i b) {
    uint32_t lane[8];
    uint8_t u[32];
    int8_t s[32];
    memcpy(lane, &sum, sizeof lane);
    memcpy(u, &a, sizeof u);
    memcpy(s, &b, sizeof s);
    for (size_t i = 0; i < 32; i++) lane[i / 4] += (uint32_t)(u[i] * s[i]);
    memcpy(&sum, lane, sizeof sum);
    return sum;
}

#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32(sum, a, b) model_dpbusd(sum, a, b)

#endif
