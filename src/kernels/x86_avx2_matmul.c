/* Matrix products with AVX2, in the tiles of tiles.h; a group's 16 outputs are two registers. */
#include "kernels/x86_avx2_tiles.h"

/* Eight weights of a column as float32. */
ALWAYS_INLINE __m256 load_weights(dtype type, const uint8_t *p) {
    if (type == DTYPE_F32) return _mm256_loadu_ps((const float *)p);
    __m128i halves = _mm_loadu_si128((const __m128i *)p);
    if (type == DTYPE_F16) return _mm256_cvtph_ps(halves);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16)); /* bf16 is the upper half of a float32 */
}

ALWAYS_INLINE void tile_float(const matmul_args *a, size_t group, size_t row, dtype type, size_t n_rows) {
    size_t n_cols = a->w->n_cols_padded, half_bytes = 8 * (type == DTYPE_F32 ? 4 : 2);
    const uint8_t *w = a->w->data + group * a->w->group_bytes;
    const float *x = a->x + row * n_cols;
    __m256 acc[MAX_ROWS][2];
    UNROLL for (size_t i = 0; i < n_rows; i++) acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (size_t c = 0; c < n_cols; c++, w += 2 * half_bytes) {
        if (n_rows == 1) prefetch_ahead(w, 2 * half_bytes);
        __m256 low = load_weights(type, w), high = load_weights(type, w + half_bytes);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m256 value = _mm256_broadcast_ss(x + i * n_cols + c);
            acc[i][0] = _mm256_fmadd_ps(value, low, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(value, high, acc[i][1]);
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) store_results(a, group, row + i, acc[i]);
}

/* The additions of the inner loops, as instructions: written as intrinsics the compiler knows that integers may be added in any order,
 * forms the products of all rows first, and keeps the sums in memory. */
ALWAYS_INLINE void add_16(__m256i *sum, __m256i v) { __asm__ volatile("vpaddw %1, %0, %0" : "+x"(*sum) : "x"(v)); }
ALWAYS_INLINE void add_32(__m256i *sum, __m256i v) { __asm__ volatile("vpaddd %1, %0, %0" : "+x"(*sum) : "x"(v)); }

/* sum[i][half] = one block of q8_0.  maddubs takes unsigned times signed: |w| * (x with w's sign).  A pair is at most 2*128*127 < 2^15. */
ALWAYS_INLINE void dot_q8(__m256i sum[][2], const uint8_t *w, const int8_t *const q[], size_t n_rows) {
    const __m256i ones = _mm256_set1_epi16(1), flip = _mm256_set1_epi8(-128);
    UNROLL for (size_t i = 0; i < n_rows; i++) sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    UNROLL for (size_t v = 0; v < 8; v++) {
        __m256i signs[2], sizes[2];
        UNROLL for (size_t half = 0; half < 2; half++) {
            signs[half] = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(w + 64 * v + 32 * half)), flip);
            sizes[half] = _mm256_abs_epi8(signs[half]);
        }
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m256i four = broadcast4(q[i] + 4 * v);
            UNROLL for (size_t half = 0; half < 2; half++) {
                __m256i pairs = _mm256_maddubs_epi16(sizes[half], _mm256_sign_epi8(four, signs[half]));
                add_32(&sum[i][half], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
}

/* sum[i][half] = one block of q4_0 with quants 0..15.  A lane of int16 holds 16 products, at most 16*15*127 < 2^15. */
ALWAYS_INLINE void dot_q4(__m256i sum[][2], const uint8_t *w, const int8_t *const q[], size_t n_rows) {
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL for (size_t i = 0; i < n_rows; i++) sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    UNROLL for (size_t v = 0; v < 8; v++) {
        __m256i low = q4_quants(w, v, 0), high = q4_quants(w, v, 1);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m256i four = broadcast4(q[i] + q4_column(v));
            add_16(&sum[i][0], _mm256_maddubs_epi16(low, four));
            add_16(&sum[i][1], _mm256_maddubs_epi16(high, four));
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) {
        UNROLL for (size_t half = 0; half < 2; half++) sum[i][half] = _mm256_madd_epi16(sum[i][half], ones);
    }
}

#define FLOAT_TILE(suffix, type, n_rows)                                                                                                   \
    static void tile_##suffix##_##n_rows(const matmul_args *a, size_t group, size_t row) { tile_float(a, group, row, type, n_rows); }

#define FLOAT_MATMUL(suffix, type)                                                                                                         \
    FLOAT_TILE(suffix, type, 1)                                                                                                            \
    FLOAT_TILE(suffix, type, 2)                                                                                                            \
    FLOAT_TILE(suffix, type, 3)                                                                                                            \
    FLOAT_TILE(suffix, type, 4)                                                                                                            \
    FLOAT_TILE(suffix, type, 5)                                                                                                            \
    FLOAT_TILE(suffix, type, 6)                                                                                                            \
    void matmul_##suffix##_avx2(const matmul_args *a, size_t group_begin, size_t group_end) {                                              \
        static const tile_set set = {.n_groups = 1,                                                                                        \
                                     .narrow = {NULL, tile_##suffix##_1, tile_##suffix##_2, tile_##suffix##_3, tile_##suffix##_4,          \
                                                tile_##suffix##_5, tile_##suffix##_6}};                                                    \
        tiles_run(a, group_begin, group_end, &set);                                                                                        \
    }

FLOAT_MATMUL(f32, DTYPE_F32)
FLOAT_MATMUL(f16, DTYPE_F16)
FLOAT_MATMUL(bf16, DTYPE_BF16)
QUANT_MATMUL(q8_0, avx2, DTYPE_Q8_0, dot_q8, 0)
QUANT_MATMUL(q4_0, avx2, DTYPE_Q4_0, dot_q4, 3)
