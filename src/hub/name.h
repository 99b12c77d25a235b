/* What a model is called, and where the cache keeps it:
 *
 *     name                 repository, file                     path below the cache directory
 *     qwen3-0.6b           Qwen/Qwen3-0.6B                      models/Qwen--Qwen3-0.6B
 *     owner/name           owner/name                           models/owner--name
 *     owner/name:q/x.gguf  owner/name, q/x.gguf                 models/owner--name/q/x.gguf
 *
 * Both hubs forbid "--" in a repository id, so the folder's name gives the id back. */
#ifndef QAIO_HUB_NAME_H
#define QAIO_HUB_NAME_H

#include "hub/hub.h"

#define HUB_REPO_MAX 96  /* bytes of "owner/name", Hugging Face's own limit */
#define HUB_FILE_MAX 512 /* bytes of a path inside a repository */

typedef struct hub_name {
    char repo[HUB_REPO_MAX + 1];
    char file[HUB_FILE_MAX + 1]; /* "": the whole model */
} hub_name;

/* A known name, "owner/name" or "owner/name:file".  QAIO_ERR_NOT_FOUND when it is none of them, with the known name that is
 * most like it. */
qaio_status hub_name_parse(hub_name *out, const char *name, qaio_error *err);

/* The name to show for it: the known one if there is one.  Owned; NULL when out of memory. */
char *hub_name_display(const hub_name *name);

/* Whether a path from a hub may become one below the model's folder: relative, no ".." or ".", no backslash, no control character, UTF-8,
 * of sane length, and no name that the cache itself uses (*.part). */
bool hub_path_is_safe(const char *path);

/* <cache>/models and <cache>/models/<owner>--<name>: owned. */
qaio_status hub_models_dir(char **out, qaio_error *err);
qaio_status hub_repo_dir(char **out, const char *repo, qaio_error *err);

/* The repository a folder of the cache holds, from the folder's name; false when it is not one of ours. */
bool hub_repo_from_folder(char repo[HUB_REPO_MAX + 1], const char *folder);

#endif
