#include "server/fields.h"

#include <string.h>

#include "base/str.h"

/* The deepest nesting of a text, JSON or not, and about how many values it has; strings are skipped. */
static void measure(const char *text, size_t n, size_t *deepest, size_t *n_values) {
    size_t depth = 0;
    bool in_string = false;
    *deepest = 0;
    *n_values = 1;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            ++*n_values;
            if (++depth > *deepest) *deepest = depth;
        } else if (c == ',') {
            ++*n_values;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
}

json_t *request_parse(const char *body, size_t bytes, failure *f) {
    if (bytes == 0) {
        failure_set(f, 400, "invalid_json", "", "the body is empty; a JSON object is expected");
        return NULL;
    }
    if (!utf8_is_valid(body, bytes)) {
        failure_set(f, 400, "invalid_json", "", "the body is not valid UTF-8");
        return NULL;
    }
    size_t depth, n_values;
    measure(body, bytes, &depth, &n_values);
    if (depth > REQUEST_MAX_DEPTH || n_values > REQUEST_MAX_VALUES) {
        failure_set(f, 400, "invalid_json", "", "the JSON is nested more than %d levels deep, or has more than %d values",
                    REQUEST_MAX_DEPTH, REQUEST_MAX_VALUES);
        return NULL;
    }
    json_error_t where;
    json_t *root = json_loadb(body, bytes, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (!root) {
        failure_set(f, 400, "invalid_json", "", "the body is not JSON: %s (line %d, column %d)", where.text, where.line, where.column);
    } else if (!json_is_object(root)) {
        failure_set(f, 400, "invalid_json", "", "the body must be a JSON object, not a %s", json_kind(root));
        json_decref(root);
        root = NULL;
    }
    return root;
}

json_t *field_given(const json_t *object, const char *name) {
    json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

const char *json_kind(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "list";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_NULL:
        return "null";
    default:
        return "boolean";
    }
}

bool json_is_text(const json_t *value, const char *text) {
    size_t n = strlen(text);
    return json_is_string(value) && json_string_length(value) == n && memcmp(json_string_value(value), text, n) == 0;
}

static bool wrong_type(failure *f, const char *name, const char *wanted, const json_t *value) {
    return failure_set(f, 400, "invalid_type", name, "%s must be %s, not a %s", name, wanted, json_kind(value));
}

bool field_bool(const json_t *object, const char *name, bool *out, failure *f) {
    const json_t *value = field_given(object, name);
    if (!value) return true;
    if (!json_is_boolean(value)) return wrong_type(f, name, "true or false", value);
    *out = json_is_true(value);
    return true;
}

bool field_integer(const json_t *object, const char *name, json_int_t min, json_int_t max, json_int_t *out, failure *f) {
    const json_t *value = field_given(object, name);
    if (!value) return true;
    if (!json_is_integer(value)) return wrong_type(f, name, "a whole number", value);
    json_int_t number = json_integer_value(value);
    if (number < min || number > max)
        return failure_set(f, 400, "invalid_value", name, "%s must be from %lld to %lld, not %lld", name, (long long)min, (long long)max,
                           (long long)number);
    *out = number;
    return true;
}

bool field_number(const json_t *object, const char *name, double min, double max, double *out, failure *f) {
    const json_t *value = field_given(object, name);
    if (!value) return true;
    if (!json_is_number(value)) return wrong_type(f, name, "a number", value);
    double number = json_number_value(value);
    if (!(number >= min && number <= max))
        return failure_set(f, 400, "invalid_value", name, "%s must be from %g to %g, not %g", name, min, max, number);
    *out = number;
    return true;
}

bool field_string(const json_t *object, const char *name, const char **out, size_t *bytes, failure *f) {
    const json_t *value = field_given(object, name);
    if (!value) return true;
    if (!json_is_string(value)) return wrong_type(f, name, "a string", value);
    *out = json_string_value(value);
    *bytes = json_string_length(value);
    return true;
}
