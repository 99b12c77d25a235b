/* Packed weights kept in a file, so that the next start maps them instead of packing again.
 *
 *   <dir>/<model name>-<type>.pack    a page with the header, then the weights as they lie in memory (kernels.h)
 *
 * One file a model name and type: a changed model replaces it.  Written beside its place, synced and renamed, so that a reader sees a whole
 * one or none.  The key says what it was made from; it is trusted like every file of the user's own cache directory. */
#ifndef QAIO_MODEL_PACK_CACHE_H
#define QAIO_MODEL_PACK_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/dtype.h"

#define PACK_CACHE_MIN_BYTES ((size_t)64 << 20) /* smaller ones are packed in less time than a file takes */

/* The weights of the file with this key, read-only; NULL when there is none. */
uint8_t *pack_cache_map(const char *dir, const char *name, dtype type, uint64_t key, size_t bytes);
void pack_cache_unmap(uint8_t *weights, size_t bytes);

/* Writes the file in a thread of its own; the weights stay where they are and are only read.  NULL when the thread cannot be started. */
typedef struct pack_writer pack_writer;
pack_writer *pack_writer_start(const char *dir, const char *name, dtype type, uint64_t key, const uint8_t *weights, size_t bytes);
/* Stops the writing where it is (no file then) and frees.  Takes NULL. */
void pack_writer_stop(pack_writer *w);

#endif
