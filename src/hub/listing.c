/* Reading the file lists of both hubs. */
#include "hub/listing.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "hub/name.h"

static bool has_suffix(const char *s, const char *suffix) {
    size_t n = strlen(s), k = strlen(suffix);
    return n > k && strcasecmp(s + n - k, suffix) == 0;
}

bool listing_is_gguf(const char *path) { return path[0] != '.' && has_suffix(path, ".gguf"); }

bool listing_is_weights(const char *path) { return path[0] != '.' && !strchr(path, '/') && has_suffix(path, ".safetensors"); }

bool listing_is_model_file(const char *path) {
    static const char *const NAMES[] = {
        "config.json", "generation_config.json",       "tokenizer.json",     "tokenizer_config.json", "vocab.json",
        "merges.txt",  "model.safetensors.index.json", "chat_template.jinja"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcmp(path, NAMES[i]) == 0) return true;
    }
    return listing_is_weights(path);
}

/* Exactly 2·n hexadecimal digits. */
static bool hex_decode(uint8_t *out, size_t n, const char *hex) {
    if (strlen(hex) != 2 * n || strspn(hex, "0123456789abcdefABCDEF") != 2 * n) return false;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

/* A string member without a NUL inside, or NULL. */
static const char *member_string(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) return NULL;
    const char *s = json_string_value(value);
    return strlen(s) == json_string_length(value) ? s : NULL;
}

static bool member_size(const json_t *object, const char *key, uint64_t *out) {
    const json_t *value = json_object_get(object, key);
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || (uint64_t)n > LISTING_MAX_FILE_BYTES) return false;
    *out = (uint64_t)n;
    return true;
}

static qaio_status append(listing *l, const listing_file *file, qaio_error *err) {
    if (l->n == LISTING_MAX_FILES) return error_set(err, QAIO_ERR_LIMIT, "the hub's file list has more than %d files", LISTING_MAX_FILES);
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 32;
        listing_file *files = mem_realloc(l->files, capacity, sizeof *files);
        if (!files) return error_memory(err);
        l->files = files;
        l->capacity = capacity;
    }
    char *path = mem_strndup(file->path, strlen(file->path));
    if (!path) return error_memory(err);
    l->files[l->n] = *file;
    l->files[l->n++].path = path;
    return QAIO_OK;
}

static void read_digest(listing_file *file, hub_source source, const json_t *entry) {
    const json_t *lfs = json_object_get(entry, "lfs");
    const char *sha256 = source == HUB_MODELSCOPE ? member_string(entry, "Sha256") : member_string(lfs, "oid");
    const char *blob = source == HUB_MODELSCOPE || json_is_object(lfs) ? NULL : member_string(entry, "oid");
    if (sha256 && strncmp(sha256, "sha256:", 7) == 0) sha256 += 7;
    if (sha256 && hex_decode(file->digest, 32, sha256)) {
        file->kind = DIGEST_SHA256;
    } else if (blob && hex_decode(file->digest, 20, blob)) {
        file->kind = DIGEST_GIT_BLOB;
    }
}

static qaio_status add_entry(listing *l, hub_source source, const json_t *entry, qaio_error *err) {
    bool is_modelscope = source == HUB_MODELSCOPE;
    const char *type = member_string(entry, is_modelscope ? "Type" : "type");
    const char *path = member_string(entry, is_modelscope ? "Path" : "path");
    if (!type || !path) return error_set(err, QAIO_ERR_FORMAT, "the hub's file list has an entry without type or path");
    if (!hub_path_is_safe(path)) return error_set(err, QAIO_ERR_FORMAT, "the hub's file list has an unsafe path; refused");
    if (strcmp(type, is_modelscope ? "blob" : "file") != 0) return QAIO_OK;

    listing_file file = {.path = (char *)(uintptr_t)path}; /* append copies it */
    uint64_t lfs_bytes;
    const json_t *lfs = json_object_get(entry, "lfs");
    if (!member_size(entry, is_modelscope ? "Size" : "size", &file.bytes)) {
        return error_set(err, QAIO_ERR_FORMAT, "the hub's file list gives no believable size for %s", path);
    }
    if (json_is_object(lfs) && (!member_size(lfs, "size", &lfs_bytes) || lfs_bytes != file.bytes)) {
        return error_set(err, QAIO_ERR_FORMAT, "the hub's file list gives two sizes for %s", path);
    }
    read_digest(&file, source, entry);
    return append(l, &file, err);
}

qaio_status listing_add_page(listing *l, hub_source source, const char *json, size_t json_bytes, qaio_error *err) {
    json_error_t detail;
    json_t *root = json_loadb(json, json_bytes, JSON_REJECT_DUPLICATES, &detail);
    if (!root) return error_set(err, QAIO_ERR_FORMAT, "the hub's file list is not JSON: line %d, column %d", detail.line, detail.column);

    const json_t *files = source == HUB_MODELSCOPE ? json_object_get(json_object_get(root, "Data"), "Files") : root;
    const json_t *code = json_object_get(root, "Code"); /* ModelScope also reports errors inside a 200 */
    qaio_status status = QAIO_OK;
    if (json_is_integer(code) && json_integer_value(code) != 200) {
        status =
            error_set(err, QAIO_ERR_NOT_FOUND, "the hub has no such model or revision (code %lld)", (long long)json_integer_value(code));
    } else if (!json_is_array(files)) {
        status = error_set(err, QAIO_ERR_FORMAT, "the hub's answer is not a file list");
    }
    for (size_t i = 0; status == QAIO_OK && i < json_array_size(files); i++) {
        status = add_entry(l, source, json_array_get(files, i), err);
    }
    json_decref(root);
    return status;
}

/* Keeps the files that `wanted` is true for, or where `only` is given just that one. */
static void keep(listing *l, bool (*wanted)(const char *path), const char *only) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        char *path = l->files[i].path;
        if (only ? strcmp(path, only) == 0 : wanted(path)) {
            l->files[n++] = l->files[i];
        } else {
            mem_free(path);
        }
    }
    l->n = n;
}

static size_t count(const listing *l, bool (*wanted)(const char *path)) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) n += wanted(l->files[i].path);
    return n;
}

static bool is_config(const char *path) { return strcmp(path, "config.json") == 0; }

#define MAX_NAMED 4 /* GGUF files that a message names */

static qaio_status no_model(const listing *l, const char *repo, const char *file, qaio_error *err) {
    char named[320] = "";
    size_t n_named = 0;
    for (size_t i = 0; i < l->n && n_named < MAX_NAMED; i++) {
        size_t used = strlen(named);
        if (!listing_is_gguf(l->files[i].path) || used + strlen(l->files[i].path) + 3 > sizeof named) continue;
        snprintf(named + used, sizeof named - used, "%s%s", n_named++ ? ", " : "", l->files[i].path);
    }
    if (file[0]) return error_set(err, QAIO_ERR_NOT_FOUND, "%s has no file %.80s%s%s", repo, file, n_named ? "; it has " : "", named);
    if (n_named) {
        return error_set(err, QAIO_ERR_ARGUMENT, "%s holds several GGUF files, name one as %s:FILE; it has %s", repo, repo, named);
    }
    return error_set(err, QAIO_ERR_NOT_FOUND, "%s holds no model: neither config.json with *.safetensors nor a *.gguf file", repo);
}

static int by_path(const void *a, const void *b) {
    const listing_file *x = a, *y = b;
    if (is_config(x->path) != is_config(y->path)) return is_config(x->path) ? 1 : -1;
    return strcmp(x->path, y->path);
}

qaio_status listing_choose(listing *l, const char *repo, const char *file, qaio_error *err) {
    size_t n_gguf = count(l, listing_is_gguf);
    if (file[0]) {
        bool is_there = false;
        for (size_t i = 0; i < l->n; i++) is_there = is_there || strcmp(l->files[i].path, file) == 0;
        if (!is_there) return no_model(l, repo, file, err);
        keep(l, NULL, file);
    } else if (count(l, is_config) && count(l, listing_is_weights)) {
        keep(l, listing_is_model_file, NULL);
    } else if (n_gguf == 1) {
        keep(l, listing_is_gguf, NULL);
    } else {
        return no_model(l, repo, "", err);
    }
    if (l->n > LISTING_MAX_CHOSEN) return error_set(err, QAIO_ERR_LIMIT, "%s: more than %d files to fetch", repo, LISTING_MAX_CHOSEN);
    qsort(l->files, l->n, sizeof *l->files, by_path);
    for (size_t i = 0; i < l->n; i++) {
        const char *path = l->files[i].path;
        if (l->files[i].kind == DIGEST_NONE) return error_set(err, QAIO_ERR_FORMAT, "the hub gives no hash for %s", path);
        if (i > 0 && strcmp(l->files[i - 1].path, path) == 0) {
            return error_set(err, QAIO_ERR_FORMAT, "the hub's file list has %s twice", path);
        }
    }
    return QAIO_OK;
}

void listing_deinit(listing *l) {
    for (size_t i = 0; i < l->n; i++) mem_free(l->files[i].path);
    mem_free(l->files);
    *l = (listing){0};
}
