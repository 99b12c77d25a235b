/* Every entry of every version against the reference, bit for bit: random, odd and degenerate shapes, extreme values, infinities and NaN.
 * Buffers are as small as the contract allows, so that AddressSanitizer sees a read past an end, and what must not be written is compared
 * too. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "random_data.h"
#include "versions.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const size_t lengths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 63, 64, 65, 100, 128, 895, 896, 1024, 1031};
static const dtype packable[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0};

/* Compares outputs: equal bits, or both NaN. */
static void check_floats(const kernels *k, const char *what, const float *got, const float *expected, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&got[i], &expected[i], sizeof *got) == 0 || (isnan(got[i]) && isnan(expected[i]))) continue;
        fail_msg("%s %s: value %zu of %zu is %a, the reference has %a", k->name, what, i, n, (double)got[i], (double)expected[i]);
    }
}

static void check_bytes(const kernels *k, const char *what, const void *got, const void *expected, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned a = ((const uint8_t *)got)[i], b = ((const uint8_t *)expected)[i];
        if (a != b) fail_msg("%s %s: byte %zu of %zu is %02x, the reference has %02x", k->name, what, i, n, a, b);
    }
}

static float *floats(size_t n, flavour f) {
    float *out = mem_aligned(n * sizeof *out);
    random_floats(out, n, f);
    return out;
}

static float *copy_of(const float *from, size_t n) {
    float *out = mem_aligned(n * sizeof *out);
    memcpy(out, from, n * sizeof *out);
    return out;
}

/* Runs a check for each version, each flavour of data and each length. */
typedef void length_check(const kernels *k, size_t n, flavour f);

static void for_each_length(length_check *check) {
    for (const kernels *const *k = versions_under_test(); *k; k++) {
        for (int f = 0; f < N_FLAVOURS; f++) {
            for (size_t i = 0; i < COUNT(lengths); i++) check(*k, lengths[i], (flavour)f);
        }
    }
}

static void check_unpack_row(const kernels *k, dtype type, size_t n_rows, size_t n_cols, flavour f) {
    packed_matrix m = random_matrix(type, n_rows, n_cols, f);
    float *got = floats(n_cols, ORDINARY), *expected = floats(n_cols, ORDINARY);
    for (size_t row = 0; row < n_rows; row++) {
        k->unpack_row(got, &m, row);
        kernels_ref()->unpack_row(expected, &m, row);
        check_floats(k, "unpack_row", got, expected, n_cols);
    }
    mem_free(got);
    mem_free(expected);
    mem_free(m.data);
}

static void rows_are_unpacked_as_the_reference_does(void **state) {
    (void)state;
    for (const kernels *const *k = versions_under_test(); *k; k++) {
        for (size_t t = 0; t < COUNT(packable); t++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                check_unpack_row(*k, packable[t], 17, 32, (flavour)f);
                check_unpack_row(*k, packable[t], 1, 1, (flavour)f);
                check_unpack_row(*k, packable[t], 33, 100, (flavour)f);
            }
        }
    }
}

static void check_rms_norm(const kernels *k, size_t n, flavour f) {
    size_t n_padded = (n + PACK_COLS - 1) / PACK_COLS * PACK_COLS;
    float *x = floats(n, f), *w = floats(n, f), *got = floats(n_padded, ORDINARY), *expected = floats(n_padded, ORDINARY);
    k->rms_norm(got, x, w, n, n_padded, 1e-6f);
    kernels_ref()->rms_norm(expected, x, w, n, n_padded, 1e-6f);
    check_floats(k, "rms_norm", got, expected, n_padded);
    k->rms_norm(x, x, w, n, n, 1e-6f);
    check_floats(k, "rms_norm in place", x, expected, n);
    mem_free(x);
    mem_free(w);
    mem_free(got);
    mem_free(expected);
}

static void norms_equal_the_reference(void **state) {
    (void)state;
    for_each_length(check_rms_norm);
}

static void check_rope(const kernels *k, size_t half, flavour f) {
    float *cosines = floats(half, f), *sines = floats(half, f), *got = floats(2 * half, f), *expected = copy_of(got, 2 * half);
    k->rope(got, cosines, sines, 2 * half);
    kernels_ref()->rope(expected, cosines, sines, 2 * half);
    check_floats(k, "rope", got, expected, 2 * half);
    mem_free(cosines);
    mem_free(sines);
    mem_free(got);
    mem_free(expected);
}

static void rotations_equal_the_reference(void **state) {
    (void)state;
    for_each_length(check_rope);
}

static void check_silu_mul(const kernels *k, size_t n, flavour f) {
    size_t n_padded = n + n % 5;
    float *gate = floats(n, f), *up = floats(n, f), *got = floats(n_padded, ORDINARY), *expected = floats(n_padded, ORDINARY);
    float *in_gate = copy_of(gate, n);
    k->silu_mul(got, gate, up, n, n_padded);
    kernels_ref()->silu_mul(expected, gate, up, n, n_padded);
    check_floats(k, "silu_mul", got, expected, n_padded);
    k->silu_mul(in_gate, in_gate, up, n, n);
    check_floats(k, "silu_mul into gate", in_gate, expected, n);
    k->silu_mul(up, gate, up, n, n);
    check_floats(k, "silu_mul into up", up, expected, n);
    mem_free(in_gate);
    mem_free(gate);
    mem_free(up);
    mem_free(got);
    mem_free(expected);
}

static void silu_equals_the_reference(void **state) {
    (void)state;
    for_each_length(check_silu_mul);
}

/* silu_mul of one value shows what exp_approx gives; a step of 4099 visits every exponent and the neighbourhood of every clamp. */
static void exp_has_the_same_bits_over_all_floats(void **state) {
    (void)state;
    enum { N = 1024 };
    float gate[N], one[N], got[N], expected[N];
    for (size_t i = 0; i < N; i++) one[i] = 1.0f;
    for (const kernels *const *k = versions_under_test(); *k; k++) {
        for (uint64_t bits = 0; bits <= UINT32_MAX;) {
            for (size_t i = 0; i < N; i++, bits += 4099) {
                uint32_t low = (uint32_t)bits;
                memcpy(&gate[i], &low, sizeof low);
            }
            (*k)->silu_mul(got, gate, one, N, N);
            kernels_ref()->silu_mul(expected, gate, one, N, N);
            check_floats(*k, "exp", got, expected, N);
        }
    }
}

static void check_quantize_row(const kernels *k, size_t blocks, flavour f) {
    size_t n = blocks * PACK_COLS;
    float *x = floats(n, f), *d[2] = {floats(blocks, ORDINARY), floats(blocks, ORDINARY)};
    int8_t *q[2] = {mem_aligned(n), mem_aligned(n)};
    int32_t *sum[2] = {mem_array(blocks, sizeof(int32_t)), mem_array(blocks, sizeof(int32_t))};
    for (size_t b = 0; b < blocks; b++) {
        float scale[] = {1.0f, 0.0f, 1e-25f, 1.2e-30f, 7e-31f, 1e-38f, 1e38f}; /* around the limit below which a block is zero */
        for (size_t i = 0; i < PACK_COLS; i++) x[b * PACK_COLS + i] *= scale[b % COUNT(scale)];
    }
    k->quantize_row(q[0], d[0], sum[0], x, n);
    kernels_ref()->quantize_row(q[1], d[1], sum[1], x, n);
    check_bytes(k, "quantize_row q", q[0], q[1], n);
    check_bytes(k, "quantize_row sum", sum[0], sum[1], blocks * sizeof(int32_t));
    check_floats(k, "quantize_row d", d[0], d[1], blocks);
    mem_free(x);
    for (size_t i = 0; i < 2; i++) {
        mem_free(d[i]);
        mem_free(q[i]);
        mem_free(sum[i]);
    }
}

static void quantised_rows_equal_the_reference(void **state) {
    (void)state;
    for_each_length(check_quantize_row);
}

typedef void (*matmul_function)(const matmul_args *a, size_t group_begin, size_t group_end);

static matmul_function matmul_of(const kernels *k, dtype type) {
    switch (type) {
    case DTYPE_F32:
        return k->matmul_f32;
    case DTYPE_F16:
        return k->matmul_f16;
    case DTYPE_BF16:
        return k->matmul_bf16;
    case DTYPE_Q8_0:
        return k->matmul_q8_0;
    default:
        return k->matmul_q4_0;
    }
}

/* Activations in both forms: x with zeros in the padding, and quantised. */
static matmul_args random_activations(const packed_matrix *w, size_t n, flavour f) {
    size_t n_cols = w->n_cols_padded, blocks = n_cols / PACK_COLS;
    float *x = floats(n * n_cols, f);
    matmul_args a = {.w = w, .x = x, .n = n};
    a.xq = (quant_rows){mem_aligned(n * n_cols), floats(n * blocks, ORDINARY), mem_array(n * blocks, sizeof(int32_t))};
    for (size_t row = 0; row < n; row++) {
        for (size_t c = w->n_cols; c < n_cols; c++) x[row * n_cols + c] = 0.0f;
        kernels_ref()->quantize_row(a.xq.q + row * n_cols, a.xq.d + row * blocks, a.xq.sum + row * blocks, x + row * n_cols, n_cols);
    }
    return a;
}

static void check_matmul(const kernels *k, dtype type, size_t n_rows, size_t n_cols, size_t n, flavour f) {
    packed_matrix w = random_matrix(type, n_rows, n_cols, f);
    matmul_args a = random_activations(&w, n, f);
    a.y_stride = n_rows + random_u32() % 3;
    a.accumulate = random_u32() % 2;
    float *bias = floats(n_rows, f), *got = floats(n * a.y_stride, f), *expected = copy_of(got, n * a.y_stride);
    if (random_u32() % 2) a.bias = bias;
    size_t begin = w.n_groups > 2 ? random_u32() % 2 : 0, end = w.n_groups - (w.n_groups > 3 ? random_u32() % 2 : 0);
    a.y = got;
    matmul_of(k, type)(&a, begin, end);
    a.y = expected;
    matmul_of(kernels_ref(), type)(&a, begin, end);
    char what[96];
    snprintf(what, sizeof what, "matmul_%s [%zu, %zu] x %zu rows, flavour %d", dtype_get(type)->name, n_rows, n_cols, n, (int)f);
    check_floats(k, what, got, expected, n * a.y_stride);
    mem_free(w.data);
    mem_free((void *)a.x);
    mem_free(a.xq.q);
    mem_free(a.xq.d);
    mem_free(a.xq.sum);
    mem_free(bias);
    mem_free(got);
    mem_free(expected);
}

static void check_products(dtype type) {
    static const size_t rows[] = {1, 7, 8, 9, 15, 16, 17, 31, 33, 48, 64, 100}, cols[] = {1, 31, 32, 33, 64, 100, 256, 257};
    for (const kernels *const *k = versions_under_test(); *k; k++) {
        for (int f = 0; f < N_FLAVOURS; f++) {
            for (size_t r = 0; r < COUNT(rows); r++) {
                for (size_t c = 0; c < COUNT(cols); c++) check_matmul(*k, type, rows[r], cols[c], 1 + random_u32() % 13, (flavour)f);
            }
            for (size_t n = 1; n <= 34; n++) check_matmul(*k, type, 50, 96, n, (flavour)f); /* every height of the tiles, and rests */
            check_matmul(*k, type, 16, 3000, 80, (flavour)f);                               /* more rows than one block of activations */
            check_matmul(*k, type, 33, 1100, 145, (flavour)f);
        }
    }
}

static void f32_products_equal_the_reference(void **state) {
    (void)state;
    check_products(DTYPE_F32);
}

static void f16_products_equal_the_reference(void **state) {
    (void)state;
    check_products(DTYPE_F16);
}

static void bf16_products_equal_the_reference(void **state) {
    (void)state;
    check_products(DTYPE_BF16);
}

static void q8_0_products_equal_the_reference(void **state) {
    (void)state;
    check_products(DTYPE_Q8_0);
}

static void q4_0_products_equal_the_reference(void **state) {
    (void)state;
    check_products(DTYPE_Q4_0);
}

/* Quants and activations of the largest magnitude everywhere: what overflows 16 bits shows here. */
static void check_largest_quants(const kernels *k, dtype type, int8_t activation, uint8_t quant) {
    packed_matrix w = random_matrix(type, 16, 64, ORDINARY);
    size_t block_bytes = w.group_bytes / 2;
    for (size_t b = 0; b < 2; b++) memset(w.data + b * block_bytes + PACK_ROWS * 2, quant, block_bytes - PACK_ROWS * 2);
    int8_t q[64];
    float d[2] = {0.5f, 0.25f}, got[16], expected[16];
    int32_t sum[2] = {32 * activation, 32 * activation};
    memset(q, activation, sizeof q);
    matmul_args a = {.w = &w, .y = got, .y_stride = 16, .xq = {q, d, sum}, .n = 1};
    matmul_of(k, type)(&a, 0, 1);
    a.y = expected;
    matmul_of(kernels_ref(), type)(&a, 0, 1);
    check_floats(k, "matmul of the largest quants", got, expected, 16);
    mem_free(w.data);
}

static void the_largest_quants_do_not_overflow(void **state) {
    (void)state;
    for (const kernels *const *k = versions_under_test(); *k; k++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            check_largest_quants(*k, DTYPE_Q8_0, (int8_t)(127 * sign), 0);
            check_largest_quants(*k, DTYPE_Q8_0, (int8_t)(127 * sign), 255);
            check_largest_quants(*k, DTYPE_Q4_0, (int8_t)(127 * sign), 0);
            check_largest_quants(*k, DTYPE_Q4_0, (int8_t)(127 * sign), 255);
        }
    }
}

/* The bytes of one kv head's K (or V) block. */
static size_t kv_bytes(dtype type, size_t head_dim) { return KV_BLOCK * head_dim * (type == DTYPE_F32 ? 4 : 2); }

static void check_kv_store(const kernels *k, dtype type, size_t head_dim, flavour f) {
    size_t bytes = kv_bytes(type, head_dim);
    void *blocks[4]; /* K and V here, K and V of the reference */
    for (size_t i = 0; i < 4; i++) {
        blocks[i] = mem_aligned(bytes);
        memset(blocks[i], 0x55, bytes);
    }
    for (size_t slot = 0; slot < KV_BLOCK; slot += 3) {
        float *key = floats(head_dim, f), *value = floats(head_dim, f);
        k->kv_store(blocks[0], blocks[1], type, slot, key, value, head_dim);
        kernels_ref()->kv_store(blocks[2], blocks[3], type, slot, key, value, head_dim);
        mem_free(key);
        mem_free(value);
    }
    for (size_t i = 0; i < 2; i++) {
        float *got = mem_aligned(KV_BLOCK * head_dim * sizeof *got), *expected = mem_aligned(KV_BLOCK * head_dim * sizeof *expected);
        dtype_dequantize(type, got, blocks[i], KV_BLOCK * head_dim);
        dtype_dequantize(type, expected, blocks[i + 2], KV_BLOCK * head_dim);
        check_floats(k, i ? "kv_store V" : "kv_store K", got, expected, KV_BLOCK * head_dim);
        mem_free(got);
        mem_free(expected);
    }
    for (size_t i = 0; i < 4; i++) mem_free(blocks[i]);
}

static const size_t head_dims[] = {2, 4, 6, 8, 10, 16, 18, 32, 64, 80, 96, 128, 130, 192, 256};

static void stored_positions_equal_the_reference(void **state) {
    (void)state;
    for (const kernels *const *k = versions_under_test(); *k; k++) {
        for (size_t i = 0; i < COUNT(head_dims); i++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                check_kv_store(*k, DTYPE_F32, head_dims[i], (flavour)f);
                check_kv_store(*k, DTYPE_F16, head_dims[i], (flavour)f);
            }
        }
    }
}

/* KV blocks with n_positions stored; what K and V hold after them is NaN. */
static void random_blocks(void **out, dtype type, size_t head_dim, size_t n_positions, flavour f, bool is_key) {
    for (size_t b = 0; b * KV_BLOCK < n_positions; b++) {
        size_t element_bytes = type == DTYPE_F32 ? 4 : 2;
        out[b] = mem_aligned(kv_bytes(type, head_dim));
        for (size_t p = 0; p < KV_BLOCK; p++) {
            for (size_t d = 0; d < head_dim; d++) {
                float value = b * KV_BLOCK + p < n_positions ? random_float(f) : NAN;
                size_t index = is_key ? d * KV_BLOCK + p : p * head_dim + d;
                dtype_quantize(type, (uint8_t *)out[b] + index * element_bytes, &value, 1);
            }
        }
    }
}

static void check_attention(const kernels *k, dtype type, size_t head_dim, size_t n_rows, size_t n_heads, size_t n_positions, flavour f) {
    enum { MAX_BLOCKS = 32 };
    void *keys[MAX_BLOCKS] = {0}, *values[MAX_BLOCKS] = {0};
    random_blocks(keys, type, head_dim, n_positions + n_rows - 1, f, true);
    random_blocks(values, type, head_dim, n_positions + n_rows - 1, f, false);
    size_t stride = n_heads * head_dim + random_u32() % 40, n = (n_rows - 1) * stride + n_heads * head_dim;
    float *q = floats(n, f), *got = floats(n, NONFINITE), *expected = copy_of(got, n);
    const void *const *k_blocks = (const void *const *)keys, *const *v_blocks = (const void *const *)values;
    float scale = f == ORDINARY ? 4.0f : 1.0f / sqrtf((float)head_dim); /* 4: weights of very different size */
    attention_args a = {type, head_dim, n_rows, stride, n_heads, q, got, k_blocks, v_blocks, n_positions, scale};
    k->attention(&a);
    a.out = expected;
    kernels_ref()->attention(&a);
    char what[96];
    snprintf(what, sizeof what, "attention %s head_dim %zu, %zu rows of %zu heads, %zu positions, flavour %d", dtype_get(type)->name,
             head_dim, n_rows, n_heads, n_positions, (int)f);
    check_floats(k, what, got, expected, n);
    for (size_t b = 0; b < MAX_BLOCKS; b++) {
        mem_free(keys[b]);
        mem_free(values[b]);
    }
    mem_free(q);
    mem_free(got);
    mem_free(expected);
}

static void check_attention_of(dtype type) {
    static const size_t positions[] = {1, 2, 15, 16, 17, 31, 33, 48, 63, 64, 65, 79, 80, 128, 129, 200, 300};
    for (const kernels *const *k = versions_under_test(); *k; k++) {
        for (size_t i = 0; i < COUNT(head_dims); i++) {
            for (size_t p = 0; p < COUNT(positions); p++) {
                check_attention(*k, type, head_dims[i], 1 + random_u32() % 5, 1 + random_u32() % 7, positions[p],
                                (flavour)(random_u32() % N_FLAVOURS));
                check_attention(*k, type, head_dims[i], 1 + (i + p) % 4, 1 + (i + p) % 3, positions[p], ORDINARY);
            }
        }
    }
}

static void attention_over_f32_equals_the_reference(void **state) {
    (void)state;
    check_attention_of(DTYPE_F32);
}

static void attention_over_f16_equals_the_reference(void **state) {
    (void)state;
    check_attention_of(DTYPE_F16);
}

static void check_argmax(const kernels *k, size_t n, flavour f) {
    float *x = floats(n, f);
    for (int round = 0; round < 3; round++) {
        size_t got = k->argmax(x, n), expected = kernels_ref()->argmax(x, n);
        if (got != expected) fail_msg("%s argmax of %zu: %zu, the reference says %zu", k->name, n, got, expected);
        for (size_t i = 0; i < n; i++) x[i] = round == 0 ? floorf(random_float(ORDINARY) * 3.0f) : NAN; /* ties, then nothing */
        if (round == 1 && n > 3) x[n - 2] = -INFINITY;
    }
    mem_free(x);
}

static void argmax_equals_the_reference(void **state) {
    (void)state;
    for_each_length(check_argmax);
    for (const kernels *const *k = versions_under_test(); *k; k++) assert_int_equal((*k)->argmax(NULL, 0), 0);
}

static void check_log_sum_exp(const kernels *k, size_t n, flavour f) {
    float *x = floats(n, f);
    for (int round = 0; round < 2; round++) {
        double got = k->log_sum_exp(x, n), expected = kernels_ref()->log_sum_exp(x, n);
        if (memcmp(&got, &expected, sizeof got) != 0 && !(isnan(got) && isnan(expected))) {
            fail_msg("%s log_sum_exp of %zu: %a, the reference has %a", k->name, n, got, expected);
        }
        for (size_t i = 0; i < n; i++) x[i] = -INFINITY;
    }
    mem_free(x);
}

static void log_sum_exp_equals_the_reference(void **state) {
    (void)state;
    for_each_length(check_log_sum_exp);
}

int main(void) {
    for (const kernels *const *k = versions_under_test(); *k; k++) printf("version under test: %s\n", (*k)->name);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_unpacked_as_the_reference_does), cmocka_unit_test(norms_equal_the_reference),
        cmocka_unit_test(rotations_equal_the_reference),           cmocka_unit_test(silu_equals_the_reference),
        cmocka_unit_test(exp_has_the_same_bits_over_all_floats),   cmocka_unit_test(quantised_rows_equal_the_reference),
        cmocka_unit_test(f32_products_equal_the_reference),        cmocka_unit_test(f16_products_equal_the_reference),
        cmocka_unit_test(bf16_products_equal_the_reference),       cmocka_unit_test(q8_0_products_equal_the_reference),
        cmocka_unit_test(q4_0_products_equal_the_reference),       cmocka_unit_test(the_largest_quants_do_not_overflow),
        cmocka_unit_test(stored_positions_equal_the_reference),    cmocka_unit_test(attention_over_f32_equals_the_reference),
        cmocka_unit_test(attention_over_f16_equals_the_reference), cmocka_unit_test(argmax_equals_the_reference),
        cmocka_unit_test(log_sum_exp_equals_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
