/* Questions about one input: what both wire formats need to read them, and their course. */
#include "server/questions.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/generation.h"
#include "server/internal.h"

#define DECISIONS_AHEAD 8 /* at the same time; each is up to DECISION_MAX_ORDERS reads */

/* ---- for the parsers ---- */

static bool is_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!text[i] || !strchr(" \t\r\n\f\v", text[i])) return false;
    return true;
}

bool questions_alloc(decision_request *out, size_t n, const char *param, failure *f) {
    if (n == 0 || n > MAX_QUESTIONS)
        return failure_set(f, 400, "invalid_value", param, "%zu questions; a request has 1 to %d", n, MAX_QUESTIONS);
    if (!(out->questions = mem_array(n, sizeof *out->questions))) return failure_memory(f);
    return true;
}

bool options_alloc(question *q, size_t n, size_t max, const char *param, failure *f) {
    if (n < MIN_OPTIONS || n > max)
        return failure_set(f, 400, "invalid_value", param, "%zu options; this question takes %d to %zu", n, MIN_OPTIONS, max);
    if (!(q->options = mem_array(n, sizeof *q->options))) return failure_memory(f);
    return true;
}

/* Borrows a string that becomes part of a prompt. */
static bool text_of(const char **out, const json_t *value, const char *what, const char *param, failure *f) {
    if (!json_is_string(value)) return failure_set(f, 400, "invalid_type", param, "%s must be a string", what);
    size_t n = json_string_length(value);
    *out = json_string_value(value);
    if (strlen(*out) != n) return failure_set(f, 400, "invalid_value", param, "%s must not have NUL characters", what);
    return true;
}

bool option_add(question *q, const json_t *value, const json_t *description, const char *param, failure *f) {
    decision_option *option = &q->options[q->n_options];
    if (json_is_boolean(value))
        option->text = decision_yes_or_no(q->instructions.data, json_is_true(value));
    else if (!text_of(&option->text, value, "an option", param, f))
        return false;
    size_t n = strlen(option->text);
    if (is_blank(option->text, n) || n > DECISION_MAX_OPTION_BYTES)
        return failure_set(f, 400, "invalid_value", param, "an option must have 1 to %d bytes and not be blank", DECISION_MAX_OPTION_BYTES);
    if (description && !json_is_null(description) && !text_of(&option->description, description, "a description", param, f)) return false;
    q->n_options++;
    return true;
}

bool options_of_yes_no(question *q, const json_t *yes, const json_t *no, const char *param, failure *f) {
    return options_alloc(q, 2, 2, param, f) && option_add(q, json_true(), yes, param, f) && option_add(q, json_false(), no, param, f);
}

bool instructions_check(const question *q, const char *param, failure *f) {
    const str *text = &q->instructions;
    if (text->failed) return failure_memory(f);
    if (!text->data || is_blank(text->data, text->len))
        return failure_set(f, 400, "missing", param, "a question needs instructions that are not empty");
    if (strlen(text->data) != text->len) return failure_set(f, 400, "invalid_value", param, "instructions must not have NUL characters");
    return true;
}

bool input_check(const decision_request *r, const char *param, failure *f) {
    if (r->input.failed) return failure_memory(f);
    if (!r->input.data || is_blank(r->input.data, r->input.len))
        return failure_set(f, 400, "missing", param, "%s is missing or empty", param);
    return true;
}

void decision_request_deinit(decision_request *r) {
    for (size_t i = 0; i < r->n_questions; i++) {
        str_deinit(&r->questions[i].instructions);
        mem_free(r->questions[i].options);
    }
    mem_free(r->questions);
    str_deinit(&r->input);
    *r = (decision_request){0};
}

/* ---- the course ---- */

/* Several decisions on their way: started in order, finished in order. */
typedef struct wave {
    decision *at[DECISIONS_AHEAD]; /* the i-th question's is at[i % DECISIONS_AHEAD] */
    size_t n_started, n_finished;
} wave;

static void wave_deinit(wave *w) {
    decision_answer unused;
    for (size_t i = w->n_finished; i < w->n_started; i++) decision_cancel(w->at[i % DECISIONS_AHEAD]);
    for (size_t i = w->n_finished; i < w->n_started; i++) decision_finish(w->at[i % DECISIONS_AHEAD], &unused, NULL);
}

/* Starts what there is room for.  A full queue is no failure while decisions of our own are about to leave it. */
static qaio_status start_decisions(wave *w, resident *r, const decision_request *request, qaio_error *err) {
    qaio_status status = QAIO_OK;
    resident_hold(r);
    while (!status && w->n_started < request->n_questions && w->n_started - w->n_finished < DECISIONS_AHEAD) {
        const question *q = &request->questions[w->n_started];
        const decision_question asked = {
            .instructions = q->instructions.data, .options = q->options, .n_options = q->n_options, .has_mass = request->has_mass};
        status = decision_start(&w->at[w->n_started % DECISIONS_AHEAD], r, &asked, request->input.data, request->input.len, err);
        if (!status) w->n_started++;
    }
    resident_release(r);
    return status == QAIO_ERR_BUSY && w->n_started > w->n_finished ? QAIO_OK : status;
}

static bool failed_at(failure *f, const qaio_error *err, size_t index, const char *input_param) {
    char param[32];
    snprintf(param, sizeof param, "questions[%zu]", index);
    return failure_from(f, err, err->status == QAIO_ERR_LIMIT ? input_param : param);
}

/* Nothing is kept of a question that may never come again. */
static json_t *usage_of(size_t n_prompt, size_t n_cached) {
    return json_pack("{s:I, s:{s:I, s:i}, s:i, s:{s:i}, s:I}", "input_tokens", (json_int_t)n_prompt, "input_tokens_details",
                     "cached_tokens", (json_int_t)n_cached, "cache_write_tokens", 0, "output_tokens", 0, "output_tokens_details",
                     "reasoning_tokens", 0, "total_tokens", (json_int_t)n_prompt);
}

bool questions_answer(exchange *x, const decision_request *r, const char *input_param, answer_sayer say, json_t *answers, json_t **usage,
                      failure *f) {
    wave w = {0};
    qaio_error err;
    size_t n_prompt = 0, n_cached = 0;
    bool is_good = true;
    while (is_good && w.n_finished < r->n_questions) {
        if (start_decisions(&w, x->resident, r, &err)) {
            is_good = failed_at(f, &err, w.n_started, input_param);
            break;
        }
        decision_answer answer;
        if (!exchange_await_decision(x, w.at[w.n_finished % DECISIONS_AHEAD])) {
            is_good = failure_over(f);
            break;
        }
        size_t i = w.n_finished++;
        if (decision_finish(w.at[i % DECISIONS_AHEAD], &answer, &err))
            is_good = failed_at(f, &err, i, input_param);
        else if (!say(answers, r, &r->questions[i], &answer))
            is_good = failure_memory(f);
        else if (w.n_finished < r->n_questions && exchange_is_over(x))
            is_good = failure_over(f);
        n_prompt += answer.n_prompt;
        n_cached += answer.n_cached;
    }
    wave_deinit(&w);
    if (is_good && !(*usage = usage_of(n_prompt, n_cached))) is_good = failure_memory(f);
    return is_good;
}

void questions_handle(exchange *x, bool (*parse)(decision_request *out, const json_t *root, const char *model_name, failure *f),
                      const char *input_param, answer_sayer say, json_t *answers) {
    failure f;
    decision_request request = {0};
    json_t *usage = NULL, *root = request_parse(x->body.data, x->body.len, &f);
    const char *name = resident_model_name(x->resident);
    bool is_good = root && (answers || failure_memory(&f)) && parse(&request, root, name, &f) &&
                   questions_answer(x, &request, input_param, say, answers, &usage, &f);
    if (is_good)
        answer_json(x, MHD_HTTP_OK, json_pack("{s:s, s:O, s:O}", "model", name, "answers", answers, "usage", usage));
    else
        answer_failure(x, &f);
    json_decref(usage);
    json_decref(answers);
    decision_request_deinit(&request);
    json_decref(root);
}
