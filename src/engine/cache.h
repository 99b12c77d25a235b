/* The prefix cache: token lists whose KV is kept.  A prompt takes over the longest prefix it shares with any of them. */
#ifndef QAIO_ENGINE_CACHE_H
#define QAIO_ENGINE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/kv.h"

#define CACHE_MAX_ENTRIES 128

typedef struct cache_entry {
    int32_t *ids; /* owned */
    size_t n;
    kv_sequence kv; /* n positions */
    bool is_pinned;
    uint64_t last_use;
} cache_entry;

typedef struct prefix_cache {
    cache_entry entries[CACHE_MAX_ENTRIES];
    size_t n;
    uint64_t clock;
} prefix_cache;

/* Forks the longest cached prefix of ids[0 .. n-1) (at least the last token is always computed) into *out; its length, 0 when there is
 * none. */
size_t cache_find(prefix_cache *c, const int32_t *ids, size_t n, kv_sequence *out);
/* Takes the sequence over (moved; cleared when it is not worth keeping).  False: a failed allocation, or only pinned ones, and nothing
 * was kept. */
bool cache_put(prefix_cache *c, kv_pool *pool, const int32_t *ids, size_t n, kv_sequence *kv, bool pin);
bool cache_has_pinned(const prefix_cache *c, const int32_t *ids, size_t n);
/* Drops the entry unused for longest; false when only pinned ones are left. */
bool cache_evict(prefix_cache *c, kv_pool *pool);
void cache_clear(prefix_cache *c, kv_pool *pool);

#endif
