/* The models in the cache: listing them, and finding the one that --model names.
 *
 * A folder is a whole model when weights are there and config.json, which hub_pull renames last; each GGUF file below it is a model of its
 * own. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "hub/listing.h"
#include "hub/name.h"

#define MAX_DEPTH 8 /* of folders inside a repository; deeper ones are not looked into */

typedef struct models {
    hub_local *items;
    size_t n, capacity;
} models;

/* A walk through one repository's folder. */
typedef struct walk {
    models *all;
    hub_name name;    /* .file: where the walk is */
    uint64_t bytes;   /* of the files of the whole model */
    size_t n_weights; /* *.safetensors */
    bool has_config;
} walk;

static qaio_status add_model(models *all, const hub_name *name, const char *path, uint64_t bytes, qaio_error *err) {
    if (all->n == all->capacity) {
        size_t capacity = all->capacity ? 2 * all->capacity : 8;
        hub_local *items = mem_realloc(all->items, capacity, sizeof *items);
        if (!items) return error_memory(err);
        all->items = items;
        all->capacity = capacity;
    }
    hub_local item = {.name = hub_name_display(name), .path = mem_strndup(path, strlen(path)), .bytes = bytes};
    if (!item.name || !item.path) {
        mem_free(item.name);
        mem_free(item.path);
        return error_memory(err);
    }
    all->items[all->n++] = item;
    return QAIO_OK;
}

static qaio_status walk_folder(walk *w, const char *dir, int depth, qaio_error *err);

/* One entry of a folder: `inside` is its path in the repository, `path` the one on disk. */
static qaio_status walk_entry(walk *w, const char *inside, const char *path, int depth, qaio_error *err) {
    struct stat st, target;
    if (lstat(path, &st) != 0 || stat(path, &target) != 0) return QAIO_OK; /* gone meanwhile, or a link to nothing */
    snprintf(w->name.file, sizeof w->name.file, "%s", inside);
    if (S_ISDIR(st.st_mode)) return depth < MAX_DEPTH ? walk_folder(w, path, depth + 1, err) : QAIO_OK; /* links: not followed, no loops */
    if (!S_ISREG(target.st_mode)) return QAIO_OK;
    if (listing_is_gguf(inside)) return add_model(w->all, &w->name, path, (uint64_t)target.st_size, err);
    if (!listing_is_model_file(inside)) return QAIO_OK;
    w->bytes += (uint64_t)target.st_size;
    w->n_weights += listing_is_weights(inside);
    w->has_config = w->has_config || strcmp(inside, "config.json") == 0;
    return QAIO_OK;
}

static qaio_status walk_folder(walk *w, const char *dir, int depth, qaio_error *err) {
    DIR *stream = opendir(dir);
    if (!stream) return error_errno(err, dir, "open", errno);
    char prefix[HUB_FILE_MAX + 1];
    snprintf(prefix, sizeof prefix, "%s", w->name.file);
    qaio_status status = QAIO_OK;
    for (struct dirent *entry; status == QAIO_OK && (entry = readdir(stream)) != NULL;) {
        char inside[HUB_FILE_MAX + 1];
        int n = snprintf(inside, sizeof inside, "%s%s%s", prefix, prefix[0] ? "/" : "", entry->d_name);
        if (n < 0 || (size_t)n >= sizeof inside || !hub_path_is_safe(inside)) continue; /* ".", "..", *.part, not from us */
        char *path = file_join(dir, entry->d_name);
        status = path ? walk_entry(w, inside, path, depth, err) : error_memory(err);
        mem_free(path);
    }
    closedir(stream);
    return status;
}

/* All models of one repository's folder. */
static qaio_status add_repo(models *all, const char *repo, const char *dir, qaio_error *err) {
    walk w = {.all = all};
    snprintf(w.name.repo, sizeof w.name.repo, "%s", repo);
    qaio_status status = walk_folder(&w, dir, 0, err);
    w.name.file[0] = '\0';
    if (status == QAIO_OK && w.has_config && w.n_weights > 0) status = add_model(all, &w.name, dir, w.bytes, err);
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(((const hub_local *)a)->name, ((const hub_local *)b)->name); }

qaio_status hub_list(hub_local **out, size_t *n, qaio_error *err) {
    char *dir = NULL;
    models all = {0};
    qaio_status status = hub_models_dir(&dir, err);
    if (status != QAIO_OK) return status;
    DIR *stream = opendir(dir);
    if (!stream && errno != ENOENT) status = error_errno(err, dir, "open", errno);
    for (struct dirent *entry; stream && status == QAIO_OK && (entry = readdir(stream)) != NULL;) {
        char repo[HUB_REPO_MAX + 1];
        if (!hub_repo_from_folder(repo, entry->d_name)) continue;
        char *path = file_join(dir, entry->d_name);
        if (!path) {
            status = error_memory(err);
        } else if (file_is_directory(path)) {
            status = add_repo(&all, repo, path, err);
        }
        mem_free(path);
    }
    if (stream) closedir(stream);
    mem_free(dir);
    if (status != QAIO_OK) {
        hub_list_free(all.items, all.n);
        return status;
    }
    if (all.n > 0) qsort(all.items, all.n, sizeof *all.items, by_name);
    *out = all.items;
    *n = all.n;
    return QAIO_OK;
}

void hub_list_free(hub_local *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        mem_free(list[i].name);
        mem_free(list[i].path);
    }
    mem_free(list);
}

/* Which of a repository's models a name means: that of the name itself, or without a file the only one. */
static qaio_status choose(char **path, const models *of_repo, const hub_name *name, const char *text, qaio_error *err) {
    char *display = hub_name_display(name);
    if (!display) return error_memory(err);
    const hub_local *chosen = !name->file[0] && of_repo->n == 1 ? &of_repo->items[0] : NULL;
    for (size_t i = 0; i < of_repo->n; i++) {
        if (strcmp(of_repo->items[i].name, display) == 0) chosen = &of_repo->items[i];
    }
    mem_free(display);
    if (chosen) {
        char *copy = mem_strndup(chosen->path, strlen(chosen->path));
        if (copy) *path = copy;
        return copy ? QAIO_OK : error_memory(err);
    }
    if (!name->file[0] && of_repo->n > 1) {
        return error_set(err, QAIO_ERR_ARGUMENT, "%s is several models in the cache; name one, such as %s (`qaio models` lists them)", text,
                         of_repo->items[0].name);
    }
    return error_set(err, QAIO_ERR_NOT_FOUND, "%s is neither a file nor in the cache; `qaio pull %s` fetches it", text, text);
}

qaio_status hub_find(char **path, const char *name, qaio_error *err) {
    if (file_exists(name)) {
        char *copy = mem_strndup(name, strlen(name));
        if (copy) *path = copy;
        return copy ? QAIO_OK : error_memory(err);
    }
    hub_name parsed;
    char *dir = NULL;
    models of_repo = {0};
    qaio_status status = hub_name_parse(&parsed, name, err);
    if (status == QAIO_OK) status = hub_repo_dir(&dir, parsed.repo, err);
    if (status == QAIO_OK && file_is_directory(dir)) status = add_repo(&of_repo, parsed.repo, dir, err);
    if (status == QAIO_OK && of_repo.n > 0) qsort(of_repo.items, of_repo.n, sizeof *of_repo.items, by_name);
    if (status == QAIO_OK) status = choose(path, &of_repo, &parsed, name, err);
    hub_list_free(of_repo.items, of_repo.n);
    mem_free(dir);
    return status;
}
