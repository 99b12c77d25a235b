/* Pinned prefixes: cache and files. */
#include "engine/prefix.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"

static size_t blocks_for(size_t n) { return (n + KV_BLOCK - 1) / KV_BLOCK; }

void engine_use_prefix_files(engine *e, const char *dir, bool keeps) {
    const model *m = e->model;
    if (!model_file_stamp(m)) return;
    const uint64_t parts[] = {model_file_stamp(m), (uint64_t)model_kv_type(m), KERNELS_SPEC, KV_BLOCK};
    pthread_mutex_lock(&e->lock);
    e->prefixes =
        prefix_store_open(dir, hash_bytes(HASH_BEGIN, parts, sizeof parts), model_kv_block_bytes(m), keeps, PREFIX_STORE_MAX_BYTES);
    pthread_mutex_unlock(&e->lock);
}

/* Only where there is room beside what running jobs were promised. */
void prefix_load(engine *e, const engine_job *job) {
    size_t n = job->n_pin, n_blocks = blocks_for(n);
    if (!n || !e->prefixes || cache_has_pinned(&e->cache, job->ids, n)) return;
    if (e->n_reserved + e->cache.n_pinned + job->n_blocks + n_blocks > e->kv.max_blocks) return;
    kv_sequence kv = {0};
    qaio_status status;
    while ((status = kv_reserve(&e->kv, &kv, n, NULL)) == QAIO_ERR_LIMIT && cache_evict(&e->cache, &e->kv)) continue;
    if (status || !prefix_store_load(e->prefixes, job->ids, n, kv.data, n_blocks)) {
        kv_clear(&e->kv, &kv);
        return;
    }
    kv.n_positions = n;
    if (cache_put(&e->cache, &e->kv, job->ids, n, &kv, true)) e->stats.n_prefix_files++;
}

/* A copy without the positions behind the prefix, which are somebody's text. */
static void save(engine *e, const engine_job *job) {
    size_t n_blocks = blocks_for(job->n_pin), block_bytes = e->kv.block_bytes, bytes, rest = job->n_pin % KV_BLOCK;
    uint8_t *copy = size_mul(n_blocks, block_bytes, &bytes) ? mem_alloc(bytes) : NULL;
    if (!copy) return;
    for (size_t i = 0; i < n_blocks; i++) memcpy(copy + i * block_bytes, job->kv.data[i], block_bytes);
    if (rest) model_kv_blank(e->model, copy + (n_blocks - 1) * block_bytes, rest);
    prefix_store_save(e->prefixes, job->ids, job->n_pin, copy, n_blocks);
}

void prefix_pin(engine *e, const engine_job *job) {
    if (!job->n_pin || job->kv.n_positions < job->n_pin || cache_has_pinned(&e->cache, job->ids, job->n_pin)) return;
    kv_sequence kv = {0};
    if (e->prefixes && prefix_store_keeps(e->prefixes)) save(e, job);
    if (kv_fork(&kv, &job->kv, job->n_pin, NULL) == QAIO_OK)
        cache_put(&e->cache, &e->kv, job->ids, job->n_pin, &kv, true);
    else
        kv_clear(&e->kv, &kv); /* what it had allocated */
}
