/* Lists whose items stand in a text:  天气、散步、公园
 *
 * Every item is a part of the text, whole characters of it, not cut across its punctuation, and none lies in one before it. */
#ifndef QAIO_MASK_KEYWORDS_H
#define QAIO_MASK_KEYWORDS_H

#include "mask/grammar.h"

#define KEYWORDS_MAX_ITEMS      64
#define KEYWORDS_MAX_CHARACTERS 64 /* of an item */
#define KEYWORDS_MAX_SEPARATOR  16 /* bytes */
#define KEYWORDS_MAX_TEXT       ((size_t)1 << 18)

typedef struct keywords_params {
    const char *separator;   /* between items, "、"; not empty */
    uint32_t max_items;      /* 1 to KEYWORDS_MAX_ITEMS */
    uint32_t max_characters; /* of an item, 1 to KEYWORDS_MAX_CHARACTERS */
} keywords_params;

/* At least one item, or the empty text where the text has no item.  Once a grammar; the text (UTF-8) is copied.  QAIO_ERR_LIMIT: it is
 * longer than KEYWORDS_MAX_TEXT. */
qaio_status grammar_keywords(grammar *g, const keywords_params *params, const char *text, size_t n, expr *out, qaio_error *err);

#endif
