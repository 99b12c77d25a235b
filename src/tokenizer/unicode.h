/* What the tokenizer needs of Unicode: classes of code points, repair of ill-formed text, NFC. */
#ifndef QAIO_TOKENIZER_UNICODE_H
#define QAIO_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

/* As the regular expressions of the pre-tokenizer see a code point. */
typedef enum char_class {
    CHAR_OTHER,
    CHAR_LETTER, /* \p{L} */
    CHAR_NUMBER, /* \p{N} */
    CHAR_MARK,   /* \p{M} */
    CHAR_SPACE,  /* \s */
} char_class;

char_class unicode_class(uint32_t code_point);

#define REPLACEMENT_CHARACTER 0xFFFD

/* The length of the maximal ill-formed part that begins at p (n > 0 bytes left; no well-formed character begins there), at least 1.
 * *is_unfinished: it reaches the end, and more bytes could make a character of it. */
size_t utf8_ill_formed_part(const char *p, size_t n, bool *is_unfinished);

/* text[n] with ill-formed parts replaced, in NFC.  *result[*n_result] is text itself where nothing had to change, else in `out`, which is
 * overwritten.  Linear in n. */
qaio_status unicode_normalize(const char *text, size_t n, str *out, const char **result, size_t *n_result, qaio_error *err);

#endif
