/* Opening a model, and what it and its tasks are. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "api/internal.h"
#include "base/mem.h"
#include "hub/hub.h"

/* In the first version; members that come later stand behind it. */
#define FIRST_OPTIONS_BYTES (offsetof(qaio_options, keep_cache) + sizeof(int))

void qaio_options_init(qaio_options *options, size_t size) {
    if (!options || size < FIRST_OPTIONS_BYTES) return;
    memset(options, 0, size);
    options->size = size;
}

static qaio_status take_type(dtype *out, const char *name, const char *what, qaio_error *err) {
    *out = name ? dtype_from_name(name) : DTYPE_NONE;
    if (name && *out == DTYPE_NONE) return error_set(err, QAIO_ERR_ARGUMENT, "%s: there is no type \"%.32s\"", what, name);
    return QAIO_OK;
}

static const char *wanted_cpu(const char *given) {
    const char *cpu = given ? given : getenv("QAIO_CPU");
    return cpu && cpu[0] ? cpu : NULL;
}

/* The threads that are started inherit the caller's mask: an application's signals are for its own threads.  What a thread raises itself,
 * and what profilers send, stays. */
static void block_signals(sigset_t *before) {
    static const int kept[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) sigdelset(&blocked, kept[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, before);
}

static qaio_status open_resident(resident **out, const qaio_options *o, qaio_error *err) {
    resident_options options = {.n_ctx = o->context,
                                .kv_bytes = o->kv_bytes,
                                .n_threads = o->threads,
                                .cpu = wanted_cpu(o->cpu),
                                .tasks_dir = o->tasks_dir,
                                .keeps_packed = o->keep_cache != 0};
    char *path = NULL;
    if (o->threads < 0) return error_set(err, QAIO_ERR_ARGUMENT, "threads: %d is negative", o->threads);
    qaio_status status = take_type(&options.type, o->type, "type", err);
    if (!status) status = take_type(&options.kv_type, o->kv_type, "kv_type", err);
    if (!status && options.kv_type != DTYPE_NONE && options.kv_type != DTYPE_F32 && options.kv_type != DTYPE_F16)
        status = error_set(err, QAIO_ERR_ARGUMENT, "kv_type: must be f16 or f32, not %.32s", o->kv_type);
    if (!status && o->model) status = hub_find(&path, o->model, err);
    if (status) return status;
    options.model = path;
    sigset_t before;
    block_signals(&before);
    status = resident_open(out, &options, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    mem_free(path);
    return status;
}

qaio_status qaio_model_open(qaio_model **out, const qaio_options *options, qaio_error *err) {
    if (!out) return error_null(err, "out");
    qaio_options known;
    qaio_options_init(&known, sizeof known);
    qaio_status status = QAIO_OK;
    if (options) status = take_struct(&known, sizeof known, FIRST_OPTIONS_BYTES, options, "qaio_options", err);
    if (status) return status;
    qaio_model *m = mem_zalloc(sizeof *m);
    if (!m) return error_memory(err);
    status = open_resident(&m->resident, &known, err);
    if (status)
        mem_free(m);
    else
        *out = m;
    return status;
}

void qaio_model_close(qaio_model *m) {
    if (!m) return;
    resident_close(m->resident);
    mem_free(m);
}

const char *qaio_model_name(const qaio_model *m) { return m ? resident_model_name(m->resident) : NULL; }
const char *qaio_model_type(const qaio_model *m) { return m ? dtype_get(model_type(resident_model(m->resident)))->name : NULL; }
const char *qaio_model_cpu(const qaio_model *m) { return m ? resident_kernels(m->resident)->name : NULL; }
size_t qaio_model_context(const qaio_model *m) { return m ? model_context(resident_model(m->resident)) : 0; }
int qaio_model_threads(const qaio_model *m) { return m ? resident_threads(m->resident) : 0; }

/* ---- tasks: a qaio_task is a task ---- */

static const task *inner(const qaio_task *t) { return (const task *)(const void *)t; }

static const task_label *label_at(const qaio_task *t, size_t i) { return t && i < inner(t)->n_labels ? &inner(t)->labels[i] : NULL; }

qaio_status find_task(const task **out, const qaio_model *m, const char *name, qaio_error *err) {
    if (!name) return error_null(err, "a task's name");
    return task_set_find(out, resident_tasks(m->resident), name, err);
}

size_t qaio_task_count(const qaio_model *m) { return m ? task_set_size(resident_tasks(m->resident)) : 0; }

const qaio_task *qaio_task_at(const qaio_model *m, size_t i) {
    if (i >= qaio_task_count(m)) return NULL;
    return (const qaio_task *)(const void *)task_set_at(resident_tasks(m->resident), i);
}

const qaio_task *qaio_task_find(const qaio_model *m, const char *name) {
    const task *t;
    if (!m || find_task(&t, m, name, NULL)) return NULL;
    return (const qaio_task *)(const void *)t;
}

const char *qaio_task_name(const qaio_task *t) { return t ? inner(t)->name : NULL; }

const char *qaio_task_title(const qaio_task *t, const char *language) {
    if (!t) return NULL;
    return language && strncmp(language, "zh", 2) == 0 ? inner(t)->title_zh : inner(t)->title_en;
}

qaio_task_kind qaio_task_kind_of(const qaio_task *t) {
    if (!t || inner(t)->kind == TASK_LABEL) return QAIO_TASK_LABEL;
    return inner(t)->kind == TASK_CHAT ? QAIO_TASK_CHAT : QAIO_TASK_GENERATE;
}

uint64_t qaio_task_version(const qaio_task *t) { return t ? inner(t)->version : 0; }
size_t qaio_task_label_count(const qaio_task *t) { return t ? inner(t)->n_labels : 0; }

const char *qaio_task_label_id(const qaio_task *t, size_t i) {
    const task_label *label = label_at(t, i);
    return label ? label->id : NULL;
}

const char *qaio_task_label_text(const qaio_task *t, size_t i) {
    const task_label *label = label_at(t, i);
    return label ? label->text : NULL;
}

const char *qaio_task_label_emoji(const qaio_task *t, size_t i) {
    const task_label *label = label_at(t, i);
    return label ? label->emoji : NULL;
}
