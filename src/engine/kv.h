/* KV blocks and sequences.  A block holds KV_BLOCK positions of all layers and is reference-counted; a sequence is a list of blocks.  fork
 * copies a sequence in O(blocks) pointers and no KV: only a block that is shared *and* about to be written is copied (copy on write).
 * Not thread-safe: the engine's thread owns them. */
#ifndef QAIO_ENGINE_KV_H
#define QAIO_ENGINE_KV_H

#include <stddef.h>

#include "base/error.h"

typedef struct kv_block kv_block;
typedef struct kv_slab kv_slab;

typedef struct kv_pool {
    size_t block_bytes;
    size_t max_blocks; /* the memory budget */
    size_t n_used;     /* blocks in use */
    size_t n_made;     /* in use or free */
    kv_block *free;    /* kept for reuse */
    kv_slab *slabs;    /* where they all lie */
} kv_pool;

typedef struct kv_sequence {
    kv_block **blocks; /* owned list of counted blocks */
    void **data;       /* data[i] of blocks[i], as model_span wants it */
    size_t n_blocks, capacity;
    size_t n_positions; /* filled */
} kv_sequence;

void kv_pool_init(kv_pool *pool, size_t block_bytes, size_t max_blocks);
void kv_pool_deinit(kv_pool *pool); /* every sequence has been cleared */

/* Makes room for n more positions that this sequence alone may write.  QAIO_ERR_LIMIT when the budget is spent, QAIO_ERR_MEMORY. */
qaio_status kv_reserve(kv_pool *pool, kv_sequence *s, size_t n, qaio_error *err);
/* *out (zeroed by the caller) = the first n_positions of source. */
qaio_status kv_fork(kv_sequence *out, const kv_sequence *source, size_t n_positions, qaio_error *err);
/* Appends n positions of a counted block; the sequence ends at a block's end. */
qaio_status kv_share(kv_sequence *s, kv_block *block, size_t n, qaio_error *err);
/* Forgets the positions from n_positions on. */
void kv_truncate(kv_pool *pool, kv_sequence *s, size_t n_positions);
void kv_clear(kv_pool *pool, kv_sequence *s);

kv_block *kv_block_acquire(kv_block *block); /* counted: the block itself */
void kv_block_release(kv_pool *pool, kv_block *block);

#endif
