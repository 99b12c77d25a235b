/* Tasks that are read anew while requests run. */
#include <pthread.h>
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
#include "tasks/answer.h"
#include "tasks/task_watch.h"

static char dir[] = "/tmp/qaio-reload-XXXXXX";
static char *file; /* dir/mood.yaml */
static resident *shared;

static void write_file(const char *text) {
    file_writer w;
    assert_int_equal(file_writer_open(&w, file, NULL), QAIO_OK);
    fputs(text, w.stream);
    assert_int_equal(file_writer_commit(&w, NULL), QAIO_OK);
}

static void write_version(int version, const char *more) {
    char text[512];
    snprintf(text, sizeof text,
             "name: mood\nversion: %d\ntitle: {zh: 心情, en: Mood}\nkind: label\nsystem: 第 %d 版，判断心情\n"
             "labels:\n- {id: good, text: 正面}\n- {id: bad, text: 负面}\n%s",
             version, version, more);
    write_file(text);
}

static int open_shared(void **state) {
    (void)state;
    setenv("QAIO_HOME", "/nonexistent", 1);
    if (!mkdtemp(dir) || !(file = file_join(dir, "mood.yaml"))) return 1;
    write_version(1, "");
    resident_options options = {.type = DTYPE_NONE, .kv_type = DTYPE_NONE, .n_threads = 2, .tasks_dir = dir};
    return resident_open(&shared, &options, NULL) != QAIO_OK;
}

static int close_shared(void **state) {
    (void)state;
    resident_close(shared);
    unlink(file);
    mem_free(file);
    return rmdir(dir);
}

static const task *find(const task_set *tasks, const char *name) {
    const task *t = NULL;
    assert_int_equal(task_set_find(&t, tasks, name, NULL), QAIO_OK);
    return t;
}

static void a_changed_file_is_read_anew(void **state) {
    (void)state;
    write_version(2, "");
    assert_int_equal(find(resident_tasks(shared), "mood")->version, 1);
    assert_int_equal(resident_reload_tasks(shared, NULL), QAIO_OK);
    assert_int_equal(find(resident_tasks(shared), "mood")->version, 2);
    assert_int_equal(resident_reload_status(shared, NULL), QAIO_OK);
}

static void a_request_under_way_keeps_the_task_it_began_with(void **state) {
    (void)state;
    write_version(3, "");
    assert_int_equal(resident_reload_tasks(shared, NULL), QAIO_OK);
    const task_set *held = resident_acquire_tasks(shared);
    const task *t = find(held, "mood");
    label_read *read;
    assert_int_equal(label_start(&read, shared, t, "太好了", strlen("太好了"), NULL), QAIO_OK);
    write_version(4, "");
    assert_int_equal(resident_reload_tasks(shared, NULL), QAIO_OK);
    label_answer answer;
    assert_int_equal(label_finish(read, &answer, NULL), QAIO_OK);
    assert_ptr_equal(answer.task, t);
    json_t *json = answer_to_json(&answer, "model");
    assert_int_equal(json_integer_value(json_object_get(json, "task_version")), 3);
    json_decref(json);
    /* It is still whole: another read with it, with its pinned prompt. */
    assert_int_equal(label_start(&read, shared, t, "不好", strlen("不好"), NULL), QAIO_OK);
    assert_int_equal(label_finish(read, &answer, NULL), QAIO_OK);
    assert_true(answer.n_cached > 0);
    resident_release_tasks(shared, held);
    assert_int_equal(find(resident_tasks(shared), "mood")->version, 4);
}

static void a_broken_file_changes_nothing_and_is_named_with_its_line(void **state) {
    (void)state;
    write_version(5, "");
    assert_int_equal(resident_reload_tasks(shared, NULL), QAIO_OK);
    write_version(6, "sytem: x\n");
    qaio_error err, again;
    assert_int_equal(resident_reload_tasks(shared, &err), QAIO_ERR_FORMAT);
    assert_non_null(strstr(err.path, "mood.yaml:9"));
    assert_int_equal(resident_reload_status(shared, &again), QAIO_ERR_FORMAT);
    assert_string_equal(again.message, err.message);
    assert_int_equal(find(resident_tasks(shared), "mood")->version, 5);
    write_version(7, "");
    assert_int_equal(resident_reload_tasks(shared, NULL), QAIO_OK);
    assert_int_equal(resident_reload_status(shared, &again), QAIO_OK);
}

/* ---- while requests run ---- */

static atomic_bool is_over;

static void *ask(void *arg) {
    size_t *n = arg;
    while (!atomic_load(&is_over)) {
        const task_set *tasks = resident_acquire_tasks(shared);
        const task *t;
        label_read *read;
        label_answer answer;
        if (task_set_find(&t, tasks, "mood", NULL) || label_start(&read, shared, t, "太好了", strlen("太好了"), NULL) ||
            label_finish(read, &answer, NULL) || answer.task != t || answer.label >= t->n_labels)
            abort();
        resident_release_tasks(shared, tasks);
        ++*n;
    }
    return NULL;
}

static void no_request_fails_while_files_change(void **state) {
    (void)state;
    pthread_t threads[2];
    size_t counts[2] = {0};
    atomic_store(&is_over, false);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, ask, &counts[i]);
    for (int i = 0; i < 40; i++) {
        write_version(10 + i, i % 4 == 3 ? "sytem: x\n" : "");
        assert_int_equal(resident_reload_tasks(shared, NULL), i % 4 == 3 ? QAIO_ERR_FORMAT : QAIO_OK);
        usleep(2000);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_true(counts[0] > 0 && counts[1] > 0);
}

/* ---- watching ---- */

static void a_change_is_seen_once_and_only_when_it_has_come_to_rest(void **state) {
    (void)state;
    task_watch w;
    write_version(100, "");
    task_watch_init(&w, dir);
    assert_false(task_watch_look(&w));
    write_version(101, "");
    assert_false(task_watch_look(&w)); /* perhaps still being written */
    assert_true(task_watch_look(&w));
    assert_false(task_watch_look(&w));
    write_version(102, "");
    assert_false(task_watch_look(&w));
    write_version(103, "");
    assert_false(task_watch_look(&w)); /* it was: it has changed again */
    assert_true(task_watch_look(&w));
}

static void new_and_removed_files_are_changes_and_other_files_are_not(void **state) {
    (void)state;
    task_watch w;
    char *other = file_join(dir, "other.yaml"), *note = file_join(dir, "note.txt");
    task_watch_init(&w, dir);
    fclose(fopen(note, "w"));
    assert_false(task_watch_look(&w));
    assert_false(task_watch_look(&w));
    fclose(fopen(other, "w"));
    assert_false(task_watch_look(&w));
    assert_true(task_watch_look(&w));
    unlink(other);
    unlink(note);
    assert_false(task_watch_look(&w));
    assert_true(task_watch_look(&w));
    mem_free(other);
    mem_free(note);
    task_watch_init(&w, NULL);
    assert_false(task_watch_look(&w));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_file_is_read_anew),
        cmocka_unit_test(a_request_under_way_keeps_the_task_it_began_with),
        cmocka_unit_test(a_broken_file_changes_nothing_and_is_named_with_its_line),
        cmocka_unit_test(no_request_fails_while_files_change),
        cmocka_unit_test(a_change_is_seen_once_and_only_when_it_has_come_to_rest),
        cmocka_unit_test(new_and_removed_files_are_changes_and_other_files_are_not),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
