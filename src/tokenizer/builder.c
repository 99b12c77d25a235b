/* The vocabulary while its files are read. */
#include "tokenizer/builder.h"

#include <string.h>

#include "base/mem.h"
#include "tokenizer/internal.h"

void builder_deinit(vocabulary_builder *b) {
    str_deinit(&b->text);
    mem_free(b->pieces);
    mem_free(b->merges);
    *b = (vocabulary_builder){0};
}

/* Makes room for n entries; the new ones are unused. */
static qaio_status reserve(vocabulary_entry **entries, size_t *capacity, size_t n, qaio_error *err) {
    if (n <= *capacity) return QAIO_OK;
    size_t grown_capacity = *capacity * 2 > n ? *capacity * 2 : n < 1024 ? 1024 : n;
    vocabulary_entry *grown = mem_realloc(*entries, grown_capacity, sizeof *grown);
    if (!grown) return error_memory(err);
    for (size_t i = *capacity; i < grown_capacity; i++) grown[i] = (vocabulary_entry){.kind = TOKEN_UNUSED};
    *entries = grown;
    *capacity = grown_capacity;
    return QAIO_OK;
}

static bool is_added(token_kind kind) { return kind == TOKEN_SPECIAL || kind == TOKEN_ADDED; }

void builder_add_piece(vocabulary_builder *b, json_scan *s, uint32_t id, json_slice piece, token_kind kind) {
    if (s->status) return;
    if (piece.n == 0 || piece.n > TOKENIZER_MAX_PIECE_BYTES) {
        json_scan_refuse(s, QAIO_ERR_FORMAT, "token %u has %zu bytes; 1 to %d are possible", id, piece.n, TOKENIZER_MAX_PIECE_BYTES);
        return;
    }
    s->status = reserve(&b->pieces, &b->pieces_capacity, (size_t)id + 1, s->err);
    if (s->status) return;
    vocabulary_entry *entry = &b->pieces[id];
    if (entry->kind != TOKEN_UNUSED) {
        bool is_same = entry->n == piece.n && memcmp(b->text.data + entry->offset, piece.data, piece.n) == 0;
        if (!is_same || is_added(entry->kind) == is_added(kind))
            json_scan_refuse(s, QAIO_ERR_FORMAT, "the id %u is given to two tokens", id);
        else if (is_added(kind))
            entry->kind = kind;
        return;
    }
    *entry = (vocabulary_entry){b->text.len, (uint32_t)piece.n, kind};
    str_append(&b->text, piece.data, piece.n);
    if (b->text.failed) s->status = error_memory(s->err);
    if (id >= b->n_pieces) b->n_pieces = (size_t)id + 1;
    b->n_used++;
}

qaio_status builder_add_merge(vocabulary_builder *b, size_t begin, qaio_error *err) {
    size_t n = b->text.len - begin;
    if (b->text.failed) return error_memory(err);
    if (n > TOKENIZER_MAX_PIECE_BYTES || b->n_merges >= TOKENIZER_MAX_MERGES)
        return error_set(err, QAIO_ERR_LIMIT, "merge %zu has %zu bytes; at most %u merges of %d bytes", b->n_merges, n,
                         TOKENIZER_MAX_MERGES, TOKENIZER_MAX_PIECE_BYTES);
    qaio_status status = reserve(&b->merges, &b->merges_capacity, b->n_merges + 1, err);
    if (!status) b->merges[b->n_merges++] = (vocabulary_entry){begin, (uint32_t)n, TOKEN_NORMAL};
    return status;
}

static void list_entries(const vocabulary_builder *b, const vocabulary_entry *entries, size_t n, const char **items, uint32_t *lengths) {
    for (size_t i = 0; i < n; i++) {
        bool is_used = entries[i].kind != TOKEN_UNUSED;
        items[i] = is_used ? b->text.data + entries[i].offset : "";
        lengths[i] = is_used ? entries[i].n : 0;
    }
}

qaio_status builder_finish(vocabulary_builder *b, tokenizer **out, const char *path, qaio_error *err) {
    if (b->n_pieces - b->n_used > TOKENIZER_MAX_UNUSED_IDS)
        return error_at(err, QAIO_ERR_FORMAT, path, -1, "%zu tokens have ids up to %zu: far more ids than tokens", b->n_used,
                        b->n_pieces - 1);
    size_t n = b->n_pieces + b->n_merges;
    const char **items = mem_realloc(NULL, n, sizeof *items);
    uint32_t *lengths = mem_realloc(NULL, n, sizeof *lengths);
    token_kind *kinds = mem_realloc(NULL, b->n_pieces, sizeof *kinds);
    qaio_status status = QAIO_ERR_MEMORY;
    if (items && lengths && kinds) {
        list_entries(b, b->pieces, b->n_pieces, items, lengths);
        list_entries(b, b->merges, b->n_merges, items + b->n_pieces, lengths + b->n_pieces);
        for (size_t i = 0; i < b->n_pieces; i++) kinds[i] = b->pieces[i].kind;
        token_source source = {items, lengths, kinds, b->n_pieces, items + b->n_pieces, lengths + b->n_pieces, b->n_merges, b->pre};
        status = tokenizer_new(out, &source, path, err);
    } else {
        error_memory(err);
    }
    mem_free(items);
    mem_free(lengths);
    mem_free(kinds);
    return status;
}
