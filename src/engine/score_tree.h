/* The continuations that a job scores, as a tree of tokens: what begins alike is computed once.
 *
 *   prompt's end ─┬─ 情绪 ── ： ─┬─ 开心        rows: 情绪, ： and 不; the logits after ： give 开心 and 不, those after 不 give 安
 *                 │             └─ 不 ── 安
 *                 └─ 意图 ── ： ─┬─ 提问
 *                               └─ 抱怨
 *
 * A node that something follows needs a row; rows in a line form a run, a sequence that forks the run (or the prompt) it hangs on.  Runs
 * stand in pre-order, and one is let go of when all that hang on it are done, so that few of many need memory at the same time. */
#ifndef QAIO_ENGINE_SCORE_TREE_H
#define QAIO_ENGINE_SCORE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/kv.h"

#define SCORE_NONE       UINT32_MAX
#define SCORE_ROOT       0  /* the node of the prompt's end */
#define SCORE_MAX_BLOCKS 64 /* KV blocks of runs at the same time; more only where one path needs more */

typedef struct score_node {
    int32_t token;
    uint32_t parent, first_child, next_sibling; /* SCORE_ROOT: none */
    uint32_t group;                             /* whose score it is part of; SCORE_NONE: of an opening, not scored */
    bool is_relative;                           /* its logit is taken as it is: all of its group leave out the same constant */
    double logprob;
} score_node;

typedef struct score_run {
    uint32_t parent;     /* run; SCORE_NONE: the prompt */
    size_t row, n;       /* its rows are [row, row + n) of the tree's */
    size_t first_output; /* the first of them whose logits are wanted, n: none */
    size_t position;     /* of its first row in the sequence */
    size_t n_blocks;     /* that it alone writes */
    size_t n_computed;   /* of its rows */
    size_t n_open;       /* runs that hang on it and are not done */
    kv_sequence kv;
} score_run;

typedef struct score_tree {
    score_node *nodes;
    size_t n_nodes;
    uint32_t *ends; /* by continuation: its last node */
    size_t n_ends;
    score_run *runs;
    size_t n_runs;
    int32_t *row_tokens;
    uint32_t *row_nodes;
    size_t n_least;  /* KV blocks of the longest path: without so many nothing can be computed */
    size_t n_blocks; /* at most held at the same time */
    size_t n_held;
    size_t n_points; /* nodes whose children wait for their logits */
} score_tree;

/* groups: checked by the caller.  QAIO_ERR_MEMORY. */
qaio_status score_tree_init(score_tree *t, const score_group *groups, size_t n_groups, size_t n_prompt, qaio_error *err);
/* Makes do with so many blocks, if they are at least n_least. */
void score_tree_limit(score_tree *t, size_t n_blocks);
void score_tree_deinit(score_tree *t); /* the runs' sequences have been cleared */

/* What the logits after a node are needed for. */
typedef enum score_need { NEED_NOTHING, NEED_LOGITS /* of its children alone */, NEED_ALL } score_need;
score_need score_need_of(const score_tree *t, uint32_t node);
/* The tokens of a node's scored children; their number. */
size_t score_tokens(const score_tree *t, uint32_t node, int32_t tokens[ENGINE_MAX_LABELS]);
/* logits: of the node's tokens as score_tokens lists them; log_sum: of the whole vocabulary, where NEED_ALL. */
void score_fill(score_tree *t, uint32_t node, const float *logits, double log_sum);

bool score_run_is_computed(const score_tree *t, uint32_t run); /* the prompt: always */
/* Lets go of a computed run and of those above it, where nothing else hangs on them. */
void score_run_done(score_tree *t, kv_pool *blocks, uint32_t run);
void score_tree_clear(score_tree *t, kv_pool *blocks);

/* log P of continuation i, as far as it is scored. */
double score_of(const score_tree *t, size_t i);

#endif
