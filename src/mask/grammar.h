/* A grammar: the set of texts that may be generated, as an expression over bytes, and the automaton that it is.
 *
 * An expression is a node; equal expressions are one node.  A state of the automaton is the expression for what may still follow, and a
 * byte leads to its derivative: what may follow after that byte (Brzozowski 1964).  States and their transitions are made when they are
 * first needed and kept.  Rules may name themselves: nesting is bounded by GRAMMAR_MAX_DEPTH.
 *
 * An expression that is not EXPR_NOTHING can always be completed: constructors and derivatives keep it so.
 *
 * The order of a life:  grammar_new -> constructors -> grammar_begin -> grammar_next, grammar_accepts ... -> grammar_free.
 * One thread at a time: reading the automaton extends it. */
#ifndef QAIO_MASK_GRAMMAR_H
#define QAIO_MASK_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GRAMMAR_MAX_DEPTH 32                 /* rules inside each other */
#define GRAMMAR_MAX_BYTES ((size_t)32 << 20) /* of expressions and transitions */
#define GRAMMAR_MAX_NODES ((size_t)1 << 18)  /* expressions */
#define GRAMMAR_ANY       UINT32_MAX         /* as the most of a repetition: no limit */

typedef struct grammar grammar;

typedef uint32_t expr;         /* belongs to its grammar */
#define EXPR_NOTHING ((expr)0) /* no text at all: a dead end */
#define EXPR_END     ((expr)1) /* the empty text alone */

qaio_status grammar_new(grammar **out, qaio_error *err);
void grammar_free(grammar *g);

/* ---- expressions ----
 * When memory or a limit is exceeded they return EXPR_NOTHING and the grammar is spoilt: build freely, grammar_begin tells once. */

/* A set of bytes, a bit each. */
typedef struct byte_set {
    uint64_t bits[4];
} byte_set;
void byte_set_add(byte_set *set, uint8_t first, uint8_t last);
static inline bool byte_set_has(const byte_set *set, uint8_t byte) { return set->bits[byte >> 6] >> (byte & 63) & 1; }

expr grammar_bytes(grammar *g, const byte_set *set);
expr grammar_range(grammar *g, uint8_t first, uint8_t last);
expr grammar_text(grammar *g, const char *text, size_t n); /* exactly this; copied */
expr grammar_then(grammar *g, expr a, expr b);
expr grammar_either(grammar *g, const expr *list, size_t n);
expr grammar_or(grammar *g, expr a, expr b);
expr grammar_optional(grammar *g, expr a);
/* least to most times; most: GRAMMAR_ANY, or at least `least`. */
expr grammar_repeat(grammar *g, expr a, uint32_t least, uint32_t most);

/* A rule, to be named before it is defined; every one has to be defined before grammar_begin. */
typedef uint32_t rule;
rule grammar_rule(grammar *g);
expr grammar_named(grammar *g, rule r);
void grammar_define(grammar *g, rule r, expr body);

/* Lists of parts of a text, see keywords.h. */
typedef struct keywords keywords;

/* ---- the automaton ---- */

/* Fixes the grammar.  QAIO_ERR_ARGUMENT: no text satisfies it (within GRAMMAR_MAX_DEPTH); QAIO_ERR_LIMIT, QAIO_ERR_MEMORY: what went wrong
 * while it was built. */
qaio_status grammar_begin(grammar *g, expr start, qaio_error *err);
expr grammar_start(const grammar *g);

/* The state after a byte; EXPR_NOTHING: no text goes on so, or the grammar is spoilt (grammar_check). */
expr grammar_next(grammar *g, expr state, uint8_t byte);
bool grammar_accepts(const grammar *g, expr state); /* a whole text may end here */

/* How far ahead grammar_nearby has to be right, in bytes; once, before the first grammar_nearby. */
void grammar_set_horizon(grammar *g, uint32_t n_bytes);
/* A state from which the bytes up to the horizon are judged as from `state`, and so is an end after them: counters that cannot run out so
 * soon are forgotten.  Keeps the number of different masks small. */
expr grammar_nearby(grammar *g, expr state);

/* Not QAIO_OK after memory or a limit was exceeded. */
qaio_status grammar_check(const grammar *g, qaio_error *err);

#endif
