/* The arithmetic: a table of functions, filled once at start for the CPU at hand.  kernels_ref() is plain C and the specification: every
 * other version gives the same bits, because each entry fixes the order of its floating-point operations per output value (fused
 * multiply-adds where the formula says fma, no reassociation).  So a result depends on neither the batch, nor the threads, nor the machine.
 * Formulas are evaluated from left to right in float32, every operation rounded.  Where a result is NaN only that is promised, not its
 * payload; a maximum passes over NaN.  "Pairwise" adds 16 lanes as 16 -> 8 (lane i + lane i+8) -> 4 -> 2 -> 1.
 *
 * Weights are packed: a matrix W[n_rows, n_cols] (n_rows outputs, n_cols inputs) is cut into groups of 16 rows, the last one padded with
 * zero rows, the columns padded with zeros to a multiple of 32.  With R = 16 rows, r the row in its group, C = padded columns:
 *
 *   f32/f16/bf16  per group:  element (r, c) at index c*16 + r.                                        C*16*{4,2,2} bytes
 *   q8_0          per group:  per block b of 32 columns: 16 f16 scales, then 8 vectors of 64 bytes; in vector v the byte 4*r + i is
 *                             the quant of (r, 32*b + 4*v + i) plus 128.                               C/32 * 544 bytes
 *   q4_0          per group:  per block b: 16 f16 scales, then 4 vectors of 64 bytes; in vector v the byte 4*r + i has in its low
 *                             nibble the quant (0..15, value quant - 8) of (r, 32*b + 4*v + i), in its high nibble that of
 *                             (r, 32*b + 16 + 4*v + i).                                                C/32 * 288 bytes
 *
 * One 64-byte vector feeds one AVX-512 vpdpbusd (16 rows x 4 columns), one AMX tile row, two AVX2 registers or four NEON ones. */
#ifndef QAIO_KERNELS_KERNELS_H
#define QAIO_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/dtype.h"

#define PACK_ROWS      16 /* rows a group */
#define PACK_COLS      32 /* columns are padded to a multiple of this; also the quantisation block */
#define KERNELS_SPEC   1  /* of the formulas below and of model_forward: one more whenever a change alters the bits of a result */
#define KV_BLOCK       16 /* token positions a KV block */
#define ATTENTION_TILE 64 /* positions between two rescalings of the online softmax: 4 KV blocks */
#define KV_AHEAD       2  /* blocks of KV asked for ahead of their use */

typedef struct packed_matrix {
    dtype type; /* F32, F16, BF16, Q8_0 or Q4_0 */
    size_t n_rows;
    size_t n_cols;
    size_t n_cols_padded;
    size_t n_groups; /* ceil(n_rows / PACK_ROWS) */
    size_t group_bytes;
    uint8_t *data; /* [n_groups * group_bytes], 64-byte aligned */
} packed_matrix;

/* Fills everything but data; false when the type cannot be packed or the size overflows. *bytes = n_groups * group_bytes. */
bool packed_init(packed_matrix *m, dtype type, size_t n_rows, size_t n_cols, size_t *bytes);

/* Packs rows [group*16, group*16+16) of a row-major source of source_type into m->data.  Same type: exact, bits copied (a Q8_0 or Q4_0
 * block keeps its scale and quants).  Otherwise through float32 and dtype_quantize's rounding.  row_f32: scratch of n_cols_padded floats.
 */
void packed_fill_group(packed_matrix *m, size_t group, const void *source, dtype source_type, float *row_f32);

/* Activations quantised for int8 weights: per row and block of 32 columns q[32] = round_half_even(x * (127/amax)), d = amax/127, sum = sum
 * of q.  A block with amax < 2^-100 counts as zero (q, d and sum are 0); one with an infinity or NaN has q = 0, sum = 0, d = NaN, so that
 * it spoils what it enters.  [n, n_cols_padded], [n, n_cols_padded/32]. */
typedef struct quant_rows {
    int8_t *q;
    float *d;
    int32_t *sum;
} quant_rows;

/* y[row, out] (=, or += when accumulate) x[row, in] . W[out, in]^T (+ bias[out]) for the outputs of groups [group_begin, group_end).
 *
 * float weights:  acc = 0; for c = 0..C-1: acc = fma(x[c], w[c], acc)
 * int8 and int4:  acc = 0; for each block b: acc = fma((float)(sum_i q_x[i] * q_w[i]), d_x[b] * d_w[b], acc)      (integer sum exact)
 * then            v = acc; if bias: v = v + bias; if accumulate: v = y + v; y = v.          Outputs past n_rows are not written. */
typedef struct matmul_args {
    const packed_matrix *w;
    const float *bias; /* [w->n_rows] or NULL */
    float *y;
    size_t y_stride; /* floats from one row of y to the next */
    const float *x;  /* float weights: [n, n_cols_padded], the padding zero; 64-byte aligned */
    quant_rows xq;   /* int8 and int4 weights */
    size_t n;        /* activation rows */
    bool accumulate;
} matmul_args;

/* Where KV lives: a block holds KV_BLOCK positions of one layer's K and V for all kv heads; element type F32 or F16.
 * K is stored transposed, [n_kv_heads][head_dim][KV_BLOCK]; V as [n_kv_heads][KV_BLOCK][head_dim]. */
typedef struct attention_args {
    dtype kv_type;        /* F32 or F16 */
    size_t head_dim;      /* any even number up to 256 */
    size_t n_rows;        /* consecutive positions of one sequence */
    size_t row_stride;    /* floats from one row of q, and of out, to the next */
    size_t n_heads;       /* query heads that share this kv head */
    const float *q;       /* [n_rows][n_heads, head_dim], not yet scaled */
    float *out;           /* [n_rows][n_heads, head_dim] */
    const void *const *k; /* per block, the start of this kv head's K: [head_dim][KV_BLOCK]; then KV_AHEAD addresses of what is likely
                             attended to next, which are only prefetched and may be anything */
    const void *const *v; /* the same for V: [KV_BLOCK][head_dim] */
    size_t n_positions;   /* the first row attends to 0 .. n_positions-1, at least 1; each further row to one more */
    float scale;          /* 1/sqrt(head_dim) */
} attention_args;

typedef struct kernels {
    const char *name; /* "ref", "avx2", "avx512" ... */

    /* out[n_cols] = row `row` of m as float32 (embedding look-up). */
    void (*unpack_row)(float *out, const packed_matrix *m, size_t row);

    /* y[i] = x[i] * s * w[i], s = 1 / sqrt(sum(x^2) / n + eps).  The sum runs in 16 lanes (lane i%16, fma), added pairwise.
     * y[n .. n_padded) is set to zero.  y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *w, size_t n, size_t n_padded, float eps);

    /* Rotates pairs (i, i + n_rot/2) of x[head_dim], "NeoX" order:  x_i' = fma(-x_j, sin_i, x_i * cos_i), x_j' = fma(x_i, sin_i, x_j *
     * cos_i). */
    void (*rope)(float *x, const float *cos, const float *sin, size_t n_rot);

    /* out[i] = silu(gate[i]) * up[i], silu(g) = g / (1 + exp_approx(-g)); out[n .. n_padded) = 0.  out may be gate or up. */
    void (*silu_mul)(float *out, const float *gate, const float *up, size_t n, size_t n_padded);

    /* See quant_rows; one row, n a multiple of 32. */
    void (*quantize_row)(int8_t *q, float *d, int32_t *sum, const float *x, size_t n);

    void (*matmul_f32)(const matmul_args *a, size_t group_begin, size_t group_end);
    void (*matmul_f16)(const matmul_args *a, size_t group_begin, size_t group_end);
    void (*matmul_bf16)(const matmul_args *a, size_t group_begin, size_t group_end);
    void (*matmul_q8_0)(const matmul_args *a, size_t group_begin, size_t group_end);
    void (*matmul_q4_0)(const matmul_args *a, size_t group_begin, size_t group_end);

    /* Writes position `slot` (0..KV_BLOCK-1) of one kv head: k[head_dim] into K's column, v[head_dim] into V's row. */
    void (*kv_store)(void *k_block, void *v_block, dtype kv_type, size_t slot, const float *k, const float *v, size_t head_dim);

    /* All heads of one kv head.  Per row and head, from m = -inf, l[16] = 0, out = 0, tiles of ATTENTION_TILE positions in order:
     *   s[p] = (fma chain over d = 0.. of q[d] * K[d][p]) * scale;   m' = max(m, max_p s[p]);   w[p] = exp_approx(s[p] - m');
     *   c = exp_approx(m - m') (0 on the first tile);   l[i] = fma(l[i], c, w[i] + w[16+i] + w[32+i] + w[48+i]) (w = 0 past the end);
     *   out[d] = out[d] * c, then for p in order: out[d] = fma(w[p], V[p][d], out[d]);       m = m'.
     * At the end out[d] = out[d] / (the l[i] added pairwise).  Reads whole columns of K, also where no position has been stored yet. */
    void (*attention)(const attention_args *a);

    /* Largest value; the lowest index among equals; NaN never wins; 0 when there is nothing to choose. */
    size_t (*argmax)(const float *x, size_t n);

    /* log(sum(exp(x))): the maximum m first, then exp_approx(x - m) summed in 16 double lanes (lane i%16), added pairwise; m + log(sum).
     * -inf when no value is above that. */
    double (*log_sum_exp)(const float *x, size_t n);
} kernels;

/* exp(x) within 2 ulp, the same bits in every version.  Below -87.3 it is 0, above 88.7 exp(88.7); NaN stays NaN.  isa.h has the formula.
 */
float exp_approx(float x);

const kernels *kernels_ref(void);

/* The best table this CPU runs, or the one named by `name` ("ref", "avx2", "avxvnni", "avx512", "amx", "neon"; NULL or "" = best).  Unknown
 * or not available here: QAIO_ERR_ARGUMENT with the list of those that are.  Thread-safe; the tables are constant. */
qaio_status kernels_select(const kernels **out, const char *name, qaio_error *err);

/* The versions this CPU can run, ascending, ended by NULL. */
const kernels *const *kernels_available(void);

/* "AVX2 AVX-512 VNNI AMX-INT8 ..." as CPUID and the operating system report them, for `qaio doctor`. */
void kernels_cpu_features(char *out, size_t out_bytes);

#endif
