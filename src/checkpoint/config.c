/* config.json and generation_config.json -> model_desc.
 *
 * The keys are those of transformers' Qwen2Config and Qwen3Config.  What this build would compute wrongly (scaled rope, sliding windows,
 * another activation) is refused, never ignored; unknown keys are. */
#include "checkpoint/config.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/json_file.h"
#include "checkpoint/quote.h"

static void read_arch(json_reader *r, model_desc *desc) {
    const char *type;
    if (!json_get_string(r, "model_type", &type)) {
        json_missing(r, "model_type");
        return;
    }
    if (desc_arch_from_name(type, strlen(type), &desc->arch)) return;
    char message[224];
    snprintf(message, sizeof message, "is \"%s\"; this build runs qwen2 (Qwen1.5, Qwen2, Qwen2.5) and qwen3",
             quote(type, strlen(type)).text);
    json_refuse(r, QAIO_ERR_UNSUPPORTED, "model_type", message);
}

static void read_sizes(json_reader *r, model_desc *desc) {
    int64_t value;
    for (size_t i = 0; i < N_DESC_SIZES; i++) {
        if (json_get_integer(r, desc_sizes[i].config_key, 1, desc_sizes[i].max, &value))
            *desc_size_field(desc, &desc_sizes[i]) = (size_t)value;
        else
            json_missing(r, desc_sizes[i].config_key);
    }
    if (json_get_integer(r, "vocab_size", 1, MODEL_MAX_SIZE, &value))
        desc->vocab_size = (size_t)value;
    else
        json_missing(r, "vocab_size");
    if (json_get_integer(r, "head_dim", 1, MODEL_MAX_SIZE, &value)) desc->head_dim = (size_t)value;
    if (!json_get_number(r, "rms_norm_eps", MODEL_MIN_EPS, 1, &desc->rms_norm_eps)) json_missing(r, "rms_norm_eps");
}

/* "rope_scaling" (transformers 4) or "rope_parameters" (5): an object that may name a type and, in 5, holds rope_theta itself. */
static void read_rope_object(json_reader *r, const char *key, bool *has_theta, model_desc *desc) {
    const json_t *object = json_member(r, key);
    if (!object) return;
    if (!json_is_object(object)) {
        json_refuse(r, QAIO_ERR_FORMAT, key, "must be an object");
        return;
    }
    static const char *const type_keys[] = {"rope_type", "type"};
    json_reader inner = {object, r->path, r->err, r->status};
    bool has_type = false;
    for (size_t i = 0; i < 2; i++) {
        const char *type;
        if (!json_get_string(&inner, type_keys[i], &type)) continue;
        has_type = true;
        if (strcmp(type, "default") != 0 && strcmp(type, "none") != 0)
            json_refuse(&inner, QAIO_ERR_UNSUPPORTED, key,
                        "asks for a scaled rotary embedding (YaRN and the like), which is not supported");
    }
    if (!has_type && json_member(&inner, "factor"))
        json_refuse(&inner, QAIO_ERR_UNSUPPORTED, key, "has a factor: scaled rotary embeddings are not supported");
    if (json_get_number(&inner, "rope_theta", MODEL_MIN_THETA, FLT_MAX, &desc->rope_theta)) *has_theta = true;
    float partial = 1;
    if (json_get_number(&inner, "partial_rotary_factor", 0, 1, &partial) && partial < 1)
        json_refuse(&inner, QAIO_ERR_UNSUPPORTED, key, "rotates only a part of each head, which is not supported");
    r->status = inner.status;
}

static void read_rope(json_reader *r, model_desc *desc) {
    bool has_theta = json_get_number(r, "rope_theta", MODEL_MIN_THETA, FLT_MAX, &desc->rope_theta);
    read_rope_object(r, "rope_scaling", &has_theta, desc);
    read_rope_object(r, "rope_parameters", &has_theta, desc);
    if (!has_theta) json_missing(r, "rope_theta");
}

/* A window is active from layer max_window_layers on when use_sliding_window is set; layer_types says it per layer. */
static void refuse_sliding_window(json_reader *r, const model_desc *desc) {
    static const char *const not_supported = "asks for sliding-window attention, which is not supported";
    bool is_used = false;
    int64_t first = 0;
    json_get_bool(r, "use_sliding_window", &is_used);
    json_get_integer(r, "max_window_layers", 0, INT32_MAX, &first);
    if (is_used && json_member(r, "sliding_window") && (size_t)first < desc->n_layers)
        json_refuse(r, QAIO_ERR_UNSUPPORTED, "use_sliding_window", not_supported);
    const json_t *types = json_member(r, "layer_types");
    if (!types) return;
    if (!json_is_array(types) || json_array_size(types) != desc->n_layers) {
        json_refuse(r, QAIO_ERR_FORMAT, "layer_types", "must be an array with one entry a layer");
        return;
    }
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type) json_refuse(r, QAIO_ERR_FORMAT, "layer_types", "must hold strings");
        if (type && strcmp(type, "full_attention") != 0)
            json_refuse(r, QAIO_ERR_UNSUPPORTED, "layer_types", "has a layer other than \"full_attention\", which is not supported");
    }
}

static void refuse_variants(json_reader *r, const model_desc *desc) {
    const char *activation;
    bool has_bias;
    if (json_get_string(r, "hidden_act", &activation) && strcmp(activation, "silu") != 0)
        json_refuse(r, QAIO_ERR_UNSUPPORTED, "hidden_act", "must be \"silu\"");
    if (desc->arch == ARCH_QWEN3 && json_get_bool(r, "attention_bias", &has_bias) && has_bias)
        json_refuse(r, QAIO_ERR_UNSUPPORTED, "attention_bias", "is not supported with qwen3");
    if (json_member(r, "quantization_config"))
        json_refuse(r, QAIO_ERR_UNSUPPORTED, "quantization_config", "is not supported: take the unquantised model, or a GGUF");
    refuse_sliding_window(r, desc);
}

static void read_stop_tokens(json_reader *r, model_desc *desc) {
    const json_t *value = json_member(r, "eos_token_id");
    size_t n = !value ? 0 : json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < n && !r->status; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= MODEL_MAX_SIZE)
            json_refuse(r, QAIO_ERR_FORMAT, "eos_token_id", "must be a token id or a list of them");
        else if (!desc_add_stop(desc, (int32_t)json_integer_value(id)))
            json_refuse(r, QAIO_ERR_LIMIT, "eos_token_id", "has too many ids");
    }
}

static void read_token(json_reader *r, const char *key, int32_t *out) {
    int64_t id;
    if (json_get_integer(r, key, 0, MODEL_MAX_SIZE - 1, &id)) *out = (int32_t)id;
}

/* What generation_config.json names wins over config.json; older transformers wrote the same keys there. */
static void read_generation(json_reader *r, model_desc *desc) {
    if (desc->n_stop_tokens == 0) read_stop_tokens(r, desc);
    if (desc->bos_token < 0) read_token(r, "bos_token_id", &desc->bos_token);
    if (desc->pad_token < 0) read_token(r, "pad_token_id", &desc->pad_token);
}

static void read_sampling(json_reader *r, model_desc *desc) {
    int64_t top_k;
    bool do_sample;
    json_get_number(r, "temperature", 0, 1e6, &desc->temperature);
    json_get_number(r, "top_p", 0, 1, &desc->top_p);
    json_get_number(r, "repetition_penalty", 1e-6, 1e6, &desc->repetition_penalty);
    if (json_get_integer(r, "top_k", -1, INT32_MAX, &top_k)) desc->top_k = (int32_t)top_k;
    if (json_get_bool(r, "do_sample", &do_sample)) desc->do_sample = do_sample;
}

qaio_status config_to_desc(model_desc *desc, const json_t *config, const char *config_path, const json_t *generation,
                           const char *generation_path, bool has_head, qaio_error *err) {
    desc_init(desc);
    if (generation) {
        json_reader g = {generation, generation_path, err, QAIO_OK};
        read_generation(&g, desc);
        read_sampling(&g, desc);
        if (g.status) return g.status;
    }
    json_reader r = {config, config_path, err, QAIO_OK};
    read_arch(&r, desc);
    read_sizes(&r, desc);
    read_rope(&r, desc);
    refuse_variants(&r, desc);
    read_generation(&r, desc);
    desc->is_tied = !has_head;
    json_get_bool(&r, "tie_word_embeddings", &desc->is_tied);
    return r.status ? r.status : desc_check(desc, config_path, err);
}

qaio_status config_open(model_desc *desc, const char *dir, bool has_head, qaio_error *err) {
    qaio_status status = QAIO_OK;
    json_t *config = NULL, *generation = NULL;
    char *config_path = file_join(dir, "config.json"), *generation_path = file_join(dir, "generation_config.json");
    if (!config_path || !generation_path) {
        status = error_memory(err);
        goto done;
    }
    status = json_read_file(&config, config_path, CONFIG_MAX_BYTES, err);
    if (!status && file_exists(generation_path)) status = json_read_file(&generation, generation_path, CONFIG_MAX_BYTES, err);
    if (!status) status = config_to_desc(desc, config, config_path, generation, generation_path, has_head, err);
done:
    json_decref(config);
    json_decref(generation);
    mem_free(config_path);
    mem_free(generation_path);
    return status;
}

/* "chat_template": a string, or a list of {"name", "template"} of which "default" is taken. */
static const json_t *find_template(const json_t *config) {
    const json_t *value = json_object_get(config, "chat_template");
    for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++) {
        const json_t *entry = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, "default") == 0) return json_object_get(entry, "template");
    }
    return value;
}

static qaio_status template_of_config(char **out, size_t *n, const char *path, qaio_error *err) {
    json_t *config;
    qaio_status status = json_read_file(&config, path, TOKENIZER_CONFIG_MAX_BYTES, err);
    if (status) return status;
    const json_t *text = find_template(config);
    if (json_is_string(text)) {
        *n = json_string_length(text);
        *out = mem_strndup(json_string_value(text), *n);
        if (!*out) status = error_memory(err);
    } else if (text && !json_is_null(text)) {
        status = error_at(err, QAIO_ERR_FORMAT, path, -1, "\"chat_template\" must be a string, or a list with one named \"default\"");
    }
    json_decref(config);
    return status;
}

qaio_status config_template(char **out, size_t *n, const char *dir, qaio_error *err) {
    qaio_status status = QAIO_OK;
    *out = NULL;
    *n = 0;
    char *jinja = file_join(dir, "chat_template.jinja"), *config = file_join(dir, "tokenizer_config.json");
    if (!jinja || !config)
        status = error_memory(err);
    else if (file_exists(jinja))
        status = file_read(out, n, jinja, TEMPLATE_MAX_BYTES, err);
    else if (file_exists(config))
        status = template_of_config(out, n, config, err);
    mem_free(jinja);
    mem_free(config);
    return status;
}
