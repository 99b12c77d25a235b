/* Reading a label: the log-probability of each label after the prompt, normalised over the labels.  Nothing is generated. */
#include "tasks/label.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

struct label_read {
    resident *r;
    const task *task;
    task_layout layout;
    const calibration *calibration; /* or NULL */
    score_source *source;
    size_t first;      /* its scores; with has_mass as many again, not relative */
    bool has_mass;     /* asked for */
    bool is_first;     /* of the reads of its prompt: counts the prompt's tokens */
    bool is_cancelled; /* said so to the source */
    size_t n_opening;
    size_t lengths[TASK_MAX_LABELS];    /* tokens a label */
    bool is_extension[TASK_MAX_LABELS]; /* it goes on from another label: not counted twice in the mass */
    label_read *prior;                  /* SCORE_PRIOR: of a text without content, where it is not known yet */
};

/* ---- jobs ---- */

qaio_status label_job_init(label_job *job, qaio_error *err) {
    job->n_groups = 0;
    if (!(job->source = mem_zalloc(sizeof *job->source))) return error_memory(err);
    job->source->n_users = 1;
    return QAIO_OK;
}

void label_job_deinit(label_job *job) { source_leave(job->source); }

static void find_extensions(label_read *read, const label_plan *plan) {
    size_t n = plan->task->n_labels;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n && !read->is_extension[i]; k++) {
            const id_list *a = &plan->labels[i], *b = &plan->labels[k];
            if (k == i || b->n > a->n || (b->n == a->n && k > i)) continue;
            read->is_extension[i] = memcmp(a->ids, b->ids, b->n * sizeof *b->ids) == 0;
        }
}

qaio_status label_job_add(label_job *job, resident *r, const label_plan *plan, bool has_mass, label_read **out, qaio_error *err) {
    score_source *s = job->source;
    const task *t = plan->task;
    size_t n = t->n_labels * (has_mass ? 2 : 1);
    double *scores = mem_realloc(s->scores, s->n_scores + n, sizeof *scores);
    if (scores) s->scores = scores;
    label_read *read = scores ? mem_zalloc(sizeof *read) : NULL;
    if (!read) return error_memory(err);
    const found_calibration *found = plan->layout == t->layout ? resident_calibration(r, t) : NULL;
    *read = (label_read){.r = r,
                         .task = t,
                         .layout = plan->layout,
                         .calibration = found && found->is_used ? &found->stored.values : NULL,
                         .source = s,
                         .first = s->n_scores,
                         .has_mass = has_mass,
                         .is_first = s->n_scores == 0,
                         .n_opening = plan->n_opening};
    for (size_t i = 0; i < t->n_labels; i++) read->lengths[i] = plan->labels[i].n;
    /* A mean divides by the label's length: only there does the constant that all labels share matter. */
    score_group group = {.opening = {plan->tokens.ids, plan->n_opening},
                         .continuations = plan->labels,
                         .n_continuations = t->n_labels,
                         .is_relative = t->score != SCORE_MEAN};
    job->groups[job->n_groups++] = group;
    if (has_mass) {
        find_extensions(read, plan);
        group.is_relative = false; /* beside the others, so that these keep their bits */
        job->groups[job->n_groups++] = group;
    }
    s->n_scores += n;
    s->n_users++;
    *out = read;
    return QAIO_OK;
}

score_source *label_job_is_reply(label_job *job, engine_job *of_reply) {
    job->source->job = of_reply;
    job->source->is_reply = true;
    job->source->n_users++;
    return job->source;
}

/* Also while its job runs. */
static void read_free(label_read *read) {
    if (!read) return;
    read_free(read->prior);
    source_leave(read->source);
    mem_free(read);
}

/* ---- starting ---- */

/* Whether two tasks are read after the same prompt. */
static bool is_together(const label_plan *a, const label_plan *b) {
    if (a == b) return true;
    if (a->layout != b->layout || a->layout == LAYOUT_OWN || a->layout == LAYOUT_PLAIN) return false;
    const char *x = a->task->analyst, *y = b->task->analyst;
    return a->layout == LAYOUT_PROBE || x == y || (x && y && strcmp(x, y) == 0);
}

static qaio_status submit(label_job *job, resident *r, const label_plan *plan, bool is_bulk, const char *text, size_t n, qaio_error *err) {
    token_list prompt = {0};
    qaio_status status = prompt_of_task(r, plan->task, plan->layout, text, n, &prompt, err);
    if (!status) {
        job_params params = {.kind = JOB_SCORE,
                             .prompt = prompt.ids,
                             .n_prompt = prompt.n,
                             .is_bulk = is_bulk,
                             .timeout_ms = r->timeout_ms,
                             .n_pin = task_prefix(r, plan->task, plan->layout, &prompt),
                             .groups = job->groups,
                             .n_groups = job->n_groups};
        status = engine_submit(r->engine, &params, &job->source->job, err);
    }
    token_list_deinit(&prompt);
    return status;
}

/* What the task says about a text without content, unless that is known. */
static qaio_status start_prior(label_read *read, resident *r, const label_plan *plan, qaio_error *err) {
    if (read->task->score != SCORE_PRIOR || prior_find(r, read->task, read->layout, NULL)) return QAIO_OK;
    label_job job;
    qaio_status status = label_job_init(&job, err);
    if (status) return status;
    status = label_job_add(&job, r, plan, false, &read->prior, err);
    if (!status) status = submit(&job, r, plan, false, "", 0, err); /* the model's own leaning, before it has read anything */
    label_job_deinit(&job);
    return status;
}

qaio_status label_job_add_together(label_job *job, label_read **reads, resident *r, const label_plan *plans, size_t first,
                                   const label_request *request, qaio_error *err) {
    qaio_status status = QAIO_OK;
    for (size_t i = first; i < request->n_tasks && !status; i++) {
        if (reads[i] || !is_together(&plans[first], &plans[i])) continue;
        status = label_job_add(job, r, &plans[i], request->has_mass, &reads[i], err);
        if (!status) status = start_prior(reads[i], r, &plans[i], err);
    }
    return status;
}

static qaio_status start_together(label_read **reads, resident *r, const label_plan *plans, size_t first, const label_request *request,
                                  const char *text, size_t n, qaio_error *err) {
    label_job job;
    qaio_status status = label_job_init(&job, err);
    if (status) return status;
    status = label_job_add_together(&job, reads, r, plans, first, request, err);
    if (!status) status = submit(&job, r, &plans[first], request->is_bulk, text, n, err);
    label_job_deinit(&job);
    return status;
}

qaio_status plans_start(label_read **reads, resident *r, const label_plan *plans, const label_request *request, const char *text, size_t n,
                        qaio_error *err) {
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < request->n_tasks && !status; i++)
        if (!reads[i]) status = start_together(reads, r, plans, i, request, text, n, err);
    return status;
}

void reads_free(label_read **reads, size_t n) {
    for (size_t i = 0; i < n; i++) {
        read_free(reads[i]);
        reads[i] = NULL;
    }
}

qaio_status labels_start(label_read **reads, resident *r, const label_request *request, const char *text, size_t n, qaio_error *err) {
    label_plan *plans;
    qaio_status status = plans_new(&plans, r, request, text, n, err);
    if (status) return status;
    memset(reads, 0, request->n_tasks * sizeof *reads);
    bool is_held = request->n_tasks > 1; /* one waits for no other */
    if (is_held) resident_hold(r);
    status = plans_start(reads, r, plans, request, text, n, err);
    if (is_held) resident_release(r);
    if (status) reads_free(reads, request->n_tasks);
    plans_free(plans, request->n_tasks);
    return status;
}

qaio_status label_start(label_read **out, resident *r, const task *t, const char *text, size_t n, qaio_error *err) {
    return labels_start(out, r, &(label_request){.tasks = &t, .n_tasks = 1}, text, n, err);
}

/* ---- finishing ---- */

void label_cancel(label_read *read) {
    if (read->is_cancelled) return;
    read->is_cancelled = true;
    source_cancel(read->source);
    if (read->prior) label_cancel(read->prior);
}

bool label_wait(label_read *read, int timeout_ms) {
    double begun_ms = clock_ms();
    if (!source_wait(read->source, timeout_ms)) return false;
    if (!read->prior) return true;
    double left_ms = timeout_ms < 0 ? timeout_ms : fmax(0, timeout_ms - (clock_ms() - begun_ms));
    return source_wait(read->prior->source, (int)left_ms);
}

/* probabilities[i] = exp(score[i]) / sum */
static void normalise(double *probabilities, const double *scores, size_t n) {
    double top = scores[0], sum = 0;
    for (size_t i = 1; i < n; i++) top = scores[i] > top ? scores[i] : top;
    for (size_t i = 0; i < n; i++) sum += probabilities[i] = exp(scores[i] - top);
    for (size_t i = 0; i < n; i++) probabilities[i] /= sum;
}

/* The read's own scores, waited for. */
static qaio_status take_scores(const label_read *read, const double **scores, qaio_error *err) {
    source_take(read->source);
    if (read->source->status && err) *err = read->source->error;
    *scores = read->source->scores + read->first;
    return read->source->status;
}

static qaio_status subtract_prior(const label_read *read, double *scores, qaio_error *err) {
    double prior[TASK_MAX_LABELS];
    const double *fresh;
    if (read->prior) {
        qaio_status status = take_scores(read->prior, &fresh, err);
        if (status) return status;
        memcpy(prior, fresh, read->task->n_labels * sizeof *prior);
        prior_keep(read->r, read->task, read->layout, prior);
    } else {
        prior_find(read->r, read->task, read->layout, prior);
    }
    for (size_t i = 0; i < read->task->n_labels; i++) scores[i] -= prior[i];
    return QAIO_OK;
}

/* Turns log-probabilities into what is normalised. */
static qaio_status weigh(const label_read *read, double *scores, qaio_error *err) {
    const task *t = read->task;
    for (size_t i = 0; i < t->n_labels && t->score == SCORE_MEAN; i++) scores[i] /= (double)read->lengths[i];
    return t->score == SCORE_PRIOR ? subtract_prior(read, scores, err) : QAIO_OK;
}

static double mass_of(const label_read *read, const double *logprobs) {
    double sum = 0;
    for (size_t i = 0; i < read->task->n_labels; i++)
        if (!read->is_extension[i]) sum += exp(logprobs[i]);
    return sum;
}

void label_answer_conclude(label_answer *a) {
    a->label = 0;
    for (size_t i = 1; i < a->task->n_labels; i++)
        if (a->probabilities[i] > a->probabilities[a->label]) a->label = i;
    /* Also unsure where a broken model gives no number. */
    a->is_unsure = !(a->probabilities[a->label] >= a->task->abstain_below);
}

static void fill_answer(label_answer *out, const label_read *read, const double *scores) {
    const task *t = read->task;
    const job_result *result = &read->source->result;
    bool counts_prompt = read->is_first && !read->source->is_reply;
    *out = (label_answer){.task = t,
                          .layout = read->layout,
                          .n_prompt = read->n_opening + (counts_prompt ? result->n_prompt : 0),
                          .n_cached = counts_prompt ? result->n_cached : 0,
                          .total_ms = result->scored_ms};
    normalise(out->raw, scores, t->n_labels);
    memcpy(out->probabilities, out->raw, sizeof out->raw);
    out->is_calibrated = read->calibration != NULL;
    if (read->calibration) calibration_apply(read->calibration, t->n_labels, out->raw, out->probabilities);
    label_answer_conclude(out);
}

qaio_status label_finish(label_read *read, label_answer *out, qaio_error *err) {
    double scores[TASK_MAX_LABELS];
    const double *logprobs;
    qaio_status status = take_scores(read, &logprobs, err);
    if (!status) {
        memcpy(scores, logprobs, read->task->n_labels * sizeof *scores);
        status = weigh(read, scores, err);
    }
    if (!status) {
        fill_answer(out, read, scores);
        out->has_mass = read->has_mass;
        if (read->has_mass) out->mass = mass_of(read, logprobs + read->task->n_labels);
    }
    read_free(read);
    return status;
}
