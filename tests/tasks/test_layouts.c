/* The layouts of label tasks: many tasks on one prompt, labels beside a reply; the answers are those of each task alone, bit for bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tasks/resident.h"

#define TEXT "等了两个小时，饭都凉了，再也不会来了！"

static resident *shared; /* opened once, with tasks of our own */
static char dir[] = "/tmp/qaio-layouts-XXXXXX";

static const char *const files[][2] = {
    {"topic.yaml", "name: topic\nversion: 1\ntitle: {zh: 主题, en: Topic}\nkind: label\nlayout: shared\nopening: \"主题：\"\n"
                   "labels: [{id: food, text: 味道}, {id: delivery, text: 配送}, {id: price, text: 价格}]\n"},
    {"tone.yaml", "name: tone\nversion: 1\ntitle: {zh: 语气, en: Tone}\nkind: label\nlayout: probe\nopening: \"语气：\"\n"
                  "labels: [{id: soft, text: 温和}, {id: hard, text: 强硬}, {id: harder, text: 强硬极了}]\n"},
    {"corrected.yaml",
     "name: corrected\nversion: 1\ntitle: {zh: 情感, en: Mood}\nkind: label\nscore: prior\nsystem: 判断情绪，只输出：正面 / 负面。\n"
     "labels: [{id: positive, text: 正面}, {id: negative, text: 负面}]\n"},
    {"uncorrected.yaml",
     "name: uncorrected\nversion: 1\ntitle: {zh: 情感, en: Mood}\nkind: label\nsystem: 判断情绪，只输出：正面 / 负面。\n"
     "labels: [{id: positive, text: 正面}, {id: negative, text: 负面}]\n"},
};
#define N_FILES (sizeof files / sizeof *files)

static void path_of(char *out, size_t n, size_t i) { snprintf(out, n, "%s/%s", dir, files[i][0]); }

static int open_shared(void **state) {
    (void)state;
    setenv("QAIO_HOME", "/nonexistent", 1); /* no calibrations of the user's own */
    if (!mkdtemp(dir)) return 1;
    for (size_t i = 0; i < N_FILES; i++) {
        char path[128];
        path_of(path, sizeof path, i);
        FILE *f = fopen(path, "w");
        if (!f || fputs(files[i][1], f) < 0 || fclose(f)) return 1;
    }
    resident_options options = {.type = DTYPE_NONE, .kv_type = DTYPE_NONE, .n_threads = 2, .tasks_dir = dir};
    qaio_error err;
    if (resident_open(&shared, &options, &err) == QAIO_OK) return 0;
    print_error("%s\n", err.message);
    return 1;
}

static int close_shared(void **state) {
    (void)state;
    resident_close(shared);
    for (size_t i = 0; i < N_FILES; i++) {
        char path[128];
        path_of(path, sizeof path, i);
        unlink(path);
    }
    return rmdir(dir);
}

static const task *find(const char *name) {
    const task *t;
    assert_int_equal(task_set_find(&t, resident_tasks(shared), name, NULL), QAIO_OK);
    return t;
}

enum { N_FIVE = 5 };

static void find_five(const task *tasks[N_FIVE]) {
    static const char *const names[N_FIVE] = {"sentiment", "emotion", "intent", "urgency", "crisis"};
    for (size_t i = 0; i < N_FIVE; i++) tasks[i] = find(names[i]);
}

static void read_all(const label_request *request, const char *text, label_answer *answers) {
    label_read *reads[LABELS_MAX_TASKS];
    qaio_error err;
    if (labels_start(reads, shared, request, text, strlen(text), &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < request->n_tasks; i++) assert_int_equal(label_finish(reads[i], &answers[i], NULL), QAIO_OK);
}

static label_answer read_one(const task *t, bool has_layout, task_layout layout, const char *text) {
    label_answer answer;
    read_all(&(label_request){.tasks = &t, .n_tasks = 1, .has_layout = has_layout, .layout = layout}, text, &answer);
    return answer;
}

static void assert_same(const label_answer *a, const label_answer *b) {
    assert_ptr_equal(a->task, b->task);
    assert_memory_equal(a->raw, b->raw, a->task->n_labels * sizeof *a->raw);
}

static void tasks_of_one_request_answer_as_each_does_alone(void **state) {
    (void)state;
    static const task_layout layouts[] = {LAYOUT_OWN, LAYOUT_SHARED, LAYOUT_PROBE};
    const task *tasks[N_FIVE];
    label_answer answers[N_FIVE];
    find_five(tasks);
    for (size_t k = 0; k < 3; k++) {
        read_all(&(label_request){.tasks = tasks, .n_tasks = N_FIVE, .has_layout = true, .layout = layouts[k]}, TEXT, answers);
        for (size_t i = 0; i < N_FIVE; i++) {
            label_answer alone = read_one(tasks[i], true, layouts[k], TEXT);
            assert_same(&answers[i], &alone);
            assert_int_equal(answers[i].layout, layouts[k]);
        }
    }
    label_answer as_ever = read_one(tasks[0], false, LAYOUT_OWN, TEXT);
    label_read *read;
    assert_int_equal(label_start(&read, shared, tasks[0], TEXT, strlen(TEXT), NULL), QAIO_OK);
    label_answer alone;
    assert_int_equal(label_finish(read, &alone, NULL), QAIO_OK);
    assert_same(&as_ever, &alone);
}

/* Jobs and steps that a request takes. */
static engine_stats cost_of(const label_request *request, const char *text) {
    label_answer answers[N_FIVE];
    engine_stats before, after;
    engine_get_stats(resident_engine(shared), &before);
    read_all(request, text, answers);
    engine_get_stats(resident_engine(shared), &after);
    size_t n_prompt = 0;
    for (size_t i = 0; i < request->n_tasks; i++) n_prompt += answers[i].n_prompt;
    assert_true(n_prompt >= after.n_prompt_tokens - before.n_prompt_tokens);
    return (engine_stats){.n_jobs = after.n_jobs - before.n_jobs,
                          .n_steps = after.n_steps - before.n_steps,
                          .n_prompt_tokens = after.n_prompt_tokens - before.n_prompt_tokens,
                          .n_cached_tokens = after.n_cached_tokens - before.n_cached_tokens};
}

static void five_shared_tasks_are_one_job_of_one_step(void **state) {
    (void)state;
    const task *tasks[N_FIVE];
    find_five(tasks);
    label_request request = {.tasks = tasks, .n_tasks = N_FIVE, .has_layout = true, .layout = LAYOUT_SHARED};
    cost_of(&request, "第一句话。"); /* the prompt is pinned by its first use */
    engine_stats cost = cost_of(&request, "又一句。");
    assert_int_equal(cost.n_jobs, 1);
    assert_int_equal(cost.n_steps, 1);
    assert_true(cost.n_prompt_tokens - cost.n_cached_tokens < 30);
}

static void files_choose_a_layout(void **state) {
    (void)state;
    label_answer topic = read_one(find("topic"), false, LAYOUT_OWN, TEXT), tone = read_one(find("tone"), false, LAYOUT_OWN, TEXT);
    assert_int_equal(topic.layout, LAYOUT_SHARED);
    assert_int_equal(tone.layout, LAYOUT_PROBE);
    const task *plain = find("sentiment-plain");
    label_answer raw = read_one(plain, true, LAYOUT_SHARED, TEXT), as_ever = read_one(plain, false, LAYOUT_OWN, TEXT);
    assert_int_equal(raw.layout, LAYOUT_PLAIN);
    assert_same(&raw, &as_ever);
}

/* ---- beside a reply ---- */

static const chat_message message = {.role = "user", .content = TEXT, .content_bytes = sizeof TEXT - 1};

static reply_params greedy(void) {
    reply_params p = reply_defaults;
    p.temperature = 0;
    p.max_new = 12;
    return p;
}

static size_t gather(reply *p, char *text, size_t n) {
    reply_piece piece;
    size_t len = 0;
    while (reply_next(p, &piece, -1) != REPLY_END)
        if (len + piece.n < n) memcpy(text + len, piece.text, piece.n), len += piece.n;
    return len;
}

static void labels_beside_a_reply_are_those_read_alone_and_the_reply_is_the_same(void **state) {
    (void)state;
    const task *tasks[N_FIVE + 1];
    label_answer alone[N_FIVE + 1];
    label_read *reads[N_FIVE + 1];
    reply_params params = greedy();
    char want[512], got[512];
    reply *p;
    find_five(tasks);
    tasks[N_FIVE] = find("tone");
    assert_int_equal(reply_start(&p, shared, &message, 1, &params, NULL), QAIO_OK);
    size_t n_want = gather(p, want, sizeof want);
    assert_int_equal(reply_finish(p, NULL, NULL), QAIO_OK);
    for (int has_layout = 0; has_layout < 2; has_layout++)
        for (int is_late = 0; is_late < 2; is_late++) { /* the labels are asked for after the reply's end */
            label_request request = {.tasks = tasks, .n_tasks = N_FIVE + 1, .has_layout = has_layout, .layout = LAYOUT_PROBE};
            for (size_t i = 0; i <= N_FIVE; i++) alone[i] = read_one(tasks[i], has_layout, LAYOUT_PROBE, TEXT);
            assert_int_equal(reply_start_labelled(&p, reads, shared, &request, &message, 1, &params, NULL), QAIO_OK);
            label_answer answer;
            for (size_t i = 0; i <= N_FIVE && !is_late; i++) {
                assert_true(label_wait(reads[i], -1));
                assert_int_equal(label_finish(reads[i], &answer, NULL), QAIO_OK);
                assert_same(&answer, &alone[i]);
            }
            size_t n = gather(p, got, sizeof got);
            assert_int_equal(reply_finish(p, NULL, NULL), QAIO_OK);
            assert_int_equal(n, n_want);
            assert_memory_equal(got, want, n);
            for (size_t i = 0; i <= N_FIVE && is_late; i++) {
                assert_int_equal(label_finish(reads[i], &answer, NULL), QAIO_OK);
                assert_same(&answer, &alone[i]);
            }
        }
}

/* Cancelled while it waited in the queue, or later. */
static void assert_ended(qaio_status status) { assert_true(status == QAIO_OK || status == QAIO_ERR_CANCELLED); }

static void what_is_cancelled_ends_soon_in_any_order(void **state) {
    (void)state;
    const task *tasks[N_FIVE];
    label_read *reads[N_FIVE];
    reply_params params = greedy();
    params.max_new = 2000;
    find_five(tasks);
    for (int round = 0; round < 4; round++) {
        label_request request = {.tasks = tasks, .n_tasks = N_FIVE, .has_layout = true, .layout = LAYOUT_PROBE};
        reply *p;
        label_answer answer;
        assert_int_equal(reply_start_labelled(&p, reads, shared, &request, &message, 1, &params, NULL), QAIO_OK);
        if (round & 1) reply_cancel(p);
        for (size_t i = 0; i < N_FIVE; i++) label_cancel(reads[i]);
        if (round & 2) assert_ended(reply_finish(p, NULL, NULL));
        for (size_t i = 0; i < N_FIVE; i++) assert_ended(label_finish(reads[i], &answer, NULL));
        if (!(round & 2)) assert_ended(reply_finish(p, NULL, NULL));
    }
}

/* ---- mass and prior ---- */

static void the_mass_of_labels_is_a_probability_and_changes_nothing_else(void **state) {
    (void)state;
    static const char *const names[] = {"sentiment", "emotion", "topic", "tone"};
    for (size_t i = 0; i < 4; i++) {
        const task *t = find(names[i]);
        label_answer with, without = read_one(t, false, LAYOUT_OWN, TEXT);
        read_all(&(label_request){.tasks = &t, .n_tasks = 1, .has_mass = true}, TEXT, &with);
        assert_same(&with, &without);
        assert_true(with.has_mass && with.mass > 0 && with.mass < 1 + 1e-9);
        assert_false(without.has_mass);
    }
    const task *t = find("sentiment"); /* what the model was trained to say */
    label_answer answer;
    read_all(&(label_request){.tasks = &t, .n_tasks = 1, .has_mass = true}, TEXT, &answer);
    assert_true(answer.mass > 0.9);
}

static double log_odds(const label_answer *a) { return log(a->raw[0]) - log(a->raw[1]); }

/* The same is subtracted from every text's scores. */
static void a_prior_is_read_once_and_subtracted(void **state) {
    (void)state;
    static const char *const texts[] = {TEXT, "送餐很快，味道也不错", "一般般吧"};
    const task *corrected = find("corrected"), *uncorrected = find("uncorrected");
    double first = 0;
    for (size_t i = 0; i < 3; i++) {
        engine_stats before, after;
        engine_get_stats(resident_engine(shared), &before);
        label_answer a = read_one(corrected, false, LAYOUT_OWN, texts[i]);
        engine_get_stats(resident_engine(shared), &after);
        assert_int_equal(after.n_jobs - before.n_jobs, i ? 1 : 2);
        label_answer b = read_one(uncorrected, false, LAYOUT_OWN, texts[i]), again = read_one(corrected, false, LAYOUT_OWN, texts[i]);
        assert_same(&a, &again);
        double difference = log_odds(&b) - log_odds(&a);
        if (i == 0) first = difference;
        assert_true(fabs(difference - first) < 1e-9);
    }
    assert_true(fabs(first) > 1e-6);
}

/* ---- errors ---- */

static void senseless_requests_are_refused(void **state) {
    (void)state;
    const task *topic = find("topic"), *mood = find("sentiment"), *chat = find("chat");
    label_read *reads[2];
    reply *p;
    reply_params params = greedy();
    qaio_error err;
    label_request request = {.tasks = &topic, .n_tasks = 1, .has_layout = true, .layout = LAYOUT_OWN};
    assert_int_equal(labels_start(reads, shared, &request, TEXT, strlen(TEXT), &err), QAIO_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "topic"));
    request = (label_request){.tasks = &mood, .n_tasks = 1, .has_layout = true, .layout = LAYOUT_PLAIN};
    assert_int_equal(labels_start(reads, shared, &request, TEXT, strlen(TEXT), &err), QAIO_ERR_ARGUMENT);
    request = (label_request){.tasks = &mood, .n_tasks = LABELS_MAX_TASKS + 1};
    assert_int_equal(labels_start(reads, shared, &request, TEXT, strlen(TEXT), &err), QAIO_ERR_ARGUMENT);
    request = (label_request){.tasks = &chat, .n_tasks = 1};
    assert_int_equal(labels_start(reads, shared, &request, TEXT, strlen(TEXT), &err), QAIO_ERR_ARGUMENT);
    request = (label_request){.tasks = &mood, .n_tasks = 1, .has_layout = true, .layout = LAYOUT_PROBE};
    chat_message blank = {.role = "user", .content = " \n", .content_bytes = 2};
    assert_int_equal(reply_start_labelled(&p, reads, shared, &request, &blank, 1, &params, &err), QAIO_ERR_ARGUMENT);
    static char long_text[1 << 16];
    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 3; i < sizeof long_text; i += 7) long_text[i] = ' ';
    assert_int_equal(labels_start(reads, shared, &request, long_text, sizeof long_text, &err), QAIO_ERR_LIMIT);
}

static void a_failed_allocation_starts_nothing_and_loses_nothing(void **state) {
    (void)state;
    const task *tasks[3] = {find("sentiment"), find("tone"), find("topic")};
    label_read *reads[3];
    label_answer answer;
    reply_params params = greedy();
    label_request request = {.tasks = tasks, .n_tasks = 3, .has_mass = true};
    reply *p = NULL;
    qaio_status status;
    long n = 0;
    do {
        resident_hold(shared); /* the engine's thread shall not meet the failing allocations */
        mem_fail_after(n++);
        status = reply_start_labelled(&p, reads, shared, &request, &message, 1, &params, NULL);
        mem_fail_after(-1);
        resident_release(shared);
        if (status) assert_int_equal(status, QAIO_ERR_MEMORY);
    } while (status);
    assert_true(n > 20);
    for (size_t i = 0; i < 3; i++) assert_int_equal(label_finish(reads[i], &answer, NULL), QAIO_OK);
    assert_int_equal(reply_finish(p, NULL, NULL), QAIO_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_of_one_request_answer_as_each_does_alone),
        cmocka_unit_test(five_shared_tasks_are_one_job_of_one_step),
        cmocka_unit_test(files_choose_a_layout),
        cmocka_unit_test(labels_beside_a_reply_are_those_read_alone_and_the_reply_is_the_same),
        cmocka_unit_test(what_is_cancelled_ends_soon_in_any_order),
        cmocka_unit_test(the_mass_of_labels_is_a_probability_and_changes_nothing_else),
        cmocka_unit_test(a_prior_is_read_once_and_subtracted),
        cmocka_unit_test(senseless_requests_are_refused),
        cmocka_unit_test(a_failed_allocation_starts_nothing_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
