/* From --model and its companions to an open checkpoint or resident; failures are reported here. */
#ifndef QAIO_CLI_OPEN_H
#define QAIO_CLI_OPEN_H

#include "cli/settings.h"

/* Returns an exit status.  A long-lived program keeps what makes its next start fast. */
int open_resident(resident **out, const settings *s, bool is_long_lived);

/* --type and --kv-type: EXIT_USAGE with a report where weights or KV cannot have them. */
int check_types(const settings *s);

/* name NULL: the embedded model. */
qaio_status open_checkpoint_named(checkpoint **out, const char *name, qaio_error *err);

/* "sentiment,chat" -> tasks, each once, in this order.  Returns an exit status. */
#define MAX_TASKS_AT_ONCE 16
typedef struct task_choice {
    const task *tasks[MAX_TASKS_AT_ONCE];
    size_t n;
    size_t n_labels; /* label tasks among them */
    bool has_layout; /* --layout */
    task_layout layout;
} task_choice;
int choose_tasks(task_choice *out, const settings *s, const task_set *set, const char *list);

/* QAIO_CPU, or NULL. */
const char *wanted_cpu(void);

#endif
