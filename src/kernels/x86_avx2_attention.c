/* Attention with AVX2.  One or two queries (heads of a row, or rows) go together, so that each vector of K and V is loaded once for both:
 * eight sums in registers either way, of 4 KV blocks or 2 x 2, of 64 values of V's rows or 2 x 32. */
#include <math.h>
#include <string.h>

#include "kernels/x86_avx2.h"

enum { MAX_QUERIES = 2, SUMS = 8 };

/* Eight elements of K or V. */
ALWAYS_INLINE __m256 load_kv(dtype type, const void *base, size_t index) {
    if (type == DTYPE_F32) return _mm256_loadu_ps((const float *)base + index);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)base + index)));
}

ALWAYS_INLINE float load_kv_one(dtype type, const void *base, size_t index) {
    if (type == DTYPE_F32) return ((const float *)base)[index];
    return _cvtsh_ss(((const uint16_t *)base)[index]);
}

/* s[h][p ..] of n_blocks blocks from position p of the tile on; k: the tile's blocks. */
ALWAYS_INLINE void score_blocks(float s[][ATTENTION_TILE], const attention_args *a, const query *q, const void *const *k, size_t p,
                                dtype type, size_t n_queries, size_t n_blocks) {
    __m256 sum[MAX_QUERIES][SUMS];
    UNROLL for (size_t h = 0; h < n_queries; h++) { UNROLL for (size_t j = 0; j < 2 * n_blocks; j++) sum[h][j] = _mm256_setzero_ps(); }
    for (size_t d = 0; d < a->head_dim; d++) {
        __m256 value[MAX_QUERIES];
        UNROLL for (size_t h = 0; h < n_queries; h++) value[h] = _mm256_broadcast_ss(q[h].q + d);
        UNROLL for (size_t j = 0; j < n_blocks; j++) prefetch_kv(k, p / KV_BLOCK + j, d * KV_BLOCK * element_bytes(type));
        UNROLL for (size_t j = 0; j < 2 * n_blocks; j++) {
            __m256 column = load_kv(type, k[p / KV_BLOCK + j / 2], d * KV_BLOCK + j % 2 * 8);
            UNROLL for (size_t h = 0; h < n_queries; h++) sum[h][j] = _mm256_fmadd_ps(value[h], column, sum[h][j]);
        }
    }
    const __m256 scale = _mm256_set1_ps(a->scale);
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        UNROLL for (size_t j = 0; j < 2 * n_blocks; j++) _mm256_storeu_ps(s[h] + p + 8 * j, _mm256_mul_ps(sum[h][j], scale));
    }
}

/* Scores into weights; past the end, n positions, scores are -inf and weights 0.  Returns c. */
ALWAYS_INLINE float weigh_tile(float s[ATTENTION_TILE], size_t n, bool is_first, float *m, __m256 l[2]) {
    for (size_t p = n; p < ATTENTION_TILE; p++) s[p] = -INFINITY;
    __m256 largest = _mm256_set1_ps(*m);
    UNROLL for (size_t j = 0; j < SUMS; j++) largest = _mm256_max_ps(_mm256_loadu_ps(s + 8 * j), largest); /* the second where s is NaN */
    float new_m = max_lanes(largest), c = is_first ? 0.0f : exp_approx(*m - new_m);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    UNROLL for (size_t j = 0; j < SUMS; j++) {
        __m256 w = exp8(_mm256_sub_ps(_mm256_loadu_ps(s + 8 * j), _mm256_set1_ps(new_m)));
        _mm256_storeu_ps(s + 8 * j, w);
        sum[j % 2] = _mm256_add_ps(sum[j % 2], w);
    }
    UNROLL for (size_t half = 0; half < 2; half++) l[half] = _mm256_fmadd_ps(l[half], _mm256_set1_ps(c), sum[half]);
    *m = new_m;
    return c;
}

/* The queries' out[d .. d + 8 * n_vectors) times c, over the positions [begin, end) of the tile. */
ALWAYS_INLINE void add_values(const attention_args *a, const query *q, const void *const *v, float w[][ATTENTION_TILE], size_t begin,
                              size_t end, const float *c, size_t d, dtype type, size_t n_queries, size_t n_vectors) {
    __m256 sum[MAX_QUERIES][SUMS];
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        const float *from = q[h].out + d;
        UNROLL for (size_t j = 0; j < n_vectors; j++) sum[h][j] = _mm256_mul_ps(_mm256_loadu_ps(from + 8 * j), _mm256_set1_ps(c[h]));
    }
    for (size_t p = begin; p < end; p++) {
        size_t row = p % KV_BLOCK * a->head_dim + d;
        __m256 weight[MAX_QUERIES];
        UNROLL for (size_t h = 0; h < n_queries; h++) weight[h] = _mm256_broadcast_ss(&w[h][p]);
        UNROLL for (size_t j = 0; j < n_vectors; j += LINE_BYTES / (8 * element_bytes(type))) {
            prefetch_kv(v, p / KV_BLOCK, (row + 8 * j) * element_bytes(type));
        }
        UNROLL for (size_t j = 0; j < n_vectors; j++) {
            __m256 values = load_kv(type, v[p / KV_BLOCK], row + 8 * j);
            UNROLL for (size_t h = 0; h < n_queries; h++) sum[h][j] = _mm256_fmadd_ps(weight[h], values, sum[h][j]);
        }
    }
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        float *to = q[h].out + d;
        UNROLL for (size_t j = 0; j < n_vectors; j++) _mm256_storeu_ps(to + 8 * j, sum[h][j]);
    }
}

/* One value of the end of a head that is no multiple of 8. */
ALWAYS_INLINE void add_value(const attention_args *a, float *out, const void *const *v, const float *w, size_t begin, size_t end, float c,
                             size_t d, dtype type) {
    float sum = out[d] * c;
    for (size_t p = begin; p < end; p++) sum = fmaf(w[p], load_kv_one(type, v[p / KV_BLOCK], p % KV_BLOCK * a->head_dim + d), sum);
    out[d] = sum;
}

ALWAYS_INLINE void add_tile(const attention_args *a, const query *q, const void *const *v, float w[][ATTENTION_TILE], size_t begin,
                            size_t end, const float *c, dtype type, size_t n_queries) {
    size_t wide = SUMS / n_queries, d = 0;
    for (; d + 8 * wide <= a->head_dim; d += 8 * wide) add_values(a, q, v, w, begin, end, c, d, type, n_queries, wide);
    for (; d + 8 <= a->head_dim; d += 8) add_values(a, q, v, w, begin, end, c, d, type, n_queries, 1);
    for (; d < a->head_dim; d++) {
        UNROLL for (size_t h = 0; h < n_queries; h++) add_value(a, q[h].out, v, w[h], begin, end, c[h], d, type);
    }
}

ALWAYS_INLINE void attend(const attention_args *a, size_t first_query, dtype type, size_t n_queries) {
    query q[MAX_QUERIES];
    float m[MAX_QUERIES] = {-INFINITY, -INFINITY}, c[MAX_QUERIES], w[MAX_QUERIES][ATTENTION_TILE];
    __m256 l[MAX_QUERIES][2];
    UNROLL for (size_t h = 0; h < n_queries; h++) {
        q[h] = query_at(a, first_query + h);
        l[h][0] = l[h][1] = _mm256_setzero_ps();
        memset(q[h].out, 0, a->head_dim * sizeof(float));
    }
    const query *last = &q[n_queries - 1];
    for (size_t first = 0; first < last->n_positions; first += ATTENTION_TILE) {
        size_t n = in_tile(last, first), n_common = in_tile(&q[0], first), wide = SUMS / 2 / n_queries, p = 0;
        const void *const *k = a->k + first / KV_BLOCK, *const *v = a->v + first / KV_BLOCK;
        for (; p + wide * KV_BLOCK <= n; p += wide * KV_BLOCK) score_blocks(w, a, q, k, p, type, n_queries, wide);
        for (; p < n; p += KV_BLOCK) score_blocks(w, a, q, k, p, type, n_queries, 1);
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
        float total = add_lanes(l[h][0], l[h][1]);
        for (size_t d = 0; d < a->head_dim; d++) q[h].out[d] /= total;
    }
}

ALWAYS_INLINE void attend_all(const attention_args *a, dtype type) {
    size_t i = 0, n = a->n_rows * a->n_heads;
    for (; i + 2 <= n; i += 2) attend(a, i, type, 2);
    if (i < n) attend(a, i, type, 1);
}

void attention_avx2(const attention_args *a) {
    if (a->kv_type == DTYPE_F32) {
        attend_all(a, DTYPE_F32);
    } else {
        attend_all(a, DTYPE_F16);
    }
}
