/* Reading a label: the log-probability of each label after the prompt, normalised over the labels.  Nothing is generated. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "tasks/internal.h"

struct label_read {
    const task *task;
    const calibration *calibration; /* or NULL */
    engine_job *job;
    size_t lengths[TASK_MAX_LABELS]; /* tokens a label */
};

static bool is_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n\f\v", text[i]) || !text[i]) return false;
    return true;
}

/* The labels as token lists, all in *tokens; ids[i] points into it. */
static qaio_status encode_labels(const resident *r, const task *t, token_list *tokens, id_list *ids, qaio_error *err) {
    size_t begin[TASK_MAX_LABELS + 1] = {0};
    for (size_t i = 0; i < t->n_labels; i++) {
        const char *text = t->labels[i].text;
        text_span literal = {0, strlen(text)};
        qaio_status status = tokenizer_encode(resident_tokenizer(r), text, literal.end, &literal, 1, tokens, err);
        if (status) return status;
        begin[i + 1] = tokens->n;
    }
    for (size_t i = 0; i < t->n_labels; i++) {
        size_t n = begin[i + 1] - begin[i];
        if (n == 0) return error_set(err, QAIO_ERR_ARGUMENT, "task %s: label %s has no tokens", t->name, t->labels[i].id);
        ids[i] = (id_list){tokens->ids + begin[i], t->score == SCORE_FIRST ? 1 : n};
    }
    return QAIO_OK;
}

qaio_status label_start(label_read **out, resident *r, const task *t, const char *text, size_t n, qaio_error *err) {
    if (t->kind != TASK_LABEL) return error_set(err, QAIO_ERR_ARGUMENT, "%s is not a label task", t->name);
    if (is_blank(text, n)) return error_set(err, QAIO_ERR_ARGUMENT, "the text is empty");
    token_list prompt = {0}, tokens = {0};
    id_list ids[TASK_MAX_LABELS];
    qaio_status status = QAIO_OK;
    label_read *read = mem_zalloc(sizeof *read);
    if (!read) return error_memory(err);
    const found_calibration *found = resident_calibration(r, t);
    read->task = t;
    read->calibration = found && found->is_used ? &found->stored.values : NULL;
    status = prompt_of_task(r, t, text, n, &prompt, err);
    if (!status) status = encode_labels(r, t, &tokens, ids, err);
    if (!status) {
        for (size_t i = 0; i < t->n_labels; i++) read->lengths[i] = ids[i].n;
        /* A mean divides by the label's length: only there does the constant that all labels share matter. */
        score_group group = {.continuations = ids, .n_continuations = t->n_labels, .is_relative = t->score != SCORE_MEAN};
        job_params params = {.kind = JOB_SCORE,
                             .prompt = prompt.ids,
                             .n_prompt = prompt.n,
                             .n_pin = task_prefix(r, t, &prompt),
                             .groups = &group,
                             .n_groups = 1};
        status = engine_submit(r->engine, &params, &read->job, err);
    }
    token_list_deinit(&prompt);
    token_list_deinit(&tokens);
    if (status)
        mem_free(read);
    else
        *out = read;
    return status;
}

void label_cancel(label_read *read) { engine_cancel(read->job); }

/* probabilities[i] = exp(score[i]) / sum */
static void normalise(double *probabilities, const double *scores, size_t n) {
    double top = scores[0], sum = 0;
    for (size_t i = 1; i < n; i++) top = scores[i] > top ? scores[i] : top;
    for (size_t i = 0; i < n; i++) sum += probabilities[i] = exp(scores[i] - top);
    for (size_t i = 0; i < n; i++) probabilities[i] /= sum;
}

qaio_status label_finish(label_read *read, label_answer *out, qaio_error *err) {
    const task *t = read->task;
    double scores[TASK_MAX_LABELS];
    job_result result;
    qaio_status status = engine_finish(read->job, scores, &result, err);
    if (!status) {
        *out = (label_answer){.task = t, .n_prompt = result.n_prompt, .n_cached = result.n_cached, .total_ms = result.total_ms};
        for (size_t i = 0; i < t->n_labels && t->score == SCORE_MEAN; i++) scores[i] /= (double)read->lengths[i];
        normalise(out->raw, scores, t->n_labels);
        memcpy(out->probabilities, out->raw, sizeof out->raw);
        out->is_calibrated = read->calibration != NULL;
        if (read->calibration) calibration_apply(read->calibration, t->n_labels, out->raw, out->probabilities);
        for (size_t i = 1; i < t->n_labels; i++)
            if (out->probabilities[i] > out->probabilities[out->label]) out->label = i;
        /* Also unsure where a broken model gives no number. */
        out->is_unsure = !(out->probabilities[out->label] >= t->abstain_below);
    }
    mem_free(read);
    return status;
}
