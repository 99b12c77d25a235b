/* The Qwen architectures as one forward pass over a ragged batch: rows of any number of sequences go through each layer together, so the
 * weights are read once for all of them.  A row's result depends on its own sequence only, bit for bit.
 *
 *   x[row, hidden] = embedding[token]
 *   per layer:   h = rms_norm(x);  q, k, v = h Wq + bq, h Wk + bk, h Wv + bv         (qwen2: biases;  qwen3: rms_norm over each head of q
 * and k) q, k = rope(q, k, position);   K, V of the row go into its sequence's blocks x += attention(q, K, V) Wo h = rms_norm(x);   x +=
 * (silu(h Wgate) * (h Wup)) Wdown hidden = rms_norm(x);   logits = hidden Whead          (only for the rows, and label rows, that ask)
 *
 * A model has one scratch area: one caller of model_forward and model_logits* at a time. */
#ifndef QAIO_MODEL_MODEL_H
#define QAIO_MODEL_MODEL_H

#include "base/pool.h"
#include "checkpoint/checkpoint.h"
#include "kernels/kernels.h"

#define MODEL_MAX_ROWS 256 /* rows one model_forward takes; longer prompts come in pieces */

typedef struct model model;

typedef struct model_options {
    dtype type;             /* weights in memory: F32, F16, BF16, Q8_0, Q4_0; NONE: Q8_0 and Q4_0 as stored, everything else Q8_0 */
    dtype kv_type;          /* F32, F16; NONE: F32 when type is F32, else F16 */
    size_t n_ctx;           /* positions a sequence may have; 0 or more than the checkpoint's: the checkpoint's */
    const char *pack_dir;   /* where packed weights of large models are kept, mapped when they are there; NULL: nowhere */
    bool keeps_packed;      /* write them there, for the next start */
    const kernels *kernels; /* borrowed */
    pool *pool;             /* borrowed */
} model_options;

/* Packs the weights; the checkpoint may be closed afterwards.  Errors: QAIO_ERR_MEMORY, QAIO_ERR_ARGUMENT (a type that cannot be packed).
 */
qaio_status model_load(model **out, const checkpoint *source, const model_options *options, qaio_error *err);
void model_free(model *m);

const model_desc *model_description(const model *m);
size_t model_context(const model *m);      /* positions a sequence may have */
size_t model_weight_bytes(const model *m); /* packed */
dtype model_type(const model *m);          /* of the layers' matrices */
dtype model_kv_type(const model *m);
uint64_t model_file_stamp(const model *m); /* of its files and of how each matrix is packed; 0 when it came from memory */

/* One KV block holds KV_BLOCK positions of every layer: [n_layers][n_kv_heads]{K [head_dim][KV_BLOCK], V [KV_BLOCK][head_dim]}.
 * Allocate it with mem_aligned(model_kv_block_bytes(m)). */
size_t model_kv_block_bytes(const model *m);
/* Zeroes a block's positions from n on (n below KV_BLOCK). */
void model_kv_blank(const model *m, void *block, size_t n);

/* Another sequence's copy of a block. */
typedef struct model_mirror model_mirror;
struct model_mirror {
    void *block;
    const model_mirror *next;
};

/* Consecutive rows of one sequence.  blocks[i] holds positions [i*KV_BLOCK, (i+1)*KV_BLOCK); those before `position` are read, the rows'
 * own are written.  Two spans of a batch must not write the same block.
 *
 * A sequence may go on from another one that is computed in the same batch: blocks of the earlier positions are shared, and of a block that
 * both write it has a copy of its own, which the other span mirrors its rows into. */
typedef struct model_span {
    const int32_t *tokens; /* [n_tokens], each below vocab_size */
    size_t n_tokens;
    size_t position;             /* of the first row */
    void *const *blocks;         /* [ceil((position + n_tokens) / KV_BLOCK)] */
    size_t n_outputs;            /* hidden states wanted of the last n_outputs rows */
    const model_mirror *mirrors; /* copies of the block that the last row is in; NULL: none */
} model_span;

/* Called after the embeddings (layer 0) and after each layer (1 ..) with the residual stream [n_rows, stride]. Tests only. */
typedef void model_trace(void *ctx, size_t layer, const float *x, size_t stride, size_t n_rows);

/* At most MODEL_MAX_ROWS rows in all spans.  hidden: [sum of n_outputs, model_hidden_stride], 64-byte aligned, after the final norm, in the
 * order of the spans.  Cannot fail: everything it needs was allocated by model_load. */
void model_forward(model *m, const model_span *spans, size_t n_spans, float *hidden, model_trace *trace, void *trace_ctx);

size_t model_hidden_stride(const model *m); /* hidden_size padded to PACK_COLS */

/* logits[n, vocab_size] of hidden[n, model_hidden_stride]; n at most MODEL_MAX_ROWS. */
void model_logits(model *m, const float *hidden, size_t n, float *logits);
/* Only the logits of the named tokens: logits[n, n_tokens]; the same bits as model_logits gives. */
void model_logits_of(model *m, const float *hidden, size_t n, const int32_t *tokens, size_t n_tokens, float *logits);

#endif
