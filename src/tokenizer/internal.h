/* What the files of the tokenizer share. */
#ifndef QAIO_TOKENIZER_INTERNAL_H
#define QAIO_TOKENIZER_INTERNAL_H

#include "tokenizer/bpe.h"
#include "tokenizer/tokenizer.h"

#define TOKENIZER_MAX_TOKENS      (1u << 20)
#define TOKENIZER_MAX_MERGES      (1u << 21)
#define TOKENIZER_MAX_PIECE_BYTES 65535

/* Strings that lie one behind another in one block. */
typedef struct string_list {
    char *pool;
    const char **items; /* [n] */
    uint32_t *lengths;  /* [n] */
    size_t n;
} string_list;

/* Special and added tokens, in the order of their bytes: one walk finds the longest that begins at a place. */
typedef struct special_token {
    const char *text; /* borrowed from the pieces */
    uint32_t n;
    int32_t id;
} special_token;

struct tokenizer {
    string_list pieces; /* by id */
    string_list merges; /* by rank, "left right" */
    token_kind *kinds;  /* [pieces.n] */
    bpe_merges ranks;
    int32_t byte_ids[256];
    special_token *specials; /* [n_specials] */
    size_t n_specials;
    bool begins_special[256]; /* by first byte */
    pre_tokenizer pre;
};

/* The byte-level alphabet: each byte is written as one printable code point below U+0144. */
uint32_t byte_to_letter(uint8_t byte);
int letter_to_byte(uint32_t code_point); /* -1: not of the alphabet */

#endif
