/* Filling a qaio_error.  Every function takes err == NULL and returns the status, so that failing reads
 *     return error_set(err, QAIO_ERR_LIMIT, "%zu labels, at most %d", n, MAX); */
#ifndef QAIO_BASE_ERROR_H
#define QAIO_BASE_ERROR_H

#include "qaio/qaio.h"

#define PRINTF_LIKE(format_index, first_index) __attribute__((format(printf, format_index, first_index)))

qaio_status error_set(qaio_error *err, qaio_status status, const char *format, ...) PRINTF_LIKE(3, 4);

/* As error_set, with the file it happened in and the byte offset (-1: none). */
qaio_status error_at(qaio_error *err, qaio_status status, const char *path, int64_t offset, const char *format, ...) PRINTF_LIKE(5, 6);

/* QAIO_ERR_IO with strerror(errno_value). `doing` reads like "open", "write". */
qaio_status error_errno(qaio_error *err, const char *path, const char *doing, int errno_value);

qaio_status error_memory(qaio_error *err);

/* Writes "path: message (at byte N)" into out; always terminated. */
void error_format(const qaio_error *err, char *out, uint64_t out_bytes);

#endif
