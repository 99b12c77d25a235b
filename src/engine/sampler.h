/* From logits to the next token.  The order is that of transformers: biases, repetition penalty, temperature, top-k, top-p, then a draw. */
#ifndef QAIO_ENGINE_SAMPLER_H
#define QAIO_ENGINE_SAMPLER_H

#include "base/error.h"
#include "kernels/kernels.h"

#define SAMPLING_MAX_BIASES 300
#define SAMPLING_MAX_BIAS   100 /* either way */

typedef struct token_bias {
    int32_t token;
    float bias;
} token_bias;

typedef struct sampling {
    float temperature;        /* 0: greedy */
    float top_p;              /* (0, 1]; 1 keeps all */
    int32_t top_k;            /* 0 keeps all */
    float repetition_penalty; /* 1: none; Keskar et al. 2019 (CTRL), over prompt and reply */
    uint64_t seed;
    const token_bias *biases; /* added to logits; copied */
    size_t n_biases;
} sampling;

typedef struct sampler sampler;

/* QAIO_ERR_ARGUMENT names the parameter that is out of range. */
qaio_status sampling_check(const sampling *s, qaio_error *err);

qaio_status sampler_new(sampler **out, const sampling *params, size_t vocab_size, qaio_error *err);
void sampler_free(sampler *s);
/* A token of the prompt or of the reply, for the repetition penalty. */
void sampler_saw(sampler *s, int32_t token);
/* The next token; changes logits[vocab_size].  The same seed and logits give the same token on every machine. */
int32_t sampler_next(sampler *s, const kernels *k, float *logits);

#endif
