/* Questions that the application words. */
#include <math.h>

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

/* ---- many texts: started in order, as many at a time as DECISIONS_AHEAD, finished in order ---- */

#define DECISIONS_AHEAD (READS_AHEAD / DECISION_MAX_ORDERS)

typedef struct course {
    resident *resident;
    decision_question question;
    double *probabilities;         /* [n_texts, n_options] */
    qaio_status *statuses;         /* [n_texts], or NULL */
    decision *at[DECISIONS_AHEAD]; /* the i-th one started is at[i % DECISIONS_AHEAD] */
    size_t texts[DECISIONS_AHEAD]; /* of these */
    size_t n_started, n_finished;
    qaio_canceller *canceller;
} course;

/* What became of a text.  Only memory ends the course. */
static qaio_status put(course *c, size_t text, const decision_answer *answer, const qaio_error *why, qaio_error *err) {
    size_t n = c->question.n_options;
    if (why && why->status == QAIO_ERR_MEMORY) return error_memory(err);
    for (size_t i = 0; i < n; i++) c->probabilities[text * n + i] = answer ? answer->probabilities[i] : NAN;
    if (c->statuses) c->statuses[text] = why ? why->status : QAIO_OK;
    return QAIO_OK;
}

static qaio_status finish_first(course *c, qaio_error *err) {
    size_t i = c->n_finished % DECISIONS_AHEAD;
    decision_answer answer;
    qaio_error why;
    do {
        qaio_status status = check_cancelled(c->canceller, err);
        if (status) return status;
    } while (!decision_wait(c->at[i], poll_ms(c->canceller)));
    c->n_finished++;
    bool is_good = decision_finish(c->at[i], &answer, &why) == QAIO_OK;
    return put(c, c->texts[i], is_good ? &answer : NULL, is_good ? NULL : &why, err);
}

static qaio_status start_text(course *c, size_t text, const char *bytes, size_t n, qaio_error *err) {
    size_t i = c->n_started % DECISIONS_AHEAD;
    qaio_error why;
    qaio_status status = check_cancelled(c->canceller, err);
    if (!status && check_text(bytes, &n, "the text", &why)) return put(c, text, NULL, &why, err);
    if (!status && c->n_started - c->n_finished == DECISIONS_AHEAD) status = finish_first(c, err);
    while (!status) {
        qaio_status started = decision_start(&c->at[i], c->resident, &c->question, bytes, n, &why);
        if (started == QAIO_ERR_BUSY) {
            status = c->n_started > c->n_finished ? finish_first(c, err) : wait_for_others(c->canceller, err);
            continue;
        }
        if (started) return put(c, text, NULL, &why, err);
        c->texts[i] = text;
        c->n_started++;
        return QAIO_OK;
    }
    return status;
}

static void drop(course *c) {
    decision_answer unused;
    for (size_t i = c->n_finished; i < c->n_started; i++) decision_cancel(c->at[i % DECISIONS_AHEAD]);
    for (; c->n_finished < c->n_started; c->n_finished++) decision_finish(c->at[c->n_finished % DECISIONS_AHEAD], &unused, NULL);
}

/* ---- the calls ---- */

static qaio_status take_question(decision_question *q, decision_option *taken, const char *instructions, const qaio_option *options,
                                 size_t n_options, qaio_error *err) {
    if (!options) return error_null(err, "options");
    if (n_options < 2 || n_options > DECISION_MAX_OPTIONS)
        return error_set(err, QAIO_ERR_ARGUMENT, "%zu options; a question has 2 to %d", n_options, DECISION_MAX_OPTIONS);
    qaio_status status = check_wording(instructions, TASK_MAX_FILE_BYTES, "instructions", err);
    *q = (decision_question){.instructions = instructions, .options = taken, .n_options = n_options};
    return status ? status : take_options(taken, options, n_options, err);
}

qaio_status qaio_choose(double *probabilities, qaio_model *m, const char *instructions, const qaio_option *options, size_t n_options,
                        const char *text, size_t text_bytes, qaio_error *err) {
    if (!probabilities) return error_null(err, "probabilities");
    if (!m) return error_null(err, "model");
    if (!text) return error_null(err, "text");
    decision_option taken[DECISION_MAX_OPTIONS];
    decision_question question;
    decision *d;
    decision_answer answer;
    qaio_status status = take_question(&question, taken, instructions, options, n_options, err);
    if (!status) status = check_text(text, &text_bytes, "the text", err);
    if (!status) status = decision_start(&d, m->resident, &question, text, text_bytes, err);
    if (!status) status = decision_finish(d, &answer, err);
    if (!status) memcpy(probabilities, answer.probabilities, n_options * sizeof *probabilities);
    return status;
}

qaio_status qaio_choose_many(double *probabilities, qaio_status *statuses, qaio_model *m, const char *instructions,
                             const qaio_option *options, size_t n_options, const char *const *texts, const size_t *text_bytes,
                             size_t n_texts, qaio_canceller *canceller, qaio_error *err) {
    if (!probabilities && n_texts) return error_null(err, "probabilities");
    if (!m) return error_null(err, "model");
    if (!texts && n_texts) return error_null(err, "texts");
    decision_option taken[DECISION_MAX_OPTIONS];
    course c = {.resident = m->resident, .probabilities = probabilities, .statuses = statuses, .canceller = canceller};
    qaio_status status = take_question(&c.question, taken, instructions, options, n_options, err);
    if (!status) status = check_cancelled(canceller, err);
    for (size_t i = 0; i < n_texts && !status; i++) status = start_text(&c, i, texts[i], text_bytes ? text_bytes[i] : API_TERMINATED, err);
    while (c.n_finished < c.n_started && !status) status = finish_first(&c, err);
    drop(&c);
    return status;
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
