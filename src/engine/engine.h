/* The engine: one resident model, many callers.  A caller submits a job and pulls its results; one thread runs steps, each a single
 * model_forward over the rows of all jobs that have something to compute (a decode row each, label reads, pieces of prompts).
 *
 * Prompts seen before are not computed again: finished sequences stay in a prefix cache until their memory is needed; pinned ones stay.
 * Every function is thread-safe; one job belongs to one caller. */
#ifndef QAIO_ENGINE_ENGINE_H
#define QAIO_ENGINE_ENGINE_H

#include "engine/sampler.h"
#include "mask/token_mask.h"
#include "model/model.h"

#define ENGINE_MAX_ACTIVE  64   /* jobs computed at the same time */
#define ENGINE_MAX_QUEUED  256  /* jobs waiting; one more is QAIO_ERR_BUSY */
#define ENGINE_MAX_LABELS  2048 /* continuations of one job, in all its groups */
#define ENGINE_MAX_GROUPS  256  /* of one job */
#define ENGINE_MAX_HOLD_MS 5
#define ENGINE_MAX_TOP     20 /* alternatives reported with a token */

typedef struct engine engine;
typedef struct engine_job engine_job;

/* Takes the model over (moved, also on failure).  kv_bytes: memory for KV, 0 = an eighth of the machine's, at most 1 GiB, at least one full
 * context. */
qaio_status engine_new(engine **out, model *m, const kernels *k, size_t kv_bytes, qaio_error *err);
/* Cancels every job, waits for the step at hand.  The jobs' owners have finished them before. */
void engine_free(engine *e);

/* Takes the KV of pinned prefixes from files of this folder, and keeps it there (keeps).  For a model that came from files; before the
 * first job. */
void engine_use_prefix_files(engine *e, const char *dir, bool keeps);

const model *engine_model(const engine *e); /* for its description; never run it */

typedef struct engine_stats {
    size_t n_active, n_queued;
    size_t kv_bytes_used, kv_bytes_max;
    uint64_t n_jobs, n_prompt_tokens, n_cached_tokens, n_generated_tokens, n_steps;
    uint64_t n_evicted_blocks; /* of the prefix cache */
    uint64_t n_prefix_files;   /* pinned prefixes taken from files */
} engine_stats;
void engine_get_stats(engine *e, engine_stats *out);

/* A list of token ids; borrowed. */
typedef struct id_list {
    const int32_t *ids;
    size_t n;
} id_list;

/* What is scored after the prompt and an opening: log P(continuation | prompt, opening), natural logarithm, summed over its tokens.  Groups
 * never see each other. */
typedef struct score_group {
    id_list opening;              /* not scored; may be empty */
    const id_list *continuations; /* each at least one token */
    size_t n_continuations;
    bool is_relative; /* leave out the constant that all continuations of the group share: where they part, only their own rows of the head
                         are computed */
} score_group;

typedef enum job_kind { JOB_SCORE, JOB_GENERATE } job_kind;

typedef struct job_params {
    job_kind kind;
    const int32_t *prompt; /* at least one token; copied */
    size_t n_prompt;
    bool is_bulk;   /* may wait for everything else, within limits */
    int timeout_ms; /* since engine_submit; above 0: what is not done then ends, a reply that has begun with FINISH_LENGTH, all else with
                       QAIO_ERR_TIMEOUT */
    size_t n_pin;   /* keep the KV of the first n_pin tokens in the cache for good: what all prompts of a task begin with */
    /* All that is scored, in forks of the prompt and, where rows are left, in the step that ends it; copied.  A JOB_GENERATE may have
     * groups too: their scores come before its first token when they fit into its step. */
    const score_group *groups;
    size_t n_groups;
    /* JOB_GENERATE */
    sampling sampling;
    size_t max_new;             /* tokens; cut to what the context leaves */
    const int32_t *stop_tokens; /* copied; the stop token itself is not reported */
    size_t n_stop_tokens;
    int n_top;        /* alternatives with log-probabilities to report with each token; -1: no log-probabilities at all */
    token_mask *mask; /* what may be generated, or NULL: anything; borrowed until engine_finish */
} job_params;

/* Jobs submitted between the two wait for the release, so that they share their first step.  Counted; the step at hand goes on.  Nobody is
 * held for more than ENGINE_MAX_HOLD_MS: then what is there starts. */
void engine_hold(engine *e);
void engine_release(engine *e);

/* QAIO_ERR_LIMIT (a prompt does not fit the context or the KV
 * memory), QAIO_ERR_BUSY, QAIO_ERR_ARGUMENT, QAIO_ERR_MEMORY. */
qaio_status engine_submit(engine *e, const job_params *params, engine_job **out, qaio_error *err);

typedef struct token_event {
    int32_t token;
    float logprob; /* of the model's own distribution, before temperature; 0 when n_top is -1 */
    int32_t top_tokens[ENGINE_MAX_TOP];
    float top_logprobs[ENGINE_MAX_TOP];
} token_event;

typedef enum job_next { NEXT_TOKEN, NEXT_END, NEXT_TIMEOUT } job_next;

/* Waits for the next token of a JOB_GENERATE, at most timeout_ms (negative: for ever). */
job_next engine_next(engine_job *job, token_event *out, int timeout_ms);

/* The work stops at the next step; engine_finish still has to be called. */
void engine_cancel(engine_job *job);

typedef enum finish_reason { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED } finish_reason;

typedef struct job_result {
    size_t n_prompt, n_cached, n_generated;
    finish_reason finish;
    double queued_ms, scored_ms, first_ms, total_ms; /* since engine_submit: first step, scores, first token or scores, end */
} job_result;

/* Waits until the scores are there, or the job has ended without them, at most timeout_ms (negative: for ever); false: not yet. */
bool engine_wait(engine_job *job, int timeout_ms);
/* Waits for the scores and copies them: scores[sum of n_continuations], by group; out (may be NULL): the result so far. QAIO_ERR_CANCELLED,
 * or what made the job fail. */
qaio_status engine_scores(engine_job *job, double *scores, job_result *out, qaio_error *err);

/* Waits for the end, copies the scores of a JOB_SCORE (as engine_scores does; NULL: not wanted) and frees the job, also on failure. */
qaio_status engine_finish(engine_job *job, double *scores, job_result *out, qaio_error *err);

#endif
