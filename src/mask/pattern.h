/* Regular expressions (the part of ECMA-262 that is regular) as expressions, for strings inside JSON. */
#ifndef QAIO_MASK_PATTERN_H
#define QAIO_MASK_PATTERN_H

#include "mask/grammar.h"

#define PATTERN_MAX_BYTES  2048
#define PATTERN_MAX_DEPTH  16 /* groups inside each other */
#define PATTERN_MAX_COUNT  1000
#define PATTERN_MAX_RANGES 256 /* of a class */

/* What may stand between the quotes of a JSON string that the pattern finds something in; as in JSON Schema it need not be the whole,
 * unless ^ and $ say so.  Known: characters, ., [..], \d \w \s and their opposites, (..), (?:..), |, * + ? {n} {n,} {n,m}, ^ at the
 * beginning and $ at the end of the whole or of its alternatives, \xHH and \uHHHH.  The strings have least to most characters
 * (GRAMMAR_ANY: no limit), where the pattern says so itself or one repeated character decides it.  QAIO_ERR_UNSUPPORTED: what is not
 * regular, or not known, or a length that cannot be had so; QAIO_ERR_ARGUMENT: no regular expression; QAIO_ERR_LIMIT.  Messages say where,
 * in bytes. */
qaio_status pattern_compile(grammar *g, const char *pattern, uint32_t least, uint32_t most, expr *out, qaio_error *err);

#endif
