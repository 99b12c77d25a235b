/* Filling a qaio_error. */
#include "base/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *qaio_status_name(qaio_status status) {
    static const char *const names[] = {
        [QAIO_OK] = "QAIO_OK",
        [QAIO_ERR_MEMORY] = "QAIO_ERR_MEMORY",
        [QAIO_ERR_IO] = "QAIO_ERR_IO",
        [QAIO_ERR_FORMAT] = "QAIO_ERR_FORMAT",
        [QAIO_ERR_UNSUPPORTED] = "QAIO_ERR_UNSUPPORTED",
        [QAIO_ERR_ARGUMENT] = "QAIO_ERR_ARGUMENT",
        [QAIO_ERR_NOT_FOUND] = "QAIO_ERR_NOT_FOUND",
        [QAIO_ERR_LIMIT] = "QAIO_ERR_LIMIT",
        [QAIO_ERR_BUSY] = "QAIO_ERR_BUSY",
        [QAIO_ERR_CANCELLED] = "QAIO_ERR_CANCELLED",
        [QAIO_ERR_TIMEOUT] = "QAIO_ERR_TIMEOUT",
    };
    if ((size_t)status >= sizeof names / sizeof *names) return "QAIO_ERR_UNKNOWN";
    return names[status];
}

/* A message that does not fit is cut between two characters, never inside one. */
static void cut_to_whole_characters(char *text, size_t size, int wanted) {
    if (wanted < 0 || (size_t)wanted < size) return;
    size_t n = size - 1;
    while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80) n--;
    if (n > 0 && (unsigned char)text[n - 1] >= 0xC0) n--;
    text[n] = '\0';
}

static void fill(qaio_error *err, qaio_status status, const char *path, int64_t offset, const char *format, va_list args) {
    err->status = status;
    err->offset = offset;
    cut_to_whole_characters(err->path, sizeof err->path, snprintf(err->path, sizeof err->path, "%s", path ? path : ""));
    cut_to_whole_characters(err->message, sizeof err->message, vsnprintf(err->message, sizeof err->message, format, args));
}

qaio_status error_set(qaio_error *err, qaio_status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, status, NULL, -1, format, args);
        va_end(args);
    }
    return status;
}

qaio_status error_at(qaio_error *err, qaio_status status, const char *path, int64_t offset, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, status, path, offset, format, args);
        va_end(args);
    }
    return status;
}

qaio_status error_errno(qaio_error *err, const char *path, const char *doing, int errno_value) {
    char reason[128];
    return error_at(err, QAIO_ERR_IO, path, -1, "cannot %s: %s", doing, strerror_r(errno_value, reason, sizeof reason));
}

qaio_status error_memory(qaio_error *err) { return error_set(err, QAIO_ERR_MEMORY, "out of memory"); }

void error_format(const qaio_error *err, char *out, uint64_t out_bytes) {
    char at[40] = "";
    if (err->offset >= 0) snprintf(at, sizeof at, " (at byte %" PRId64 ")", err->offset);
    snprintf(out, (size_t)out_bytes, "%s%s%s%s", err->path, err->path[0] ? ": " : "", err->message, at);
}
