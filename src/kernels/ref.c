/* The kernels in plain C: the specification that every other version must match bit for bit (kernels.h says the formulas). */
#include <math.h>
#include <string.h>

#include "kernels/isa.h"
#include "kernels/kernels.h"

enum { LANES = 16 }; /* long sums run in so many lanes */

float exp_approx(float x) {
    if (isnan(x)) return x;
    if (x < EXP_MIN) return 0.0f;
    x = x > EXP_MAX ? EXP_MAX : x;
    float shifted = fmaf(x, EXP_LOG2E, EXP_MAGIC), n = shifted - EXP_MAGIC;
    float r = fmaf(n, -EXP_LN2_LO, fmaf(n, -EXP_LN2_HI, x));
    float p = fmaf(EXP_C4, r, EXP_C3);
    p = fmaf(p, r, EXP_C2);
    p = fmaf(p, r, EXP_C1);
    p = fmaf(p, r, EXP_C0);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    /* The low bits of `shifted` are n; in the exponent's place they multiply by 2^n.  The result is always a normal number. */
    uint32_t p_bits, n_bits;
    memcpy(&p_bits, &p, sizeof p);
    memcpy(&n_bits, &shifted, sizeof shifted);
    p_bits += n_bits << 23;
    memcpy(&p, &p_bits, sizeof p);
    return p;
}

/* 16 -> 8 -> 4 -> 2 -> 1, each lane with the one half the width away. */
static float add_lanes(float lane[LANES]) {
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t i = 0; i < width; i++) lane[i] += lane[i + width];
    }
    return lane[0];
}

static const uint8_t *group_of(const packed_matrix *m, size_t group) { return m->data + group * m->group_bytes; }

static void unpack_row_ref(float *out, const packed_matrix *m, size_t row) {
    const uint8_t *group = group_of(m, row / PACK_ROWS);
    size_t r = row % PACK_ROWS, element_bytes = m->type == DTYPE_F32 ? 4 : 2;
    for (size_t c = 0; c < m->n_cols; c++) {
        size_t b = c / PACK_COLS, v = c % PACK_COLS / 4, i = c % 4;
        if (m->type == DTYPE_Q8_0) {
            const uint8_t *block = group + b * Q8_BLOCK_BYTES;
            float d;
            dtype_dequantize(DTYPE_F16, &d, block + 2 * r, 1);
            out[c] = d * (float)(block[SCALE_BYTES + 64 * v + 4 * r + i] - 128);
        } else if (m->type == DTYPE_Q4_0) {
            const uint8_t *block = group + b * Q4_BLOCK_BYTES;
            float d;
            dtype_dequantize(DTYPE_F16, &d, block + 2 * r, 1);
            unsigned both = block[SCALE_BYTES + 64 * (v % 4) + 4 * r + i];
            out[c] = d * (float)((int)(v < 4 ? both & 15 : both >> 4) - 8);
        } else {
            dtype_dequantize(m->type, &out[c], group + (c * PACK_ROWS + r) * element_bytes, 1);
        }
    }
}

static void rms_norm_ref(float *y, const float *x, const float *w, size_t n, size_t n_padded, float eps) {
    float squares[LANES] = {0};
    for (size_t i = 0; i < n; i++) squares[i % LANES] = fmaf(x[i], x[i], squares[i % LANES]);
    float scale = 1.0f / sqrtf(add_lanes(squares) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale * w[i];
    for (size_t i = n; i < n_padded; i++) y[i] = 0.0f;
}

static void rope_ref(float *x, const float *cosines, const float *sines, size_t n_rot) {
    for (size_t i = 0; i < n_rot / 2; i++) {
        float a = x[i], b = x[i + n_rot / 2];
        x[i] = fmaf(-b, sines[i], a * cosines[i]);
        x[i + n_rot / 2] = fmaf(a, sines[i], b * cosines[i]);
    }
}

static void silu_mul_ref(float *out, const float *gate, const float *up, size_t n, size_t n_padded) {
    for (size_t i = 0; i < n; i++) out[i] = gate[i] / (1.0f + exp_approx(-gate[i])) * up[i];
    for (size_t i = n; i < n_padded; i++) out[i] = 0.0f;
}

static void quantize_block(int8_t *q, float *d, int32_t *sum, const float *x) {
    float amax = 0.0f;
    bool is_finite = true;
    for (size_t i = 0; i < PACK_COLS; i++) {
        is_finite = is_finite && isfinite(x[i]);
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    }
    memset(q, 0, PACK_COLS);
    *sum = 0;
    *d = is_finite ? 0.0f : NAN;
    if (!is_finite || amax < QUANT_TINY) return;
    *d = amax / 127.0f;
    float inverse = 127.0f / amax;
    for (size_t i = 0; i < PACK_COLS; i++) {
        q[i] = (int8_t)rintf(x[i] * inverse);
        *sum += q[i];
    }
}

static void quantize_row_ref(int8_t *q, float *d, int32_t *sum, const float *x, size_t n) {
    for (size_t b = 0; b < n / PACK_COLS; b++) quantize_block(q + b * PACK_COLS, &d[b], &sum[b], x + b * PACK_COLS);
}

/* The 16 results of a group for activation row i, as far as they exist. */
static void write_results(const matmul_args *a, size_t group, size_t i, const float acc[PACK_ROWS]) {
    for (size_t r = 0, row = group * PACK_ROWS; r < PACK_ROWS && row < a->w->n_rows; r++, row++) {
        float *y = &a->y[i * a->y_stride + row];
        float v = a->bias ? acc[r] + a->bias[row] : acc[r];
        *y = a->accumulate ? *y + v : v;
    }
}

static void matmul_float_ref(const matmul_args *a, size_t group_begin, size_t group_end) {
    size_t n_cols = a->w->n_cols_padded, column_bytes = PACK_ROWS * (a->w->type == DTYPE_F32 ? 4 : 2);
    for (size_t group = group_begin; group < group_end; group++) {
        for (size_t i = 0; i < a->n; i++) {
            const float *x = a->x + i * n_cols;
            float acc[PACK_ROWS] = {0};
            for (size_t c = 0; c < n_cols; c++) {
                float w[PACK_ROWS];
                dtype_dequantize(a->w->type, w, group_of(a->w, group) + c * column_bytes, PACK_ROWS);
                for (size_t r = 0; r < PACK_ROWS; r++) acc[r] = fmaf(x[c], w[r], acc[r]);
            }
            write_results(a, group, i, acc);
        }
    }
}

static int32_t dot_q8(const uint8_t *block, size_t r, const int8_t *q) {
    int32_t sum = 0;
    for (size_t c = 0; c < PACK_COLS; c++) {
        sum += q[c] * (block[SCALE_BYTES + 64 * (c / 4) + 4 * r + c % 4] - 128);
    }
    return sum;
}

static int32_t dot_q4(const uint8_t *block, size_t r, const int8_t *q) {
    int32_t sum = 0;
    for (size_t c = 0; c < PACK_COLS / 2; c++) {
        int both = block[SCALE_BYTES + 64 * (c / 4) + 4 * r + c % 4];
        sum += q[c] * ((both & 15) - 8) + q[c + PACK_COLS / 2] * ((both >> 4) - 8);
    }
    return sum;
}

static void matmul_quant_ref(const matmul_args *a, size_t group_begin, size_t group_end) {
    bool is_q8 = a->w->type == DTYPE_Q8_0;
    size_t n_blocks = a->w->n_cols_padded / PACK_COLS, block_bytes = is_q8 ? Q8_BLOCK_BYTES : Q4_BLOCK_BYTES;
    for (size_t group = group_begin; group < group_end; group++) {
        for (size_t i = 0; i < a->n; i++) {
            float acc[PACK_ROWS] = {0};
            for (size_t b = 0; b < n_blocks; b++) {
                const uint8_t *block = group_of(a->w, group) + b * block_bytes;
                const int8_t *q = a->xq.q + (i * n_blocks + b) * PACK_COLS;
                float scales[PACK_ROWS];
                dtype_dequantize(DTYPE_F16, scales, block, PACK_ROWS);
                for (size_t r = 0; r < PACK_ROWS; r++) {
                    int32_t dot = is_q8 ? dot_q8(block, r, q) : dot_q4(block, r, q);
                    acc[r] = fmaf((float)dot, a->xq.d[i * n_blocks + b] * scales[r], acc[r]);
                }
            }
            write_results(a, group, i, acc);
        }
    }
}

static void kv_store_ref(void *k_block, void *v_block, dtype kv_type, size_t slot, const float *k, const float *v, size_t head_dim) {
    size_t bytes = kv_type == DTYPE_F32 ? 4 : 2;
    for (size_t d = 0; d < head_dim; d++) dtype_quantize(kv_type, (uint8_t *)k_block + (d * KV_BLOCK + slot) * bytes, &k[d], 1);
    dtype_quantize(kv_type, (uint8_t *)v_block + slot * head_dim * bytes, v, head_dim);
}

/* s[KV_BLOCK] = q . K for the positions of one block. */
static void score_block(float s[KV_BLOCK], const attention_args *a, const float *q, const uint8_t *k) {
    size_t column_bytes = KV_BLOCK * (a->kv_type == DTYPE_F32 ? 4 : 2);
    memset(s, 0, KV_BLOCK * sizeof *s);
    for (size_t d = 0; d < a->head_dim; d++) {
        float column[KV_BLOCK];
        dtype_dequantize(a->kv_type, column, k + d * column_bytes, KV_BLOCK);
        for (size_t p = 0; p < KV_BLOCK; p++) s[p] = fmaf(q[d], column[p], s[p]);
    }
    for (size_t p = 0; p < KV_BLOCK; p++) s[p] *= a->scale;
}

static void attend_head(const attention_args *a, size_t n_positions, const float *q, float *out) {
    size_t row_bytes = a->head_dim * (a->kv_type == DTYPE_F32 ? 4 : 2);
    float m = -INFINITY, l[LANES] = {0};
    memset(out, 0, a->head_dim * sizeof *out);
    for (size_t first = 0; first < n_positions; first += ATTENTION_TILE) {
        size_t n = n_positions - first < ATTENTION_TILE ? n_positions - first : ATTENTION_TILE;
        float w[ATTENTION_TILE], sums[LANES] = {0}, new_m = m;
        for (size_t p = 0; p < n; p += KV_BLOCK) score_block(w + p, a, q, a->k[(first + p) / KV_BLOCK]);
        for (size_t p = 0; p < n; p++) new_m = w[p] > new_m ? w[p] : new_m;
        float c = first == 0 ? 0.0f : exp_approx(m - new_m);
        for (size_t p = 0; p < n; p++) {
            w[p] = exp_approx(w[p] - new_m);
            sums[p % LANES] += w[p];
        }
        for (size_t i = 0; i < LANES; i++) l[i] = fmaf(l[i], c, sums[i]);
        for (size_t d = 0; d < a->head_dim; d++) out[d] *= c;
        for (size_t p = 0; p < n; p++) {
            float row[256];
            const uint8_t *v = a->v[(first + p) / KV_BLOCK];
            dtype_dequantize(a->kv_type, row, v + p % KV_BLOCK * row_bytes, a->head_dim);
            for (size_t d = 0; d < a->head_dim; d++) out[d] = fmaf(w[p], row[d], out[d]);
        }
        m = new_m;
    }
    float total = add_lanes(l);
    for (size_t d = 0; d < a->head_dim; d++) out[d] /= total;
}

static void attention_ref(const attention_args *a) {
    for (size_t row = 0; row < a->n_rows; row++)
        for (size_t head = 0; head < a->n_heads; head++) {
            size_t at = row * a->row_stride + head * a->head_dim;
            attend_head(a, a->n_positions + row, a->q + at, a->out + at);
        }
}

static size_t argmax_ref(const float *x, size_t n) {
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        if (!isnan(x[i]) && (best == n || x[i] > x[best])) best = i;
    }
    return best == n ? 0 : best;
}

static double log_sum_exp_ref(const float *x, size_t n) {
    float m = -INFINITY;
    for (size_t i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
    if (m == -INFINITY) return -INFINITY;
    double lane[LANES] = {0};
    for (size_t i = 0; i < n; i++) lane[i % LANES] += (double)exp_approx(x[i] - m);
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t i = 0; i < width; i++) lane[i] += lane[i + width];
    }
    return (double)m + log(lane[0]);
}

const kernels *kernels_ref(void) {
    static const kernels table = {
        .name = "ref",
        .unpack_row = unpack_row_ref,
        .rms_norm = rms_norm_ref,
        .rope = rope_ref,
        .silu_mul = silu_mul_ref,
        .quantize_row = quantize_row_ref,
        .matmul_f32 = matmul_float_ref,
        .matmul_f16 = matmul_float_ref,
        .matmul_bf16 = matmul_float_ref,
        .matmul_q8_0 = matmul_quant_ref,
        .matmul_q4_0 = matmul_quant_ref,
        .kv_store = kv_store_ref,
        .attention = attention_ref,
        .argmax = argmax_ref,
        .log_sum_exp = log_sum_exp_ref,
    };
    return &table;
}
