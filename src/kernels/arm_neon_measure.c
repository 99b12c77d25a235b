/* Limits of NEON, its dot products and its int8 matrix products. */
#include <arm_neon.h>

#include "kernels/measure_isa.h"

enum { CHAINS = 16 };

static uint32_t run_f32(size_t n_steps) {
    float32x4_t chain[CHAINS], factor = vdupq_n_f32(0.999999f), sum = vdupq_n_f32(0);
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chain[i] = factor;
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = vfmaq_f32(factor, chain[i], factor);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) sum = vaddq_f32(sum, chain[i]);
    return vgetq_lane_u32(vreinterpretq_u32_f32(sum), 0);
}

static uint32_t run_dot(size_t n_steps) {
    int8x16_t w = vdupq_n_s8(3), x = vdupq_n_s8(-5);
    int32x4_t chain[CHAINS], sum = vdupq_n_s32(0);
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chain[i] = vdupq_n_s32(0);
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = vdotq_s32(chain[i], w, x);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) sum = vaddq_s32(sum, chain[i]);
    return (uint32_t)vgetq_lane_s32(sum, 0);
}

__attribute__((target("arch=armv8.2-a+i8mm"))) static uint32_t run_i8mm(size_t n_steps) {
    int8x16_t w = vdupq_n_s8(3), x = vdupq_n_s8(-5);
    int32x4_t chain[CHAINS], sum = vdupq_n_s32(0);
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chain[i] = vdupq_n_s32(0);
        CHANGED(chain[i]);
    }
    for (size_t step = 0; step < n_steps; step++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = vmmlaq_s32(chain[i], w, x);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) sum = vaddq_s32(sum, chain[i]);
    return (uint32_t)vgetq_lane_s32(sum, 0);
}

const measure_loop measure_neon[] = {
    {"neon", MEASURE_F32, "NEON", 2.0 * 4 * CHAINS, run_f32},
    {"dotprod", MEASURE_INT8, "dotprod", 2.0 * 16 * CHAINS, run_dot},
    {"i8mm", MEASURE_INT8, "i8mm", 2.0 * 32 * CHAINS, run_i8mm},
    {0},
};
