/* One line edited on a terminal: UTF-8 with wide characters, the usual keys, horizontal scrolling where the line is longer than the screen.
 */
#ifndef QAIO_CLI_LINE_EDIT_H
#define QAIO_CLI_LINE_EDIT_H

#include "base/str.h"

typedef enum edit_result { EDIT_LINE, EDIT_END, EDIT_INTERRUPTED } edit_result;

/* Older lines for the up and down keys, the newest last; borrowed. */
typedef struct edit_history {
    const char *const *lines;
    size_t n;
} edit_history;

/* Edits from an empty line; *line (cleared before) is what was typed.  EDIT_END: Ctrl-D on an empty line, or the terminal went away;
 * EDIT_INTERRUPTED: Ctrl-C. */
edit_result line_edit(int in, int out, const char *prompt, const edit_history *history, str *line);

#endif
