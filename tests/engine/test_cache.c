/* KV sequences and the prefix tree under random schedules.  A position's "KV" is a hash of all tokens up to it, as a model's depends on all
 * of them: what a sequence holds is compared with what its tokens say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/cache.h"

enum { BLOCK_BYTES = KV_BLOCK * sizeof(uint64_t), MAX_TOKENS = 100, N_SEQUENCES = 12, N_LISTS = 400, N_SHARED = 20 };

typedef struct sequence {
    int32_t ids[MAX_TOKENS];
    kv_sequence kv; /* of the first kv.n_positions ids */
} sequence;

typedef struct list {
    int32_t ids[MAX_TOKENS];
    size_t n;
} list;

typedef struct world {
    kv_pool pool;
    prefix_cache cache;
    sequence sequences[N_SEQUENCES];
    list put[N_LISTS]; /* everything ever put */
    size_t n_put;
    unsigned seed;
} world;

static size_t roll(world *w, size_t n) { return (size_t)rand_r(&w->seed) % n; }

static uint64_t *slot(const kv_sequence *kv, size_t position) { return (uint64_t *)kv->data[position / KV_BLOCK] + position % KV_BLOCK; }

static void check(const sequence *s) {
    uint64_t hash = HASH_BEGIN;
    for (size_t i = 0; i < s->kv.n_positions; i++) {
        hash = hash_bytes(hash, &s->ids[i], sizeof s->ids[i]);
        if (*slot(&s->kv, i) != hash) fail_msg("position %zu holds another text's KV", i);
    }
}

/* Few tokens and many common beginnings. */
static void make_ids(world *w, int32_t *ids) {
    static const int32_t runs[4] = {7, 8, 7, 9};
    size_t shared = roll(w, 4) ? roll(w, MAX_TOKENS) : 0;
    for (size_t i = 0; i < MAX_TOKENS; i++) ids[i] = i < shared ? runs[i / N_SHARED % 4] : (int32_t)roll(w, 3);
}

/* As the engine's step does: room, evicting for it, then the rows are written. */
static void extend(world *w, sequence *s, size_t n) {
    qaio_status status;
    while ((status = kv_reserve(&w->pool, &s->kv, n, NULL)) == QAIO_ERR_LIMIT && cache_evict(&w->cache, &w->pool)) continue;
    if (status) return;
    uint64_t hash = HASH_BEGIN;
    for (size_t i = 0; i < s->kv.n_positions + n; i++) {
        hash = hash_bytes(hash, &s->ids[i], sizeof s->ids[i]);
        if (i >= s->kv.n_positions) *slot(&s->kv, i) = hash;
    }
    s->kv.n_positions += n;
}

static size_t shared_with_any(const world *w, const int32_t *ids, size_t n) {
    size_t best = 0;
    for (size_t i = 0; i < w->n_put; i++) {
        size_t k = 0;
        while (k < n && k < w->put[i].n && w->put[i].ids[k] == ids[k]) k++;
        if (k > best) best = k;
    }
    return best;
}

static void put(world *w, sequence *s, bool pin) {
    list *l = &w->put[w->n_put++];
    memcpy(l->ids, s->ids, sizeof s->ids);
    l->n = s->kv.n_positions;
    bool is_kept = cache_put(&w->cache, &w->pool, s->ids, s->kv.n_positions, &s->kv, pin);
    if (is_kept && pin) assert_true(cache_has_pinned(&w->cache, l->ids, l->n));
    assert_int_equal(s->kv.n_positions + s->kv.n_blocks, 0);
}

/* Every order that the tree promises to keep. */
static size_t check_node(const cache_node *node) {
    size_t n = 0;
    for (size_t i = 0; i < node->n_children; i++) {
        const cache_node *child = node->children[i];
        assert_ptr_equal(child->parent, node);
        assert_true(child->n > 0 && (child->n == KV_BLOCK || child->n_children == 0));
        if (child->is_pinned && node->block) assert_true(node->is_pinned);
        n += 1 + check_node(child);
        if (i == 0) continue;
        const cache_node *before = node->children[i - 1];
        size_t k = 0;
        while (k < before->n && k < child->n && before->ids[k] == child->ids[k]) k++;
        assert_true(k < before->n && k < child->n && before->ids[k] < child->ids[k]);
    }
    return n;
}

static void one_action(world *w) {
    sequence *s = &w->sequences[roll(w, N_SEQUENCES)], *other = &w->sequences[roll(w, N_SEQUENCES)];
    switch (roll(w, 7)) {
    case 0: /* a new prompt */
        kv_clear(&w->pool, &s->kv);
        make_ids(w, s->ids);
        s->kv.n_positions = cache_find(&w->cache, s->ids, 1 + roll(w, MAX_TOKENS), &s->kv);
        break;
    case 1:
    case 2:
        if (s->kv.n_positions < MAX_TOKENS) extend(w, s, 1 + roll(w, MAX_TOKENS - s->kv.n_positions));
        break;
    case 3:
        if (s == other) break;
        kv_clear(&w->pool, &other->kv);
        memcpy(other->ids, s->ids, sizeof s->ids);
        kv_fork(&other->kv, &s->kv, roll(w, s->kv.n_positions + 1), NULL);
        for (size_t i = other->kv.n_positions; i < MAX_TOKENS; i++) other->ids[i] = (int32_t)roll(w, 3);
        break;
    case 4:
        kv_truncate(&w->pool, &s->kv, roll(w, s->kv.n_positions + 1));
        break;
    case 5:
        if (w->n_put < N_LISTS) put(w, s, roll(w, 8) == 0);
        break;
    default:
        if (roll(w, 3) == 0) cache_evict(&w->cache, &w->pool);
    }
}

static void check_world(const world *w) {
    assert_int_equal(check_node(&w->cache.root), w->cache.n_blocks);
    assert_true(w->cache.n_pinned <= w->cache.n_blocks && w->pool.n_used <= w->pool.max_blocks);
    for (size_t i = 0; i < N_SEQUENCES; i++) check(&w->sequences[i]);
}

static void close_world(world *w) {
    for (size_t i = 0; i < N_SEQUENCES; i++) kv_clear(&w->pool, &w->sequences[i].kv);
    assert_int_equal(w->pool.n_used, w->cache.n_blocks);
    cache_clear(&w->cache, &w->pool);
    assert_int_equal(w->pool.n_used, 0);
    kv_pool_deinit(&w->pool);
}

static void any_schedule_keeps_every_sequence_and_frees_every_block(void **state) {
    (void)state;
    static world w;
    for (unsigned seed = 1; seed <= 60; seed++) {
        w = (world){.seed = seed};
        kv_pool_init(&w.pool, BLOCK_BYTES, seed % 3 ? 20 : 90); /* little memory: evicted all the time */
        for (size_t i = 0; i < 400; i++) {
            one_action(&w);
            check_world(&w);
        }
        close_world(&w);
    }
}

static void a_failed_allocation_loses_cached_tokens_and_nothing_else(void **state) {
    (void)state;
    static world w;
    for (unsigned seed = 1; seed <= 200; seed++) {
        w = (world){.seed = seed};
        kv_pool_init(&w.pool, BLOCK_BYTES, 40);
        for (size_t i = 0; i < 120; i++) {
            mem_fail_after(roll(&w, 4) ? -1 : (long)roll(&w, 6));
            one_action(&w);
            mem_fail_after(-1);
            check_world(&w);
        }
        close_world(&w);
    }
}

static void without_eviction_the_longest_common_beginning_is_found(void **state) {
    (void)state;
    static world w;
    w = (world){.seed = 3};
    kv_pool_init(&w.pool, BLOCK_BYTES, 1 << 20);
    sequence *s = &w.sequences[0];
    for (size_t i = 0; i < N_LISTS; i++) {
        make_ids(&w, s->ids);
        size_t n = 1 + roll(&w, MAX_TOKENS), want = shared_with_any(&w, s->ids, n - 1);
        assert_int_equal(cache_find(&w.cache, s->ids, n, &s->kv), want);
        check(s);
        if (s->kv.n_positions < n) extend(&w, s, n - s->kv.n_positions);
        put(&w, s, false);
    }
    check_world(&w);
    size_t tokens = 0;
    for (size_t i = 0; i < w.n_put; i++) tokens += w.put[i].n;
    assert_true(w.cache.n_blocks < tokens / KV_BLOCK); /* beginnings are kept once */
    close_world(&w);
}

/* Puts n copies of one token. */
static void put_run(world *w, int32_t token, size_t n, bool pin) {
    sequence *s = &w->sequences[0];
    for (size_t i = 0; i < MAX_TOKENS; i++) s->ids[i] = token;
    s->kv.n_positions = cache_find(&w->cache, s->ids, n, &s->kv);
    extend(w, s, n - s->kv.n_positions);
    put(w, s, pin);
}

static size_t found_of(world *w, int32_t token) {
    sequence *s = &w->sequences[0];
    for (size_t i = 0; i < MAX_TOKENS; i++) s->ids[i] = token;
    size_t n = cache_find(&w->cache, s->ids, MAX_TOKENS, &s->kv);
    s->kv.n_positions = n;
    kv_clear(&w->pool, &s->kv);
    return n;
}

static void the_ends_of_what_is_longest_unused_go_first_and_pinned_ones_last(void **state) {
    (void)state;
    static world w;
    w = (world){.seed = 1};
    kv_pool_init(&w.pool, BLOCK_BYTES, 16);
    put_run(&w, 1, 40, true);
    put_run(&w, 2, 40, false);
    put_run(&w, 3, 40, false);
    assert_int_equal(found_of(&w, 2), 40); /* used later than 3 */
    cache_evict(&w.cache, &w.pool);
    assert_int_equal(w.cache.n_evicted, 1);
    sequence *s = &w.sequences[0];
    for (size_t i = 0; i < MAX_TOKENS; i++) s->ids[i] = 3;
    cache_node *leaf = w.cache.plain.oldest;
    assert_true(leaf->ids[0] == 3 && leaf->n == KV_BLOCK); /* its end of 8 is gone */
    while (w.cache.n_blocks > w.cache.n_pinned) cache_evict(&w.cache, &w.pool);
    assert_int_equal(found_of(&w, 2) + found_of(&w, 3), 0);
    assert_int_equal(found_of(&w, 1), 40);
    put_run(&w, 1, 44, false); /* continues the pinned end in place */
    assert_int_equal(w.cache.n_blocks, 3);
    assert_int_equal(w.cache.n_pinned, 3);
    while (cache_evict(&w.cache, &w.pool)) continue;
    assert_int_equal(w.pool.n_used, 0);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_schedule_keeps_every_sequence_and_frees_every_block),
        cmocka_unit_test(a_failed_allocation_loses_cached_tokens_and_nothing_else),
        cmocka_unit_test(without_eviction_the_longest_common_beginning_is_found),
        cmocka_unit_test(the_ends_of_what_is_longest_unused_go_first_and_pinned_ones_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
