/* A hub's list of a repository's files, and the choice of those that make a model.
 *
 *     Hugging Face   [{"type": "file" | "directory", "path", "size", "oid": SHA-1 of the git blob, "lfs": {"oid": SHA-256, "size"}}, ...]
 *     ModelScope     {"Code": 200, "Data": {"Files": [{"Type": "blob" | "tree", "Path", "Size", "Sha256"}, ...]}, "Message"}
 *
 * The list is not trusted: a path that leaves the folder, a negative or absurd size, or an endless list refuses the whole of it. */
#ifndef QAIO_HUB_LISTING_H
#define QAIO_HUB_LISTING_H

#include "hub/hub.h"

#define LISTING_MAX_FILES      50000
#define LISTING_MAX_FILE_BYTES (UINT64_C(1) << 40)
#define LISTING_MAX_CHOSEN     1000

/* What a file's bytes are checked against. */
typedef enum digest_kind {
    DIGEST_NONE,
    DIGEST_SHA256,   /* of the bytes */
    DIGEST_GIT_BLOB, /* SHA-1 of "blob <size>\0" and the bytes: Hugging Face's small files */
} digest_kind;

typedef struct listing_file {
    char *path; /* owned, safe */
    uint64_t bytes;
    digest_kind kind;
    uint8_t digest[32]; /* SHA-1: the first 20 */
} listing_file;

/* Zero-initialise ({0}) before use. */
typedef struct listing {
    listing_file *files;
    size_t n, capacity;
} listing;

/* Adds one page as the hub sent it. */
qaio_status listing_add_page(listing *l, hub_source source, const char *json, size_t json_bytes, qaio_error *err);

/* Keeps what `file` names, or for "" what a model needs: configuration, tokenizer, safetensors, config.json last; or else the one GGUF
 * file. Every file kept has a digest and no path comes twice.  `repo` is for messages. */
qaio_status listing_choose(listing *l, const char *repo, const char *file, qaio_error *err);

void listing_deinit(listing *l);

/* Whether a whole model's folder holds this file (all are at the top of the repository). */
bool listing_is_model_file(const char *path);
bool listing_is_weights(const char *path); /* *.safetensors at the top */
bool listing_is_gguf(const char *path);

#endif
