/* Writing and reading a prefix file. */
#include "engine/prefix_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

typedef struct file_header {
    char magic[8];
    uint32_t version, byte_order; /* 0x01020304 as this machine writes it */
    uint64_t key, n_tokens, n_blocks, block_bytes, checksum, zero;
} file_header;

_Static_assert(sizeof(file_header) == PREFIX_FILE_UNIT && offsetof(file_header, checksum) == PREFIX_FILE_CHECKSUM_AT, "as documented");

/* ---- checksum: eight lanes, each step one-to-one in the lane and in the word, so that no change of one word goes unseen ---- */

enum { N_LANES = PREFIX_FILE_UNIT / sizeof(uint64_t) };

typedef struct checksum {
    uint64_t lanes[N_LANES];
} checksum;

static checksum checksum_begin(void) {
    checksum c;
    for (size_t i = 0; i < N_LANES; i++) c.lanes[i] = HASH_BEGIN + i;
    return c;
}

static void checksum_add(checksum *c, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t at = 0; at < bytes; at += PREFIX_FILE_UNIT) {
        uint64_t words[N_LANES];
        memcpy(words, p + at, sizeof words);
        for (size_t i = 0; i < N_LANES; i++) {
            uint64_t x = (c->lanes[i] ^ words[i]) * 0x9e3779b97f4a7c15u;
            c->lanes[i] = x << 29 | x >> 35;
        }
    }
}

static uint64_t checksum_end(const checksum *c) { return hash_bytes(HASH_BEGIN, c->lanes, sizeof c->lanes); }

uint64_t prefix_file_checksum(const uint8_t *file, size_t bytes) {
    file_header header;
    memcpy(&header, file, sizeof header);
    header.checksum = 0;
    checksum c = checksum_begin();
    checksum_add(&c, &header, sizeof header);
    checksum_add(&c, file + sizeof header, bytes - sizeof header);
    return checksum_end(&c);
}

/* ---- header and tokens ---- */

static size_t token_bytes(size_t n) { return (n * sizeof(int32_t) + PREFIX_FILE_UNIT - 1) / PREFIX_FILE_UNIT * PREFIX_FILE_UNIT; }

bool prefix_file_bytes(const prefix_desc *d, size_t *bytes) {
    size_t n;
    if (d->n_ids == 0 || d->n_ids > PREFIX_FILE_MAX_TOKENS || d->block_bytes % PREFIX_FILE_UNIT) return false;
    return size_mul(d->n_blocks, d->block_bytes, &n) && size_add(n, sizeof(file_header) + token_bytes(d->n_ids), bytes);
}

/* What a file of this prefix begins with, its checksum 0; owned. */
static uint8_t *beginning_of(const prefix_desc *d, size_t *bytes) {
    file_header header = {.magic = {'q', 'a', 'i', 'o', 'p', 'r', 'f', 'x'},
                          .version = PREFIX_FILE_VERSION,
                          .byte_order = 0x01020304,
                          .key = d->key,
                          .n_tokens = d->n_ids,
                          .n_blocks = d->n_blocks,
                          .block_bytes = d->block_bytes};
    *bytes = sizeof header + token_bytes(d->n_ids);
    uint8_t *out = mem_zalloc(*bytes);
    if (!out) return NULL;
    memcpy(out, &header, sizeof header);
    memcpy(out + sizeof header, d->ids, d->n_ids * sizeof *d->ids);
    return out;
}

/* ---- writing ---- */

qaio_status prefix_file_write(const prefix_desc *d, const char *path, const uint8_t *blocks, qaio_error *err) {
    size_t bytes, n;
    if (!prefix_file_bytes(d, &bytes)) return error_set(err, QAIO_ERR_LIMIT, "a prefix of %zu tokens cannot be kept", d->n_ids);
    uint8_t *beginning = beginning_of(d, &n);
    if (!beginning) return error_memory(err);
    checksum c = checksum_begin();
    checksum_add(&c, beginning, n);
    checksum_add(&c, blocks, bytes - n);
    uint64_t sum = checksum_end(&c);
    memcpy(beginning + PREFIX_FILE_CHECKSUM_AT, &sum, sizeof sum);
    file_writer file;
    qaio_status status = file_writer_open(&file, path, err);
    if (!status) { /* a failed write is remembered by the stream and found by commit */
        fwrite(beginning, 1, n, file.stream);
        fwrite(blocks, 1, bytes - n, file.stream);
        status = file_writer_commit(&file, err);
    }
    mem_free(beginning);
    return status;
}

/* ---- reading ---- */

static bool read_all(int fd, void *out, size_t bytes) {
    for (size_t got = 0; got < bytes;) {
        ssize_t n = read(fd, (uint8_t *)out + got, bytes - got);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false; /* it shrank while we read, or the disk fails */
        got += (size_t)n;
    }
    return true;
}

/* Only a regular file of exactly this size; O_NONBLOCK so that a named pipe cannot make us wait. */
static int open_sized(const char *path, size_t bytes, qaio_status *status) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    *status = fd < 0 && errno == ENOENT ? QAIO_ERR_NOT_FOUND : QAIO_ERR_IO;
    if (fd < 0) return -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        if ((uint64_t)st.st_size == bytes) return fd;
        *status = QAIO_ERR_FORMAT;
    }
    close(fd);
    return -1;
}

/* Read, not mapped: a file that somebody cuts short meanwhile is an error then, not a signal. */
static bool read_content(int fd, const prefix_desc *d, const uint8_t *want, uint8_t *got, size_t n, void *const *blocks) {
    uint64_t sum;
    if (!read_all(fd, got, n)) return false;
    memcpy(&sum, got + PREFIX_FILE_CHECKSUM_AT, sizeof sum);
    memset(got + PREFIX_FILE_CHECKSUM_AT, 0, sizeof sum);
    if (memcmp(got, want, n) != 0) return false;
    checksum c = checksum_begin();
    checksum_add(&c, want, n);
    for (size_t i = 0; i < d->n_blocks; i++) {
        if (!read_all(fd, blocks[i], d->block_bytes)) return false;
        checksum_add(&c, blocks[i], d->block_bytes);
    }
    return checksum_end(&c) == sum;
}

qaio_status prefix_file_read(const prefix_desc *d, const char *path, void *const *blocks, qaio_error *err) {
    size_t bytes, n;
    qaio_status status;
    if (!prefix_file_bytes(d, &bytes)) return error_set(err, QAIO_ERR_NOT_FOUND, "a prefix of %zu tokens is not kept", d->n_ids);
    int fd = open_sized(path, bytes, &status);
    if (fd < 0) return error_at(err, status, path, -1, "no file of this prefix");
    uint8_t *want = beginning_of(d, &n), *got = want ? mem_alloc(n) : NULL;
    if (!got)
        status = error_memory(err);
    else if (!read_content(fd, d, want, got, n, blocks))
        status = error_at(err, QAIO_ERR_FORMAT, path, -1, "the file is damaged or of another prefix");
    else
        status = QAIO_OK;
    mem_free(want);
    mem_free(got);
    close(fd);
    return status;
}
