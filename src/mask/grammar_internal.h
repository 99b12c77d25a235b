/* What grammar.c (nodes), derive.c (the automaton) and keywords.c share. */
#ifndef QAIO_MASK_GRAMMAR_INTERNAL_H
#define QAIO_MASK_GRAMMAR_INTERNAL_H

#include "mask/grammar.h"

/*     kind      a              b               c         d
 *     BYTES     the set: 8 words of the pool
 *     TEXT      first byte     bytes           .         .       in texts
 *     THEN      first          second          .         .
 *     EITHER    its n alternatives: n words of the pool, ascending
 *     REPEAT    what           .               least     most
 *     NAMED     rule           .               .         .       only in bodies of rules, and before grammar_begin
 *     CALL      rule           depth           .         .       a rule at its place
 *     KEYWORDS  first suffix   last suffix + 1 bytes     items before   see keywords.c                            */
typedef enum node_kind {
    NODE_NOTHING,
    NODE_END,
    NODE_BYTES,
    NODE_TEXT,
    NODE_THEN,
    NODE_EITHER,
    NODE_REPEAT,
    NODE_NAMED,
    NODE_CALL,
    NODE_KEYWORDS
} node_kind;

typedef struct node {
    uint8_t kind;
    bool accepts;
    bool has_names;      /* a NAMED inside */
    bool has_counters;   /* a bounded REPEAT inside */
    uint32_t a, b, c, d; /* pooled kinds: a is where the words begin, b how many */
    uint32_t same;       /* CALL: its body; else: what grammar_nearby made of it; 0: not known yet */
    uint32_t *next;      /* by class of bytes; NULL: nothing known yet */
} node;

#define NEXT_UNKNOWN UINT32_MAX

typedef struct rule_body {
    expr body;
    uint32_t height; /* rules that the shortest text has inside each other, from this one on */
} rule_body;

/* A part of a rule's body with its rules called at a depth. */
typedef struct placed_expr {
    expr e;
    uint32_t depth; /* 0: not known yet; else the depth that is known, the latest */
} placed_expr;

struct grammar {
    node *nodes;
    size_t n_nodes, nodes_capacity;
    expr *table; /* open addressing; 0: free */
    size_t table_size;
    uint32_t *pool;
    size_t n_pool, pool_capacity;
    char *texts;
    size_t n_texts, texts_capacity;
    expr *scratch; /* alternatives being gathered, a stack */
    size_t n_scratch, scratch_capacity;
    rule_body *rules;
    size_t n_rules, rules_capacity;
    placed_expr *placed;  /* by expression of those before grammar_begin */
    uint8_t classes[256]; /* bytes that no expression tells apart are one class */
    size_t n_classes;
    size_t next_bytes; /* memory of transitions */
    uint32_t horizon;
    expr start;
    keywords *keywords; /* owned */
    qaio_status status;
};

/* grammar_next, at once where it is known: masks are made of nothing else. */
static inline expr grammar_step(grammar *g, expr state, uint8_t byte) {
    const uint32_t *next = g->nodes[state].next;
    expr known = next ? next[g->classes[byte]] : NEXT_UNKNOWN;
    return known != NEXT_UNKNOWN ? known : grammar_next(g, state, byte);
}

/* The one node with these contents; EXPR_NOTHING after a failure. */
expr grammar_node(grammar *g, node_kind kind, uint32_t a, uint32_t b, uint32_t c, uint32_t d);
expr grammar_pooled(grammar *g, node_kind kind, const uint32_t *words, size_t n);
/* The rule in a place of this depth; EXPR_NOTHING where it cannot end before GRAMMAR_MAX_DEPTH. */
expr grammar_call(grammar *g, rule r, uint32_t depth);
/* Spoils the grammar; for   return grammar_fail(g, status); */
expr grammar_fail(grammar *g, qaio_status status);

/* Alternatives gathered on the scratch stack:  begin = g->n_scratch; grammar_gather ...; grammar_gathered(g, begin). */
void grammar_gather(grammar *g, expr e);
expr grammar_gathered(grammar *g, size_t begin);

#endif
