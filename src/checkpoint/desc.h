/* What config.json and GGUF keys have in common: the sizes of a model_desc, and the checks every description passes. */
#ifndef QAIO_CHECKPOINT_DESC_H
#define QAIO_CHECKPOINT_DESC_H

#include "checkpoint/checkpoint.h"

#define MODEL_MAX_SIZE     (1 << 24) /* hidden, heads, intermediate, vocabulary: so that products of two fit easily */
#define MODEL_MAX_CONTEXT  (1 << 30) /* positions are int32 */
#define MODEL_MAX_HEAD_DIM 256       /* what the attention kernels take */
#define MODEL_MIN_EPS      1e-30     /* the smallest epsilon and base that stay positive as float32 with room to compute */
#define MODEL_MIN_THETA    1e-6

/* A size that must be there: its name in config.json and, after "{arch}.", in GGUF. */
typedef struct desc_size {
    const char *config_key, *gguf_key;
    size_t field; /* offset in model_desc */
    int64_t max;
} desc_size;

#define N_DESC_SIZES 6
extern const desc_size desc_sizes[N_DESC_SIZES];
size_t *desc_size_field(model_desc *desc, const desc_size *size);

/* "qwen2": model_type in config.json, general.architecture in GGUF. */
const char *desc_arch_name(model_arch arch);
/* False for an architecture that this build does not run. */
bool desc_arch_from_name(const char *name, size_t n, model_arch *out);

/* All fields at "not named". */
void desc_init(model_desc *desc);
/* Each id once; false when there is no room. */
bool desc_add_stop(model_desc *desc, int32_t id);
/* hidden_size / n_heads where no head_dim was named, then everything the fields must fulfil together. */
qaio_status desc_check(model_desc *desc, const char *path, qaio_error *err);

#endif
