/* Element types.  Golden data: gguf 0.19.0's gguf.quants.dequantize over random, extreme and quantised blocks (TYPE.raw -> TYPE.f32), and
 * blocks with infinite and NaN scales (TYPE.nonfinite.raw) that only must not crash. */
#include "kernels/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"

static const char *const golden_types[] = {"F16",  "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0",   "Q5_1",
                                           "Q4_K", "Q5_K", "Q6_K", "Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS"};

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t random_u32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

static float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void *read_golden(const char *type, const char *suffix, size_t *bytes) {
    char path[128];
    snprintf(path, sizeof path, "tests/golden/dequant/%s.%s", type, suffix);
    char *data;
    qaio_error err;
    if (file_read(&data, bytes, path, 1 << 20, &err) != QAIO_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    return data;
}

static void dequantised_blocks_equal_the_reference(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof golden_types / sizeof *golden_types; t++) {
        size_t raw_bytes, f32_bytes;
        void *raw = read_golden(golden_types[t], "raw", &raw_bytes);
        float *expected = read_golden(golden_types[t], "f32", &f32_bytes);
        size_t n = f32_bytes / sizeof(float);
        dtype type = dtype_from_name(golden_types[t]);
        assert_int_equal(dtype_bytes(type, n), raw_bytes);
        float *values = mem_array(n, sizeof(float));
        dtype_dequantize(type, values, raw, n);
        for (size_t i = 0; i < n; i++) {
            bool same = isnan(expected[i]) ? isnan(values[i]) : values[i] == expected[i];
            if (!same && !(fabsf(values[i] - expected[i]) <= 1e-6f * fabsf(expected[i]))) {
                fail_msg("%s: element %zu is %.9g, not %.9g", golden_types[t], i, (double)values[i], (double)expected[i]);
            }
        }
        mem_free(values);
        mem_free(expected);
        mem_free(raw);
    }
}

static void blocks_with_nonfinite_scales_are_read(void **state) {
    (void)state;
    for (size_t t = 2; t < sizeof golden_types / sizeof *golden_types; t++) {
        size_t bytes;
        void *raw = read_golden(golden_types[t], "nonfinite.raw", &bytes);
        dtype type = dtype_from_name(golden_types[t]);
        size_t n = bytes / dtype_get(type)->block_bytes * dtype_get(type)->block_size;
        float *values = mem_array(n, sizeof(float));
        dtype_dequantize(type, values, raw, n);
        bool found = false;
        for (size_t i = 0; i < n; i++) found |= !isfinite(values[i]);
        assert_true(found);
        mem_free(values);
        mem_free(raw);
    }
}

static void sizes_of_whole_blocks_only(void **state) {
    (void)state;
    assert_int_equal(dtype_bytes(DTYPE_F16, 7), 14);
    assert_int_equal(dtype_bytes(DTYPE_Q8_0, 64), 68);
    assert_int_equal(dtype_bytes(DTYPE_Q8_0, 63), 0);
    assert_int_equal(dtype_bytes(DTYPE_Q4_K, 128), 0);
    assert_int_equal(dtype_bytes(DTYPE_F32, SIZE_MAX / 2), 0);
    assert_int_equal(dtype_bytes((dtype)4, 32), 0);
    assert_null(dtype_get(DTYPE_NONE));
}

static void names_are_found_in_any_case(void **state) {
    (void)state;
    assert_int_equal(dtype_from_name("Q8_0"), DTYPE_Q8_0);
    assert_int_equal(dtype_from_name("bF16"), DTYPE_BF16);
    assert_int_equal(dtype_from_name("q4_k"), DTYPE_Q4_K);
    assert_int_equal(dtype_from_name("q8"), DTYPE_NONE);
    assert_int_equal(dtype_from_name(""), DTYPE_NONE);
}

static void every_16_bit_float_survives_the_round_trip(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        uint16_t half = (uint16_t)bits;
        float f = f16_to_f32(half), b = bf16_to_f32(half);
        assert_true(isnan(f) ? isnan(f16_to_f32(f32_to_f16(f))) : f32_to_f16(f) == half);
        assert_true(isnan(b) ? isnan(bf16_to_f32(f32_to_bf16(b))) : f32_to_bf16(b) == half);
    }
}

/* The value half way between two neighbours goes to the even one, anything beyond it to the nearer. */
static void f16_rounds_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x7bff; bits++) {
        float below = f16_to_f32((uint16_t)bits), above = f16_to_f32((uint16_t)(bits + 1)), half_way = below + (above - below) / 2;
        assert_int_equal(f32_to_f16(half_way), bits % 2 ? bits + 1 : bits);
        assert_int_equal(f32_to_f16(nextafterf(half_way, 0)), bits);
        assert_int_equal(f32_to_f16(-nextafterf(half_way, INFINITY)), 0x8000 | (bits + 1));
    }
    assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(-3e38f), 0xfc00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(1e-45f), 0);
}

static void bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x7f7f; bits++) {
        assert_int_equal(f32_to_bf16(float_from_bits(bits << 16 | 0x8000)), bits % 2 ? bits + 1 : bits);
        assert_int_equal(f32_to_bf16(float_from_bits(bits << 16 | 0x7fff)), bits);
        assert_int_equal(f32_to_bf16(float_from_bits(bits << 16 | 0x8001)), bits + 1);
    }
    assert_int_equal(f32_to_bf16(float_from_bits(0x7f7fffff)), 0x7f80);
    assert_true(isnan(bf16_to_f32(f32_to_bf16(float_from_bits(0x7f800001)))));
}

static void quantising_stays_within_half_a_step(void **state) {
    (void)state;
    const struct {
        dtype type;
        float steps; /* from the largest magnitude to 0 */
        float share; /* of a step a value may be off: 1/2 and the f16 rounding of the scale; q4_0's positive end is cut by a whole one */
    } cases[] = {{DTYPE_Q8_0, 127, 0.6f}, {DTYPE_Q4_0, 8, 1.01f}};
    for (size_t c = 0; c < 2; c++) {
        for (int round = 0; round < 2000; round++) {
            float in[32], out[32], amax = 0;
            uint8_t block[34];
            float magnitude = ldexpf(1, (int)(random_u32() % 18) - 8);
            for (size_t i = 0; i < 32; i++) {
                in[i] = magnitude * ((float)(random_u32() >> 8) * 0x1p-23f - 1);
                amax = fmaxf(amax, fabsf(in[i]));
            }
            assert_true(dtype_quantize(cases[c].type, block, in, 32));
            dtype_dequantize(cases[c].type, out, block, 32);
            for (size_t i = 0; i < 32; i++) {
                assert_true(fabsf(out[i] - in[i]) <= cases[c].share * amax / cases[c].steps);
            }
        }
    }
}

static void quantised_values_are_fixed_points(void **state) {
    (void)state;
    float in[32], out[32];
    uint8_t block[34], again[34];
    for (int i = 0; i < 32; i++) in[i] = (float)(i * 8 - 127) * 0.25f;
    assert_true(dtype_quantize(DTYPE_Q8_0, block, in, 32));
    dtype_dequantize(DTYPE_Q8_0, out, block, 32);
    assert_memory_equal(in, out, sizeof in);
    for (int i = 0; i < 32; i++) in[i] = (float)(i % 16 - 8) * 0.25f;
    assert_true(dtype_quantize(DTYPE_Q4_0, block, in, 32));
    dtype_dequantize(DTYPE_Q4_0, out, block, 32);
    assert_memory_equal(in, out, sizeof in);
    assert_true(dtype_quantize(DTYPE_Q4_0, again, out, 32));
    assert_memory_equal(block, again, 18);
}

static void odd_values_quantise_without_a_crash(void **state) {
    (void)state;
    const float odd[] = {0.0f, -0.0f, NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f, -1e-40f};
    const dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0};
    uint8_t block[128];
    float in[32], out[32];
    for (size_t a = 0; a < 9; a++) {
        for (size_t b = 0; b < 9; b++) {
            for (size_t i = 0; i < 32; i++) in[i] = i % 3 ? odd[a] : odd[b];
            for (size_t t = 0; t < 5; t++) {
                assert_true(dtype_quantize(types[t], block, in, 32));
                dtype_dequantize(types[t], out, block, 32);
            }
        }
    }
    memset(in, 0, sizeof in);
    assert_true(dtype_quantize(DTYPE_Q4_0, block, in, 32));
    dtype_dequantize(DTYPE_Q4_0, out, block, 32);
    for (size_t i = 0; i < 32; i++) assert_true(out[i] == 0);
    assert_false(dtype_quantize(DTYPE_Q6_K, block, in, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dequantised_blocks_equal_the_reference),
        cmocka_unit_test(blocks_with_nonfinite_scales_are_read),
        cmocka_unit_test(sizes_of_whole_blocks_only),
        cmocka_unit_test(names_are_found_in_any_case),
        cmocka_unit_test(every_16_bit_float_survives_the_round_trip),
        cmocka_unit_test(f16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(quantising_stays_within_half_a_step),
        cmocka_unit_test(quantised_values_are_fixed_points),
        cmocka_unit_test(odd_values_quantise_without_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
