/* model_desc, tokenizer and template -> GGUF keys: the converse of gguf_desc.c, in the order of llama.cpp's converter. */
#include <stdio.h>
#include <string.h>

#include "checkpoint/desc.h"
#include "checkpoint/gguf.h"
#include "checkpoint/gguf_write.h"

#define QUANTIZATION_VERSION 2 /* of ggml's block layouts */

void gguf_encode_u32(str *s, uint32_t value) {
    const char bytes[] = {(char)value, (char)(value >> 8), (char)(value >> 16), (char)(value >> 24)};
    str_append(s, bytes, sizeof bytes);
}

void gguf_encode_u64(str *s, uint64_t value) {
    gguf_encode_u32(s, (uint32_t)value);
    gguf_encode_u32(s, (uint32_t)(value >> 32));
}

void gguf_encode_string(str *s, const char *text, size_t n) {
    gguf_encode_u64(s, n);
    str_append(s, text, n);
}

static void put_key(gguf_encoder *e, const char *key, gguf_type type) {
    gguf_encode_string(&e->text, key, strlen(key));
    gguf_encode_u32(&e->text, (uint32_t)type);
    e->n_values++;
}

static void put_u32(gguf_encoder *e, const char *key, uint32_t value) {
    put_key(e, key, GGUF_U32);
    gguf_encode_u32(&e->text, value);
}

static void put_i32(gguf_encoder *e, const char *key, int32_t value) {
    put_key(e, key, GGUF_I32);
    gguf_encode_u32(&e->text, (uint32_t)value);
}

static void put_f32(gguf_encoder *e, const char *key, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(e, key, GGUF_F32);
    gguf_encode_u32(&e->text, bits);
}

static void put_bool(gguf_encoder *e, const char *key, bool value) {
    put_key(e, key, GGUF_BOOL);
    str_putc(&e->text, value);
}

static void put_string(gguf_encoder *e, const char *key, const char *text, size_t n) {
    put_key(e, key, GGUF_STRING);
    gguf_encode_string(&e->text, text, n);
}

static void put_array(gguf_encoder *e, const char *key, gguf_type item_type, size_t n) {
    put_key(e, key, GGUF_ARRAY);
    gguf_encode_u32(&e->text, (uint32_t)item_type);
    gguf_encode_u64(&e->text, n);
}

static gguf_file_type file_type_of(dtype type) {
    switch (type) {
    case DTYPE_F16:
        return GGUF_FILE_F16;
    case DTYPE_BF16:
        return GGUF_FILE_BF16;
    case DTYPE_Q8_0:
        return GGUF_FILE_Q8_0;
    case DTYPE_Q4_0:
        return GGUF_FILE_Q4_0;
    default:
        return GGUF_FILE_F32;
    }
}

static void encode_general(gguf_encoder *e, const model_desc *d, dtype type) {
    const char *arch = desc_arch_name(d->arch);
    put_string(e, "general.architecture", arch, strlen(arch));
    put_string(e, "general.type", "model", strlen("model"));
    put_string(e, "general.name", d->name, strlen(d->name));
    put_u32(e, "general.file_type", (uint32_t)file_type_of(type));
    put_u32(e, "general.quantization_version", QUANTIZATION_VERSION);
}

static void encode_sizes(gguf_encoder *e, const model_desc *d) {
    char key[GGUF_ARCH_KEY_BYTES];
    model_desc copy = *d;
    for (size_t i = 0; i < N_DESC_SIZES; i++)
        put_u32(e, gguf_arch_key(key, d, desc_sizes[i].gguf_key), (uint32_t)*desc_size_field(&copy, &desc_sizes[i]));
    put_f32(e, gguf_arch_key(key, d, "rope.freq_base"), d->rope_theta);
    put_f32(e, gguf_arch_key(key, d, "attention.layer_norm_rms_epsilon"), d->rms_norm_eps);
    put_u32(e, gguf_arch_key(key, d, "attention.key_length"), (uint32_t)d->head_dim);
    put_u32(e, gguf_arch_key(key, d, "attention.value_length"), (uint32_t)d->head_dim);
}

static void encode_sampling(gguf_encoder *e, const model_desc *d) {
    if (d->top_k >= 0) put_i32(e, "general.sampling.top_k", d->top_k);
    if (d->top_p >= 0) put_f32(e, "general.sampling.top_p", d->top_p);
    if (d->temperature >= 0) put_f32(e, "general.sampling.temp", d->temperature);
    if (d->repetition_penalty >= 0) put_f32(e, "general.sampling.penalty_repeat", d->repetition_penalty);
    if (d->do_sample >= 0) put_bool(e, "qaio.do_sample", d->do_sample != 0);
}

/* The rows of the embedding behind the tokenizer's ids, and holes between them, become [PADn], as the converter names them. */
static bool is_pad(const token_source *s, size_t id) {
    return id >= s->n_tokens || (s->kinds[id] == TOKEN_UNUSED && s->piece_lengths[id] == 0);
}

static void encode_pieces(gguf_encoder *e, const token_source *s, size_t n) {
    put_array(e, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (size_t id = 0; id < n; id++) {
        char pad[32];
        if (is_pad(s, id))
            gguf_encode_string(&e->text, pad, (size_t)snprintf(pad, sizeof pad, "[PAD%zu]", id));
        else
            gguf_encode_string(&e->text, s->pieces[id], s->piece_lengths[id]);
    }
}

static gguf_token_type token_type_of(token_kind kind) {
    static const gguf_token_type types[] = {[TOKEN_NORMAL] = GGUF_TOKEN_NORMAL,
                                            [TOKEN_SPECIAL] = GGUF_TOKEN_CONTROL,
                                            [TOKEN_ADDED] = GGUF_TOKEN_USER_DEFINED,
                                            [TOKEN_UNUSED] = GGUF_TOKEN_UNUSED};
    return types[kind];
}

static void encode_vocabulary(gguf_encoder *e, const token_source *s, size_t n) {
    put_string(e, "tokenizer.ggml.model", "gpt2", strlen("gpt2"));
    const char *pre = s->pre == PRE_QWEN35 ? "qwen35" : "qwen2";
    put_string(e, "tokenizer.ggml.pre", pre, strlen(pre));
    encode_pieces(e, s, n);
    put_array(e, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (size_t id = 0; id < n; id++)
        gguf_encode_u32(&e->text, (uint32_t)(is_pad(s, id) ? GGUF_TOKEN_UNUSED : token_type_of(s->kinds[id])));
    put_array(e, "tokenizer.ggml.merges", GGUF_STRING, s->n_merges);
    for (size_t i = 0; i < s->n_merges; i++) gguf_encode_string(&e->text, s->merges[i], s->merge_lengths[i]);
}

static void encode_special_tokens(gguf_encoder *e, const model_desc *d) {
    if (d->n_stop_tokens) put_u32(e, "tokenizer.ggml.eos_token_id", (uint32_t)d->stop_tokens[0]);
    if (d->pad_token >= 0) put_u32(e, "tokenizer.ggml.padding_token_id", (uint32_t)d->pad_token);
    if (d->bos_token >= 0) put_u32(e, "tokenizer.ggml.bos_token_id", (uint32_t)d->bos_token);
    put_bool(e, "tokenizer.ggml.add_bos_token", false);
    if (d->n_stop_tokens < 2) return;
    put_array(e, "qaio.stop_token_ids", GGUF_U32, d->n_stop_tokens);
    for (size_t i = 0; i < d->n_stop_tokens; i++) gguf_encode_u32(&e->text, (uint32_t)d->stop_tokens[i]);
}

void gguf_encode_keys(gguf_encoder *e, const checkpoint *c, dtype type) {
    const model_desc *d = checkpoint_desc(c);
    token_source source;
    tokenizer_source(checkpoint_tokenizer(c), &source);
    size_t template_bytes;
    const char *template_text = checkpoint_template_text(c, &template_bytes);
    encode_general(e, d, type);
    encode_sizes(e, d);
    encode_sampling(e, d);
    encode_vocabulary(e, &source, d->vocab_size);
    encode_special_tokens(e, d);
    if (template_text) put_string(e, "tokenizer.chat_template", template_text, template_bytes);
}
