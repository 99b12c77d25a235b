/* The folder of prefix files, and the thread that writes them. */
#include "engine/prefix_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/prefix_file.h"

#define SUFFIX      ".kv" /* files being written have more behind it */
#define HASH_DIGITS 16

/* A prefix that waits to be written. */
typedef struct waiting {
    struct waiting *next;
    int32_t *ids;    /* owned */
    uint8_t *blocks; /* owned */
    prefix_desc desc;
    size_t bytes; /* of its file */
} waiting;

struct prefix_store {
    char *dir;
    uint64_t key;
    size_t block_bytes, max_bytes;
    bool keeps;
    pthread_t thread; /* where it keeps */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    waiting *first, **end; /* under the lock, as what follows */
    size_t waiting_bytes;
    bool is_closing;
};

static prefix_desc desc_of(const prefix_store *s, const int32_t *ids, size_t n, size_t n_blocks) {
    return (prefix_desc){.key = s->key, .ids = ids, .n_ids = n, .n_blocks = n_blocks, .block_bytes = s->block_bytes};
}

/* Owned; NULL when out of memory. */
static char *path_of(const prefix_store *s, const prefix_desc *d) {
    uint64_t hash = hash_bytes(hash_bytes(HASH_BEGIN, &d->key, sizeof d->key), d->ids, d->n_ids * sizeof *d->ids);
    str path = {0};
    str_printf(&path, "%s/%016llx" SUFFIX, s->dir, (unsigned long long)hash);
    if (path.failed) str_deinit(&path);
    return path.data;
}

/* ---- room ---- */

typedef struct kept_file {
    char *name; /* owned */
    struct timespec used;
    size_t bytes;
} kept_file;

typedef struct folder {
    DIR *dir;
    kept_file *files;
    size_t n, capacity, bytes; /* of all files */
} folder;

static bool is_older(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* False: a failed allocation. */
static bool add_file(folder *f, const char *name) {
    struct stat st;
    bool is_ours = strlen(name) > HASH_DIGITS && strncmp(name + HASH_DIGITS, SUFFIX, strlen(SUFFIX)) == 0;
    if (!is_ours || fstatat(dirfd(f->dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) return true;
    if (f->n == f->capacity) {
        size_t capacity = f->capacity ? 2 * f->capacity : 32;
        kept_file *files = mem_realloc(f->files, capacity, sizeof *files);
        if (!files) return false;
        f->files = files;
        f->capacity = capacity;
    }
    kept_file file = {mem_strndup(name, strlen(name)), st.st_mtim, (size_t)st.st_size};
    if (!file.name || !size_add(f->bytes, file.bytes, &f->bytes)) {
        mem_free(file.name);
        return false;
    }
    f->files[f->n++] = file;
    return true;
}

static void remove_oldest(folder *f) {
    size_t oldest = 0;
    for (size_t i = 1; i < f->n; i++)
        if (is_older(&f->files[i].used, &f->files[oldest].used)) oldest = i;
    unlinkat(dirfd(f->dir), f->files[oldest].name, 0);
    f->bytes -= f->files[oldest].bytes;
    mem_free(f->files[oldest].name);
    f->files[oldest] = f->files[--f->n];
}

/* Removes files until `bytes` more may be kept; false when they may not.  What other processes are writing counts and may go like
 * everything else, so that what a crash left does not stay for good. */
static bool make_room(const prefix_store *s, size_t bytes) {
    folder f = {.dir = opendir(s->dir)};
    bool ok = f.dir && bytes <= s->max_bytes;
    for (struct dirent *entry; ok && (entry = readdir(f.dir));) ok = add_file(&f, entry->d_name);
    while (ok && f.n && f.bytes > s->max_bytes - bytes) remove_oldest(&f);
    for (size_t i = 0; i < f.n; i++) mem_free(f.files[i].name);
    mem_free(f.files);
    if (f.dir) closedir(f.dir);
    return ok;
}

/* ---- writing ---- */

static void waiting_free(waiting *w) {
    if (!w) return;
    mem_free(w->ids);
    mem_free(w->blocks);
    mem_free(w);
}

static void write_one(const prefix_store *s, const waiting *w) {
    char *path = path_of(s, &w->desc);
    if (path && file_make_directories(s->dir, NULL) == QAIO_OK && make_room(s, w->bytes))
        prefix_file_write(&w->desc, path, w->blocks, NULL);
    mem_free(path);
}

static void *writer_thread(void *arg) {
    prefix_store *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->first && !s->is_closing) pthread_cond_wait(&s->changed, &s->lock);
        waiting *w = s->first;
        if (!w) break;
        if (!(s->first = w->next)) s->end = &s->first;
        pthread_mutex_unlock(&s->lock);
        write_one(s, w);
        pthread_mutex_lock(&s->lock);
        s->waiting_bytes -= w->bytes;
        waiting_free(w);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void prefix_store_save(prefix_store *s, const int32_t *ids, size_t n, uint8_t *blocks, size_t n_blocks) {
    waiting *w = mem_zalloc(sizeof *w);
    if (!w) {
        mem_free(blocks);
        return;
    }
    w->blocks = blocks;
    w->ids = mem_array(n, sizeof *ids);
    w->desc = desc_of(s, w->ids, n, n_blocks);
    if (!w->ids || !prefix_file_bytes(&w->desc, &w->bytes)) {
        waiting_free(w);
        return;
    }
    memcpy(w->ids, ids, n * sizeof *ids);
    pthread_mutex_lock(&s->lock);
    bool has_room = w->bytes <= PREFIX_STORE_MAX_WAITING - s->waiting_bytes;
    if (has_room) {
        s->waiting_bytes += w->bytes;
        *s->end = w;
        s->end = &w->next;
        pthread_cond_signal(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    if (!has_room) waiting_free(w);
}

/* ---- the store ---- */

bool prefix_store_load(prefix_store *s, const int32_t *ids, size_t n, void *const *blocks, size_t n_blocks) {
    prefix_desc d = desc_of(s, ids, n, n_blocks);
    char *path = path_of(s, &d);
    bool is_read = path && prefix_file_read(&d, path, blocks, NULL) == QAIO_OK;
    if (is_read && s->keeps) utimensat(AT_FDCWD, path, NULL, 0); /* used now; no matter where that fails */
    mem_free(path);
    return is_read;
}

bool prefix_store_keeps(const prefix_store *s) { return s->keeps; }

prefix_store *prefix_store_open(const char *dir, uint64_t key, size_t block_bytes, bool keeps, size_t max_bytes) {
    prefix_store *s = mem_zalloc(sizeof *s);
    if (!s) return NULL;
    if (!(s->dir = mem_strndup(dir, strlen(dir)))) {
        mem_free(s);
        return NULL;
    }
    s->key = key;
    s->block_bytes = block_bytes;
    s->max_bytes = max_bytes;
    s->end = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->keeps = keeps && pthread_create(&s->thread, NULL, writer_thread, s) == 0;
    return s;
}

void prefix_store_close(prefix_store *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->is_closing = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->keeps) pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    mem_free(s->dir);
    mem_free(s);
}
