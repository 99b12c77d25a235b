#include "server/decision_input.h"

#include <stdio.h>
#include <string.h>

#include "server/generation.h"

static void append_string(str *out, const json_t *value) { str_append(out, json_string_value(value), json_string_length(value)); }

static int append_chunk(const char *bytes, size_t n, void *out) {
    str_append(out, bytes, n);
    return 0;
}

bool input_json(str *out, const json_t *value, const char *param, failure *f) {
    if (json_is_string(value)) {
        append_string(out, value);
        return true;
    }
    if (!json_is_object(value) && !json_is_array(value))
        return failure_set(f, 400, value ? "invalid_type" : "missing", param, "%s must be a string, an object or a list", param);
    if (json_dump_callback(value, append_chunk, out, JSON_COMPACT) != 0) return failure_memory(f);
    return true;
}

/* The field of a part that is its text; NULL: not a part that can be read here. */
static const char *text_field(const json_t *type) {
    if (json_is_text(type, "input_text") || json_is_text(type, "output_text")) return "text";
    return json_is_text(type, "refusal") ? "refusal" : NULL;
}

static bool add_part(str *out, const json_t *part, const char *param, failure *f) {
    const json_t *type = json_object_get(part, "type");
    if (json_is_text(type, "input_json")) return input_json(out, json_object_get(part, "data"), param, f);
    if (json_is_text(type, "input_image"))
        return failure_set(f, 400, "unsupported", param, "images are not supported: the model reads text");
    const char *field = text_field(type);
    if (!field)
        return failure_set(f, 400, "unsupported", param,
                           "a part must be of type input_text, output_text, refusal or input_json, not \"%.40s\"",
                           json_is_string(type) ? json_string_value(type) : "");
    const json_t *text = json_object_get(part, field);
    if (!json_is_string(text)) return failure_set(f, 400, "invalid_type", param, "the %s of a part must be a string", field);
    append_string(out, text);
    return true;
}

bool input_parts(str *out, const json_t *content, const char *param, failure *f) {
    if (json_is_string(content)) {
        append_string(out, content);
        return true;
    }
    if (!json_is_array(content))
        return failure_set(f, 400, content ? "invalid_type" : "missing", param, "%s must be a string or a list of text parts", param);
    for (size_t i = 0; i < json_array_size(content); i++) {
        if (i > 0) str_putc(out, '\n');
        if (!add_part(out, json_array_get(content, i), param, f)) return false;
    }
    return true;
}

static const char *known_role(const json_t *role) {
    static const char *const names[] = {"user", "developer", "system", "assistant"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_is_text(role, names[i])) return names[i];
    return NULL;
}

static bool add_message(str *out, const json_t *message, bool is_alone, const char *param, failure *f) {
    if (!json_is_object(message)) return failure_set(f, 400, "invalid_type", param, "a message must be an object");
    const json_t *type = field_given(message, "type");
    if (type && !json_is_text(type, "message"))
        return failure_set(f, 400, "unsupported", param, "only messages can be read: no tool calls, their outputs or other items");
    const char *role = known_role(json_object_get(message, "role"));
    if (!role) return failure_set(f, 400, "invalid_value", param, "the role of a message must be user, developer, system or assistant");
    if (!is_alone) str_printf(out, "%s%s: ", out->len ? "\n" : "", role);
    return input_parts(out, json_object_get(message, "content"), param, f);
}

bool input_messages(str *out, const json_t *input, const char *param, failure *f) {
    if (!json_is_array(input)) {
        if (json_is_string(input)) return input_parts(out, input, param, f);
        return failure_set(f, 400, input ? "invalid_type" : "missing", param, "%s must be a string or a list of messages", param);
    }
    size_t n = json_array_size(input);
    if (n > MAX_MESSAGES) return failure_set(f, 400, "invalid_value", param, "%zu messages, at most %d", n, MAX_MESSAGES);
    for (size_t i = 0; i < n; i++) {
        char place[64];
        snprintf(place, sizeof place, "%s[%zu]", param, i);
        if (!add_message(out, json_array_get(input, i), n == 1, place, f)) return false;
    }
    return true;
}
