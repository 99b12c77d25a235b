/* The automaton: states from expressions, as far as they are asked for. */
#include <string.h>

#include "base/mem.h"
#include "mask/grammar_internal.h"
#include "mask/keywords_internal.h"

#define ENDLESS UINT32_MAX

/* ---- heights: what the shortest text of every rule needs ---- */

static uint32_t greater(uint32_t a, uint32_t b) { return a > b ? a : b; }

static uint32_t height_of(const grammar *g, const uint32_t *heights, expr e) {
    const node *n = &g->nodes[e];
    uint32_t least = ENDLESS;
    switch (n->kind) {
    case NODE_NOTHING:
        return ENDLESS;
    case NODE_THEN:
        return greater(heights[n->a], heights[n->b]);
    case NODE_EITHER:
        for (uint32_t i = 0; i < n->b; i++)
            if (heights[g->pool[n->a + i]] < least) least = heights[g->pool[n->a + i]];
        return least;
    case NODE_REPEAT:
        return n->c ? heights[n->a] : 0;
    case NODE_NAMED:
        return g->rules[n->a].height;
    default:
        return 0;
    }
}

/* Parts stand before what they are part of, so one pass settles all that a rule's height depends on but other rules. */
static void find_heights(grammar *g, uint32_t *heights) {
    for (size_t i = 0; i < g->n_rules; i++) g->rules[i].height = ENDLESS;
    for (bool has_changed = true; has_changed;) {
        has_changed = false;
        for (expr e = 0; e < g->n_nodes; e++) heights[e] = height_of(g, heights, e);
        for (size_t i = 0; i < g->n_rules; i++) {
            uint32_t inner = heights[g->rules[i].body], height = inner >= GRAMMAR_MAX_DEPTH ? ENDLESS : inner + 1;
            has_changed |= height != g->rules[i].height;
            g->rules[i].height = height;
        }
    }
}

/* ---- classes of bytes ---- */

static void split_classes(grammar *g, const byte_set *set) {
    int inside[256]; /* by class: the class of its bytes in the set, -1: none yet */
    memset(inside, -1, sizeof inside);
    bool has_outside[256] = {0};
    for (unsigned byte = 0; byte < 256; byte++)
        if (!byte_set_has(set, (uint8_t)byte)) has_outside[g->classes[byte]] = true;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t class = g->classes[byte];
        if (!byte_set_has(set, (uint8_t)byte) || !has_outside[class]) continue;
        if (inside[class] < 0) inside[class] = (int)g->n_classes++;
        g->classes[byte] = (uint8_t)inside[class];
    }
}

static void find_classes(grammar *g) {
    g->n_classes = 1;
    byte_set set;
    for (expr e = 0; e < g->n_nodes; e++) {
        if (g->nodes[e].kind != NODE_BYTES) continue;
        memcpy(&set, g->pool + g->nodes[e].a, sizeof set);
        split_classes(g, &set);
    }
    bool is_seen[256] = {0};
    for (size_t i = 0; i < g->n_texts; i++) is_seen[(uint8_t)g->texts[i]] = true;
    if (g->keywords) memset(is_seen, true, sizeof is_seen); /* any byte may stand in their text */
    for (unsigned byte = 0; byte < 256; byte++) {
        if (!is_seen[byte]) continue;
        set = (byte_set){0};
        byte_set_add(&set, (uint8_t)byte, (uint8_t)byte);
        split_classes(g, &set);
    }
}

/* ---- rules at their places ---- */

static expr place(grammar *g, expr e, uint32_t depth);

static expr place_parts(grammar *g, node n, uint32_t depth) {
    switch (n.kind) {
    case NODE_NAMED:
        return grammar_call(g, n.a, depth);
    case NODE_THEN: {
        expr first = place(g, n.a, depth);
        return first == EXPR_NOTHING ? first : grammar_then(g, first, place(g, n.b, depth));
    }
    case NODE_REPEAT:
        return grammar_repeat(g, place(g, n.a, depth), n.c, n.d);
    default: { /* EITHER */
        size_t begin = g->n_scratch;
        for (uint32_t i = 0; i < n.b; i++) grammar_gather(g, place(g, g->pool[n.a + i], depth));
        return grammar_gathered(g, begin);
    }
    }
}

/* The expression with its rules called at this depth, from 0.  Each part once: optional properties share what follows them. */
static expr place(grammar *g, expr e, uint32_t depth) {
    if (!g->nodes[e].has_names) return e;
    placed_expr *known = &g->placed[e]; /* names stand only in what was there before grammar_begin */
    if (known->depth != depth + 1) *known = (placed_expr){place_parts(g, g->nodes[e], depth), depth + 1};
    return known->e;
}

static expr body_of(grammar *g, expr call) {
    node n = g->nodes[call];
    if (n.same) return n.same;
    expr body = place(g, g->rules[n.a].body, n.b + 1);
    g->nodes[call].same = body;
    return body;
}

qaio_status grammar_begin(grammar *g, expr start, qaio_error *err) {
    if (g->status) return grammar_check(g, err);
    uint32_t *heights = mem_array(g->n_nodes, sizeof *heights);
    g->placed = mem_array(g->n_nodes, sizeof *g->placed);
    if (!heights || !g->placed) {
        mem_free(heights);
        return error_memory(err);
    }
    find_heights(g, heights);
    mem_free(heights);
    find_classes(g);
    g->start = place(g, start, 0);
    if (g->status) return grammar_check(g, err);
    if (g->start == EXPR_NOTHING)
        return error_set(err, QAIO_ERR_ARGUMENT, "no text satisfies the constraint, or only one nested more than %d levels deep",
                         GRAMMAR_MAX_DEPTH);
    return QAIO_OK;
}

expr grammar_start(const grammar *g) { return g->start; }
bool grammar_accepts(const grammar *g, expr state) { return g->nodes[state].accepts; }

/* ---- derivatives ---- */

static expr derive(grammar *g, node n, uint8_t byte) {
    byte_set set;
    size_t begin = g->n_scratch;
    switch (n.kind) {
    case NODE_BYTES:
        memcpy(&set, g->pool + n.a, sizeof set);
        return byte_set_has(&set, byte) ? EXPR_END : EXPR_NOTHING;
    case NODE_TEXT:
        if ((uint8_t)g->texts[n.a] != byte) return EXPR_NOTHING;
        return n.b == 1 ? EXPR_END : grammar_node(g, NODE_TEXT, n.a + 1, n.b - 1, 0, 0);
    case NODE_THEN: {
        expr rest = grammar_then(g, grammar_next(g, n.a, byte), n.b);
        return g->nodes[n.a].accepts ? grammar_or(g, rest, grammar_next(g, n.b, byte)) : rest;
    }
    case NODE_EITHER:
        for (uint32_t i = 0; i < n.b; i++) grammar_gather(g, grammar_next(g, g->pool[n.a + i], byte));
        return grammar_gathered(g, begin);
    case NODE_REPEAT:
        return grammar_then(g, grammar_next(g, n.a, byte), grammar_repeat(g, n.a, n.c ? n.c - 1 : 0, n.d == GRAMMAR_ANY ? n.d : n.d - 1));
    case NODE_CALL:
        return EXPR_NOTHING; /* grammar_next asks its body */
    case NODE_KEYWORDS:
        return keywords_next(g, &n, byte);
    default:
        return EXPR_NOTHING;
    }
}

/* Where the transitions of a state are kept; NULL after a failure. */
static uint32_t *transitions(grammar *g, expr state) {
    uint32_t *next = g->nodes[state].next;
    if (next) return next;
    size_t bytes = g->n_classes * sizeof *next;
    if (g->next_bytes + bytes > GRAMMAR_MAX_BYTES) return grammar_fail(g, QAIO_ERR_LIMIT), NULL;
    if (!(next = mem_alloc(bytes))) return grammar_fail(g, QAIO_ERR_MEMORY), NULL;
    memset(next, 0xFF, bytes);
    g->next_bytes += bytes;
    g->nodes[state].next = next;
    return next;
}

expr grammar_next(grammar *g, expr state, uint8_t byte) {
    const node *n = &g->nodes[state];
    if (g->status || state <= EXPR_END) return EXPR_NOTHING;
    if (n->kind == NODE_KEYWORDS) return keywords_next(g, &(node){.kind = n->kind, .a = n->a, .b = n->b, .c = n->c, .d = n->d}, byte);
    if (n->kind == NODE_CALL) return grammar_next(g, body_of(g, state), byte);
    uint32_t *next = transitions(g, state);
    if (!next) return EXPR_NOTHING;
    uint32_t *slot = &next[g->classes[byte]];
    if (*slot == NEXT_UNKNOWN) {
        expr e = derive(g, g->nodes[state], byte);
        if (g->status) return EXPR_NOTHING;
        *slot = e; /* rows stay where they are */
    }
    return *slot;
}

/* ---- states that look alike from near by ---- */

void grammar_set_horizon(grammar *g, uint32_t n_bytes) { g->horizon = n_bytes; }

expr grammar_nearby(grammar *g, expr state) {
    node n = g->nodes[state];
    if (!n.has_counters) return state;
    if (n.same) return n.same;
    expr same = state;
    size_t begin = g->n_scratch;
    if (n.kind == NODE_THEN) {
        same = grammar_nearby(g, n.a);
        same = grammar_then(g, same, grammar_nearby(g, n.b));
    } else if (n.kind == NODE_EITHER) {
        for (uint32_t i = 0; i < n.b; i++) grammar_gather(g, grammar_nearby(g, g->pool[n.a + i]));
        same = grammar_gathered(g, begin);
    } else if (n.kind == NODE_REPEAT) {
        uint32_t least = n.c > g->horizon ? g->horizon + 1 : n.c, most = n.d > g->horizon ? GRAMMAR_ANY : n.d;
        same = grammar_repeat(g, grammar_nearby(g, n.a), least, most);
    }
    g->nodes[state].same = same;
    return same;
}
