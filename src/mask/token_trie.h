/* The vocabulary as a trie of bytes: what an automaton is walked along, to see which tokens it lets through.  Special tokens are not in it.
 * Immutable, for any number of threads. */
#ifndef QAIO_MASK_TOKEN_TRIE_H
#define QAIO_MASK_TOKEN_TRIE_H

#include "tokenizer/tokenizer.h"

/* The trie from left to right, a token at a time. */
typedef struct trie_token {
    int32_t id;
    uint32_t begin;         /* in trie->bytes */
    uint32_t after_subtree; /* the next token that does not have its first `shared` + 1 bytes */
    uint16_t n, shared;     /* its bytes; how many of them the token before it begins with as well */
} trie_token;

typedef struct token_trie {
    trie_token *tokens; /* ascending by bytes */
    size_t n_tokens;
    uint8_t *bytes;
    size_t longest;  /* token, in bytes */
    uint32_t *by_id; /* place in tokens, + 1; 0: not in the trie; [n_ids] */
    size_t n_ids;
} token_trie;

/* tokenizer: borrowed for the call. */
qaio_status token_trie_new(token_trie **out, const tokenizer *t, qaio_error *err);
void token_trie_free(token_trie *trie);

#endif
