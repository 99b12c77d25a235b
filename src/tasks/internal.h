/* What resident.c, label.c and reply.c share. */
#ifndef QAIO_TASKS_INTERNAL_H
#define QAIO_TASKS_INTERNAL_H

#include <pthread.h>

#include "tasks/resident.h"

/* The tasks as their files were when they were read, with what the resident found out about them.  Replaced as a whole, never changed. */
typedef struct loaded_tasks loaded_tasks;
struct loaded_tasks {
    task_set *set;
    char *analyst;                              /* the prompt of LAYOUT_SHARED that names all tasks */
    token_list *prefixes;                       /* by task: what all its prompts begin with */
    token_list *shared_prefixes;                /* by task: the same in LAYOUT_SHARED */
    token_list *route_prefixes[TASK_MAX_TASKS]; /* by task, by route */
    double *(*priors)[TASK_LAYOUTS]; /* by task: of a text without content, NULL until they are known; under the resident's lock */
    found_calibration *calibrations; /* by task */
    size_t n_users;                  /* under the resident's lock */
    loaded_tasks *older;
};

struct resident {
    checkpoint *source; /* for its tokenizer and template */
    const kernels *kernels;
    pool *pool;
    engine *engine;
    int timeout_ms; /* 0: none */
    pthread_mutex_t trie_lock;  /* of what follows */
    token_trie *trie;           /* of the vocabulary; NULL before the first constrained reply */
    char *tasks_dir;            /* or NULL */
    pthread_mutex_t tasks_lock; /* of what follows */
    loaded_tasks *tasks;        /* the newest */
    qaio_status reload_status;  /* of the last attempt */
    qaio_error reload_error;
};

/* Appends the tokens of the rendered conversation; contents are literal text. */
qaio_status prompt_of_messages(const resident *r, const chat_message *messages, size_t n, const chat_options *options, token_list *out,
                               qaio_error *err);
/* Appends the tokens of a task's prompt for a text, up to where the model answers, or to where the task's opening follows. */
qaio_status prompt_of_task(const resident *r, const task *t, task_layout layout, const char *text, size_t n, token_list *out,
                           qaio_error *err);
/* How the answer begins in the layouts that fork: the task's own opening, else its title and a colon. */
void opening_append(str *out, const task *t);

/* The grammar of a task's constraint for a text; *out is NULL where it has none. */
qaio_status constraint_grammar(grammar **out, const task_constraint *c, const char *text, size_t n, qaio_error *err);
/* The mask of a reply that follows the grammar (moved, also on failure). */
qaio_status constraint_mask(token_mask **out, resident *r, grammar *g, qaio_error *err);

/* Those a task belongs to; its caller keeps them from going (resident_acquire_tasks).  NULL: none, an ad-hoc task. */
const loaded_tasks *resident_loaded(const resident *r, const task *t);
/* Makes them the newest; set: moved, also on failure. */
qaio_status resident_take_tasks(resident *r, task_set *set, qaio_error *err);
void resident_free_tasks(resident *r);

/* Finds what the prompts of every task begin with: computed with the first text, pinned from then on. */
qaio_status loaded_find_prefixes(const resident *r, loaded_tasks *loaded, qaio_error *err);
/* How many tokens of the prompt are that beginning; 0 where it begins otherwise. */
size_t task_prefix(const resident *r, const task *t, task_layout layout, const token_list *prompt);
size_t route_prefix(const resident *r, const task *t, const task_route *route, const token_list *prompt);

#endif
