#include "mask/token_mask.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "mask/grammar_internal.h"

typedef struct cached_mask {
    expr state; /* 0: free */
    uint64_t *bits;
} cached_mask;

struct token_mask {
    grammar *grammar;
    const token_trie *trie;
    size_t vocab_size, n_words; /* of a mask */
    expr state;
    expr *path;        /* states after the first bytes of the token at hand, [longest + 1] */
    uint64_t *allowed; /* the mask of this step */
    cached_mask cache[TOKEN_MASK_CACHE];
    size_t n_misses;
};

qaio_status token_mask_new(token_mask **out, grammar *g, const token_trie *trie, size_t vocab_size, qaio_error *err) {
    token_mask *m = mem_zalloc(sizeof *m);
    if (!m) {
        grammar_free(g);
        return error_memory(err);
    }
    *m = (token_mask){.grammar = g, .trie = trie, .vocab_size = vocab_size, .n_words = vocab_size / 64 + 1, .state = grammar_start(g)};
    m->path = mem_array(trie->longest + 1, sizeof *m->path);
    m->allowed = mem_array(m->n_words, sizeof *m->allowed);
    if (!m->path || !m->allowed) {
        token_mask_free(m);
        return error_memory(err);
    }
    grammar_set_horizon(g, (uint32_t)trie->longest);
    *out = m;
    return QAIO_OK;
}

void token_mask_free(token_mask *m) {
    if (!m) return;
    for (size_t i = 0; i < TOKEN_MASK_CACHE; i++) mem_free(m->cache[i].bits);
    mem_free(m->path);
    mem_free(m->allowed);
    grammar_free(m->grammar);
    mem_free(m);
}

/* Sets the bit of every token that the automaton lets through: one walk over the trie, without the subtrees that it does not. */
static void walk(token_mask *m, expr state, uint64_t *bits) {
    const token_trie *trie = m->trie;
    grammar *g = m->grammar;
    expr *path = m->path;
    path[0] = state;
    for (size_t i = 0; i < trie->n_tokens;) {
        const trie_token *t = &trie->tokens[i];
        const uint8_t *bytes = trie->bytes + t->begin;
        size_t depth = t->shared;
        while (depth < t->n && path[depth] != EXPR_NOTHING) {
            path[depth + 1] = grammar_step(g, path[depth], bytes[depth]);
            depth++;
        }
        if (path[depth] != EXPR_NOTHING) {
            if ((size_t)t->id < m->vocab_size) bits[(uint32_t)t->id / 64] |= (uint64_t)1 << (uint32_t)t->id % 64;
            i++;
            continue;
        }
        i = depth == (size_t)t->shared + 1 ? t->after_subtree : i + 1;
        while (i < trie->n_tokens && trie->tokens[i].shared >= depth) i = trie->tokens[i].after_subtree;
    }
}

/* The mask of the state at hand; NULL after a failure. */
static const uint64_t *find_mask(token_mask *m) {
    expr state = grammar_nearby(m->grammar, m->state);
    for (size_t i = 0; i < TOKEN_MASK_CACHE && m->cache[i].bits; i++)
        if (m->cache[i].state == state) return m->cache[i].bits;
    cached_mask *c = &m->cache[m->n_misses++ % TOKEN_MASK_CACHE];
    if (!c->bits && !(c->bits = mem_array(m->n_words, sizeof *c->bits))) return NULL;
    c->state = EXPR_NOTHING;
    memset(c->bits, 0, m->n_words * sizeof *c->bits);
    walk(m, state, c->bits);
    if (grammar_check(m->grammar, NULL)) return NULL;
    c->state = state;
    return c->bits;
}

/* Of the grammar, else of a mask's memory.  A constraint that needs too much is one that cannot be honoured; the text is not too long. */
static qaio_status failed(const token_mask *m, qaio_error *err) {
    qaio_error why;
    if (grammar_check(m->grammar, &why) == QAIO_ERR_LIMIT) return error_set(err, QAIO_ERR_UNSUPPORTED, "%s", why.message);
    return error_memory(err);
}

static void mask_logits(const uint64_t *allowed, float *logits, size_t vocab_size) {
    for (size_t first = 0; first < vocab_size; first += 64) {
        size_t n = vocab_size - first < 64 ? vocab_size - first : 64;
        uint64_t word = allowed[first / 64];
        if (word == UINT64_MAX) continue;
        for (size_t i = 0; i < n; i++)
            if (!(word >> i & 1)) logits[first + i] = -INFINITY;
    }
}

qaio_status token_mask_apply(token_mask *m, const int32_t *stop_tokens, size_t n_stop_tokens, float *logits, bool *is_over,
                             qaio_error *err) {
    const uint64_t *mask = find_mask(m);
    if (!mask) return failed(m, err);
    bool may_end = grammar_accepts(m->grammar, m->state), may_go_on = false;
    memcpy(m->allowed, mask, m->n_words * sizeof *mask);
    for (size_t i = 0; i < n_stop_tokens; i++) {
        uint32_t id = (uint32_t)stop_tokens[i];
        if (id < m->vocab_size) m->allowed[id / 64] &= ~((uint64_t)1 << id % 64);
    }
    for (size_t i = 0; i < m->n_words; i++) may_go_on |= m->allowed[i] != 0;
    if (!may_end && !may_go_on)
        return error_set(err, QAIO_ERR_UNSUPPORTED, "no token of the vocabulary can go on with the constrained text");
    for (size_t i = 0; i < n_stop_tokens && may_end; i++) {
        uint32_t id = (uint32_t)stop_tokens[i];
        if (id < m->vocab_size) m->allowed[id / 64] |= (uint64_t)1 << id % 64;
    }
    *is_over = !may_go_on;
    mask_logits(m->allowed, logits, m->vocab_size);
    return QAIO_OK;
}

qaio_status token_mask_advance(token_mask *m, int32_t token, qaio_error *err) {
    const token_trie *trie = m->trie;
    uint32_t place = (size_t)token < trie->n_ids ? trie->by_id[token] : 0;
    expr state = place ? m->state : EXPR_NOTHING;
    const trie_token *t = place ? &trie->tokens[place - 1] : NULL;
    for (size_t i = 0; state != EXPR_NOTHING && i < t->n; i++) state = grammar_next(m->grammar, state, trie->bytes[t->begin + i]);
    if (grammar_check(m->grammar, NULL)) return failed(m, err);
    if (state == EXPR_NOTHING)
        return error_set(err, QAIO_ERR_FORMAT, "token %d came although it was masked: the model's logits are no numbers", token);
    m->state = state;
    return QAIO_OK;
}

bool token_mask_is_complete(const token_mask *m) { return m->state == EXPR_END; }
