/* From lists of pieces and merges to a tokenizer: every merge is resolved to ids once, here. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tokenizer/internal.h"

/* The 68 bytes that are not printable in Latin-1 stand as U+0100..U+0143, in order; the others as themselves. */
static bool is_own_letter(uint32_t c) { return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xFF && c != 0xAD); }

uint32_t byte_to_letter(uint8_t byte) {
    if (is_own_letter(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    if (byte == 0xAD) return 0x143;
    return 0x121u + (byte - 0x7Fu);
}

int letter_to_byte(uint32_t c) {
    if (c < 0x100) return is_own_letter(c) ? (int)c : -1;
    if (c <= 0x120) return (int)(c - 0x100);
    if (c <= 0x142) return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

/* Piece -> id, while a tokenizer is made: open addressing, at most half full. */
typedef struct piece_index {
    struct piece_slot {
        uint32_t hash;
        int32_t id; /* -1: empty */
    } * slots;      /* owned */
    size_t n_slots;
    const string_list *pieces;
} piece_index;

static uint32_t hash_bytes(const char *s, size_t n) {
    uint64_t hash = n * UINT64_C(0x9E3779B97F4A7C15), word;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        hash = (hash ^ word) * UINT64_C(0xFF51AFD7ED558CCD);
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, s, n);
    hash = (hash ^ word) * UINT64_C(0xFF51AFD7ED558CCD);
    return (uint32_t)(hash >> 32) ^ (uint32_t)hash;
}

static struct piece_slot *find_slot(const piece_index *index, const char *s, size_t n) {
    uint32_t hash = hash_bytes(s, n);
    for (size_t i = hash & (index->n_slots - 1);; i = (i + 1) & (index->n_slots - 1)) {
        struct piece_slot *slot = &index->slots[i];
        if (slot->id < 0) {
            slot->hash = hash; /* for the caller that fills the slot */
            return slot;
        }
        if (slot->hash == hash && index->pieces->lengths[slot->id] == n && memcmp(index->pieces->items[slot->id], s, n) == 0) return slot;
    }
}

static qaio_status string_list_copy(string_list *out, const char *const *items, const uint32_t *lengths, size_t n, qaio_error *err) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (!size_add(total, lengths[i], &total)) return error_memory(err);
    out->pool = mem_alloc(total);
    out->items = mem_realloc(NULL, n, sizeof *out->items);
    out->lengths = mem_realloc(NULL, n, sizeof *out->lengths);
    if (!out->pool || !out->items || !out->lengths) return error_memory(err);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (lengths[i]) memcpy(out->pool + used, items[i], lengths[i]);
        out->items[i] = out->pool + used;
        out->lengths[i] = lengths[i];
        used += lengths[i];
    }
    out->n = n;
    return QAIO_OK;
}

static void string_list_deinit(string_list *list) {
    mem_free(list->pool);
    mem_free(list->items);
    mem_free(list->lengths);
}

static qaio_status index_pieces(piece_index *index, const tokenizer *t, const char *path, qaio_error *err) {
    index->pieces = &t->pieces;
    index->n_slots = 16;
    while (index->n_slots / 2 < t->pieces.n) index->n_slots *= 2;
    index->slots = mem_realloc(NULL, index->n_slots, sizeof *index->slots);
    if (!index->slots) return error_memory(err);
    memset(index->slots, 0xFF, index->n_slots * sizeof *index->slots);
    for (size_t id = 0; id < t->pieces.n; id++) {
        if (t->kinds[id] == TOKEN_UNUSED) continue;
        uint32_t n = t->pieces.lengths[id];
        if (n == 0 || n > TOKENIZER_MAX_PIECE_BYTES)
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "token %zu has %u bytes; 1 to %u are possible", id, n,
                            TOKENIZER_MAX_PIECE_BYTES);
        struct piece_slot *slot = find_slot(index, t->pieces.items[id], n);
        if (slot->id >= 0) return error_at(err, QAIO_ERR_FORMAT, path, -1, "tokens %d and %zu are the same piece", slot->id, id);
        slot->id = (int32_t)id;
    }
    return QAIO_OK;
}

static qaio_status find_bytes(tokenizer *t, const piece_index *index, const char *path, qaio_error *err) {
    for (int byte = 0; byte < 256; byte++) {
        char letter[4];
        size_t n = utf8_encode(byte_to_letter((uint8_t)byte), letter);
        t->byte_ids[byte] = find_slot(index, letter, n)->id;
        if (t->byte_ids[byte] < 0)
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "no token for the byte 0x%02x; a byte-level vocabulary has one for every byte",
                            byte);
    }
    return QAIO_OK;
}

static qaio_status refuse_merge(const char *path, size_t rank, const char *reason, qaio_error *err) {
    return error_at(err, QAIO_ERR_FORMAT, path, -1, "merge %zu %s", rank, reason);
}

/* Vocabularies are mostly in the order of their merges: the id behind the last merged one is tried before the index. */
static int32_t find_merged(const piece_index *index, int32_t guess, const char *joined, size_t n) {
    const string_list *pieces = index->pieces;
    if ((size_t)guess < pieces->n && pieces->lengths[guess] == n && memcmp(pieces->items[guess], joined, n) == 0) return guess;
    return find_slot(index, joined, n)->id;
}

static qaio_status resolve_merges(tokenizer *t, const piece_index *index, const char *path, qaio_error *err) {
    char joined[TOKENIZER_MAX_PIECE_BYTES];
    qaio_status status = bpe_merges_init(&t->ranks, t->merges.n, err);
    if (status) return status;
    int32_t merged = 0;
    for (size_t rank = 0; rank < t->merges.n; rank++) {
        const char *s = t->merges.items[rank];
        uint32_t n = t->merges.lengths[rank];
        const char *space = memchr(s, ' ', n);
        if (n > TOKENIZER_MAX_PIECE_BYTES) return refuse_merge(path, rank, "is too long", err);
        if (!space || space == s || space == s + n - 1 || memchr(space + 1, ' ', (size_t)(s + n - space - 1)))
            return refuse_merge(path, rank, "is not two pieces with a space between", err);
        size_t n_left = (size_t)(space - s), n_right = n - n_left - 1;
        int32_t left = find_slot(index, s, n_left)->id, right = find_slot(index, space + 1, n_right)->id;
        memcpy(joined, s, n_left);
        memcpy(joined + n_left, space + 1, n_right);
        merged = find_merged(index, merged + 1, joined, n - 1);
        if (left < 0 || right < 0 || merged < 0) return refuse_merge(path, rank, "names a piece that the vocabulary lacks", err);
        bpe_merges_put(&t->ranks, left, right, (uint32_t)rank, merged);
    }
    return QAIO_OK;
}

static int compare_specials(const void *a, const void *b) {
    const special_token *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static qaio_status collect_specials(tokenizer *t, const char *path, qaio_error *err) {
    for (size_t id = 0; id < t->pieces.n; id++) t->n_specials += t->kinds[id] == TOKEN_SPECIAL || t->kinds[id] == TOKEN_ADDED;
    t->specials = mem_array(t->n_specials, sizeof *t->specials);
    if (!t->specials) return error_memory(err);
    size_t n = 0;
    for (size_t id = 0; id < t->pieces.n; id++) {
        if (t->kinds[id] != TOKEN_SPECIAL && t->kinds[id] != TOKEN_ADDED) continue;
        const char *text = t->pieces.items[id];
        if (!utf8_is_valid(text, t->pieces.lengths[id]))
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "special token %zu is not well-formed UTF-8", id);
        t->specials[n++] = (special_token){text, t->pieces.lengths[id], (int32_t)id};
        t->begins_special[(unsigned char)text[0]] = true;
    }
    if (n) qsort(t->specials, n, sizeof *t->specials, compare_specials);
    return QAIO_OK;
}

static qaio_status fill(tokenizer *t, piece_index *index, const token_source *source, const char *path, qaio_error *err) {
    qaio_status status = string_list_copy(&t->pieces, source->pieces, source->piece_lengths, source->n_tokens, err);
    if (!status) status = string_list_copy(&t->merges, source->merges, source->merge_lengths, source->n_merges, err);
    if (status) return status;
    t->kinds = mem_realloc(NULL, source->n_tokens, sizeof *t->kinds);
    if (!t->kinds) return error_memory(err);
    memcpy(t->kinds, source->kinds, source->n_tokens * sizeof *t->kinds);
    t->pre = source->pre;
    status = index_pieces(index, t, path, err);
    if (!status) status = find_bytes(t, index, path, err);
    if (!status) status = resolve_merges(t, index, path, err);
    if (!status) status = collect_specials(t, path, err);
    return status;
}

qaio_status tokenizer_new(tokenizer **out, const token_source *source, const char *path, qaio_error *err) {
    if (source->n_tokens == 0) return error_at(err, QAIO_ERR_FORMAT, path, -1, "the vocabulary is empty");
    if (source->n_tokens > TOKENIZER_MAX_TOKENS || source->n_merges > TOKENIZER_MAX_MERGES)
        return error_at(err, QAIO_ERR_LIMIT, path, -1, "%zu tokens and %zu merges; at most %u and %u", source->n_tokens, source->n_merges,
                        TOKENIZER_MAX_TOKENS, TOKENIZER_MAX_MERGES);
    tokenizer *t = mem_zalloc(sizeof *t);
    if (!t) return error_memory(err);
    piece_index index = {0};
    qaio_status status = fill(t, &index, source, path, err);
    mem_free(index.slots);
    if (status)
        tokenizer_free(t);
    else
        *out = t;
    return status;
}

void tokenizer_free(tokenizer *t) {
    if (!t) return;
    string_list_deinit(&t->pieces);
    string_list_deinit(&t->merges);
    mem_free(t->kinds);
    bpe_merges_deinit(&t->ranks);
    mem_free(t->specials);
    mem_free(t);
}

void tokenizer_source(const tokenizer *t, token_source *out) {
    *out = (token_source){
        .pieces = t->pieces.items,
        .piece_lengths = t->pieces.lengths,
        .kinds = t->kinds,
        .n_tokens = t->pieces.n,
        .merges = t->merges.items,
        .merge_lengths = t->merges.lengths,
        .n_merges = t->merges.n,
        .pre = t->pre,
    };
}

size_t tokenizer_size(const tokenizer *t) { return t->pieces.n; }

token_kind tokenizer_kind(const tokenizer *t, int32_t id) { return id >= 0 && (size_t)id < t->pieces.n ? t->kinds[id] : TOKEN_UNUSED; }

int32_t tokenizer_special(const tokenizer *t, const char *text) {
    special_token wanted = {text, (uint32_t)strlen(text), -1};
    const special_token *found = NULL;
    if (t->n_specials) found = bsearch(&wanted, t->specials, t->n_specials, sizeof wanted, compare_specials);
    return found ? found->id : -1;
}
