/* Beginnings that running jobs share; what has ended is in the prefix cache. */
#include "engine/share.h"

/* Tokens at the beginning of both prompts; the job's last one is always computed. */
static size_t common(const engine_job *other, const engine_job *job) {
    size_t most = job->n_prompt - 1 < other->n_prompt ? job->n_prompt - 1 : other->n_prompt, n = 0;
    while (n < most && other->ids[n] == job->ids[n]) n++;
    return n;
}

static void take_over(engine *e, engine_job *job, const engine_job *source, size_t n) {
    kv_sequence kv = {0};
    if (kv_fork(&kv, &source->kv, n, NULL)) {
        kv_clear(&e->kv, &kv); /* computed once more, then */
        return;
    }
    kv_clear(&e->kv, &job->kv);
    job->kv = kv;
    pthread_mutex_lock(&e->lock);
    e->stats.n_cached_tokens += n - job->n_cached;
    job->n_cached = n;
    pthread_mutex_unlock(&e->lock);
}

bool share_prompt(engine *e, engine_job *job) {
    const engine_job *source = NULL;
    size_t least = job->n_cached + KV_BLOCK, best = 0;     /* for less a job would not wait a step */
    if (job->kv.n_positions > job->n_cached) return false; /* it has begun */
    for (size_t i = 0; i < e->n_active; i++) {
        const engine_job *other = e->active[i];
        size_t n = other == job ? 0 : common(other, job), have = other->kv.n_positions;
        if (n < least) continue;
        if (have < n && other->is_gathered) return true;
        if (have > n) have = n;
        if (have > best) source = other, best = have;
    }
    if (best >= least) take_over(e, job, source, best);
    return false;
}
