#include "server/generation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define MIN_TOP_P 1e-6 /* OpenAI allows 0: the most probable token alone */

/* ---- fields that mean something we do not have ---- */

typedef enum absence { ONE, ZERO, FALSE, EMPTY } absence;

/* Many clients send these with the value that changes nothing. */
static const struct {
    const char *name;
    absence harmless;
} unsupported[] = {
    {"n", ONE},           {"best_of", ONE},  {"presence_penalty", ZERO}, {"frequency_penalty", ZERO}, {"echo", FALSE}, {"tools", EMPTY},
    {"functions", EMPTY}, {"suffix", EMPTY}, {"audio", EMPTY},           {"prediction", EMPTY},
};

static bool is_harmless(const json_t *value, absence harmless) {
    switch (harmless) {
    case ONE:
        return json_is_number(value) && json_number_value(value) == 1;
    case ZERO:
        return json_is_number(value) && json_number_value(value) == 0;
    case FALSE:
        return json_is_false(value);
    default:
        return (json_is_object(value) && json_object_size(value) == 0) || (json_is_array(value) && json_array_size(value) == 0) ||
               json_is_text(value, "");
    }
}

static bool refuse_unsupported(const json_t *root, failure *f) {
    static const char *const must_be[] = {"1", "0", "false", "empty"};
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        const json_t *value = field_given(root, unsupported[i].name);
        if (value && !is_harmless(value, unsupported[i].harmless))
            return failure_set(f, 400, "unsupported", unsupported[i].name, "%s is not supported; leave it out or make it %s",
                               unsupported[i].name, must_be[unsupported[i].harmless]);
    }
    return true;
}

/* ---- sampling ---- */

static bool parse_float(const json_t *root, const char *name, double min, double max, float *out, failure *f) {
    double value = (double)*out;
    if (!field_number(root, name, min, max, &value, f)) return false;
    *out = (float)value;
    return true;
}

static bool parse_stop(generation *out, const json_t *value, failure *f) {
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (!text) return failure_set(f, 400, "invalid_type", "stop", "stop must be a string or a list of strings");
    if (n == 0 || n > REPLY_MAX_STOP_BYTES || strlen(text) != n)
        return failure_set(f, 400, "invalid_value", "stop", "a stop string must have 1 to %d bytes and no NUL", REPLY_MAX_STOP_BYTES);
    out->stop_list[out->params.n_stops++] = text;
    return true;
}

static bool parse_stops(generation *out, const json_t *root, failure *f) {
    const json_t *stop = field_given(root, "stop");
    if (!stop) return true;
    if (!json_is_array(stop)) return parse_stop(out, stop, f);
    if (json_array_size(stop) > REPLY_MAX_STOPS)
        return failure_set(f, 400, "invalid_value", "stop", "at most %d stop strings", REPLY_MAX_STOPS);
    for (size_t i = 0; i < json_array_size(stop); i++)
        if (!parse_stop(out, json_array_get(stop, i), f)) return false;
    return true;
}

/* {"token id": bias, ...} */
static bool parse_biases(generation *out, const json_t *root, failure *f) {
    json_t *map = field_given(root, "logit_bias"), *value;
    const char *key;
    if (!map) return true;
    if (!json_is_object(map)) return failure_set(f, 400, "invalid_type", "logit_bias", "logit_bias must be an object: token id to bias");
    if (json_object_size(map) > SAMPLING_MAX_BIASES)
        return failure_set(f, 400, "invalid_value", "logit_bias", "logit_bias has more than %d tokens", SAMPLING_MAX_BIASES);
    json_object_foreach(map, key, value) {
        size_t n = strspn(key, "0123456789");
        double bias = json_number_value(value);
        if (n == 0 || n > 9 || key[n]) return failure_set(f, 400, "invalid_value", "logit_bias", "\"%.40s\" is no token id", key);
        if (!json_is_number(value) || !(bias >= -SAMPLING_MAX_BIAS && bias <= SAMPLING_MAX_BIAS))
            return failure_set(f, 400, "invalid_value", "logit_bias", "the bias of token %s must be a number from -%d to %d", key,
                               SAMPLING_MAX_BIAS, SAMPLING_MAX_BIAS);
        out->bias_list[out->params.n_biases++] = (token_bias){(int32_t)strtol(key, NULL, 10), (float)bias};
    }
    return true;
}

static bool parse_sampling(generation *out, const json_t *root, failure *f) {
    reply_params *p = &out->params;
    json_int_t top_k = p->top_k, max_new = 0, seed = 0;
    if (!parse_float(root, "temperature", 0, 2, &p->temperature, f) || !parse_float(root, "top_p", 0, 1, &p->top_p, f) ||
        !parse_float(root, "repetition_penalty", 0.01, 10, &p->repetition_penalty, f) ||
        !field_integer(root, "top_k", -1, INT32_MAX, &top_k, f) || !field_integer(root, "seed", INT64_MIN, INT64_MAX, &seed, f) ||
        !field_integer(root, "max_tokens", 1, INT32_MAX, &max_new, f) ||
        !field_integer(root, "max_completion_tokens", 1, INT32_MAX, &max_new, f))
        return false;
    if (field_given(root, "top_p") && p->top_p < (float)MIN_TOP_P) p->top_p = (float)MIN_TOP_P;
    p->top_k = (int32_t)top_k;
    p->max_new = (uint32_t)max_new;
    p->has_seed = field_given(root, "seed") != NULL;
    p->seed = (uint64_t)seed;
    return parse_biases(out, root, f) && parse_stops(out, root, f);
}

static bool parse_thinking(generation *out, const json_t *root, failure *f) {
    const json_t *template_options = field_given(root, "chat_template_kwargs");
    if (template_options && !json_is_object(template_options))
        return failure_set(f, 400, "invalid_type", "chat_template_kwargs", "chat_template_kwargs must be an object");
    const json_t *where = template_options && field_given(template_options, "enable_thinking") ? template_options : root;
    bool value = false;
    if (!field_bool(where, "enable_thinking", &value, f)) return false;
    if (field_given(where, "enable_thinking")) out->params.enable_thinking = value;
    return true;
}

static bool parse_stream(generation *out, const json_t *root, failure *f) {
    if (!field_bool(root, "stream", &out->is_stream, f)) return false;
    const json_t *options = field_given(root, "stream_options");
    if (!options) return true;
    if (!json_is_object(options)) return failure_set(f, 400, "invalid_type", "stream_options", "stream_options must be an object");
    return field_bool(options, "include_usage", &out->include_usage, f);
}

bool generation_parse(generation *out, const json_t *root, failure *f) {
    *out = (generation){.params = reply_defaults};
    out->params.stops = out->stop_list;
    out->params.biases = out->bias_list;
    return refuse_unsupported(root, f) && parse_sampling(out, root, f) && parse_thinking(out, root, f) && parse_stream(out, root, f);
}

void generation_deinit(generation *g) {
    grammar_free(g->grammar);
    g->grammar = NULL;
}

/* ---- messages ---- */

static bool parse_parts(str *out, const json_t *parts, const char *param, failure *f) {
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i), *text = json_object_get(part, "text");
        if (!json_is_text(json_object_get(part, "type"), "text"))
            return failure_set(f, 400, "unsupported", param, "only parts of type \"text\" are supported: no images, audio or files");
        if (!json_is_string(text)) return failure_set(f, 400, "invalid_type", param, "the text of a part must be a string");
        if (i > 0) str_putc(out, '\n');
        str_append(out, json_string_value(text), json_string_length(text));
    }
    return out->failed ? failure_memory(f) : true;
}

static bool parse_content(chat_message *out, str *text, const json_t *content, const char *param, failure *f) {
    if (json_is_string(content)) {
        out->content = json_string_value(content);
        out->content_bytes = json_string_length(content);
        return true;
    }
    if (json_is_array(content)) {
        if (!parse_parts(text, content, param, f)) return false;
        out->content = text->data ? text->data : "";
        out->content_bytes = text->len;
        return true;
    }
    return failure_set(f, 400, "invalid_type", param, "the content of a message must be a string or a list of text parts");
}

static const char *known_role(const json_t *role) {
    static const char *const names[] = {"system", "user", "assistant"};
    if (json_is_text(role, "developer")) return names[0];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_is_text(role, names[i])) return names[i];
    return NULL;
}

static bool parse_message(chat_message *out, str *text, const json_t *value, const char *param, failure *f) {
    if (!json_is_object(value)) return failure_set(f, 400, "invalid_type", param, "a message must be an object");
    out->role = known_role(json_object_get(value, "role"));
    if (!out->role)
        return failure_set(f, 400, "invalid_value", param, "the role of a message must be system, developer, user or assistant");
    if (json_array_size(json_object_get(value, "tool_calls")) > 0)
        return failure_set(f, 400, "unsupported", param, "tool calls are not supported");
    return parse_content(out, text, json_object_get(value, "content"), param, f);
}

bool messages_parse(message_list *out, const json_t *root, const char *name, failure *f) {
    const json_t *list = field_given(root, name);
    if (!list) return true;
    if (!json_is_array(list)) return failure_set(f, 400, "invalid_type", name, "%s must be a list, not a %s", name, json_kind(list));
    size_t n = json_array_size(list);
    if (n > MAX_MESSAGES) return failure_set(f, 400, "invalid_value", name, "%zu messages, at most %d", n, MAX_MESSAGES);
    /* One more, for the text of /v1/analyze. */
    if (!(out->items = mem_array(n + 1, sizeof *out->items)) || !(out->texts = mem_array(n + 1, sizeof *out->texts)))
        return failure_memory(f);
    for (out->n = 0; out->n < n;) {
        size_t i = out->n++;
        char param[64];
        snprintf(param, sizeof param, "%s[%zu]", name, i);
        if (!parse_message(&out->items[i], &out->texts[i], json_array_get(list, i), param, f)) return false;
    }
    return true;
}

void message_list_deinit(message_list *list) {
    for (size_t i = 0; i < list->n && list->texts; i++) str_deinit(&list->texts[i]);
    mem_free(list->items);
    mem_free(list->texts);
    *list = (message_list){0};
}

bool model_check(const json_t *root, const char *name, failure *f) {
    const char *asked = NULL;
    size_t n = 0;
    if (!field_string(root, "model", &asked, &n, f)) return false;
    if (!asked || n == 0 || json_is_text(json_object_get(root, "model"), name)) return true;
    return failure_set(f, 404, "model_not_found", "model", "the model \"%.100s\" is not here; this server has \"%s\"", asked, name);
}
