/* The tasks of a process: the built-in ones, then a directory's, which add to them and override them by name. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "builtin_tasks.h"
#include "tasks/task.h"
#include "tasks/task_file.h"
#include "tasks/yaml_tree.h"

typedef struct entry {
    task task;
    char *path; /* the file of --tasks it came from, NULL: built in */
} entry;

struct task_set {
    entry entries[TASK_MAX_TASKS];
    size_t n;
    size_t n_builtin; /* they come first */
};

/* ---- filling ---- */

static entry *find_entry(task_set *set, const char *name) {
    for (size_t i = 0; i < set->n; i++)
        if (strcmp(set->entries[i].task.name, name) == 0) return &set->entries[i];
    return NULL;
}

/* An override stands where the built-in task stood, so that lists keep their order. */
static qaio_status place_for(entry **out, task_set *set, const task *t, const char *path, qaio_error *err) {
    entry *old = find_entry(set, t->name);
    if (!old && set->n == TASK_MAX_TASKS) return error_at(err, QAIO_ERR_LIMIT, path, -1, "more than %d tasks", TASK_MAX_TASKS);
    if (old && old->path) return error_at(err, QAIO_ERR_FORMAT, path, -1, "the task \"%s\" is already in %s", t->name, old->path);
    if (old && old->task.kind != t->kind)
        return error_at(err, QAIO_ERR_FORMAT, path, -1, "the built-in task \"%s\" is of another kind: give this one another name", t->name);
    *out = old ? old : &set->entries[set->n++];
    return QAIO_OK;
}

static qaio_status add_text(task_set *set, const char *path, bool is_builtin, const char *text, size_t n, qaio_error *err) {
    entry fresh = {0};
    qaio_status status = task_parse(&fresh.task, path, text, n, err);
    if (status) return status;
    if (!is_builtin && !(fresh.path = mem_strndup(path, strlen(path)))) status = error_memory(err);
    entry *place = NULL;
    if (!status) status = place_for(&place, set, &fresh.task, path, err);
    if (status) {
        task_deinit(&fresh.task);
        mem_free(fresh.path);
        return status;
    }
    task_deinit(&place->task);
    *place = fresh;
    return QAIO_OK;
}

static qaio_status add_file(task_set *set, const char *dir, const char *name, qaio_error *err) {
    char *path = file_join(dir, name), *text = NULL;
    size_t n = 0;
    qaio_status status = path ? file_read(&text, &n, path, TASK_MAX_FILE_BYTES, err) : error_memory(err);
    if (!status) status = add_text(set, path, false, text, n, err);
    mem_free(text);
    mem_free(path);
    return status;
}

/* ---- a directory ---- */

typedef struct names {
    char *items[TASK_MAX_TASKS];
    size_t n;
} names;

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

bool task_file_is_named(const char *name) {
    size_t n = strlen(name);
    return name[0] != '.' && n > 5 && strcmp(name + n - 5, ".yaml") == 0;
}

static qaio_status list_files(names *out, const char *dir, qaio_error *err) {
    DIR *d = opendir(dir);
    if (!d) {
        qaio_status status = error_errno(err, dir, "open the folder of tasks", errno);
        if (errno == ENOENT) status = error_at(err, QAIO_ERR_NOT_FOUND, dir, -1, "there is no such folder of tasks");
        return status;
    }
    qaio_status status = QAIO_OK;
    while (!status) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) {
            if (errno) status = error_errno(err, dir, "read the folder of tasks", errno);
            break;
        }
        if (!task_file_is_named(e->d_name)) continue;
        if (out->n == TASK_MAX_TASKS)
            status = error_at(err, QAIO_ERR_LIMIT, dir, -1, "more than %d files *.yaml", TASK_MAX_TASKS);
        else if (!(out->items[out->n] = mem_strndup(e->d_name, strlen(e->d_name))))
            status = error_memory(err);
        else
            out->n++;
    }
    closedir(d);
    if (!status && out->n == 0) status = error_at(err, QAIO_ERR_NOT_FOUND, dir, -1, "no file *.yaml in this folder of tasks");
    qsort(out->items, out->n, sizeof *out->items, compare_names); /* so that errors do not depend on the file system's order */
    return status;
}

static int compare_entries(const void *a, const void *b) { return strcmp(((const entry *)a)->task.name, ((const entry *)b)->task.name); }

static qaio_status add_directory(task_set *set, const char *dir, qaio_error *err) {
    names files = {0};
    qaio_status status = list_files(&files, dir, err);
    for (size_t i = 0; !status && i < files.n; i++) status = add_file(set, dir, files.items[i], err);
    for (size_t i = 0; i < files.n; i++) mem_free(files.items[i]);
    qsort(set->entries + set->n_builtin, set->n - set->n_builtin, sizeof *set->entries, compare_entries);
    return status;
}

/* ---- what files say about each other ---- */

static const task_label *find_label(const task *t, const char *id) {
    for (size_t i = 0; i < t->n_labels; i++)
        if (strcmp(t->labels[i].id, id) == 0) return &t->labels[i];
    return NULL;
}

static qaio_status check_condition(task_set *set, const entry *e, const task_route *route, const task_condition *c, qaio_error *err) {
    const entry *other = find_entry(set, c->task);
    if (other && other->task.kind == TASK_LABEL && find_label(&other->task, c->label)) return QAIO_OK;
    if (!other || other->task.kind != TASK_LABEL)
        return yaml_tree_error(err, QAIO_ERR_FORMAT, e->path, route->line, "the route %s looks at %s, which is no label task", route->id,
                               c->task);
    return yaml_tree_error(err, QAIO_ERR_FORMAT, e->path, route->line, "the route %s waits for %s: %s, but %s has no such label", route->id,
                           c->task, c->label, c->task);
}

/* A built-in task may look at a task that a directory has replaced: a route that can never fit is never taken. */
static qaio_status check_routes(task_set *set, qaio_error *err) {
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < set->n; i++) {
        const entry *e = &set->entries[i];
        for (size_t k = 0; e->path && k < e->task.n_routes; k++)
            for (size_t w = 0; !status && w < e->task.routes[k].n_when; w++)
                status = check_condition(set, e, &e->task.routes[k], &e->task.routes[k].when[w], err);
    }
    return status;
}

/* ---- the contract ---- */

qaio_status task_set_open(task_set **out, const char *dir, qaio_error *err) {
    task_set *set = mem_zalloc(sizeof *set);
    if (!set) return error_memory(err);
    qaio_status status = QAIO_OK;
    for (size_t i = 0; !status && i < builtin_tasks_count; i++) {
        const embedded_file *f = &builtin_tasks_files[i];
        status = add_text(set, f->name, true, (const char *)f->data, f->bytes, err);
    }
    set->n_builtin = set->n;
    if (!status && dir) status = add_directory(set, dir, err);
    if (!status) status = check_routes(set, err);
    if (status) {
        task_set_free(set);
        return status;
    }
    *out = set;
    return QAIO_OK;
}

void task_set_free(task_set *set) {
    if (!set) return;
    for (size_t i = 0; i < set->n; i++) {
        task_deinit(&set->entries[i].task);
        mem_free(set->entries[i].path);
    }
    mem_free(set);
}

size_t task_set_size(const task_set *set) { return set->n; }

const task *task_set_at(const task_set *set, size_t i) { return &set->entries[i].task; }

bool task_is_weak_with(const task *t, const char *model_name) {
    for (size_t i = 0; i < t->n_weak_with; i++)
        if (strcmp(t->weak_with[i], model_name) == 0) return true;
    return false;
}

size_t task_set_index(const task_set *set, const task *t) {
    for (size_t i = 0; i < set->n; i++)
        if (&set->entries[i].task == t) return i;
    return TASK_NOT_IN_SET;
}

const task *task_set_chat(const task_set *set) {
    for (size_t i = 0; i < set->n; i++)
        if (set->entries[i].task.kind == TASK_CHAT) return &set->entries[i].task;
    return NULL;
}

qaio_status task_set_find(const task **out, const task_set *set, const char *name, qaio_error *err) {
    for (size_t i = 0; i < set->n; i++) {
        if (strcmp(set->entries[i].task.name, name) != 0) continue;
        *out = &set->entries[i].task;
        return QAIO_OK;
    }
    bool is_presentable = task_name_is_valid(name); /* else it may hold anything: it comes from requests */
    str all = {0};
    for (size_t i = 0; i < set->n; i++) str_printf(&all, "%s%s", i ? ", " : "", set->entries[i].task.name);
    qaio_status status = all.failed ? error_memory(err)
                                    : error_set(err, QAIO_ERR_NOT_FOUND, "there is no task%s%s; there are: %s", is_presentable ? " " : "",
                                                is_presentable ? name : " of this name", all.data);
    str_deinit(&all);
    return status;
}
