/* What the products with AVX2 and with AVX-VNNI share: all but the sums of a block's integers. */
#ifndef QAIO_KERNELS_X86_AVX2_TILES_H
#define QAIO_KERNELS_X86_AVX2_TILES_H

#include <string.h>

#include "kernels/tiles.h"
#include "kernels/x86_avx2.h"

enum { MAX_ROWS = 6 };

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

/* Four activations in every lane. */
ALWAYS_INLINE __m256i broadcast4(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Hides where a pointer came from: it stays one register, not one for each offset in use. */
ALWAYS_INLINE void one_register(const int8_t **p) { __asm__("" : "+r"(*p)); }

/* Half of vector v of the 8 that a q4_0 block's quants make, its columns from q4_column(v) on: low and high nibbles are 16 columns apart.
 */
ALWAYS_INLINE __m256i q4_quants(const uint8_t *w, size_t v, size_t half) {
    __m256i both = _mm256_loadu_si256((const __m256i *)(w + 64 * (v / 2) + 32 * half));
    return _mm256_and_si256(v % 2 ? _mm256_srli_epi16(both, 4) : both, _mm256_set1_epi8(15));
}

ALWAYS_INLINE size_t q4_column(size_t v) { return 4 * (v / 2) + 16 * (v % 2); }

/* sum[i][half] = the sums over one block for each row; w: the block's quants, q: the rows' activations. */
typedef void dot_block(__m256i sum[][2], const uint8_t *w, const int8_t *const q[], size_t n_rows);

/* The quants that dot_of multiplies are 2^zero_shift more than they stand for; with 0 they are what they stand for. */
ALWAYS_INLINE void tile_quant(const matmul_args *a, size_t group, size_t row, dtype type, dot_block *dot_of, int zero_shift,
                              size_t n_rows) {
    size_t n_blocks = a->w->n_cols_padded / PACK_COLS, block_bytes = type == DTYPE_Q8_0 ? Q8_BLOCK_BYTES : Q4_BLOCK_BYTES;
    const uint8_t *w = a->w->data + group * a->w->group_bytes;
    const int8_t *q[MAX_ROWS];
    const float *d = a->xq.d + row * n_blocks;
    const int32_t *sum = a->xq.sum + row * n_blocks;
    __m256 acc[MAX_ROWS][2];
    UNROLL for (size_t i = 0; i < n_rows; i++) {
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
        q[i] = a->xq.q + (row + i) * n_blocks * PACK_COLS;
    }
    for (size_t b = 0; b < n_blocks; b++, w += block_bytes) {
        __m256i dot[MAX_ROWS][2];
        if (n_rows == 1) prefetch_ahead(w, block_bytes);
        UNROLL for (size_t i = 0; i < n_rows; i++) one_register(&q[i]);
        dot_of(dot, w + SCALE_BYTES, q, n_rows);
        UNROLL for (size_t i = 0; i < n_rows; i++) q[i] += PACK_COLS;
        UNROLL for (size_t half = 0; half < 2; half++) {
            __m256 scales = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(w + 16 * half)));
            UNROLL for (size_t i = 0; i < n_rows; i++) {
                __m256i whole = dot[i][half];
                if (zero_shift > 0) {
                    whole = _mm256_sub_epi32(whole, _mm256_slli_epi32(_mm256_set1_epi32(sum[i * n_blocks + b]), zero_shift));
                }
                __m256 scale = _mm256_mul_ps(_mm256_broadcast_ss(d + i * n_blocks + b), scales);
                acc[i][half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, acc[i][half]);
            }
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) store_results(a, group, row + i, acc[i]);
}

#define QUANT_TILE(suffix, type, dot_of, zero_shift, n_rows)                                                                               \
    static void tile_##suffix##_##n_rows(const matmul_args *a, size_t group, size_t row) {                                                 \
        tile_quant(a, group, row, type, dot_of, zero_shift, n_rows);                                                                       \
    }

#define QUANT_MATMUL(suffix, version, type, dot_of, zero_shift)                                                                            \
    QUANT_TILE(suffix, type, dot_of, zero_shift, 1)                                                                                        \
    QUANT_TILE(suffix, type, dot_of, zero_shift, 2)                                                                                        \
    QUANT_TILE(suffix, type, dot_of, zero_shift, 3)                                                                                        \
    QUANT_TILE(suffix, type, dot_of, zero_shift, 4)                                                                                        \
    void matmul_##suffix##_##version(const matmul_args *a, size_t group_begin, size_t group_end) {                                         \
        static const tile_set set = {.n_groups = 1,                                                                                        \
                                     .narrow = {NULL, tile_##suffix##_1, tile_##suffix##_2, tile_##suffix##_3, tile_##suffix##_4}};        \
        tiles_run(a, group_begin, group_end, &set);                                                                                        \
    }

#endif
