/* The golden data of the tokenizer: the real Qwen2 vocabulary, rebuilt from its merges, and files of one JSON object a line. */
#ifndef QAIO_TESTS_TOKENIZER_GOLDEN_H
#define QAIO_TESTS_TOKENIZER_GOLDEN_H

#include <jansson.h>

#include "tokenizer/tokenizer.h"

#define GOLDEN "tests/golden/tokenizer/"

/* The vocabulary: 256 bytes, then one piece a merge, then added tokens.  Everything in it lives as long as it. */
typedef struct golden_vocabulary {
    token_source source;
    char **pieces;
    uint32_t *piece_lengths;
    token_kind *kinds;
    char **merges;
    uint32_t *merge_lengths;
} golden_vocabulary;

/* With the three added tokens of Qwen2 or the 26 of Qwen3; at most max_merges merges. */
void golden_vocabulary_init(golden_vocabulary *v, bool is_qwen3, size_t max_merges);
void golden_vocabulary_deinit(golden_vocabulary *v);
tokenizer *golden_tokenizer(bool is_qwen3, pre_tokenizer pre);

/* Writes the files that transformers would save into dir. */
typedef enum golden_style { GOLDEN_MODERN, GOLDEN_LEGACY, GOLDEN_VOCAB_AND_MERGES } golden_style;
void golden_write(const token_source *source, golden_style style, const char *dir);

json_t *golden_lines(const char *path); /* an array */
/* The text of a line: "text_b64", "text_rep" or "text". */
str golden_text(const json_t *line);
str golden_base64(const json_t *value);
bool golden_ids_equal(const json_t *expected, const int32_t *ids, size_t n);

#endif
