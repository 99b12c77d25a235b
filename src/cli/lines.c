#include "cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/interrupt.h"

#define READ_BYTES ((size_t)1 << 16)

void line_reader_init(line_reader *r, int fd, size_t max_bytes) { *r = (line_reader){.fd = fd, .max_bytes = max_bytes}; }

void line_reader_deinit(line_reader *r) {
    mem_free(r->buffer);
    *r = (line_reader){0};
}

/* Room for READ_BYTES more behind end. */
static bool make_room(line_reader *r) {
    if (r->begin > 0) {
        memmove(r->buffer, r->buffer + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->begin = 0;
    }
    if (r->capacity - r->end >= READ_BYTES) return true;
    size_t capacity = r->capacity ? 2 * r->capacity : 2 * READ_BYTES;
    char *buffer = mem_realloc(r->buffer, capacity, 1);
    if (!buffer) return false;
    r->buffer = buffer;
    r->capacity = capacity;
    return true;
}

/* false: nothing came and nothing will, or not now. */
static bool read_more(line_reader *r, bool may_wait) {
    struct pollfd ready = {.fd = r->fd, .events = POLLIN};
    if (!may_wait && poll(&ready, 1, 0) == 0) return false;
    if (!make_room(r)) {
        r->error = ENOMEM;
        r->is_eof = true;
        return false;
    }
    ssize_t n;
    do n = read(r->fd, r->buffer + r->end, READ_BYTES);
    while (n < 0 && errno == EINTR && !interrupt_count());
    if (n > 0) {
        r->end += (size_t)n;
        return true;
    }
    if (n < 0 && errno != EINTR) r->error = errno;
    r->is_eof = true;
    return false;
}

static line_status take(line_reader *r, size_t length, size_t separator, const char **line, size_t *n) {
    const char *begin = r->buffer + r->begin;
    bool is_rest = r->is_skipping;
    r->begin += length + separator;
    r->n_taken += length + separator;
    r->searched = 0;
    r->is_skipping = false;
    if (is_rest || length > r->max_bytes) return LINE_TOO_LONG;
    if (length && begin[length - 1] == '\r') length--;
    *line = begin;
    *n = length;
    return LINE_OK;
}

line_status line_next(line_reader *r, bool may_wait, const char **line, size_t *n) {
    for (;;) {
        size_t held = r->end - r->begin;
        const char *newline = held > r->searched ? memchr(r->buffer + r->begin + r->searched, '\n', held - r->searched) : NULL;
        if (newline) return take(r, (size_t)(newline - (r->buffer + r->begin)), 1, line, n);
        r->searched = held;
        if (held > r->max_bytes) { /* keep none of it */
            r->n_taken += held;
            r->begin = r->end = r->searched = 0;
            r->is_skipping = true;
        }
        if (read_more(r, may_wait)) continue;
        if (!r->is_eof) return LINE_NOT_YET;
        if (interrupt_count() || (r->begin == r->end && !r->is_skipping)) return LINE_END;
        return take(r, r->end - r->begin, 0, line, n);
    }
}
