/* qaio inspect: what its calls share. */
#ifndef QAIO_CLI_INSPECT_H
#define QAIO_CLI_INSPECT_H

#include <jansson.h>

#include "checkpoint/checkpoint.h"
#include "cli/settings.h"
#include "engine/engine.h"

typedef struct inspect {
    const settings *settings;
    checkpoint *source;     /* NULL with --tokenizer */
    const tokenizer *words; /* of the source, or own_words */
    tokenizer *own_words;
    chat_template template; /* borrowed from the source unless owns_template */
    bool owns_template;
    size_t vocab_size; /* ids below this are valid */
    const kernels *kernels;
    pool *pool;
    model *model;   /* logits */
    engine *engine; /* score, generate */
} inspect;

/* Serves one request: prints one line and returns QAIO_OK, or prints nothing and fills err. */
typedef qaio_status inspect_fn(inspect *x, const json_t *request, qaio_error *err);

inspect_fn inspect_tokenize, inspect_detokenize, inspect_template, inspect_logits, inspect_score, inspect_generate;

/* "model": the description, as one line. */
int inspect_describe(const inspect *x);
/* "dequant": binary in, binary out.  Returns an exit status. */
int inspect_dequant(dtype type);

/* request[key] as token ids, each below vocab_size. */
qaio_status inspect_read_ids(const inspect *x, const json_t *list, const char *what, token_list *out, qaio_error *err);
/* [id, …], a new reference. */
json_t *inspect_ids(const int32_t *ids, size_t n);
/* Prints answer (moved; NULL: out of memory) with `digits` digits for real numbers. */
qaio_status inspect_answer(json_t *answer, int digits, qaio_error *err);

#endif
