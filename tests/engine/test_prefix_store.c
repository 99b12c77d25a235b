/* Prefix files: what comes back is what was kept, bit for bit, or nothing. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/prefix_file.h"
#include "engine/prefix_store.h"
#include "fixture.h"

enum { BLOCK_BYTES = 128, N_BLOCKS = 2, N_IDS = 20, FILE_BYTES = 64 + 128 + N_BLOCKS * BLOCK_BYTES };

static char dir[64];
static int32_t ids[N_IDS];

static int set_up(void **state) {
    (void)state;
    strcpy(dir, "/tmp/qaio-prefix-XXXXXX");
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = 1000 + i;
    return mkdtemp(dir) ? 0 : 1;
}

/* Removes every file; how many there were. */
static size_t empty_dir(void) {
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.') n += unlinkat(dirfd(d), entry->d_name, 0) == 0;
    closedir(d);
    return n;
}

static int tear_down(void **state) {
    (void)state;
    empty_dir();
    return rmdir(dir);
}

/* The path of the only file. */
static void only_file(char path[512]) {
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.') n++, snprintf(path, 512, "%s/%s", dir, entry->d_name);
    closedir(d);
    assert_int_equal(n, 1);
}

static uint8_t content_of(int32_t first, size_t i) { return (uint8_t)((size_t)first * 31 + i * 7); }

/* Writes the prefix {first, ids[1] ...}. */
static void save(const char *where, uint64_t key, int32_t first, size_t max_bytes) {
    prefix_store *s = prefix_store_open(where, key, BLOCK_BYTES, true, max_bytes);
    uint8_t *blocks = mem_alloc(N_BLOCKS * BLOCK_BYTES);
    assert_true(s && blocks);
    for (size_t i = 0; i < N_BLOCKS * BLOCK_BYTES; i++) blocks[i] = content_of(first, i);
    ids[0] = first;
    prefix_store_save(s, ids, N_IDS, blocks, N_BLOCKS);
    prefix_store_close(s);
}

static bool load_ids(uint64_t key, int32_t first, size_t n) {
    prefix_store *s = prefix_store_open(dir, key, BLOCK_BYTES, true, PREFIX_STORE_MAX_BYTES);
    uint8_t data[N_BLOCKS][BLOCK_BYTES];
    void *blocks[N_BLOCKS] = {data[0], data[1]};
    ids[0] = first;
    bool is_read = prefix_store_load(s, ids, n, blocks, N_BLOCKS);
    prefix_store_close(s);
    for (size_t i = 0; is_read && i < N_BLOCKS * BLOCK_BYTES; i++)
        assert_int_equal(data[i / BLOCK_BYTES][i % BLOCK_BYTES], content_of(first, i));
    return is_read;
}

static bool load(uint64_t key, int32_t first) { return load_ids(key, first, N_IDS); }

static void what_was_kept_comes_back(void **state) {
    (void)state;
    assert_false(load(7, 1));
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    save(dir, 7, 2, PREFIX_STORE_MAX_BYTES);
    assert_true(load(7, 1));
    assert_true(load(7, 2));
    assert_int_equal(empty_dir(), 2);
}

static void another_key_or_text_is_not_taken(void **state) {
    (void)state;
    char from[512], to[512];
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    assert_false(load(8, 1));
    assert_false(load(7, 2));
    assert_false(load_ids(7, 1, N_IDS - 1));
    /* Nor where it has the other's name. */
    only_file(from);
    for (int other = 0; other < 2; other++) {
        uint64_t key = other ? 7 : 8;
        ids[0] = other ? 2 : 1;
        uint64_t hash = hash_bytes(hash_bytes(HASH_BEGIN, &key, sizeof key), ids, sizeof ids);
        snprintf(to, sizeof to, "%s/%016llx.kv", dir, (unsigned long long)hash);
        assert_int_equal(link(from, to), 0);
        assert_false(load(key, ids[0]));
    }
    assert_int_equal(empty_dir(), 3);
}

static void write_bytes(const char *path, const uint8_t *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static void no_changed_bit_goes_unseen(void **state) {
    (void)state;
    char path[512];
    uint8_t *file;
    size_t n;
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    only_file(path);
    assert_int_equal(file_read((char **)&file, &n, path, FILE_BYTES, NULL), QAIO_OK);
    assert_int_equal(n, FILE_BYTES);
    for (size_t bit = 0; bit < n * 8; bit++) {
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_bytes(path, file, n);
        assert_false(load(7, 1));
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    write_bytes(path, file, n);
    assert_true(load(7, 1));
    mem_free(file);
    empty_dir();
}

static void a_cut_or_longer_file_is_not_taken(void **state) {
    (void)state;
    char path[512];
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    only_file(path);
    assert_int_equal(truncate(path, FILE_BYTES + 64), 0);
    assert_false(load(7, 1));
    for (off_t n = FILE_BYTES; n-- > 0;) {
        assert_int_equal(truncate(path, n), 0);
        assert_false(load(7, 1));
    }
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES); /* replaced by a whole one */
    assert_true(load(7, 1));
    empty_dir();
}

static void what_is_no_file_is_not_opened(void **state) {
    (void)state;
    char path[512];
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    only_file(path);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* would wait for a writer */
    assert_false(load(7, 1));
    unlink(path);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_false(load(7, 1));
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(load(7, 1));
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(empty_dir(), 0);
}

static void set_time(const char *path, time_t seconds) {
    struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    assert_int_equal(utimensat(-1, path, times, 0), 0);
}

static void the_longest_unused_go_when_there_are_too_many(void **state) {
    (void)state;
    char path[512];
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    only_file(path);
    set_time(path, 100);
    assert_true(load(7, 1));                                           /* used now */
    snprintf(path, sizeof path, "%s/0123456789abcdef.kv.X7a3Kq", dir); /* what a crash left */
    uint8_t rest[FILE_BYTES] = {0};
    write_bytes(path, rest, sizeof rest);
    set_time(path, 200);
    save(dir, 7, 2, 2 * FILE_BYTES);
    assert_false(file_exists(path));
    assert_true(load(7, 1));
    assert_true(load(7, 2));
    for (int32_t i = 3; i < 10; i++) save(dir, 7, i, 2 * FILE_BYTES);
    assert_true(load(7, 9));
    assert_false(load(7, 1));
    save(dir, 7, 20, FILE_BYTES - 1); /* never fits */
    assert_false(load(7, 20));
    assert_int_equal(empty_dir(), 2);
}

static void nothing_is_left_where_writing_fails(void **state) {
    (void)state;
    struct rlimit old, small;
    save("/dev/null/prefixes", 7, 1, PREFIX_STORE_MAX_BYTES); /* no folder can be made there */
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){FILE_BYTES - 1, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(empty_dir(), 0);
    save(dir, 7, 1, PREFIX_STORE_MAX_BYTES);
    assert_true(load(7, 1));
    empty_dir();
}

/* All of a store's life, while allocations fail from the nth on. */
static bool live(long n) {
    uint8_t data[N_BLOCKS][BLOCK_BYTES], *copy = mem_zalloc(N_BLOCKS * BLOCK_BYTES);
    void *blocks[N_BLOCKS] = {data[0], data[1]};
    ids[0] = 5;
    mem_fail_after(n);
    prefix_store *s = prefix_store_open(dir, 7, BLOCK_BYTES, true, PREFIX_STORE_MAX_BYTES);
    if (s) {
        prefix_store_save(s, ids, N_IDS, copy, N_BLOCKS);
        prefix_store_close(s);
    } else {
        mem_free(copy);
    }
    s = prefix_store_open(dir, 7, BLOCK_BYTES, false, PREFIX_STORE_MAX_BYTES);
    bool is_read = s && prefix_store_load(s, ids, N_IDS, blocks, N_BLOCKS);
    prefix_store_close(s);
    mem_fail_after(-1);
    return is_read;
}

static void a_failed_allocation_only_loses_the_file(void **state) {
    (void)state;
    long n = 0;
    while (!live(n)) {
        n++;
        empty_dir();
    }
    assert_true(n > 8);
    assert_int_equal(empty_dir(), 1);
}

/* ---- with an engine ---- */

enum { N_PIN = 21 };

/* Scores one continuation of a prefix of N_PIN tokens and a text of its own in a fresh engine; how many tokens came from the cache. */
static size_t read_fresh(bool keeps, int32_t text, double *logprob) {
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_Q8_0, 0));
    engine_use_prefix_files(f.e, dir, keeps);
    int32_t prompt[N_PIN + 9], label_ids[2] = {3, 4};
    for (int32_t i = 0; i < N_PIN; i++) prompt[i] = i + 1;
    for (int32_t i = 0; i < 9; i++) prompt[N_PIN + i] = text + i;
    id_list label = {label_ids, 2};
    score_group group = {.continuations = &label, .n_continuations = 1};
    job_params params = {.kind = JOB_SCORE, .prompt = prompt, .n_prompt = N_PIN + 9, .n_pin = N_PIN, .groups = &group, .n_groups = 1};
    engine_job *job;
    job_result result;
    assert_int_equal(engine_submit(f.e, &params, &job, NULL), QAIO_OK);
    assert_int_equal(engine_finish(job, logprob, &result, NULL), QAIO_OK);
    fixture_close(&f);
    return result.n_cached;
}

static void the_first_request_after_a_start_computes_nothing_of_a_kept_prefix(void **state) {
    (void)state;
    double fresh, kept;
    assert_int_equal(read_fresh(false, 50, &fresh), 0);
    assert_int_equal(empty_dir(), 0); /* who does not keep, writes nothing */
    assert_int_equal(read_fresh(true, 50, &fresh), 0);
    assert_int_equal(read_fresh(false, 50, &kept), N_PIN);
    assert_memory_equal(&kept, &fresh, sizeof kept);
    empty_dir();
}

static void a_prefix_file_holds_nothing_of_the_text_behind_the_prefix(void **state) {
    (void)state;
    char path[512], *files[2];
    size_t n[2];
    double logprob;
    for (int32_t i = 0; i < 2; i++) {
        read_fresh(true, 50 + 40 * i, &logprob);
        only_file(path);
        assert_int_equal(file_read(&files[i], &n[i], path, 1 << 24, NULL), QAIO_OK);
        empty_dir();
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(files[0], files[1], n[0]);
    mem_free(files[0]);
    mem_free(files[1]);
}

static void a_damaged_prefix_is_computed_and_kept_again(void **state) {
    (void)state;
    char path[512], *file;
    size_t n;
    double fresh, got;
    read_fresh(true, 50, &fresh);
    only_file(path);
    assert_int_equal(file_read(&file, &n, path, 1 << 24, NULL), QAIO_OK);
    file[n / 2] ^= 16;
    write_bytes(path, (const uint8_t *)file, n);
    mem_free(file);
    assert_int_equal(read_fresh(true, 50, &got), 0);
    assert_memory_equal(&got, &fresh, sizeof got);
    assert_int_equal(read_fresh(true, 50, &got), N_PIN);
    assert_memory_equal(&got, &fresh, sizeof got);
    empty_dir();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_comes_back),
        cmocka_unit_test(another_key_or_text_is_not_taken),
        cmocka_unit_test(no_changed_bit_goes_unseen),
        cmocka_unit_test(a_cut_or_longer_file_is_not_taken),
        cmocka_unit_test(what_is_no_file_is_not_opened),
        cmocka_unit_test(the_longest_unused_go_when_there_are_too_many),
        cmocka_unit_test(nothing_is_left_where_writing_fails),
        cmocka_unit_test(a_failed_allocation_only_loses_the_file),
        cmocka_unit_test(the_first_request_after_a_start_computes_nothing_of_a_kept_prefix),
        cmocka_unit_test(a_prefix_file_holds_nothing_of_the_text_behind_the_prefix),
        cmocka_unit_test(a_damaged_prefix_is_computed_and_kept_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
