/* The prefix cache: a tree over token lists whose KV is kept, one KV block a node, so that what begins alike is kept once.
 *
 *   root ── [你是一个 …16 tokens] ── [16 tokens] ── [9 tokens]          a task's prompt, pinned
 *                                └── [16 tokens] ── [16 tokens] ── …   a conversation
 *                                               └── [4 tokens]         another that began the same way
 *
 * A prompt takes over the longest prefix it shares with any path, to the token.  Memory comes back leaf by leaf, the longest unused first;
 * pinned nodes go last, when nothing else is left.  Not thread-safe: the engine's thread owns it. */
#ifndef QAIO_ENGINE_CACHE_H
#define QAIO_ENGINE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/kv.h"
#include "kernels/kernels.h"

typedef struct cache_node cache_node;

/* No node's tokens are the beginning of a sibling's; only full nodes have children; a node was used at least as lately as its children; the
 * nodes above a pinned one are pinned. */
struct cache_node {
    kv_block *block; /* counted */
    cache_node *parent;
    cache_node **children; /* sorted by their tokens */
    size_t n_children, capacity;
    cache_node *newer, *older; /* in its list */
    bool is_pinned;
    size_t n; /* positions of the block that count */
    int32_t ids[KV_BLOCK];
};

typedef struct cache_list {
    cache_node *newest, *oldest;
} cache_list;

typedef struct prefix_cache { /* begins as {0} and stays where it is */
    cache_node root;          /* has no block */
    cache_list plain, pinned;
    size_t n_blocks, n_pinned; /* n_pinned of the n_blocks */
    uint64_t n_evicted;
} prefix_cache;

/* Shares the longest cached prefix of ids[0 .. n-1) (at least the last token is always computed) with *out, which is empty; its length, 0
 * when there is none. */
size_t cache_find(prefix_cache *c, const int32_t *ids, size_t n, kv_sequence *out);
/* Keeps the first n positions of the sequence, which is moved (cleared, also on failure).  False: a failed allocation, and perhaps only a
 * beginning was kept. */
bool cache_put(prefix_cache *c, kv_pool *pool, const int32_t *ids, size_t n, kv_sequence *kv, bool pin);
bool cache_has_pinned(const prefix_cache *c, const int32_t *ids, size_t n);
/* Drops one block; false when none is left. */
bool cache_evict(prefix_cache *c, kv_pool *pool);
void cache_clear(prefix_cache *c, kv_pool *pool);

#endif
