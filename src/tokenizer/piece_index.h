/* Piece -> id, while a tokenizer is made.  The table is larger than the caches: whoever has many keys prefetches a block of them first. */
#ifndef QAIO_TOKENIZER_PIECE_INDEX_H
#define QAIO_TOKENIZER_PIECE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Open addressing, at most two thirds full. */
typedef struct piece_slot {
    const char *text; /* borrowed; NULL: empty */
    int32_t id;
    uint16_t n;
    uint16_t tag; /* bits of the hash that the position does not show */
} piece_slot;

typedef struct piece_index {
    piece_slot *slots; /* owned */
    size_t n_slots;
} piece_index;

typedef struct piece_key {
    const char *text; /* borrowed */
    uint32_t n;
    uint64_t hash;
} piece_key;

qaio_status piece_index_init(piece_index *index, size_t n_pieces, qaio_error *err);
void piece_index_deinit(piece_index *index);

piece_key piece_key_of(const char *text, size_t n);
void piece_index_prefetch(const piece_index *index, const piece_key *key);      /* the slot */
void piece_index_prefetch_text(const piece_index *index, const piece_key *key); /* what the slot points at */
int32_t piece_index_find(const piece_index *index, const piece_key *key);       /* -1: none */
/* Adds a piece of at most 65,535 bytes; returns the id that it already has, -1 when it is new. */
int32_t piece_index_add(piece_index *index, const piece_key *key, int32_t id);

#endif
