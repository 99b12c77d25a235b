/* The tensors as the files name them, before any has a role: what both readers (safetensors, GGUF) produce. */
#ifndef QAIO_CHECKPOINT_TENSOR_LIST_H
#define QAIO_CHECKPOINT_TENSOR_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/dtype.h"

#define TENSOR_MAX_DIMS 8
#define MAX_TENSORS     65536 /* in all files of a checkpoint */

typedef struct named_tensor {
    char *name; /* owned */
    dtype type; /* DTYPE_NONE: a type that occurs in files but not in these models (I64, F8 ...) */
    size_t n_dims;
    size_t dims[TENSOR_MAX_DIMS]; /* row-major: the last one is contiguous */
    const uint8_t *data;          /* borrowed; data[bytes] lies inside the file */
    size_t bytes;
    size_t file; /* which shard, from 0 */
} named_tensor;

typedef struct tensor_list {
    named_tensor *items;
    size_t n, capacity;
} tensor_list;

/* Appends *t with a copy of name[name_bytes].  QAIO_ERR_LIMIT past MAX_TENSORS. */
qaio_status tensor_list_add(tensor_list *list, const named_tensor *t, const char *name, size_t name_bytes, const char *path,
                            qaio_error *err);
/* Sorts the items from `first` on by where their data lies. */
void tensor_list_sort_by_place(tensor_list *list, size_t first);
/* Sorts by name, refuses duplicates; find works from here on. */
qaio_status tensor_list_seal(tensor_list *list, const char *path, qaio_error *err);
/* NULL when there is none. */
const named_tensor *tensor_list_find(const tensor_list *list, const char *name);
void tensor_list_deinit(tensor_list *list);

#endif
