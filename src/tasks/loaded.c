/* The tasks of a resident, and how they are read anew while requests run.
 *
 *   resident.tasks -> newest -> older, still used by requests -> ...      a request keeps the set it began with */
#include "base/file.h"
#include "base/mem.h"
#include "hub/hub.h"
#include "tasks/internal.h"

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

/* A file that cannot be used is no reason not to start: the answers say that they are not calibrated, and `why_not` says why. */
static qaio_status load_calibrations(const resident *r, loaded_tasks *loaded, qaio_error *err) {
    size_t n = task_set_size(loaded->set);
    uint64_t stamp = 0; /* hashes a whole embedded model: only where there is something to compare it with */
    if (!(loaded->calibrations = mem_array(n, sizeof *loaded->calibrations))) return error_memory(err);
    for (size_t i = 0; i < n; i++) {
        const task *t = task_set_at(loaded->set, i);
        found_calibration *found = &loaded->calibrations[i];
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

/* ---- a set ---- */

static void loaded_free(loaded_tasks *loaded) {
    if (!loaded) return;
    for (size_t i = 0; i < task_set_size(loaded->set); i++) {
        if (loaded->prefixes) token_list_deinit(&loaded->prefixes[i]);
        if (loaded->shared_prefixes) token_list_deinit(&loaded->shared_prefixes[i]);
        token_list *routes = loaded->route_prefixes[i];
        for (size_t k = 0; routes && k < task_set_at(loaded->set, i)->n_routes; k++) token_list_deinit(&routes[k]);
        mem_free(routes);
        for (int k = 0; loaded->priors && k < TASK_LAYOUTS; k++) mem_free(loaded->priors[i][k]);
    }
    mem_free(loaded->analyst);
    mem_free(loaded->prefixes);
    mem_free(loaded->shared_prefixes);
    mem_free(loaded->priors);
    mem_free(loaded->calibrations);
    task_set_free(loaded->set);
    mem_free(loaded);
}

/* set: moved, also on failure. */
static qaio_status load(loaded_tasks **out, const resident *r, task_set *set, qaio_error *err) {
    loaded_tasks *loaded = mem_zalloc(sizeof *loaded);
    if (!loaded) {
        task_set_free(set);
        return error_memory(err);
    }
    loaded->set = set;
    qaio_status status = load_calibrations(r, loaded, err);
    if (!status) status = loaded_find_prefixes(r, loaded, err);
    if (status) {
        loaded_free(loaded);
        return status;
    }
    loaded->n_users = 1; /* being the newest */
    *out = loaded;
    return QAIO_OK;
}

/* ---- the list of sets ---- */

const loaded_tasks *resident_loaded(const resident *r, const task *t) {
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&r->tasks_lock;
    pthread_mutex_lock(lock);
    const loaded_tasks *found = r->tasks;
    while (found && task_set_index(found->set, t) == TASK_NOT_IN_SET) found = found->older;
    pthread_mutex_unlock(lock);
    return found;
}

/* Under the lock: takes one user away, and the set out of the list when it was the last; returned then, to be freed without the lock. */
static loaded_tasks *leave(resident *r, loaded_tasks *loaded) {
    if (--loaded->n_users) return NULL;
    loaded_tasks **at = &r->tasks;
    while (*at != loaded) at = &(*at)->older;
    *at = loaded->older;
    return loaded;
}

const task_set *resident_acquire_tasks(resident *r) {
    pthread_mutex_lock(&r->tasks_lock);
    r->tasks->n_users++;
    const task_set *set = r->tasks->set;
    pthread_mutex_unlock(&r->tasks_lock);
    return set;
}

void resident_release_tasks(resident *r, const task_set *tasks) {
    if (!tasks) return;
    pthread_mutex_lock(&r->tasks_lock);
    loaded_tasks *loaded = r->tasks;
    while (loaded->set != tasks) loaded = loaded->older;
    loaded = leave(r, loaded);
    pthread_mutex_unlock(&r->tasks_lock);
    loaded_free(loaded);
}

qaio_status resident_take_tasks(resident *r, task_set *set, qaio_error *err) {
    loaded_tasks *fresh = NULL;
    qaio_status status = load(&fresh, r, set, err);
    if (status) return status;
    pthread_mutex_lock(&r->tasks_lock);
    loaded_tasks *old = fresh->older = r->tasks;
    r->tasks = fresh;
    if (old) old = leave(r, old);
    pthread_mutex_unlock(&r->tasks_lock);
    loaded_free(old);
    return QAIO_OK;
}

qaio_status resident_reload_tasks(resident *r, qaio_error *err) {
    task_set *set;
    qaio_error own = {0};
    qaio_status status = task_set_open(&set, r->tasks_dir, &own);
    if (!status) status = resident_take_tasks(r, set, &own);
    pthread_mutex_lock(&r->tasks_lock);
    r->reload_status = status;
    r->reload_error = own;
    pthread_mutex_unlock(&r->tasks_lock);
    if (status && err) *err = own;
    return status;
}

qaio_status resident_reload_status(resident *r, qaio_error *err) {
    pthread_mutex_lock(&r->tasks_lock);
    qaio_status status = r->reload_status;
    if (status) *err = r->reload_error;
    pthread_mutex_unlock(&r->tasks_lock);
    return status;
}

void resident_free_tasks(resident *r) {
    while (r->tasks) {
        loaded_tasks *older = r->tasks->older;
        loaded_free(r->tasks);
        r->tasks = older;
    }
}

/* ---- questions ---- */

const task_set *resident_tasks(const resident *r) { return r->tasks->set; }

const found_calibration *resident_calibration(const resident *r, const task *t) {
    const loaded_tasks *loaded = t->kind == TASK_LABEL ? resident_loaded(r, t) : NULL;
    return loaded ? &loaded->calibrations[task_set_index(loaded->set, t)] : NULL;
}
