#include "engine/score_tree.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/kernels.h"

/* ---- nodes ---- */

/* Tokens at the beginning of all continuations, that are all longer: a relative group need not score them. */
static size_t common_beginning(const score_group *g) {
    size_t n = g->continuations[0].n - 1;
    for (size_t i = 1; i < g->n_continuations; i++) {
        const id_list *c = &g->continuations[i];
        if (c->n - 1 < n) n = c->n - 1;
        for (size_t k = 0; k < n; k++)
            if (c->ids[k] != g->continuations[0].ids[k]) n = k;
    }
    return n;
}

/* The child with this token and group, added when it is not there. */
static uint32_t child_of(score_tree *t, uint32_t parent, int32_t token, uint32_t group) {
    uint32_t *link = &t->nodes[parent].first_child;
    for (; *link; link = &t->nodes[*link].next_sibling)
        if (t->nodes[*link].token == token && t->nodes[*link].group == group) return *link;
    uint32_t node = *link = (uint32_t)t->n_nodes++;
    t->nodes[node] = (score_node){.token = token, .parent = parent, .group = group};
    return node;
}

static void add_group(score_tree *t, const score_group *g, uint32_t group) {
    uint32_t begin = SCORE_ROOT;
    for (size_t i = 0; i < g->opening.n; i++) begin = child_of(t, begin, g->opening.ids[i], SCORE_NONE);
    size_t n_unscored = g->is_relative && g->n_continuations ? common_beginning(g) : 0;
    for (size_t i = 0; i < g->n_continuations; i++) {
        const id_list *c = &g->continuations[i];
        uint32_t at = begin;
        for (size_t k = 0; k < c->n; k++) {
            at = child_of(t, at, c->ids[k], k < n_unscored ? SCORE_NONE : group);
            t->nodes[at].is_relative = g->is_relative && k == n_unscored;
        }
        t->ends[t->n_ends++] = at;
    }
}

/* ---- runs ---- */

static bool has_row(const score_tree *t, uint32_t node) { return t->nodes[node].first_child != SCORE_ROOT; }

static bool is_fork(const score_tree *t, uint32_t node) {
    size_t n = 0;
    for (uint32_t c = t->nodes[node].first_child; c; c = t->nodes[c].next_sibling) n += has_row(t, c);
    return n > 1;
}

/* The next node in pre-order; SCORE_ROOT at the end. */
static uint32_t after(const score_tree *t, uint32_t node) {
    if (t->nodes[node].first_child) return t->nodes[node].first_child;
    while (node && !t->nodes[node].next_sibling) node = t->nodes[node].parent;
    return node ? t->nodes[node].next_sibling : SCORE_ROOT;
}

/* run_of[node]: of the nodes that have a row. */
static void add_row(score_tree *t, uint32_t node, uint32_t *run_of, size_t *n_rows, size_t n_prompt) {
    uint32_t parent = t->nodes[node].parent;
    if (parent == SCORE_ROOT || is_fork(t, parent)) {
        uint32_t above = parent == SCORE_ROOT ? SCORE_NONE : run_of[parent];
        const score_run *p = above == SCORE_NONE ? NULL : &t->runs[above];
        t->runs[t->n_runs] = (score_run){.parent = above, .row = *n_rows, .position = p ? p->position + p->n : n_prompt};
        if (p) t->runs[above].n_open++;
        run_of[node] = (uint32_t)t->n_runs++;
    } else {
        run_of[node] = run_of[parent];
    }
    score_run *run = &t->runs[run_of[node]];
    if (score_need_of(t, node) == NEED_NOTHING && run->first_output == run->n) run->first_output++;
    run->n++;
    t->row_tokens[*n_rows] = t->nodes[node].token;
    t->row_nodes[(*n_rows)++] = node;
}

/* Blocks that each run writes, and that are needed at the same time. */
static void count_blocks(score_tree *t) {
    size_t total = 0;
    for (size_t i = 0; i < t->n_runs; i++) {
        score_run *run = &t->runs[i];
        run->n_blocks = (run->position + run->n - 1) / KV_BLOCK - run->position / KV_BLOCK + 1;
        total += run->n_blocks;
        size_t path = 0;
        for (uint32_t r = (uint32_t)i; r != SCORE_NONE; r = t->runs[r].parent) path += t->runs[r].n_blocks;
        if (path > t->n_least) t->n_least = path;
    }
    t->n_blocks = total;
    score_tree_limit(t, SCORE_MAX_BLOCKS);
}

void score_tree_limit(score_tree *t, size_t n_blocks) {
    if (n_blocks < t->n_least) n_blocks = t->n_least;
    if (n_blocks < t->n_blocks) t->n_blocks = n_blocks;
}

static qaio_status add_runs(score_tree *t, size_t n_prompt, qaio_error *err) {
    size_t n_rows = 0;
    for (uint32_t node = after(t, SCORE_ROOT); node; node = after(t, node)) n_rows += has_row(t, node);
    for (uint32_t node = 0; node < t->n_nodes; node++) t->n_points += score_need_of(t, node) != NEED_NOTHING;
    if (!n_rows) return QAIO_OK;
    uint32_t *run_of = mem_array(t->n_nodes, sizeof *run_of);
    t->runs = mem_array(n_rows, sizeof *t->runs);
    t->row_tokens = mem_array(n_rows, sizeof *t->row_tokens);
    t->row_nodes = mem_array(n_rows, sizeof *t->row_nodes);
    if (!run_of || !t->runs || !t->row_tokens || !t->row_nodes) {
        mem_free(run_of);
        return error_memory(err);
    }
    n_rows = 0;
    for (uint32_t node = after(t, SCORE_ROOT); node; node = after(t, node))
        if (has_row(t, node)) add_row(t, node, run_of, &n_rows, n_prompt);
    mem_free(run_of);
    count_blocks(t);
    return QAIO_OK;
}

qaio_status score_tree_init(score_tree *t, const score_group *groups, size_t n_groups, size_t n_prompt, qaio_error *err) {
    size_t most = 1, n_ends = 0;
    for (size_t g = 0; g < n_groups; g++) {
        most += groups[g].opening.n;
        n_ends += groups[g].n_continuations;
        for (size_t i = 0; i < groups[g].n_continuations; i++) most += groups[g].continuations[i].n;
    }
    *t = (score_tree){0};
    if (n_ends == 0) return QAIO_OK;
    t->nodes = mem_array(most, sizeof *t->nodes);
    t->ends = mem_array(n_ends, sizeof *t->ends);
    if (!t->nodes || !t->ends) return error_memory(err);
    t->nodes[t->n_nodes++] = (score_node){.group = SCORE_NONE};
    for (size_t g = 0; g < n_groups; g++) add_group(t, &groups[g], (uint32_t)g);
    return add_runs(t, n_prompt, err);
}

void score_tree_deinit(score_tree *t) {
    mem_free(t->nodes);
    mem_free(t->ends);
    mem_free(t->runs);
    mem_free(t->row_tokens);
    mem_free(t->row_nodes);
}

/* ---- logits ---- */

score_need score_need_of(const score_tree *t, uint32_t node) {
    score_need need = NEED_NOTHING;
    for (uint32_t c = t->nodes[node].first_child; c && need != NEED_ALL; c = t->nodes[c].next_sibling)
        if (t->nodes[c].group != SCORE_NONE) need = t->nodes[c].is_relative ? NEED_LOGITS : NEED_ALL;
    return need;
}

size_t score_tokens(const score_tree *t, uint32_t node, int32_t tokens[ENGINE_MAX_LABELS]) {
    size_t n = 0;
    for (uint32_t c = t->nodes[node].first_child; c; c = t->nodes[c].next_sibling)
        if (t->nodes[c].group != SCORE_NONE) tokens[n++] = t->nodes[c].token;
    return n;
}

void score_fill(score_tree *t, uint32_t node, const float *logits, double log_sum) {
    size_t n = 0;
    for (uint32_t c = t->nodes[node].first_child; c; c = t->nodes[c].next_sibling)
        if (t->nodes[c].group != SCORE_NONE) t->nodes[c].logprob = (double)logits[n++] - (t->nodes[c].is_relative ? 0 : log_sum);
    t->n_points--;
}

double score_of(const score_tree *t, size_t i) {
    double sum = 0;
    for (uint32_t node = t->ends[i]; node; node = t->nodes[node].parent) sum += t->nodes[node].logprob;
    return sum;
}

/* ---- sequences ---- */

bool score_run_is_computed(const score_tree *t, uint32_t run) { return run == SCORE_NONE || t->runs[run].n_computed == t->runs[run].n; }

void score_run_done(score_tree *t, kv_pool *blocks, uint32_t run) {
    while (run != SCORE_NONE && score_run_is_computed(t, run) && t->runs[run].n_open == 0) {
        kv_clear(blocks, &t->runs[run].kv);
        t->n_held -= t->runs[run].n_blocks;
        run = t->runs[run].parent;
        if (run != SCORE_NONE) t->runs[run].n_open--;
    }
}

void score_tree_clear(score_tree *t, kv_pool *blocks) {
    for (size_t i = 0; i < t->n_runs; i++) kv_clear(blocks, &t->runs[i].kv);
}
