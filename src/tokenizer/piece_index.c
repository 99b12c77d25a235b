/* A hash table of borrowed strings. */
#include "tokenizer/piece_index.h"

#include <string.h>

#include "base/mem.h"

qaio_status piece_index_init(piece_index *index, size_t n_pieces, qaio_error *err) {
    size_t n_slots = 16;
    while (n_slots / 3 * 2 < n_pieces) n_slots *= 2;
    piece_slot *slots = mem_array(n_slots, sizeof *slots);
    if (!slots) return error_memory(err);
    *index = (piece_index){slots, n_slots};
    return QAIO_OK;
}

void piece_index_deinit(piece_index *index) {
    mem_free(index->slots);
    *index = (piece_index){0};
}

piece_key piece_key_of(const char *text, size_t n) {
    const char *s = text;
    size_t left = n;
    uint64_t hash = n * UINT64_C(0x9E3779B97F4A7C15), word;
    for (; left >= 8; s += 8, left -= 8) {
        memcpy(&word, s, 8);
        hash = (hash ^ word) * UINT64_C(0xFF51AFD7ED558CCD);
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, s, left);
    hash = (hash ^ word) * UINT64_C(0xFF51AFD7ED558CCD);
    return (piece_key){text, (uint32_t)n, hash ^ hash >> 32};
}

static size_t first_slot(const piece_index *index, const piece_key *key) { return (size_t)key->hash & (index->n_slots - 1); }

static uint16_t tag_of(const piece_key *key) { return (uint16_t)(key->hash >> 48); }

void piece_index_prefetch(const piece_index *index, const piece_key *key) { __builtin_prefetch(&index->slots[first_slot(index, key)]); }

void piece_index_prefetch_text(const piece_index *index, const piece_key *key) {
    __builtin_prefetch(index->slots[first_slot(index, key)].text);
}

/* The slot of the piece, or the empty one where it would stand. */
static piece_slot *find(const piece_index *index, const piece_key *key) {
    for (size_t i = first_slot(index, key);; i = (i + 1) & (index->n_slots - 1)) {
        piece_slot *slot = &index->slots[i];
        if (!slot->text || (slot->tag == tag_of(key) && slot->n == key->n && memcmp(slot->text, key->text, key->n) == 0)) return slot;
    }
}

int32_t piece_index_find(const piece_index *index, const piece_key *key) {
    const piece_slot *slot = find(index, key);
    return slot->text ? slot->id : -1;
}

int32_t piece_index_add(piece_index *index, const piece_key *key, int32_t id) {
    piece_slot *slot = find(index, key);
    if (slot->text) return slot->id;
    *slot = (piece_slot){key->text, id, (uint16_t)key->n, tag_of(key)};
    return -1;
}
