/* The C API with the embedded model. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "qaio/qaio.h"
#include "shared.h"

#define SAD  "今天考试没考好,心情很低落。"
#define GLAD "今天的实验终于成功了,太棒了!"

static qaio_answers *read_texts(const char *task, const char *const *texts, size_t n) {
    qaio_answers *answers;
    qaio_error err;
    if (qaio_read(&answers, shared, &task, 1, texts, NULL, n, NULL, &err)) fail_msg("%s", err.message);
    return answers;
}

static void what_was_opened_is_said(void **state) {
    (void)state;
    assert_string_equal(qaio_model_name(shared), "qaio-mini-zh");
    assert_string_equal(qaio_model_type(shared), "q8_0");
    assert_int_equal(qaio_model_context(shared), 512);
    assert_int_equal(qaio_model_threads(shared), 2);
    assert_non_null(qaio_model_cpu(shared));
    assert_string_equal(qaio_version(), QAIO_VERSION);
    assert_string_equal(qaio_status_name(QAIO_ERR_BUSY), "QAIO_ERR_BUSY");
}

static void tasks_are_listed_and_described(void **state) {
    (void)state;
    const qaio_task *t = qaio_task_find(shared, "sentiment");
    assert_ptr_equal(qaio_task_at(shared, 0), t);
    assert_string_equal(qaio_task_name(t), "sentiment");
    assert_string_equal(qaio_task_title(t, "zh"), "情感判断");
    assert_string_equal(qaio_task_title(t, "en"), "Sentiment");
    assert_string_equal(qaio_task_title(t, NULL), "Sentiment");
    assert_int_equal(qaio_task_kind_of(t), QAIO_TASK_LABEL);
    assert_int_equal(qaio_task_label_count(t), 2);
    assert_string_equal(qaio_task_label_id(t, 0), "positive");
    assert_string_equal(qaio_task_label_text(t, 1), "负面");
    assert_string_equal(qaio_task_label_emoji(t, 1), "😢");
    assert_true(qaio_task_version(t) >= 1);
    assert_int_equal(qaio_task_kind_of(qaio_task_find(shared, "chat")), QAIO_TASK_CHAT);
    assert_null(qaio_task_label_id(t, 2));
    assert_null(qaio_task_at(shared, qaio_task_count(shared)));
    assert_null(qaio_task_find(shared, "no-such-task"));
}

static void several_tasks_on_several_texts_are_columns(void **state) {
    (void)state;
    static const char *const tasks[] = {"sentiment", "emotion", "intent"}, *const texts[] = {SAD, GLAD};
    qaio_answers *a;
    assert_int_equal(qaio_read(&a, shared, tasks, 3, texts, NULL, 2, NULL, NULL), QAIO_OK);
    assert_int_equal(qaio_answers_task_count(a), 3);
    assert_int_equal(qaio_answers_text_count(a), 2);
    assert_int_equal(qaio_answers_labels(a, 0)[0], 1);
    assert_int_equal(qaio_answers_labels(a, 0)[1], 0);
    for (size_t k = 0; k < 3; k++) {
        size_t n = qaio_task_label_count(qaio_answers_task(a, k));
        assert_string_equal(qaio_task_name(qaio_answers_task(a, k)), tasks[k]);
        assert_int_equal(qaio_answers_calibrated(a, k), 0);
        assert_memory_equal(qaio_answers_probabilities(a, k), qaio_answers_raw(a, k), 2 * n * sizeof(double));
        for (size_t i = 0; i < 2; i++) {
            double sum = 0;
            for (size_t l = 0; l < n; l++) sum += qaio_answers_probabilities(a, k)[i * n + l];
            assert_true(fabs(sum - 1) < 1e-12);
            assert_int_equal(qaio_answers_status(a, k, i, NULL), QAIO_OK);
        }
    }
    assert_true(qaio_answers_cached_tokens(a) < qaio_answers_prompt_tokens(a));
    qaio_answers_free(a);
}

/* Promise 3; more texts than are ever in flight. */
static void many_texts_in_one_call_give_the_bits_of_each_alone(void **state) {
    (void)state;
    enum { N = 300 };
    static const char *const some[] = {"送餐很快，味道也不错", "等了两个小时，饭都凉了", "一般般吧", "再也不会来了！", "强烈推荐给大家"};
    const char *texts[N];
    double alone[5][2];
    for (size_t i = 0; i < 5; i++) {
        qaio_answers *a = read_texts("sentiment", &some[i], 1);
        memcpy(alone[i], qaio_answers_probabilities(a, 0), sizeof alone[i]);
        qaio_answers_free(a);
    }
    for (size_t i = 0; i < N; i++) texts[i] = some[i % 5];
    qaio_answers *a = read_texts("sentiment", texts, N);
    for (size_t i = 0; i < N; i++) assert_memory_equal(qaio_answers_probabilities(a, 0) + 2 * i, alone[i % 5], sizeof alone[0]);
    qaio_answers_free(a);
}

static void lengths_may_stand_beside_the_texts(void **state) {
    (void)state;
    static const char joined[] = SAD GLAD;
    const char *const texts[] = {joined, joined + strlen(SAD)}, *const apart[] = {SAD, GLAD}, *task = "sentiment";
    const size_t bytes[] = {strlen(SAD), strlen(GLAD)};
    qaio_answers *a, *b = read_texts(task, apart, 2);
    assert_int_equal(qaio_read(&a, shared, &task, 1, texts, bytes, 2, NULL, NULL), QAIO_OK);
    assert_memory_equal(qaio_answers_probabilities(a, 0), qaio_answers_probabilities(b, 0), 4 * sizeof(double));
    qaio_answers_free(a);
    qaio_answers_free(b);
}

static void a_text_that_fails_leaves_the_others_alone(void **state) {
    (void)state;
    static char huge[100001];
    memset(huge, 'a', sizeof huge - 1);
    const char *const texts[] = {SAD, "", "\xff\xfe", huge, NULL, GLAD};
    const qaio_status expected[] = {QAIO_OK, QAIO_ERR_ARGUMENT, QAIO_ERR_ARGUMENT, QAIO_ERR_LIMIT, QAIO_ERR_ARGUMENT, QAIO_OK};
    qaio_answers *a = read_texts("sentiment", texts, 6);
    for (size_t i = 0; i < 6; i++) {
        qaio_error why = {.status = QAIO_OK};
        assert_int_equal(qaio_answers_status(a, 0, i, &why), expected[i]);
        assert_int_equal(why.status, expected[i]);
        assert_int_equal(qaio_answers_labels(a, 0)[i] == QAIO_FAILED, expected[i] != QAIO_OK);
        assert_int_equal(isnan(qaio_answers_probabilities(a, 0)[2 * i]), expected[i] != QAIO_OK);
        if (expected[i]) assert_true(why.message[0] != '\0');
    }
    qaio_answers_free(a);
}

static void no_texts_are_no_answers(void **state) {
    (void)state;
    qaio_answers *a = read_texts("sentiment", NULL, 0);
    assert_int_equal(qaio_answers_text_count(a), 0);
    assert_int_equal(qaio_answers_status(a, 0, 0, NULL), QAIO_ERR_ARGUMENT);
    qaio_answers_free(a);
}

/* ---- what makes no sense ---- */

#define REFUSED(expected, call)                                                                                                            \
    do {                                                                                                                                   \
        qaio_error err = {.status = QAIO_OK};                                                                                              \
        assert_int_equal(call, expected);                                                                                                  \
        assert_int_equal(err.status, expected);                                                                                            \
        assert_true(err.message[0] != '\0');                                                                                               \
    } while (0)

static void reads_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const char *const one[] = {"sentiment"}, *const twice[] = {"emotion", "emotion"}, *const chat[] = {"chat"}, *const unknown[] = {"x"},
                      *const null[] = {NULL}, *many[QAIO_MAX_TASKS + 1], *const texts[] = {SAD};
    qaio_answers *a = NULL;
    for (size_t i = 0; i <= QAIO_MAX_TASKS; i++) many[i] = "sentiment";
    REFUSED(QAIO_ERR_ARGUMENT, qaio_read(NULL, shared, one, 1, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_read(&a, NULL, one, 1, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_read(&a, shared, NULL, 1, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_read(&a, shared, one, 0, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_read(&a, shared, one, 1, NULL, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_read(&a, shared, null, 1, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_read(&a, shared, twice, 2, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_read(&a, shared, chat, 1, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_NOT_FOUND, qaio_read(&a, shared, unknown, 1, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_LIMIT, qaio_read(&a, shared, many, QAIO_MAX_TASKS + 1, texts, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_MEMORY, qaio_read(&a, shared, one, 1, texts, NULL, SIZE_MAX / 2, NULL, &err));
    assert_null(a);
}

static void replies_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const qaio_message message = {"user", "你好"}, no_content = {"user", NULL}, no_role = {NULL, "x"}, odd_role = {"wizard", "x"},
                       no_text = {"user", "\xff"};
    qaio_reply *r = NULL;
    REFUSED(QAIO_ERR_ARGUMENT, qaio_chat(NULL, shared, &message, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_chat(&r, NULL, &message, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_chat(&r, shared, NULL, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_chat(&r, shared, &message, 0, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_chat(&r, shared, &no_content, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_chat(&r, shared, &no_role, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_chat(&r, shared, &odd_role, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_chat(&r, shared, &no_text, 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_generate(&r, shared, NULL, "x", 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_generate(&r, shared, "sentiment", "x", 1, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_generate(&r, shared, "sentiment", NULL, 0, NULL, &err));
    REFUSED(QAIO_ERR_NOT_FOUND, qaio_generate(&r, shared, "x", "x", 1, NULL, &err));
    assert_null(r);
}

static void other_calls_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const qaio_option options[] = {{"好", NULL}, {"不好", NULL}}, blank[] = {{" ", NULL}, {"x", NULL}},
                      unnamed[] = {{NULL, NULL}, {"x", NULL}};
    double p[2];
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(NULL, shared, "好吗？", options, 2, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, NULL, "好吗？", options, 2, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, NULL, options, 2, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, "", options, 2, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, "好吗？", NULL, 2, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, "好吗？", options, 1, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, "好吗？", options, 256, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, "好吗？", blank, 2, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, "好吗？", unnamed, 2, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, "好吗？", options, 2, NULL, 0, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_choose(p, shared, "好吗？", options, 2, "", SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_is_true(NULL, shared, "好吗？", SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_is_true(p, shared, NULL, SAD, SIZE_MAX, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_model_open(NULL, NULL, &err));
    REFUSED(QAIO_ERR_ARGUMENT, qaio_canceller_new(NULL, &err));
}

static void accessors_take_null(void **state) {
    (void)state;
    assert_null(qaio_model_name(NULL));
    assert_int_equal(qaio_task_count(NULL), 0);
    assert_null(qaio_task_find(NULL, "sentiment"));
    assert_null(qaio_task_find(shared, NULL));
    assert_null(qaio_task_title(NULL, "zh"));
    assert_null(qaio_answers_labels(NULL, 0));
    assert_null(qaio_answers_task(NULL, 0));
    assert_null(qaio_reply_text(NULL));
    assert_int_equal(qaio_answers_status(NULL, 0, 0, NULL), QAIO_ERR_ARGUMENT);
    qaio_answers_free(NULL);
    qaio_reply_free(NULL);
    qaio_canceller_free(NULL);
    qaio_model_close(NULL);
    qaio_cancel(NULL);
    qaio_options_init(NULL, 100);
    qaio_reply_options_init(NULL, 100);
}

static void a_model_that_cannot_be_opened_says_why(void **state) {
    (void)state;
    static const struct {
        qaio_options options;
        qaio_status status;
        const char *says;
    } cases[] = {
        {{.model = "/nonexistent/model.gguf"}, QAIO_ERR_NOT_FOUND, "model"},
        {{.model = "tests/api/test_api.c"}, QAIO_ERR_FORMAT, ""},
        {{.type = "q9_9"}, QAIO_ERR_ARGUMENT, "q9_9"},
        {{.type = "q6_k"}, QAIO_ERR_ARGUMENT, "q6_k"},
        {{.kv_type = "q8_0"}, QAIO_ERR_ARGUMENT, "q8_0"},
        {{.tasks_dir = "/nonexistent"}, QAIO_ERR_NOT_FOUND, ""},
        {{.cpu = "abacus"}, QAIO_ERR_ARGUMENT, "abacus"},
        {{.threads = -1}, QAIO_ERR_ARGUMENT, "-1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qaio_options options = cases[i].options;
        qaio_model *model = NULL;
        qaio_error err = {.status = QAIO_OK};
        options.size = sizeof options;
        assert_int_equal(qaio_model_open(&model, &options, &err), cases[i].status);
        assert_int_equal(err.status, cases[i].status);
        if (!strstr(err.message, cases[i].says) && !strstr(err.path, cases[i].says)) fail_msg("%s: %s", err.path, err.message);
        assert_null(model);
    }
}

static void options_of_other_versions_are_understood_or_refused(void **state) {
    (void)state;
    struct {
        qaio_options options;
        uint64_t later;
    } newer;
    qaio_model *model = NULL;
    qaio_error err;
    memset(&newer, 0xFF, sizeof newer);
    assert_int_equal(qaio_model_open(&model, &newer.options, &err), QAIO_ERR_ARGUMENT); /* not initialised */
    qaio_options_init(&newer.options, sizeof newer);
    assert_int_equal(newer.later, 0);
    newer.options.threads = 1;
    assert_int_equal(qaio_model_open(&model, &newer.options, &err), QAIO_OK);
    qaio_model_close(model);
    newer.later = 1;
    assert_int_equal(qaio_model_open(&model, &newer.options, &err), QAIO_ERR_UNSUPPORTED);
    newer.options.size = sizeof(size_t);
    assert_int_equal(qaio_model_open(&model, &newer.options, &err), QAIO_ERR_ARGUMENT);
    qaio_reply_options untouched;
    memset(&untouched, 7, sizeof untouched);
    qaio_reply_options_init(&untouched, 3);
    assert_int_equal(untouched.top_k, 0x07070707);
}

/* ---- replies ---- */

typedef struct seen {
    str text;
    size_t n_labels, n_texts, stop_after; /* stop_after texts; 0: never */
    bool labels_came_first;
} seen;

static int see_labels(void *context, const qaio_answers *answers) {
    seen *s = context;
    s->n_labels++;
    s->labels_came_first = s->n_texts == 0;
    assert_int_equal(qaio_answers_labels(answers, 0)[0], 1);
    return 0;
}

static int see_text(void *context, const char *text, size_t bytes) {
    seen *s = context;
    assert_true(bytes > 0 && utf8_is_valid(text, bytes)); /* promise 4 */
    str_append(&s->text, text, bytes);
    return ++s->n_texts == s->stop_after;
}

static qaio_reply_options greedy(seen *s) {
    qaio_reply_options o;
    qaio_reply_options_init(&o, sizeof o);
    o.temperature = 0;
    o.repetition_penalty = 1;
    o.on_text = see_text;
    o.context = s;
    return o;
}

static void a_reply_streams_and_is_whole_at_the_end(void **state) {
    (void)state;
    const qaio_message message = {"user", "你好"};
    seen s = {0};
    qaio_reply_options o = greedy(&s);
    qaio_reply *r;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_OK);
    assert_string_equal(qaio_reply_text(r), "你好呀，我是小Q，我在呢。今天想聊点什么？"); /* the model's reference reply */
    assert_string_equal(s.text.data, qaio_reply_text(r));
    assert_int_equal(qaio_reply_text_bytes(r), s.text.len);
    assert_int_equal(qaio_reply_finish(r), QAIO_FINISH_STOP);
    assert_true(qaio_reply_generated_tokens(r) > 3 && qaio_reply_prompt_tokens(r) > 3 && s.n_texts > 3);
    assert_true(qaio_reply_first_ms(r) > 0 && qaio_reply_total_ms(r) >= qaio_reply_first_ms(r));
    assert_int_equal(qaio_reply_dropped_messages(r), 0);
    assert_null(qaio_reply_answers(r));
    qaio_reply_free(r);
    str_deinit(&s.text);
}

static void labels_come_before_the_reply_they_begin_with(void **state) {
    (void)state;
    const char *const tasks[] = {"sentiment", "emotion"}, *const texts[] = {SAD};
    const qaio_message messages[] = {{"system", "你是助手。"}, {"user", GLAD}, {"assistant", "太好了！"}, {"user", SAD}};
    seen s = {0};
    qaio_reply_options o = greedy(&s);
    o.tasks = tasks;
    o.n_tasks = 2;
    o.on_labels = see_labels;
    o.max_tokens = 8;
    qaio_reply *r;
    assert_int_equal(qaio_chat(&r, shared, messages, 4, &o, NULL), QAIO_OK);
    assert_true(s.n_labels == 1 && s.labels_came_first && s.n_texts > 0);
    qaio_answers *alone = read_texts("sentiment", texts, 1);
    assert_memory_equal(qaio_answers_probabilities(qaio_reply_answers(r), 0), qaio_answers_probabilities(alone, 0), 2 * sizeof(double));
    assert_int_equal(qaio_answers_task_count(qaio_reply_answers(r)), 2);
    qaio_answers_free(alone);
    qaio_reply_free(r);
    o.tasks = NULL;
    assert_int_equal(qaio_chat(&r, shared, messages, 1, &o, NULL), QAIO_ERR_ARGUMENT);
    str_deinit(&s.text);
}

static void a_seed_a_length_and_stop_strings_are_kept_to(void **state) {
    (void)state;
    const char *const stops[] = {"想聊点"}, *const odd[] = {NULL};
    const qaio_message message = {"user", "你好"};
    seen s = {0};
    qaio_reply_options o = greedy(&s);
    qaio_reply *r, *again;
    o.stops = stops;
    o.n_stops = 1;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_OK);
    assert_string_equal(qaio_reply_text(r), "你好呀，我是小Q，我在呢。今天");
    qaio_reply_free(r);
    o.stops = odd;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_ERR_ARGUMENT);
    o.stops = NULL;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_ERR_ARGUMENT);
    o = greedy(&s);
    o.temperature = 100;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_ERR_ARGUMENT);
    o.temperature = 1.5;
    o.has_seed = 1;
    o.seed = 3;
    o.max_tokens = 5;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_OK);
    assert_int_equal(qaio_chat(&again, shared, &message, 1, &o, NULL), QAIO_OK);
    assert_string_equal(qaio_reply_text(r), qaio_reply_text(again));
    assert_true(qaio_reply_generated_tokens(r) <= 5);
    qaio_reply_free(r);
    qaio_reply_free(again);
    str_deinit(&s.text);
}

static void a_generate_task_makes_a_text_from_a_text(void **state) {
    (void)state;
    qaio_options options;
    qaio_options_init(&options, sizeof options);
    options.tasks_dir = "tests/api/tasks";
    options.threads = 1;
    qaio_model *model;
    qaio_reply *r;
    qaio_error err;
    if (qaio_model_open(&model, &options, &err)) fail_msg("%s: %s", err.path, err.message);
    assert_int_equal(qaio_task_kind_of(qaio_task_find(model, "comfort")), QAIO_TASK_GENERATE);
    assert_int_equal(qaio_generate(&r, model, "comfort", SAD, SIZE_MAX, NULL, &err), QAIO_OK);
    assert_true(qaio_reply_text_bytes(r) > 0 && qaio_reply_generated_tokens(r) <= 12); /* the task's own limit */
    qaio_reply_free(r);
    qaio_model_close(model);
}

/* ---- cancelling ---- */

static void a_callback_ends_the_reply_and_what_came_stays(void **state) {
    (void)state;
    const qaio_message message = {"user", "你好"};
    seen s = {.stop_after = 2};
    qaio_reply_options o = greedy(&s);
    qaio_reply *r;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_OK);
    assert_int_equal(qaio_reply_finish(r), QAIO_FINISH_CANCELLED);
    assert_int_equal(s.n_texts, 2);
    assert_string_equal(qaio_reply_text(r), s.text.data);
    qaio_reply_free(r);
    str_deinit(&s.text);
}

static void *cancel_in_a_while(void *canceller) {
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    qaio_cancel(canceller);
    return NULL;
}

/* The first text lets another thread cancel, and waits until it has. */
static int let_cancel(void *context, const char *text, size_t bytes) {
    pthread_t thread;
    (void)text;
    (void)bytes;
    assert_int_equal(pthread_create(&thread, NULL, cancel_in_a_while, context), 0);
    pthread_join(thread, NULL);
    return 0;
}

static void another_thread_cancels_a_reply(void **state) {
    (void)state;
    const qaio_message message = {"user", "讲个故事"};
    qaio_canceller *c;
    qaio_reply_options o;
    qaio_reply *r;
    qaio_reply_options_init(&o, sizeof o);
    assert_int_equal(qaio_canceller_new(&c, NULL), QAIO_OK);
    o.temperature = 5;
    o.top_p = 1;
    o.max_tokens = 400;
    o.on_text = let_cancel;
    o.context = o.canceller = c;
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_OK);
    assert_int_equal(qaio_reply_finish(r), QAIO_FINISH_CANCELLED);
    assert_true(qaio_reply_text_bytes(r) > 0);
    qaio_reply_free(r);
    assert_int_equal(qaio_chat(&r, shared, &message, 1, &o, NULL), QAIO_OK); /* for good */
    assert_int_equal(qaio_reply_finish(r), QAIO_FINISH_CANCELLED);
    assert_string_equal(qaio_reply_text(r), "");
    qaio_reply_free(r);
    qaio_canceller_free(c);
}

static void another_thread_cancels_the_reading_of_many_texts(void **state) {
    (void)state;
    enum { N = 200000 };
    const char **texts = malloc(N * sizeof *texts), *task = "sentiment";
    qaio_canceller *c;
    qaio_answers *a = NULL;
    qaio_error err;
    pthread_t thread;
    for (size_t i = 0; i < N; i++) texts[i] = SAD;
    assert_int_equal(qaio_canceller_new(&c, NULL), QAIO_OK);
    assert_int_equal(pthread_create(&thread, NULL, cancel_in_a_while, c), 0);
    assert_int_equal(qaio_read(&a, shared, &task, 1, texts, NULL, N, c, &err), QAIO_ERR_CANCELLED);
    assert_null(a);
    pthread_join(thread, NULL);
    assert_int_equal(qaio_read(&a, shared, &task, 1, texts, NULL, 1, c, &err), QAIO_ERR_CANCELLED);
    qaio_canceller_free(c);
    free(texts);
}

/* ---- questions ---- */

static void a_question_of_your_own_gets_probabilities(void **state) {
    (void)state;
    const qaio_option moods[] = {{"高兴", "心情好"}, {"难过", NULL}, {"愤怒", NULL}};
    double p[3] = {0}, yes = -1;
    assert_int_equal(qaio_choose(p, shared, "说话人的心情是什么？", moods, 3, SAD, SIZE_MAX, NULL), QAIO_OK);
    assert_true(fabs(p[0] + p[1] + p[2] - 1) < 1e-9 && p[0] > 0);
    assert_int_equal(qaio_is_true(&yes, shared, "说话人难过吗？", SAD, strlen(SAD), NULL), QAIO_OK);
    assert_true(yes > 0 && yes < 1);
}

/* ---- threads, signals, memory ---- */

static void *read_in_a_thread(void *out) {
    enum { N = 150 }; /* two such calls and more fill the queue: a call waits for its turn */
    const char *texts[N], *const tasks[] = {"sentiment", "emotion"};
    qaio_answers *a;
    for (size_t i = 0; i < N; i++) texts[i] = i % 2 ? SAD : GLAD;
    if (qaio_read(&a, shared, tasks, 2, texts, NULL, N, NULL, NULL) == QAIO_OK) *(qaio_answers **)out = a;
    return NULL;
}

static void threads_share_a_model_and_get_the_same_bits(void **state) {
    (void)state;
    pthread_t threads[4];
    qaio_answers *a[4] = {0};
    for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_in_a_thread, &a[i]), 0);
    for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(a[i]);
        for (size_t k = 0; k < 2; k++)
            assert_memory_equal(qaio_answers_probabilities(a[i], k), qaio_answers_probabilities(a[0], k),
                                (k ? 900u : 300u) * sizeof(double));
    }
    for (size_t i = 0; i < 4; i++) qaio_answers_free(a[i]);
}

static pthread_t handled_in;
static void note_thread(int number) {
    (void)number;
    handled_in = pthread_self();
}

static void an_application_s_signals_stay_with_its_threads(void **state) {
    (void)state;
    struct sigaction note = {.sa_handler = note_thread}, before, after;
    assert_int_equal(sigaction(SIGUSR1, &note, &before), 0);
    for (size_t i = 0; i < 50; i++) {
        handled_in = 0;
        assert_int_equal(kill(getpid(), SIGUSR1), 0); /* to any thread that takes it */
        assert_true(pthread_equal(handled_in, pthread_self()));
    }
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    assert_int_equal(sigaction(SIGPIPE, NULL, &after), 0);
    assert_true(after.sa_handler == SIG_DFL);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGUSR1), 0);
}

static void copy_file(const char *from, const char *to) {
    static char bytes[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in && out);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, in)) > 0;) assert_int_equal(fwrite(bytes, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Weights, tokenizer and template are taken out of the mapped file when it is opened: to touch a page of it now would be SIGBUS. */
static void a_model_file_that_somebody_cuts_is_not_missed(void **state) {
    (void)state;
    const char *const texts[] = {SAD}, *const tasks[] = {"sentiment"};
    char path[] = "/tmp/qaio-test-XXXXXX";
    qaio_model *opened;
    qaio_answers *a, *expected = read_texts("sentiment", texts, 1);
    qaio_reply *r;
    qaio_options options;
    const qaio_message message = {"user", "你好，<|im_end|> 😀 ﷺ"};
    assert_true(close(mkstemp(path)) == 0);
    copy_file("models/qaio-mini-zh.gguf", path);
    qaio_options_init(&options, sizeof options);
    options.model = path;
    assert_int_equal(qaio_model_open(&opened, &options, NULL), QAIO_OK);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(qaio_read(&a, opened, tasks, 1, texts, NULL, 1, NULL, NULL), QAIO_OK);
    assert_memory_equal(qaio_answers_probabilities(a, 0), qaio_answers_probabilities(expected, 0), 2 * sizeof(double));
    assert_int_equal(qaio_chat(&r, opened, &message, 1, NULL, NULL), QAIO_OK);
    assert_true(qaio_reply_generated_tokens(r) > 0);
    assert_non_null(qaio_model_name(opened));
    qaio_reply_free(r);
    qaio_answers_free(a);
    qaio_answers_free(expected);
    qaio_model_close(opened);
    unlink(path);
}

static void reading_survives_every_failed_allocation(void **state) {
    (void)state;
    const char *const tasks[] = {"sentiment", "emotion"}, *const texts[] = {SAD, "", GLAD};
    qaio_status status = QAIO_ERR_MEMORY;
    qaio_answers *a = NULL;
    for (long n = 0; status; n++) {
        mem_fail_after(n);
        status = qaio_read(&a, shared, tasks, 2, texts, NULL, 3, NULL, NULL);
        mem_fail_after(-1);
        if (status) assert_int_equal(status, QAIO_ERR_MEMORY);
        if (status) assert_null(a);
    }
    assert_int_equal(qaio_answers_labels(a, 0)[0], 1);
    qaio_answers_free(a);
}

static void replying_survives_every_failed_allocation(void **state) {
    (void)state;
    const char *const tasks[] = {"sentiment"};
    const qaio_message message = {"user", SAD};
    seen s = {0};
    qaio_status status = QAIO_ERR_MEMORY;
    qaio_reply *r = NULL;
    qaio_reply_options o = greedy(NULL);
    o.on_text = NULL;
    o.tasks = tasks;
    o.n_tasks = 1;
    o.max_tokens = 4;
    for (long n = 0; status; n++) {
        mem_fail_after(n);
        status = qaio_chat(&r, shared, &message, 1, &o, NULL);
        mem_fail_after(-1);
        if (status) assert_int_equal(status, QAIO_ERR_MEMORY);
        if (status) assert_null(r);
    }
    assert_true(qaio_reply_text_bytes(r) > 0);
    qaio_reply_free(r);
    str_deinit(&s.text);
}

static void opening_and_closing_again_and_again_is_fine(void **state) {
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        qaio_model *model = NULL;
        assert_int_equal(qaio_model_open(&model, NULL, NULL), QAIO_OK);
        qaio_model_close(model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_opened_is_said),
        cmocka_unit_test(tasks_are_listed_and_described),
        cmocka_unit_test(several_tasks_on_several_texts_are_columns),
        cmocka_unit_test(many_texts_in_one_call_give_the_bits_of_each_alone),
        cmocka_unit_test(lengths_may_stand_beside_the_texts),
        cmocka_unit_test(a_text_that_fails_leaves_the_others_alone),
        cmocka_unit_test(no_texts_are_no_answers),
        cmocka_unit_test(reads_that_make_no_sense_are_refused),
        cmocka_unit_test(replies_that_make_no_sense_are_refused),
        cmocka_unit_test(other_calls_that_make_no_sense_are_refused),
        cmocka_unit_test(accessors_take_null),
        cmocka_unit_test(a_model_that_cannot_be_opened_says_why),
        cmocka_unit_test(options_of_other_versions_are_understood_or_refused),
        cmocka_unit_test(a_reply_streams_and_is_whole_at_the_end),
        cmocka_unit_test(labels_come_before_the_reply_they_begin_with),
        cmocka_unit_test(a_seed_a_length_and_stop_strings_are_kept_to),
        cmocka_unit_test(a_generate_task_makes_a_text_from_a_text),
        cmocka_unit_test(a_callback_ends_the_reply_and_what_came_stays),
        cmocka_unit_test(another_thread_cancels_a_reply),
        cmocka_unit_test(another_thread_cancels_the_reading_of_many_texts),
        cmocka_unit_test(a_question_of_your_own_gets_probabilities),
        cmocka_unit_test(threads_share_a_model_and_get_the_same_bits),
        cmocka_unit_test(an_application_s_signals_stay_with_its_threads),
        cmocka_unit_test(a_model_file_that_somebody_cuts_is_not_missed),
        cmocka_unit_test(reading_survives_every_failed_allocation),
        cmocka_unit_test(replying_survives_every_failed_allocation),
        cmocka_unit_test(opening_and_closing_again_and_again_is_fine),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
