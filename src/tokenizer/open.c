/* A tokenizer from a directory. */
#include "base/file.h"
#include "base/mem.h"
#include "tokenizer/builder.h"

typedef qaio_status file_reader(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err);

static qaio_status read_into(vocabulary_builder *b, const char *dir, const char *name, file_reader *reader, qaio_error *err) {
    char *path = file_join(dir, name), *text = NULL;
    size_t n;
    qaio_status status = path ? file_read(&text, &n, path, TOKENIZER_MAX_FILE_BYTES, err) : error_memory(err);
    if (!status) status = reader(b, text, n, path, err);
    mem_free(text);
    mem_free(path);
    return status;
}

/* -1: out of memory */
static int has_file(const char *dir, const char *name) {
    char *path = file_join(dir, name);
    if (!path) return -1;
    bool exists = file_exists(path);
    mem_free(path);
    return exists;
}

static qaio_status read_directory(vocabulary_builder *b, const char *dir, qaio_error *err) {
    int has_json = has_file(dir, "tokenizer.json"), has_vocab = has_file(dir, "vocab.json"),
        has_config = has_file(dir, "tokenizer_config.json");
    if (has_json < 0 || has_vocab < 0 || has_config < 0) return error_memory(err);
    if (has_json) return read_into(b, dir, "tokenizer.json", read_tokenizer_json, err);
    if (!has_vocab) return error_at(err, QAIO_ERR_NOT_FOUND, dir, -1, "no tokenizer here: neither tokenizer.json nor vocab.json");
    qaio_status status = read_into(b, dir, "vocab.json", read_vocab_json, err);
    if (!status) status = read_into(b, dir, "merges.txt", read_merges_txt, err);
    if (!status && has_config) status = read_into(b, dir, "tokenizer_config.json", read_tokenizer_config, err);
    return status;
}

qaio_status tokenizer_open(tokenizer **out, const char *dir, qaio_error *err) {
    vocabulary_builder b = {0};
    qaio_status status = read_directory(&b, dir, err);
    if (!status) status = builder_finish(&b, out, dir, err);
    builder_deinit(&b);
    return status;
}
