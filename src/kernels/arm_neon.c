/* NEON with dotprod: the row-wise kernels, and the table.  Ends that are no multiple of 4 go through a small copy. */
#include "kernels/arm_neon.h"

#include <math.h>

static void rms_norm(float *y, const float *x, const float *w, size_t n, size_t n_padded, float eps) {
    float32x4_t squares[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t i = 0; i < n; i += 16) {
        UNROLL for (size_t j = 0; j < 4; j++) {
            if (i + 4 * j >= n) break;
            float32x4_t v = load_first(x + i + 4 * j, n - i - 4 * j);
            squares[j] = vfmaq_f32(squares[j], v, v);
        }
    }
    float32x4_t scale = vdupq_n_f32(1.0f / sqrtf(add_lanes(squares) / (float)n + eps));
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t v = vmulq_f32(load_first(x + i, n - i), scale);
        store_first(y + i, n - i, vmulq_f32(v, load_first(w + i, n - i)));
    }
    for (size_t i = n; i < n_padded; i++) y[i] = 0.0f;
}

static void rope(float *x, const float *cosines, const float *sines, size_t n_rot) {
    size_t half = n_rot / 2;
    for (size_t i = 0; i < half; i += 4) {
        size_t n = half - i;
        float32x4_t a = load_first(x + i, n), b = load_first(x + half + i, n);
        float32x4_t c = load_first(cosines + i, n), s = load_first(sines + i, n);
        store_first(x + i, n, vfmsq_f32(vmulq_f32(a, c), b, s));
        store_first(x + half + i, n, vfmaq_f32(vmulq_f32(b, c), a, s));
    }
}

static void silu_mul(float *out, const float *gate, const float *up, size_t n, size_t n_padded) {
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t g = load_first(gate + i, n - i), u = load_first(up + i, n - i);
        float32x4_t silu = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), exp4(vnegq_f32(g))));
        store_first(out + i, n - i, vmulq_f32(silu, u));
    }
    for (size_t i = n; i < n_padded; i++) out[i] = 0.0f;
}

static void quantize_row(int8_t *q, float *d, int32_t *sum, const float *x, size_t n) {
    for (size_t b = 0; b < n / PACK_COLS; b++, q += PACK_COLS, x += PACK_COLS) {
        /* Magnitudes compare as integers; infinity and NaN are above everything finite. */
        uint32x4_t largest = vdupq_n_u32(0);
        UNROLL for (size_t i = 0; i < 8; i++) {
            largest = vmaxq_u32(largest, vbicq_u32(vreinterpretq_u32_f32(vld1q_f32(x + 4 * i)), vdupq_n_u32(0x80000000u)));
        }
        uint32_t bits = vmaxvq_u32(largest);
        float amax;
        memcpy(&amax, &bits, sizeof amax);
        if (!(amax >= QUANT_TINY) || isinf(amax)) {
            memset(q, 0, PACK_COLS);
            sum[b] = 0;
            d[b] = amax < QUANT_TINY ? 0.0f : NAN;
            continue;
        }
        float32x4_t inverse = vdupq_n_f32(127.0f / amax);
        int32x4_t total = vdupq_n_s32(0);
        UNROLL for (size_t i = 0; i < 4; i++) {
            int32x4_t low = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + 8 * i), inverse));
            int32x4_t high = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + 8 * i + 4), inverse));
            total = vaddq_s32(total, vaddq_s32(low, high));
            vst1_s8(q + 8 * i, vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
        }
        sum[b] = vaddvq_s32(total);
        d[b] = amax / 127.0f;
    }
}

static void kv_store_f32(float *column, float *row, const float *k, const float *v, size_t head_dim) {
    for (size_t d = 0; d < head_dim; d++) column[d * KV_BLOCK] = k[d];
    memcpy(row, v, head_dim * sizeof *row);
}

static void kv_store_f16(uint16_t *column, uint16_t *row, const float *k, const float *v, size_t head_dim) {
    for (size_t d = 0; d < head_dim; d += 4) {
        size_t n = head_dim - d < 4 ? head_dim - d : 4;
        uint16_t halves[4];
        vst1_u16(halves, vreinterpret_u16_f16(vcvt_f16_f32(load_first(v + d, n))));
        memcpy(row + d, halves, n * sizeof *halves);
        vst1_u16(halves, vreinterpret_u16_f16(vcvt_f16_f32(load_first(k + d, n))));
        for (size_t i = 0; i < n; i++) column[(d + i) * KV_BLOCK] = halves[i];
    }
}

static void kv_store(void *k_block, void *v_block, dtype kv_type, size_t slot, const float *k, const float *v, size_t head_dim) {
    if (kv_type == DTYPE_F32) {
        kv_store_f32((float *)k_block + slot, (float *)v_block + slot * head_dim, k, v, head_dim);
    } else {
        kv_store_f16((uint16_t *)k_block + slot, (uint16_t *)v_block + slot * head_dim, k, v, head_dim);
    }
}

/* -inf when there is nothing above; passes over NaN. */
static float max_value(const float *x, size_t n) {
    const float32x4_t none = vdupq_n_f32(-INFINITY);
    float32x4_t m[4] = {none, none, none, none};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        UNROLL for (size_t j = 0; j < 4; j++) m[j] = larger(vld1q_f32(x + i + 4 * j), m[j]);
    }
    for (; i < n; i += 4) m[0] = larger(vbslq_f32(first_lanes(n - i), load_first(x + i, n - i), none), m[0]);
    return max_lanes(larger(larger(m[0], m[1]), larger(m[2], m[3])));
}

static size_t argmax(const float *x, size_t n) {
    float m = max_value(x, n);
    size_t i = 0;
    while (i + 4 <= n && vmaxvq_u32(vceqq_f32(vld1q_f32(x + i), vdupq_n_f32(m))) == 0) i += 4;
    for (; i < n; i++) {
        if (x[i] == m) return i;
    }
    return 0;
}

static double log_sum_exp(const float *x, size_t n) {
    float m = max_value(x, n);
    if (m == -INFINITY) return -INFINITY;
    float64x2_t sum[8];
    UNROLL for (size_t j = 0; j < 8; j++) sum[j] = vdupq_n_f64(0.0);
    for (size_t i = 0; i < n; i += 16) {
        UNROLL for (size_t j = 0; j < 4; j++) {
            if (i + 4 * j >= n) break;
            size_t rest = n - i - 4 * j;
            float32x4_t e = keep_lanes(exp4(vsubq_f32(load_first(x + i + 4 * j, rest), vdupq_n_f32(m))), first_lanes(rest));
            sum[2 * j] = vaddq_f64(sum[2 * j], vcvt_f64_f32(vget_low_f32(e)));
            sum[2 * j + 1] = vaddq_f64(sum[2 * j + 1], vcvt_high_f64_f32(e));
        }
    }
    UNROLL for (size_t j = 0; j < 4; j++) sum[j] = vaddq_f64(sum[j], sum[j + 4]);
    float64x2_t v2 = vaddq_f64(vaddq_f64(sum[0], sum[2]), vaddq_f64(sum[1], sum[3]));
    return (double)m + log(vgetq_lane_f64(v2, 0) + vgetq_lane_f64(v2, 1));
}

void kernels_add_neon(kernels *table) {
    table->name = "neon";
    table->rms_norm = rms_norm;
    table->rope = rope;
    table->silu_mul = silu_mul;
    table->quantize_row = quantize_row;
    table->matmul_f32 = matmul_f32_neon;
    table->matmul_f16 = matmul_f16_neon;
    table->matmul_bf16 = matmul_bf16_neon;
    table->matmul_q8_0 = matmul_q8_0_neon;
    table->matmul_q4_0 = matmul_q4_0_neon;
    table->kv_store = kv_store;
    table->attention = attention_neon;
    table->argmax = argmax;
    table->log_sum_exp = log_sum_exp;
}
