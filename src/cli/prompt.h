/* A line typed by a person: with editing and history on a terminal where the build has libedit, else as it comes. */
#ifndef QAIO_CLI_PROMPT_H
#define QAIO_CLI_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct prompt prompt;

prompt *prompt_new(void); /* NULL when out of memory */
void prompt_free(prompt *p);
bool prompt_is_interactive(const prompt *p); /* a terminal on both sides */

typedef enum prompt_status { PROMPT_LINE, PROMPT_END, PROMPT_INTERRUPTED } prompt_status;

/* Shows `text` when interactive.  *line is valid until the next call, without its line end, terminated. */
prompt_status prompt_read(prompt *p, const char *text, const char **line, size_t *n);

#endif
