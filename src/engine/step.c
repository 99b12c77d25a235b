/* One step: rows of all active jobs -> one forward pass -> tokens and scores.
 *
 *   a job's life   prompt not computed:  pieces of it, oldest job first, as many rows as are left
 *                  generating:           one row, the token drawn last
 *                  scoring:              the branches' rows (all but each last token), after the prompt
 *
 * Rows that decode come first, so that a long prompt slows running replies by one piece at a time. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "engine/internal.h"

#define PREFILL_ROWS_BESIDE_DECODE 64 /* how much of a prompt goes into a step that others wait for */

typedef struct step {
    engine *e;
    model_span spans[MODEL_MAX_ROWS];
    engine_job *owners[MODEL_MAX_ROWS];
    score_branch *branches[MODEL_MAX_ROWS]; /* NULL: the job's own sequence */
    size_t n_spans, n_rows;
} step;

static qaio_status reserve(engine *e, kv_sequence *s, size_t n, qaio_error *err) {
    qaio_status status;
    while ((status = kv_reserve(&e->kv, s, n, err)) == QAIO_ERR_LIMIT && cache_evict(&e->cache, &e->kv)) continue;
    return status;
}

/* Adds n rows of a sequence; hidden states of the last n_outputs are wanted. */
static qaio_status add_span(step *st, engine_job *job, score_branch *branch, const int32_t *tokens, size_t n, size_t n_outputs,
                            qaio_error *err) {
    kv_sequence *kv = branch ? &branch->kv : &job->kv;
    qaio_status status = reserve(st->e, kv, n, err);
    if (status) return status;
    size_t i = st->n_spans++;
    st->spans[i] = (model_span){tokens, n, kv->n_positions, kv->data, n_outputs};
    st->owners[i] = job;
    st->branches[i] = branch;
    st->n_rows += n;
    return QAIO_OK;
}

static bool is_prompt_computed(const engine_job *job) { return job->n_computed >= job->n_prompt; }

/* Branches fork the prompt when it is whole; a branch of one token needs no rows of its own. */
static qaio_status add_branches(step *st, engine_job *job, qaio_error *err) {
    for (size_t i = 0; i < job->n_branches; i++) {
        score_branch *b = &job->branches[i];
        size_t n = b->n - 1;
        if (n == 0 || b->kv.n_positions > job->n_prompt || st->n_rows + n > MODEL_MAX_ROWS) continue;
        qaio_status status = b->kv.n_blocks ? QAIO_OK : kv_fork(&b->kv, &job->kv, job->n_prompt, err);
        if (!status) status = add_span(st, job, b, b->ids, n, n, err);
        if (status) return status;
    }
    return QAIO_OK;
}

static void gather(step *st) {
    engine *e = st->e;
    qaio_error err;
    for (size_t i = e->n_active; i-- > 0;) { /* backwards: job_end moves the last job into the gap */
        engine_job *job = e->active[i];
        qaio_status status = QAIO_OK;
        if (!is_prompt_computed(job)) continue;
        if (job->kind == JOB_SCORE)
            status = add_branches(st, job, &err);
        else
            status = add_span(st, job, NULL, job->ids + job->n_computed, 1, 1, &err);
        if (status) job_end(job, status, FINISH_CANCELLED, &err);
    }
    size_t room = st->n_rows ? PREFILL_ROWS_BESIDE_DECODE : MODEL_MAX_ROWS;
    for (size_t i = 0; i < e->n_active && room && st->n_rows < MODEL_MAX_ROWS; i++) {
        engine_job *job = e->active[i];
        if (is_prompt_computed(job)) continue;
        size_t n = job->n_prompt - job->n_computed, left = MODEL_MAX_ROWS - st->n_rows;
        if (left > room) left = room;
        bool is_last = n <= left;
        if (!is_last) n = left;
        qaio_status status = add_span(st, job, NULL, job->ids + job->n_computed, n, is_last, &err);
        if (status)
            job_end(job, status, FINISH_CANCELLED, &err), i--;
        else
            room -= n;
    }
}

static double logprob_of(const float *logits, double log_sum, int32_t token) { return (double)logits[token] - log_sum; }

/* The n_top largest, by repeated search: n_top is small and this is only done when asked. */
static void fill_top(token_event *event, const float *logits, size_t vocab, int n_top, double log_sum) {
    for (int k = 0; k < n_top; k++) {
        size_t best = vocab;
        for (size_t i = 0; i < vocab; i++) {
            bool is_taken = false;
            if (best != vocab && logits[i] <= logits[best]) continue;
            for (int j = 0; j < k; j++) is_taken |= event->top_tokens[j] == (int32_t)i;
            if (!is_taken) best = i;
        }
        event->top_tokens[k] = (int32_t)best;
        event->top_logprobs[k] = (float)logprob_of(logits, log_sum, (int32_t)best);
    }
}

static bool is_stop(const engine_job *job, int32_t token) {
    for (size_t i = 0; i < job->n_stop_tokens; i++)
        if (job->stop_tokens[i] == token) return true;
    return false;
}

/* Draws the next token of a job from its logits. */
static void generate(engine_job *job, float *logits) {
    engine *e = job->engine;
    size_t vocab = model_description(e->model)->vocab_size;
    token_event event = {0};
    double log_sum = 0;
    if (job->n_top >= 0) {
        log_sum = e->kernels->log_sum_exp(logits, vocab);
        fill_top(&event, logits, vocab, job->n_top, log_sum);
    }
    float *raw = NULL;
    (void)raw;
    int32_t before_sampling = -1;
    (void)before_sampling;
    event.token = sampler_next(job->sampler, e->kernels, logits);
    event.logprob = job->n_top >= 0 ? (float)logprob_of(logits, log_sum, event.token) : 0;
    if (is_stop(job, event.token)) {
        job_end(job, QAIO_OK, FINISH_STOP, NULL);
        return;
    }
    job->ids[job->n_ids++] = event.token;
    pthread_mutex_lock(&e->lock);
    job->events[job->n_events++] = event;
    if (job->n_events == 1) job->first_ms = clock_ms();
    e->stats.n_generated_tokens++;
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&e->lock);
    if (job->n_ids - job->n_prompt == job->max_new) job_end(job, QAIO_OK, FINISH_LENGTH, NULL);
}
