/* /v1/analyze and /v1/tasks/{name}: requests as the fuzz target and the tests reach them. */
#ifndef QAIO_SERVER_ANALYZE_H
#define QAIO_SERVER_ANALYZE_H

#include "server/exchange.h"
#include "server/generation.h"

#define ANALYZE_MAX_TASKS 32
#define TASK_MAX_TEXTS    1024

/* How labels are read. */
typedef struct label_options {
    bool has_layout; /* in this one instead of the tasks' own */
    task_layout layout;
    bool has_mass; /* diagnostics */
} label_options;

typedef struct analyze_request {
    generation generation;
    message_list messages; /* the history, then the text */
    const char *text;      /* borrowed from the JSON */
    size_t text_bytes;
    const task *tasks[ANALYZE_MAX_TASKS];
    size_t n_tasks;
    bool has_reply;
    bool is_routed; /* labels choose the reply's prompt */
    label_options options;
    const task *chat; /* that replies, NULL: the first there is */
    const task *tool; /* a task that generates, instead of the chat; or NULL */
} analyze_request;
bool analyze_request_parse(analyze_request *out, const json_t *root, const char *model_name, const task_set *tasks, failure *f);
void analyze_request_deinit(analyze_request *r); /* also after a failure */

typedef struct task_request {
    generation generation;
    const json_t *texts; /* a list of strings, borrowed; NULL: one text */
    const char *text;
    size_t text_bytes;
    label_options options;
} task_request;
bool task_request_parse(task_request *out, const json_t *root, const char *model_name, failure *f);

bool label_options_parse(label_options *out, const json_t *root, failure *f);

/* A task by name; NULL after filling f (404). */
const task *task_named(const task_set *tasks, const char *name, const char *param, failure *f);

#endif
