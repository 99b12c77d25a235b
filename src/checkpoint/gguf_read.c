/* GGUF v2 and v3, little-endian:
 *
 *   "GGUF"  u32 version  u64 n_tensors  u64 n_values
 *   n_values x   string key, u32 type, value         string: u64 length, bytes; array: u32 item type, u64 n, items
 *   n_tensors x  string name, u32 n_dims, u64 dims[n_dims] (the contiguous one first), u32 type, u64 offset
 *   padding to general.alignment (default 32); the offsets count from here and are multiples of it
 *
 * (ggml/docs/gguf.md.)  Nothing is allocated by a count from the file: lists grow as their entries are found to be there. */
#include "checkpoint/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "checkpoint/quote.h"

#define MAX_ARRAY_DEPTH 4

/* Takes bytes off the image; after the first failure everything reads as zero. */
typedef struct cursor {
    const gguf_file *file;
    size_t at;
    qaio_error *err;
    qaio_status status;
} cursor;

static const uint8_t *take(cursor *c, uint64_t n, const char *what) {
    if (c->status) return NULL;
    if (n > c->file->bytes - c->at) {
        c->status = error_at(c->err, QAIO_ERR_FORMAT, c->file->path, (int64_t)c->at, "the file ends inside %s", what);
        return NULL;
    }
    const uint8_t *p = c->file->data + c->at;
    c->at += (size_t)n;
    return p;
}

uint32_t gguf_load_u32(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

uint64_t gguf_load_u64(const uint8_t *p) { return gguf_load_u32(p) | (uint64_t)gguf_load_u32(p + 4) << 32; }

static uint32_t take_u32(cursor *c, const char *what) {
    const uint8_t *p = take(c, 4, what);
    return p ? gguf_load_u32(p) : 0;
}

static uint64_t take_u64(cursor *c, const char *what) {
    const uint8_t *p = take(c, 8, what);
    return p ? gguf_load_u64(p) : 0;
}

static const char *take_string(cursor *c, size_t *n, const char *what) {
    uint64_t length = take_u64(c, what);
    const char *s = (const char *)take(c, length, what);
    *n = s ? (size_t)length : 0;
    return s;
}

static qaio_status refuse(cursor *c, size_t offset, const char *what, const char *name, size_t name_bytes, const char *why) {
    if (!c->status)
        c->status =
            error_at(c->err, QAIO_ERR_FORMAT, c->file->path, (int64_t)offset, "%s \"%s\": %s", what, quote(name, name_bytes).text, why);
    return c->status;
}

/* Bytes of a scalar; 0 for strings, arrays and unknown types. */
static size_t scalar_bytes(uint32_t type) {
    static const uint8_t bytes[] = {[GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
                                    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    return type < sizeof bytes ? bytes[type] : 0;
}

static void take_array(cursor *c, gguf_value *v, int depth);

/* Steps over n items; their extents are all that is checked. */
static void take_items(cursor *c, const gguf_value *v, int depth) {
    size_t ignored;
    gguf_value inner = {.key = v->key, .key_bytes = v->key_bytes};
    for (size_t i = 0; i < v->n && !c->status; i++) {
        if (v->item_type == GGUF_STRING)
            take_string(c, &ignored, "an array of strings");
        else
            take_array(c, &inner, depth + 1);
    }
}

static size_t item_bytes_of(uint32_t type) {
    if (type == GGUF_STRING) return 8;
    return type == GGUF_ARRAY ? 12 : scalar_bytes(type); /* at least */
}

static void take_array(cursor *c, gguf_value *v, int depth) {
    size_t start = c->at;
    uint32_t item_type = take_u32(c, "an array");
    uint64_t n = take_u64(c, "an array");
    size_t left = c->file->bytes - c->at, item_bytes = item_bytes_of(item_type);
    if (c->status) return;
    if (item_bytes == 0 || depth == MAX_ARRAY_DEPTH) {
        refuse(c, start, "key", v->key, v->key_bytes, item_bytes ? "arrays nested too deep" : "an array of an unknown item type");
        return;
    }
    if (n > left / item_bytes) {
        refuse(c, start, "key", v->key, v->key_bytes, "the array passes the end of the file");
        return;
    }
    v->item_type = (gguf_type)item_type;
    v->n = (size_t)n;
    v->data = c->file->data + c->at;
    if (item_type == GGUF_STRING || item_type == GGUF_ARRAY)
        take_items(c, v, depth);
    else
        take(c, n * item_bytes, "an array");
}

static void take_value(cursor *c, gguf_value *v) {
    size_t start = c->at;
    v->key = take_string(c, &v->key_bytes, "a key");
    uint32_t type = take_u32(c, "a value");
    if (c->status) return;
    if (v->key_bytes == 0 || v->key_bytes > GGUF_MAX_KEY_BYTES) {
        refuse(c, start, "key", v->key, v->key_bytes, "the length of a key must be 1 to 65535");
        return;
    }
    size_t bytes = scalar_bytes(type);
    v->type = (gguf_type)type;
    v->n = 1;
    if (type == GGUF_STRING)
        v->data = (const uint8_t *)take_string(c, &v->n, "a string");
    else if (type == GGUF_ARRAY)
        take_array(c, v, 0);
    else if (bytes)
        v->data = take(c, bytes, "a value");
    else
        refuse(c, start, "key", v->key, v->key_bytes, "unknown value type");
    if (!c->status && type == GGUF_BOOL && v->data[0] > 1) refuse(c, start, "key", v->key, v->key_bytes, "a boolean must be 0 or 1");
}

static int compare_bytes(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int compare_key(const void *a, const void *b) {
    const gguf_value *x = a, *y = b;
    return compare_bytes(x->key, x->key_bytes, y->key, y->key_bytes);
}

static qaio_status read_values(gguf_file *file, cursor *c, uint64_t n) {
    if (n > GGUF_MAX_KEYS)
        return error_at(c->err, QAIO_ERR_LIMIT, file->path, 16, "%llu keys, at most %d are read", (unsigned long long)n, GGUF_MAX_KEYS);
    size_t capacity = 0;
    for (uint64_t i = 0; i < n; i++) {
        gguf_value v = {0};
        take_value(c, &v);
        if (c->status) return c->status;
        if (file->n_values == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            gguf_value *values = mem_realloc(file->values, capacity, sizeof *values);
            if (!values) return c->status = error_memory(c->err);
            file->values = values;
        }
        file->values[file->n_values++] = v;
    }
    if (file->n_values) qsort(file->values, file->n_values, sizeof *file->values, compare_key);
    for (size_t i = 1; i < file->n_values; i++) {
        const gguf_value *v = &file->values[i];
        if (compare_key(v - 1, v) == 0)
            return refuse(c, (size_t)((const uint8_t *)v->key - file->data), "key", v->key, v->key_bytes, "is there twice");
    }
    return QAIO_OK;
}

const gguf_value *gguf_find(const gguf_file *file, const char *key) {
    const gguf_value wanted = {.key = key, .key_bytes = strlen(key)};
    return file->n_values ? bsearch(&wanted, file->values, file->n_values, sizeof wanted, compare_key) : NULL;
}

/* The dims of a tensor, turned round to row-major, and its bytes; the offset is checked once the data section is known. */
static void take_tensor(cursor *c, named_tensor *t, const char **name, size_t *name_bytes, uint64_t *offset) {
    size_t start = c->at, n_elements = 1;
    *offset = 0;
    *name = take_string(c, name_bytes, "the list of tensors");
    uint32_t n_dims = take_u32(c, "the list of tensors");
    if (c->status) return;
    const char *why = NULL;
    if (*name_bytes == 0 || *name_bytes > GGUF_MAX_NAME_BYTES || memchr(*name, 0, *name_bytes))
        why = "a tensor name must have 1 to 64 bytes";
    if (n_dims == 0 || n_dims > GGUF_MAX_DIMS) why = "a tensor must have 1 to 4 dimensions";
    for (uint32_t i = 0; i < n_dims && !why && !c->status; i++) {
        uint64_t dim = take_u64(c, "the list of tensors");
        if (c->status) return;
        if (dim == 0) why = "a dimension is 0";
        if (!size_mul(n_elements, (size_t)dim, &n_elements)) why = "the product of its dimensions overflows";
        t->dims[n_dims - 1 - i] = (size_t)dim;
    }
    if (why) {
        refuse(c, start, "tensor", *name, *name_bytes, why);
        return;
    }
    t->n_dims = n_dims;
    size_t type_at = c->at;
    uint32_t type = take_u32(c, "the list of tensors");
    *offset = take_u64(c, "the list of tensors");
    if (c->status) return;
    const dtype_info *info = type <= INT32_MAX ? dtype_get((dtype)type) : NULL;
    if (!info) {
        c->status = error_at(c->err, QAIO_ERR_UNSUPPORTED, c->file->path, (int64_t)type_at,
                             "tensor \"%s\": element type %u is not supported", quote(*name, *name_bytes).text, type);
        return;
    }
    t->type = (dtype)type;
    t->bytes = dtype_bytes(t->type, n_elements);
    if (t->dims[n_dims - 1] % info->block_size != 0 || t->bytes == 0)
        refuse(c, start, "tensor", *name, *name_bytes, "its rows are no multiple of the type's block, or its size overflows");
}

static qaio_status read_tensors(gguf_file *file, cursor *c, uint64_t n, uint64_t **offsets) {
    if (n > MAX_TENSORS)
        return error_at(c->err, QAIO_ERR_LIMIT, file->path, 8, "%llu tensors, at most %d are read", (unsigned long long)n, MAX_TENSORS);
    size_t capacity = 0;
    for (size_t i = 0; i < n; i++) {
        named_tensor t = {0};
        const char *name;
        size_t name_bytes;
        uint64_t offset;
        take_tensor(c, &t, &name, &name_bytes, &offset);
        if (c->status) return c->status;
        if (i == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            uint64_t *grown = mem_realloc(*offsets, capacity, sizeof *grown);
            if (!grown) return c->status = error_memory(c->err);
            *offsets = grown;
        }
        (*offsets)[i] = offset;
        c->status = tensor_list_add(&file->tensors, &t, name, name_bytes, file->path, c->err);
        if (c->status) return c->status;
    }
    return QAIO_OK;
}

static qaio_status place_tensors(gguf_file *file, cursor *c, const uint64_t *offsets, size_t alignment) {
    size_t begin = c->at, left = 0;
    if (size_add(begin, alignment - 1, &begin)) {
        begin &= ~(alignment - 1);
        left = begin <= file->bytes ? file->bytes - begin : 0;
    }
    for (size_t i = 0; i < file->tensors.n; i++) {
        named_tensor *t = &file->tensors.items[i];
        const char *why = NULL;
        if (offsets[i] % alignment != 0) why = "its offset is no multiple of the alignment";
        if (offsets[i] > left || t->bytes > left - (size_t)offsets[i]) why = "its data lies outside the file";
        if (why) return refuse(c, begin, "tensor", t->name, strlen(t->name), why);
        t->data = file->data + begin + offsets[i];
    }
    tensor_list_sort_by_place(&file->tensors, 0);
    for (size_t i = 1; i < file->tensors.n; i++) {
        const named_tensor *before = &file->tensors.items[i - 1], *t = before + 1;
        if (t->data < before->data + before->bytes)
            return refuse(c, (size_t)(t->data - file->data), "tensor", t->name, strlen(t->name), "its data overlaps another tensor's");
    }
    return tensor_list_seal(&file->tensors, file->path, c->err);
}

static qaio_status read_alignment(const gguf_file *file, size_t *out, qaio_error *err) {
    gguf_reader r = {file, err, QAIO_OK};
    int64_t alignment = GGUF_DEFAULT_ALIGNMENT;
    gguf_get_integer(&r, "general.alignment", 1, INT64_C(1) << 31, &alignment);
    if (alignment & (alignment - 1)) gguf_refuse(&r, QAIO_ERR_FORMAT, "general.alignment", "must be a power of two");
    *out = (size_t)alignment;
    return r.status;
}

static qaio_status parse(gguf_file *file, qaio_error *err) {
    cursor c = {file, 0, err, QAIO_OK};
    uint64_t *offsets = NULL;
    size_t alignment;
    const uint8_t *magic = take(&c, 4, "the header");
    file->version = take_u32(&c, "the header");
    uint64_t n_tensors = take_u64(&c, "the header"), n_values = take_u64(&c, "the header");
    if (c.status) return c.status;
    if (memcmp(magic, "GGUF", 4) != 0)
        return error_at(err, QAIO_ERR_FORMAT, file->path, 0, "not a GGUF file: it does not start with \"GGUF\"");
    if (file->version != 2 && file->version != 3)
        return error_at(err, QAIO_ERR_UNSUPPORTED, file->path, 4, "GGUF version %u%s; versions 2 and 3 are supported", file->version,
                        file->version && (file->version & 0xFFFF) == 0 ? " (big-endian)" : "");
    qaio_status status = read_values(file, &c, n_values);
    if (!status) status = read_alignment(file, &alignment, err);
    if (!status) status = read_tensors(file, &c, n_tensors, &offsets);
    if (!status) status = place_tensors(file, &c, offsets, alignment);
    mem_free(offsets);
    return status;
}

qaio_status gguf_parse(gguf_file *out, const uint8_t *data, size_t bytes, const char *path, qaio_error *err) {
    gguf_file file = {.path = path, .data = data, .bytes = bytes};
    qaio_status status = parse(&file, err);
    if (status)
        gguf_deinit(&file);
    else
        *out = file;
    return status;
}

void gguf_deinit(gguf_file *file) {
    mem_free(file->values);
    tensor_list_deinit(&file->tensors);
    *file = (gguf_file){0};
}
