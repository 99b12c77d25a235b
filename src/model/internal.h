/* What load.c and forward.c share. */
#ifndef QAIO_MODEL_INTERNAL_H
#define QAIO_MODEL_INTERNAL_H

#include "model/model.h"
#include "model/pack_cache.h"

typedef struct layer_weights {
    float *attn_norm, *ffn_norm;     /* [hidden] */
    float *q_bias, *k_bias, *v_bias; /* NULL without biases */
    float *q_norm, *k_norm;          /* [head_dim], NULL without */
    packed_matrix q, k, v, o, gate, up, down;
} layer_weights;

/* Scratch of one step, all [MODEL_MAX_ROWS, ...], row strides padded to PACK_COLS. */
typedef struct step_scratch {
    float *x;                          /* [hidden] residual stream */
    float *norm;                       /* [hidden] input of the matrices that follow a norm */
    float *q, *k, *v;                  /* [n_heads * head_dim], [n_kv_heads * head_dim] */
    float *attn;                       /* [n_heads * head_dim], input of Wo */
    float *gate, *up;                  /* [intermediate]; gate becomes the input of Wdown */
    float *cos, *sin;                  /* [head_dim / 2] */
    quant_rows quant;                  /* the input of the matrices at hand, as int8 */
    const void **k_blocks, **v_blocks; /* [n_threads, max_blocks + KV_AHEAD] */
} step_scratch;

struct model {
    model_desc desc;
    dtype type, kv_type;
    size_t n_ctx, max_blocks;
    size_t hidden_stride, q_stride, kv_stride, ffn_stride; /* floats a row */
    const kernels *kernels;
    pool *pool;
    layer_weights *layers;
    packed_matrix embed, head; /* head == embed when tied */
    float *out_norm;
    float *inv_freq; /* [head_dim / 2] */
    step_scratch scratch;
    uint8_t *weights; /* every packed matrix */
    size_t weight_bytes;
    uint64_t stamp;
    pack_writer *writer; /* NULL: none */
    bool is_mapped;      /* weights lie in a file of the pack cache, else in pages of our own */
};

#endif
