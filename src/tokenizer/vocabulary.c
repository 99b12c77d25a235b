/* From lists of pieces and merges to a tokenizer: every merge is resolved to ids once, here. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tokenizer/internal.h"
#include "tokenizer/piece_index.h"

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

enum { BLOCK = 16 }; /* so many table look-ups are under way at once */

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
    qaio_status status = piece_index_init(index, t->pieces.n, err);
    if (status) return status;
    piece_key keys[BLOCK];
    for (size_t id = 0; id < t->pieces.n; id++) {
        for (size_t i = id; id % BLOCK == 0 && i < id + BLOCK && i < t->pieces.n; i++) {
            keys[i % BLOCK] = piece_key_of(t->pieces.items[i], t->pieces.lengths[i]);
            piece_index_prefetch(index, &keys[i % BLOCK]);
        }
        if (t->kinds[id] == TOKEN_UNUSED) continue;
        const piece_key *key = &keys[id % BLOCK];
        if (key->n == 0 || key->n > TOKENIZER_MAX_PIECE_BYTES)
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "token %zu has %u bytes; 1 to %d are possible", id, key->n,
                            TOKENIZER_MAX_PIECE_BYTES);
        int32_t same = piece_index_add(index, key, (int32_t)id);
        if (same >= 0) return error_at(err, QAIO_ERR_FORMAT, path, -1, "tokens %d and %zu are the same piece", same, id);
    }
    return QAIO_OK;
}

static qaio_status find_bytes(tokenizer *t, const piece_index *index, const char *path, qaio_error *err) {
    for (int byte = 0; byte < 256; byte++) {
        char letter[4];
        piece_key key = piece_key_of(letter, utf8_encode(byte_to_letter((uint8_t)byte), letter));
        t->byte_ids[byte] = piece_index_find(index, &key);
        if (t->byte_ids[byte] < 0)
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "no token for the byte 0x%02x; a byte-level vocabulary has one for every byte",
                            byte);
    }
    return QAIO_OK;
}

static qaio_status refuse_merge(const char *path, size_t rank, const char *reason, qaio_error *err) {
    return error_at(err, QAIO_ERR_FORMAT, path, -1, "merge %zu %s", rank, reason);
}

typedef struct merge_halves {
    piece_key left, right;
    int32_t left_id, right_id, merged_id;
} merge_halves;

static qaio_status split_merge(const tokenizer *t, size_t rank, merge_halves *out, const char *path, qaio_error *err) {
    const char *s = t->merges.items[rank], *end = s + t->merges.lengths[rank], *space = memchr(s, ' ', (size_t)(end - s));
    if (end - s > TOKENIZER_MAX_PIECE_BYTES) return refuse_merge(path, rank, "is too long", err);
    if (!space || space == s || space == end - 1 || memchr(space + 1, ' ', (size_t)(end - space - 1)))
        return refuse_merge(path, rank, "is not two pieces with a space between", err);
    out->left = piece_key_of(s, (size_t)(space - s));
    out->right = piece_key_of(space + 1, (size_t)(end - space - 1));
    return QAIO_OK;
}

/* Vocabularies are mostly in the order of their merges: the id behind the last merged one is tried before the index. */
static int32_t find_merged(const tokenizer *t, const piece_index *index, int32_t guess, const piece_key *left, const piece_key *right) {
    size_t n = (size_t)left->n + right->n;
    if ((size_t)guess < t->pieces.n && t->kinds[guess] != TOKEN_UNUSED && t->pieces.lengths[guess] == n &&
        memcmp(t->pieces.items[guess], left->text, left->n) == 0 && memcmp(t->pieces.items[guess] + left->n, right->text, right->n) == 0)
        return guess;
    char joined[TOKENIZER_MAX_PIECE_BYTES];
    memcpy(joined, left->text, left->n);
    memcpy(joined + left->n, right->text, right->n);
    piece_key key = piece_key_of(joined, n);
    return piece_index_find(index, &key);
}

/* The merges of ranks begin .. begin + n - 1; *merged is the last merged id before and after. */
static qaio_status resolve_block(tokenizer *t, const piece_index *index, size_t begin, size_t n, int32_t *merged, const char *path,
                                 qaio_error *err) {
    merge_halves block[BLOCK];
    for (size_t i = 0; i < n; i++) {
        qaio_status status = split_merge(t, begin + i, &block[i], path, err);
        if (status) return status;
        piece_index_prefetch(index, &block[i].left);
        piece_index_prefetch(index, &block[i].right);
    }
    for (size_t i = 0; i < n; i++) {
        piece_index_prefetch_text(index, &block[i].left);
        piece_index_prefetch_text(index, &block[i].right);
    }
    for (size_t i = 0; i < n; i++) {
        merge_halves *m = &block[i];
        m->left_id = piece_index_find(index, &m->left);
        m->right_id = piece_index_find(index, &m->right);
        m->merged_id = *merged = find_merged(t, index, *merged + 1, &m->left, &m->right);
        if (m->left_id < 0 || m->right_id < 0 || m->merged_id < 0)
            return refuse_merge(path, begin + i, "names a piece that the vocabulary lacks", err);
        bpe_merges_prefetch(&t->ranks, m->left_id, m->right_id);
    }
    for (size_t i = 0; i < n; i++)
        bpe_merges_put(&t->ranks, block[i].left_id, block[i].right_id, (uint32_t)(begin + i), block[i].merged_id);
    return QAIO_OK;
}

static qaio_status resolve_merges(tokenizer *t, const piece_index *index, const char *path, qaio_error *err) {
    qaio_status status = bpe_merges_init(&t->ranks, t->merges.n, err);
    int32_t merged = 0;
    for (size_t begin = 0; begin < t->merges.n && !status; begin += BLOCK) {
        size_t n = t->merges.n - begin < BLOCK ? t->merges.n - begin : BLOCK;
        status = resolve_block(t, index, begin, n, &merged, path, err);
    }
    return status;
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
    piece_index_deinit(&index);
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
