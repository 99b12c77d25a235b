/* The model of AMX that the kernels are tested on: its results on small tiles, and that it faults where a processor would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static jmp_buf faulted;
static const char *fault;
#define MODEL_AMX_FAULT(what) (fault = (what), longjmp(faulted, 1))
#include "model_amx.h"

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Tile 0 is C (3 x 2 sums), tile 1 A (3 rows of 8 bytes), tile 2 B (2 rows of 8 bytes); tile 3 is larger, tile 4 has no size. */
static tile_config small_tiles(void) { return (tile_config){.palette = 1, .row_bytes = {8, 8, 8, 64}, .rows = {3, 3, 2, 16}}; }

static bool is_refused(const tile_config *config) {
    if (setjmp(faulted)) return strncmp(fault, "#GP", 3) == 0;
    _tile_loadconfig(config);
    return false;
}

static void a_product_sums_signed_bytes_by_fours(void **state) {
    (void)state;
    const int8_t a[3][8] = {{1, 2, 3, 4, 5, 6, 7, 8}, {-128, -128, -128, -128, 0, 0, 0, 0}, {0, 0, 0, 0, 127, -1, 0, 0}};
    const int8_t b[2][8] = {{1, 1, 1, 1, -128, -128, -128, -128}, {1, 0, 0, 0, 0, 1, 0, 0}}; /* [k][4n + i] */
    int32_t c[3][4] = {{100, 200, 77, 77}, {0, 0, 77, 77}, {0, 0, 77, 77}};
    const int32_t expected[3][4] = {{100 + 10 + 5, 200 - 1280 + 6, 77, 77}, {-512, 65536, 77, 77}, {127, -1, 77, 77}};
    const tile_config config = small_tiles();
    _tile_loadconfig(&config);
    _tile_loadd(0, c, sizeof c[0]);
    _tile_loadd(1, a, sizeof a[0]);
    _tile_loadd(2, b, sizeof b[0]);
    _tile_dpbssd(0, 1, 2);
    _tile_stored(0, c, sizeof c[0]);
    assert_memory_equal(c, expected, sizeof c);
    _tile_zero(0);
    _tile_stored(0, c, sizeof c[0]);
    for (size_t i = 0; i < 3; i++) assert_int_equal(c[i][0] | c[i][1], 0);
    _tile_release();
}

static void configurations_that_no_processor_takes_are_refused(void **state) {
    (void)state;
    tile_config config = small_tiles();
    assert_false(is_refused(&config));
    config.palette = 2;
    assert_true(is_refused(&config));
    config = small_tiles();
    config.reserved[13] = 1;
    assert_true(is_refused(&config));
    config = small_tiles();
    config.rows[3] = 17;
    assert_true(is_refused(&config));
    config = small_tiles();
    config.row_bytes[3] = 65;
    assert_true(is_refused(&config));
    config = small_tiles();
    config.rows[4] = 1;
    assert_true(is_refused(&config));
    config = small_tiles();
    config.rows[8] = 1;
    assert_true(is_refused(&config));
}

static bool product_faults(int c, int a, int b) {
    const tile_config config = small_tiles();
    if (setjmp(faulted)) return strncmp(fault, "#UD", 3) == 0;
    _tile_loadconfig(&config);
    _tile_dpbssd(c, a, b);
    return false;
}

static void products_of_tiles_that_do_not_fit_fault(void **state) {
    (void)state;
    assert_false(product_faults(0, 1, 2));
    assert_true(product_faults(0, 0, 2)); /* in place */
    assert_true(product_faults(0, 2, 1)); /* rows of C and A differ */
    assert_true(product_faults(3, 1, 2)); /* likewise, and columns of C and B */
    assert_true(product_faults(0, 1, 3)); /* columns of A, rows of B */
    assert_true(product_faults(0, 1, 4)); /* a tile without a size */
    assert_true(product_faults(0, 1, 8)); /* no such tile */
}

static bool zeroing_faults(void) {
    if (setjmp(faulted)) return strncmp(fault, "#UD", 3) == 0;
    _tile_zero(0);
    return false;
}

static void tiles_are_not_usable_after_their_release(void **state) {
    (void)state;
    const tile_config config = small_tiles();
    assert_false(is_refused(&config));
    assert_false(zeroing_faults());
    _tile_release();
    assert_true(zeroing_faults());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_sums_signed_bytes_by_fours),
        cmocka_unit_test(configurations_that_no_processor_takes_are_refused),
        cmocka_unit_test(products_of_tiles_that_do_not_fit_fault),
        cmocka_unit_test(tiles_are_not_usable_after_their_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
