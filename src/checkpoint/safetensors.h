/* safetensors files: one, or shards listed by model.safetensors.index.json. */
#ifndef QAIO_CHECKPOINT_SAFETENSORS_H
#define QAIO_CHECKPOINT_SAFETENSORS_H

#include "base/file.h"
#include "checkpoint/tensor_list.h"

#define SAFETENSORS_MAX_HEADER (16 << 20)
#define SAFETENSORS_MAX_SHARDS 1024

/* The mapped files of a checkpoint, owned. */
typedef struct map_list {
    file_map *items;
    size_t n;
} map_list;
void map_list_deinit(map_list *maps);

/* Appends the tensors of the file image data[bytes]; `file` is kept in each. */
qaio_status safetensors_list(tensor_list *out, const uint8_t *data, size_t bytes, size_t file, const char *path, qaio_error *err);

/* Maps one file, or model.safetensors of `dir`, or the shards of its index, and lists all tensors, sealed.  On failure the caller still
 * deinits both lists. */
qaio_status safetensors_open_file(tensor_list *out, map_list *maps, const char *path, qaio_error *err);
qaio_status safetensors_open_dir(tensor_list *out, map_list *maps, const char *dir, qaio_error *err);

#endif
