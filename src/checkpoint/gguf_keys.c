/* Typed, range-checked access to the keys of a GGUF file. */
#include <stdio.h>
#include <string.h>

#include "checkpoint/gguf.h"
#include "checkpoint/quote.h"

void gguf_refuse(gguf_reader *r, qaio_status status, const char *key, const char *message) {
    if (r->status) return;
    const gguf_value *v = gguf_find(r->file, key);
    int64_t offset = v ? (const uint8_t *)v->key - r->file->data : -1;
    r->status = error_at(r->err, status, r->file->path, offset, "key \"%s\" %s", key, message);
}

void gguf_missing(gguf_reader *r, const char *key) { gguf_refuse(r, QAIO_ERR_FORMAT, key, "is missing"); }

static bool load_integer(const gguf_value *v, int64_t *out) {
    const uint8_t *p = v->data;
    switch (v->type) {
    case GGUF_U8:
        *out = p[0];
        return true;
    case GGUF_I8:
        *out = (int8_t)p[0];
        return true;
    case GGUF_U16:
        *out = (uint16_t)(p[0] | p[1] << 8);
        return true;
    case GGUF_I16:
        *out = (int16_t)(p[0] | p[1] << 8);
        return true;
    case GGUF_U32:
        *out = gguf_load_u32(p);
        return true;
    case GGUF_I32:
        *out = (int32_t)gguf_load_u32(p);
        return true;
    case GGUF_U64:
        *out = gguf_load_u64(p) > INT64_MAX ? INT64_MAX : (int64_t)gguf_load_u64(p);
        return true;
    case GGUF_I64:
        *out = (int64_t)gguf_load_u64(p);
        return true;
    default:
        return false;
    }
}

bool gguf_get_integer(gguf_reader *r, const char *key, int64_t min, int64_t max, int64_t *out) {
    const gguf_value *v = gguf_find(r->file, key);
    if (r->status || !v) return false;
    int64_t value;
    char message[96];
    if (!load_integer(v, &value)) {
        gguf_refuse(r, QAIO_ERR_FORMAT, key, "must be an integer");
        return false;
    }
    if (value < min || value > max) {
        snprintf(message, sizeof message, "must be %lld to %lld, it is %lld", (long long)min, (long long)max, (long long)value);
        gguf_refuse(r, QAIO_ERR_FORMAT, key, message);
        return false;
    }
    *out = value;
    return true;
}

bool gguf_get_number(gguf_reader *r, const char *key, double min, double max, float *out) {
    const gguf_value *v = gguf_find(r->file, key);
    if (r->status || !v) return false;
    double value;
    char message[96];
    if (v->type == GGUF_F32) {
        uint32_t bits = gguf_load_u32(v->data);
        float single;
        memcpy(&single, &bits, sizeof single);
        value = (double)single;
    } else if (v->type == GGUF_F64) {
        uint64_t bits = gguf_load_u64(v->data);
        memcpy(&value, &bits, sizeof value);
    } else {
        gguf_refuse(r, QAIO_ERR_FORMAT, key, "must be a floating-point number");
        return false;
    }
    if (!(value >= min && value <= max)) {
        snprintf(message, sizeof message, "must be %g to %g, it is %g", min, max, value);
        gguf_refuse(r, QAIO_ERR_FORMAT, key, message);
        return false;
    }
    *out = (float)value;
    return true;
}

bool gguf_get_bool(gguf_reader *r, const char *key, bool *out) {
    const gguf_value *v = gguf_find(r->file, key);
    if (r->status || !v) return false;
    if (v->type != GGUF_BOOL) {
        gguf_refuse(r, QAIO_ERR_FORMAT, key, "must be a boolean");
        return false;
    }
    *out = v->data[0] != 0;
    return true;
}

bool gguf_get_string(gguf_reader *r, const char *key, const char **out, size_t *n) {
    const gguf_value *v = gguf_find(r->file, key);
    if (r->status || !v) return false;
    if (v->type != GGUF_STRING) {
        gguf_refuse(r, QAIO_ERR_FORMAT, key, "must be a string");
        return false;
    }
    *out = (const char *)v->data;
    *n = v->n;
    return true;
}

const gguf_value *gguf_get_array(gguf_reader *r, const char *key, gguf_type item_type) {
    const gguf_value *v = gguf_find(r->file, key);
    if (r->status || !v) return NULL;
    if (v->type == GGUF_ARRAY && v->item_type == item_type) return v;
    gguf_refuse(r, QAIO_ERR_FORMAT, key, item_type == GGUF_STRING ? "must be an array of strings" : "must be an array of 32-bit integers");
    return NULL;
}
