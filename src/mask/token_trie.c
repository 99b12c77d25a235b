#include "mask/token_trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* A token while the vocabulary is sorted. */
typedef struct entry {
    int32_t id;
    size_t begin, n; /* in the bytes of all tokens */
} entry;

static int compare_entries(const void *a, const void *b, void *context) {
    const char *bytes = context;
    const entry *x = a, *y = b;
    int order = memcmp(bytes + x->begin, bytes + y->begin, x->n < y->n ? x->n : y->n);
    if (order) return order;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* The bytes of all tokens that may stand in a text, sorted; the number of entries. */
static size_t sort_tokens(const tokenizer *t, entry *entries, str *bytes) {
    size_t n = 0;
    for (int32_t id = 0; (size_t)id < tokenizer_size(t); id++) {
        token_kind kind = tokenizer_kind(t, id);
        if (kind != TOKEN_NORMAL && kind != TOKEN_ADDED) continue;
        size_t begin = bytes->len;
        tokenizer_decode(t, id, false, bytes);
        size_t length = bytes->len - begin;
        if (length > 0 && length <= UINT16_MAX) entries[n++] = (entry){id, begin, length};
    }
    if (n > 1) qsort_r(entries, n, sizeof *entries, compare_entries, bytes->data);
    return n;
}

static size_t common_prefix(const char *a, size_t n_a, const char *b, size_t n_b) {
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    return n;
}

static void fill(token_trie *trie, const entry *entries, const char *all) {
    size_t n_bytes = 0;
    for (size_t i = 0; i < trie->n_tokens; i++) {
        entry e = entries[i], before = i ? entries[i - 1] : (entry){0};
        size_t shared = common_prefix(all + before.begin, before.n, all + e.begin, e.n);
        trie->tokens[i] = (trie_token){.id = e.id, .begin = (uint32_t)n_bytes, .n = (uint16_t)e.n, .shared = (uint16_t)shared};
        trie->by_id[e.id] = (uint32_t)i + 1;
        memcpy(trie->bytes + n_bytes, all + e.begin, e.n);
        n_bytes += e.n;
        if (e.n > trie->longest) trie->longest = e.n;
    }
    /* From right to left: whatever shares more than this one is jumped over by what is known of it. */
    for (size_t i = trie->n_tokens; i-- > 0;) {
        size_t next = i + 1;
        while (next < trie->n_tokens && trie->tokens[next].shared > trie->tokens[i].shared) next = trie->tokens[next].after_subtree;
        trie->tokens[i].after_subtree = (uint32_t)next;
    }
}

qaio_status token_trie_new(token_trie **out, const tokenizer *t, qaio_error *err) {
    token_trie *trie = mem_zalloc(sizeof *trie);
    entry *entries = mem_array(tokenizer_size(t), sizeof *entries);
    str bytes = {0};
    qaio_status status = QAIO_OK;
    if (trie) trie->n_ids = tokenizer_size(t);
    if (trie && entries) trie->n_tokens = sort_tokens(t, entries, &bytes);
    if (!trie || !entries || bytes.failed || !(trie->tokens = mem_array(trie->n_tokens, sizeof *trie->tokens)) ||
        !(trie->bytes = mem_alloc(bytes.len)) || !(trie->by_id = mem_array(trie->n_ids, sizeof *trie->by_id)))
        status = error_memory(err);
    else if (bytes.len > UINT32_MAX)
        status = error_set(err, QAIO_ERR_LIMIT, "the vocabulary has %zu bytes", bytes.len);
    else
        fill(trie, entries, bytes.data ? bytes.data : "");
    mem_free(entries);
    str_deinit(&bytes);
    if (status)
        token_trie_free(trie);
    else
        *out = trie;
    return status;
}

void token_trie_free(token_trie *trie) {
    if (!trie) return;
    mem_free(trie->tokens);
    mem_free(trie->bytes);
    mem_free(trie->by_id);
    mem_free(trie);
}
