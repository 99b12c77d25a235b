/* Lanes: label reads go before replies, replies before bulk.
 *
 * A lane's first job counts as old as it is, less the lane's patience; the oldest starts first, so that nobody waits for ever.  One that
 * does not fit into memory yet keeps all others waiting, for the same reason.  Lanes are kept from taking all slots and all memory, so that
 * a read finds both while replies and lists of texts run; a lane that has its share waits, and keeps nobody waiting. */
#include "engine/queue.h"

#include "base/clock.h"
#include "engine/prefix.h"

typedef struct lane_limits {
    size_t n_active, n_queued;
    size_t memory_eighths;
    double patience_ms;
} lane_limits;

static const lane_limits limits[N_LANES] = {
    [LANE_READ] = {ENGINE_MAX_ACTIVE, ENGINE_MAX_QUEUED, 8, 0},
    [LANE_REPLY] = {ENGINE_MAX_ACTIVE * 3 / 4, ENGINE_MAX_QUEUED, 7, 200},
    [LANE_BULK] = {ENGINE_MAX_ACTIVE / 2, ENGINE_MAX_QUEUED / 2, 4, 2000},
};

lane lane_of(const job_params *params) {
    if (params->is_bulk) return LANE_BULK;
    return params->kind == JOB_SCORE ? LANE_READ : LANE_REPLY;
}

qaio_status queue_push(engine *e, engine_job *job, qaio_error *err) {
    job_queue *queue = &e->queues[job->lane];
    if (e->n_queued == ENGINE_MAX_QUEUED || queue->n == limits[job->lane].n_queued)
        return error_set(err, QAIO_ERR_BUSY, "%zu requests are waiting already; try again later", queue->n);
    if (job->n_blocks > e->kv.max_blocks)
        return error_set(err, QAIO_ERR_LIMIT, "the request needs %zu MiB of KV memory, %zu MiB are there",
                         (job->n_blocks * e->kv.block_bytes) >> 20, (e->kv.max_blocks * e->kv.block_bytes) >> 20);
    *(queue->first ? &queue->last->next : &queue->first) = job;
    queue->last = job;
    queue->n++;
    e->n_queued++;
    return QAIO_OK;
}

/* link: where the job hangs; before: the one that it hangs on, or NULL. */
static void take(engine *e, job_queue *queue, engine_job **link, engine_job *before) {
    engine_job *job = *link;
    *link = job->next;
    job->next = NULL;
    if (queue->last == job) queue->last = before;
    queue->n--;
    e->n_queued--;
}

/* ---- starting ---- */

static bool lane_is_full(const engine *e, const engine_job *job) {
    const lane_limits *limit = &limits[job->lane];
    const lane_load *load = &e->lanes[job->lane];
    if (load->n_active == 0) return false;
    return load->n_active >= limit->n_active || load->n_reserved + job->n_blocks > e->kv.max_blocks * limit->memory_eighths / 8;
}

/* Pinned prefixes stay where others can wait; a job that is alone may take their memory. */
static bool fits(const engine *e, const engine_job *job) {
    if (e->n_active == 0) return true;
    return e->n_active < ENGINE_MAX_ACTIVE && e->n_reserved + e->cache.n_pinned + job->n_blocks <= e->kv.max_blocks;
}

static engine_job *next_job(const engine *e) {
    engine_job *best = NULL;
    for (size_t l = 0; l < N_LANES; l++) {
        engine_job *job = e->queues[l].first;
        if (!job || lane_is_full(e, job)) continue;
        if (!best || job->submitted_ms + limits[l].patience_ms < best->submitted_ms + limits[best->lane].patience_ms) best = job;
    }
    return best;
}

static void start(engine *e, engine_job *job) {
    job->started_ms = clock_ms();
    prefix_load(e, job);
    job->n_cached = cache_find(&e->cache, job->ids, job->n_prompt, &job->kv);
    e->active[e->n_active++] = job;
    e->n_reserved += job->n_blocks;
    e->lanes[job->lane].n_active++;
    e->lanes[job->lane].n_reserved += job->n_blocks;
    e->stats.n_prompt_tokens += job->n_prompt;
    e->stats.n_cached_tokens += job->n_cached;
}

void queue_admit(engine *e) {
    for (engine_job *job; (job = next_job(e)) && fits(e, job);) {
        job_queue *queue = &e->queues[job->lane];
        take(e, queue, &queue->first, NULL);
        start(e, job);
    }
}

/* ---- leaving ---- */

bool job_is_late(const engine_job *job, double now_ms, qaio_error *err) {
    if (job->deadline_ms == 0 || now_ms < job->deadline_ms) return false;
    error_set(err, QAIO_ERR_TIMEOUT, "the request was not done after %.0f ms", job->deadline_ms - job->submitted_ms);
    return true;
}

/* Tells the caller of a job that never started. */
static void leave(engine_job *job, qaio_status status, double now_ms) {
    job->status = status;
    job->finish = FINISH_CANCELLED;
    job->done_ms = now_ms;
    job->is_done = true;
    pthread_cond_signal(&job->changed);
}

void queue_drop(engine *e) {
    double now_ms = clock_ms();
    for (size_t l = 0; l < N_LANES; l++) {
        engine_job *before = NULL;
        for (engine_job **link = &e->queues[l].first; *link;) {
            engine_job *job = *link;
            qaio_status status = QAIO_OK;
            if (job->is_cancelled)
                status = error_set(&job->error, QAIO_ERR_CANCELLED, "cancelled");
            else if (job_is_late(job, now_ms, &job->error))
                status = QAIO_ERR_TIMEOUT;
            if (status) {
                take(e, &e->queues[l], link, before);
                leave(job, status, now_ms);
            } else {
                before = job;
                link = &job->next;
            }
        }
    }
}
