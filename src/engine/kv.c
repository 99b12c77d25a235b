/* KV blocks and sequences. */
#include "engine/kv.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/kernels.h"

/* Blocks are made many at a time, so that they lie on huge pages: attention reads a few KiB of each block, and with small pages each such
 * piece would cost an entry of the TLB.  Memory is only taken when it is written. */
#define SLAB_BYTES ((size_t)32 << 20)

struct kv_block {
    size_t n_references;
    void *data; /* [pool->block_bytes] */
    kv_block *next_free;
};

struct kv_slab {
    kv_slab *next;
    void *data;
    size_t data_bytes;
    kv_block blocks[];
};

void kv_pool_init(kv_pool *pool, size_t block_bytes, size_t max_blocks) {
    *pool = (kv_pool){.block_bytes = block_bytes, .max_blocks = max_blocks};
}

void kv_pool_deinit(kv_pool *pool) {
    while (pool->slabs) {
        kv_slab *slab = pool->slabs;
        pool->slabs = slab->next;
        mem_pages_free(slab->data, slab->data_bytes);
        mem_free(slab);
    }
}

/* More free blocks, at least one; the budget is not spent. */
static qaio_status add_slab(kv_pool *pool, qaio_error *err) {
    size_t n = SLAB_BYTES / pool->block_bytes, left = pool->max_blocks - pool->n_made;
    n = n < 1 ? 1 : n > left ? left : n;
    kv_slab *slab = mem_zalloc(sizeof *slab + n * sizeof(kv_block));
    if (!slab || !(slab->data = mem_pages(n * pool->block_bytes))) {
        mem_free(slab);
        return error_memory(err);
    }
    slab->data_bytes = n * pool->block_bytes;
    for (size_t i = n; i-- > 0;) {
        slab->blocks[i] = (kv_block){.data = (uint8_t *)slab->data + i * pool->block_bytes, .next_free = pool->free};
        pool->free = &slab->blocks[i];
    }
    slab->next = pool->slabs;
    pool->slabs = slab;
    pool->n_made += n;
    return QAIO_OK;
}

static qaio_status block_new(kv_pool *pool, kv_block **out, qaio_error *err) {
    if (pool->n_used == pool->max_blocks) return error_set(err, QAIO_ERR_LIMIT, "the KV memory of %zu blocks is in use", pool->max_blocks);
    qaio_status status = pool->free ? QAIO_OK : add_slab(pool, err);
    if (status) return status;
    kv_block *b = pool->free;
    pool->free = b->next_free;
    b->n_references = 1;
    pool->n_used++;
    *out = b;
    return QAIO_OK;
}

kv_block *kv_block_acquire(kv_block *b) {
    b->n_references++;
    return b;
}

void kv_block_release(kv_pool *pool, kv_block *b) {
    if (--b->n_references) return;
    b->next_free = pool->free;
    pool->free = b;
    pool->n_used--;
}

static qaio_status grow(kv_sequence *s, size_t capacity, qaio_error *err) {
    if (capacity <= s->capacity) return QAIO_OK;
    if (capacity < s->capacity * 2) capacity = s->capacity * 2;
    kv_block **blocks = mem_realloc(s->blocks, capacity, sizeof(kv_block *));
    if (blocks) s->blocks = blocks;
    void **data = blocks ? mem_realloc(s->data, capacity, sizeof(void *)) : NULL;
    if (!data) return error_memory(err);
    s->data = data;
    s->capacity = capacity;
    return QAIO_OK;
}

static void set_block(kv_sequence *s, size_t i, kv_block *b) {
    s->blocks[i] = b;
    s->data[i] = b->data;
}

qaio_status kv_reserve(kv_pool *pool, kv_sequence *s, size_t n, qaio_error *err) {
    size_t need = (s->n_positions + n + KV_BLOCK - 1) / KV_BLOCK, first = s->n_positions / KV_BLOCK;
    qaio_status status = grow(s, need, err);
    if (status) return status;
    if (first < s->n_blocks && s->blocks[first]->n_references > 1) {
        kv_block *copy = NULL;
        if ((status = block_new(pool, &copy, err))) return status;
        memcpy(copy->data, s->data[first], pool->block_bytes);
        kv_block_release(pool, s->blocks[first]);
        set_block(s, first, copy);
    }
    while (s->n_blocks < need) {
        kv_block *b = NULL;
        if ((status = block_new(pool, &b, err))) return status;
        set_block(s, s->n_blocks++, b);
    }
    return QAIO_OK;
}

qaio_status kv_fork(kv_sequence *out, const kv_sequence *source, size_t n_positions, qaio_error *err) {
    size_t n = (n_positions + KV_BLOCK - 1) / KV_BLOCK;
    qaio_status status = grow(out, n, err);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        set_block(out, i, kv_block_acquire(source->blocks[i]));
    }
    out->n_blocks = n;
    out->n_positions = n_positions;
    return QAIO_OK;
}

qaio_status kv_share(kv_sequence *s, kv_block *block, size_t n, qaio_error *err) {
    qaio_status status = grow(s, s->n_blocks + 1, err);
    if (status) return status;
    set_block(s, s->n_blocks++, kv_block_acquire(block));
    s->n_positions += n;
    return QAIO_OK;
}

void kv_truncate(kv_pool *pool, kv_sequence *s, size_t n_positions) {
    size_t keep = (n_positions + KV_BLOCK - 1) / KV_BLOCK;
    while (s->n_blocks > keep) kv_block_release(pool, s->blocks[--s->n_blocks]);
    s->n_positions = n_positions;
}

void kv_clear(kv_pool *pool, kv_sequence *s) {
    kv_truncate(pool, s, 0);
    mem_free(s->blocks);
    mem_free(s->data);
    *s = (kv_sequence){0};
}
