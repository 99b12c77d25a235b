/* A checkpoint: files -> one validated model description, named bounds-checked tensors, a tokenizer, a chat template.
 *
 * Everything from outside is checked here, once, with overflow-safe arithmetic: past this border shapes, types and extents are true. */
#ifndef QAIO_CHECKPOINT_CHECKPOINT_H
#define QAIO_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/dtype.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

#define MODEL_MAX_LAYERS      512
#define MODEL_MAX_STOP_TOKENS 16

typedef enum model_arch { ARCH_QWEN2, ARCH_QWEN3 } model_arch;

/* What a checkpoint says it is; every field validated (finite, positive where it must be, products fit). */
typedef struct model_desc {
    model_arch arch;
    char name[128]; /* general.name, or the directory's or file's base name without suffix */
    size_t hidden_size;
    size_t n_layers;
    size_t n_heads;
    size_t n_kv_heads;
    size_t head_dim;
    size_t intermediate_size;
    size_t vocab_size;     /* rows of the embedding, at least the tokenizer's size */
    size_t context_length; /* max_position_embeddings */
    float rms_norm_eps;
    float rope_theta;
    bool is_tied;                               /* the head is the embedding */
    int32_t stop_tokens[MODEL_MAX_STOP_TOKENS]; /* eos ids of generation_config.json / config.json / GGUF, each once */
    size_t n_stop_tokens;
    int32_t bos_token, pad_token; /* -1: none */
    /* Sampling defaults of generation_config.json (GGUF: general.sampling.*); negative: not named. */
    float temperature, top_p, repetition_penalty;
    int32_t top_k;
    int32_t do_sample; /* -1 not named, 0, 1 */
} model_desc;

/* The tensors of the architectures.  Per-layer ones come first. */
typedef enum tensor_role {
    TENSOR_ATTN_NORM, /* [hidden] */
    TENSOR_Q,         /* [n_heads * head_dim, hidden] */
    TENSOR_K,         /* [n_kv_heads * head_dim, hidden] */
    TENSOR_V,
    TENSOR_Q_BIAS, /* qwen2 */
    TENSOR_K_BIAS,
    TENSOR_V_BIAS,
    TENSOR_Q_NORM, /* [head_dim], qwen3 */
    TENSOR_K_NORM,
    TENSOR_O, /* [hidden, n_heads * head_dim] */
    TENSOR_FFN_NORM,
    TENSOR_GATE, /* [intermediate, hidden] */
    TENSOR_UP,
    TENSOR_DOWN, /* [hidden, intermediate] */
    TENSOR_LAYER_ROLES,
    TENSOR_EMBED = TENSOR_LAYER_ROLES, /* [vocab, hidden] */
    TENSOR_OUT_NORM,
    TENSOR_HEAD, /* [vocab, hidden]; the embedding when is_tied */
    TENSOR_ROLES
} tensor_role;

/* A row-major tensor in a mapped file. n_cols = 1 and n_rows = n for vectors. */
typedef struct tensor {
    dtype type;
    size_t n_rows, n_cols;
    const void *data; /* borrowed from the checkpoint's mapping */
    size_t bytes;
} tensor;

typedef struct checkpoint checkpoint;

/* A .gguf file, a .safetensors file (its directory then gives the rest), or a directory (one GGUF or config.json + safetensors). */
qaio_status checkpoint_open(checkpoint **out, const char *path, qaio_error *err);
/* A GGUF image in memory (the embedded model); borrowed as long as the checkpoint lives.  `name` stands for the path in errors. */
qaio_status checkpoint_open_memory(checkpoint **out, const void *data, size_t bytes, const char *name, qaio_error *err);
void checkpoint_close(checkpoint *c);

const model_desc *checkpoint_desc(const checkpoint *c);
/* A tensor by role (layer ignored for the last three); all roles the architecture needs are there after a successful open.  Roles it does
 * not have give NULL (e.g. TENSOR_Q_BIAS on qwen3). */
const tensor *checkpoint_tensor(const checkpoint *c, tensor_role role, size_t layer);
/* The most common type among the matrices, by bytes. */
dtype checkpoint_type(const checkpoint *c);
/* Bytes of all tensors as stored. */
size_t checkpoint_bytes(const checkpoint *c);
/* "gguf v3", "safetensors (6 shards)" */
const char *checkpoint_format(const checkpoint *c);
/* Another file, or a file that changed, has another one; 0: an image in memory. */
uint64_t checkpoint_stamp(const checkpoint *c);
/* After packing: lets the kernel drop the mapped pages (MADV_DONTNEED); reading them again still works. */
void checkpoint_drop_pages(const checkpoint *c);

/* Borrowed; both loaded and checked by open. */
const tokenizer *checkpoint_tokenizer(const checkpoint *c);
const chat_template *checkpoint_template(const checkpoint *c);
/* The template's own text, or NULL. */
const char *checkpoint_template_text(const checkpoint *c, size_t *n);

/* Only the tokenizer and template of a file or directory, without weights (inspect --tokenizer).  Both owned by the caller. */
qaio_status checkpoint_load_tokenizer(tokenizer **out, chat_template *out_template, const char *path, qaio_error *err);

/* Writes a whole model as one GGUF v3 file: description, sampling defaults, tokenizer, template, tensors.  Matrices become `type` (F32,
 * F16, BF16, Q8_0, Q4_0), or F16 where a row is no multiple of the block; vectors stay F32.  Atomic: the old file stays until the new one
 * is whole.  progress may be NULL; returning false cancels. */
typedef bool checkpoint_progress(void *ctx, size_t done_bytes, size_t total_bytes);
qaio_status checkpoint_write_gguf(const checkpoint *c, const char *path, dtype type, checkpoint_progress *progress, void *ctx,
                                  qaio_error *err);

#endif
