/* Matrix products with AVX-512 and VNNI, in the tiles of tiles.h. */
#include <string.h>

#include "kernels/tiles.h"
#include "kernels/x86_avx512.h"

enum { MAX_GROUPS = 3, MAX_ROWS = 8 };

/* Two columns of a group's weights as float32. */
ALWAYS_INLINE void load_columns(dtype type, const uint8_t *p, __m512 column[2]) {
    if (type == DTYPE_F32) {
        column[0] = _mm512_loadu_ps(p);
        column[1] = _mm512_loadu_ps(p + 64);
    } else if (type == DTYPE_F16) {
        column[0] = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
        column[1] = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p + 32)));
    } else { /* bf16 is the upper half of a float32: spread the words, zeros between them */
        const __m512i first =
            _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7, 0, 6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0);
        const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
        __m512i both = _mm512_loadu_si512(p);
        column[0] = _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, first, both));
        column[1] = _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, second, both));
    }
}

ALWAYS_INLINE void tile_float(const matmul_args *a, size_t group, size_t row, dtype type, size_t n_groups, size_t n_rows) {
    size_t n_cols = a->w->n_cols_padded, column_bytes = PACK_ROWS * (type == DTYPE_F32 ? 4 : 2);
    const uint8_t *w[MAX_GROUPS];
    const float *x[MAX_ROWS];
    __m512 acc[MAX_ROWS][MAX_GROUPS];
    UNROLL for (size_t g = 0; g < n_groups; g++) w[g] = a->w->data + (group + g) * a->w->group_bytes;
    UNROLL for (size_t i = 0; i < n_rows; i++) {
        x[i] = a->x + (row + i) * n_cols;
        UNROLL for (size_t g = 0; g < n_groups; g++) acc[i][g] = _mm512_setzero_ps();
    }
    for (size_t c = 0; c < n_cols; c += 2) {
        __m512 columns[MAX_GROUPS][2];
        UNROLL for (size_t g = 0; g < n_groups; g++) {
            if (n_rows == 1) prefetch_ahead(w[g] + c * column_bytes, 2 * column_bytes);
            load_columns(type, w[g] + c * column_bytes, columns[g]);
        }
        UNROLL for (size_t j = 0; j < 2; j++) {
            UNROLL for (size_t i = 0; i < n_rows; i++) {
                __m512 value = _mm512_set1_ps(x[i][c + j]);
                UNROLL for (size_t g = 0; g < n_groups; g++) acc[i][g] = _mm512_fmadd_ps(value, columns[g][j], acc[i][g]);
            }
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) {
        UNROLL for (size_t g = 0; g < n_groups; g++) store_results(a, group + g, row + i, acc[i][g]);
    }
}

/* Four activations in every lane. */
ALWAYS_INLINE __m512i broadcast4(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm512_set1_epi32(four);
}

/* dot[i][g] += the block's quants, as unsigned bytes, times the activations.  w, q: the block's quants and the rows' activations. */
ALWAYS_INLINE void dot_block(__m512i dot[][MAX_GROUPS], dtype type, const uint8_t *const w[], const int8_t *const q[], size_t n_groups,
                             size_t n_rows) {
    const __m512i nibble = _mm512_set1_epi8(15);
    UNROLL for (size_t v = 0; v < 8; v++) {
        __m512i quants[MAX_GROUPS];
        UNROLL for (size_t g = 0; g < n_groups; g++) {
            if (type == DTYPE_Q8_0) {
                quants[g] = _mm512_loadu_si512(w[g] + 64 * v);
            } else {
                __m512i both = _mm512_loadu_si512(w[g] + 64 * (v / 2));
                quants[g] = _mm512_and_si512(v % 2 ? _mm512_srli_epi16(both, 4) : both, nibble);
            }
        }
        /* Low and high nibbles of a q4_0 vector are 16 columns apart. */
        size_t column = type == DTYPE_Q8_0 ? 4 * v : 4 * (v / 2) + 16 * (v % 2);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m512i four = broadcast4(q[i] + column);
            UNROLL for (size_t g = 0; g < n_groups; g++) dot[i][g] = _mm512_dpbusd_epi32(dot[i][g], quants[g], four);
        }
    }
}

ALWAYS_INLINE void tile_quant(const matmul_args *a, size_t group, size_t row, dtype type, size_t n_groups, size_t n_rows) {
    size_t n_blocks = a->w->n_cols_padded / PACK_COLS, block_bytes = type == DTYPE_Q8_0 ? Q8_BLOCK_BYTES : Q4_BLOCK_BYTES;
    const int zero_point = type == DTYPE_Q8_0 ? 128 : 8;
    __m512 acc[MAX_ROWS][MAX_GROUPS];
    UNROLL for (size_t i = 0; i < n_rows; i++) { UNROLL for (size_t g = 0; g < n_groups; g++) acc[i][g] = _mm512_setzero_ps(); }
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *w[MAX_GROUPS];
        const int8_t *q[MAX_ROWS];
        __m512i dot[MAX_ROWS][MAX_GROUPS];
        UNROLL for (size_t g = 0; g < n_groups; g++) {
            w[g] = a->w->data + (group + g) * a->w->group_bytes + b * block_bytes;
            if (n_rows == 1) prefetch_ahead(w[g], block_bytes);
        }
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            q[i] = a->xq.q + ((row + i) * n_blocks + b) * PACK_COLS;
            __m512i start = _mm512_set1_epi32(-zero_point * a->xq.sum[(row + i) * n_blocks + b]);
            UNROLL for (size_t g = 0; g < n_groups; g++) dot[i][g] = start;
        }
        const uint8_t *quants[MAX_GROUPS];
        UNROLL for (size_t g = 0; g < n_groups; g++) quants[g] = w[g] + SCALE_BYTES;
        dot_block(dot, type, quants, q, n_groups, n_rows);
        UNROLL for (size_t g = 0; g < n_groups; g++) {
            __m512 scales = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)w[g]));
            UNROLL for (size_t i = 0; i < n_rows; i++) {
                __m512 scale = _mm512_mul_ps(_mm512_set1_ps(a->xq.d[(row + i) * n_blocks + b]), scales);
                acc[i][g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i][g]), scale, acc[i][g]);
            }
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) {
        UNROLL for (size_t g = 0; g < n_groups; g++) store_results(a, group + g, row + i, acc[i][g]);
    }
}

#define TILE(kind, suffix, type, n_groups, n_rows)                                                                                         \
    static void tile_##suffix##_##n_groups##x##n_rows(const matmul_args *a, size_t group, size_t row) {                                    \
        tile_##kind(a, group, row, type, n_groups, n_rows);                                                                                \
    }

#define FLOAT_MATMUL(suffix, type)                                                                                                         \
    TILE(float, suffix, type, 1, 1)                                                                                                        \
    TILE(float, suffix, type, 1, 2)                                                                                                        \
    TILE(float, suffix, type, 1, 4)                                                                                                        \
    TILE(float, suffix, type, 1, 8)                                                                                                        \
    TILE(float, suffix, type, 3, 1)                                                                                                        \
    TILE(float, suffix, type, 3, 2)                                                                                                        \
    TILE(float, suffix, type, 3, 4)                                                                                                        \
    TILE(float, suffix, type, 3, 8)                                                                                                        \
    void matmul_##suffix##_avx512(const matmul_args *a, size_t group_begin, size_t group_end) {                                            \
        static const tile_set set = {                                                                                                      \
            .n_groups = 3,                                                                                                                 \
            .narrow = {[1] = tile_##suffix##_1x1, [2] = tile_##suffix##_1x2, [4] = tile_##suffix##_1x4, [8] = tile_##suffix##_1x8},        \
            .wide = {[1] = tile_##suffix##_3x1, [2] = tile_##suffix##_3x2, [4] = tile_##suffix##_3x4, [8] = tile_##suffix##_3x8},          \
        };                                                                                                                                 \
        tiles_run(a, group_begin, group_end, &set);                                                                                        \
    }

#define QUANT_MATMUL(suffix, type)                                                                                                         \
    TILE(quant, suffix, type, 1, 1)                                                                                                        \
    TILE(quant, suffix, type, 1, 2)                                                                                                        \
    TILE(quant, suffix, type, 1, 4)                                                                                                        \
    TILE(quant, suffix, type, 3, 1)                                                                                                        \
    TILE(quant, suffix, type, 3, 2)                                                                                                        \
    TILE(quant, suffix, type, 3, 4)                                                                                                        \
    void matmul_##suffix##_avx512(const matmul_args *a, size_t group_begin, size_t group_end) {                                            \
        static const tile_set set = {                                                                                                      \
            .n_groups = 3,                                                                                                                 \
            .narrow = {[1] = tile_##suffix##_1x1, [2] = tile_##suffix##_1x2, [4] = tile_##suffix##_1x4},                                   \
            .wide = {[1] = tile_##suffix##_3x1, [2] = tile_##suffix##_3x2, [4] = tile_##suffix##_3x4},                                     \
        };                                                                                                                                 \
        tiles_run(a, group_begin, group_end, &set);                                                                                        \
    }

FLOAT_MATMUL(f32, DTYPE_F32)
FLOAT_MATMUL(f16, DTYPE_F16)
FLOAT_MATMUL(bf16, DTYPE_BF16)
QUANT_MATMUL(q8_0, DTYPE_Q8_0)
QUANT_MATMUL(q4_0, DTYPE_Q4_0)
