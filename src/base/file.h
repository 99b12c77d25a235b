/* Files: a read-only mapping, a whole-file read with a cap, an atomic replacement. */
#ifndef QAIO_BASE_FILE_H
#define QAIO_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef struct file_map {
    const uint8_t *data; /* NULL when the file is empty */
    size_t bytes;
    uint64_t stamp; /* of device, inode, size and times: another file, or the file changed, has another one */
} file_map;

/* FNV-1a, 64 bits; begin with HASH_BEGIN.  Tells things apart that nobody forges. */
#define HASH_BEGIN 0xcbf29ce484222325u
uint64_t hash_bytes(uint64_t hash, const void *data, size_t n);

/* Maps a regular file read-only.  Refuses directories, devices and pipes. */
qaio_status file_map_open(file_map *out, const char *path, qaio_error *err);
void file_map_close(file_map *map);

/* Reads a whole regular file of at most max_bytes; *out is NUL-terminated behind *bytes and owned by the caller (mem_free). */
qaio_status file_read(char **out, size_t *bytes, const char *path, size_t max_bytes, qaio_error *err);

/* A file written beside its place and renamed over it on commit, after fsync: a reader sees the old or the new one, never a torn one. */
typedef struct file_writer {
    FILE *stream; /* write here */
    char *path;
    char *temporary_path;
} file_writer;
qaio_status file_writer_open(file_writer *out, const char *path, qaio_error *err);
qaio_status file_writer_commit(file_writer *writer, qaio_error *err); /* closes either way; on failure the old file stays */
void file_writer_abort(file_writer *writer);                          /* removes the temporary file; fine after commit */

bool file_is_directory(const char *path);
bool file_exists(const char *path);
qaio_status file_make_directories(const char *path, qaio_error *err); /* mkdir -p */

/* dir + "/" + name, owned by the caller; NULL when out of memory. */
char *file_join(const char *dir, const char *name);

#endif
