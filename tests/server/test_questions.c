/* Requests of /v1/decisions and /v1/systemone: what is accepted, what is refused, and how the refusal is worded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "server/questions.h"

typedef bool (*parser)(decision_request *out, const json_t *root, const char *model_name, failure *f);

static json_t *parsed(const char *body) {
    failure f = {0};
    json_t *root = request_parse(body, strlen(body), &f);
    if (!root) fail_msg("%s: %s", body, f.message);
    return root;
}

static void assert_refused(parser parse, const char *body, int status, const char *code, const char *param) {
    failure f = {0};
    decision_request r;
    json_t *root = parsed(body);
    if (parse(&r, root, "fake", &f)) fail_msg("accepted: %s", body);
    if (f.status != status || !f.code || strcmp(f.code, code) != 0 || strcmp(f.param, param) != 0)
        fail_msg("%s: %d %s %s: %s", body, f.status, f.code, f.param, f.message);
    assert_true(strlen(f.message) > 5);
    decision_request_deinit(&r);
    json_decref(root);
}

static decision_request accepted(parser parse, json_t *root) {
    failure f = {0};
    decision_request r;
    if (!parse(&r, root, "fake", &f)) fail_msg("%s: %s", f.param, f.message);
    return r;
}

/* ---- decisions ---- */

#define YES_NO "{\"type\":\"predicate\",\"instructions\":\"ok?\"}"

static void all_three_kinds_of_questions_are_read(void **state) {
    (void)state;
    json_t *root =
        parsed("{\"model\":\"fake\",\"input\":\"hi\",\"prompt_cache_key\":\"k\",\"questions\":["
               "{\"type\":\"predicate\",\"name\":\"a\",\"instructions\":\"在生气\"},"
               "{\"type\":\"choice\",\"instructions\":[{\"type\":\"input_text\",\"text\":\"Which\"},{\"type\":\"input_text\","
               "\"text\":\"one?\"}],\"choices\":[{\"value\":\"true\",\"description\":\"a word\"},{\"value\":true}]},"
               "{\"type\":\"score\",\"name\":null,\"instructions\":\"How?\",\"levels\":[{\"label\":\"bad\"},{\"label\":\"good\"}]}]}");
    decision_request r = accepted(decisions_request_parse, root);
    assert_int_equal(r.n_questions, 3);
    assert_string_equal(r.input.data, "hi");
    assert_string_equal(r.questions[0].options[0].text, "是");
    assert_string_equal(r.questions[0].options[1].text, "否");
    assert_string_equal(r.questions[1].instructions.data, "Which\none?");
    assert_string_equal(r.questions[1].options[0].description, "a word");
    assert_string_equal(r.questions[1].options[1].text, "yes");
    assert_int_equal(r.questions[2].kind, QUESTION_SCORE);
    assert_string_equal(r.questions[2].options[1].text, "good");
    decision_request_deinit(&r);
    json_decref(root);
}

static void one_message_is_its_text_and_several_are_a_conversation(void **state) {
    (void)state;
    json_t *root = parsed("{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\"},{\"type\":\"input_json\","
                          "\"data\":{\"b\":[1]}}]}],\"questions\":[" YES_NO "]}");
    decision_request r = accepted(decisions_request_parse, root);
    assert_string_equal(r.input.data, "a\n{\"b\":[1]}");
    decision_request_deinit(&r);
    json_decref(root);
    root =
        parsed("{\"input\":[{\"role\":\"developer\",\"content\":\"be kind\"},{\"role\":\"user\",\"content\":\"hi\",\"type\":\"message\"},"
               "{\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"hello\"},{\"type\":\"refusal\",\"refusal\":"
               "\"no\"}]}],\"questions\":[" YES_NO "]}");
    r = accepted(decisions_request_parse, root);
    assert_string_equal(r.input.data, "developer: be kind\nuser: hi\nassistant: hello\nno");
    decision_request_deinit(&r);
    json_decref(root);
}

#define ASK(question) "{\"input\":\"hi\",\"questions\":[" question "]}"
#define INPUT(input)  "{\"input\":" input ",\"questions\":[" YES_NO "]}"

static void bad_decision_requests_name_their_field(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param;
    } cases[] = {
        {"{\"questions\":[" YES_NO "]}", "missing", "input"},
        {INPUT("\" \\n\""), "missing", "input"},
        {INPUT("[]"), "missing", "input"},
        {INPUT("5"), "invalid_type", "input"},
        {INPUT("{}"), "invalid_type", "input"},
        {INPUT("[5]"), "invalid_type", "input[0]"},
        {INPUT("[{\"role\":\"tool\",\"content\":\"a\"}]"), "invalid_value", "input[0]"},
        {INPUT("[{\"role\":\"user\"}]"), "missing", "input[0]"},
        {INPUT("[{\"type\":\"function_call\",\"call_id\":\"1\",\"name\":\"f\",\"arguments\":\"\"}]"), "unsupported", "input[0]"},
        {INPUT("[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\"data:\"}]}]"), "unsupported", "input[0]"},
        {INPUT("[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}]"), "unsupported", "input[0]"},
        {INPUT("[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\"}]}]"), "invalid_type", "input[0]"},
        {INPUT("[{\"role\":\"user\",\"content\":[7]}]"), "unsupported", "input[0]"},
        {"{\"input\":\"hi\"}", "missing", "questions"},
        {"{\"input\":\"hi\",\"questions\":{}}", "invalid_type", "questions"},
        {"{\"input\":\"hi\",\"questions\":[]}", "invalid_value", "questions"},
        {ASK("7"), "invalid_type", "questions[0]"},
        {ASK(YES_NO ",{\"type\":\"predicate\"}"), "missing", "questions[1].instructions"},
        {ASK("{\"type\":\"predicate\",\"instructions\":\"\"}"), "missing", "questions[0].instructions"},
        {ASK("{\"type\":\"predicate\",\"instructions\":\"a\\u0000b\"}"), "invalid_value", "questions[0].instructions"},
        {ASK("{\"type\":\"predicate\",\"instructions\":\"a\",\"name\":1}"), "invalid_type", "questions[0].name"},
        {ASK("{\"type\":\"essay\",\"instructions\":\"a\"}"), "invalid_value", "questions[0].type"},
        {ASK("{\"instructions\":\"a\"}"), "missing", "questions[0].type"},
        {ASK("{\"type\":\"choice\",\"instructions\":\"a\"}"), "missing", "questions[0].choices"},
        {ASK("{\"type\":\"choice\",\"instructions\":\"a\",\"choices\":[{\"value\":\"x\"}]}"), "invalid_value", "questions[0].choices"},
        {ASK("{\"type\":\"choice\",\"instructions\":\"a\",\"choices\":[{\"value\":\"x\"},{\"value\":\"x\"}]}"), "invalid_value",
         "questions[0].choices"},
        {ASK("{\"type\":\"choice\",\"instructions\":\"a\",\"choices\":[{\"value\":\"x\"},{\"value\":\"\"}]}"), "invalid_value",
         "questions[0].choices"},
        {ASK("{\"type\":\"choice\",\"instructions\":\"a\",\"choices\":[{\"value\":\"x\"},{\"value\":\"y\\u0000\"}]}"), "invalid_value",
         "questions[0].choices"},
        {ASK("{\"type\":\"choice\",\"instructions\":\"a\",\"choices\":[{\"value\":\"x\"},{\"value\":1}]}"), "invalid_type",
         "questions[0].choices"},
        {ASK("{\"type\":\"choice\",\"instructions\":\"a\",\"choices\":[{\"value\":\"x\"},{\"value\":\"y\",\"description\":[]}]}"),
         "invalid_type", "questions[0].choices"},
        {ASK("{\"type\":\"choice\",\"instructions\":\"a\",\"choices\":[1,2]}"), "invalid_type", "questions[0].choices"},
        {ASK("{\"type\":\"score\",\"instructions\":\"a\",\"levels\":[{\"label\":true},{\"label\":\"b\"}]}"), "invalid_type",
         "questions[0].levels"},
        {ASK("{\"type\":\"score\",\"instructions\":\"a\",\"levels\":\"bc\"}"), "invalid_type", "questions[0].levels"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(decisions_request_parse, cases[i].body, 400, cases[i].code, cases[i].param);
    assert_refused(decisions_request_parse, "{\"model\":\"gpt-6-luna\",\"input\":\"hi\",\"questions\":[" YES_NO "]}", 404,
                   "model_not_found", "model");
}

/* A request with n questions, or with one question of n options. */
static char *many(size_t n_questions, const char *type, const char *list, const char *key, size_t n_options) {
    str body = {0};
    str_puts(&body, "{\"input\":\"hi\",\"questions\":[");
    for (size_t i = 0; i < n_questions; i++) {
        str_printf(&body, "%s{\"type\":\"%s\",\"instructions\":\"a\",\"%s\":[", i ? "," : "", type, list);
        for (size_t k = 0; k < n_options; k++) str_printf(&body, "%s{\"%s\":\"o%zu\"}", k ? "," : "", key, k);
        str_puts(&body, "]}");
    }
    str_puts(&body, "]}");
    return body.data;
}

static void the_documented_limits_hold_exactly(void **state) {
    (void)state;
    static const struct {
        size_t n_questions, n_options;
        const char *type, *list, *key, *param; /* of the refusal when one more is asked for */
    } cases[] = {
        {MAX_QUESTIONS, 2, "choice", "choices", "value", "questions"},
        {1, DECISION_MAX_OPTIONS, "choice", "choices", "value", "questions[0].choices"},
        {1, MAX_LEVELS, "score", "levels", "label", "questions[0].levels"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool is_options = cases[i].n_options > 2;
        char *body = many(cases[i].n_questions, cases[i].type, cases[i].list, cases[i].key, cases[i].n_options);
        json_t *root = parsed(body);
        decision_request r = accepted(decisions_request_parse, root);
        assert_int_equal(r.n_questions, cases[i].n_questions);
        assert_int_equal(r.questions[0].n_options, cases[i].n_options);
        decision_request_deinit(&r);
        json_decref(root);
        mem_free(body);
        body = many(cases[i].n_questions + !is_options, cases[i].type, cases[i].list, cases[i].key, cases[i].n_options + is_options);
        assert_refused(decisions_request_parse, body, 400, "invalid_value", cases[i].param);
        mem_free(body);
    }
}

/* ---- System One ---- */

static void a_system_one_request_is_read_whole(void **state) {
    (void)state;
    json_t *root = parsed("{\"state\":{\"text\":\"你好\"},\"diagnostics\":true,\"questions\":{"
                          "\"z\":{\"type\":\"noul\",\"instructions\":\"Angry?\",\"criteria\":{\"true\":\"shouts\"}},"
                          "\"a\":{\"type\":\"choice\",\"instructions\":{\"ask\":\"意图\"},\"criteria\":{\"b\":null,\"a\":\"first\"}},"
                          "\"m\":{\"type\":\"score\",\"instructions\":\"How?\",\"criteria\":[\"low\",\"high\"]}}}");
    decision_request r = accepted(systemone_request_parse, root);
    assert_string_equal(r.input.data, "{\"text\":\"你好\"}");
    assert_true(r.has_mass);
    assert_int_equal(r.n_questions, 3);
    assert_string_equal(r.questions[0].id, "z");
    assert_string_equal(r.questions[0].options[0].text, "yes");
    assert_string_equal(r.questions[0].options[0].description, "shouts");
    assert_null(r.questions[0].options[1].description);
    assert_string_equal(r.questions[1].instructions.data, "{\"ask\":\"意图\"}");
    assert_string_equal(r.questions[1].options[0].text, "b");
    assert_string_equal(r.questions[1].options[1].description, "first");
    assert_string_equal(r.questions[2].options[1].text, "high");
    decision_request_deinit(&r);
    json_decref(root);
}

#define STATE(question) "{\"state\":\"hi\",\"questions\":{\"q\":" question "}}"

static void bad_system_one_requests_name_their_field(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param;
    } cases[] = {
        {"{\"questions\":{\"q\":{\"type\":\"noul\",\"instructions\":\"a\"}}}", "missing", "state"},
        {"{\"state\":true,\"questions\":{}}", "invalid_type", "state"},
        {"{\"state\":\"\",\"questions\":{}}", "missing", "state"},
        {"{\"state\":\"hi\",\"questions\":{}}", "invalid_value", "questions"},
        {"{\"state\":\"hi\",\"questions\":[]}", "invalid_type", "questions"},
        {"{\"state\":\"hi\",\"diagnostics\":1,\"questions\":{}}", "invalid_type", "diagnostics"},
        {STATE("1"), "invalid_type", "questions.q"},
        {STATE("{\"type\":\"predicate\",\"instructions\":\"a\"}"), "invalid_value", "questions.q"},
        {STATE("{\"instructions\":\"a\"}"), "missing", "questions.q"},
        {STATE("{\"type\":\"noul\"}"), "missing", "questions.q.instructions"},
        {STATE("{\"type\":\"noul\",\"instructions\":\"a\",\"criteria\":[]}"), "invalid_type", "questions.q.criteria"},
        {STATE("{\"type\":\"noul\",\"instructions\":\"a\",\"criteria\":{\"true\":1}}"), "invalid_type", "questions.q.criteria"},
        {STATE("{\"type\":\"choice\",\"instructions\":\"a\"}"), "missing", "questions.q.criteria"},
        {STATE("{\"type\":\"choice\",\"instructions\":\"a\",\"criteria\":{\"x\":null}}"), "invalid_value", "questions.q.criteria"},
        {STATE("{\"type\":\"choice\",\"instructions\":\"a\",\"criteria\":{\"x\":null,\"\":null}}"), "invalid_value",
         "questions.q.criteria"},
        {STATE("{\"type\":\"score\",\"instructions\":\"a\",\"criteria\":[\"x\"]}"), "invalid_value", "questions.q.criteria"},
        {STATE("{\"type\":\"score\",\"instructions\":\"a\",\"criteria\":[\"x\",null]}"), "invalid_type", "questions.q.criteria"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(systemone_request_parse, cases[i].body, 400, cases[i].code, cases[i].param);
}

static void assert_survives_without_memory(parser parse, const char *body) {
    json_t *root = parsed(body);
    bool is_read = false;
    for (long n = 0; !is_read; n++) {
        failure f = {0};
        decision_request r;
        mem_fail_after(n);
        is_read = parse(&r, root, "fake", &f);
        mem_fail_after(-1);
        if (!is_read) assert_int_equal(f.status, 500);
        decision_request_deinit(&r);
        assert_true(n < 100);
    }
    json_decref(root);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    assert_survives_without_memory(
        decisions_request_parse,
        ASK("{\"type\":\"choice\",\"instructions\":[{\"type\":\"input_json\",\"data\":{\"a\":1}}],"
            "\"choices\":[{\"value\":\"x\"},{\"value\":true}]},"
            "{\"type\":\"score\",\"instructions\":\"a\",\"levels\":[{\"label\":\"b\"},{\"label\":\"c\"}]}," YES_NO));
    assert_survives_without_memory(systemone_request_parse,
                                   STATE("{\"type\":\"choice\",\"instructions\":\"a\",\"criteria\":{\"x\":null,\"y\":\"z\"}}"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_three_kinds_of_questions_are_read),  cmocka_unit_test(one_message_is_its_text_and_several_are_a_conversation),
        cmocka_unit_test(bad_decision_requests_name_their_field), cmocka_unit_test(the_documented_limits_hold_exactly),
        cmocka_unit_test(a_system_one_request_is_read_whole),     cmocka_unit_test(bad_system_one_requests_name_their_field),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("questions", tests, NULL, NULL);
}
