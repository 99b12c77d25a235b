/* From hidden states to results: logits of the rows that want them, LOGIT_ROWS at a time, then a drawn token or a score. */
#include <string.h>

#include "base/clock.h"
#include "engine/internal.h"

/* The n_top largest, by repeated search: n_top is small and this is only done when asked. */
static void fill_top(token_event *event, const float *logits, size_t vocab, int n_top, double log_sum) {
    for (int k = 0; k < n_top; k++) {
        size_t best = vocab;
        for (size_t i = 0; i < vocab; i++) {
            bool is_taken = false;
            if (best != vocab && !(logits[i] > logits[best])) continue;
            for (int j = 0; j < k; j++) is_taken |= event->top_tokens[j] == (int32_t)i;
            if (!is_taken) best = i;
        }
        if (best == vocab) best = 0; /* fewer tokens than n_top */
        event->top_tokens[k] = (int32_t)best;
        event->top_logprobs[k] = (float)((double)logits[best] - log_sum);
    }
}

static bool is_stop(const engine_job *job, int32_t token) {
    for (size_t i = 0; i < job->n_stop_tokens; i++)
        if (job->stop_tokens[i] == token) return true;
    return false;
}

/* Leaves of the logits what the job's mask allows; false: the job has ended. */
static bool constrain(engine_job *job, float *logits) {
    qaio_error err;
    bool is_over = false;
    qaio_status status = token_mask_apply(job->mask, job->stop_tokens, job->n_stop_tokens, logits, &is_over, &err);
    if (!status && !is_over) return true;
    job_end(job, status, FINISH_STOP, status ? &err : NULL);
    return false;
}

/* The mask goes on with the token; false: the job has ended. */
static bool follow(engine_job *job, int32_t token) {
    qaio_error err;
    qaio_status status = token_mask_advance(job->mask, token, &err);
    if (status) job_end(job, status, FINISH_STOP, &err);
    return !status;
}

/* Draws the next token of a job from its logits, which the mask and the sampler change. */
static void generate(engine_job *job, float *logits) {
    engine *e = job->engine;
    size_t vocab = model_description(e->model)->vocab_size;
    token_event event = {0};
    double log_sum = 0;
    if (job->n_top >= 0) {
        memcpy(e->raw_logits, logits, vocab * sizeof *logits);
        log_sum = e->kernels->log_sum_exp(logits, vocab);
        fill_top(&event, logits, vocab, job->n_top, log_sum);
    }
    if (job->mask && !constrain(job, logits)) return;
    event.token = sampler_next(job->sampler, e->kernels, logits);
    if (job->n_top >= 0) event.logprob = (float)((double)e->raw_logits[event.token] - log_sum);
    if (is_stop(job, event.token)) {
        job_end(job, QAIO_OK, FINISH_STOP, NULL);
        return;
    }
    if (job->mask && !follow(job, event.token)) return;
    job->ids[job->n_ids++] = event.token;
    pthread_mutex_lock(&e->lock);
    job->events[job->n_events++] = event;
    if (job->n_events == 1) job->first_ms = clock_ms();
    e->stats.n_generated_tokens++;
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&e->lock);
    if (job->mask && token_mask_is_complete(job->mask))
        job_end(job, QAIO_OK, FINISH_STOP, NULL);
    else if (job->n_ids - job->n_prompt == job->max_new)
        job_end(job, QAIO_OK, FINISH_LENGTH, NULL);
}

static void score(engine_job *job, uint32_t node, const float *logits) {
    engine *e = job->engine;
    int32_t tokens[ENGINE_MAX_LABELS];
    float chosen[ENGINE_MAX_LABELS];
    size_t n = score_tokens(&job->scores, node, tokens);
    for (size_t i = 0; i < n; i++) chosen[i] = logits[tokens[i]];
    score_fill(&job->scores, node, chosen, e->kernels->log_sum_exp(logits, model_description(e->model)->vocab_size));
    output_scores(job);
}

void output_scores(engine_job *job) {
    engine *e = job->engine;
    if (job->scores.n_points) return;
    pthread_mutex_lock(&e->lock);
    job->is_scored = true;
    job->scored_ms = clock_ms();
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&e->lock);
}

void output_rows(engine *e, const logit_row *rows, size_t n) {
    size_t stride = model_hidden_stride(e->model), vocab = model_description(e->model)->vocab_size;
    for (size_t first = 0; first < n; first += LOGIT_ROWS) {
        size_t count = n - first < LOGIT_ROWS ? n - first : LOGIT_ROWS;
        for (size_t i = 0; i < count; i++) memcpy(e->gathered + i * stride, rows[first + i].hidden, stride * sizeof(float));
        model_logits(e->model, e->gathered, count, e->logits);
        for (size_t i = 0; i < count; i++) {
            const logit_row *row = &rows[first + i];
            if (row->node == SCORE_NONE)
                generate(row->job, e->logits + i * vocab);
            else
                score(row->job, row->node, e->logits + i * vocab);
        }
    }
}

void output_relative(engine_job *job, uint32_t node, const float *hidden) {
    int32_t tokens[ENGINE_MAX_LABELS];
    float logits[ENGINE_MAX_LABELS];
    size_t n = score_tokens(&job->scores, node, tokens);
    model_logits_of(job->engine->model, hidden, 1, tokens, n, logits);
    score_fill(&job->scores, node, logits, 0);
    output_scores(job);
}
