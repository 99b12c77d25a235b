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

/* ---- calibrations ---- */

static uint64_t model_stamp(const resident *r) {
    uint64_t stamp = checkpoint_stamp(r->source);
    if (stamp) return stamp;
    size_t bytes;
    const void *image = embedded_model(&bytes);
    return hash_bytes(HASH_BEGIN, image, bytes);
}

static calibration_key key_of(const resident *r, const task *t, uint64_t stamp) {
    return (calibration_key){t, resident_model_name(r), dtype_get(model_type(resident_model(r)))->name, stamp};
}

calibration_key resident_calibration_key(const resident *r, const task *t) { return key_of(r, t, model_stamp(r)); }

const found_calibration *resident_calibration(const resident *r, const task *t) {
    for (size_t i = 0; i < task_set_size(r->tasks); i++)
        if (task_set_at(r->tasks, i) == t && t->kind == TASK_LABEL) return &r->calibrations[i];
    return NULL;
}

/* A file that cannot be used is no reason not to start: the answers say that they are not calibrated, and `why_not` says why. */
static qaio_status load_calibrations(resident *r, qaio_error *err) {
    size_t n = task_set_size(r->tasks);
    uint64_t stamp = 0; /* hashes a whole embedded model: only where there is something to compare it with */
    if (!(r->calibrations = mem_array(n, sizeof *r->calibrations))) return error_memory(err);
    for (size_t i = 0; i < n; i++) {
        const task *t = task_set_at(r->tasks, i);
        found_calibration *found = &r->calibrations[i];
        char *path = t->kind == TASK_LABEL ? calibration_path(t, resident_model_name(r)) : NULL;
        if (path && file_exists(path)) {
            if (!stamp) stamp = model_stamp(r);
            calibration_key key = key_of(r, t, stamp);
            found->is_found = true;
            found->is_used = calibration_load(&found->stored, &key, path, &found->why_not) == QAIO_OK;
        }
        mem_free(path);
    }
    return QAIO_OK;
}

static const task *find_chat(const task_set *tasks) {
    for (size_t i = 0; i < task_set_size(tasks); i++)
        if (task_set_at(tasks, i)->kind == TASK_CHAT) return task_set_at(tasks, i);
    return NULL;
}

qaio_status resident_open(resident **out, const resident_options *options, qaio_error *err) {
    resident *r = mem_zalloc(sizeof *r);
    if (!r) return error_memory(err);
    qaio_status status = task_set_open(&r->tasks, options->tasks_dir, err);
    if (!status) status = kernels_select(&r->kernels, options->cpu, err);
    if (!status) status = pool_new(&r->pool, options->n_threads, err);
    if (!status) status = open_checkpoint(&r->source, options->model, err);
    if (!status) status = open_engine(r, options, err);
    if (!status) status = load_calibrations(r, err);
    if (!status) {
        r->chat = find_chat(r->tasks);
        status = resident_find_prefixes(r, err);
    }
    if (status) {
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
    for (size_t i = 0; r->prefixes && i < task_set_size(r->tasks); i++) token_list_deinit(&r->prefixes[i]);
    mem_free(r->prefixes);
    mem_free(r->calibrations);
    task_set_free(r->tasks);
    mem_free(r);
}

const char *resident_model_name(const resident *r) { return resident_desc(r)->name; }
const model_desc *resident_desc(const resident *r) { return checkpoint_desc(r->source); }
const checkpoint *resident_checkpoint(const resident *r) { return r->source; }
const model *resident_model(const resident *r) { return engine_model(r->engine); }
engine *resident_engine(resident *r) { return r->engine; }
const tokenizer *resident_tokenizer(const resident *r) { return checkpoint_tokenizer(r->source); }
const chat_template *resident_template(const resident *r) { return checkpoint_template(r->source); }
const task_set *resident_tasks(const resident *r) { return r->tasks; }
const kernels *resident_kernels(const resident *r) { return r->kernels; }
int resident_threads(const resident *r) { return pool_threads(r->pool); }
void resident_hold(resident *r) { engine_hold(r->engine); }
void resident_release(resident *r) { engine_release(r->engine); }
