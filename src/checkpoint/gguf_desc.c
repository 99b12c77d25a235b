/* GGUF keys -> model_desc and tokenizer, in llama.cpp's vocabulary of keys ("{arch}.embedding_length", "tokenizer.ggml.tokens").
 *
 * Two keys are ours, for what the format has no place for: qaio.stop_token_ids (all end tokens; the format names one) and
 * qaio.do_sample. */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "checkpoint/gguf.h"
#include "checkpoint/quote.h"
#include "checkpoint/roles.h"

#define MAX_TOKENS (1 << 22)

const char *gguf_arch_key(char out[GGUF_ARCH_KEY_BYTES], const model_desc *desc, const char *key) {
    snprintf(out, GGUF_ARCH_KEY_BYTES, "%s.%s", desc_arch_name(desc->arch), key);
    return out;
}

static bool is_text(const char *s, size_t n, const char *text) { return strlen(text) == n && memcmp(s, text, n) == 0; }

static void refuse_text(gguf_reader *r, const char *key, const char *s, size_t n, const char *supported) {
    char message[256];
    snprintf(message, sizeof message, "is \"%s\"; supported: %s", quote(s, n).text, supported);
    gguf_refuse(r, QAIO_ERR_UNSUPPORTED, key, message);
}

static void read_arch(gguf_reader *r, model_desc *desc) {
    const char *s;
    size_t n;
    if (!gguf_get_string(r, "general.architecture", &s, &n))
        gguf_missing(r, "general.architecture");
    else if (!desc_arch_from_name(s, n, &desc->arch))
        refuse_text(r, "general.architecture", s, n, "qwen2, qwen3");
    if (gguf_get_string(r, "general.name", &s, &n)) snprintf(desc->name, sizeof desc->name, "%s", quote(s, n).text);
    int64_t n_splits;
    if (gguf_get_integer(r, "split.count", 0, INT32_MAX, &n_splits) && n_splits > 1)
        gguf_refuse(r, QAIO_ERR_UNSUPPORTED, "split.count", "says the model is split over several files: merge them first");
}

static void read_sizes(gguf_reader *r, model_desc *desc) {
    char key[GGUF_ARCH_KEY_BYTES];
    int64_t value, value_length;
    for (size_t i = 0; i < N_DESC_SIZES; i++) {
        gguf_arch_key(key, desc, desc_sizes[i].gguf_key);
        if (gguf_get_integer(r, key, 1, desc_sizes[i].max, &value))
            *desc_size_field(desc, &desc_sizes[i]) = (size_t)value;
        else
            gguf_missing(r, key);
    }
    if (gguf_get_integer(r, gguf_arch_key(key, desc, "attention.key_length"), 1, MODEL_MAX_SIZE, &value)) desc->head_dim = (size_t)value;
    if (!gguf_get_number(r, gguf_arch_key(key, desc, "attention.layer_norm_rms_epsilon"), MODEL_MIN_EPS, 1, &desc->rms_norm_eps))
        gguf_missing(r, key);
    if (!gguf_get_number(r, gguf_arch_key(key, desc, "rope.freq_base"), MODEL_MIN_THETA, FLT_MAX, &desc->rope_theta)) gguf_missing(r, key);
    if (gguf_get_integer(r, gguf_arch_key(key, desc, "attention.value_length"), 1, MODEL_MAX_SIZE, &value_length) && desc->head_dim &&
        (size_t)value_length != desc->head_dim)
        gguf_refuse(r, QAIO_ERR_UNSUPPORTED, key, "differs from attention.key_length");
}

/* What this build would compute wrongly. */
static void refuse_variants(gguf_reader *r, const model_desc *desc) {
    char key[GGUF_ARCH_KEY_BYTES];
    const char *s;
    size_t n;
    int64_t value;
    float factor;
    if (gguf_get_string(r, gguf_arch_key(key, desc, "rope.scaling.type"), &s, &n)) {
        if (!is_text(s, n, "none")) refuse_text(r, key, s, n, "none (no scaled rotary embedding)");
    } else if (gguf_get_number(r, gguf_arch_key(key, desc, "rope.scaling.factor"), 0, FLT_MAX, &factor) && factor > 0 && factor != 1) {
        gguf_refuse(r, QAIO_ERR_UNSUPPORTED, key, "asks for a scaled rotary embedding, which is not supported");
    }
    if (gguf_get_integer(r, gguf_arch_key(key, desc, "attention.sliding_window"), 0, INT64_MAX, &value) && value > 0)
        gguf_refuse(r, QAIO_ERR_UNSUPPORTED, key, "asks for sliding-window attention, which is not supported");
    size_t head_dim = desc->head_dim ? desc->head_dim : desc->n_heads ? desc->hidden_size / desc->n_heads : 0;
    if (gguf_get_integer(r, gguf_arch_key(key, desc, "rope.dimension_count"), 1, MODEL_MAX_SIZE, &value) && (size_t)value != head_dim)
        gguf_refuse(r, QAIO_ERR_UNSUPPORTED, key, "rotates only a part of each head, which is not supported");
}

static void read_token(gguf_reader *r, const char *key, int32_t *out) {
    int64_t id;
    if (gguf_get_integer(r, key, 0, MODEL_MAX_SIZE - 1, &id)) *out = (int32_t)id;
}

static void read_stop_tokens(gguf_reader *r, model_desc *desc) {
    int32_t id = -1;
    read_token(r, "tokenizer.ggml.eos_token_id", &id);
    if (id >= 0) desc_add_stop(desc, id);
    id = -1;
    read_token(r, "tokenizer.ggml.eot_token_id", &id);
    if (id >= 0) desc_add_stop(desc, id);
    const gguf_value *list = gguf_get_array(r, "qaio.stop_token_ids", GGUF_U32);
    for (size_t i = 0; list && i < list->n; i++) {
        uint32_t item = gguf_load_u32(list->data + 4 * i);
        if (item >= MODEL_MAX_SIZE || !desc_add_stop(desc, (int32_t)item)) {
            gguf_refuse(r, QAIO_ERR_FORMAT, "qaio.stop_token_ids", "has too many ids, or one out of range");
            return;
        }
    }
}

static void read_sampling(gguf_reader *r, model_desc *desc) {
    int64_t top_k;
    bool do_sample;
    gguf_get_number(r, "general.sampling.temp", 0, 1e6, &desc->temperature);
    gguf_get_number(r, "general.sampling.top_p", 0, 1, &desc->top_p);
    gguf_get_number(r, "general.sampling.penalty_repeat", 1e-6, 1e6, &desc->repetition_penalty);
    if (gguf_get_integer(r, "general.sampling.top_k", -1, INT32_MAX, &top_k)) desc->top_k = (int32_t)top_k;
    if (gguf_get_bool(r, "qaio.do_sample", &do_sample)) desc->do_sample = do_sample;
}

qaio_status gguf_to_desc(model_desc *desc, const gguf_file *file, qaio_error *err) {
    gguf_reader r = {file, err, QAIO_OK};
    desc_init(desc);
    read_arch(&r, desc);
    read_sizes(&r, desc);
    refuse_variants(&r, desc);
    read_stop_tokens(&r, desc);
    read_token(&r, "tokenizer.ggml.bos_token_id", &desc->bos_token);
    read_token(&r, "tokenizer.ggml.padding_token_id", &desc->pad_token);
    read_sampling(&r, desc);
    if (r.status) return r.status;

    char name[TENSOR_NAME_BYTES];
    role_name(name, NAMES_GGUF, TENSOR_EMBED, 0);
    const named_tensor *embedding = tensor_list_find(&file->tensors, name);
    if (!embedding || embedding->n_dims != 2 || embedding->dims[0] > MODEL_MAX_SIZE)
        return error_at(err, QAIO_ERR_FORMAT, file->path, -1, "tensor \"%s\" is missing or no matrix of a sensible size", name);
    desc->vocab_size = embedding->dims[0];
    role_name(name, NAMES_GGUF, TENSOR_HEAD, 0);
    desc->is_tied = !tensor_list_find(&file->tensors, name);
    return desc_check(desc, file->path, err);
}

/* The strings of a string array; its extent was checked by gguf_parse. */
static qaio_status list_strings(const char ***strings, uint32_t **lengths, gguf_reader *r, const char *key, const gguf_value *array) {
    *strings = mem_array(array->n, sizeof **strings);
    *lengths = mem_array(array->n, sizeof **lengths);
    if (!*strings || !*lengths) return r->status = error_memory(r->err);
    const uint8_t *p = array->data;
    for (size_t i = 0; i < array->n; i++) {
        uint64_t length = gguf_load_u64(p);
        if (length > UINT32_MAX) {
            gguf_refuse(r, QAIO_ERR_LIMIT, key, "has a string of more than 4 GiB");
            return r->status;
        }
        (*strings)[i] = (const char *)p + 8;
        (*lengths)[i] = (uint32_t)length;
        p += 8 + length;
    }
    return QAIO_OK;
}

static qaio_status list_kinds(token_kind **out, gguf_reader *r, const gguf_value *types) {
    token_kind *kinds = *out = mem_array(types->n, sizeof *kinds);
    if (!kinds) return r->status = error_memory(r->err);
    for (size_t i = 0; i < types->n; i++) {
        switch (gguf_load_u32(types->data + 4 * i)) {
        case GGUF_TOKEN_NORMAL:
        case GGUF_TOKEN_UNKNOWN:
        case GGUF_TOKEN_BYTE:
            kinds[i] = TOKEN_NORMAL;
            break;
        case GGUF_TOKEN_CONTROL:
            kinds[i] = TOKEN_SPECIAL;
            break;
        case GGUF_TOKEN_USER_DEFINED:
            kinds[i] = TOKEN_ADDED;
            break;
        case GGUF_TOKEN_UNUSED:
            kinds[i] = TOKEN_UNUSED;
            break;
        default:
            gguf_refuse(r, QAIO_ERR_FORMAT, "tokenizer.ggml.token_type", "has a type other than 1 to 6");
            return r->status;
        }
    }
    return QAIO_OK;
}

/* Files from before April 2024 have no "pre"; the qwen2 pattern was the only one then. */
static void read_pre_tokenizer(gguf_reader *r, pre_tokenizer *out) {
    const char *s;
    size_t n;
    bool adds_bos;
    if (!gguf_get_string(r, "tokenizer.ggml.model", &s, &n))
        gguf_missing(r, "tokenizer.ggml.model");
    else if (!is_text(s, n, "gpt2"))
        refuse_text(r, "tokenizer.ggml.model", s, n, "gpt2 (byte-level BPE)");
    *out = PRE_QWEN2;
    if (gguf_get_string(r, "tokenizer.ggml.pre", &s, &n)) {
        if (is_text(s, n, "qwen35"))
            *out = PRE_QWEN35;
        else if (!is_text(s, n, "qwen2"))
            refuse_text(r, "tokenizer.ggml.pre", s, n, "qwen2, qwen35");
    }
    if (gguf_get_bool(r, "tokenizer.ggml.add_bos_token", &adds_bos) && adds_bos)
        gguf_refuse(r, QAIO_ERR_UNSUPPORTED, "tokenizer.ggml.add_bos_token", "is true: Qwen models add no token");
}

static const gguf_value *require_array(gguf_reader *r, const char *key, gguf_type item_type) {
    const gguf_value *array = gguf_get_array(r, key, item_type);
    if (!array) gguf_missing(r, key);
    if (array && array->n > MAX_TOKENS) gguf_refuse(r, QAIO_ERR_LIMIT, key, "is too long");
    return array;
}

qaio_status gguf_to_tokenizer(tokenizer **out, const gguf_file *file, qaio_error *err) {
    static const char tokens_key[] = "tokenizer.ggml.tokens", types_key[] = "tokenizer.ggml.token_type",
                      merges_key[] = "tokenizer.ggml.merges";
    gguf_reader r = {file, err, QAIO_OK};
    token_source source = {0};
    const char **pieces = NULL, **merges = NULL;
    uint32_t *piece_lengths = NULL, *merge_lengths = NULL;
    token_kind *kinds = NULL;
    read_pre_tokenizer(&r, &source.pre);
    const gguf_value *tokens = require_array(&r, tokens_key, GGUF_STRING);
    const gguf_value *types = require_array(&r, types_key, GGUF_I32);
    const gguf_value *merge_list = require_array(&r, merges_key, GGUF_STRING);
    if (r.status) return r.status;
    if (types->n != tokens->n) gguf_refuse(&r, QAIO_ERR_FORMAT, types_key, "must have one entry a token");
    if (!r.status) list_strings(&pieces, &piece_lengths, &r, tokens_key, tokens);
    if (!r.status) list_strings(&merges, &merge_lengths, &r, merges_key, merge_list);
    if (!r.status) list_kinds(&kinds, &r, types);
    if (!r.status) {
        source.pieces = pieces;
        source.piece_lengths = piece_lengths;
        source.kinds = kinds;
        source.n_tokens = tokens->n;
        source.merges = merges;
        source.merge_lengths = merge_lengths;
        source.n_merges = merge_list->n;
        r.status = tokenizer_new(out, &source, file->path, err);
    }
    mem_free(pieces);
    mem_free(piece_lengths);
    mem_free(merges);
    mem_free(merge_lengths);
    mem_free(kinds);
    return r.status;
}
