/* The packed layout, and the reference against naive arithmetic in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "random_data.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void check_close(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("%.9g, not %.9g within %.3g", got, expected, tolerance);
}

/* Packs random rows of source_type as `type` and compares every unpacked row with the source; exact when the types are equal. */
static void check_round_trip(dtype type, dtype source_type, size_t n_rows, size_t n_cols, double tolerance) {
    packed_matrix m;
    size_t bytes, row_bytes = dtype_bytes(source_type, n_cols);
    assert_true(packed_init(&m, type, n_rows, n_cols, &bytes));
    uint8_t *source = random_rows(source_type, n_rows, n_cols, ORDINARY);
    float *scratch = mem_array(m.n_cols_padded, sizeof *scratch), *got = mem_array(n_cols, sizeof *got);
    float *expected = mem_array(n_cols, sizeof *expected);
    m.data = mem_aligned(bytes);
    for (size_t group = 0; group < m.n_groups; group++) packed_fill_group(&m, group, source, source_type, scratch);
    for (size_t row = 0; row < n_rows; row++) {
        kernels_ref()->unpack_row(got, &m, row);
        dtype_dequantize(source_type, expected, source + row * row_bytes, n_cols);
        for (size_t c = 0; c < n_cols; c++) check_close((double)got[c], (double)expected[c], tolerance);
    }
    mem_free(scratch);
    mem_free(got);
    mem_free(expected);
    mem_free(source);
    mem_free(m.data);
}

static void packing_the_same_type_keeps_every_value(void **state) {
    (void)state;
    static const size_t rows[] = {1, 15, 16, 17, 40};
    for (size_t i = 0; i < COUNT(rows); i++) {
        check_round_trip(DTYPE_F32, DTYPE_F32, rows[i], 33, 0.0);
        check_round_trip(DTYPE_F16, DTYPE_F16, rows[i], 1, 0.0);
        check_round_trip(DTYPE_BF16, DTYPE_BF16, rows[i], 31, 0.0);
        check_round_trip(DTYPE_Q8_0, DTYPE_Q8_0, rows[i], 64, 0.0);
        check_round_trip(DTYPE_Q4_0, DTYPE_Q4_0, rows[i], 96, 0.0);
    }
}

static void packing_another_type_rounds_within_its_precision(void **state) {
    (void)state;
    check_round_trip(DTYPE_F32, DTYPE_BF16, 17, 33, 0.0);
    check_round_trip(DTYPE_F16, DTYPE_F32, 17, 33, 0x1p-11);
    check_round_trip(DTYPE_BF16, DTYPE_F32, 17, 33, 0x1p-8);
    check_round_trip(DTYPE_Q8_0, DTYPE_F32, 17, 33, 0.0085);
    check_round_trip(DTYPE_Q8_0, DTYPE_BF16, 17, 64, 0.0085);
    check_round_trip(DTYPE_Q4_0, DTYPE_F32, 17, 64, 0.13);
}

static void padding_rows_and_columns_are_zero(void **state) {
    (void)state;
    static const dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0};
    for (size_t t = 0; t < COUNT(types); t++) {
        packed_matrix m = random_matrix(types[t], 18, 40, ORDINARY);
        assert_int_equal(m.n_cols_padded, 64);
        m.n_rows = 32; /* look at what stands in the padding */
        m.n_cols = 64;
        float row[64];
        for (size_t r = 0; r < 32; r++) {
            kernels_ref()->unpack_row(row, &m, r);
            for (size_t c = r < 18 ? 40 : 0; c < 64; c++) assert_true(row[c] == 0.0f);
        }
        mem_free(m.data);
    }
}

static void sizes_that_overflow_or_types_that_do_not_pack_are_refused(void **state) {
    (void)state;
    packed_matrix m;
    size_t bytes = 77;
    assert_false(packed_init(&m, DTYPE_Q4_K, 16, 256, &bytes));
    assert_false(packed_init(&m, DTYPE_F32, SIZE_MAX, 1, &bytes));
    assert_false(packed_init(&m, DTYPE_F32, 1, SIZE_MAX, &bytes));
    assert_false(packed_init(&m, DTYPE_F32, SIZE_MAX / 64, 64, &bytes));
    assert_int_equal(bytes, 77);
    assert_true(packed_init(&m, DTYPE_Q8_0, 17, 33, &bytes));
    assert_int_equal(bytes, 2 * 2 * 544);
}

/* W x by definition, over the unpacked weights; magnitude: the sum of |w x|, which scales the error allowed. */
static double dot_naive(const packed_matrix *m, size_t row, const float *x, float *scratch, double *magnitude) {
    double sum = 0.0;
    *magnitude = 0.0;
    kernels_ref()->unpack_row(scratch, m, row);
    for (size_t c = 0; c < m->n_cols; c++) {
        sum += (double)scratch[c] * (double)x[c];
        *magnitude += fabs((double)scratch[c] * (double)x[c]);
    }
    return sum;
}

static void check_product(dtype type, void (*matmul)(const matmul_args *, size_t, size_t), double relative) {
    enum { ROWS = 40, COLS = 100, PADDED = 128, N = 3 };
    packed_matrix m = random_matrix(type, ROWS, COLS, ORDINARY);
    float x[N * PADDED] = {0}, y[N * ROWS], bias[ROWS], before[N * ROWS], scratch[PADDED], d[N * PADDED / 32];
    int8_t q[N * PADDED];
    int32_t sum[N * PADDED / 32];
    for (size_t i = 0; i < N; i++) random_floats(x + i * PADDED, COLS, ORDINARY);
    random_floats(bias, ROWS, ORDINARY);
    random_floats(before, N * ROWS, ORDINARY);
    memcpy(y, before, sizeof y);
    for (size_t i = 0; i < N; i++) kernels_ref()->quantize_row(q + i * PADDED, d + i * 4, sum + i * 4, x + i * PADDED, PADDED);
    matmul(&(matmul_args){&m, bias, y, ROWS, x, {q, d, sum}, N, true}, 0, m.n_groups);
    for (size_t i = 0; i < N; i++) {
        for (size_t r = 0; r < ROWS; r++) {
            double magnitude, dot = dot_naive(&m, r, x + i * PADDED, scratch, &magnitude);
            check_close((double)y[i * ROWS + r], (double)before[i * ROWS + r] + dot + (double)bias[r], relative * (magnitude + 2.0));
        }
    }
    mem_free(m.data);
}

static void products_are_close_to_arithmetic_in_double(void **state) {
    (void)state;
    const kernels *k = kernels_ref();
    check_product(DTYPE_F32, k->matmul_f32, 1e-6);
    check_product(DTYPE_F16, k->matmul_f16, 1e-6);
    check_product(DTYPE_BF16, k->matmul_bf16, 1e-6);
    check_product(DTYPE_Q8_0, k->matmul_q8_0, 0.004); /* half a step of the activations: 1/254 */
    check_product(DTYPE_Q4_0, k->matmul_q4_0, 0.004);
}

static void exp_is_within_two_ulp(void **state) {
    (void)state;
    for (float x = -87.2f; x < 88.6f; x += 0.00137f) {
        double exact = exp((double)x), ulp = ldexp(1.0, ilogb(exact) - 23);
        check_close((double)exp_approx(x), exact, 2.0 * ulp);
    }
    assert_true(exp_approx(-88.0f) == 0.0f && exp_approx(-INFINITY) == 0.0f);
    assert_true(isfinite(exp_approx(INFINITY)) && isnan(exp_approx(NAN)) && exp_approx(0.0f) == 1.0f);
}

static void norms_silu_and_rotations_are_close_to_their_formulas(void **state) {
    (void)state;
    enum { N = 100 };
    float x[N], w[N], y[N];
    random_floats(x, N, ORDINARY);
    random_floats(w, N, ORDINARY);
    double squares = 0.0;
    for (size_t i = 0; i < N; i++) squares += (double)x[i] * (double)x[i];
    kernels_ref()->rms_norm(y, x, w, N, N, 1e-6f);
    for (size_t i = 0; i < N; i++) check_close((double)y[i], (double)x[i] * (double)w[i] / sqrt(squares / N + 1e-6), 1e-6);
    kernels_ref()->silu_mul(y, x, w, N, N);
    for (size_t i = 0; i < N; i++) check_close((double)y[i], (double)x[i] / (1.0 + exp(-(double)x[i])) * (double)w[i], 1e-6);
    memcpy(y, x, sizeof y);
    kernels_ref()->rope(y, w, w + N / 2, N);
    for (size_t i = 0; i < N / 2; i++) {
        double a = (double)x[i], b = (double)x[i + N / 2], c = (double)w[i], s = (double)w[i + N / 2];
        check_close((double)y[i], a * c - b * s, 1e-6);
        check_close((double)y[i + N / 2], b * c + a * s, 1e-6);
    }
}

static void attention_is_close_to_a_softmax_in_double(void **state) {
    (void)state;
    enum { HEAD_DIM = 20, POSITIONS = 150, BLOCKS = 10, HEADS = 2 };
    static float k[BLOCKS][HEAD_DIM * KV_BLOCK], v[BLOCKS][KV_BLOCK * HEAD_DIM], keys[POSITIONS][HEAD_DIM], values[POSITIONS][HEAD_DIM];
    const void *k_blocks[BLOCKS], *v_blocks[BLOCKS];
    float q[HEADS * HEAD_DIM], out[HEADS * HEAD_DIM];
    random_floats(q, COUNT(q), ORDINARY);
    for (size_t b = 0; b < BLOCKS; b++) {
        k_blocks[b] = k[b];
        v_blocks[b] = v[b];
    }
    for (size_t p = 0; p < POSITIONS; p++) {
        random_floats(keys[p], HEAD_DIM, ORDINARY);
        random_floats(values[p], HEAD_DIM, ORDINARY);
        kernels_ref()->kv_store(k[p / KV_BLOCK], v[p / KV_BLOCK], DTYPE_F32, p % KV_BLOCK, keys[p], values[p], HEAD_DIM);
    }
    kernels_ref()->attention(
        &(attention_args){DTYPE_F32, HEAD_DIM, 1, HEADS * HEAD_DIM, HEADS, q, out, k_blocks, v_blocks, POSITIONS, 2.0f});
    for (size_t h = 0; h < HEADS; h++) {
        double total = 0.0, sum[HEAD_DIM] = {0};
        for (size_t p = 0; p < POSITIONS; p++) {
            double score = 0.0;
            for (size_t d = 0; d < HEAD_DIM; d++) score += (double)q[h * HEAD_DIM + d] * (double)keys[p][d];
            total += exp(2.0 * score);
            for (size_t d = 0; d < HEAD_DIM; d++) sum[d] += exp(2.0 * score) * (double)values[p][d];
        }
        for (size_t d = 0; d < HEAD_DIM; d++) check_close((double)out[h * HEAD_DIM + d], sum[d] / total, 3e-6);
    }
}

static void argmax_takes_the_first_of_equals_and_never_nan(void **state) {
    (void)state;
    const float values[] = {NAN, 1.0f, 3.0f, NAN, 3.0f}, nothing[] = {NAN, NAN}, lowest[] = {NAN, -INFINITY};
    assert_int_equal(kernels_ref()->argmax(values, 5), 2);
    assert_int_equal(kernels_ref()->argmax(nothing, 2), 0);
    assert_int_equal(kernels_ref()->argmax(lowest, 2), 1);
}

static void log_sum_exp_is_close_to_double_and_survives_large_values(void **state) {
    (void)state;
    float x[333];
    double sum = 0.0;
    random_floats(x, COUNT(x), ORDINARY);
    for (size_t i = 0; i < COUNT(x); i++) sum += exp((double)x[i]);
    check_close(kernels_ref()->log_sum_exp(x, COUNT(x)), log(sum), 1e-6);
    const float large[] = {1000.0f, 1000.0f}, none[] = {-INFINITY, -INFINITY};
    check_close(kernels_ref()->log_sum_exp(large, 2), 1000.0 + log(2.0), 1e-6);
    assert_true(kernels_ref()->log_sum_exp(none, 2) == -(double)INFINITY);
}

static void an_unknown_version_is_refused_with_those_there_are(void **state) {
    (void)state;
    const kernels *k = NULL;
    qaio_error err;
    assert_int_equal(kernels_select(&k, "abacus", &err), QAIO_ERR_ARGUMENT);
    assert_null(k);
    assert_non_null(strstr(err.message, "abacus"));
    assert_non_null(strstr(err.message, "ref"));
    assert_int_equal(kernels_select(&k, "REF", &err), QAIO_OK);
    assert_string_equal(k->name, "ref");
}

static void without_a_name_the_best_version_is_taken(void **state) {
    (void)state;
    const kernels *unnamed, *empty, *const *last = kernels_available();
    while (last[1]) last++;
    assert_int_equal(kernels_select(&unnamed, NULL, NULL), QAIO_OK);
    assert_int_equal(kernels_select(&empty, "", NULL), QAIO_OK);
    assert_ptr_equal(unnamed, *last);
    assert_ptr_equal(empty, *last);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_the_same_type_keeps_every_value),
        cmocka_unit_test(packing_another_type_rounds_within_its_precision),
        cmocka_unit_test(padding_rows_and_columns_are_zero),
        cmocka_unit_test(sizes_that_overflow_or_types_that_do_not_pack_are_refused),
        cmocka_unit_test(products_are_close_to_arithmetic_in_double),
        cmocka_unit_test(exp_is_within_two_ulp),
        cmocka_unit_test(norms_silu_and_rotations_are_close_to_their_formulas),
        cmocka_unit_test(attention_is_close_to_a_softmax_in_double),
        cmocka_unit_test(argmax_takes_the_first_of_equals_and_never_nan),
        cmocka_unit_test(log_sum_exp_is_close_to_double_and_survives_large_values),
        cmocka_unit_test(an_unknown_version_is_refused_with_those_there_are),
        cmocka_unit_test(without_a_name_the_best_version_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
