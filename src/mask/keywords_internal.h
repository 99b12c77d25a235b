#ifndef QAIO_MASK_KEYWORDS_INTERNAL_H
#define QAIO_MASK_KEYWORDS_INTERNAL_H

#include "mask/grammar_internal.h"
#include "mask/keywords.h"

void keywords_free(keywords *k);
bool keywords_accepts(const grammar *g, const node *n);
expr keywords_next(grammar *g, const node *n, uint8_t byte);

#endif
