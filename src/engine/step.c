/* One step: rows of all active jobs -> one forward pass -> tokens and scores.
 *
 *   a job's life   prompt not computed:  pieces of it, label reads before replies, oldest first, as many rows as are left
 *                  generating:           one row, the token drawn last
 *                  scoring:              the continuations' rows (all but each last token), after the prompt
 *
 * Rows that decode come first, so that a long prompt slows running replies by one piece at a time. */
#include "base/clock.h"
#include "engine/internal.h"

#define PREFILL_ROWS_BESIDE_DECODE 64 /* how much of prompts goes into a step that running replies wait for */

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

static bool is_prompt_computed(const engine_job *job) { return job->kv.n_positions >= job->n_prompt; }

/* Branches fork the prompt when it is whole; a branch of one token needs no rows of its own. */
static qaio_status add_branches(step *st, engine_job *job, qaio_error *err) {
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < job->n_branches && !status && st->n_rows < MODEL_MAX_ROWS; i++) {
        score_branch *b = &job->branches[i];
        size_t n = b->n - 1 - b->n_computed, left = MODEL_MAX_ROWS - st->n_rows;
        if (n == 0) continue;
        if (n > left) n = left;
        if (b->n_computed == 0 && b->kv.n_positions == 0) status = kv_fork(&b->kv, &job->kv, job->n_prompt, err);
        if (!status) status = add_span(st, job, b, b->ids + b->n_computed, n, n, err);
    }
    return status;
}

static qaio_status add_prompt(step *st, engine_job *job, size_t *room, qaio_error *err) {
    size_t done = job->kv.n_positions, n = job->n_prompt - done, left = MODEL_MAX_ROWS - st->n_rows;
    if (left > *room) left = *room;
    bool is_last = n <= left;
    if (!is_last) n = left;
    *room -= n;
    return add_span(st, job, NULL, job->ids + done, n, is_last && (job->kind == JOB_GENERATE || job->n_branches), err);
}

static void gather_running(step *st) {
    for (size_t i = st->e->n_active; i-- > 0;) { /* backwards: job_end moves the last job into the gap */
        engine_job *job = st->e->active[i];
        qaio_error err;
        qaio_status status;
        if (!is_prompt_computed(job)) continue;
        size_t n_spans = st->n_spans, n_rows = st->n_rows;
        if (job->kind == JOB_SCORE)
            status = add_branches(st, job, &err);
        else
            status = add_span(st, job, NULL, job->ids + job->kv.n_positions, 1, 1, &err);
        if (!status) continue;
        st->n_spans = n_spans; /* its sequences are about to go */
        st->n_rows = n_rows;
        job_end(job, status, FINISH_CANCELLED, &err);
    }
}

static void gather_prompts(step *st, job_kind kind, size_t *room) {
    engine *e = st->e;
    for (size_t i = 0; i < e->n_active && *room && st->n_rows < MODEL_MAX_ROWS;) {
        engine_job *job = e->active[i];
        qaio_error err;
        qaio_status status = QAIO_OK;
        if (job->kind == kind && !is_prompt_computed(job)) status = add_prompt(st, job, room, &err);
        if (status)
            job_end(job, status, FINISH_CANCELLED, &err);
        else
            i++;
    }
}

static void end_cancelled(engine *e) {
    for (size_t i = e->n_active; i-- > 0;) {
        pthread_mutex_lock(&e->lock);
        bool is_cancelled = e->active[i]->is_cancelled;
        pthread_mutex_unlock(&e->lock);
        if (!is_cancelled) continue;
        qaio_error err;
        error_set(&err, QAIO_ERR_CANCELLED, "cancelled");
        bool is_reply = e->active[i]->kind == JOB_GENERATE; /* what was generated so far is a result */
        job_end(e->active[i], is_reply ? QAIO_OK : QAIO_ERR_CANCELLED, FINISH_CANCELLED, &err);
    }
}

/* Counts the rows as computed and collects those whose logits are wanted. */
static size_t collect(step *st, logit_row *rows) {
    const float *hidden = st->e->hidden;
    size_t stride = model_hidden_stride(st->e->model), n = 0;
    for (size_t i = 0; i < st->n_spans; i++) {
        engine_job *job = st->owners[i];
        score_branch *b = st->branches[i];
        (b ? &b->kv : &job->kv)->n_positions += st->spans[i].n_tokens;
        bool is_relative = !b && job->kind == JOB_SCORE && job->is_relative;
        for (size_t k = 0; k < st->spans[i].n_outputs; k++, hidden += stride) {
            if (is_relative)
                output_relative(st->e, job, hidden);
            else
                rows[n++] = (logit_row){job, b, b ? b->n_computed + k + 1 : 0, hidden};
        }
        if (b) b->n_computed += st->spans[i].n_tokens;
    }
    return n;
}

static bool is_scored(const engine_job *job) {
    if (job->kind != JOB_SCORE || !is_prompt_computed(job)) return false;
    for (size_t i = 0; i < job->n_branches; i++)
        if (job->branches[i].n_computed < job->branches[i].n - 1) return false;
    return true;
}

void engine_step(engine *e) {
    step st = {.e = e};
    logit_row rows[MODEL_MAX_ROWS];
    end_cancelled(e);
    gather_running(&st);
    size_t room = st.n_rows ? PREFILL_ROWS_BESIDE_DECODE : MODEL_MAX_ROWS;
    gather_prompts(&st, JOB_SCORE, &room);
    gather_prompts(&st, JOB_GENERATE, &room);
    if (st.n_rows == 0) return;
    model_forward(e->model, st.spans, st.n_spans, e->hidden, NULL, NULL);
    output_rows(e, rows, collect(&st, rows));
    for (size_t i = e->n_active; i-- > 0;)
        if (is_scored(e->active[i])) job_end(e->active[i], QAIO_OK, FINISH_STOP, NULL);
}
