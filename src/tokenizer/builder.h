/* Collects a vocabulary while its files are read, in whatever order they give it, and makes the tokenizer of it. */
#ifndef QAIO_TOKENIZER_BUILDER_H
#define QAIO_TOKENIZER_BUILDER_H

#include "tokenizer/json_scan.h"
#include "tokenizer/tokenizer.h"

#define TOKENIZER_MAX_FILE_BYTES (64u << 20)
#define TOKENIZER_MAX_UNUSED_IDS 4096 /* ids below the highest that no piece has */

typedef struct vocabulary_entry {
    size_t offset; /* in text */
    uint32_t n;
    token_kind kind; /* TOKEN_UNUSED: no piece has this id so far */
} vocabulary_entry;

typedef struct vocabulary_builder {
    str text;                 /* of all pieces and merges */
    vocabulary_entry *pieces; /* by id, owned */
    size_t n_pieces, pieces_capacity;
    size_t n_used;
    vocabulary_entry *merges; /* by rank, owned */
    size_t n_merges, merges_capacity;
    pre_tokenizer pre;
} vocabulary_builder;

void builder_deinit(vocabulary_builder *b);
/* An added token may repeat a piece of the vocabulary under its own id; anything else that shares an id is refused, through s. */
void builder_add_piece(vocabulary_builder *b, json_scan *s, uint32_t id, json_slice piece, token_kind kind);
/* The next merge is what b->text holds from `begin` on. */
qaio_status builder_add_merge(vocabulary_builder *b, size_t begin, qaio_error *err);
qaio_status builder_finish(vocabulary_builder *b, tokenizer **out, const char *path, qaio_error *err);

/* The files. Each reads the whole of path into b. */
qaio_status read_tokenizer_json(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err);
qaio_status read_vocab_json(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err);
qaio_status read_merges_txt(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err);
qaio_status read_tokenizer_config(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err);

#endif
