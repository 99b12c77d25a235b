/* What engine.c (jobs, callers), step.c (the engine's thread) and output.c (logits to tokens and scores) share. */
#ifndef QAIO_ENGINE_INTERNAL_H
#define QAIO_ENGINE_INTERNAL_H

#include <pthread.h>

#include "engine/cache.h"
#include "engine/engine.h"
#include "engine/prefix_store.h"
#include "engine/score_tree.h"

#define LOGIT_ROWS 16 /* rows of full logits at a time */

/* Kinds of work, in the order of their priority. */
typedef enum lane { LANE_READ, LANE_REPLY, LANE_BULK, N_LANES } lane;

typedef struct job_queue {
    engine_job *first, *last;
    size_t n;
} job_queue;

/* What runs in a lane. */
typedef struct lane_load {
    size_t n_active, n_reserved;
    size_t owed;    /* rows that other lanes went before, see step.c */
    double seen_ms; /* when it last had something to compute */
} lane_load;

struct engine_job {
    engine *engine;
    engine_job *next; /* in the queue */
    job_kind kind;
    lane lane;
    int timeout_ms;
    size_t n_pin;
    int32_t *ids; /* prompt, then what was generated; [n_prompt + max_new] */
    size_t n_prompt, n_ids;
    size_t n_cached;
    kv_sequence kv;   /* kv.n_positions tokens of ids are computed */
    size_t n_blocks;  /* KV blocks this job may come to need */
    bool is_gathered; /* into the step at hand */
    score_tree scores;
    /* generate */
    sampler *sampler;
    size_t max_new;
    int32_t stop_tokens[MODEL_MAX_STOP_TOKENS];
    size_t n_stop_tokens;
    int n_top;
    token_mask *mask;
    /* shared with the caller, under engine->lock */
    token_event *events; /* [max_new] */
    size_t n_events, n_taken;
    bool is_cancelled, is_scored, is_done;
    finish_reason finish;
    qaio_status status;
    qaio_error error;
    pthread_cond_t changed;
    double submitted_ms, deadline_ms, started_ms, scored_ms, first_ms, done_ms;
};

/* A row of a step whose full logits are wanted. */
typedef struct logit_row {
    engine_job *job;
    uint32_t node; /* of the job's scores: its children are filled in; SCORE_NONE: the next token is drawn */
    const float *hidden;
} logit_row;

struct engine {
    model *model;
    const kernels *kernels;
    /* the engine's thread alone */
    kv_pool kv;
    prefix_cache cache;
    prefix_store *prefixes; /* or NULL */
    engine_job *active[ENGINE_MAX_ACTIVE];
    size_t n_active;
    size_t n_reserved; /* blocks promised to active jobs */
    lane_load lanes[N_LANES];
    bool replies_sit_out; /* the step at hand, never two in a row */
    float *hidden;        /* [MODEL_MAX_ROWS, hidden stride] */
    float *gathered;      /* [LOGIT_ROWS, hidden stride] */
    float *logits;        /* [LOGIT_ROWS, vocab] */
    float *raw_logits;    /* [vocab]: one row as the model gave it, where log-probabilities are asked for */

    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows, and the shared part of jobs */
    pthread_cond_t work;  /* a job came, or closing */
    job_queue queues[N_LANES];
    size_t n_queued;
    int n_holds;        /* while above 0 nothing is taken from the queues, until hold_end_ms */
    double hold_end_ms; /* of the first of the holds */
    bool is_closing;
    engine_stats stats;
};

/* One step over all active jobs; ended ones leave engine->active. */
void engine_step(engine *e);
/* The job leaves the engine: its KV goes to the cache or back to the pool, its caller is told.  err: why, where status is not QAIO_OK. */
void job_end(engine_job *job, qaio_status status, finish_reason finish, const qaio_error *err);

/* output.c: the step's rows become tokens and scores; those that score come first.  Generating jobs may end here. */
void output_rows(engine *e, const logit_row *rows, size_t n);
/* Fills in the children of a node that are all relative, from the hidden state of its row. */
void output_relative(engine_job *job, uint32_t node, const float *hidden);
/* Tells the caller when the last score has come. */
void output_scores(engine_job *job);

#endif
