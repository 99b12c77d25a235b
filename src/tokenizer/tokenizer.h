/* Byte-level BPE as Qwen uses it: NFC, the Qwen2 pre-tokenizer pattern, byte-level alphabet, merges by rank; special tokens first.
 * A tokenizer is immutable after opening: every function taking a const tokenizer * is thread-safe. */
#ifndef QAIO_TOKENIZER_TOKENIZER_H
#define QAIO_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef struct tokenizer tokenizer;

typedef enum token_kind {
    TOKEN_NORMAL,  /* a piece of the vocabulary, in the byte-level alphabet */
    TOKEN_SPECIAL, /* matched in text as a whole, left out when special tokens are skipped (GGUF: CONTROL) */
    TOKEN_ADDED,   /* matched in text as a whole, but ordinary text on output (GGUF: USER_DEFINED) */
    TOKEN_UNUSED,  /* padding */
} token_kind;

typedef enum pre_tokenizer { PRE_QWEN2, PRE_QWEN35 } pre_tokenizer;

/* The vocabulary as some file gave it; strings borrowed for the call. */
typedef struct token_source {
    const char *const *pieces; /* [n_tokens], not terminated: see piece_lengths */
    const uint32_t *piece_lengths;
    const token_kind *kinds;
    size_t n_tokens;
    const char *const *merges; /* [n_merges], "left right" in the byte-level alphabet, by rank */
    const uint32_t *merge_lengths;
    size_t n_merges;
    pre_tokenizer pre;
} token_source;

/* From lists (GGUF); `path` only names the file in errors.  Every byte must have a piece, no two tokens the same one, and every merge must
 * join two pieces to a third: else QAIO_ERR_FORMAT.  QAIO_ERR_LIMIT: more than 2^20 tokens or 2^21 merges. */
qaio_status tokenizer_new(tokenizer **out, const token_source *source, const char *path, qaio_error *err);
/* From a directory as transformers saves it: tokenizer.json if there, else vocab.json + merges.txt (+ tokenizer_config.json for added
 * tokens).  Errors name the file and the byte; QAIO_ERR_UNSUPPORTED: well-formed, but not byte-level BPE with NFC and a pattern of Qwen's.
 */
qaio_status tokenizer_open(tokenizer **out, const char *dir, qaio_error *err);
void tokenizer_free(tokenizer *t);

/* The vocabulary back as lists, in the form token_source describes (for writing GGUF); borrowed, valid as long as t. */
void tokenizer_source(const tokenizer *t, token_source *out);

size_t tokenizer_size(const tokenizer *t); /* highest id + 1 */
/* The id of a special or added token by its text, -1 when there is none. */
int32_t tokenizer_special(const tokenizer *t, const char *text);
token_kind tokenizer_kind(const tokenizer *t, int32_t id);

typedef struct token_list {
    int32_t *ids; /* owned; token_list_deinit */
    size_t n;
    size_t capacity;
} token_list;
void token_list_deinit(token_list *list);
qaio_status token_list_append(token_list *list, const int32_t *ids, size_t n, qaio_error *err);

/* A half-open byte range of a text. */
typedef struct text_span {
    size_t begin, end;
} text_span;

/* Appends the ids of text[n] to out.  Special and added tokens are recognised only where they lie wholly outside every span of `literal`
 * (ascending, not overlapping): what a user typed is marked literal and stays plain text.  Everything else is encoded as if no span were
 * there. Ill-formed UTF-8 never fails: each maximal ill-formed part becomes U+FFFD.  Linear in n (times log n in the merge loop). */
qaio_status tokenizer_encode(const tokenizer *t, const char *text, size_t n, const text_span *literal, size_t n_literal, token_list *out,
                             qaio_error *err);

/* Appends the raw bytes of one id (special tokens: their text). Ids out of range or unused give nothing. */
void tokenizer_decode(const tokenizer *t, int32_t id, bool skip_special, str *out);

/* Incremental detokenising: emits only whole characters.  Zero-initialise.  Bytes that can no longer become well-formed UTF-8 come out as
 * U+FFFD (one per maximal ill-formed part); an unfinished character waits for the next id. */
typedef struct detokenizer {
    char pending[4];
    uint8_t n_pending;
} detokenizer;
void detokenizer_push(detokenizer *d, const tokenizer *t, int32_t id, bool skip_special, str *out);
void detokenizer_flush(detokenizer *d, str *out);

#endif
