/* The tensors an architecture needs, as a table: one row a role. A new architecture adds its bit here, and rows for what only it has. */
#include "checkpoint/roles.h"

#include <stdio.h>

#include "checkpoint/quote.h"

typedef enum role_size { SIZE_NONE, SIZE_HIDDEN, SIZE_HEADS, SIZE_KV_HEADS, SIZE_HEAD_DIM, SIZE_INTERMEDIATE, SIZE_VOCAB } role_size;

#define QWEN2 (1u << ARCH_QWEN2)
#define QWEN3 (1u << ARCH_QWEN3)
#define EVERY (QWEN2 | QWEN3)

typedef struct role_row {
    const char *names[2];     /* by tensor_naming; of a layer: what follows "model.layers.N." and "blk.N." */
    role_size n_rows, n_cols; /* SIZE_NONE: a vector */
    unsigned archs;
} role_row;

static const role_row rows[TENSOR_ROLES] = {
    [TENSOR_ATTN_NORM] = {{"input_layernorm.weight", "attn_norm.weight"}, SIZE_HIDDEN, SIZE_NONE, EVERY},
    [TENSOR_Q] = {{"self_attn.q_proj.weight", "attn_q.weight"}, SIZE_HEADS, SIZE_HIDDEN, EVERY},
    [TENSOR_K] = {{"self_attn.k_proj.weight", "attn_k.weight"}, SIZE_KV_HEADS, SIZE_HIDDEN, EVERY},
    [TENSOR_V] = {{"self_attn.v_proj.weight", "attn_v.weight"}, SIZE_KV_HEADS, SIZE_HIDDEN, EVERY},
    [TENSOR_Q_BIAS] = {{"self_attn.q_proj.bias", "attn_q.bias"}, SIZE_HEADS, SIZE_NONE, QWEN2},
    [TENSOR_K_BIAS] = {{"self_attn.k_proj.bias", "attn_k.bias"}, SIZE_KV_HEADS, SIZE_NONE, QWEN2},
    [TENSOR_V_BIAS] = {{"self_attn.v_proj.bias", "attn_v.bias"}, SIZE_KV_HEADS, SIZE_NONE, QWEN2},
    [TENSOR_Q_NORM] = {{"self_attn.q_norm.weight", "attn_q_norm.weight"}, SIZE_HEAD_DIM, SIZE_NONE, QWEN3},
    [TENSOR_K_NORM] = {{"self_attn.k_norm.weight", "attn_k_norm.weight"}, SIZE_HEAD_DIM, SIZE_NONE, QWEN3},
    [TENSOR_O] = {{"self_attn.o_proj.weight", "attn_output.weight"}, SIZE_HIDDEN, SIZE_HEADS, EVERY},
    [TENSOR_FFN_NORM] = {{"post_attention_layernorm.weight", "ffn_norm.weight"}, SIZE_HIDDEN, SIZE_NONE, EVERY},
    [TENSOR_GATE] = {{"mlp.gate_proj.weight", "ffn_gate.weight"}, SIZE_INTERMEDIATE, SIZE_HIDDEN, EVERY},
    [TENSOR_UP] = {{"mlp.up_proj.weight", "ffn_up.weight"}, SIZE_INTERMEDIATE, SIZE_HIDDEN, EVERY},
    [TENSOR_DOWN] = {{"mlp.down_proj.weight", "ffn_down.weight"}, SIZE_HIDDEN, SIZE_INTERMEDIATE, EVERY},
    [TENSOR_EMBED] = {{"model.embed_tokens.weight", "token_embd.weight"}, SIZE_VOCAB, SIZE_HIDDEN, EVERY},
    [TENSOR_OUT_NORM] = {{"model.norm.weight", "output_norm.weight"}, SIZE_HIDDEN, SIZE_NONE, EVERY},
    [TENSOR_HEAD] = {{"lm_head.weight", "output.weight"}, SIZE_VOCAB, SIZE_HIDDEN, EVERY},
};

static const char *const layer_prefix[] = {[NAMES_HF] = "model.layers", [NAMES_GGUF] = "blk"};

void role_name(char out[TENSOR_NAME_BYTES], tensor_naming naming, tensor_role role, size_t layer) {
    const char *name = rows[role].names[naming];
    if (role < TENSOR_LAYER_ROLES)
        snprintf(out, TENSOR_NAME_BYTES, "%s.%zu.%s", layer_prefix[naming], layer, name);
    else
        snprintf(out, TENSOR_NAME_BYTES, "%s", name);
}

bool role_is_used(tensor_role role, const model_desc *desc) {
    if (role == TENSOR_HEAD && desc->is_tied) return false;
    return (rows[role].archs >> desc->arch & 1) != 0;
}

bool role_is_vector(tensor_role role) { return rows[role].n_cols == SIZE_NONE; }

size_t role_index(const model_desc *desc, tensor_role role, size_t layer) {
    if (role < TENSOR_LAYER_ROLES) return layer * TENSOR_LAYER_ROLES + (size_t)role;
    return desc->n_layers * TENSOR_LAYER_ROLES + (size_t)(role - TENSOR_LAYER_ROLES);
}

size_t roles_count(const model_desc *desc) { return role_index(desc, TENSOR_ROLES, 0); }

static size_t size_of(role_size size, const model_desc *d) {
    switch (size) {
    case SIZE_HIDDEN:
        return d->hidden_size;
    case SIZE_HEADS:
        return d->n_heads * d->head_dim;
    case SIZE_KV_HEADS:
        return d->n_kv_heads * d->head_dim;
    case SIZE_HEAD_DIM:
        return d->head_dim;
    case SIZE_INTERMEDIATE:
        return d->intermediate_size;
    case SIZE_VOCAB:
        return d->vocab_size;
    case SIZE_NONE:
        break;
    }
    return 1;
}

static qaio_status bind(tensor *out, const tensor_list *found, const model_desc *desc, tensor_naming naming, tensor_role role, size_t layer,
                        const char *path, qaio_error *err) {
    char name[TENSOR_NAME_BYTES];
    role_name(name, naming, role, layer);
    const named_tensor *t = tensor_list_find(found, name);
    if (!t) return error_at(err, QAIO_ERR_FORMAT, path, -1, "tensor \"%s\" is missing", name);
    if (t->type == DTYPE_NONE) return error_at(err, QAIO_ERR_UNSUPPORTED, path, -1, "tensor \"%s\": unsupported element type", name);
    const size_t expected[2] = {size_of(rows[role].n_rows, desc), size_of(rows[role].n_cols, desc)};
    size_t n_dims = role_is_vector(role) ? 1 : 2;
    if (t->n_dims != n_dims || t->dims[0] != expected[0] || (n_dims == 2 && t->dims[1] != expected[1]))
        return error_at(err, QAIO_ERR_FORMAT, path, -1, "tensor \"%s\" has shape %s, the configuration asks for %s", name,
                        quote_shape(t->dims, t->n_dims).text, quote_shape(expected, n_dims).text);
    *out = (tensor){.type = t->type, .n_rows = expected[0], .n_cols = expected[1], .data = t->data, .bytes = t->bytes};
    return QAIO_OK;
}

qaio_status roles_bind(tensor *out, const tensor_list *found, const model_desc *desc, tensor_naming naming, const char *path,
                       qaio_error *err) {
    for (tensor_role role = 0; role < TENSOR_ROLES; role++) {
        if (!role_is_used(role, desc)) continue;
        size_t n = role < TENSOR_LAYER_ROLES ? desc->n_layers : 1;
        for (size_t layer = 0; layer < n; layer++) {
            qaio_status status = bind(&out[role_index(desc, role, layer)], found, desc, naming, role, layer, path, err);
            if (status) return status;
        }
    }
    if (desc->is_tied) out[role_index(desc, TENSOR_HEAD, 0)] = out[role_index(desc, TENSOR_EMBED, 0)];
    return QAIO_OK;
}
