/* POST /v1/systemone: the same questions in the System One wire format, where ids name questions and criteria describe options. */
#include <stdio.h>

#include "server/decision_input.h"
#include "server/generation.h"
#include "server/internal.h"
#include "server/questions.h"

#define PARAM_BYTES 64

/* ---- the request ---- */

/* Optional: what true and false mean. */
static bool parse_noul(question *q, const json_t *criteria, const char *param, failure *f) {
    if (criteria && !json_is_object(criteria))
        return failure_set(f, 400, "invalid_type", param, "criteria of a noul question must be an object with true and false");
    return options_of_yes_no(q, json_object_get(criteria, "true"), json_object_get(criteria, "false"), param, f);
}

static bool parse_choice(question *q, json_t *criteria, const char *param, failure *f) {
    if (!json_is_object(criteria))
        return failure_set(f, 400, criteria ? "invalid_type" : "missing", param,
                           "criteria of a choice question must be an object of options and their descriptions");
    if (!options_alloc(q, json_object_size(criteria), DECISION_MAX_OPTIONS, param, f)) return false;
    const char *key;
    json_t *description;
    json_object_foreach(criteria, key, description) {
        json_t *value = json_string(key);
        if (!value) return failure_memory(f);
        bool is_good = option_add(q, value, description, param, f);
        json_decref(value);
        if (!is_good) return false;
        q->options[q->n_options - 1].text = key; /* what lives as long as the request */
    }
    return true;
}

static bool parse_score(question *q, const json_t *criteria, const char *param, failure *f) {
    if (!json_is_array(criteria))
        return failure_set(f, 400, criteria ? "invalid_type" : "missing", param, "criteria of a score question must be a list of levels");
    if (!options_alloc(q, json_array_size(criteria), MAX_LEVELS, param, f)) return false;
    for (size_t i = 0; i < json_array_size(criteria); i++) {
        const json_t *level = json_array_get(criteria, i);
        if (!json_is_string(level)) return failure_set(f, 400, "invalid_type", param, "level %zu must be a string", i);
        if (!option_add(q, level, NULL, param, f)) return false;
    }
    return true;
}

static bool parse_question(question *q, json_t *source, const char *param, failure *f) {
    char field[PARAM_BYTES];
    if (!json_is_object(source)) return failure_set(f, 400, "invalid_type", param, "a question must be an object");
    const json_t *type = json_object_get(source, "type");
    q->source = source;
    snprintf(field, sizeof field, "%.40s.instructions", param);
    if (!input_json(&q->instructions, field_given(source, "instructions"), field, f) || !instructions_check(q, field, f)) return false;
    snprintf(field, sizeof field, "%.40s.criteria", param);
    json_t *criteria = field_given(source, "criteria");
    q->kind = json_is_text(type, "choice") ? QUESTION_CHOICE : json_is_text(type, "score") ? QUESTION_SCORE : QUESTION_YES_NO;
    if (q->kind == QUESTION_CHOICE) return parse_choice(q, criteria, field, f);
    if (q->kind == QUESTION_SCORE) return parse_score(q, criteria, field, f);
    if (json_is_text(type, "noul")) return parse_noul(q, criteria, field, f);
    return failure_set(f, 400, type ? "invalid_value" : "missing", param, "the type of a question is noul, choice or score");
}

bool systemone_request_parse(decision_request *out, const json_t *root, const char *model_name, failure *f) {
    *out = (decision_request){0};
    json_t *questions = field_given(root, "questions");
    if (!model_check(root, model_name, f) || !field_bool(root, "diagnostics", &out->has_mass, f) ||
        !input_json(&out->input, field_given(root, "state"), "state", f) || !input_check(out, "state", f))
        return false;
    if (!json_is_object(questions))
        return failure_set(f, 400, questions ? "invalid_type" : "missing", "questions", "questions must be an object of questions by id");
    if (!questions_alloc(out, json_object_size(questions), "questions", f)) return false;
    const char *id;
    json_t *source;
    json_object_foreach(questions, id, source) {
        char param[PARAM_BYTES];
        question *q = &out->questions[out->n_questions++];
        q->id = id;
        snprintf(param, sizeof param, "questions.%.30s", id);
        if (!parse_question(q, source, param, f)) return false;
    }
    return true;
}

/* ---- the answers ---- */

/* By the option's text, or by its place. */
static json_t *probabilities(const question *q, const decision_answer *a) {
    json_t *object = json_object();
    for (size_t i = 0; i < q->n_options; i++) {
        char place[24];
        snprintf(place, sizeof place, "%zu", i);
        json_object_set_new(object, q->kind == QUESTION_SCORE ? place : q->options[i].text, json_real(a->probabilities[i]));
    }
    return object;
}

static json_t *legend(const question *q) {
    json_t *object = json_object();
    for (size_t i = 0; i < q->n_options; i++) {
        char place[24];
        snprintf(place, sizeof place, "%zu", i);
        json_object_set_new(object, place, json_string(q->options[i].text));
    }
    return object;
}

static json_t *answer_of(const question *q, const decision_answer *a) {
    switch (q->kind) {
    case QUESTION_YES_NO:
        return json_pack("{s:s, s:f}", "type", "noul", "noul", a->probabilities[0]);
    case QUESTION_CHOICE:
        return json_pack("{s:s, s:s, s:f, s:o}", "type", "choice", "choice", q->options[a->best].text, "confidence", a->confidence,
                         "probabilities", probabilities(q, a));
    default:
        return json_pack("{s:s, s:f, s:f, s:o, s:o}", "type", "score", "score", a->expected, "confidence", a->confidence, "legend",
                         legend(q), "probabilities", probabilities(q, a));
    }
}

static bool say(json_t *answers, const decision_request *r, const question *q, const decision_answer *a) {
    json_t *answer = answer_of(q, a);
    if (answer && r->has_mass) json_object_set_new(answer, "label_mass", json_real(a->mass));
    return json_object_set_new(answers, q->id, answer) == 0;
}

void handle_systemone(exchange *x) { questions_handle(x, systemone_request_parse, "state", say, json_object()); }
