#include "cli/prompt.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/line_edit.h"
#include "cli/lines.h"

#define MAX_LINE_BYTES ((size_t)1 << 20)
#define MAX_HISTORY    200

struct prompt {
    bool is_interactive;
    str line;
    line_reader lines;
    char *history[MAX_HISTORY];
    size_t n_history;
};

prompt *prompt_new(void) {
    prompt *p = mem_zalloc(sizeof *p);
    const char *term = getenv("TERM");
    if (!p) return NULL;
    p->is_interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !(term && strcmp(term, "dumb") == 0);
    line_reader_init(&p->lines, STDIN_FILENO, MAX_LINE_BYTES);
    return p;
}

void prompt_free(prompt *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n_history; i++) mem_free(p->history[i]);
    str_deinit(&p->line);
    line_reader_deinit(&p->lines);
    mem_free(p);
}

bool prompt_is_interactive(const prompt *p) { return p->is_interactive; }

static void remember(prompt *p, const char *line, size_t n) {
    if (n == 0 || (p->n_history && strcmp(p->history[p->n_history - 1], line) == 0)) return;
    if (p->n_history == MAX_HISTORY) {
        mem_free(p->history[0]);
        memmove(p->history, p->history + 1, --p->n_history * sizeof *p->history);
    }
    char *copy = mem_strndup(line, n);
    if (copy) p->history[p->n_history++] = copy;
}

static prompt_status edit(prompt *p, const char *text, const char **line, size_t *n) {
    edit_history history = {(const char *const *)p->history, p->n_history};
    switch (line_edit(STDIN_FILENO, STDOUT_FILENO, text, &history, &p->line)) {
    case EDIT_END:
        return PROMPT_END;
    case EDIT_INTERRUPTED:
        return PROMPT_INTERRUPTED;
    case EDIT_LINE:
        break;
    }
    *line = p->line.data ? p->line.data : "";
    *n = p->line.len;
    remember(p, *line, *n);
    return PROMPT_LINE;
}

prompt_status prompt_read(prompt *p, const char *text, const char **line, size_t *n) {
    if (p->is_interactive) return edit(p, text, line, n);
    const char *raw;
    line_status got;
    do got = line_next(&p->lines, true, &raw, n);
    while (got == LINE_TOO_LONG);
    if (got == LINE_END) return PROMPT_END;
    str_clear(&p->line);
    str_append(&p->line, raw, *n);
    if (p->line.failed) return PROMPT_END;
    *line = p->line.data ? p->line.data : "";
    return PROMPT_LINE;
}
