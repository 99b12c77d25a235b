/* The file of packed weights. */
#include "model/pack_cache.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define PACK_VERSION 1 /* of the packed layout: one more whenever kernels.h changes it */

enum { HEADER_BYTES = 4096 };

typedef struct pack_header {
    char magic[8];
    uint32_t version;
    uint32_t byte_order; /* 0x01020304 as this machine writes it */
    uint64_t key, bytes;
} pack_header;

static pack_header header_of(uint64_t key, size_t bytes) {
    return (pack_header){{'q', 'a', 'i', 'o', 'p', 'a', 'c', 'k'}, PACK_VERSION, 0x01020304, key, bytes};
}

/* dir/name-type.pack, owned; NULL when out of memory.  What a file name should not hold becomes '_'. */
static char *path_of(const char *dir, const char *name, dtype type) {
    str path = {0};
    str_printf(&path, "%s/", dir);
    for (; *name; name++) str_putc(&path, isalnum((unsigned char)*name) || strchr("._-", *name) ? *name : '_');
    str_printf(&path, "-%s.pack", dtype_get(type)->name);
    if (path.failed) str_deinit(&path);
    return path.data;
}

uint8_t *pack_cache_map(const char *dir, const char *name, dtype type, uint64_t key, size_t bytes) {
    char *path = path_of(dir, name, type);
    file_map map;
    bool is_open = path && file_map_open(&map, path, NULL) == QAIO_OK;
    mem_free(path);
    if (!is_open) return NULL;
    pack_header want = header_of(key, bytes);
    if (map.bytes != bytes + HEADER_BYTES || memcmp(map.data, &want, sizeof want) != 0) {
        file_map_close(&map);
        return NULL;
    }
    uint8_t *start = (uint8_t *)(uintptr_t)map.data;
    madvise(start, map.bytes, MADV_HUGEPAGE); /* hints: file systems that cannot, do not */
    madvise(start, map.bytes, MADV_WILLNEED);
    return start + HEADER_BYTES;
}

void pack_cache_unmap(uint8_t *weights, size_t bytes) { munmap(weights - HEADER_BYTES, bytes + HEADER_BYTES); }

/* ---- writing ---- */

enum { CHUNK_BYTES = 4 << 20 };

struct pack_writer {
    pthread_t thread;
    atomic_bool is_stopped;
    char *dir, *path; /* owned */
    pack_header header;
    const uint8_t *weights;
};

static bool write_all(pack_writer *w, FILE *out) {
    uint8_t page[HEADER_BYTES] = {0};
    memcpy(page, &w->header, sizeof w->header);
    if (fwrite(page, 1, sizeof page, out) != sizeof page) return false;
    for (size_t at = 0; at < w->header.bytes; at += CHUNK_BYTES) {
        size_t n = w->header.bytes - at < CHUNK_BYTES ? w->header.bytes - at : CHUNK_BYTES;
        if (atomic_load(&w->is_stopped) || fwrite(w->weights + at, 1, n, out) != n) return false;
    }
    return true;
}

/* Nobody is told of a failure: without the file the next start packs again. */
static void *writer_thread(void *arg) {
    pack_writer *w = arg;
    file_writer file;
    if (file_make_directories(w->dir, NULL) || file_writer_open(&file, w->path, NULL)) return NULL;
    if (write_all(w, file.stream))
        file_writer_commit(&file, NULL);
    else
        file_writer_abort(&file);
    return NULL;
}

static void writer_free(pack_writer *w) {
    mem_free(w->dir);
    mem_free(w->path);
    mem_free(w);
}

pack_writer *pack_writer_start(const char *dir, const char *name, dtype type, uint64_t key, const uint8_t *weights, size_t bytes) {
    pack_writer *w = mem_zalloc(sizeof *w);
    if (!w) return NULL;
    w->dir = mem_strndup(dir, strlen(dir));
    w->path = path_of(dir, name, type);
    w->header = header_of(key, bytes);
    w->weights = weights;
    if (!w->dir || !w->path || pthread_create(&w->thread, NULL, writer_thread, w) != 0) {
        writer_free(w);
        return NULL;
    }
    return w;
}

void pack_writer_stop(pack_writer *w) {
    if (!w) return;
    atomic_store(&w->is_stopped, true);
    pthread_join(w->thread, NULL);
    writer_free(w);
}
