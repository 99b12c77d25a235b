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
    const task *chat; /* the task that replies, or NULL */
};

/* Appends the tokens of the rendered conversation; contents are literal text. */
qaio_status prompt_of_messages(const resident *r, const chat_message *messages, size_t n, const chat_options *options, token_list *out,
                               qaio_error *err);
/* Appends the tokens of a task's prompt for a text, up to where the model answers. */
qaio_status prompt_of_task(const resident *r, const task *t, const char *text, size_t n, token_list *out, qaio_error *err);

/* Computes and pins the prompt's part before the text, for every task and for the chat. */
qaio_status resident_pin_prompts(resident *r, qaio_error *err);

#endif
