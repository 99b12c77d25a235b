/* The model description: its table of sizes, and what the fields must fulfil together. */
#include "checkpoint/desc.h"

#include <string.h>

const desc_size desc_sizes[N_DESC_SIZES] = {
    {"hidden_size", "embedding_length", offsetof(model_desc, hidden_size), MODEL_MAX_SIZE},
    {"num_hidden_layers", "block_count", offsetof(model_desc, n_layers), MODEL_MAX_LAYERS},
    {"num_attention_heads", "attention.head_count", offsetof(model_desc, n_heads), MODEL_MAX_SIZE},
    {"num_key_value_heads", "attention.head_count_kv", offsetof(model_desc, n_kv_heads), MODEL_MAX_SIZE},
    {"intermediate_size", "feed_forward_length", offsetof(model_desc, intermediate_size), MODEL_MAX_SIZE},
    {"max_position_embeddings", "context_length", offsetof(model_desc, context_length), MODEL_MAX_CONTEXT},
};

size_t *desc_size_field(model_desc *desc, const desc_size *size) { return (size_t *)(void *)((char *)desc + size->field); }

static const char *const arch_names[] = {[ARCH_QWEN2] = "qwen2", [ARCH_QWEN3] = "qwen3"};

const char *desc_arch_name(model_arch arch) { return arch_names[arch]; }

bool desc_arch_from_name(const char *name, size_t n, model_arch *out) {
    for (size_t i = 0; i < sizeof arch_names / sizeof *arch_names; i++) {
        if (strlen(arch_names[i]) != n || memcmp(arch_names[i], name, n) != 0) continue;
        *out = (model_arch)i;
        return true;
    }
    return false;
}

void desc_init(model_desc *desc) {
    *desc = (model_desc){
        .bos_token = -1, .pad_token = -1, .temperature = -1, .top_p = -1, .repetition_penalty = -1, .top_k = -1, .do_sample = -1};
}

bool desc_add_stop(model_desc *desc, int32_t id) {
    for (size_t i = 0; i < desc->n_stop_tokens; i++)
        if (desc->stop_tokens[i] == id) return true;
    if (desc->n_stop_tokens == MODEL_MAX_STOP_TOKENS) return false;
    desc->stop_tokens[desc->n_stop_tokens++] = id;
    return true;
}

static qaio_status check_tokens(const model_desc *d, const char *path, qaio_error *err) {
    int32_t n = (int32_t)d->vocab_size;
    for (size_t i = 0; i < d->n_stop_tokens; i++)
        if (d->stop_tokens[i] >= n)
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "end token %d lies outside the vocabulary of %d", d->stop_tokens[i], n);
    if (d->bos_token >= n)
        return error_at(err, QAIO_ERR_FORMAT, path, -1, "bos token %d lies outside the vocabulary of %d", d->bos_token, n);
    if (d->pad_token >= n)
        return error_at(err, QAIO_ERR_FORMAT, path, -1, "padding token %d lies outside the vocabulary of %d", d->pad_token, n);
    return QAIO_OK;
}

qaio_status desc_check(model_desc *d, const char *path, qaio_error *err) {
    if (d->n_heads % d->n_kv_heads != 0)
        return error_at(err, QAIO_ERR_FORMAT, path, -1, "%zu attention heads are no multiple of %zu key/value heads", d->n_heads,
                        d->n_kv_heads);
    if (d->head_dim == 0) {
        if (d->hidden_size % d->n_heads != 0)
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "hidden size %zu is no multiple of %zu attention heads", d->hidden_size,
                            d->n_heads);
        d->head_dim = d->hidden_size / d->n_heads;
    }
    if (d->head_dim % 2 != 0) return error_at(err, QAIO_ERR_FORMAT, path, -1, "head_dim %zu is odd", d->head_dim);
    if (d->head_dim > MODEL_MAX_HEAD_DIM)
        return error_at(err, QAIO_ERR_UNSUPPORTED, path, -1, "head_dim %zu, at most %d is supported", d->head_dim, MODEL_MAX_HEAD_DIM);
    return check_tokens(d, path, err);
}
