/* Opening a checkpoint: which files make it up, then description, tensors, tokenizer and template, each checked against the others. */
#include "checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/config.h"
#include "checkpoint/gguf.h"
#include "checkpoint/quote.h"
#include "checkpoint/roles.h"
#include "checkpoint/safetensors.h"

struct checkpoint {
    model_desc desc;
    tensor *tensors; /* [roles_count(&desc)] */
    map_list maps;
    tokenizer *tokenizer;
    chat_template template;
    char *template_text; /* NULL: none */
    size_t template_bytes;
    char format[48];
    dtype type;
    size_t bytes;
};

static bool has_suffix(const char *s, const char *suffix) {
    size_t n = strlen(s), k = strlen(suffix);
    return n > k && strcasecmp(s + n - k, suffix) == 0;
}

static qaio_status init_template(chat_template *out, const char *text, size_t n, const char *path, qaio_error *err) {
    if (n > TEMPLATE_MAX_BYTES)
        return error_at(err, QAIO_ERR_LIMIT, path, -1, "a chat template of %zu bytes, at most %d are read", n, TEMPLATE_MAX_BYTES);
    return chat_template_init(out, text, n, err);
}

/* ---- from GGUF ---- */

static qaio_status gguf_template_text(const char **text, size_t *n, const gguf_file *file, qaio_error *err) {
    gguf_reader r = {file, err, QAIO_OK};
    *text = NULL;
    *n = 0;
    gguf_get_string(&r, "tokenizer.chat_template", text, n);
    return r.status;
}

static qaio_status load_gguf_template(checkpoint *c, const gguf_file *file, qaio_error *err) {
    const char *text;
    qaio_status status = gguf_template_text(&text, &c->template_bytes, file, err);
    if (!status) status = init_template(&c->template, text, c->template_bytes, file->path, err);
    if (status || !text) return status;
    c->template_text = mem_strndup(text, c->template_bytes);
    return c->template_text ? QAIO_OK : error_memory(err);
}

static qaio_status bind_tensors(checkpoint *c, const tensor_list *found, tensor_naming naming, const char *path, qaio_error *err) {
    c->tensors = mem_array(roles_count(&c->desc), sizeof *c->tensors);
    if (!c->tensors) return error_memory(err);
    return roles_bind(c->tensors, found, &c->desc, naming, path, err);
}

static qaio_status load_gguf(checkpoint *c, const void *data, size_t bytes, const char *path, qaio_error *err) {
    gguf_file file;
    qaio_status status = gguf_parse(&file, data, bytes, path, err);
    if (status) return status;
    status = gguf_to_desc(&c->desc, &file, err);
    if (!status) status = bind_tensors(c, &file.tensors, NAMES_GGUF, path, err);
    if (!status) status = gguf_to_tokenizer(&c->tokenizer, &file, err);
    if (!status) status = load_gguf_template(c, &file, err);
    snprintf(c->format, sizeof c->format, "gguf v%u", file.version);
    gguf_deinit(&file);
    return status;
}

static qaio_status load_gguf_file(checkpoint *c, const char *path, qaio_error *err) {
    c->maps.items = mem_array(1, sizeof *c->maps.items);
    if (!c->maps.items) return error_memory(err);
    qaio_status status = file_map_open(&c->maps.items[0], path, err);
    if (status) return status;
    c->maps.n = 1;
    return load_gguf(c, c->maps.items[0].data, c->maps.items[0].bytes, path, err);
}

/* ---- from a directory ---- */

static bool dir_has(const char *dir, const char *name, qaio_status *status, qaio_error *err) {
    char *path = file_join(dir, name);
    bool has = path && file_exists(path);
    if (!path) *status = error_memory(err);
    mem_free(path);
    return has;
}

/* The one *.gguf of dir, owned; NULL where there is none. */
static qaio_status find_gguf(char **out, const char *dir, qaio_error *err) {
    qaio_status status = QAIO_OK;
    char *found = NULL;
    DIR *listing = opendir(dir);
    if (!listing) return error_errno(err, dir, "open", errno);
    for (const struct dirent *entry; !status && (entry = readdir(listing));) {
        if (!has_suffix(entry->d_name, ".gguf")) continue;
        if (found)
            status = error_at(err, QAIO_ERR_ARGUMENT, dir, -1, "several GGUF files in this directory: name one of them");
        else if (!(found = file_join(dir, entry->d_name)))
            status = error_memory(err);
    }
    closedir(listing);
    if (status)
        mem_free(found);
    else
        *out = found;
    return status;
}

/* The GGUF file that stands for a directory without the file `marker`, owned; NULL when the directory itself is to be read. */
static qaio_status gguf_instead(char **out, const char *dir, const char *marker, const char *marker2, qaio_error *err) {
    qaio_status status = QAIO_OK;
    *out = NULL;
    bool is_complete = dir_has(dir, marker, &status, err) || (!status && marker2 && dir_has(dir, marker2, &status, err));
    return is_complete || status ? status : find_gguf(out, dir, err);
}

static qaio_status load_template_text(checkpoint *c, const char *dir, qaio_error *err) {
    qaio_status status = config_template(&c->template_text, &c->template_bytes, dir, err);
    return status ? status : init_template(&c->template, c->template_text, c->template_bytes, dir, err);
}

/* file: one .safetensors instead of what the directory's index says, or NULL. */
static qaio_status load_safetensors(checkpoint *c, const char *dir, const char *file, qaio_error *err) {
    tensor_list found = {0};
    char head[TENSOR_NAME_BYTES];
    role_name(head, NAMES_HF, TENSOR_HEAD, 0);
    qaio_status status = file ? safetensors_open_file(&found, &c->maps, file, err) : safetensors_open_dir(&found, &c->maps, dir, err);
    if (!status) status = config_open(&c->desc, dir, tensor_list_find(&found, head) != NULL, err);
    if (!status) status = bind_tensors(c, &found, NAMES_HF, file ? file : dir, err);
    if (!status) status = tokenizer_open(&c->tokenizer, dir, err);
    if (!status) status = load_template_text(c, dir, err);
    if (c->maps.n > 1)
        snprintf(c->format, sizeof c->format, "safetensors (%zu shards)", c->maps.n);
    else
        snprintf(c->format, sizeof c->format, "safetensors");
    tensor_list_deinit(&found);
    return status;
}

static qaio_status load_dir(checkpoint *c, const char *dir, qaio_error *err) {
    char *gguf = NULL;
    qaio_status status = gguf_instead(&gguf, dir, "config.json", NULL, err);
    if (status) return status;
    status = gguf ? load_gguf_file(c, gguf, err) : load_safetensors(c, dir, NULL, err);
    mem_free(gguf);
    return status;
}

/* "dir/model.safetensors" -> "dir", owned. */
static char *parent_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return mem_strndup(".", 1);
    return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static qaio_status load_path(checkpoint *c, const char *path, qaio_error *err) {
    if (file_is_directory(path)) return load_dir(c, path, err);
    if (!has_suffix(path, ".safetensors")) return load_gguf_file(c, path, err);
    char *dir = parent_of(path);
    qaio_status status = dir ? load_safetensors(c, dir, path, err) : error_memory(err);
    mem_free(dir);
    return status;
}

/* ---- what holds for all ---- */

static size_t tensor_count(const checkpoint *c) { return roles_count(&c->desc) - (c->desc.is_tied ? 1 : 0); }

static void sum_up(checkpoint *c) {
    size_t by_type[DTYPE_BF16 + 1] = {0}, most = 0;
    c->type = DTYPE_F32;
    for (size_t i = 0; i < tensor_count(c); i++) {
        const tensor *t = &c->tensors[i];
        c->bytes += t->bytes;
        if (t->n_cols == 1 || !t->data) continue;
        by_type[t->type] += t->bytes;
        if (by_type[t->type] > most) {
            most = by_type[t->type];
            c->type = t->type;
        }
    }
}

/* The last part of the path, without suffix: the name of a model that names itself nowhere. */
static void name_after(model_desc *desc, const char *path) {
    char resolved[PATH_MAX];
    const char *name = realpath(path, resolved) ? resolved : path;
    const char *slash = strrchr(name, '/');
    if (slash && slash[1]) name = slash + 1;
    size_t n = strlen(name);
    if (has_suffix(name, ".gguf")) n -= strlen(".gguf");
    if (has_suffix(name, ".safetensors")) n -= strlen(".safetensors");
    snprintf(desc->name, sizeof desc->name, "%s", quote(name, n).text);
}

static qaio_status check_whole(checkpoint *c, const char *path, qaio_error *err) {
    size_t n_tokens = tokenizer_size(c->tokenizer);
    if (n_tokens > c->desc.vocab_size)
        return error_at(err, QAIO_ERR_FORMAT, path, -1, "the tokenizer has ids up to %zu, the embedding only %zu rows", n_tokens - 1,
                        c->desc.vocab_size);
    if (!c->desc.name[0]) name_after(&c->desc, path);
    sum_up(c);
    return QAIO_OK;
}

static qaio_status finish(checkpoint **out, checkpoint *c, qaio_status status, const char *path, qaio_error *err) {
    if (!status) status = check_whole(c, path, err);
    if (status)
        checkpoint_close(c);
    else
        *out = c;
    return status;
}

qaio_status checkpoint_open(checkpoint **out, const char *path, qaio_error *err) {
    checkpoint *c = mem_zalloc(sizeof *c);
    if (!c) return error_memory(err);
    return finish(out, c, load_path(c, path, err), path, err);
}

qaio_status checkpoint_open_memory(checkpoint **out, const void *data, size_t bytes, const char *name, qaio_error *err) {
    checkpoint *c = mem_zalloc(sizeof *c);
    if (!c) return error_memory(err);
    return finish(out, c, load_gguf(c, data, bytes, name, err), name, err);
}

void checkpoint_close(checkpoint *c) {
    if (!c) return;
    mem_free(c->tensors);
    map_list_deinit(&c->maps);
    tokenizer_free(c->tokenizer);
    chat_template_deinit(&c->template);
    mem_free(c->template_text);
    mem_free(c);
}

const model_desc *checkpoint_desc(const checkpoint *c) { return &c->desc; }

const tensor *checkpoint_tensor(const checkpoint *c, tensor_role role, size_t layer) {
    const tensor *t = &c->tensors[role_index(&c->desc, role, layer)];
    return t->data ? t : NULL;
}

dtype checkpoint_type(const checkpoint *c) { return c->type; }

size_t checkpoint_bytes(const checkpoint *c) { return c->bytes; }

uint64_t checkpoint_stamp(const checkpoint *c) {
    uint64_t stamp = HASH_BEGIN;
    for (size_t i = 0; i < c->maps.n; i++) stamp = hash_bytes(stamp, &c->maps.items[i].stamp, sizeof c->maps.items[i].stamp);
    return c->maps.n ? stamp : 0;
}

const char *checkpoint_format(const checkpoint *c) { return c->format; }

void checkpoint_drop_pages(const checkpoint *c) {
    for (size_t i = 0; i < c->maps.n; i++)
        if (c->maps.items[i].data) madvise((void *)(uintptr_t)c->maps.items[i].data, c->maps.items[i].bytes, MADV_DONTNEED);
}

const tokenizer *checkpoint_tokenizer(const checkpoint *c) { return c->tokenizer; }

const chat_template *checkpoint_template(const checkpoint *c) { return &c->template; }

const char *checkpoint_template_text(const checkpoint *c, size_t *n) {
    *n = c->template_bytes;
    return c->template_text;
}

/* ---- tokenizer alone ---- */

static qaio_status tokenizer_of_gguf(tokenizer **out, chat_template *out_template, const char *path, qaio_error *err) {
    file_map map;
    gguf_file file;
    qaio_status status = file_map_open(&map, path, err);
    if (status) return status;
    status = gguf_parse(&file, map.data, map.bytes, path, err);
    if (!status) {
        const char *text;
        size_t n;
        status = gguf_to_tokenizer(out, &file, err);
        if (!status) status = gguf_template_text(&text, &n, &file, err);
        if (!status) status = init_template(out_template, text, n, path, err);
        gguf_deinit(&file);
    }
    file_map_close(&map);
    return status;
}

static qaio_status tokenizer_of_dir(tokenizer **out, chat_template *out_template, const char *dir, qaio_error *err) {
    char *text = NULL;
    size_t n = 0;
    qaio_status status = tokenizer_open(out, dir, err);
    if (!status) status = config_template(&text, &n, dir, err);
    if (!status) status = init_template(out_template, text, n, dir, err);
    mem_free(text);
    return status;
}

qaio_status checkpoint_load_tokenizer(tokenizer **out, chat_template *out_template, const char *path, qaio_error *err) {
    tokenizer *loaded = NULL;
    char *gguf = NULL;
    bool is_dir = file_is_directory(path);
    qaio_status status = is_dir ? gguf_instead(&gguf, path, "tokenizer.json", "vocab.json", err) : QAIO_OK;
    if (status) return status;
    if (gguf || !is_dir)
        status = tokenizer_of_gguf(&loaded, out_template, gguf ? gguf : path, err);
    else
        status = tokenizer_of_dir(&loaded, out_template, path, err);
    mem_free(gguf);
    if (status)
        tokenizer_free(loaded);
    else
        *out = loaded;
    return status;
}
