/* Where models come from and where they are kept: Hugging Face and ModelScope over HTTPS, the user's cache directory.
 *
 * Cache layout:  $QAIO_HOME, else $XDG_CACHE_HOME/qaio, else ~/.cache/qaio;  below it  models/<owner>--<repo>/[<file>...]  */
#ifndef QAIO_HUB_HUB_H
#define QAIO_HUB_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A model known by a short name: `qaio pull qwen2.5-0.5b-instruct`. */
typedef struct hub_known {
    const char *name;
    const char *repo; /* "Qwen/Qwen2.5-0.5B-Instruct" */
    const char *file; /* one file of it (GGUF variants), or NULL: config, tokenizer and safetensors */
    uint64_t bytes;   /* about, for display */
} hub_known;
const hub_known *hub_known_models(size_t *n);

typedef enum hub_source { HUB_HUGGINGFACE, HUB_MODELSCOPE } hub_source;

typedef struct hub_progress {
    const char *file;
    size_t file_index, n_files;
    uint64_t file_done, file_bytes; /* bytes */
    uint64_t total_done, total_bytes;
} hub_progress;

typedef struct hub_options {
    hub_source source;
    const char *endpoint; /* NULL: HF_ENDPOINT / MODELSCOPE_ENDPOINT, else the public hub */
    const char *token;    /* NULL: HF_TOKEN / MODELSCOPE_API_TOKEN, else none */
    const char *revision; /* NULL: main / master */
    /* Called often from hub_pull's thread; returning false stops it with QAIO_ERR_CANCELLED (what came stays for the next run). */
    bool (*progress)(void *ctx, const hub_progress *p);
    void *ctx;
} hub_options;

/* Fetches a known name or any repository id ("owner/name", "owner/name:file.gguf") into the cache: resumes partial files, checks size and
 * SHA-256 from the hub's file list, renames atomically.  *path (owned, mem_free) is what --model takes.  Blocking. */
qaio_status hub_pull(char **path, const char *name, const hub_options *options, qaio_error *err);

/* A model in the cache. */
typedef struct hub_local {
    char *name; /* what --model takes: the known name if it is one, else owner/name or owner/name:file */
    char *path;
    uint64_t bytes;
} hub_local;
qaio_status hub_list(hub_local **out, size_t *n, qaio_error *err); /* hub_list_free; an absent cache is an empty list */
void hub_list_free(hub_local *list, size_t n);

/* What --model means: an existing file or directory as it is, else a model of the cache by name.  *path owned.  QAIO_ERR_NOT_FOUND says how
 * to get it. */
qaio_status hub_find(char **path, const char *name, qaio_error *err);

/* The cache directory itself, owned; NULL when out of memory or no home is known. */
char *hub_cache_dir(void);

#endif
