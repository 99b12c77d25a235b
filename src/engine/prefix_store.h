/* The KV of pinned prefixes on disk, so that the first request after a start need not compute them.
 *
 *   <dir>/<hash of key and tokens>.kv     one prefix a file, see prefix_file.h
 *
 * Every process reads; those that keep also write, in a thread of the store's own.  All files together have at most PREFIX_STORE_MAX_BYTES:
 * the longest unused go first.  A failure is nobody's error: without a file the prefix is computed.
 * One caller at a time, but for the store's thread. */
#ifndef QAIO_ENGINE_PREFIX_STORE_H
#define QAIO_ENGINE_PREFIX_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PREFIX_STORE_MAX_BYTES   ((size_t)256 << 20)
#define PREFIX_STORE_MAX_WAITING ((size_t)64 << 20) /* bytes to be written; more are not kept this time */
#define PREFIX_STORE_MIN_WEIGHTS ((size_t)64 << 20) /* bytes; a smaller model computes a prefix in the time that reading it takes */

typedef struct prefix_store prefix_store;

/* key: everything that the KV depends on beside the tokens.  max_bytes: PREFIX_STORE_MAX_BYTES but in tests.  NULL: a failed allocation. */
prefix_store *prefix_store_open(const char *dir, uint64_t key, size_t block_bytes, bool keeps, size_t max_bytes);
/* Writes what waits to be written.  Takes NULL. */
void prefix_store_close(prefix_store *s);

/* Fills the blocks of ids[n]; false: there is no such file, or not a whole one, and the blocks may hold anything. */
bool prefix_store_load(prefix_store *s, const int32_t *ids, size_t n, void *const *blocks, size_t n_blocks);

bool prefix_store_keeps(const prefix_store *s);
/* blocks[n_blocks, block_bytes]: moved, also on failure. */
void prefix_store_save(prefix_store *s, const int32_t *ids, size_t n, uint8_t *blocks, size_t n_blocks);

#endif
