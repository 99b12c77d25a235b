/* response_format: {"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"name", "schema", "strict"}}. */
#include <string.h>

#include "mask/schema.h"
#include "server/generation.h"

#define FIELD "response_format"

static bool compile(generation *out, const json_t *schema, failure *f) {
    qaio_error err;
    qaio_status status = schema_grammar(&out->grammar, schema, &err);
    if (status == QAIO_ERR_MEMORY) return failure_memory(f);
    if (status) return failure_set(f, 400, "invalid_json_schema", FIELD, "response_format cannot be honoured: %s", err.message);
    out->params.grammar = &out->grammar;
    return true;
}

static bool parse_schema(generation *out, const json_t *format, failure *f) {
    static const char where[] = FIELD ".json_schema";
    const json_t *wrapper = field_given(format, "json_schema"), *name = json_object_get(wrapper, "name"), *schema;
    bool is_strict = false;
    if (!json_is_object(wrapper)) return failure_set(f, 400, "invalid_type", where, "%s must be an object", where);
    if (!json_is_string(name) || json_string_length(name) == 0)
        return failure_set(f, 400, "invalid_value", FIELD ".json_schema.name", "%s.name must be a string, not empty", where);
    /* Every schema is followed strictly. */
    if (!field_bool(wrapper, "strict", &is_strict, f)) return false;
    if (!(schema = field_given(wrapper, "schema")))
        return failure_set(f, 400, "invalid_value", FIELD ".json_schema.schema", "%s has no schema", where);
    return compile(out, schema, f);
}

bool response_format_parse(generation *out, const json_t *root, failure *f) {
    const json_t *format = field_given(root, FIELD), *type = json_object_get(format, "type");
    if (!format || json_is_text(type, "text")) return true;
    if (out->params.enable_thinking > 0)
        return failure_set(f, 400, "unsupported", FIELD,
                           "enable_thinking and a response_format do not go together: a constrained reply begins at once");
    if (json_is_text(type, "json_object")) return compile(out, NULL, f);
    if (json_is_text(type, "json_schema")) return parse_schema(out, format, f);
    return failure_set(f, 400, "invalid_value", FIELD, "response_format.type must be text, json_object or json_schema");
}

bool response_format_refuse(const json_t *root, failure *f) {
    const json_t *format = field_given(root, FIELD);
    return !format || json_is_text(json_object_get(format, "type"), "text") ||
           failure_set(f, 400, "unsupported", FIELD, "this route has no response_format; /v1/chat/completions and /v1/completions have");
}
