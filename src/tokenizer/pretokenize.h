/* The pre-tokenizer: cuts well-formed UTF-8 into the words that merges never cross. */
#ifndef QAIO_TOKENIZER_PRETOKENIZE_H
#define QAIO_TOKENIZER_PRETOKENIZE_H

#include <stddef.h>

#include "tokenizer/tokenizer.h"

/* The regular expressions that the scanner stands for. */
extern const char *const pretokenize_patterns[2]; /* by pre_tokenizer */

/* The length in bytes of the word that text[n], n > 0, begins with.  Over a whole text linear in its length. */
size_t pretokenize_word(const char *text, size_t n, pre_tokenizer pre);

#endif
