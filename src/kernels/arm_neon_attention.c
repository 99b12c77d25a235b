/* Attention with NEON.  One or two queries (heads of a row, or rows) go together, so that each vector of K and V is loaded once for both.
 */
#include <math.h>
#include <string.h>

#include "kernels/arm_neon.h"

enum { MAX_QUERIES = 2, BLOCK_VECTORS = KV_BLOCK / 4, TILE_VECTORS = ATTENTION_TILE / 4, VALUE_VECTORS = 8 };

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
ALWAYS_INLINE void score_block(float s[][ATTENTION_TILE], const attention_args *a, const query *q, const void *const *k, size_t p,
                               dtype type, size_t n_queries) {
    float32x4_t sum[MAX_QUERIES][BLOCK_VECTORS];
    UNROLL for (size_t h = 0; h < n_queries; h++) { UNROLL for (size_t j = 0; j < BLOCK_VECTORS; j++) sum[h][j] = vdupq_n_f32(0.0f); }
    for (size_t d = 0; d < a->head_dim; d++) {
        prefetch_kv(k, p / KV_BLOCK, d * KV_BLOCK * element_bytes(type));
        UNROLL for (size_t j = 0; j < BLOCK_VECTORS; j++) {
            float32x4_t column = load_kv(type, k[p / KV_BLOCK], d * KV_BLOCK + 4 * j);
            UNROLL for (size_t h = 0; h < n_queries; h++) sum[h][j] = vfmaq_n_f32(sum[h][j], column, q[h].q[d]);
        }
    }
    UNROLL for (size_t h = 0; h < n_queries; h++) {
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

/* out[h][d .. d + 4 * n_vectors) over the positions [begin, end) of the tile. */
ALWAYS_INLINE void add_values(const attention_args *a, const query *q, const void *const *v, float w[][ATTENTION_TILE], size_t begin,
                              size_t end, const float *c, size_t d, dtype type, size_t n_queries, size_t n_vectors) {
    float32x4_t sum[MAX_QUERIES][VALUE_VECTORS];
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        const float *from = q[h].out + d;
        UNROLL for (size_t j = 0; j < n_vectors; j++) sum[h][j] = vmulq_n_f32(vld1q_f32(from + 4 * j), c[h]);
    }
    for (size_t p = begin; p < end; p++) {
        size_t row = p % KV_BLOCK * a->head_dim + d;
        UNROLL for (size_t j = 0; j < n_vectors; j += LINE_BYTES / (4 * element_bytes(type))) {
            prefetch_kv(v, p / KV_BLOCK, (row + 4 * j) * element_bytes(type));
        }
        UNROLL for (size_t j = 0; j < n_vectors; j++) {
            float32x4_t values = load_kv(type, v[p / KV_BLOCK], row + 4 * j);
            UNROLL for (size_t h = 0; h < n_queries; h++) sum[h][j] = vfmaq_n_f32(sum[h][j], values, w[h][p]);
        }
    }
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        float *to = q[h].out + d;
        UNROLL for (size_t j = 0; j < n_vectors; j++) vst1q_f32(to + 4 * j, sum[h][j]);
    }
}

/* One value of the end of a head that is no multiple of 4. */
ALWAYS_INLINE void add_value(const attention_args *a, float *out, const void *const *v, const float *w, size_t begin, size_t end, float c,
                             size_t d, dtype type) {
    float sum = out[d] * c;
    for (size_t p = begin; p < end; p++) sum = fmaf(w[p], load_kv_one(type, v[p / KV_BLOCK], p % KV_BLOCK * a->head_dim + d), sum);
    out[d] = sum;
}

ALWAYS_INLINE void add_tile(const attention_args *a, const query *q, const void *const *v, float w[][ATTENTION_TILE], size_t begin,
                            size_t end, const float *c, dtype type, size_t n_queries) {
    size_t d = 0;
    for (; d + 4 * VALUE_VECTORS <= a->head_dim; d += 4 * VALUE_VECTORS)
        add_values(a, q, v, w, begin, end, c, d, type, n_queries, VALUE_VECTORS);
    for (; d + 4 <= a->head_dim; d += 4) add_values(a, q, v, w, begin, end, c, d, type, n_queries, 1);
    for (; d < a->head_dim; d++) {
        UNROLL for (size_t h = 0; h < n_queries; h++) add_value(a, q[h].out, v, w[h], begin, end, c[h], d, type);
    }
}

ALWAYS_INLINE void attend(const attention_args *a, size_t first_query, dtype type, size_t n_queries) {
    query q[MAX_QUERIES];
    float m[MAX_QUERIES] = {-INFINITY, -INFINITY}, c[MAX_QUERIES], w[MAX_QUERIES][ATTENTION_TILE];
    float32x4_t l[MAX_QUERIES][4];
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        q[h] = query_at(a, first_query + h);
        UNROLL for (size_t i = 0; i < 4; i++) l[h][i] = vdupq_n_f32(0.0f);
        memset(q[h].out, 0, a->head_dim * sizeof(float));
    }
    const query *last = &q[n_queries - 1];
    for (size_t first = 0; first < last->n_positions; first += ATTENTION_TILE) {
        size_t n = in_tile(last, first), n_common = in_tile(&q[0], first);
        const void *const *v = a->v + first / KV_BLOCK;
        for (size_t p = 0; p < n; p += KV_BLOCK) score_block(w, a, q, a->k + first / KV_BLOCK, p, type, n_queries);
        UNROLL for (size_t h = 0; h < n_queries; h++) {
            size_t own = in_tile(&q[h], first);
            c[h] = own ? weigh_tile(w[h], own, first == 0, &m[h], l[h]) : 1.0f;
        }
        add_tile(a, q, v, w, 0, n_common, c, type, n_queries);
        for (size_t h = 1; h < n_queries; h++) { /* the later rows see a few positions more */
            size_t own = in_tile(&q[h], first);
            if (own > n_common) add_tile(a, &q[h], v, &w[h], n_common, own, &(float){1.0f}, type, 1);
        }
    }
    for (size_t h = 0; h < n_queries; h++) {
        float total = add_lanes(l[h]);
        for (size_t d = 0; d < a->head_dim; d++) q[h].out[d] /= total;
    }
}

ALWAYS_INLINE void attend_all(const attention_args *a, dtype type) {
    size_t i = 0, n = a->n_rows * a->n_heads;
    for (; i + 2 <= n; i += 2) attend(a, i, type, 2);
    if (i < n) attend(a, i, type, 1);
}

void attention_neon(const attention_args *a) {
    if (a->kv_type == DTYPE_F32) {
        attend_all(a, DTYPE_F32);
    } else {
        attend_all(a, DTYPE_F16);
    }
}
