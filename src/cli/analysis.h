/* One text and all its tasks, started together: they share the passes over the weights. */
#ifndef QAIO_CLI_ANALYSIS_H
#define QAIO_CLI_ANALYSIS_H

#include <jansson.h>

#include "base/str.h"
#include "cli/open.h"

typedef struct task_run {
    label_read *read;   /* label tasks, while running */
    reply *reply;       /* the others, while running */
    const char *system; /* chat tasks: the prompt that the labels chose, or the task's own */
    qaio_status status;
    qaio_error error; /* where status is not QAIO_OK */
    label_answer answer;
    str text; /* what was generated */
} task_run;

typedef struct analysis {
    const task_choice *choice;
    str text;
    task_run runs[MAX_TASKS_AT_ONCE];
} analysis;

/* Copies the text.  What could not be started is an error of that task alone. */
void analysis_start(analysis *a, resident *r, const task_choice *choice, const reply_params *params, const char *text, size_t n);
void analysis_cancel(analysis *a);

/* Waits for the label of task i. */
void analysis_finish_label(analysis *a, size_t i);
/* Waits for the text of task i, giving each piece to show (may be NULL) as it comes; is_cancelled (may be NULL) is asked between pieces. */
typedef void analysis_show(void *ctx, const char *text, size_t n);
void analysis_finish_text(analysis *a, size_t i, analysis_show *show, void *ctx, int (*is_cancelled)(void));
/* Waits for everything. */
void analysis_finish(analysis *a);
/* Waits for what still runs and frees; ready for the next start. */
void analysis_deinit(analysis *a);

/* The first task that failed, or NULL. */
const qaio_error *analysis_error(const analysis *a);

/* [answer, …] of a finished analysis; a new reference. */
json_t *analysis_results(const analysis *a, const char *model_name);

#endif
