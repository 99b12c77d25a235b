/* The prefix tree. */
#include "engine/cache.h"

#include <string.h>

#include "base/mem.h"

/* ---- lists, the latest used first ---- */

static cache_list *list_of(prefix_cache *c, const cache_node *node) { return node->is_pinned ? &c->pinned : &c->plain; }

static void list_remove(cache_list *list, cache_node *node) {
    *(node->newer ? &node->newer->older : &list->newest) = node->older;
    *(node->older ? &node->older->newer : &list->oldest) = node->newer;
}

static void list_add(cache_list *list, cache_node *node) {
    node->newer = NULL;
    node->older = list->newest;
    *(list->newest ? &list->newest->newer : &list->oldest) = node;
    list->newest = node;
}

/* Upwards, so that a node stands before those below it: the last of a list is a leaf. */
static void touch(prefix_cache *c, cache_node *node) {
    for (; node != &c->root; node = node->parent) {
        list_remove(list_of(c, node), node);
        list_add(list_of(c, node), node);
    }
}

/* ---- one level of the tree ---- */

static size_t common(const cache_node *node, const int32_t *ids, size_t n) {
    size_t i = 0;
    if (n > node->n) n = node->n;
    while (i < n && node->ids[i] == ids[i]) i++;
    return i;
}

static bool is_before(const cache_node *node, const int32_t *ids, size_t n) {
    size_t i = common(node, ids, n);
    return i < n && (i == node->n || node->ids[i] < ids[i]);
}

/* The place among the children where ids stand or would stand. */
static size_t place_of(const cache_node *parent, const int32_t *ids, size_t n) {
    size_t low = 0, high = parent->n_children;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(parent->children[middle], ids, n))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The child that shares the longest beginning with ids: a neighbour of their place in the order.  NULL, or *shared > 0. */
static cache_node *best_child(const cache_node *parent, const int32_t *ids, size_t n, size_t *shared) {
    size_t place = place_of(parent, ids, n);
    cache_node *best = NULL;
    *shared = 0;
    for (size_t i = place ? place - 1 : 0; i <= place && i < parent->n_children; i++) {
        size_t k = common(parent->children[i], ids, n);
        if (k > *shared) *shared = k, best = parent->children[i];
    }
    return best;
}

static cache_node *add_child(prefix_cache *c, cache_node *parent, const int32_t *ids, size_t n) {
    if (parent->n_children == parent->capacity) {
        size_t capacity = parent->capacity ? parent->capacity * 2 : 1; /* most have one */
        cache_node **children = mem_realloc(parent->children, capacity, sizeof(cache_node *));
        if (!children) return NULL;
        parent->children = children;
        parent->capacity = capacity;
    }
    cache_node *node = mem_zalloc(sizeof *node);
    if (!node) return NULL;
    size_t place = place_of(parent, ids, n);
    memmove(parent->children + place + 1, parent->children + place, (parent->n_children++ - place) * sizeof(cache_node *));
    parent->children[place] = node;
    node->parent = parent;
    list_add(&c->plain, node);
    c->n_blocks++;
    return node;
}

/* The child that holds these tokens: one that is there, one that they continue (in place: nothing can stand between the two in the order),
 * or a new one.  NULL: a failed allocation. */
static cache_node *child_for(prefix_cache *c, kv_pool *pool, cache_node *parent, const int32_t *ids, size_t n, kv_block *block) {
    size_t shared;
    cache_node *node = best_child(parent, ids, n, &shared);
    if (node && shared == n) return node;
    if (node && shared == node->n)
        kv_block_release(pool, node->block);
    else if (!(node = add_child(c, parent, ids, n)))
        return NULL;
    node->block = kv_block_acquire(block);
    node->n = n;
    memcpy(node->ids, ids, n * sizeof *ids);
    return node;
}

static void pin(prefix_cache *c, cache_node *node) {
    if (node->is_pinned) return;
    list_remove(&c->plain, node);
    node->is_pinned = true;
    list_add(&c->pinned, node);
    c->n_pinned++;
}

/* A leaf. */
static void drop(prefix_cache *c, kv_pool *pool, cache_node *node) {
    cache_node *parent = node->parent;
    size_t place = place_of(parent, node->ids, node->n);
    memmove(parent->children + place, parent->children + place + 1, (--parent->n_children - place) * sizeof(cache_node *));
    list_remove(list_of(c, node), node);
    c->n_blocks--;
    c->n_pinned -= node->is_pinned;
    kv_block_release(pool, node->block);
    mem_free(node->children);
    mem_free(node);
}

/* ---- paths ---- */

size_t cache_find(prefix_cache *c, const int32_t *ids, size_t n, kv_sequence *out) {
    cache_node *at = &c->root;
    size_t done = 0, shared = KV_BLOCK;
    while (done + 1 < n && shared == KV_BLOCK) {
        cache_node *child = best_child(at, ids + done, n - 1 - done, &shared);
        if (!child || kv_share(out, child->block, shared, NULL)) break;
        done += shared;
        at = child;
    }
    touch(c, at);
    return done;
}

bool cache_put(prefix_cache *c, kv_pool *pool, const int32_t *ids, size_t n, kv_sequence *kv, bool is_pinned) {
    cache_node *at = &c->root;
    size_t done = 0;
    while (done < n) {
        size_t part = n - done < KV_BLOCK ? n - done : KV_BLOCK;
        cache_node *child = child_for(c, pool, at, ids + done, part, kv->blocks[done / KV_BLOCK]);
        if (!child) break;
        if (is_pinned) pin(c, child);
        at = child;
        done += part;
    }
    touch(c, at);
    kv_clear(pool, kv);
    return done == n;
}

bool cache_has_pinned(const prefix_cache *c, const int32_t *ids, size_t n) {
    const cache_node *at = &c->root;
    for (size_t done = 0, part; done < n; done += part) {
        size_t shared;
        part = n - done < KV_BLOCK ? n - done : KV_BLOCK;
        at = best_child(at, ids + done, part, &shared);
        if (!at || shared < part || !at->is_pinned) return false;
    }
    return true;
}

bool cache_evict(prefix_cache *c, kv_pool *pool) {
    cache_node *node = c->plain.oldest ? c->plain.oldest : c->pinned.oldest;
    if (!node) return false;
    drop(c, pool, node);
    c->n_evicted++;
    return true;
}

void cache_clear(prefix_cache *c, kv_pool *pool) {
    while (c->plain.oldest) drop(c, pool, c->plain.oldest);
    while (c->pinned.oldest) drop(c, pool, c->pinned.oldest);
    mem_free(c->root.children);
    *c = (prefix_cache){0};
}
