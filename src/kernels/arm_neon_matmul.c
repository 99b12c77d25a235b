/* Matrix products with NEON and dotprod, in the tiles of tiles.h; a group's 16 outputs are four registers. */
#include "kernels/arm_neon.h"
#include "kernels/tiles.h"

enum { MAX_ROWS = 4 };

ALWAYS_INLINE void store_results(const matmul_args *a, size_t group, size_t row, const float32x4_t acc[4]) {
    UNROLL for (size_t j = 0; j < 4; j++) {
        size_t first = group * PACK_ROWS + 4 * j;
        if (first >= a->w->n_rows) return;
        size_t n = a->w->n_rows - first;
        float *y = a->y + row * a->y_stride + first;
        float32x4_t v = acc[j];
        if (a->bias) v = vaddq_f32(v, load_first(a->bias + first, n));
        if (a->accumulate) v = vaddq_f32(load_first(y, n), v);
        store_first(y, n, v);
    }
}

/* Four weights of a column as float32. */
ALWAYS_INLINE float32x4_t load_weights(dtype type, const uint8_t *p) {
    if (type == DTYPE_F32) return vreinterpretq_f32_u8(vld1q_u8(p));
    uint16x4_t halves = vreinterpret_u16_u8(vld1_u8(p));
    if (type == DTYPE_F16) return vcvt_f32_f16(vreinterpret_f16_u16(halves));
    return vreinterpretq_f32_u32(vshll_n_u16(halves, 16)); /* bf16 is the upper half of a float32 */
}

ALWAYS_INLINE void tile_float(const matmul_args *a, size_t group, size_t row, dtype type, size_t n_rows) {
    size_t n_cols = a->w->n_cols_padded, quarter_bytes = 4 * (type == DTYPE_F32 ? 4 : 2);
    const uint8_t *w = a->w->data + group * a->w->group_bytes;
    const float *x = a->x + row * n_cols;
    float32x4_t acc[MAX_ROWS][4];
    UNROLL for (size_t i = 0; i < n_rows; i++) { UNROLL for (size_t j = 0; j < 4; j++) acc[i][j] = vdupq_n_f32(0.0f); }
    for (size_t c = 0; c < n_cols; c++, w += 4 * quarter_bytes) {
        float32x4_t column[4];
        UNROLL for (size_t j = 0; j < 4; j++) column[j] = load_weights(type, w + quarter_bytes * j);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            float32x4_t value = vld1q_dup_f32(x + i * n_cols + c);
            UNROLL for (size_t j = 0; j < 4; j++) acc[i][j] = vfmaq_f32(acc[i][j], value, column[j]);
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) store_results(a, group, row + i, acc[i]);
}

/* Four activations in every lane. */
ALWAYS_INLINE int8x16_t broadcast4(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* dot[i][j] = one block; the quants of q8_0 signed, those of q4_0 from 0 to 15. */
ALWAYS_INLINE void dot_block(int32x4_t dot[][4], dtype type, const uint8_t *w, const int8_t *q, size_t q_stride, size_t n_rows) {
    UNROLL for (size_t i = 0; i < n_rows; i++) { UNROLL for (size_t j = 0; j < 4; j++) dot[i][j] = vdupq_n_s32(0); }
    UNROLL for (size_t v = 0; v < 8; v++) {
        int8x16_t quants[4];
        UNROLL for (size_t j = 0; j < 4; j++) {
            if (type == DTYPE_Q8_0) {
                quants[j] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w + 64 * v + 16 * j), vdupq_n_u8(128)));
            } else {
                uint8x16_t both = vld1q_u8(w + 64 * (v / 2) + 16 * j);
                quants[j] = vreinterpretq_s8_u8(v % 2 ? vshrq_n_u8(both, 4) : vandq_u8(both, vdupq_n_u8(15)));
            }
        }
        /* Low and high nibbles of a q4_0 vector are 16 columns apart. */
        size_t column = type == DTYPE_Q8_0 ? 4 * v : 4 * (v / 2) + 16 * (v % 2);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            int8x16_t four = broadcast4(q + i * q_stride + column);
            UNROLL for (size_t j = 0; j < 4; j++) dot[i][j] = vdotq_s32(dot[i][j], quants[j], four);
        }
    }
}

ALWAYS_INLINE void tile_quant(const matmul_args *a, size_t group, size_t row, dtype type, size_t n_rows) {
    size_t n_blocks = a->w->n_cols_padded / PACK_COLS, block_bytes = type == DTYPE_Q8_0 ? Q8_BLOCK_BYTES : Q4_BLOCK_BYTES;
    const uint8_t *w = a->w->data + group * a->w->group_bytes;
    const int8_t *q = a->xq.q + row * n_blocks * PACK_COLS;
    const float *d = a->xq.d + row * n_blocks;
    const int32_t *sum = a->xq.sum + row * n_blocks;
    float32x4_t acc[MAX_ROWS][4];
    UNROLL for (size_t i = 0; i < n_rows; i++) { UNROLL for (size_t j = 0; j < 4; j++) acc[i][j] = vdupq_n_f32(0.0f); }
    for (size_t b = 0; b < n_blocks; b++, w += block_bytes) {
        int32x4_t dot[MAX_ROWS][4];
        dot_block(dot, type, w + SCALE_BYTES, q + b * PACK_COLS, n_blocks * PACK_COLS, n_rows);
        UNROLL for (size_t j = 0; j < 4; j++) {
            float32x4_t scales = load_weights(DTYPE_F16, w + 8 * j);
            UNROLL for (size_t i = 0; i < n_rows; i++) {
                int32x4_t whole = dot[i][j];
                if (type == DTYPE_Q4_0) whole = vsubq_s32(whole, vdupq_n_s32(8 * sum[i * n_blocks + b])); /* quants stand for 8 less */
                float32x4_t scale = vmulq_f32(vld1q_dup_f32(d + i * n_blocks + b), scales);
                acc[i][j] = vfmaq_f32(acc[i][j], vcvtq_f32_s32(whole), scale);
            }
        }
    }
    UNROLL for (size_t i = 0; i < n_rows; i++) store_results(a, group, row + i, acc[i]);
}

#define TILE(kind, suffix, type, n_rows)                                                                                                   \
    static void tile_##suffix##_##n_rows(const matmul_args *a, size_t group, size_t row) { tile_##kind(a, group, row, type, n_rows); }

#define MATMUL(kind, suffix, type)                                                                                                         \
    TILE(kind, suffix, type, 1)                                                                                                            \
    TILE(kind, suffix, type, 2)                                                                                                            \
    TILE(kind, suffix, type, 3)                                                                                                            \
    TILE(kind, suffix, type, 4)                                                                                                            \
    void matmul_##suffix##_neon(const matmul_args *a, size_t group_begin, size_t group_end) {                                              \
        static const tile_set set = {.n_groups = 1,                                                                                        \
                                     .narrow = {NULL, tile_##suffix##_1, tile_##suffix##_2, tile_##suffix##_3, tile_##suffix##_4}};        \
        tiles_run(a, group_begin, group_end, &set);                                                                                        \
    }

MATMUL(float, f32, DTYPE_F32)
MATMUL(float, f16, DTYPE_F16)
MATMUL(float, bf16, DTYPE_BF16)
MATMUL(quant, q8_0, DTYPE_Q8_0)
MATMUL(quant, q4_0, DTYPE_Q4_0)
