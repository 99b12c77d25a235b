/* From a grammar to tokens: which of the vocabulary may come next.  One job's, used by one thread at a time. */
#ifndef QAIO_MASK_TOKEN_MASK_H
#define QAIO_MASK_TOKEN_MASK_H

#include "mask/grammar.h"
#include "mask/token_trie.h"

#define TOKEN_MASK_CACHE 128 /* masks kept for states that come back, vocab_size bits each */

typedef struct token_mask token_mask;

/* g: begun; moved, also on failure.  trie: borrowed, of the vocabulary that the tokens are from.  vocab_size: logits, may be more than the
 * tokenizer has tokens. */
qaio_status token_mask_new(token_mask **out, grammar *g, const token_trie *trie, size_t vocab_size, qaio_error *err);
void token_mask_free(token_mask *m);

/* Makes the logits[vocab_size] of all tokens -inf that cannot come next.  Stop tokens may come where the text may end, and only there.
 * *is_over: only the end can come; there may be no token for it.  Fails like token_mask_advance. */
qaio_status token_mask_apply(token_mask *m, const int32_t *stop_tokens, size_t n_stop_tokens, float *logits, bool *is_over,
                             qaio_error *err);

/* The token has been generated.  QAIO_ERR_FORMAT: it could not come, so the logits were no numbers; QAIO_ERR_UNSUPPORTED: the grammar needs
 * more states than it may; QAIO_ERR_MEMORY. */
qaio_status token_mask_advance(token_mask *m, int32_t token, qaio_error *err);

/* Nothing can follow: known without another step. */
bool token_mask_is_complete(const token_mask *m);

#endif
