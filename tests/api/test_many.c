/* The C API: layouts, many tasks, one question about many texts. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <qaio/qaio.h>

#include "base/mem.h"
#include "shared.h"

#define SAD  "今天考试没考好,心情很低落。"
#define GLAD "我刚收到了梦寐以求的offer!"

/* ---- layouts ---- */

static qaio_answers *read_in(const char *layout, const char *const *tasks, size_t n_tasks, const char *const *texts, size_t n_texts) {
    qaio_answers *a;
    qaio_error err;
    qaio_read_options options;
    qaio_read_options_init(&options, sizeof options);
    options.layout = layout;
    if (qaio_read_with(&a, shared, tasks, n_tasks, texts, NULL, n_texts, &options, &err)) fail_msg("%s", err.message);
    return a;
}

static void tasks_are_read_in_the_layout_that_is_asked_for(void **state) {
    (void)state;
    static const char *const tasks[] = {"sentiment", "emotion", "sentiment-plain"}, *const texts[] = {SAD, GLAD};
    qaio_answers *own = read_in(NULL, tasks, 3, texts, 2), *same = read_in("own", tasks, 3, texts, 2);
    qaio_answers *fork = read_in("shared", tasks, 3, texts, 2), *alone = read_in("shared", tasks + 1, 1, texts + 1, 1);
    for (size_t k = 0; k < 3; k++) {
        size_t bytes = 2 * qaio_task_label_count(qaio_answers_task(own, k)) * sizeof(double);
        assert_memory_equal(qaio_answers_raw(own, k), qaio_answers_raw(same, k), bytes);
        bool is_plain = k == 2; /* has texts of its own and stays as it is */
        assert_true((memcmp(qaio_answers_raw(own, k), qaio_answers_raw(fork, k), bytes) == 0) == is_plain);
    }
    assert_memory_equal(qaio_answers_raw(alone, 0), qaio_answers_raw(fork, 1) + 6, 6 * sizeof(double)); /* promise 3 */
    qaio_answers_free(own);
    qaio_answers_free(same);
    qaio_answers_free(fork);
    qaio_answers_free(alone);
}

static int keep_raw(void *context, const qaio_answers *answers) {
    memcpy(context, qaio_answers_raw(answers, 0), 2 * sizeof(double));
    return 0;
}

static void a_reply_s_labels_are_forks_of_its_prompt_where_that_is_asked_for(void **state) {
    (void)state;
    static const char *const tasks[] = {"sentiment"}, *const texts[] = {SAD};
    const qaio_message message = {"user", SAD};
    double raw[2];
    qaio_reply *r;
    qaio_reply_options o;
    qaio_reply_options_init(&o, sizeof o);
    o.tasks = tasks;
    o.n_tasks = 1;
    o.layout = "probe";
    o.max_tokens = 2;
    o.on_labels = keep_raw;
    o.context = raw;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_OK);
    qaio_answers *alone = read_in("probe", tasks, 1, texts, 1);
    assert_memory_equal(raw, qaio_answers_raw(alone, 0), sizeof raw);
    qaio_answers_free(alone);
    qaio_reply_free(r);
}

static void layouts_that_there_are_not_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"plain", "", "Own", "x"}, *const tasks[] = {"sentiment"}, *const texts[] = {SAD};
    qaio_answers *a = NULL;
    qaio_reply *r = NULL;
    const qaio_message message = {"user", SAD};
    qaio_error err;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        qaio_read_options options = {.size = sizeof options, .layout = names[i]};
        assert_int_equal(qaio_read_with(&a, shared, tasks, 1, texts, NULL, 1, &options, &err), QAIO_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "own, shared or probe"));
        qaio_reply_options reply;
        qaio_reply_options_init(&reply, sizeof reply);
        reply.tasks = tasks;
        reply.n_tasks = 1;
        reply.layout = names[i];
        assert_int_equal(qaio_chat(&r, shared, &message, 1, &reply, &err), QAIO_ERR_ARGUMENT);
    }
    qaio_read_options unset = {.layout = "own"};
    assert_int_equal(qaio_read_with(&a, shared, tasks, 1, texts, NULL, 1, &unset, &err), QAIO_ERR_ARGUMENT);
    assert_true(!a && !r);
}

/* A program of the first version has reply options without a layout. */
static void reply_options_without_a_layout_are_those_of_an_older_program(void **state) {
    (void)state;
    const qaio_message message = {"user", "你好"};
    qaio_reply_options o;
    qaio_reply *r;
    qaio_reply_options_init(&o, sizeof o);
    o.size = offsetof(qaio_reply_options, layout);
    o.layout = "never looked at";
    o.max_tokens = 1;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_OK);
    qaio_reply_free(r);
}

static void write_task(const char *dir, size_t i) {
    char path[256];
    snprintf(path, sizeof path, "%s/t%zu.yaml", dir, i);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "name: t%zu\nversion: 1\ntitle: {zh: 题, en: Q}\nkind: label\nsystem: 第%zu题。只输出一个词：是 / 否。\n", i, i);
    fprintf(f, "labels: [{id: yes, text: 是}, {id: no, text: 否}]\n");
    assert_int_equal(fclose(f), 0);
}

static void as_many_tasks_as_are_promised_are_read_at_once(void **state) {
    (void)state;
    char dir[] = "/tmp/qaio-test-XXXXXX", command[64], names[QAIO_MAX_TASKS][8];
    const char *tasks[QAIO_MAX_TASKS], *const texts[] = {SAD, "", GLAD};
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < QAIO_MAX_TASKS; i++) {
        write_task(dir, i);
        snprintf(names[i], sizeof names[i], "t%zu", i);
        tasks[i] = names[i];
    }
    qaio_model *model;
    qaio_answers *a, *one;
    qaio_error err;
    qaio_options options;
    qaio_options_init(&options, sizeof options);
    options.tasks_dir = dir;
    if (qaio_model_open(&model, &options, &err)) fail_msg("%s", err.message);
    if (qaio_read(&a, model, tasks, QAIO_MAX_TASKS, texts, NULL, 3, NULL, &err)) fail_msg("%s", err.message);
    assert_int_equal(qaio_read(&one, model, tasks + 63, 1, texts + 2, NULL, 1, NULL, NULL), QAIO_OK);
    assert_memory_equal(qaio_answers_raw(a, 63) + 4, qaio_answers_raw(one, 0), 2 * sizeof(double));
    for (size_t i = 0; i < QAIO_MAX_TASKS; i++)
        assert_true(qaio_answers_labels(a, i)[0] >= 0 && qaio_answers_labels(a, i)[1] == QAIO_FAILED);
    qaio_answers_free(a);
    qaio_answers_free(one);
    qaio_model_close(model);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

/* ---- one question about many texts ---- */

#define ASK     "说话人的心情是什么？"
#define N_MOODS 3
static const qaio_option moods[N_MOODS] = {{"高兴", "心情好"}, {"难过", NULL}, {"愤怒", NULL}};

static void a_question_about_many_texts_gives_the_bits_of_each_alone(void **state) {
    (void)state;
    enum { N = 90 }; /* more than are ever in flight */
    static const char *const some[] = {SAD, GLAD, "快递又丢了，气死我了", "还行"};
    const char *texts[N];
    size_t bytes[N];
    double alone[4][N_MOODS], rows[N][N_MOODS];
    qaio_status statuses[N];
    for (size_t i = 0; i < 4; i++) assert_int_equal(qaio_choose(alone[i], shared, ASK, moods, N_MOODS, some[i], SIZE_MAX, NULL), QAIO_OK);
    for (size_t i = 0; i < N; i++) {
        texts[i] = some[i % 4];
        bytes[i] = strlen(texts[i]);
    }
    assert_int_equal(qaio_choose_many(rows[0], statuses, shared, ASK, moods, N_MOODS, texts, bytes, N, NULL, NULL), QAIO_OK);
    for (size_t i = 0; i < N; i++) {
        assert_memory_equal(rows[i], alone[i % 4], sizeof rows[i]);
        assert_int_equal(statuses[i], QAIO_OK);
    }
    assert_int_equal(qaio_choose_many(NULL, NULL, shared, ASK, moods, N_MOODS, NULL, NULL, 0, NULL, NULL), QAIO_OK);
}

static void a_text_that_cannot_be_asked_about_leaves_the_others_alone(void **state) {
    (void)state;
    const char *const texts[] = {"", SAD, "\xff", GLAD, NULL};
    double rows[5][N_MOODS];
    qaio_status statuses[5];
    for (int asks = 0; asks < 2; asks++) {
        qaio_status *into = asks ? statuses : NULL;
        assert_int_equal(qaio_choose_many(rows[0], into, shared, ASK, moods, N_MOODS, texts, NULL, 5, NULL, NULL), QAIO_OK);
        for (size_t i = 0; i < 5; i++) assert_true((i % 2 == 0) == (isnan(rows[i][0]) != 0));
    }
    for (size_t i = 0; i < 5; i++) assert_int_equal(statuses[i], i % 2 ? QAIO_OK : QAIO_ERR_ARGUMENT);
}

static void questions_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const char *const texts[] = {SAD};
    double p[N_MOODS];
    qaio_error err;
    assert_int_equal(qaio_choose_many(NULL, NULL, shared, ASK, moods, N_MOODS, texts, NULL, 1, NULL, &err), QAIO_ERR_ARGUMENT);
    assert_int_equal(qaio_choose_many(p, NULL, NULL, ASK, moods, N_MOODS, texts, NULL, 1, NULL, &err), QAIO_ERR_ARGUMENT);
    assert_int_equal(qaio_choose_many(p, NULL, shared, " ", moods, N_MOODS, texts, NULL, 1, NULL, &err), QAIO_ERR_ARGUMENT);
    assert_int_equal(qaio_choose_many(p, NULL, shared, ASK, NULL, N_MOODS, texts, NULL, 1, NULL, &err), QAIO_ERR_ARGUMENT);
    assert_int_equal(qaio_choose_many(p, NULL, shared, ASK, moods, 1, texts, NULL, 1, NULL, &err), QAIO_ERR_ARGUMENT);
    assert_int_equal(qaio_choose_many(p, NULL, shared, ASK, moods, N_MOODS, NULL, NULL, 1, NULL, &err), QAIO_ERR_ARGUMENT);
}

static void *cancel_in_a_while(void *canceller) {
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    qaio_cancel(canceller);
    return NULL;
}

static void another_thread_cancels_a_question_about_many_texts(void **state) {
    (void)state;
    enum { N = 50000 };
    const char **texts = malloc(N * sizeof *texts);
    double *rows = malloc(N * N_MOODS * sizeof *rows);
    qaio_canceller *c;
    pthread_t thread;
    for (size_t i = 0; i < N; i++) texts[i] = SAD;
    assert_int_equal(qaio_canceller_new(&c, NULL), QAIO_OK);
    assert_int_equal(pthread_create(&thread, NULL, cancel_in_a_while, c), 0);
    assert_int_equal(qaio_choose_many(rows, NULL, shared, ASK, moods, N_MOODS, texts, NULL, N, c, NULL), QAIO_ERR_CANCELLED);
    pthread_join(thread, NULL);
    qaio_canceller_free(c);
    free(texts);
    free(rows);
}

static void asking_survives_every_failed_allocation(void **state) {
    (void)state;
    const char *const texts[] = {SAD, GLAD};
    double rows[2][N_MOODS], expected[2][N_MOODS];
    qaio_status status = QAIO_ERR_MEMORY;
    assert_int_equal(qaio_choose_many(expected[0], NULL, shared, ASK, moods, N_MOODS, texts, NULL, 2, NULL, NULL), QAIO_OK);
    for (long n = 0; status; n++) {
        mem_fail_after(n);
        status = qaio_choose_many(rows[0], NULL, shared, ASK, moods, N_MOODS, texts, NULL, 2, NULL, NULL);
        mem_fail_after(-1);
        if (status) assert_int_equal(status, QAIO_ERR_MEMORY);
    }
    assert_memory_equal(rows, expected, sizeof rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_are_read_in_the_layout_that_is_asked_for),
        cmocka_unit_test(a_reply_s_labels_are_forks_of_its_prompt_where_that_is_asked_for),
        cmocka_unit_test(layouts_that_there_are_not_are_refused),
        cmocka_unit_test(reply_options_without_a_layout_are_those_of_an_older_program),
        cmocka_unit_test(as_many_tasks_as_are_promised_are_read_at_once),
        cmocka_unit_test(a_question_about_many_texts_gives_the_bits_of_each_alone),
        cmocka_unit_test(a_text_that_cannot_be_asked_about_leaves_the_others_alone),
        cmocka_unit_test(questions_that_make_no_sense_are_refused),
        cmocka_unit_test(another_thread_cancels_a_question_about_many_texts),
        cmocka_unit_test(asking_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
