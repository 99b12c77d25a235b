/* What resident.c, label.c and reply.c share. */
#ifndef QAIO_TASKS_INTERNAL_H
#define QAIO_TASKS_INTERNAL_H

#include "tasks/resident.h"

struct resident {
    checkpoint *source; /* for its tokenizer and template */
    const kernels *kernels;
    pool *pool;
    engine *engine;
    task_set *tasks;
    const task *chat;                /* the task that replies, or NULL */
    token_list *prefixes;            /* by task: what all its prompts begin with */
    found_calibration *calibrations; /* by task */
};

/* Appends the tokens of the rendered conversation; contents are literal text. */
qaio_status prompt_of_messages(const resident *r, const chat_message *messages, size_t n, const chat_options *options, token_list *out,
                               qaio_error *err);
/* Appends the tokens of a task's prompt for a text, up to where the model answers. */
qaio_status prompt_of_task(const resident *r, const task *t, const char *text, size_t n, token_list *out, qaio_error *err);

/* Finds what the prompts of every task begin with: computed with the first text, pinned from then on. */
qaio_status resident_find_prefixes(resident *r, qaio_error *err);
/* How many tokens of the prompt are that beginning; 0 where it begins otherwise. */
size_t task_prefix(const resident *r, const task *t, const token_list *prompt);

#endif
