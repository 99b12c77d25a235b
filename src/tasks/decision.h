/* Decisions: a question that the caller words, with options that the caller names, about a text.  An ad-hoc label task: each option is
 * scored by its own text. */
#ifndef QAIO_TASKS_DECISION_H
#define QAIO_TASKS_DECISION_H

#include "tasks/resident.h"

#define DECISION_MAX_OPTIONS      255
#define DECISION_MAX_OPTION_BYTES 1024
/* Small models prefer a place in a list.  So the options are put into the order of their texts, which makes the caller's order not matter
 * at all, and read in rotations of it that are averaged: up to DECISION_MAX_ORDERS options in all of them, up to DECISION_MAX_SOME_ORDERS
 * in a few, more in one (docs/decisions.md has the figures). */
#define DECISION_MAX_ORDERS      6
#define DECISION_MAX_SOME_ORDERS 32
#define DECISION_SOME_ORDERS     4

_Static_assert(DECISION_MAX_OPTIONS <= TASK_MAX_LABELS, "an option is a label");

typedef struct decision_option {
    const char *text;        /* what the model would say; not empty */
    const char *description; /* what it means, or NULL */
} decision_option;

typedef struct decision_question {
    const char *instructions;
    const decision_option *options; /* at least 2 */
    size_t n_options;
    bool has_mass; /* fill in decision_answer.mass: costs a row of the whole head an order */
} decision_question;

/* How an answer of yes or no is worded for these instructions: in Chinese when they have Chinese characters, else in English. */
const char *decision_yes_or_no(const char *instructions, bool is_yes);

typedef struct decision decision;

typedef struct decision_answer {
    size_t best; /* the most probable option */
    double probabilities[DECISION_MAX_OPTIONS];
    double confidence;         /* 0 when all options are equally probable, 1 when one is certain */
    double expected;           /* the mean place in the list, from 0 */
    double mass;               /* with has_mass: the probability that the model would go on with one of the options at all; else 0 */
    size_t n_prompt, n_cached; /* tokens, of all reads */
} decision_answer;

/* Starts all orders in one pass.  The question's texts are borrowed until decision_finish, the input is copied.  Fails as label_start does.
 */
qaio_status decision_start(decision **out, resident *r, const decision_question *q, const char *input, size_t n, qaio_error *err);
/* Waits until decision_finish would not wait, at most about timeout_ms; false: not yet. */
bool decision_wait(decision *d, int timeout_ms);
/* Waits and frees, also on failure. */
qaio_status decision_finish(decision *d, decision_answer *out, qaio_error *err);
void decision_cancel(decision *d); /* decision_finish still has to be called */

#endif
