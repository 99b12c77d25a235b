/* safetensors: a JSON header over one flat buffer.
 *
 *   0      8   header length h, little-endian
 *   8      h   {"NAME": {"dtype": "BF16", "shape": [266, 8], "data_offsets": [begin, end]}, ..., "__metadata__": {"k": "v"}}, padded
 *              with spaces
 *   8 + h      the buffer: offsets count from here; the tensors cover it without holes and without overlap
 *
 * (github.com/huggingface/safetensors, README, "Format".)  Offsets carry no alignment promise, so the data is read bytewise later on. */
#include "checkpoint/safetensors.h"

#include <string.h>

#include "base/mem.h"
#include "checkpoint/json_file.h"
#include "checkpoint/quote.h"

typedef struct element_type {
    const char *name;
    dtype type; /* DTYPE_NONE: may stand in a file, but no tensor of ours has it */
    size_t bytes;
} element_type;

static const element_type element_types[] = {
    {"F32", DTYPE_F32, 4},      {"F16", DTYPE_F16, 2},      {"BF16", DTYPE_BF16, 2}, {"F64", DTYPE_NONE, 8}, {"I64", DTYPE_NONE, 8},
    {"U64", DTYPE_NONE, 8},     {"I32", DTYPE_NONE, 4},     {"U32", DTYPE_NONE, 4},  {"I16", DTYPE_NONE, 2}, {"U16", DTYPE_NONE, 2},
    {"F8_E5M2", DTYPE_NONE, 1}, {"F8_E4M3", DTYPE_NONE, 1}, {"I8", DTYPE_NONE, 1},   {"U8", DTYPE_NONE, 1},  {"BOOL", DTYPE_NONE, 1},
};

static const element_type *find_element_type(const json_t *name) {
    if (!json_is_string(name)) return NULL;
    for (size_t i = 0; i < sizeof element_types / sizeof *element_types; i++)
        if (strcmp(element_types[i].name, json_string_value(name)) == 0) return &element_types[i];
    return NULL;
}

/* The file image around one header. */
typedef struct image {
    const uint8_t *buffer; /* behind the header */
    size_t buffer_bytes;
    size_t buffer_offset; /* in the file */
    size_t file;
    const char *path;
    qaio_error *err;
} image;

static qaio_status refuse(const image *im, const char *name, const char *why) {
    return error_at(im->err, QAIO_ERR_FORMAT, im->path, -1, "tensor \"%s\": %s", quote(name, strlen(name)).text, why);
}

static bool to_size(const json_t *value, size_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static qaio_status read_shape(named_tensor *t, size_t *n_elements, const image *im, const char *name, const json_t *shape) {
    if (!json_is_array(shape)) return refuse(im, name, "\"shape\" must be an array");
    t->n_dims = json_array_size(shape);
    if (t->n_dims > TENSOR_MAX_DIMS) return refuse(im, name, "too many dimensions");
    *n_elements = 1;
    for (size_t i = 0; i < t->n_dims; i++) {
        if (!to_size(json_array_get(shape, i), &t->dims[i])) return refuse(im, name, "\"shape\" must hold integers from 0");
        if (!size_mul(*n_elements, t->dims[i], n_elements)) return refuse(im, name, "the product of the shape overflows");
    }
    return QAIO_OK;
}

static qaio_status add_tensor(tensor_list *out, const image *im, const char *name, const json_t *entry) {
    if (!json_is_object(entry)) return refuse(im, name, "its entry must be an object");
    const element_type *type = find_element_type(json_object_get(entry, "dtype"));
    if (!type) return refuse(im, name, "unknown \"dtype\"");
    named_tensor t = {.type = type->type, .file = im->file};
    size_t n_elements, bytes, begin, end;
    qaio_status status = read_shape(&t, &n_elements, im, name, json_object_get(entry, "shape"));
    if (status) return status;
    if (!size_mul(n_elements, type->bytes, &bytes)) return refuse(im, name, "its size overflows");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !to_size(json_array_get(offsets, 0), &begin) ||
        !to_size(json_array_get(offsets, 1), &end))
        return refuse(im, name, "\"data_offsets\" must be two integers from 0");
    if (begin > end || end > im->buffer_bytes)
        return error_at(im->err, QAIO_ERR_FORMAT, im->path, -1, "tensor \"%s\": offsets %zu to %zu lie outside the buffer of %zu bytes",
                        quote(name, strlen(name)).text, begin, end, im->buffer_bytes);
    if (end - begin != bytes)
        return error_at(im->err, QAIO_ERR_FORMAT, im->path, (int64_t)(im->buffer_offset + begin),
                        "tensor \"%s\": %zu bytes for a shape and type of %zu", quote(name, strlen(name)).text, end - begin, bytes);
    t.data = im->buffer + begin;
    t.bytes = bytes;
    return tensor_list_add(out, &t, name, strlen(name), im->path, im->err);
}

static qaio_status check_metadata(const image *im, const json_t *metadata) {
    bool is_right = json_is_object(metadata);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value) is_right = is_right && json_is_string(value);
    return is_right ? QAIO_OK : error_at(im->err, QAIO_ERR_FORMAT, im->path, -1, "\"__metadata__\" must map strings to strings");
}

/* Sorted by place, each tensor starts where the one before it ended. */
static qaio_status check_cover(tensor_list *list, size_t first, const image *im) {
    tensor_list_sort_by_place(list, first);
    size_t at = 0;
    for (size_t i = first; i < list->n; i++) {
        const named_tensor *t = &list->items[i];
        size_t begin = (size_t)(t->data - im->buffer);
        if (begin != at)
            return error_at(im->err, QAIO_ERR_FORMAT, im->path, (int64_t)(im->buffer_offset + begin), "tensor \"%s\" %s",
                            quote(t->name, strlen(t->name)).text,
                            begin < at ? "overlaps the one before it" : "leaves a hole after the one before it");
        at = begin + t->bytes;
    }
    if (at != im->buffer_bytes)
        return error_at(im->err, QAIO_ERR_FORMAT, im->path, (int64_t)(im->buffer_offset + at), "%zu bytes belong to no tensor",
                        im->buffer_bytes - at);
    return QAIO_OK;
}

static uint64_t load_u64(const uint8_t *p) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | p[i];
    return value;
}

qaio_status safetensors_list(tensor_list *out, const uint8_t *data, size_t bytes, size_t file, const char *path, qaio_error *err) {
    if (bytes < 8) return error_at(err, QAIO_ERR_FORMAT, path, 0, "%zu bytes are too few for a safetensors file", bytes);
    uint64_t header = load_u64(data);
    if (header > bytes - 8)
        return error_at(err, QAIO_ERR_FORMAT, path, 0, "the header length %llu passes the end", (unsigned long long)header);
    if (header > SAFETENSORS_MAX_HEADER)
        return error_at(err, QAIO_ERR_LIMIT, path, 0, "a header of %llu bytes", (unsigned long long)header);
    if (header == 0 || data[8] != '{') return error_at(err, QAIO_ERR_FORMAT, path, 8, "the header must start with '{'");

    size_t begin = 8 + (size_t)header;
    const image im = {data + begin, bytes - begin, begin, file, path, err};
    json_t *root;
    qaio_status status = json_parse(&root, (const char *)data + 8, (size_t)header, path, 8, err);
    if (status) return status;
    size_t first = out->n;
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry) {
        status = strcmp(name, "__metadata__") == 0 ? check_metadata(&im, entry) : add_tensor(out, &im, name, entry);
        if (status) break;
    }
    json_decref(root);
    return status ? status : check_cover(out, first, &im);
}

static qaio_status map_file(tensor_list *out, map_list *maps, const char *path, qaio_error *err) {
    file_map *items = mem_realloc(maps->items, maps->n + 1, sizeof *items);
    if (!items) return error_memory(err);
    maps->items = items;
    qaio_status status = file_map_open(&items[maps->n], path, err);
    if (status) return status;
    const file_map *map = &items[maps->n++];
    return safetensors_list(out, map->data, map->bytes, maps->n - 1, path, err);
}

void map_list_deinit(map_list *maps) {
    for (size_t i = 0; i < maps->n; i++) file_map_close(&maps->items[i]);
    mem_free(maps->items);
    *maps = (map_list){0};
}

qaio_status safetensors_open_file(tensor_list *out, map_list *maps, const char *path, qaio_error *err) {
    qaio_status status = map_file(out, maps, path, err);
    return status ? status : tensor_list_seal(out, path, err);
}

/* A shard lies in the folder of its index: no separators, no "..", the right suffix. */
static bool is_shard_name(const char *name) {
    static const char suffix[] = ".safetensors";
    size_t n = strlen(name), k = sizeof suffix - 1;
    return n > k && strcmp(name + n - k, suffix) == 0 && !strpbrk(name, "/\\") && name[0] != '.';
}

/* The shard names of a weight_map in order of appearance, borrowed from it; *file_of answers for one tensor after the other. */
typedef struct shard_names {
    const char **items;
    size_t n;
} shard_names;

static qaio_status collect_shards(shard_names *names, const json_t *weight_map, const char *path, qaio_error *err) {
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, value) {
        const char *name = json_string_value(value);
        if (!name || !is_shard_name(name))
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "tensor \"%s\": \"%s\" is not the name of a shard in this folder",
                            quote(tensor, strlen(tensor)).text, name ? quote(name, strlen(name)).text : "");
        size_t i = 0;
        while (i < names->n && strcmp(names->items[i], name) != 0) i++;
        if (i < names->n) continue;
        if (i == SAFETENSORS_MAX_SHARDS) return error_at(err, QAIO_ERR_LIMIT, path, -1, "more than %d shards", SAFETENSORS_MAX_SHARDS);
        names->items[names->n++] = name;
    }
    return names->n ? QAIO_OK : error_at(err, QAIO_ERR_FORMAT, path, -1, "\"weight_map\" names no shard");
}

/* Every tensor of the index is in the shard it names. */
static qaio_status check_index(const tensor_list *list, const shard_names *names, const json_t *weight_map, const char *path,
                               qaio_error *err) {
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, value) {
        const named_tensor *t = tensor_list_find(list, tensor);
        if (!t || strcmp(names->items[t->file], json_string_value(value)) != 0)
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "tensor \"%s\" is not in the shard \"%s\"", quote(tensor, strlen(tensor)).text,
                            quote(json_string_value(value), json_string_length(value)).text);
    }
    return QAIO_OK;
}

static qaio_status open_shards(tensor_list *out, map_list *maps, const char *dir, const char *index_path, qaio_error *err) {
    json_t *root = NULL;
    shard_names names = {0};
    qaio_status status = json_read_file(&root, index_path, SAFETENSORS_MAX_HEADER, err);
    if (status) return status;
    const json_t *weight_map = json_object_get(root, "weight_map");
    if (!json_is_object(weight_map)) {
        status = error_at(err, QAIO_ERR_FORMAT, index_path, -1, "\"weight_map\" must be an object");
        goto done;
    }
    if (!(names.items = mem_array(SAFETENSORS_MAX_SHARDS, sizeof *names.items))) {
        status = error_memory(err);
        goto done;
    }
    status = collect_shards(&names, weight_map, index_path, err);
    for (size_t i = 0; i < names.n && !status; i++) {
        char *path = file_join(dir, names.items[i]);
        status = path ? map_file(out, maps, path, err) : error_memory(err);
        mem_free(path);
    }
    if (!status) status = tensor_list_seal(out, index_path, err);
    if (!status) status = check_index(out, &names, weight_map, index_path, err);
done:
    mem_free(names.items);
    json_decref(root);
    return status;
}

qaio_status safetensors_open_dir(tensor_list *out, map_list *maps, const char *dir, qaio_error *err) {
    qaio_status status = QAIO_OK;
    char *single = file_join(dir, "model.safetensors"), *index = file_join(dir, "model.safetensors.index.json");
    if (!single || !index)
        status = error_memory(err);
    else if (file_exists(single))
        status = safetensors_open_file(out, maps, single, err);
    else if (file_exists(index))
        status = open_shards(out, maps, dir, index, err);
    else
        status = error_at(err, QAIO_ERR_NOT_FOUND, dir, -1,
                          "no weights in this folder: neither model.safetensors nor model.safetensors.index.json (nor one GGUF file "
                          "without a config.json)");
    mem_free(single);
    mem_free(index);
    return status;
}
