/* Generated tasks with a constraint, and replies that follow a grammar, with the embedded model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mask/schema.h"
#include "shared.h"
#include "tasks/task_file.h"

#define HEAD                                                                                                                               \
    "name: t\nversion: 1\ntitle: {zh: 词, en: Words}\nkind: generate\nsystem: "                                                           \
    "你是一个关键词提取助手。从用户的话里找出最重要的词，用、隔开，只输出关键词。\n"

static task task_of(const char *rest) {
    str text = {0};
    task t;
    qaio_error err;
    str_printf(&text, "%s%s", HEAD, rest);
    if (task_parse(&t, "t.yaml", text.data, text.len, &err)) fail_msg("%s", err.message);
    str_deinit(&text);
    return t;
}

static str finish(reply *p, reply_result *result) {
    str text = {0};
    reply_piece piece;
    qaio_error err;
    while (reply_next(p, &piece, -1) == REPLY_PIECE) str_append(&text, piece.text, piece.n);
    if (reply_finish(p, result, &err)) fail_msg("%s", err.message);
    str_puts(&text, "");
    return text;
}

static str run(const task *t, const char *text, uint64_t seed) {
    reply_params params = reply_defaults;
    params.temperature = 2; /* a model that says anything */
    params.top_p = 1;
    params.has_seed = true;
    params.seed = seed;
    reply *p;
    reply_result result;
    qaio_error err;
    if (reply_start_task(&p, shared, t, text, strlen(text), &params, &err)) fail_msg("%s", err.message);
    str answer = finish(p, &result);
    assert_int_equal(result.finish, FINISH_STOP);
    return answer;
}

static void keywords_stand_in_the_text(void **state) {
    (void)state;
    static const char text[] = "快递又丢了，气死我了，再也不在这家店买了！";
    task t = task_of("constraint: {kind: keywords, max_items: 3, max_characters: 6}\n");
    for (uint64_t seed = 0; seed < 20; seed++) {
        str answer = run(&t, text, seed);
        size_t n = 0;
        assert_true(answer.len > 0);
        for (char *rest = answer.data, *item; (item = strstr(rest, "、")) || *rest; n++) {
            if (item) *item = '\0';
            if (!*rest || !strstr(text, rest)) fail_msg("%s", rest);
            rest = item ? item + strlen("、") : rest + strlen(rest);
        }
        assert_true(n >= 1 && n <= 3);
        str_deinit(&answer);
    }
    task_deinit(&t);
}

static void a_text_without_words_has_no_keywords(void **state) {
    (void)state;
    task t = task_of("constraint: {kind: keywords}\n");
    str answer = run(&t, "！！！", 1);
    assert_int_equal(answer.len, 0);
    str_deinit(&answer);
    task_deinit(&t);
}

static void one_of_a_list_comes(void **state) {
    (void)state;
    task t = task_of("constraint: {kind: one_of, values: [升级处理, 安抚, 直接回答]}\n");
    for (uint64_t seed = 0; seed < 10; seed++) {
        str answer = run(&t, "快递又丢了", seed);
        assert_true(strcmp(answer.data, "升级处理") == 0 || strcmp(answer.data, "安抚") == 0 || strcmp(answer.data, "直接回答") == 0);
        str_deinit(&answer);
    }
    task_deinit(&t);
}

static void constraints_of_the_wrong_form_are_refused_with_their_line(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{kind: regex}",
        "{kind: one_of}",
        "{kind: one_of, values: []}",
        "{kind: one_of, values: [a], separator: x}",
        "{kind: keywords, values: [a]}",
        "{kind: keywords, separator: ''}",
        "{kind: keywords, separator: 12345678901234567}",
        "{kind: keywords, max_items: 0}",
        "{kind: keywords, max_items: 65}",
        "{kind: keywords, max_characters: 65}",
        "{separator: x}",
        "[keywords]",
        "{kind: none, max_items: 3}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        str text = {0};
        task t;
        qaio_error err = {0};
        str_printf(&text, "%sconstraint: %s\n", HEAD, bad[i]);
        if (task_parse(&t, "t.yaml", text.data, text.len, &err) == QAIO_OK) fail_msg("accepted: %s", bad[i]);
        if (!strstr(err.path, ":6")) fail_msg("%s: %s", err.path, err.message);
        str_deinit(&text);
    }
}

/* ---- grammars ---- */

static reply *start_json(uint64_t seed) {
    static const char message[] = "今天考试没考好,心情很低落。";
    json_t *schema = json_loads(
        "{\"properties\": {\"a\": {\"type\": \"string\", \"maxLength\": 10}, \"n\": {\"type\": \"number\"}}, \"required\": [\"a\", \"n\"]}",
        0, NULL);
    grammar *g = NULL;
    assert_int_equal(schema_grammar(&g, schema, NULL), QAIO_OK);
    json_decref(schema);
    reply_params params = reply_defaults;
    params.temperature = 1.5f;
    params.has_seed = true;
    params.seed = seed;
    params.grammar = &g;
    reply *p = NULL;
    chat_message user = {.role = "user", .content = message, .content_bytes = strlen(message)};
    assert_int_equal(reply_start(&p, shared, &user, 1, &params, NULL), QAIO_OK);
    assert_null(g); /* taken */
    return p;
}

/* Promise 3 for constrained replies */
static void a_constrained_reply_is_the_same_alone_and_among_others(void **state) {
    (void)state;
    enum { N = 12 };
    reply_result result;
    reply *together[N];
    str alone[N];
    for (uint64_t i = 0; i < N; i++) alone[i] = finish(start_json(i), &result);
    for (uint64_t i = 0; i < N; i++) together[i] = start_json(i);
    for (size_t i = 0; i < N; i++) {
        str text = finish(together[i], &result);
        assert_string_equal(text.data, alone[i].data);
        json_t *value = json_loads(text.data, 0, NULL);
        assert_true(value || result.finish == FINISH_LENGTH);
        json_decref(value);
        str_deinit(&text);
        str_deinit(&alone[i]);
    }
}

static void a_reply_that_does_not_start_leaves_or_frees_its_grammar(void **state) {
    (void)state;
    for (long n = 0; n < 200; n++) {
        grammar *g = NULL;
        reply *p = NULL;
        reply_params params = reply_defaults;
        params.grammar = &g;
        params.max_new = 2;
        assert_int_equal(schema_grammar(&g, NULL, NULL), QAIO_OK);
        chat_message user = {.role = "user", .content = "你好", .content_bytes = strlen("你好")};
        engine_hold(resident_engine(shared)); /* the engine's thread allocates nothing meanwhile */
        mem_fail_after(n);
        qaio_status status = reply_start(&p, shared, &user, 1, &params, NULL);
        mem_fail_after(-1);
        engine_release(resident_engine(shared));
        if (status)
            assert_int_equal(status, QAIO_ERR_MEMORY);
        else
            reply_finish(p, NULL, NULL);
        grammar_free(g);
        if (!status) return;
    }
    fail_msg("it never starts");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keywords_stand_in_the_text),
        cmocka_unit_test(a_text_without_words_has_no_keywords),
        cmocka_unit_test(one_of_a_list_comes),
        cmocka_unit_test(constraints_of_the_wrong_form_are_refused_with_their_line),
        cmocka_unit_test(a_constrained_reply_is_the_same_alone_and_among_others),
        cmocka_unit_test(a_reply_that_does_not_start_leaves_or_frees_its_grammar),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
