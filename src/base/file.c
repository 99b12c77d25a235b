/* Files: mapping, capped reading, atomic replacement. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

/* Opens a regular file for reading; O_NONBLOCK so that a named pipe cannot make us wait. */
static qaio_status open_regular(int *out, struct stat *out_stat, const char *path, qaio_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        qaio_status status = error_errno(err, path, "open", errno);
        if (errno == ENOENT && err) err->status = QAIO_ERR_NOT_FOUND;
        return errno == ENOENT ? QAIO_ERR_NOT_FOUND : status;
    }
    struct stat st;
    qaio_status status = QAIO_OK;
    if (fstat(fd, &st) != 0)
        status = error_errno(err, path, "stat", errno);
    else if (!S_ISREG(st.st_mode))
        status = error_at(err, QAIO_ERR_IO, path, -1, "not a regular file");
    if (status) {
        close(fd);
        return status;
    }
    *out = fd;
    *out_stat = st;
    return QAIO_OK;
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t n) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t stamp_of(const struct stat *st) {
    const int64_t fields[] = {(int64_t)st->st_dev,         (int64_t)st->st_ino,          (int64_t)st->st_size,
                              (int64_t)st->st_mtim.tv_sec, (int64_t)st->st_mtim.tv_nsec, (int64_t)st->st_ctim.tv_sec,
                              (int64_t)st->st_ctim.tv_nsec};
    return hash_bytes(HASH_BEGIN, fields, sizeof fields);
}

qaio_status file_map_open(file_map *out, const char *path, qaio_error *err) {
    int fd = -1;
    struct stat st;
    qaio_status status = open_regular(&fd, &st, path, err);
    if (status) return status;
    size_t bytes = (size_t)st.st_size;
    void *data = NULL;
    if (bytes) data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        status = error_errno(err, path, "map", errno);
    else
        *out = (file_map){data, bytes, stamp_of(&st)};
    close(fd);
    return status;
}

void file_map_close(file_map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (file_map){0};
}

qaio_status file_read(char **out, size_t *bytes, const char *path, size_t max_bytes, qaio_error *err) {
    int fd = -1;
    struct stat st;
    qaio_status status = open_regular(&fd, &st, path, err);
    if (status) return status;
    size_t size = (size_t)st.st_size;
    char *data = NULL;
    if (size > max_bytes) {
        status = error_at(err, QAIO_ERR_LIMIT, path, -1, "%zu bytes, at most %zu are read", size, max_bytes);
        goto done;
    }
    if (!(data = mem_alloc(size + 1))) {
        status = error_memory(err);
        goto done;
    }
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, data + got, size - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status = error_errno(err, path, "read", errno);
            goto done;
        }
        if (n == 0) break; /* it shrank while we read */
        got += (size_t)n;
    }
    data[got] = '\0';
    *out = data;
    *bytes = got;
    data = NULL;
done:
    mem_free(data);
    close(fd);
    return status;
}

qaio_status file_writer_open(file_writer *out, const char *path, qaio_error *err) {
    file_writer w = {0};
    qaio_status status = QAIO_OK;
    size_t n = strlen(path);
    w.path = mem_strndup(path, n);
    w.temporary_path = mem_alloc(n + sizeof ".XXXXXX");
    if (!w.path || !w.temporary_path) {
        status = error_memory(err);
        goto fail;
    }
    memcpy(w.temporary_path, path, n);
    memcpy(w.temporary_path + n, ".XXXXXX", sizeof ".XXXXXX");
    int fd = mkostemp(w.temporary_path, O_CLOEXEC);
    if (fd < 0) {
        status = error_errno(err, path, "create a file beside it", errno);
        goto fail;
    }
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, 0666 & ~mask) != 0 || !(w.stream = fdopen(fd, "wb"))) {
        status = error_errno(err, path, "open for writing", errno);
        close(fd);
        unlink(w.temporary_path);
        goto fail;
    }
    *out = w;
    return QAIO_OK;
fail:
    mem_free(w.path);
    mem_free(w.temporary_path);
    return status;
}

qaio_status file_writer_commit(file_writer *w, qaio_error *err) {
    qaio_status status = QAIO_OK;
    bool failed = ferror(w->stream) != 0;
    if (fflush(w->stream) != 0 || fsync(fileno(w->stream)) != 0) failed = true;
    int reason = errno;
    if (fclose(w->stream) != 0 && !failed) failed = true, reason = errno;
    w->stream = NULL;
    if (failed)
        status = error_errno(err, w->path, "write", reason ? reason : EIO);
    else if (rename(w->temporary_path, w->path) != 0)
        status = error_errno(err, w->path, "rename into place", errno);
    if (status) unlink(w->temporary_path);
    mem_free(w->path);
    mem_free(w->temporary_path);
    *w = (file_writer){0};
    return status;
}

void file_writer_abort(file_writer *w) {
    if (!w->stream) return;
    fclose(w->stream);
    unlink(w->temporary_path);
    mem_free(w->path);
    mem_free(w->temporary_path);
    *w = (file_writer){0};
}

bool file_is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

qaio_status file_make_directories(const char *path, qaio_error *err) {
    char *copy = mem_strndup(path, strlen(path));
    if (!copy) return error_memory(err);
    qaio_status status = QAIO_OK;
    for (char *p = copy + 1; !status; p++) {
        if (*p != '/' && *p != '\0') continue;
        char end = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && !(errno == EEXIST && file_is_directory(copy)))
            status = error_errno(err, copy, "create directory", errno);
        *p = end;
        if (!end) break;
    }
    mem_free(copy);
    return status;
}

char *file_join(const char *dir, const char *name) {
    str s = {0};
    str_puts(&s, dir);
    if (s.len && s.data[s.len - 1] != '/') str_putc(&s, '/');
    str_puts(&s, name);
    if (s.failed) str_deinit(&s);
    return s.data;
}
