/* Strict JSON with limits. */
#include "checkpoint/json_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/quote.h"

/* One pass over the text before any of it is allocated.  Only brackets and commas outside strings count; whether it is JSON at all is the
 * parser's business. */
static qaio_status check_limits(const char *text, size_t n, const char *path, int64_t offset, qaio_error *err) {
    size_t depth = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        if (c == '"') in_string = true;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && depth > 0) depth--;
        if (c == '{' || c == '[' || c == ',') values++;
        if (depth > JSON_MAX_DEPTH)
            return error_at(err, QAIO_ERR_LIMIT, path, offset + (int64_t)i, "JSON nested deeper than %d", JSON_MAX_DEPTH);
        if (values > JSON_MAX_VALUES)
            return error_at(err, QAIO_ERR_LIMIT, path, offset + (int64_t)i, "JSON with more than %d values", JSON_MAX_VALUES);
    }
    return QAIO_OK;
}

/* jansson reports some failed allocations as a syntax error or not at all: memory was the reason if there is still none. */
static bool is_out_of_memory(const json_error_t *reason) {
    if (!reason->text[0] || json_error_code(reason) == json_error_out_of_memory) return true;
    void *probe = mem_alloc(1);
    mem_free(probe);
    return !probe;
}

qaio_status json_parse(json_t **out, const char *text, size_t n, const char *path, int64_t offset, qaio_error *err) {
    qaio_status status = check_limits(text, n, path, offset, err);
    if (status) return status;
    json_error_t reason = {0};
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &reason);
    if (!root && is_out_of_memory(&reason)) return error_memory(err);
    if (!root)
        return error_at(err, QAIO_ERR_FORMAT, path, offset + reason.position, "not valid JSON: %s",
                        quote(reason.text, strlen(reason.text)).text);
    if (!json_is_object(root)) {
        json_decref(root);
        return error_at(err, QAIO_ERR_FORMAT, path, offset, "a JSON object is expected here");
    }
    *out = root;
    return QAIO_OK;
}

qaio_status json_read_file(json_t **out, const char *path, size_t max_bytes, qaio_error *err) {
    char *text;
    size_t n;
    qaio_status status = file_read(&text, &n, path, max_bytes, err);
    if (status) return status;
    status = json_parse(out, text, n, path, 0, err);
    mem_free(text);
    return status;
}

const json_t *json_member(const json_reader *r, const char *key) {
    const json_t *value = json_object_get(r->object, key);
    return json_is_null(value) ? NULL : value;
}

void json_refuse(json_reader *r, qaio_status status, const char *key, const char *message) {
    if (!r->status) r->status = error_at(r->err, status, r->path, -1, "\"%s\" %s", key, message);
}

void json_missing(json_reader *r, const char *key) { json_refuse(r, QAIO_ERR_FORMAT, key, "is missing"); }

static void describe(char *out, size_t out_bytes, const json_t *value) {
    if (json_is_integer(value))
        snprintf(out, out_bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(out, out_bytes, "%.17g", json_real_value(value));
    else if (json_is_string(value))
        snprintf(out, out_bytes, "\"%s\"", quote(json_string_value(value), json_string_length(value)).text);
    else
        snprintf(out, out_bytes, "%s", json_is_boolean(value) ? "a boolean" : json_is_array(value) ? "an array" : "an object");
}

static void refuse_value(json_reader *r, const char *key, const char *expected, const json_t *value) {
    char found[160], message[320];
    describe(found, sizeof found, value);
    snprintf(message, sizeof message, "must be %s, it is %s", expected, found);
    json_refuse(r, QAIO_ERR_FORMAT, key, message);
}

bool json_get_integer(json_reader *r, const char *key, int64_t min, int64_t max, int64_t *out) {
    const json_t *value = json_member(r, key);
    if (r->status || !value) return false;
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max) {
        char expected[80];
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)min, (long long)max);
        refuse_value(r, key, expected, value);
        return false;
    }
    *out = json_integer_value(value);
    return true;
}

bool json_get_number(json_reader *r, const char *key, double min, double max, float *out) {
    const json_t *value = json_member(r, key);
    if (r->status || !value) return false;
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= min && number <= max)) {
        char expected[80];
        snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
        refuse_value(r, key, expected, value);
        return false;
    }
    *out = (float)number;
    return true;
}

bool json_get_bool(json_reader *r, const char *key, bool *out) {
    const json_t *value = json_member(r, key);
    if (r->status || !value) return false;
    if (!json_is_boolean(value)) {
        refuse_value(r, key, "true or false", value);
        return false;
    }
    *out = json_is_true(value);
    return true;
}

bool json_get_string(json_reader *r, const char *key, const char **out) {
    const json_t *value = json_member(r, key);
    if (r->status || !value) return false;
    if (!json_is_string(value)) {
        refuse_value(r, key, "a string", value);
        return false;
    }
    *out = json_string_value(value);
    return true;
}
