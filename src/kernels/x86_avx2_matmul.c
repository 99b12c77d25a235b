/* Matrix products with AVX2, in the tiles of tiles.h; a group's 16 outputs are two registers. */
#include <string.h>

#include "kernels/tiles.h"
#include "kernels/x86_avx2.h"

enum { MAX_ROWS = 6, MAX_GROUPS = 2 };

ALWAYS_INLINE void store_half(const matmul_args *a, size_t first, size_t row, __m256 v) {
    if (first >= a->w->n_rows) return;
    size_t n = a->w->n_rows - first;
    float *y = a->y + row * a->y_stride + first;
    if (a->bias) v = _mm256_add_ps(v, load_first(a->bias + first, n));
    if (a->accumulate) v = _mm256_add_ps(load_first(y, n), v);
    store_first(y, n, v);
}

ALWAYS_INLINE void store_results(const matmul_args *a, size_t group, size_t row, const __m256 v[2]) {
    store_half(a, group * PACK_ROWS, row, v[0]);
    store_half(a, group * PACK_ROWS + 8, row, v[1]);
}

/* Eight weights of a column as float32. */
ALWAYS_INLINE __m256 load_weights(dtype type, const uint8_t *p) {
    if (type == DTYPE_F32) return _mm256_loadu_ps((const float *)p);
    __m128i halves = _mm_loadu_si128((const __m128i *)p);
    if (type == DTYPE_F16) return _mm256_cvtph_ps(halves);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16)); /* bf16 is the upper half of a float32 */
}

ALWAYS_INLINE void tile_float(const matmul_args *a, size_t group, size_t row, dtype type, size_t n_groups, size_t n_rows) {
    size_t n_cols = a->w->n_cols_padded, half_bytes = 8 * (type == DTYPE_F32 ? 4 : 2);
    const uint8_t *w = a->w->data + group * a->w->group_bytes;
    const float *x = a->x + row * n_cols;
    __m256 acc[MAX_ROWS][MAX_GROUPS][2];
    UNROLL for (size_t i = 0; i < n_rows; i++) {
        UNROLL for (size_t g = 0; g < n_groups; g++) acc[i][g][0] = acc[i][g][1] = _mm256_setzero_ps();
    }
    for (size_t c = 0; c < n_cols; c++) {
        __m256 column[MAX_GROUPS][2];
        UNROLL for (size_t g = 0; g < n_groups; g++) {
            const uint8_t *p = w + g * a->w->group_bytes + c * 2 * half_bytes;
            column[g][0] = load_weights(type, p);
            column[g][1] = load_weights(type, p + half_bytes);
        }
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m256 value = _mm256_broadcast_ss(x + i * n_cols + c);
            UNROLL for (size_t g = 0; g < n_groups; g++) {
                acc[i][g][0] = _mm256_fmadd_ps(value, column[g][0], acc[i][g][0]);
                acc[i][g][1] = _mm256_fmadd_ps(value, column[g][1], acc[i][g][1]);
            }
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) {
        UNROLL for (size_t g = 0; g < n_groups; g++) store_results(a, group + g, row + i, acc[i][g]);
    }
}

/* Four activations in every lane. */
ALWAYS_INLINE __m256i broadcast4(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm256_set1_epi32(four);
}

/* dot[i][half] = one block of q8_0.  maddubs takes unsigned times signed: |w| * (x with w's sign).  A pair is at most 2*128*127 < 2^15. */
ALWAYS_INLINE void dot_q8(__m256i dot[][2], const uint8_t *w, const int8_t *q, size_t q_stride, size_t n_rows) {
    const __m256i ones = _mm256_set1_epi16(1), flip = _mm256_set1_epi8(-128);
    UNROLL for (size_t i = 0; i < n_rows; i++) dot[i][0] = dot[i][1] = _mm256_setzero_si256();
    UNROLL for (size_t v = 0; v < 8; v++) {
        __m256i signs[2], sizes[2];
        UNROLL for (size_t half = 0; half < 2; half++) {
            signs[half] = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(w + 64 * v + 32 * half)), flip);
            sizes[half] = _mm256_abs_epi8(signs[half]);
        }
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m256i four = broadcast4(q + i * q_stride + 4 * v);
            UNROLL for (size_t half = 0; half < 2; half++) {
                __m256i pairs = _mm256_maddubs_epi16(sizes[half], _mm256_sign_epi8(four, signs[half]));
                dot[i][half] = _mm256_add_epi32(dot[i][half], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
}

/* dot[i][half] = one block of q4_0 with quants 0..15.  A lane of int16 holds 16 products, at most 16*15*127 < 2^15. */
ALWAYS_INLINE void dot_q4(__m256i dot[][2], const uint8_t *w, const int8_t *q, size_t q_stride, size_t n_rows) {
    const __m256i ones = _mm256_set1_epi16(1), nibble = _mm256_set1_epi8(15);
    UNROLL for (size_t i = 0; i < n_rows; i++) dot[i][0] = dot[i][1] = _mm256_setzero_si256();
    UNROLL for (size_t v = 0; v < 4; v++) {
        __m256i low[2], high[2];
        UNROLL for (size_t half = 0; half < 2; half++) {
            __m256i both = _mm256_loadu_si256((const __m256i *)(w + 64 * v + 32 * half));
            low[half] = _mm256_and_si256(both, nibble);
            high[half] = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
        }
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m256i four = broadcast4(q + i * q_stride + 4 * v), later = broadcast4(q + i * q_stride + 16 + 4 * v);
            UNROLL for (size_t half = 0; half < 2; half++) {
                dot[i][half] = _mm256_add_epi16(dot[i][half], _mm256_maddubs_epi16(low[half], four));
                dot[i][half] = _mm256_add_epi16(dot[i][half], _mm256_maddubs_epi16(high[half], later));
            }
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) {
        UNROLL for (size_t half = 0; half < 2; half++) dot[i][half] = _mm256_madd_epi16(dot[i][half], ones);
    }
}

ALWAYS_INLINE void tile_quant(const matmul_args *a, size_t group, size_t row, dtype type, size_t n_groups, size_t n_rows) {
    (void)n_groups;
    size_t n_blocks = a->w->n_cols_padded / PACK_COLS, block_bytes = type == DTYPE_Q8_0 ? Q8_BLOCK_BYTES : Q4_BLOCK_BYTES;
    const uint8_t *w = a->w->data + group * a->w->group_bytes;
    const int8_t *q = a->xq.q + row * n_blocks * PACK_COLS;
    const float *d = a->xq.d + row * n_blocks;
    const int32_t *sum = a->xq.sum + row * n_blocks;
    __m256 acc[MAX_ROWS][2];
    UNROLL for (size_t i = 0; i < n_rows; i++) acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (size_t b = 0; b < n_blocks; b++, w += block_bytes) {
        __m256i dot[MAX_ROWS][2];
        if (type == DTYPE_Q8_0) {
            dot_q8(dot, w + SCALE_BYTES, q + b * PACK_COLS, n_blocks * PACK_COLS, n_rows);
        } else {
            dot_q4(dot, w + SCALE_BYTES, q + b * PACK_COLS, n_blocks * PACK_COLS, n_rows);
        }
        UNROLL for (size_t half = 0; half < 2; half++) {
            __m256 scales = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(w + 16 * half)));
            UNROLL for (size_t i = 0; i < n_rows; i++) {
                __m256i whole = dot[i][half];
                if (type == DTYPE_Q4_0) whole = _mm256_sub_epi32(whole, _mm256_set1_epi32(8 * sum[i * n_blocks + b]));
                __m256 scale = _mm256_mul_ps(_mm256_broadcast_ss(d + i * n_blocks + b), scales);
                acc[i][half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, acc[i][half]);
            }
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) store_results(a, group, row + i, acc[i]);
}

#define TILE(kind, suffix, type, n_groups, n_rows)                                                                                         \
    static void tile_##suffix##_##n_groups##x##n_rows(const matmul_args *a, size_t group, size_t row) {                                    \
        tile_##kind(a, group, row, type, n_groups, n_rows);                                                                                \
    }

#define FLOAT_MATMUL(suffix, type)                                                                                                         \
    TILE(float, suffix, type, 1, 1)                                                                                                        \
    TILE(float, suffix, type, 1, 2)                                                                                                        \
    TILE(float, suffix, type, 1, 4)                                                                                                        \
    TILE(float, suffix, type, 1, 6)                                                                                                        \
    void matmul_##suffix##_avx2(const matmul_args *a, size_t group_begin, size_t group_end) {                                              \
        static const tile_set set = {                                                                                                      \
            1, {[1] = tile_##suffix##_1x1, [2] = tile_##suffix##_1x2, [4] = tile_##suffix##_1x4, [6] = tile_##suffix##_1x6}, {NULL}};      \
        tiles_run(a, group_begin, group_end, &set);                                                                                        \
    }

#define QUANT_MATMUL(suffix, type)                                                                                                         \
    TILE(quant, suffix, type, 1, 1)                                                                                                        \
    TILE(quant, suffix, type, 1, 2)                                                                                                        \
    TILE(quant, suffix, type, 1, 3)                                                                                                        \
    TILE(quant, suffix, type, 1, 4)                                                                                                        \
    void matmul_##suffix##_avx2(const matmul_args *a, size_t group_begin, size_t group_end) {                                              \
        static const tile_set set = {                                                                                                      \
            1, {[1] = tile_##suffix##_1x1, [2] = tile_##suffix##_1x2, [3] = tile_##suffix##_1x3, [4] = tile_##suffix##_1x4}, {NULL}};      \
        tiles_run(a, group_begin, group_end, &set);                                                                                        \
    }

FLOAT_MATMUL(f32, DTYPE_F32)
FLOAT_MATMUL(f16, DTYPE_F16)
FLOAT_MATMUL(bf16, DTYPE_BF16)
QUANT_MATMUL(q8_0, DTYPE_Q8_0)
QUANT_MATMUL(q4_0, DTYPE_Q4_0)
