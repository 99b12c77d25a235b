/* Merging a word's bytes into tokens, lowest rank first, leftmost first among equals. */
#ifndef QAIO_TOKENIZER_BPE_H
#define QAIO_TOKENIZER_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "tokenizer/tokenizer.h"

#define BPE_NO_RANK UINT32_MAX

typedef struct bpe_merge {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank; /* BPE_NO_RANK: an empty slot */
    int32_t merged;
} bpe_merge;

/* pair -> rank and merged token: open addressing, at most two thirds full. */
typedef struct bpe_merges {
    bpe_merge *slots; /* owned */
    size_t n_slots;   /* a power of two */
} bpe_merges;

qaio_status bpe_merges_init(bpe_merges *m, size_t n_merges, qaio_error *err);
void bpe_merges_deinit(bpe_merges *m);
void bpe_merges_prefetch(const bpe_merges *m, int32_t left, int32_t right);
void bpe_merges_put(bpe_merges *m, int32_t left, int32_t right, uint32_t rank, int32_t merged); /* a pair met again takes the new rank */

/* What one word needs while it is merged; grows to the longest word.  Zero-initialise. */
typedef struct bpe_scratch {
    struct bpe_symbol *symbols; /* owned */
    uint64_t *heap;             /* owned */
    size_t capacity;            /* in symbols */
} bpe_scratch;
void bpe_scratch_deinit(bpe_scratch *s);

/* Appends the tokens of word[n] to out; byte_ids[256] are the tokens of the single bytes. n log n. */
qaio_status bpe_encode_word(const bpe_merges *m, const int32_t *byte_ids, const char *word, size_t n, bpe_scratch *scratch, token_list *out,
                            qaio_error *err);

#endif
