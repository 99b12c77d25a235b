/* Attention with AVX-512.  One, two or four queries (heads of a row, or rows) go together, so that each vector of K and V is loaded once
 * for all: up to 4 x 4 sums in registers, of 4 KV blocks or of 64 values of V's rows. */
#include <math.h>
#include <string.h>

#include "kernels/x86_avx512.h"

enum { MAX_QUERIES = 4, TILE_BLOCKS = ATTENTION_TILE / KV_BLOCK, VALUE_VECTORS = 4 };

/* Sixteen elements of K or V, those of the mask. */
ALWAYS_INLINE __m512 load_kv(dtype type, const void *base, size_t index, __mmask16 lanes) {
    if (type == DTYPE_F32) return _mm512_maskz_loadu_ps(lanes, (const float *)base + index);
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, (const uint16_t *)base + index));
}

/* s[h][p ..] of n_blocks blocks from position p of the tile on; k: the tile's blocks. */
ALWAYS_INLINE void score_blocks(float s[][ATTENTION_TILE], const attention_args *a, const query *q, const void *const *k, size_t p,
                                dtype type, size_t n_queries, size_t n_blocks) {
    __m512 sum[MAX_QUERIES][TILE_BLOCKS];
    UNROLL for (size_t h = 0; h < n_queries; h++) { UNROLL for (size_t j = 0; j < n_blocks; j++) sum[h][j] = _mm512_setzero_ps(); }
    for (size_t d = 0; d < a->head_dim; d++) {
        __m512 value[MAX_QUERIES];
        UNROLL for (size_t h = 0; h < n_queries; h++) value[h] = _mm512_set1_ps(q[h].q[d]);
        UNROLL for (size_t j = 0; j < n_blocks; j++) {
            prefetch_kv(k, p / KV_BLOCK + j, d * KV_BLOCK * element_bytes(type));
            __m512 column = load_kv(type, k[p / KV_BLOCK + j], d * KV_BLOCK, 0xffff);
            UNROLL for (size_t h = 0; h < n_queries; h++) sum[h][j] = _mm512_fmadd_ps(value[h], column, sum[h][j]);
        }
    }
    const __m512 scale = _mm512_set1_ps(a->scale);
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        UNROLL for (size_t j = 0; j < n_blocks; j++) _mm512_storeu_ps(s[h] + p + KV_BLOCK * j, _mm512_mul_ps(sum[h][j], scale));
    }
}

/* Scores into weights; past the end, n positions, they are 0.  Returns c. */
ALWAYS_INLINE float weigh_tile(float s[ATTENTION_TILE], size_t n, bool is_first, float *m, __m512 *l) {
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 score[TILE_BLOCKS], largest = _mm512_set1_ps(*m), sum = _mm512_setzero_ps();
    __mmask16 lanes[TILE_BLOCKS];
    UNROLL for (size_t j = 0; j < TILE_BLOCKS; j++) {
        lanes[j] = first_lanes(n > KV_BLOCK * j ? n - KV_BLOCK * j : 0);
        score[j] = _mm512_mask_loadu_ps(none, lanes[j], s + KV_BLOCK * j);
        largest = _mm512_max_ps(score[j], largest); /* the second where the score is NaN */
    }
    float new_m = max_lanes(largest), c = is_first ? 0.0f : exp_approx(*m - new_m);
    UNROLL for (size_t j = 0; j < TILE_BLOCKS; j++) {
        __m512 w = _mm512_maskz_mov_ps(lanes[j], exp16(_mm512_sub_ps(score[j], _mm512_set1_ps(new_m))));
        _mm512_storeu_ps(s + KV_BLOCK * j, w);
        sum = _mm512_add_ps(sum, w);
    }
    *l = _mm512_fmadd_ps(*l, _mm512_set1_ps(c), sum);
    *m = new_m;
    return c;
}

/* out[h][d .. d + 16 * n_vectors) over the positions [begin, end) of the tile; of the last vector only `lanes`. */
ALWAYS_INLINE void add_values(const attention_args *a, const query *q, const void *const *v, float w[][ATTENTION_TILE], size_t begin,
                              size_t end, const float *c, size_t d, dtype type, size_t n_queries, size_t n_vectors, __mmask16 lanes) {
    __m512 sum[MAX_QUERIES][VALUE_VECTORS];
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        const float *from = q[h].out + d;
        UNROLL for (size_t j = 0; j < n_vectors; j++) {
            sum[h][j] = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, from + 16 * j), _mm512_set1_ps(c[h]));
        }
    }
    for (size_t p = begin; p < end; p++) {
        size_t row = p % KV_BLOCK * a->head_dim + d;
        __m512 weight[MAX_QUERIES];
        UNROLL for (size_t h = 0; h < n_queries; h++) weight[h] = _mm512_set1_ps(w[h][p]);
        UNROLL for (size_t j = 0; j < n_vectors; j += LINE_BYTES / (16 * element_bytes(type))) {
            prefetch_kv(v, p / KV_BLOCK, (row + 16 * j) * element_bytes(type));
        }
        UNROLL for (size_t j = 0; j < n_vectors; j++) {
            __m512 values = load_kv(type, v[p / KV_BLOCK], row + 16 * j, lanes);
            UNROLL for (size_t h = 0; h < n_queries; h++) sum[h][j] = _mm512_fmadd_ps(weight[h], values, sum[h][j]);
        }
    }
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        float *to = q[h].out + d;
        UNROLL for (size_t j = 0; j < n_vectors; j++) _mm512_mask_storeu_ps(to + 16 * j, lanes, sum[h][j]);
    }
}

ALWAYS_INLINE void add_tile(const attention_args *a, const query *q, const void *const *v, float w[][ATTENTION_TILE], size_t begin,
                            size_t end, const float *c, dtype type, size_t n_queries) {
    size_t d = 0;
    for (; d + 64 <= a->head_dim; d += 64) add_values(a, q, v, w, begin, end, c, d, type, n_queries, VALUE_VECTORS, 0xffff);
    for (; d < a->head_dim; d += 16) add_values(a, q, v, w, begin, end, c, d, type, n_queries, 1, first_lanes(a->head_dim - d));
}

ALWAYS_INLINE void attend(const attention_args *a, size_t first_query, dtype type, size_t n_queries) {
    query q[MAX_QUERIES];
    float m[MAX_QUERIES], c[MAX_QUERIES], w[MAX_QUERIES][ATTENTION_TILE];
    __m512 l[MAX_QUERIES];
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        q[h] = query_at(a, first_query + h);
        l[h] = _mm512_setzero_ps();
        m[h] = -INFINITY;
        memset(q[h].out, 0, a->head_dim * sizeof(float));
    }
    const query *last = &q[n_queries - 1];
    for (size_t first = 0; first < last->n_positions; first += ATTENTION_TILE) {
        size_t n = in_tile(last, first), n_common = in_tile(&q[0], first);
        const void *const *k = a->k + first / KV_BLOCK, *const *v = a->v + first / KV_BLOCK;
        if (n > ATTENTION_TILE - KV_BLOCK) {
            score_blocks(w, a, q, k, 0, type, n_queries, TILE_BLOCKS);
        } else {
            for (size_t p = 0; p < n; p += KV_BLOCK) score_blocks(w, a, q, k, p, type, n_queries, 1);
        }
        UNROLL for (size_t h = 0; h < n_queries; h++) {
            size_t own = in_tile(&q[h], first);
            c[h] = own ? weigh_tile(w[h], own, first == 0, &m[h], &l[h]) : 1.0f;
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
    for (; i + 4 <= n; i += 4) attend(a, i, type, 4);
    for (; i + 2 <= n; i += 2) attend(a, i, type, 2);
    if (i < n) attend(a, i, type, 1);
}

void attention_avx512(const attention_args *a) {
    if (a->kv_type == DTYPE_F32) {
        attend_all(a, DTYPE_F32);
    } else {
        attend_all(a, DTYPE_F16);
    }
}
