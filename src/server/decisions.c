/* POST /v1/decisions: questions about an input, in OpenAI's wire format. */
#include <stdio.h>

#include "server/decision_input.h"
#include "server/generation.h"
#include "server/internal.h"
#include "server/questions.h"

#define PARAM_BYTES 64

/* ---- the request ---- */

/* Choices are told apart by value and type: "true" is not true. */
static bool is_repeated(const json_t *choices, size_t i) {
    const json_t *value = json_object_get(json_array_get(choices, i), "value");
    for (size_t k = 0; k < i; k++)
        if (json_equal(json_object_get(json_array_get(choices, k), "value"), value)) return true;
    return false;
}

/* The options of a list of objects; key: the field that names one. */
static bool parse_options(question *q, const json_t *list, const char *key, size_t max, const char *param, failure *f) {
    if (!json_is_array(list))
        return failure_set(f, 400, list ? "invalid_type" : "missing", param, "%s must be a list of objects with a %s", param, key);
    if (!options_alloc(q, json_array_size(list), max, param, f)) return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *option = json_array_get(list, i), *value = json_object_get(option, key);
        bool is_choice = q->kind == QUESTION_CHOICE;
        if (!json_is_string(value) && !(is_choice && json_is_boolean(value)))
            return failure_set(f, 400, "invalid_type", param, "the %s of option %zu must be a string%s", key, i,
                               is_choice ? ", true or false" : "");
        if (is_choice && is_repeated(list, i)) return failure_set(f, 400, "invalid_value", param, "option %zu is there twice", i);
        if (!option_add(q, value, json_object_get(option, "description"), param, f)) return false;
    }
    return true;
}

static bool parse_kind(question *q, const json_t *source, const char *param, failure *f) {
    const json_t *type = json_object_get(source, "type");
    char list_param[PARAM_BYTES];
    if (json_is_text(type, "predicate")) {
        q->kind = QUESTION_YES_NO;
        return options_of_yes_no(q, NULL, NULL, param, f);
    }
    if (json_is_text(type, "choice")) {
        q->kind = QUESTION_CHOICE;
        snprintf(list_param, sizeof list_param, "%s.choices", param);
        return parse_options(q, field_given(source, "choices"), "value", DECISION_MAX_OPTIONS, list_param, f);
    }
    if (json_is_text(type, "score")) {
        q->kind = QUESTION_SCORE;
        snprintf(list_param, sizeof list_param, "%s.levels", param);
        return parse_options(q, field_given(source, "levels"), "label", MAX_LEVELS, list_param, f);
    }
    snprintf(list_param, sizeof list_param, "%s.type", param);
    return failure_set(f, 400, type ? "invalid_value" : "missing", list_param, "the type of a question is predicate, choice or score");
}

static bool parse_question(question *q, const json_t *source, const char *param, failure *f) {
    char field[PARAM_BYTES];
    if (!json_is_object(source)) return failure_set(f, 400, "invalid_type", param, "a question must be an object");
    q->source = source;
    const json_t *name = field_given(source, "name");
    snprintf(field, sizeof field, "%s.name", param);
    if (name && !json_is_string(name)) return failure_set(f, 400, "invalid_type", field, "the name of a question must be a string");
    snprintf(field, sizeof field, "%s.instructions", param);
    return input_parts(&q->instructions, field_given(source, "instructions"), field, f) && instructions_check(q, field, f) &&
           parse_kind(q, source, param, f);
}

bool decisions_request_parse(decision_request *out, const json_t *root, const char *model_name, failure *f) {
    *out = (decision_request){0};
    const json_t *questions = field_given(root, "questions");
    if (!model_check(root, model_name, f) || !input_messages(&out->input, field_given(root, "input"), "input", f) ||
        !input_check(out, "input", f))
        return false;
    if (!json_is_array(questions))
        return failure_set(f, 400, questions ? "invalid_type" : "missing", "questions", "questions must be a list of objects");
    if (!questions_alloc(out, json_array_size(questions), "questions", f)) return false;
    while (out->n_questions < json_array_size(questions)) {
        char param[32];
        size_t i = out->n_questions++;
        snprintf(param, sizeof param, "questions[%zu]", i);
        if (!parse_question(&out->questions[i], json_array_get(questions, i), param, f)) return false;
    }
    return true;
}

/* ---- the answers ---- */

static json_t *choice_probabilities(const question *q, const decision_answer *a) {
    json_t *list = json_array();
    const json_t *choices = json_object_get(q->source, "choices");
    for (size_t i = 0; i < q->n_options; i++)
        json_array_append_new(list, json_pack("{s:O, s:f}", "value", json_object_get(json_array_get(choices, i), "value"), "probability",
                                              a->probabilities[i]));
    return list;
}

static json_t *level_probabilities(const question *q, const decision_answer *a) {
    json_t *list = json_array();
    for (size_t i = 0; i < q->n_options; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:f}", "label", q->options[i].text, "value", (json_int_t)i, "probability", a->probabilities[i]));
    return list;
}

static json_t *answer_of(const question *q, const decision_answer *a) {
    json_t *name = json_object_get(q->source, "name");
    const json_t *choices = json_object_get(q->source, "choices");
    switch (q->kind) {
    case QUESTION_YES_NO:
        return json_pack("{s:s, s:O?, s:f}", "type", "predicate", "name", name, "probability", a->probabilities[0]);
    case QUESTION_CHOICE:
        return json_pack("{s:s, s:O?, s:O, s:f, s:o}", "type", "choice", "name", name, "choice",
                         json_object_get(json_array_get(choices, a->best), "value"), "confidence", a->confidence, "probabilities",
                         choice_probabilities(q, a));
    default:
        return json_pack("{s:s, s:O?, s:f, s:f, s:o}", "type", "score", "name", name, "score", a->expected, "confidence", a->confidence,
                         "probabilities", level_probabilities(q, a));
    }
}

static bool say(json_t *answers, const decision_request *r, const question *q, const decision_answer *a) {
    (void)r;
    return json_array_append_new(answers, answer_of(q, a)) == 0;
}

void handle_decisions(exchange *x) { questions_handle(x, decisions_request_parse, "input", say, json_array()); }
