/* Promise 1: one resident model; a further task costs its prompt's KV and nothing else. */
#include <malloc.h>
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
#include "base/mem.h"
#include "tasks/resident.h"

#define TASKS           48
#define TEXT            "今天考试没考好,心情很低落。"
#define OF_A_FILE_BYTES ((size_t)16 << 10) /* a task's texts, labels, calibration: far below its KV, and nothing beside weights */
#define KV_SLAB_BYTES   ((size_t)32 << 20) /* KV is taken from the system in slabs */

static char dir[] = "/tmp/qaio-memory-XXXXXX";
static resident *shared;

static void write_task(size_t i) {
    char path[64];
    snprintf(path, sizeof path, "%s/t%zu.yaml", dir, i);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "name: t%zu\nversion: 1\ntitle: {zh: 题, en: Q}\nkind: label\nsystem: |-\n", i);
    fprintf(f, "  第%zu个问题：你是一个文本分析师。阅读用户这句话，判断它是不是在说第%zu件事，不要解释，只输出一个词：是 / 否。\n", i, i);
    fprintf(f, "labels: [{id: yes, text: 是}, {id: no, text: 否}]\n");
    assert_int_equal(fclose(f), 0);
}

static int open_shared(void **state) {
    (void)state;
    setenv("QAIO_HOME", "/nonexistent", 1);
    if (!mkdtemp(dir)) return 1;
    write_task(TASKS); /* a directory of tasks is never empty */
    resident_options options = {.type = DTYPE_NONE, .kv_type = DTYPE_NONE, .n_threads = 2, .tasks_dir = dir};
    return resident_open(&shared, &options, NULL) != QAIO_OK;
}

static int close_shared(void **state) {
    (void)state;
    char path[64];
    resident_close(shared);
    for (size_t i = 0; i <= TASKS; i++) {
        snprintf(path, sizeof path, "%s/t%zu.yaml", dir, i);
        unlink(path);
    }
    return rmdir(dir);
}

/* ---- what is in use ---- */

static size_t heap_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* All that is mapped, weights too. */
static size_t mapped_bytes(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t kv_bytes(void) {
    engine_stats stats;
    engine_get_stats(resident_engine(shared), &stats);
    return stats.kv_bytes_used;
}

/* Of n positions that share nothing, in whole blocks. */
static size_t kv_of(size_t n) { return (n + KV_BLOCK - 1) / KV_BLOCK * model_kv_block_bytes(resident_model(shared)); }

static label_answer read_label(const char *name) {
    const task *t;
    label_read *read;
    label_answer answer;
    qaio_error err;
    assert_int_equal(task_set_find(&t, resident_tasks(shared), name, NULL), QAIO_OK);
    if (label_start(&read, shared, t, TEXT, strlen(TEXT), &err)) fail_msg("%s", err.message);
    if (label_finish(read, &answer, &err)) fail_msg("%s", err.message);
    return answer;
}

/* Every further task once; the KV that its prompt with the text may have. */
static size_t read_further_tasks(size_t *n_cached) {
    size_t allowed = 0;
    *n_cached = 0;
    for (size_t i = 0; i < TASKS; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%zu", i);
        label_answer answer = read_label(name);
        allowed += kv_of(answer.n_prompt + KV_BLOCK); /* the pinned prompt and the text part inside a block */
        *n_cached += answer.n_cached;
    }
    return allowed;
}

/* ---- the promise ---- */

static void further_tasks_cost_their_prompts_kv_and_nothing_else(void **state) { /* promise 1 */
    (void)state;
    size_t n_cached, n_cached_before;
    read_label("sentiment");
    size_t kv = kv_bytes(), heap = heap_bytes(), mapped = mapped_bytes();

    for (size_t i = 0; i < TASKS; i++) write_task(i);
    assert_int_equal(resident_reload_tasks(shared, NULL), QAIO_OK);
    assert_int_equal(kv_bytes(), kv); /* until it is asked for, a task has no KV */
    assert_true(heap_bytes() <= heap + TASKS * OF_A_FILE_BYTES);
    assert_true(mapped_bytes() <= mapped + TASKS * OF_A_FILE_BYTES + KV_SLAB_BYTES);

    size_t allowed = read_further_tasks(&n_cached_before);
    assert_true(kv_bytes() > kv && kv_bytes() <= kv + allowed);
    assert_true(heap_bytes() <= heap + allowed + TASKS * OF_A_FILE_BYTES + KV_SLAB_BYTES);
    size_t mapped_more = allowed + TASKS * OF_A_FILE_BYTES + KV_SLAB_BYTES;
    assert_true(mapped_bytes() <= mapped + mapped_more);
    assert_true(mapped_more < TASKS * model_weight_bytes(resident_model(shared)) / 2); /* weights of their own would have been seen */

    heap = heap_bytes();
    for (size_t i = 0; i < 5; i++) read_further_tasks(&n_cached); /* what is there is used again */
    assert_true(n_cached > n_cached_before);
    assert_true(kv_bytes() <= kv + allowed);
    assert_true(heap_bytes() <= heap + OF_A_FILE_BYTES);
}

static void a_task_that_is_gone_gives_its_memory_back(void **state) {
    (void)state;
    char path[64];
    size_t heap = heap_bytes();
    for (size_t i = 0; i < TASKS; i++) {
        snprintf(path, sizeof path, "%s/t%zu.yaml", dir, i);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(resident_reload_tasks(shared, NULL), QAIO_OK);
    assert_true(heap_bytes() <= heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(further_tasks_cost_their_prompts_kv_and_nothing_else),
        cmocka_unit_test(a_task_that_is_gone_gives_its_memory_back),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
