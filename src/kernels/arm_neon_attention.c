/* Attention with NEON.  One or two heads that share their K and V go together, so that each vector of K and V is loaded once for both. */
#include <math.h>

#include "kernels/arm_neon.h"

enum { MAX_HEADS = 2, BLOCK_VECTORS = KV_BLOCK / 4, TILE_VECTORS = ATTENTION_TILE / 4, VALUE_VECTORS = 8 };

/* Four elements of K or V. */
ALWAYS_INLINE float32x4_t load_kv(dtype type, const void *base, size_t index) {
    if (type == DTYPE_F32) return vld1q_f32((const float *)base + index);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)base + index)));
}

ALWAYS_INLINE float load_kv_one(dtype type, const void *base, size_t index) {
    if (type == DTYPE_F32) return ((const float *)base)[index];
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(((const uint16_t *)base)[index]))), 0);
}

/* s[h][p ..] of the block at position p of the tile; k: the tile's blocks. */
ALWAYS_INLINE void score_block(float s[][ATTENTION_TILE], const attention_args *a, const float *q, const void *const *k, size_t p,
                               dtype type, size_t n_heads) {
    float32x4_t sum[MAX_HEADS][BLOCK_VECTORS];
    UNROLL for (size_t h = 0; h < n_heads; h++) { UNROLL for (size_t j = 0; j < BLOCK_VECTORS; j++) sum[h][j] = vdupq_n_f32(0.0f); }
    for (size_t d = 0; d < a->head_dim; d++) {
        prefetch_kv(k, p / KV_BLOCK, d * KV_BLOCK * element_bytes(type));
        UNROLL for (size_t j = 0; j < BLOCK_VECTORS; j++) {
            float32x4_t column = load_kv(type, k[p / KV_BLOCK], d * KV_BLOCK + 4 * j);
            UNROLL for (size_t h = 0; h < n_heads; h++) sum[h][j] = vfmaq_n_f32(sum[h][j], column, q[h * a->head_dim + d]);
        }
    }
    UNROLL for (size_t h = 0; h < n_heads; h++) {
        UNROLL for (size_t j = 0; j < BLOCK_VECTORS; j++) vst1q_f32(s[h] + p + 4 * j, vmulq_n_f32(sum[h][j], a->scale));
    }
}

/* Scores into weights; past the end, n positions, scores are -inf and weights 0.  Returns c. */
ALWAYS_INLINE float weigh_tile(float s[ATTENTION_TILE], size_t n, bool is_first, float *m, float32x4_t l[4]) {
    for (size_t p = n; p < ATTENTION_TILE; p++) s[p] = -INFINITY;
    float32x4_t largest = vdupq_n_f32(*m), sum[4];
    UNROLL for (size_t j = 0; j < 4; j++) sum[j] = vdupq_n_f32(0.0f);
    for (size_t j = 0; j < TILE_VECTORS; j++) largest = larger(vld1q_f32(s + 4 * j), largest);
    float new_m = max_lanes(largest), c = is_first ? 0.0f : exp_approx(*m - new_m);
    for (size_t j = 0; j < TILE_VECTORS; j += 4) {
        UNROLL for (size_t i = 0; i < 4; i++) {
            size_t p = 4 * (j + i);
            float32x4_t w = exp4(vsubq_f32(vld1q_f32(s + p), vdupq_n_f32(new_m)));
            vst1q_f32(s + p, w);
            sum[i] = vaddq_f32(sum[i], w);
        }
    }
    UNROLL for (size_t i = 0; i < 4; i++) l[i] = vfmaq_n_f32(sum[i], l[i], c);
    *m = new_m;
    return c;
}

/* out[h][d .. d + 4 * n_vectors) over n positions. */
ALWAYS_INLINE void add_values(const attention_args *a, float *out, const void *const *v, float w[][ATTENTION_TILE], size_t n,
                              const float *c, size_t d, dtype type, size_t n_heads, size_t n_vectors) {
    float32x4_t sum[MAX_HEADS][VALUE_VECTORS];
    UNROLL for (size_t h = 0; h < n_heads; h++) {
        const float *from = out + h * a->head_dim + d;
        UNROLL for (size_t j = 0; j < n_vectors; j++) sum[h][j] = vmulq_n_f32(vld1q_f32(from + 4 * j), c[h]);
    }
    for (size_t p = 0; p < n; p++) {
        size_t row = p % KV_BLOCK * a->head_dim + d;
        UNROLL for (size_t j = 0; j < n_vectors; j += LINE_BYTES / (4 * element_bytes(type))) {
            prefetch_kv(v, p / KV_BLOCK, (row + 4 * j) * element_bytes(type));
        }
        UNROLL for (size_t j = 0; j < n_vectors; j++) {
            float32x4_t values = load_kv(type, v[p / KV_BLOCK], row + 4 * j);
            UNROLL for (size_t h = 0; h < n_heads; h++) sum[h][j] = vfmaq_n_f32(sum[h][j], values, w[h][p]);
        }
    }
    UNROLL for (size_t h = 0; h < n_heads; h++) {
        float *to = out + h * a->head_dim + d;
        UNROLL for (size_t j = 0; j < n_vectors; j++) vst1q_f32(to + 4 * j, sum[h][j]);
    }
}

/* One value of the end of a head that is no multiple of 4. */
ALWAYS_INLINE void add_value(const attention_args *a, float *out, const void *const *v, const float *w, size_t n, float c, size_t d,
                             dtype type) {
    float sum = out[d] * c;
    for (size_t p = 0; p < n; p++) sum = fmaf(w[p], load_kv_one(type, v[p / KV_BLOCK], p % KV_BLOCK * a->head_dim + d), sum);
    out[d] = sum;
}

ALWAYS_INLINE void add_tile(const attention_args *a, float *out, const void *const *v, float w[][ATTENTION_TILE], size_t n, const float *c,
                            dtype type, size_t n_heads) {
    size_t d = 0;
    for (; d + 4 * VALUE_VECTORS <= a->head_dim; d += 4 * VALUE_VECTORS) add_values(a, out, v, w, n, c, d, type, n_heads, VALUE_VECTORS);
    for (; d + 4 <= a->head_dim; d += 4) add_values(a, out, v, w, n, c, d, type, n_heads, 1);
    for (; d < a->head_dim; d++) {
        UNROLL for (size_t h = 0; h < n_heads; h++) add_value(a, out + h * a->head_dim, v, w[h], n, c[h], d, type);
    }
}

ALWAYS_INLINE void attend(const attention_args *a, size_t head, dtype type, size_t n_heads) {
    const float *q = a->q + head * a->head_dim;
    float *out = a->out + head * a->head_dim, m[MAX_HEADS] = {-INFINITY, -INFINITY}, c[MAX_HEADS], w[MAX_HEADS][ATTENTION_TILE];
    float32x4_t l[MAX_HEADS][4];
    UNROLL for (size_t h = 0; h < n_heads; h++) { UNROLL for (size_t i = 0; i < 4; i++) l[h][i] = vdupq_n_f32(0.0f); }
    for (size_t i = 0; i < n_heads * a->head_dim; i++) out[i] = 0.0f;
    for (size_t first = 0; first < a->n_positions; first += ATTENTION_TILE) {
        size_t rest = a->n_positions - first, n = rest < ATTENTION_TILE ? rest : ATTENTION_TILE;
        for (size_t p = 0; p < n; p += KV_BLOCK) score_block(w, a, q, a->k + first / KV_BLOCK, p, type, n_heads);
        UNROLL for (size_t h = 0; h < n_heads; h++) c[h] = weigh_tile(w[h], n, first == 0, &m[h], l[h]);
        add_tile(a, out, a->v + first / KV_BLOCK, w, n, c, type, n_heads);
    }
    for (size_t h = 0; h < n_heads; h++) {
        float total = add_lanes(l[h]);
        for (size_t d = 0; d < a->head_dim; d++) out[h * a->head_dim + d] /= total;
    }
}

ALWAYS_INLINE void attend_all(const attention_args *a, dtype type) {
    size_t head = 0;
    for (; head + 2 <= a->n_heads; head += 2) attend(a, head, type, 2);
    if (head < a->n_heads) attend(a, head, type, 1);
}

void attention_neon(const attention_args *a) {
    if (a->kv_type == DTYPE_F32) {
        attend_all(a, DTYPE_F32);
    } else {
        attend_all(a, DTYPE_F16);
    }
}
