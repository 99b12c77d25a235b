/* What the layers above rely on: whole characters, no overflow, atomic files, a pool that does each item once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/str.h"

static void utf8_round_trips_and_refuses_ill_formed(void **state) {
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        char bytes[4];
        uint32_t back = 0;
        size_t n = utf8_encode(c, bytes);
        assert_int_equal(utf8_decode(bytes, n, &back), n);
        assert_int_equal(back, c);
        assert_int_equal(utf8_decode(bytes, n - 1, &back), 0);
    }
    const char *bad[] = {"\x80", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE0\x80\x80", "\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
}

static void long_error_messages_end_with_a_whole_character(void **state) {
    (void)state;
    char text[1000] = "";
    for (int i = 0; i < 300; i++) strcat(text, "情");
    qaio_error err;
    error_set(&err, QAIO_ERR_FORMAT, "x%s", text);
    assert_true(utf8_is_valid(err.message, strlen(err.message)));
    assert_in_range(strlen(err.message), 505, 511);
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    size_t out = 7;
    assert_false(size_mul(SIZE_MAX / 2, 3, &out));
    assert_false(size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 7);
    assert_null(mem_array(SIZE_MAX / 2, 4));
}

static void failed_append_leaves_the_string_usable(void **state) {
    (void)state;
    str s = {0};
    str_puts(&s, "kept");
    mem_fail_after(0);
    for (int i = 0; i < 100; i++) str_puts(&s, "lost");
    mem_fail_after(-1);
    assert_true(s.failed);
    assert_memory_equal(s.data, "kept", 4);
    str_deinit(&s);
}

static void aborted_write_keeps_the_old_file(void **state) {
    (void)state;
    char dir[] = "/tmp/qaio-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *path = file_join(dir, "f");
    file_writer w;
    char *data;
    size_t n;
    assert_int_equal(file_writer_open(&w, path, NULL), QAIO_OK);
    fputs("old", w.stream);
    assert_int_equal(file_writer_commit(&w, NULL), QAIO_OK);
    assert_int_equal(file_writer_open(&w, path, NULL), QAIO_OK);
    fputs("half", w.stream);
    file_writer_abort(&w);
    assert_int_equal(file_read(&data, &n, path, 100, NULL), QAIO_OK);
    assert_string_equal(data, "old");
    mem_free(data);
    qaio_error err;
    assert_int_equal(file_read(&data, &n, path, 2, &err), QAIO_ERR_LIMIT);
    file_map map;
    assert_int_equal(file_map_open(&map, dir, &err), QAIO_ERR_IO);
    unlink(path);
    assert_int_equal(file_map_open(&map, path, &err), QAIO_ERR_NOT_FOUND);
    assert_int_equal(rmdir(dir), 0); /* no temporary file was left */
    mem_free(path);
}

typedef struct counts {
    atomic_int seen[1000];
} counts;

static void count_items(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    for (size_t i = begin; i < end; i++) atomic_fetch_add(&((counts *)ctx)->seen[i], 1);
}

static void pool_does_each_item_exactly_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 8; threads *= 2) {
        pool *p;
        assert_int_equal(pool_new(&p, threads, NULL), QAIO_OK);
        static counts c;
        memset(&c, 0, sizeof c);
        for (int loop = 0; loop < 200; loop++) pool_run(p, count_items, &c, 1000, (size_t)(1 + loop % 7));
        for (int i = 0; i < 1000; i++) assert_int_equal(c.seen[i], 200);
        pool_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_round_trips_and_refuses_ill_formed), cmocka_unit_test(long_error_messages_end_with_a_whole_character),
        cmocka_unit_test(sizes_that_overflow_are_refused),         cmocka_unit_test(failed_append_leaves_the_string_usable),
        cmocka_unit_test(aborted_write_keeps_the_old_file),        cmocka_unit_test(pool_does_each_item_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
