/* Nodes: made once each, simplified so that a dead end is always EXPR_NOTHING. */
#include "mask/grammar.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "mask/grammar_internal.h"
#include "mask/keywords_internal.h"

#define FIRST_CAPACITY 64

_Static_assert(sizeof(byte_set) == 8 * sizeof(uint32_t), "a set is eight words of the pool");

expr grammar_fail(grammar *g, qaio_status status) {
    if (!g->status) g->status = status;
    return EXPR_NOTHING;
}

static size_t used_bytes(const grammar *g) {
    return g->nodes_capacity * sizeof *g->nodes + g->table_size * sizeof *g->table + g->pool_capacity * sizeof *g->pool +
           g->texts_capacity + g->next_bytes;
}

/* Room for n more items of an array; false after a failure. */
static bool reserve(grammar *g, void *array, size_t used, size_t n, size_t item_bytes, size_t *capacity) {
    size_t wanted = used + n, new_capacity = *capacity ? *capacity : FIRST_CAPACITY;
    if (wanted <= *capacity) return true;
    if (wanted > GRAMMAR_MAX_BYTES || used_bytes(g) > GRAMMAR_MAX_BYTES) return grammar_fail(g, QAIO_ERR_LIMIT), false;
    while (new_capacity < wanted) new_capacity *= 2;
    void **slot = array, *bigger = mem_realloc(*slot, new_capacity, item_bytes);
    if (!bigger) return grammar_fail(g, QAIO_ERR_MEMORY), false;
    *slot = bigger;
    *capacity = new_capacity;
    return true;
}

/* ---- one node for equal contents ---- */

static bool is_pooled(unsigned kind) { return kind == NODE_BYTES || kind == NODE_EITHER; }

static uint64_t mix(uint64_t hash, uint32_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

static uint64_t hash_node(unsigned kind, const uint32_t *words, size_t n) {
    uint64_t hash = mix(0, kind);
    for (size_t i = 0; i < n; i++) hash = mix(hash, words[i]);
    return hash;
}

static uint64_t hash_of(const grammar *g, expr e) {
    const node *n = &g->nodes[e];
    if (is_pooled(n->kind)) return hash_node(n->kind, g->pool + n->a, n->b);
    return hash_node(n->kind, (uint32_t[]){n->a, n->b, n->c, n->d}, 4);
}

static bool grow_table(grammar *g) {
    size_t size = g->table_size ? g->table_size * 2 : FIRST_CAPACITY;
    if (used_bytes(g) > GRAMMAR_MAX_BYTES) return grammar_fail(g, QAIO_ERR_LIMIT), false;
    expr *table = mem_array(size, sizeof *table);
    if (!table) return grammar_fail(g, QAIO_ERR_MEMORY), false;
    for (expr e = 1; e < g->n_nodes; e++) {
        size_t at = hash_of(g, e) & (size - 1);
        while (table[at]) at = (at + 1) & (size - 1);
        table[at] = e;
    }
    mem_free(g->table);
    g->table = table;
    g->table_size = size;
    return true;
}

/* The node with these words, or where it is to stand in the table. */
static expr find(const grammar *g, unsigned kind, const uint32_t *words, size_t n, size_t *at) {
    for (*at = hash_node(kind, words, n) & (g->table_size - 1); g->table[*at]; *at = (*at + 1) & (g->table_size - 1)) {
        const node *k = &g->nodes[g->table[*at]];
        if (k->kind != kind) continue;
        if (is_pooled(kind) ? k->b == n && memcmp(g->pool + k->a, words, n * sizeof *words) == 0
                            : k->a == words[0] && k->b == words[1] && k->c == words[2] && k->d == words[3])
            return g->table[*at];
    }
    return EXPR_NOTHING;
}

/* What is known of a node from its parts. */
static void describe(const grammar *g, node *n) {
    const node *a = &g->nodes[n->a], *b = &g->nodes[n->b]; /* only where they are expressions */
    switch (n->kind) {
    case NODE_THEN:
        n->accepts = a->accepts && b->accepts;
        n->has_names = a->has_names || b->has_names;
        n->has_counters = a->has_counters || b->has_counters;
        break;
    case NODE_EITHER:
        for (uint32_t i = 0; i < n->b; i++) {
            const node *k = &g->nodes[g->pool[n->a + i]];
            n->accepts |= k->accepts;
            n->has_names |= k->has_names;
            n->has_counters |= k->has_counters;
        }
        break;
    case NODE_REPEAT:
        n->accepts = n->c == 0;
        n->has_names = a->has_names;
        n->has_counters = a->has_counters || n->c > 1 || n->d != GRAMMAR_ANY;
        break;
    case NODE_NAMED:
        n->has_names = true;
        break;
    case NODE_KEYWORDS:
        n->accepts = keywords_accepts(g, n);
        break;
    default:
        n->accepts = n->kind == NODE_END;
    }
}

static expr intern(grammar *g, node_kind kind, const uint32_t *words, size_t n) {
    size_t at;
    if (g->status || (g->n_nodes * 4 >= g->table_size * 3 && !grow_table(g))) return EXPR_NOTHING;
    expr found = find(g, kind, words, n, &at);
    if (found) return found;
    if (g->n_nodes == GRAMMAR_MAX_NODES) return grammar_fail(g, QAIO_ERR_LIMIT);
    if (!reserve(g, &g->nodes, g->n_nodes, 1, sizeof *g->nodes, &g->nodes_capacity)) return EXPR_NOTHING;
    node new = {.kind = (uint8_t)kind};
    if (is_pooled(kind)) {
        if (!reserve(g, &g->pool, g->n_pool, n, sizeof *g->pool, &g->pool_capacity)) return EXPR_NOTHING;
        memcpy(g->pool + g->n_pool, words, n * sizeof *words);
        new.a = (uint32_t)g->n_pool;
        new.b = (uint32_t)n;
        g->n_pool += n;
    } else {
        new.a = words[0];
        new.b = words[1];
        new.c = words[2];
        new.d = words[3];
    }
    describe(g, &new);
    g->table[at] = (expr)g->n_nodes;
    g->nodes[g->n_nodes] = new;
    return (expr)g->n_nodes++;
}

expr grammar_node(grammar *g, node_kind kind, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return intern(g, kind, (uint32_t[]){a, b, c, d}, 4);
}

expr grammar_pooled(grammar *g, node_kind kind, const uint32_t *words, size_t n) { return intern(g, kind, words, n); }

qaio_status grammar_new(grammar **out, qaio_error *err) {
    grammar *g = mem_zalloc(sizeof *g);
    if (!g) return error_memory(err);
    if (!reserve(g, &g->nodes, 0, 2, sizeof *g->nodes, &g->nodes_capacity) || !grow_table(g)) {
        grammar_free(g);
        return error_memory(err);
    }
    g->nodes[EXPR_NOTHING] = (node){.kind = NODE_NOTHING};
    g->nodes[EXPR_END] = (node){.kind = NODE_END, .accepts = true};
    g->n_nodes = 2;
    *out = g;
    return QAIO_OK;
}

void grammar_free(grammar *g) {
    if (!g) return;
    for (size_t i = 0; i < g->n_nodes; i++) mem_free(g->nodes[i].next);
    mem_free(g->nodes);
    mem_free(g->table);
    mem_free(g->pool);
    mem_free(g->texts);
    mem_free(g->scratch);
    mem_free(g->rules);
    mem_free(g->placed);
    keywords_free(g->keywords);
    mem_free(g);
}

qaio_status grammar_check(const grammar *g, qaio_error *err) {
    if (g->status == QAIO_ERR_LIMIT)
        return error_set(err, g->status, "the constraint needs more than %zu MiB or %zu states", GRAMMAR_MAX_BYTES >> 20,
                         GRAMMAR_MAX_NODES);
    return g->status ? error_memory(err) : QAIO_OK;
}

/* ---- expressions ---- */

void byte_set_add(byte_set *set, uint8_t first, uint8_t last) {
    for (unsigned byte = first; byte <= last; byte++) set->bits[byte >> 6] |= (uint64_t)1 << (byte & 63);
}

expr grammar_bytes(grammar *g, const byte_set *set) {
    uint32_t words[8];
    memcpy(words, set, sizeof words);
    bool is_empty = !(set->bits[0] | set->bits[1] | set->bits[2] | set->bits[3]);
    return is_empty ? EXPR_NOTHING : grammar_pooled(g, NODE_BYTES, words, 8);
}

expr grammar_range(grammar *g, uint8_t first, uint8_t last) {
    byte_set set = {0};
    byte_set_add(&set, first, last);
    return grammar_bytes(g, &set);
}

expr grammar_text(grammar *g, const char *text, size_t n) {
    if (n == 0) return EXPR_END;
    if (n > GRAMMAR_MAX_BYTES) return grammar_fail(g, QAIO_ERR_LIMIT);
    if (g->status || !reserve(g, &g->texts, g->n_texts, n, 1, &g->texts_capacity)) return EXPR_NOTHING;
    memcpy(g->texts + g->n_texts, text, n);
    expr e = grammar_node(g, NODE_TEXT, (uint32_t)g->n_texts, (uint32_t)n, 0, 0);
    g->n_texts += n;
    return e;
}

expr grammar_then(grammar *g, expr a, expr b) {
    if (a == EXPR_NOTHING || b == EXPR_NOTHING) return EXPR_NOTHING;
    if (a == EXPR_END) return b;
    if (b == EXPR_END) return a;
    return grammar_node(g, NODE_THEN, a, b, 0, 0);
}

void grammar_gather(grammar *g, expr e) {
    const node *n = &g->nodes[e];
    size_t count = n->kind == NODE_EITHER ? n->b : 1;
    if (e == EXPR_NOTHING || g->status || !reserve(g, &g->scratch, g->n_scratch, count, sizeof *g->scratch, &g->scratch_capacity)) return;
    memcpy(g->scratch + g->n_scratch, n->kind == NODE_EITHER ? g->pool + n->a : &e, count * sizeof e);
    g->n_scratch += count;
}

static int compare_exprs(const void *a, const void *b) {
    expr x = *(const expr *)a, y = *(const expr *)b;
    return (x > y) - (x < y);
}

expr grammar_gathered(grammar *g, size_t begin) {
    size_t count = g->n_scratch - begin, n = 0;
    expr *list = g->scratch + begin;
    g->n_scratch = begin;
    if (count == 0 || g->status) return EXPR_NOTHING;
    if (count > 1) qsort(list, count, sizeof *list, compare_exprs);
    for (size_t i = 0; i < count; i++)
        if (n == 0 || list[i] != list[n - 1]) list[n++] = list[i];
    return n == 1 ? list[0] : grammar_pooled(g, NODE_EITHER, list, n);
}

expr grammar_either(grammar *g, const expr *list, size_t n) {
    size_t begin = g->n_scratch;
    for (size_t i = 0; i < n; i++) grammar_gather(g, list[i]);
    return grammar_gathered(g, begin);
}

expr grammar_or(grammar *g, expr a, expr b) { return grammar_either(g, (expr[]){a, b}, 2); }

expr grammar_optional(grammar *g, expr a) { return g->nodes[a].accepts ? a : grammar_or(g, a, EXPR_END); }

expr grammar_repeat(grammar *g, expr a, uint32_t least, uint32_t most) {
    if (g->nodes[a].accepts) least = 0;
    if (a == EXPR_NOTHING) return least ? EXPR_NOTHING : EXPR_END;
    if (most == 0 || a == EXPR_END) return EXPR_END;
    if (least == 1 && most == 1) return a;
    return grammar_node(g, NODE_REPEAT, a, 0, least, most);
}

/* ---- rules ---- */

rule grammar_rule(grammar *g) {
    if (g->status || !reserve(g, &g->rules, g->n_rules, 1, sizeof *g->rules, &g->rules_capacity)) return 0;
    g->rules[g->n_rules] = (rule_body){EXPR_NOTHING, 0};
    return (rule)g->n_rules++;
}

expr grammar_named(grammar *g, rule r) { return grammar_node(g, NODE_NAMED, r, 0, 0, 0); }

void grammar_define(grammar *g, rule r, expr body) {
    assert(!g->nodes[body].accepts); /* NAMED does not accept either */
    if (!g->status) g->rules[r].body = body;
}

expr grammar_call(grammar *g, rule r, uint32_t depth) {
    if (g->status || g->rules[r].height > GRAMMAR_MAX_DEPTH - depth) return EXPR_NOTHING;
    return grammar_node(g, NODE_CALL, r, depth, 0, 0);
}
