/* What a reply may be: from a task's constraint to a mask over the resident's vocabulary. */
#include <string.h>

#include "base/mem.h"
#include "mask/keywords.h"
#include "tasks/internal.h"

static expr one_of(grammar *g, const task_constraint *c) {
    expr all = EXPR_NOTHING;
    for (size_t i = 0; i < c->n_values; i++) all = grammar_or(g, all, grammar_text(g, c->values[i], strlen(c->values[i])));
    return all;
}

qaio_status constraint_grammar(grammar **out, const task_constraint *c, const char *text, size_t n, qaio_error *err) {
    *out = NULL;
    if (c->kind == CONSTRAINT_NONE) return QAIO_OK;
    grammar *g;
    qaio_status status = grammar_new(&g, err);
    if (status) return status;
    expr start = EXPR_NOTHING;
    keywords_params params = {c->separator, c->max_items, c->max_characters};
    if (c->kind == CONSTRAINT_KEYWORDS)
        status = grammar_keywords(g, &params, text, n, &start, err);
    else
        start = one_of(g, c);
    if (!status) status = grammar_begin(g, start, err);
    if (status)
        grammar_free(g);
    else
        *out = g;
    return status;
}

/* Made for the first reply that needs it: tens of milliseconds and some megabytes for a large vocabulary. */
static qaio_status find_trie(resident *r, qaio_error *err) {
    pthread_mutex_lock(&r->trie_lock);
    qaio_status status = r->trie ? QAIO_OK : token_trie_new(&r->trie, resident_tokenizer(r), err);
    pthread_mutex_unlock(&r->trie_lock);
    return status;
}

qaio_status constraint_mask(token_mask **out, resident *r, grammar *g, qaio_error *err) {
    qaio_status status = find_trie(r, err);
    if (!status) return token_mask_new(out, g, r->trie, resident_desc(r)->vocab_size, err);
    grammar_free(g);
    return status;
}
