/* What depends on whether a stream is a terminal: colour, width, a progress bar, and text made safe to show. */
#ifndef QAIO_CLI_TERMINAL_H
#define QAIO_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

bool terminal_has_colour(FILE *stream); /* a terminal, not TERM=dumb, and NO_COLOR is not set */

/* Writes text; on a terminal without the control characters that could command it (all but newline and tab). */
void terminal_write(FILE *stream, const char *text, size_t n);

/* A line on stderr that is drawn again as the work goes on, a few times a second. */
typedef struct progress {
    bool is_terminal, is_silent;
    double started_ms, drawn_ms;
    bool is_drawn;
    uint64_t begun_at; /* what was done before, by an earlier run */
} progress;

/* is_silent: nothing is shown.  Where stderr is no terminal a line is printed every few seconds, and only when `in_logs`. */
void progress_init(progress *p, bool in_logs, bool is_silent);
/* done of total (0: unknown); `what` comes behind the bar. */
void progress_draw(progress *p, uint64_t done, uint64_t total, const char *what);
bool progress_is_due(const progress *p); /* false: progress_draw would not draw */
void progress_end(progress *p);          /* removes the bar */
double progress_seconds(const progress *p);

/* Text at the beginning of a line of a table, two places in, in a column of this width; Chinese characters take two places. */
void print_name(const char *text, size_t columns);

/* "1.5 GB", "12 s", "3 min 20 s"; in Chinese "12 秒" */
void format_bytes(char out[32], uint64_t bytes);
void format_seconds(char out[32], double seconds);

#endif
