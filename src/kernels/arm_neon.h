/* What the NEON files share: parts of a vector, exp_approx on 4 lanes, reductions in the order kernels.h fixes.  The 16 lanes of kernels.h
 * are four registers. */
#ifndef QAIO_KERNELS_ARM_NEON_H
#define QAIO_KERNELS_ARM_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "kernels/isa.h"

/* The first n floats at p, at most 4, and zeros. */
ALWAYS_INLINE float32x4_t load_first(const float *p, size_t n) {
    if (n >= 4) return vld1q_f32(p);
    float values[4] = {0};
    memcpy(values, p, n * sizeof *p);
    return vld1q_f32(values);
}

ALWAYS_INLINE void store_first(float *p, size_t n, float32x4_t v) {
    if (n >= 4) {
        vst1q_f32(p, v);
    } else {
        float values[4];
        vst1q_f32(values, v);
        memcpy(p, values, n * sizeof *p);
    }
}

/* The first n of 4 lanes, all from 4 on. */
ALWAYS_INLINE uint32x4_t first_lanes(size_t n) {
    static const uint32_t index[4] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(index), vdupq_n_u32(n < 4 ? (uint32_t)n : 4));
}

/* Lanes of v where the mask is set, zeros elsewhere. */
ALWAYS_INLINE float32x4_t keep_lanes(float32x4_t v, uint32x4_t mask) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), mask));
}

/* The larger; b where a is NaN. */
ALWAYS_INLINE float32x4_t larger(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

ALWAYS_INLINE float32x4_t exp4(float32x4_t x) {
    const float32x4_t limit = vdupq_n_f32(EXP_MAX), magic = vdupq_n_f32(EXP_MAGIC), one = vdupq_n_f32(1.0f);
    float32x4_t clamped = vbslq_f32(vcgtq_f32(x, limit), limit, x);
    float32x4_t shifted = vfmaq_f32(magic, clamped, vdupq_n_f32(EXP_LOG2E)), n = vsubq_f32(shifted, magic);
    float32x4_t r = vfmaq_f32(clamped, n, vdupq_n_f32(-EXP_LN2_HI));
    r = vfmaq_f32(r, n, vdupq_n_f32(-EXP_LN2_LO));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(EXP_C3), vdupq_n_f32(EXP_C4), r);
    p = vfmaq_f32(vdupq_n_f32(EXP_C2), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_C1), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_C0), p, r);
    p = vfmaq_f32(one, p, r);
    p = vfmaq_f32(one, p, r);
    uint32x4_t bits = vaddq_u32(vreinterpretq_u32_f32(p), vshlq_n_u32(vreinterpretq_u32_f32(shifted), 23));
    bits = vbicq_u32(bits, vcltq_f32(x, vdupq_n_f32(EXP_MIN)));
    return vreinterpretq_f32_u32(vornq_u32(bits, vceqq_f32(x, x))); /* all ones, a NaN, where x is not itself */
}

/* 16 lanes, pairwise. */
ALWAYS_INLINE float add_lanes(const float32x4_t v[4]) {
    float32x4_t v4 = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
    float32x2_t v2 = vadd_f32(vget_low_f32(v4), vget_high_f32(v4));
    return vget_lane_f32(v2, 0) + vget_lane_f32(v2, 1);
}

/* No lane may be NaN. */
ALWAYS_INLINE float max_lanes(float32x4_t v) { return vmaxvq_f32(v); }

void matmul_f32_neon(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_f16_neon(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_bf16_neon(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_q8_0_neon(const matmul_args *a, size_t group_begin, size_t group_end);
void matmul_q4_0_neon(const matmul_args *a, size_t group_begin, size_t group_end);
void attention_neon(const attention_args *a);

#endif
