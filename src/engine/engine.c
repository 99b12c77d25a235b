/* Jobs and their callers.  A job is built in the caller's thread, waits in the queue, is computed by the engine's thread, and hands its
 * results over under the engine's lock. */
#include "engine/engine.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/internal.h"
#include "engine/prefix.h"
#include "engine/queue.h"

#define DEFAULT_KV_SHARE 8                 /* of the machine's memory */
#define DEFAULT_KV_MAX   ((size_t)1 << 30) /* bytes */

static size_t blocks_for(size_t n_positions) { return (n_positions + KV_BLOCK - 1) / KV_BLOCK; }

static struct timespec deadline_after(int timeout_ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}

/* A condition whose timed waits follow the monotonic clock. */
static void condition_init(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* ---- the engine's thread ---- */

static bool is_held(const engine *e) { return e->n_holds > 0 && clock_ms() < e->hold_end_ms; }

static void wait_for_work(engine *e) {
    struct timespec end = deadline_after(ENGINE_MAX_HOLD_MS);
    if (e->n_queued) /* held */
        pthread_cond_timedwait(&e->work, &e->lock, &end);
    else
        pthread_cond_wait(&e->work, &e->lock);
}

static void *engine_thread(void *arg) {
    engine *e = arg;
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (!e->is_closing && (!e->n_queued || is_held(e)) && !e->n_active) wait_for_work(e);
        if (e->is_closing && !e->n_queued && !e->n_active) break;
        queue_drop(e);
        if (!is_held(e)) queue_admit(e);
        e->stats.n_active = e->n_active;
        e->stats.n_steps += e->n_active > 0;
        e->stats.n_evicted_blocks = e->cache.n_evicted;
        e->stats.kv_bytes_used = e->kv.n_used * e->kv.block_bytes;
        pthread_mutex_unlock(&e->lock);
        engine_step(e);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static void clear_kv(engine *e, engine_job *job) {
    kv_clear(&e->kv, &job->kv);
    score_tree_clear(&job->scores, &e->kv);
}

void job_end(engine_job *job, qaio_status status, finish_reason finish, const qaio_error *err) {
    engine *e = job->engine;
    size_t i = 0;
    while (e->active[i] != job) i++;
    memmove(&e->active[i], &e->active[i + 1], (--e->n_active - i) * sizeof *e->active); /* they stay in the order they came */
    e->n_reserved -= job->n_blocks;
    e->lanes[job->lane].n_active--;
    e->lanes[job->lane].n_reserved -= job->n_blocks;
    if (status == QAIO_OK) prefix_pin(e, job);
    if (status == QAIO_OK && job->kind == JOB_GENERATE) cache_put(&e->cache, &e->kv, job->ids, job->kv.n_positions, &job->kv, false);
    clear_kv(e, job);
    pthread_mutex_lock(&e->lock);
    e->stats.n_active = e->n_active;
    job->status = status;
    job->finish = finish;
    if (err) job->error = *err;
    job->done_ms = clock_ms();
    if (job->first_ms == 0) job->first_ms = job->done_ms;
    job->is_done = true;
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&e->lock); /* from here on the job may be gone */
}

/* ---- the engine ---- */

static size_t default_kv_bytes(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    size_t share = pages > 0 && page_bytes > 0 ? (size_t)pages / DEFAULT_KV_SHARE * (size_t)page_bytes : DEFAULT_KV_MAX;
    return share < DEFAULT_KV_MAX ? share : DEFAULT_KV_MAX;
}

static void release_all(engine *e) {
    prefix_store_close(e->prefixes);
    cache_clear(&e->cache, &e->kv);
    kv_pool_deinit(&e->kv);
    mem_free(e->hidden);
    mem_free(e->gathered);
    mem_free(e->logits);
    mem_free(e->raw_logits);
    model_free(e->model);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->work);
    mem_free(e);
}

qaio_status engine_new(engine **out, model *m, const kernels *k, size_t kv_bytes, qaio_error *err) {
    engine *e = mem_zalloc(sizeof *e);
    if (!e) {
        model_free(m);
        return error_memory(err);
    }
    e->model = m;
    e->kernels = k;
    pthread_mutex_init(&e->lock, NULL);
    condition_init(&e->work);
    size_t stride = model_hidden_stride(m), vocab = model_description(m)->vocab_size, block_bytes = model_kv_block_bytes(m);
    size_t n_blocks = (kv_bytes ? kv_bytes : default_kv_bytes()) / block_bytes, least = blocks_for(model_context(m)) + 1;
    kv_pool_init(&e->kv, block_bytes, n_blocks < least ? least : n_blocks);
    e->stats.kv_bytes_max = e->kv.max_blocks * block_bytes;
    e->hidden = mem_aligned(MODEL_MAX_ROWS * stride * sizeof(float));
    e->gathered = mem_aligned(LOGIT_ROWS * stride * sizeof(float));
    e->logits = mem_aligned(LOGIT_ROWS * vocab * sizeof(float));
    e->raw_logits = mem_aligned(vocab * sizeof(float));
    qaio_status status = e->hidden && e->gathered && e->logits && e->raw_logits ? QAIO_OK : error_memory(err);
    if (!status && pthread_create(&e->thread, NULL, engine_thread, e) != 0)
        status = error_set(err, QAIO_ERR_MEMORY, "cannot start the engine's thread");
    if (status) {
        release_all(e);
        return status;
    }
    *out = e;
    return QAIO_OK;
}

void engine_free(engine *e) {
    if (!e) return;
    pthread_mutex_lock(&e->lock);
    e->is_closing = true;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    release_all(e);
}

const model *engine_model(const engine *e) { return e->model; }

void engine_get_stats(engine *e, engine_stats *out) {
    pthread_mutex_lock(&e->lock);
    *out = e->stats;
    out->n_queued = e->n_queued;
    pthread_mutex_unlock(&e->lock);
}

/* ---- jobs ---- */

static void job_free(engine_job *job) {
    if (!job) return;
    sampler_free(job->sampler);
    mem_free(job->ids);
    score_tree_deinit(&job->scores);
    mem_free(job->events);
    pthread_cond_destroy(&job->changed);
    mem_free(job);
}

static qaio_status check_ids(const int32_t *ids, size_t n, size_t vocab, qaio_error *err) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= vocab)
            return error_set(err, QAIO_ERR_ARGUMENT, "token id %d lies outside the vocabulary of %zu", ids[i], vocab);
    return QAIO_OK;
}

static qaio_status check_generation(const job_params *p, qaio_error *err) {
    if (p->max_new == 0) return error_set(err, QAIO_ERR_ARGUMENT, "at least one new token must be asked for");
    if (p->n_top > ENGINE_MAX_TOP) return error_set(err, QAIO_ERR_ARGUMENT, "at most %d alternatives a token", ENGINE_MAX_TOP);
    if (p->n_stop_tokens > MODEL_MAX_STOP_TOKENS) return error_set(err, QAIO_ERR_ARGUMENT, "at most %d stop tokens", MODEL_MAX_STOP_TOKENS);
    return sampling_check(&p->sampling, err);
}

/* room: positions that the context leaves after the prompt. */
static qaio_status check_group(const score_group *g, size_t n_prompt, size_t room, size_t vocab, qaio_error *err) {
    qaio_status status = check_ids(g->opening.ids, g->opening.n, vocab, err);
    for (size_t i = 0; i < g->n_continuations && !status; i++) {
        const id_list *c = &g->continuations[i];
        if (c->n == 0) return error_set(err, QAIO_ERR_ARGUMENT, "continuation %zu is empty", i);
        /* The last token is only read, never computed. */
        if (g->opening.n > room || c->n - 1 > room - g->opening.n)
            return error_set(err, QAIO_ERR_LIMIT, "prompt and continuation have %zu tokens, but the context holds %zu",
                             n_prompt + g->opening.n + c->n, n_prompt + room);
        status = check_ids(c->ids, c->n, vocab, err);
    }
    return status;
}

static qaio_status check_groups(const job_params *p, size_t room, size_t vocab, qaio_error *err) {
    size_t total = 0;
    qaio_status status = QAIO_OK;
    if (p->n_groups > ENGINE_MAX_GROUPS)
        return error_set(err, QAIO_ERR_LIMIT, "%zu groups of continuations, at most %d", p->n_groups, ENGINE_MAX_GROUPS);
    for (size_t i = 0; i < p->n_groups && !status; i++) {
        if (p->groups[i].n_continuations > ENGINE_MAX_LABELS - total)
            return error_set(err, QAIO_ERR_LIMIT, "%zu continuations, at most %d", total + p->groups[i].n_continuations, ENGINE_MAX_LABELS);
        total += p->groups[i].n_continuations;
        status = check_group(&p->groups[i], p->n_prompt, room, vocab, err);
    }
    if (!status && p->kind == JOB_SCORE && total == 0 && !p->n_pin) status = error_set(err, QAIO_ERR_ARGUMENT, "nothing to score");
    return status;
}

static qaio_status check_params(const engine *e, const job_params *p, qaio_error *err) {
    size_t n_ctx = model_context(e->model), vocab = model_description(e->model)->vocab_size;
    if (p->n_prompt == 0) return error_set(err, QAIO_ERR_ARGUMENT, "the prompt is empty");
    if (p->n_prompt > n_ctx || (p->kind == JOB_GENERATE && p->n_prompt == n_ctx))
        return error_set(err, QAIO_ERR_LIMIT, "the text has %zu tokens with its prompt, but the context holds %zu", p->n_prompt, n_ctx);
    if (p->n_pin > p->n_prompt) return error_set(err, QAIO_ERR_ARGUMENT, "%zu of %zu tokens to pin", p->n_pin, p->n_prompt);
    qaio_status status = check_ids(p->prompt, p->n_prompt, vocab, err);
    if (!status) status = check_groups(p, n_ctx - p->n_prompt, vocab, err);
    return !status && p->kind == JOB_GENERATE ? check_generation(p, err) : status;
}

static qaio_status prepare_generation(engine_job *job, const job_params *p, size_t vocab, qaio_error *err) {
    job->n_stop_tokens = p->n_stop_tokens;
    if (p->n_stop_tokens) memcpy(job->stop_tokens, p->stop_tokens, p->n_stop_tokens * sizeof *p->stop_tokens);
    job->n_top = p->n_top;
    job->mask = p->mask;
    if (!(job->events = mem_array(job->max_new, sizeof *job->events))) return error_memory(err);
    qaio_status status = sampler_new(&job->sampler, &p->sampling, vocab, err);
    if (status) return status;
    for (size_t i = 0; i < p->n_prompt; i++) sampler_saw(job->sampler, p->prompt[i]);
    return QAIO_OK;
}

static qaio_status job_new(engine_job **out, engine *e, const job_params *p, qaio_error *err) {
    qaio_status status = check_params(e, p, err);
    if (status) return status;
    engine_job *job = mem_zalloc(sizeof *job);
    if (!job) return error_memory(err);
    condition_init(&job->changed);
    job->engine = e;
    job->kind = p->kind;
    job->lane = lane_of(p);
    job->timeout_ms = p->timeout_ms;
    job->n_pin = p->n_pin;
    job->n_prompt = job->n_ids = p->n_prompt;
    size_t left = model_context(e->model) - p->n_prompt;
    if (p->kind == JOB_GENERATE) job->max_new = p->max_new < left ? p->max_new : left;
    job->n_blocks = blocks_for(p->n_prompt + job->max_new) + 1;
    job->ids = mem_array(p->n_prompt + job->max_new, sizeof *job->ids);
    if (job->ids)
        memcpy(job->ids, p->prompt, p->n_prompt * sizeof *job->ids);
    else
        status = error_memory(err);
    if (!status) status = score_tree_init(&job->scores, p->groups, p->n_groups, p->n_prompt, err);
    if (job->n_blocks < e->kv.max_blocks) score_tree_limit(&job->scores, e->kv.max_blocks - job->n_blocks);
    job->n_blocks += job->scores.n_blocks;
    if (!status && p->kind == JOB_GENERATE) status = prepare_generation(job, p, model_description(e->model)->vocab_size, err);
    if (status) {
        job_free(job);
        return status;
    }
    *out = job;
    return QAIO_OK;
}

/* Under the lock. */
static qaio_status enqueue(engine *e, engine_job *job, qaio_error *err) {
    if (e->is_closing) return error_set(err, QAIO_ERR_CANCELLED, "the engine is closing");
    job->submitted_ms = clock_ms();
    job->deadline_ms = job->timeout_ms > 0 ? job->submitted_ms + job->timeout_ms : 0;
    qaio_status status = queue_push(e, job, err);
    if (status) return status;
    e->stats.n_jobs++;
    pthread_cond_signal(&e->work);
    return QAIO_OK;
}

qaio_status engine_submit(engine *e, const job_params *params, engine_job **out, qaio_error *err) {
    engine_job *job = NULL;
    qaio_status status = job_new(&job, e, params, err);
    if (status) return status;
    pthread_mutex_lock(&e->lock);
    status = enqueue(e, job, err);
    pthread_mutex_unlock(&e->lock);
    if (status)
        job_free(job);
    else
        *out = job;
    return status;
}

void engine_hold(engine *e) {
    pthread_mutex_lock(&e->lock);
    if (e->n_holds++ == 0) e->hold_end_ms = clock_ms() + ENGINE_MAX_HOLD_MS;
    pthread_mutex_unlock(&e->lock);
}

void engine_release(engine *e) {
    pthread_mutex_lock(&e->lock);
    if (--e->n_holds == 0) pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

job_next engine_next(engine_job *job, token_event *out, int timeout_ms) {
    engine *e = job->engine;
    struct timespec deadline = deadline_after(timeout_ms < 0 ? 0 : timeout_ms);
    int waited = 0;
    pthread_mutex_lock(&e->lock);
    while (job->n_taken == job->n_events && !job->is_done && waited == 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&job->changed, &e->lock);
        else
            waited = pthread_cond_timedwait(&job->changed, &e->lock, &deadline);
    }
    job_next next = NEXT_TIMEOUT;
    if (job->n_taken < job->n_events) {
        *out = job->events[job->n_taken++];
        next = NEXT_TOKEN;
    } else if (job->is_done) {
        next = NEXT_END;
    }
    pthread_mutex_unlock(&e->lock);
    return next;
}

void engine_cancel(engine_job *job) {
    pthread_mutex_lock(&job->engine->lock);
    job->is_cancelled = true;
    pthread_cond_signal(&job->engine->work);
    pthread_mutex_unlock(&job->engine->lock);
}

/* Under the lock. */
static bool has_come(const engine_job *job) { return job->is_scored || job->is_done; }

bool engine_wait(engine_job *job, int timeout_ms) {
    engine *e = job->engine;
    struct timespec deadline = deadline_after(timeout_ms < 0 ? 0 : timeout_ms);
    int waited = 0;
    pthread_mutex_lock(&e->lock);
    while (!has_come(job) && waited == 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&job->changed, &e->lock);
        else
            waited = pthread_cond_timedwait(&job->changed, &e->lock, &deadline);
    }
    bool is_over = has_come(job);
    pthread_mutex_unlock(&e->lock);
    return is_over;
}

/* Since the job was submitted; what has not happened counts as happening now. */
static double since(const engine_job *job, double when_ms) { return (when_ms > 0 ? when_ms : clock_ms()) - job->submitted_ms; }

/* Under the lock. */
static job_result result_of(const engine_job *job) {
    return (job_result){.n_prompt = job->n_prompt,
                        .n_cached = job->n_cached,
                        .n_generated = job->n_events,
                        .finish = job->finish,
                        .queued_ms = since(job, job->started_ms > 0 ? job->started_ms : job->done_ms),
                        .scored_ms = since(job, job->scored_ms > 0 ? job->scored_ms : job->done_ms),
                        .first_ms = since(job, job->first_ms > 0 ? job->first_ms : job->done_ms),
                        .total_ms = since(job, job->done_ms)};
}

qaio_status engine_scores(engine_job *job, double *scores, job_result *out, qaio_error *err) {
    engine_wait(job, -1);
    pthread_mutex_lock(&job->engine->lock);
    bool is_scored = job->is_scored;
    if (is_scored && out) *out = result_of(job);
    pthread_mutex_unlock(&job->engine->lock);
    if (!is_scored) { /* it has ended */
        if (!job->status) return error_set(err, QAIO_ERR_CANCELLED, "cancelled");
        if (err) *err = job->error;
        return job->status;
    }
    for (size_t i = 0; i < job->scores.n_ends; i++) scores[i] = score_of(&job->scores, i);
    return QAIO_OK;
}

qaio_status engine_finish(engine_job *job, double *scores, job_result *out, qaio_error *err) {
    engine *e = job->engine;
    pthread_mutex_lock(&e->lock);
    while (!job->is_done) pthread_cond_wait(&job->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
    qaio_status status = job->status;
    if (status && err) *err = job->error;
    if (!status && scores) status = engine_scores(job, scores, NULL, err);
    if (!status && out) *out = result_of(job);
    job_free(job);
    return status;
}
