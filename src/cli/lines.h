/* Lines of a file descriptor, with a limit on their length, and without waiting when asked so. */
#ifndef QAIO_CLI_LINES_H
#define QAIO_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct line_reader {
    int fd;
    size_t max_bytes; /* of a line */
    char *buffer;
    size_t begin, end, capacity;
    uint64_t n_taken; /* bytes of lines given out */
    size_t searched;  /* bytes after begin known to have no newline */
    bool is_eof, is_skipping;
    int error; /* errno of a read that failed; the input ends there */
} line_reader;

typedef enum line_status {
    LINE_OK,
    LINE_END,      /* also after an error (see `error`) or an interrupt */
    LINE_NOT_YET,  /* nothing there now; only when may_wait is false */
    LINE_TOO_LONG, /* longer than max_bytes; the rest of it is skipped */
} line_status;

void line_reader_init(line_reader *r, int fd, size_t max_bytes);
void line_reader_deinit(line_reader *r);
/* *line is valid until the next call, not terminated, without its "\n" or "\r\n". */
line_status line_next(line_reader *r, bool may_wait, const char **line, size_t *n);

#endif
