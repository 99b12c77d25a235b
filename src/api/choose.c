/* Questions that the application words. */
#include "api/internal.h"
#include "base/mem.h"
#include "tasks/decision.h"

static bool is_blank(const char *text) { return text[strspn(text, " \t\r\n\f\v")] == '\0'; }

/* A text that becomes part of the prompt. */
static qaio_status check_wording(const char *text, size_t max_bytes, const char *what, qaio_error *err) {
    size_t n = API_TERMINATED;
    qaio_status status = check_text(text, &n, what, err);
    if (status) return status;
    if (is_blank(text) || n > max_bytes)
        return error_set(err, QAIO_ERR_ARGUMENT, "%s must not be blank, nor longer than %zu bytes", what, max_bytes);
    return QAIO_OK;
}

static qaio_status take_options(decision_option *out, const qaio_option *options, size_t n, qaio_error *err) {
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < n && !status; i++) {
        size_t bytes = API_TERMINATED;
        out[i] = (decision_option){options[i].text, options[i].description};
        status = check_wording(options[i].text, DECISION_MAX_OPTION_BYTES, "an option", err);
        if (!status && options[i].description) status = check_text(options[i].description, &bytes, "a description", err);
    }
    return status;
}

static qaio_status decide(double *probabilities, resident *r, const decision_question *q, const char *text, size_t n, qaio_error *err) {
    decision *d;
    decision_answer answer;
    qaio_status status = decision_start(&d, r, q, text, n, err);
    if (!status) status = decision_finish(d, &answer, err);
    if (!status) memcpy(probabilities, answer.probabilities, q->n_options * sizeof *probabilities);
    return status;
}

qaio_status qaio_choose(double *probabilities, qaio_model *m, const char *instructions, const qaio_option *options, size_t n_options,
                        const char *text, size_t text_bytes, qaio_error *err) {
    if (!probabilities) return error_null(err, "probabilities");
    if (!m) return error_null(err, "model");
    if (!options) return error_null(err, "options");
    if (!text) return error_null(err, "text");
    if (n_options < 2 || n_options > DECISION_MAX_OPTIONS)
        return error_set(err, QAIO_ERR_ARGUMENT, "%zu options; a question has 2 to %d", n_options, DECISION_MAX_OPTIONS);
    decision_option taken[DECISION_MAX_OPTIONS];
    qaio_status status = check_wording(instructions, TASK_MAX_FILE_BYTES, "instructions", err);
    if (!status) status = take_options(taken, options, n_options, err);
    if (!status) status = check_text(text, &text_bytes, "the text", err);
    decision_question question = {.instructions = instructions, .options = taken, .n_options = n_options};
    return status ? status : decide(probabilities, m->resident, &question, text, text_bytes, err);
}

qaio_status qaio_is_true(double *probability, qaio_model *m, const char *instructions, const char *text, size_t text_bytes,
                         qaio_error *err) {
    if (!probability) return error_null(err, "probability");
    if (!instructions) return error_null(err, "instructions");
    double both[2];
    const qaio_option yes_or_no[] = {{decision_yes_or_no(instructions, true), NULL}, {decision_yes_or_no(instructions, false), NULL}};
    qaio_status status = qaio_choose(both, m, instructions, yes_or_no, 2, text, text_bytes, err);
    if (!status) *probability = both[0];
    return status;
}
