/* The prefix cache, a short list searched whole: comparing 128 lists of a few hundred tokens costs microseconds beside a step. */
#include "engine/cache.h"

#include <string.h>

#include "base/mem.h"

static size_t common(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b) {
    size_t n = n_a < n_b ? n_a : n_b, i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

size_t cache_find(prefix_cache *c, const int32_t *ids, size_t n, kv_sequence *out) {
    cache_entry *best = NULL;
    size_t best_n = 0;
    for (size_t i = 0; i < c->n; i++) {
        size_t shared = common(c->entries[i].ids, c->entries[i].n, ids, n - 1);
        if (shared > best_n) best_n = shared, best = &c->entries[i];
    }
    if (!best || kv_fork(out, &best->kv, best_n, NULL)) return 0;
    best->last_use = ++c->clock;
    return best_n;
}

static void drop(prefix_cache *c, kv_pool *pool, size_t i) {
    mem_free(c->entries[i].ids);
    kv_clear(pool, &c->entries[i].kv);
    c->entries[i] = c->entries[--c->n];
}

bool cache_evict(prefix_cache *c, kv_pool *pool) {
    size_t oldest = c->n;
    for (size_t i = 0; i < c->n; i++)
        if (!c->entries[i].is_pinned && (oldest == c->n || c->entries[i].last_use < c->entries[oldest].last_use)) oldest = i;
    if (oldest == c->n) return false;
    drop(c, pool, oldest);
    return true;
}

/* An unpinned entry that the new one begins with is superseded by it. */
static void drop_superseded(prefix_cache *c, kv_pool *pool, const int32_t *ids, size_t n) {
    for (size_t i = c->n; i-- > 0;) {
        const cache_entry *e = &c->entries[i];
        if (!e->is_pinned && e->n <= n && common(e->ids, e->n, ids, n) == e->n) drop(c, pool, i);
    }
}

bool cache_put(prefix_cache *c, kv_pool *pool, const int32_t *ids, size_t n, kv_sequence *kv, bool pin) {
    drop_superseded(c, pool, ids, n);
    bool has_room = n > 0 && (c->n < CACHE_MAX_ENTRIES || cache_evict(c, pool));
    int32_t *copy = has_room ? mem_array(n, sizeof *copy) : NULL;
    if (!copy) {
        kv_clear(pool, kv);
        return false;
    }
    memcpy(copy, ids, n * sizeof *copy);
    kv_truncate(pool, kv, n);
    c->entries[c->n++] = (cache_entry){copy, n, *kv, pin, ++c->clock};
    *kv = (kv_sequence){0};
    return true;
}

void cache_clear(prefix_cache *c, kv_pool *pool) {
    while (c->n) drop(c, pool, c->n - 1);
}

bool cache_has_pinned(const prefix_cache *c, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < c->n; i++)
        if (c->entries[i].is_pinned && c->entries[i].n == n && common(c->entries[i].ids, n, ids, n) == n) return true;
    return false;
}
