/* Download of one file with resume and verification. */
#include "hub/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define CHUNK_BYTES (256 << 10)

typedef struct digest {
    digest_kind kind;
    union {
        struct sha256_ctx sha256;
        struct sha1_ctx sha1;
    } u;
} digest;

static void digest_init(digest *d, const listing_file *file) {
    d->kind = file->kind;
    if (d->kind == DIGEST_SHA256) {
        sha256_init(&d->u.sha256);
        return;
    }
    char header[32];
    int n = snprintf(header, sizeof header, "blob %llu", (unsigned long long)file->bytes);
    sha1_init(&d->u.sha1);
    sha1_update(&d->u.sha1, (size_t)n + 1, (const uint8_t *)header); /* with its NUL */
}

static void digest_update(digest *d, const char *data, size_t n) {
    if (d->kind == DIGEST_SHA256) {
        sha256_update(&d->u.sha256, n, (const uint8_t *)data);
    } else {
        sha1_update(&d->u.sha1, n, (const uint8_t *)data);
    }
}

static size_t digest_final(digest *d, uint8_t out[SHA256_DIGEST_SIZE]) {
    if (d->kind == DIGEST_SHA256) {
        sha256_digest(&d->u.sha256, SHA256_DIGEST_SIZE, out);
        return SHA256_DIGEST_SIZE;
    }
    sha1_digest(&d->u.sha1, SHA1_DIGEST_SIZE, out);
    return SHA1_DIGEST_SIZE;
}

/* The .part file as the place where a body goes. */
typedef struct part_sink {
    http_sink base;
    int fd;
    const char *path;
    const listing_file *file;
    digest digest; /* of the bytes before base.position */
    fetch_progress *progress;
    void *ctx;
} part_sink;

static qaio_status part_restart(http_sink *s, qaio_error *err) {
    part_sink *part = (part_sink *)s;
    if (ftruncate(part->fd, 0) != 0 || lseek(part->fd, 0, SEEK_SET) != 0) return error_errno(err, part->path, "truncate", errno);
    digest_init(&part->digest, part->file);
    return QAIO_OK;
}

static qaio_status part_write(http_sink *s, const char *data, size_t n, qaio_error *err) {
    part_sink *part = (part_sink *)s;
    for (size_t done = 0; done < n;) {
        ssize_t written = write(part->fd, data + done, n - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return error_errno(err, part->path, "write", errno);
        done += (size_t)written;
    }
    digest_update(&part->digest, data, n);
    return QAIO_OK;
}

static bool part_keep_going(http_sink *s) {
    const part_sink *part = (part_sink *)s;
    return part->progress(part->ctx, s->position);
}

/* Takes up what an earlier run left: hashes it and stands behind it.  More than the file has is none of it. */
static qaio_status part_resume(part_sink *part, qaio_error *err) {
    struct stat st;
    if (fstat(part->fd, &st) != 0) return error_errno(err, part->path, "stat", errno);
    if (!S_ISREG(st.st_mode)) return error_at(err, QAIO_ERR_IO, part->path, -1, "not a regular file");
    qaio_status status = QAIO_OK;
    if ((uint64_t)st.st_size > part->file->bytes) status = part_restart(&part->base, err);
    char *buffer = mem_alloc(CHUNK_BYTES);
    if (!buffer) return error_memory(err);
    while (status == QAIO_OK) {
        ssize_t n = read(part->fd, buffer, CHUNK_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) break;
        if (n < 0) {
            status = error_errno(err, part->path, "read", errno);
        } else {
            digest_update(&part->digest, buffer, (size_t)n);
            part->base.position += (uint64_t)n;
            if (!part_keep_going(&part->base)) status = error_set(err, QAIO_ERR_CANCELLED, "%s: stopped", part->file->path);
        }
    }
    mem_free(buffer);
    return status;
}

static void hex_encode(char *out, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static qaio_status part_verify(part_sink *part, qaio_error *err) {
    uint8_t got[SHA256_DIGEST_SIZE];
    size_t n = digest_final(&part->digest, got);
    if (memcmp(got, part->file->digest, n) == 0) return QAIO_OK;
    char expected_hex[2 * SHA256_DIGEST_SIZE + 1], got_hex[2 * SHA256_DIGEST_SIZE + 1];
    hex_encode(expected_hex, part->file->digest, n);
    hex_encode(got_hex, got, n);
    return error_set(err, QAIO_ERR_FORMAT, "%s: %s differs, expected %s, got %s; the download was deleted", part->file->path,
                     part->file->kind == DIGEST_SHA256 ? "SHA-256" : "git SHA-1", expected_hex, got_hex);
}

/* Fetches what is missing and proves the whole. */
static qaio_status part_complete(part_sink *part, http_client *c, const char *url, qaio_error *err) {
    qaio_status status = QAIO_OK;
    if (part->base.position < part->file->bytes) status = http_get(c, url, part->file->path, &part->base, err);
    return status == QAIO_OK ? part_verify(part, err) : status;
}

static qaio_status part_open(part_sink *part, const char *path, int flags, const listing_file *file, fetch_progress *progress, void *ctx,
                             qaio_error *err) {
    *part = (part_sink){
        .base = {.bytes = file->bytes, .restart = part_restart, .write = part_write, .keep_going = part_keep_going},
        .fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0666),
        .path = path,
        .file = file,
        .progress = progress,
        .ctx = ctx,
    };
    digest_init(&part->digest, file);
    return part->fd < 0 ? error_errno(err, path, "open", errno) : QAIO_OK;
}

qaio_status fetch_part(http_client *c, const char *url, const char *part_path, const listing_file *file, fetch_progress *progress,
                       void *ctx, qaio_error *err) {
    part_sink part;
    qaio_status status = part_open(&part, part_path, O_RDWR | O_CREAT | O_NOFOLLOW, file, progress, ctx, err);
    if (status != QAIO_OK) return status;
    status = part_resume(&part, err);
    bool is_resuming = part.base.position > 0;
    if (status == QAIO_OK) status = part_complete(&part, c, url, err);
    if (status == QAIO_ERR_FORMAT && is_resuming) { /* what was there may be of another version of the file: once more, from nothing */
        part.base.position = 0;
        status = part_restart(&part.base, err);
        if (status == QAIO_OK) status = part_complete(&part, c, url, err);
    }
    if (status == QAIO_ERR_FORMAT) {
        unlink(part_path);
    } else if (status == QAIO_OK && fsync(part.fd) != 0) {
        status = error_errno(err, part_path, "write", errno);
    }
    close(part.fd);
    return status;
}

qaio_status fetch_check(const char *path, const listing_file *file, fetch_progress *progress, void *ctx, qaio_error *err) {
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != file->bytes) {
        return error_set(err, QAIO_ERR_FORMAT, "%s is not there, or has another size", path);
    }
    part_sink part;
    qaio_status status = part_open(&part, path, O_RDONLY, file, progress, ctx, err);
    if (status != QAIO_OK) return status;
    status = part_resume(&part, err);
    if (status == QAIO_OK) status = part_verify(&part, err);
    close(part.fd);
    return status;
}
