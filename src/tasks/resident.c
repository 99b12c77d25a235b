/* Opening and closing the resident. */
#include "tasks/resident.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/prefix_store.h"
#include "hub/hub.h"
#include "tasks/internal.h"

static qaio_status open_checkpoint(checkpoint **out, const char *path, qaio_error *err) {
    if (path) return checkpoint_open(out, path, err);
    size_t bytes;
    const void *image = embedded_model(&bytes);
    if (!bytes) return error_set(err, QAIO_ERR_NOT_FOUND, "this build has no embedded model; name one with --model");
    return checkpoint_open_memory(out, image, bytes, EMBEDDED_MODEL_NAME, err);
}

/* A folder of the cache directory, owned; NULL without a home. */
static char *cache_folder(const char *name) {
    char *cache = hub_cache_dir(), *dir = cache ? file_join(cache, name) : NULL;
    mem_free(cache);
    return dir;
}

static qaio_status open_engine(resident *r, const resident_options *o, qaio_error *err) {
    const model_desc *desc = checkpoint_desc(r->source);
    r->timeout_ms = o->timeout_ms;
    char *packed = cache_folder("packed"), *prefixes = cache_folder("prefixes");
    model_options options = {
        .type = o->type,
        .kv_type = o->kv_type,
        .n_ctx = o->n_ctx                                      ? o->n_ctx
                 : desc->context_length < RESIDENT_DEFAULT_CTX ? desc->context_length
                                                               : RESIDENT_DEFAULT_CTX,
        .pack_dir = packed,
        .keeps_packed = o->keeps_packed,
        .kernels = r->kernels,
        .pool = r->pool,
    };
    model *m;
    qaio_status status = model_load(&m, r->source, &options, err);
    if (!status) status = engine_new(&r->engine, m, r->kernels, o->kv_bytes, err);
    if (!status && prefixes && model_weight_bytes(resident_model(r)) >= PREFIX_STORE_MIN_WEIGHTS)
        engine_use_prefix_files(r->engine, prefixes, o->keeps_packed);
    mem_free(packed);
    mem_free(prefixes);
    return status;
}

qaio_status resident_open(resident **out, const resident_options *options, qaio_error *err) {
    resident *r = mem_zalloc(sizeof *r);
    if (!r) return error_memory(err);
    pthread_mutex_init(&r->tasks_lock, NULL);
    pthread_mutex_init(&r->trie_lock, NULL);
    const char *dir = options->tasks_dir;
    task_set *tasks = NULL;
    qaio_status status = task_set_open(&tasks, dir, err); /* first: a mistake in a file is said at once */
    if (!status && dir && !(r->tasks_dir = mem_strndup(dir, strlen(dir)))) status = error_memory(err);
    if (!status) status = kernels_select(&r->kernels, options->cpu, err);
    if (!status) status = pool_new(&r->pool, options->n_threads, err);
    if (!status) status = open_checkpoint(&r->source, options->model, err);
    if (!status) status = open_engine(r, options, err);
    if (!status) {
        status = resident_take_tasks(r, tasks, err);
        tasks = NULL;
    }
    if (status) {
        task_set_free(tasks);
        resident_close(r);
        return status;
    }
    *out = r;
    return QAIO_OK;
}

void resident_close(resident *r) {
    if (!r) return;
    engine_free(r->engine);
    checkpoint_close(r->source);
    pool_free(r->pool);
    resident_free_tasks(r);
    token_trie_free(r->trie);
    pthread_mutex_destroy(&r->trie_lock);
    pthread_mutex_destroy(&r->tasks_lock);
    mem_free(r->tasks_dir);
    mem_free(r);
}

const char *resident_model_name(const resident *r) { return resident_desc(r)->name; }
const model_desc *resident_desc(const resident *r) { return checkpoint_desc(r->source); }
const checkpoint *resident_checkpoint(const resident *r) { return r->source; }
const model *resident_model(const resident *r) { return engine_model(r->engine); }
engine *resident_engine(resident *r) { return r->engine; }
const tokenizer *resident_tokenizer(const resident *r) { return checkpoint_tokenizer(r->source); }
const chat_template *resident_template(const resident *r) { return checkpoint_template(r->source); }
const kernels *resident_kernels(const resident *r) { return r->kernels; }
int resident_threads(const resident *r) { return pool_threads(r->pool); }
void resident_hold(resident *r) { engine_hold(r->engine); }
void resident_release(resident *r) { engine_release(r->engine); }
