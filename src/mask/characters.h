/* Characters and digits as expressions over bytes. */
#ifndef QAIO_MASK_CHARACTERS_H
#define QAIO_MASK_CHARACTERS_H

#include "mask/grammar.h"

/* Code points from first to last; no surrogates. */
typedef struct code_range {
    uint32_t first, last;
} code_range;

#define LAST_CODE_POINT 0x10FFFFu

/* One character of the ranges, in UTF-8; surrogates are left out. */
expr grammar_characters(grammar *g, const code_range *ranges, size_t n);

/* All strings of n bytes from first to last in the order of bytes, where every byte after the first one is from least to most: the digits
 * of "207" to "815", the UTF-8 of U+4E00 to U+9FFF. */
expr grammar_between(grammar *g, const uint8_t *first, const uint8_t *last, size_t n, uint8_t least, uint8_t most);

#endif
