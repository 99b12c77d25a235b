/* The file of packed weights: mapped when it is whole and fits, never otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "model/pack_cache.h"

enum { BYTES = 9 << 20 }; /* several chunks */

static char dir[64];
static uint8_t *weights;

static int set_up(void **state) {
    (void)state;
    strcpy(dir, "/tmp/qaio-pack-XXXXXX");
    if (!mkdtemp(dir) || !(weights = malloc(BYTES))) return 1;
    for (size_t i = 0; i < BYTES; i++) weights[i] = (uint8_t)(i * 2654435761u >> 13);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(weights);
    return rmdir(dir);
}

static void path_of(char out[128]) { snprintf(out, 128, "%s/a_model-q8_0.pack", dir); }

static void write_file(uint64_t key) {
    char path[128];
    path_of(path);
    pack_writer *w = pack_writer_start(dir, "a/model", DTYPE_Q8_0, key, weights, BYTES);
    assert_non_null(w);
    for (int i = 0; i < 10000; i++) { /* renamed into place when it is whole */
        uint8_t *map = pack_cache_map(dir, "a/model", DTYPE_Q8_0, key, BYTES);
        if (map) {
            pack_cache_unmap(map, BYTES);
            break;
        }
        usleep(1000);
    }
    pack_writer_stop(w);
    assert_true(file_exists(path));
}

static void what_was_written_is_mapped(void **state) {
    (void)state;
    char path[128];
    path_of(path);
    write_file(7);
    uint8_t *map = pack_cache_map(dir, "a/model", DTYPE_Q8_0, 7, BYTES);
    assert_non_null(map);
    assert_int_equal((uintptr_t)map % 64, 0);
    assert_memory_equal(map, weights, BYTES);
    pack_cache_unmap(map, BYTES);
    unlink(path);
}

static void another_key_type_or_size_is_not_taken(void **state) {
    (void)state;
    char path[128];
    path_of(path);
    write_file(7);
    assert_null(pack_cache_map(dir, "a/model", DTYPE_Q8_0, 8, BYTES));
    assert_null(pack_cache_map(dir, "a/model", DTYPE_Q4_0, 7, BYTES));
    assert_null(pack_cache_map(dir, "a/model", DTYPE_Q8_0, 7, BYTES - 1));
    assert_null(pack_cache_map(dir, "other", DTYPE_Q8_0, 7, BYTES));
    write_file(8); /* the model changed: one file a name */
    assert_null(pack_cache_map(dir, "a/model", DTYPE_Q8_0, 7, BYTES));
    unlink(path);
}

static void a_cut_file_is_not_taken(void **state) {
    (void)state;
    char path[128];
    path_of(path);
    write_file(7);
    static const off_t sizes[] = {0, 10, 4096, BYTES, BYTES + 4095};
    for (size_t i = sizeof sizes / sizeof *sizes; i-- > 0;) {
        assert_int_equal(truncate(path, sizes[i]), 0);
        assert_null(pack_cache_map(dir, "a/model", DTYPE_Q8_0, 7, BYTES));
    }
    unlink(path);
}

static void a_stopped_writer_leaves_nothing_or_a_whole_file(void **state) {
    (void)state;
    char path[128];
    path_of(path);
    for (int i = 0; i < 20; i++) {
        pack_writer *w = pack_writer_start(dir, "a/model", DTYPE_Q8_0, 7, weights, BYTES);
        usleep((useconds_t)i * 200);
        pack_writer_stop(w);
        if (file_exists(path)) {
            uint8_t *map = pack_cache_map(dir, "a/model", DTYPE_Q8_0, 7, BYTES);
            assert_non_null(map);
            pack_cache_unmap(map, BYTES);
            unlink(path);
        }
    }
    /* tear_down's rmdir fails where a temporary file was left */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_mapped),
        cmocka_unit_test(another_key_type_or_size_is_not_taken),
        cmocka_unit_test(a_cut_file_is_not_taken),
        cmocka_unit_test(a_stopped_writer_leaves_nothing_or_a_whole_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
