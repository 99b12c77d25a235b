/* Requests: what is accepted, what is refused, and how the refusal is worded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/analyze.h"
#include "server/completion.h"

#define MODEL "fake"

static json_t *parsed(const char *body) {
    failure f = {0};
    json_t *root = request_parse(body, strlen(body), &f);
    if (!root) fail_msg("%s: %s", body, f.message);
    return root;
}

static void assert_failed(const failure *f, int status, const char *param) {
    assert_int_equal(f->status, status);
    assert_string_equal(f->param, param);
    assert_true(strlen(f->message) > 5);
}

/* ---- JSON ---- */

static void assert_no_json(const char *body, size_t n) {
    failure f = {0};
    assert_null(request_parse(body, n, &f));
    assert_failed(&f, 400, "");
    assert_string_equal(f.code, "invalid_json");
}

static void a_body_that_is_no_json_object_is_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "",     "{",           "nonsense",         "[]", "\"a\"", "1", "{} {}", "{\"a\":1,}", "{'a':1}", "{\"a\":1e999}", "\xEF\xBB\xBF{}",
        "null", "{\"a\":NaN}", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) assert_no_json(bodies[i], strlen(bodies[i]));
}

static void ill_formed_utf8_is_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {"{\"a\":\"\xFF\"}", "{\"a\":\"\xC0\x80\"}", "{\"a\":\"\xED\xA0\x80\"}", "{\"a\":\"\xE4\xBD\"}",
                                         "{\"a\":\"\\ud800\"}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) assert_no_json(bodies[i], strlen(bodies[i]));
}

static void nesting_is_limited_but_brackets_in_strings_do_not_count(void **state) {
    (void)state;
    char body[4 * REQUEST_MAX_DEPTH + 64];
    for (int depth = REQUEST_MAX_DEPTH; depth <= REQUEST_MAX_DEPTH + 1; depth++) {
        size_t n = (size_t)depth - 1;
        memcpy(body, "{\"a\":", 5);
        memset(body + 5, '[', n);
        memset(body + 5 + n, ']', n);
        memcpy(body + 5 + 2 * n, "}", 2);
        if (depth > REQUEST_MAX_DEPTH) {
            assert_no_json(body, strlen(body));
        } else {
            json_decref(parsed(body));
        }
    }
    memcpy(body, "{\"a\":\"\\\"", 8);
    memset(body + 8, '[', 100);
    memcpy(body + 108, "\"}", 3);
    json_decref(parsed(body));
}

static void a_million_brackets_are_refused_without_recursion(void **state) {
    (void)state;
    size_t n = SERVER_MAX_BODY_BYTES;
    char *body = mem_alloc(n);
    memset(body, '[', n);
    assert_no_json(body, n);
    mem_free(body);
}

static void a_flood_of_small_values_is_refused_before_it_takes_memory(void **state) {
    (void)state;
    static const char *const values[] = {"{},", "[],", "0,"};
    for (size_t i = 0; i < 3; i++) {
        str body = {0};
        str_puts(&body, "{\"a\":[");
        for (size_t n = 0; n <= REQUEST_MAX_VALUES; n++) str_puts(&body, values[i]);
        str_puts(&body, "0]}");
        assert_no_json(body.data, body.len);
        str_deinit(&body);
    }
}

/* ---- chat ---- */

static void assert_chat_refused(const char *body, int status, const char *param) {
    failure f = {0};
    chat_request request;
    json_t *root = parsed(body);
    if (chat_request_parse(&request, root, MODEL, &f)) fail_msg("accepted: %s", body);
    assert_failed(&f, status, param);
    chat_request_deinit(&request);
    json_decref(root);
}

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void a_chat_request_is_read_whole(void **state) {
    (void)state;
    failure f = {0};
    chat_request r;
    json_t *root =
        parsed("{\"model\":\"fake\",\"messages\":[{\"role\":\"developer\",\"content\":\"be kind\"},{\"role\":\"user\",\"content\":"
               "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\\u0000\"}]}],\"temperature\":0,\"top_p\":0.5,"
               "\"top_k\":7,\"repetition_penalty\":1.5,\"seed\":-1,\"stop\":[\"x\",\"yy\"],\"max_tokens\":5,"
               "\"max_completion_tokens\":6,\"stream\":true,\"stream_options\":{\"include_usage\":true},\"logprobs\":true,"
               "\"top_logprobs\":3,\"n\":1,\"tools\":[],\"response_format\":{\"type\":\"text\"},\"presence_penalty\":0.0,"
               "\"user\":\"me\",\"logit_bias\":{\"7\":-1.5,\"9\":100},\"enable_thinking\":true,\"metadata\":null}");
    if (!chat_request_parse(&r, root, MODEL, &f)) fail_msg("%s", f.message);
    assert_int_equal(r.messages.n, 2);
    assert_string_equal(r.messages.items[0].role, "system");
    assert_string_equal(r.messages.items[0].content, "be kind");
    assert_int_equal(r.messages.items[1].content_bytes, 4);
    assert_memory_equal(r.messages.items[1].content, "a\nb\0", 4);
    const reply_params *p = &r.generation.params;
    assert_true(p->temperature == 0 && p->top_p == 0.5f && p->repetition_penalty == 1.5f && p->top_k == 7);
    assert_true(p->has_seed && p->seed == UINT64_MAX);
    assert_int_equal(p->n_stops, 2);
    assert_string_equal(p->stops[1], "yy");
    assert_int_equal(p->max_new, 6);
    assert_true(p->n_biases == 2 && p->biases[0].token == 7 && p->biases[0].bias == -1.5f && p->biases[1].bias == 100);
    assert_int_equal(p->n_top, 3);
    assert_int_equal(p->enable_thinking, 1);
    assert_true(r.generation.is_stream && r.generation.include_usage);
    chat_request_deinit(&r);
    json_decref(root);
}

static void what_is_not_given_stays_the_checkpoints(void **state) {
    (void)state;
    failure f = {0};
    chat_request r;
    json_t *root = parsed("{" HI ",\"temperature\":null,\"seed\":null,\"stop\":null,\"max_tokens\":null,\"stream\":null,\"model\":null}");
    assert_true(chat_request_parse(&r, root, MODEL, &f));
    const reply_params *p = &r.generation.params;
    assert_true(p->temperature < 0 && p->top_p < 0 && p->top_k < 0 && p->repetition_penalty < 0 && !p->has_seed);
    assert_true(p->max_new == 0 && p->n_top == -1 && p->n_stops == 0 && p->enable_thinking == -1 && !r.generation.is_stream);
    chat_request_deinit(&r);
    json_decref(root);
}

static void an_unknown_model_is_not_found(void **state) {
    (void)state;
    assert_chat_refused("{\"model\":\"gpt-9\"," HI "}", 404, "model");
    assert_chat_refused("{\"model\":\"fake\\u0000x\"," HI "}", 404, "model");
    assert_chat_refused("{\"model\":5," HI "}", 400, "model");
}

static void wrong_types_and_ranges_name_their_field(void **state) {
    (void)state;
    static const struct {
        const char *field, *param;
    } bad[] = {
        {"\"temperature\":\"hot\"", "temperature"},
        {"\"temperature\":2.5", "temperature"},
        {"\"temperature\":-1", "temperature"},
        {"\"top_p\":1.5", "top_p"},
        {"\"top_k\":1.5", "top_k"},
        {"\"top_k\":-2", "top_k"},
        {"\"seed\":\"1\"", "seed"},
        {"\"max_tokens\":0", "max_tokens"},
        {"\"max_tokens\":true", "max_tokens"},
        {"\"stream\":1", "stream"},
        {"\"stop\":5", "stop"},
        {"\"stop\":\"\"", "stop"},
        {"\"stop\":[\"a\",5]", "stop"},
        {"\"stop\":\"a\\u0000b\"", "stop"},
        {"\"stream_options\":[]", "stream_options"},
        {"\"logprobs\":3", "logprobs"},
        {"\"top_logprobs\":3", "top_logprobs"},
        {"\"logprobs\":true,\"top_logprobs\":21", "top_logprobs"},
        {"\"n\":2", "n"},
        {"\"n\":\"1\"", "n"},
        {"\"tools\":[{}]", "tools"},
        {"\"logit_bias\":[1]", "logit_bias"},
        {"\"logit_bias\":{\"one\":2}", "logit_bias"},
        {"\"logit_bias\":{\"1x\":2}", "logit_bias"},
        {"\"logit_bias\":{\"1\":101}", "logit_bias"},
        {"\"logit_bias\":{\"1\":\"2\"}", "logit_bias"},
        {"\"logit_bias\":{\"12345678901\":1}", "logit_bias"},
        {"\"presence_penalty\":1", "presence_penalty"},
        {"\"response_format\":\"text\"", "response_format"},
        {"\"response_format\":{\"type\":\"xml\"}", "response_format"},
        {"\"response_format\":{\"type\":\"json_schema\"}", "response_format.json_schema"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{}}}", "response_format.json_schema.name"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"}}", "response_format.json_schema.schema"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{\"not\":{}}}}", "response_format"},
        {"\"response_format\":{\"type\":\"json_object\"},\"enable_thinking\":true", "response_format"},
        {"\"chat_template_kwargs\":1", "chat_template_kwargs"},
        {"\"stop\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]", "stop"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char body[512];
        snprintf(body, sizeof body, "{" HI ",%s}", bad[i].field);
        assert_chat_refused(body, 400, bad[i].param);
    }
}

static void a_response_format_becomes_a_grammar(void **state) {
    (void)state;
    static const struct {
        const char *format;
        bool has_grammar;
    } formats[] = {
        {"{\"type\":\"text\"}", false},
        {"{\"type\":\"json_object\"}", true},
        {"{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"mood\",\"strict\":true,\"schema\":{\"enum\":[\"a\",\"b\"]}}}", true},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        failure f = {0};
        chat_request r;
        char body[512];
        snprintf(body, sizeof body, "{" HI ",\"response_format\":%s}", formats[i].format);
        json_t *root = parsed(body);
        if (!chat_request_parse(&r, root, MODEL, &f)) fail_msg("%s: %s", body, f.message);
        assert_int_equal(r.generation.grammar != NULL, formats[i].has_grammar);
        assert_int_equal(r.generation.params.grammar != NULL, formats[i].has_grammar);
        chat_request_deinit(&r);
        json_decref(root);
    }
}

static void bad_messages_say_which_one(void **state) {
    (void)state;
    assert_chat_refused("{}", 400, "messages");
    assert_chat_refused("{\"messages\":[]}", 400, "messages");
    assert_chat_refused("{\"messages\":{}}", 400, "messages");
    assert_chat_refused("{\"messages\":[1]}", 400, "messages[0]");
    assert_chat_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"king\",\"content\":\"a\"}]}", 400, "messages[1]");
    assert_chat_refused("{\"messages\":[{\"role\":\"user\\u0000\",\"content\":\"a\"}]}", 400, "messages[0]");
    assert_chat_refused("{\"messages\":[{\"content\":\"a\"}]}", 400, "messages[0]");
    assert_chat_refused("{\"messages\":[{\"role\":\"user\"}]}", 400, "messages[0]");
    assert_chat_refused("{\"messages\":[{\"role\":\"user\",\"content\":5}]}", 400, "messages[0]");
    assert_chat_refused("{\"messages\":[{\"role\":\"user\",\"content\":[\"a\"]}]}", 400, "messages[0]");
    assert_chat_refused("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]}]}", 400,
                        "messages[0]");
    assert_chat_refused("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}", 400, "messages[0]");
    assert_chat_refused("{\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{}]}]}", 400, "messages[0]");
}

/* ---- completions ---- */

static void a_prompt_is_one_string(void **state) {
    (void)state;
    static const struct {
        const char *body;
        const char *param; /* NULL: accepted */
    } cases[] = {
        {"{\"prompt\":\"a\"}", NULL},
        {"{\"prompt\":[\"a\"]}", NULL},
        {"{\"prompt\":\"a\",\"suffix\":\"\",\"echo\":false}", NULL},
        {"{}", "prompt"},
        {"{\"prompt\":\"\"}", "prompt"},
        {"{\"prompt\":[]}", "prompt"},
        {"{\"prompt\":[1,2]}", "prompt"},
        {"{\"prompt\":[\"a\",\"b\"]}", "prompt"},
        {"{\"prompt\":7}", "prompt"},
        {"{\"prompt\":\"a\",\"echo\":true}", "echo"},
        {"{\"prompt\":\"a\",\"logprobs\":6}", "logprobs"},
        {"{\"prompt\":\"a\",\"logprobs\":true}", "logprobs"},
        {"{\"prompt\":\"a\",\"best_of\":2}", "best_of"},
        {"{\"prompt\":\"a\",\"response_format\":{\"type\":\"json_object\"}}", NULL},
        {"{\"prompt\":7,\"response_format\":{\"type\":\"json_object\"}}", "prompt"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure f = {0};
        completion_request r;
        json_t *root = parsed(cases[i].body);
        bool is_good = completion_request_parse(&r, root, MODEL, &f);
        if (is_good != !cases[i].param) fail_msg("%s: %s", cases[i].body, f.message);
        if (cases[i].param) assert_failed(&f, 400, cases[i].param);
        completion_request_deinit(&r);
        json_decref(root);
    }
}

/* ---- analyze, tasks ---- */

static task_set *tasks;

static int open_tasks(void **state) {
    (void)state;
    return task_set_open(&tasks, NULL, NULL) != QAIO_OK;
}

static int close_tasks(void **state) {
    (void)state;
    task_set_free(tasks);
    return 0;
}

static void analyze_reads_the_mood_and_replies_by_default(void **state) {
    (void)state;
    failure f = {0};
    analyze_request r;
    json_t *root =
        parsed("{\"text\":\"好\",\"history\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}");
    if (!analyze_request_parse(&r, root, MODEL, tasks, &f)) fail_msg("%s", f.message);
    assert_int_equal(r.n_tasks, 1);
    assert_string_equal(r.tasks[0]->name, "sentiment");
    assert_true(r.has_reply && !r.generation.is_stream);
    assert_int_equal(r.messages.n, 3);
    assert_string_equal(r.messages.items[2].role, "user");
    assert_string_equal(r.messages.items[2].content, "好");
    analyze_request_deinit(&r);
    json_decref(root);
}

static void analyze_replies_by_a_task_that_chats_or_generates(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool is_tool, is_routed;
    } cases[] = {{"chat", false, false}, {"service", false, true}, {"keywords", true, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure f = {0};
        analyze_request r;
        json_t *root = json_pack("{s:s, s:s}", "text", "好", "reply", cases[i].name);
        if (!analyze_request_parse(&r, root, MODEL, tasks, &f)) fail_msg("%s", f.message);
        assert_true(r.has_reply);
        assert_string_equal((r.tool ? r.tool : r.chat)->name, cases[i].name);
        assert_int_equal(r.tool != NULL, cases[i].is_tool);
        assert_int_equal(r.is_routed, cases[i].is_routed);
        analyze_request_deinit(&r);
        json_decref(root);
    }
}

static void analyze_refuses_what_makes_no_sense(void **state) {
    (void)state;
    static const struct {
        const char *body;
        int status;
        const char *param;
    } cases[] = {
        {"{}", 400, "text"},
        {"{\"text\":\"\"}", 400, "text"},
        {"{\"text\":[\"a\"]}", 400, "text"},
        {"{\"text\":\"a\",\"tasks\":\"sentiment\"}", 400, "tasks"},
        {"{\"text\":\"a\",\"tasks\":[1]}", 400, "tasks"},
        {"{\"text\":\"a\",\"tasks\":[\"nonsense\"]}", 404, "tasks"},
        {"{\"text\":\"a\",\"tasks\":[\"chat\"]}", 400, "tasks"},
        {"{\"text\":\"a\",\"tasks\":[],\"reply\":false}", 400, "tasks"},
        {"{\"text\":\"a\",\"reply\":\"yes\"}", 404, "reply"},
        {"{\"text\":\"a\",\"reply\":\"sentiment\"}", 400, "reply"},
        {"{\"text\":\"a\",\"reply\":1}", 400, "reply"},
        {"{\"text\":\"a\",\"history\":\"b\"}", 400, "history"},
        {"{\"text\":\"a\",\"history\":[{}]}", 400, "history[0]"},
        {"{\"text\":\"a\",\"layout\":\"plain\"}", 400, "layout"},
        {"{\"text\":\"a\",\"layout\":\"own\\u0000\"}", 400, "layout"},
        {"{\"text\":\"a\",\"layout\":1}", 400, "layout"},
        {"{\"text\":\"a\",\"diagnostics\":1}", 400, "diagnostics"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure f = {0};
        analyze_request r;
        json_t *root = parsed(cases[i].body);
        if (analyze_request_parse(&r, root, MODEL, tasks, &f)) fail_msg("accepted: %s", cases[i].body);
        assert_failed(&f, cases[i].status, cases[i].param);
        analyze_request_deinit(&r);
        json_decref(root);
    }
}

static void a_task_takes_a_text_or_a_list(void **state) {
    (void)state;
    static const struct {
        const char *body;
        size_t n; /* 0: one text */
        const char *param;
    } cases[] = {
        {"{\"text\":\"a\"}", 0, NULL},
        {"{\"text\":[\"a\",\"b\"]}", 2, NULL},
        {"{\"texts\":[\"a\"]}", 1, NULL},
        {"{}", 0, "text"},
        {"{\"text\":5}", 0, "text"},
        {"{\"texts\":\"a\"}", 0, "texts"},
        {"{\"texts\":[]}", 0, "texts"},
        {"{\"texts\":[1]}", 0, "texts"},
        {"{\"text\":\"a\",\"texts\":[\"b\"]}", 0, "texts"},
        {"{\"text\":\"a\",\"layout\":\"plain\"}", 0, "layout"},
        {"{\"text\":\"a\",\"diagnostics\":\"yes\"}", 0, "diagnostics"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure f = {0};
        task_request r;
        json_t *root = parsed(cases[i].body);
        bool is_good = task_request_parse(&r, root, MODEL, &f);
        if (is_good != !cases[i].param) fail_msg("%s: %s", cases[i].body, f.message);
        if (cases[i].param) assert_failed(&f, 400, cases[i].param);
        if (is_good) assert_int_equal(json_array_size(r.texts), cases[i].n);
        json_decref(root);
    }
}

/* ---- errors ---- */

static void statuses_become_http(void **state) {
    (void)state;
    static const struct {
        qaio_status status;
        int http;
        const char *type;
    } cases[] = {
        {QAIO_ERR_ARGUMENT, 400, "invalid_request_error"},
        {QAIO_ERR_LIMIT, 400, "invalid_request_error"},
        {QAIO_ERR_NOT_FOUND, 404, "invalid_request_error"},
        {QAIO_ERR_BUSY, 429, "rate_limit_error"},
        {QAIO_ERR_MEMORY, 500, "server_error"},
        {QAIO_ERR_CANCELLED, 503, "server_error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qaio_error err;
        failure f = {0};
        error_set(&err, cases[i].status, "because");
        assert_false(failure_from(&f, &err, "text"));
        assert_int_equal(f.status, cases[i].http);
        json_t *object = failure_to_json(&f), *error = json_object_get(object, "error");
        assert_string_equal(json_string_value(json_object_get(error, "type")), cases[i].type);
        assert_string_equal(json_string_value(json_object_get(error, "message")), "because");
        assert_non_null(json_object_get(error, "param"));
        assert_non_null(json_object_get(error, "code"));
        json_decref(object);
    }
}

static void a_message_that_was_cut_is_still_utf8(void **state) {
    (void)state;
    failure f = {0};
    char text[600];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'a', sizeof text);
        for (size_t i = shift; i + 4 < sizeof text; i += 3) memcpy(text + i, "你", 3);
        text[sizeof text - 1] = 0;
        failure_set(&f, 400, NULL, text, "%s", text);
        json_t *object = failure_to_json(&f);
        assert_non_null(object);
        json_decref(object);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_that_is_no_json_object_is_refused),
        cmocka_unit_test(ill_formed_utf8_is_refused),
        cmocka_unit_test(nesting_is_limited_but_brackets_in_strings_do_not_count),
        cmocka_unit_test(a_million_brackets_are_refused_without_recursion),
        cmocka_unit_test(a_flood_of_small_values_is_refused_before_it_takes_memory),
        cmocka_unit_test(a_chat_request_is_read_whole),
        cmocka_unit_test(what_is_not_given_stays_the_checkpoints),
        cmocka_unit_test(an_unknown_model_is_not_found),
        cmocka_unit_test(wrong_types_and_ranges_name_their_field),
        cmocka_unit_test(a_response_format_becomes_a_grammar),
        cmocka_unit_test(bad_messages_say_which_one),
        cmocka_unit_test(a_prompt_is_one_string),
        cmocka_unit_test(analyze_reads_the_mood_and_replies_by_default),
        cmocka_unit_test(analyze_replies_by_a_task_that_chats_or_generates),
        cmocka_unit_test(analyze_refuses_what_makes_no_sense),
        cmocka_unit_test(a_task_takes_a_text_or_a_list),
        cmocka_unit_test(statuses_become_http),
        cmocka_unit_test(a_message_that_was_cut_is_still_utf8),
    };
    return cmocka_run_group_tests(tests, open_tasks, close_tasks);
}
