/* What engine.c (jobs, callers) and step.c (the engine's thread) share. */
#ifndef QAIO_ENGINE_INTERNAL_H
#define QAIO_ENGINE_INTERNAL_H

#include <pthread.h>

#include "engine/cache.h"
#include "engine/engine.h"

#define LOGIT_ROWS 16 /* rows of full logits at a time */

/* One continuation of a score job: its own fork, computed in one step. */
typedef struct score_branch {
    int32_t *ids; /* into the job's storage */
    size_t n;
    kv_sequence kv;
    double logprob;
} score_branch;

struct engine_job {
    engine *engine;
    engine_job *next; /* in the queue */
    job_kind kind;
    bool pin, is_relative;
    int32_t *ids; /* prompt, then what was generated; [n_prompt + max_new] */
    size_t n_prompt, n_ids;
    size_t n_computed; /* positions in kv */
    size_t n_cached;
    kv_sequence kv;
    size_t n_reserved; /* blocks this job may still come to need */
    /* score */
    score_branch *branches;
    size_t n_branches;
    int32_t *branch_ids;
    /* generate */
    sampler *sampler;
    size_t max_new;
    int32_t stop_tokens[MODEL_MAX_STOP_TOKENS];
    size_t n_stop_tokens;
    int n_top;
    /* shared with the caller, under engine->lock */
    token_event *events; /* [max_new] */
    size_t n_events, n_taken;
    bool is_cancelled, is_done;
    finish_reason finish;
    qaio_status status;
    qaio_error error;
    pthread_cond_t changed;
    double submitted_ms, started_ms, first_ms, done_ms;
};

struct engine {
    model *model;
    const kernels *kernels;
    kv_pool kv;
    prefix_cache cache;
    engine_job *active[ENGINE_MAX_ACTIVE]; /* the engine's thread alone */
    size_t n_active;
    size_t n_reserved;
    float *hidden; /* [MODEL_MAX_ROWS, hidden stride] */
    float *logits; /* [LOGIT_ROWS, vocab] */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job came, or closing */
    engine_job *queue, **queue_end;
    size_t n_queued;
    bool is_closing;
    engine_stats stats;
};

/* One step over all active jobs; ended ones leave engine->active. */
void engine_step(engine *e);
/* The job leaves the engine: its KV goes to the cache or back to the pool, its caller is told. */
void job_end(engine_job *job, qaio_status status, finish_reason finish, const qaio_error *err);

#endif
