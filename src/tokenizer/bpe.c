/* A word is a doubly linked list of symbols; each knows the merge with its right neighbour.  A heap of (rank, position) yields the next
 * merge; an entry whose rank is no longer that symbol's is stale and dropped. */
#include "tokenizer/bpe.h"

#include "base/mem.h"

#define NOWHERE UINT32_MAX

typedef struct bpe_symbol {
    int32_t id;
    uint32_t prev, next;
    uint32_t rank; /* of the merge with the symbol at next; BPE_NO_RANK: there is none, or this symbol was merged away */
    int32_t merged;
} bpe_symbol;

qaio_status bpe_merges_init(bpe_merges *m, size_t n_merges, qaio_error *err) {
    size_t n_slots = 16;
    while (n_slots / 3 * 2 < n_merges) n_slots *= 2;
    bpe_merge *slots = mem_realloc(NULL, n_slots, sizeof *slots);
    if (!slots) return error_memory(err);
    for (size_t i = 0; i < n_slots; i++) slots[i] = (bpe_merge){.rank = BPE_NO_RANK};
    *m = (bpe_merges){slots, n_slots};
    return QAIO_OK;
}

void bpe_merges_deinit(bpe_merges *m) {
    mem_free(m->slots);
    *m = (bpe_merges){0};
}

static uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

static size_t first_slot(const bpe_merges *m, uint64_t pair) {
    uint64_t hash = pair * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(hash ^ hash >> 32) & (m->n_slots - 1);
}

/* The slot of the pair, or the empty one where it would stand. */
static bpe_merge *find(const bpe_merges *m, uint64_t pair) {
    size_t i = first_slot(m, pair);
    while (m->slots[i].rank != BPE_NO_RANK && m->slots[i].pair != pair) i = (i + 1) & (m->n_slots - 1);
    return &m->slots[i];
}

void bpe_merges_prefetch(const bpe_merges *m, int32_t left, int32_t right) {
    __builtin_prefetch(&m->slots[first_slot(m, pair_of(left, right))]);
}

void bpe_merges_put(bpe_merges *m, int32_t left, int32_t right, uint32_t rank, int32_t merged) {
    *find(m, pair_of(left, right)) = (bpe_merge){pair_of(left, right), rank, merged};
}

void bpe_scratch_deinit(bpe_scratch *s) {
    mem_free(s->symbols);
    mem_free(s->heap);
    *s = (bpe_scratch){0};
}

static qaio_status reserve(bpe_scratch *s, size_t n, qaio_error *err) {
    if (n <= s->capacity) return QAIO_OK;
    size_t capacity = n + n / 2; /* n is below 2^32 */
    bpe_scratch_deinit(s);
    s->symbols = mem_realloc(NULL, capacity, sizeof *s->symbols);
    s->heap = mem_realloc(NULL, capacity, 2 * sizeof *s->heap); /* n - 1 pairs at first; each of n - 1 merges takes one out, puts two in */
    if (!s->symbols || !s->heap) {
        bpe_scratch_deinit(s);
        return error_memory(err);
    }
    s->capacity = capacity;
    return QAIO_OK;
}

static void heap_up(uint64_t *heap, size_t i) {
    uint64_t entry = heap[i];
    for (; i > 0 && heap[(i - 1) / 2] > entry; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = entry;
}

static void heap_down(uint64_t *heap, size_t n, size_t i) {
    uint64_t entry = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= entry) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = entry;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n) {
    uint64_t top = heap[0];
    heap[0] = heap[--*n];
    if (*n) heap_down(heap, *n, 0);
    return top;
}

/* Looks up the merge of the symbol at `at` with its right neighbour; true when there is one. */
static bool pair_with_next(const bpe_merges *m, bpe_symbol *symbols, uint32_t at) {
    bpe_symbol *s = &symbols[at];
    s->rank = BPE_NO_RANK;
    if (s->next == NOWHERE) return false;
    const bpe_merge *merge = find(m, pair_of(s->id, symbols[s->next].id));
    s->rank = merge->rank;
    s->merged = merge->merged;
    return s->rank != BPE_NO_RANK;
}

static size_t start(const bpe_merges *m, const int32_t *byte_ids, const char *word, uint32_t n, bpe_scratch *scratch) {
    bpe_symbol *symbols = scratch->symbols;
    size_t n_heap = 0;
    for (uint32_t i = 0; i < n; i++)
        symbols[i] = (bpe_symbol){
            .id = byte_ids[(unsigned char)word[i]], .prev = i ? i - 1 : NOWHERE, .next = i + 1 < n ? i + 1 : NOWHERE, .rank = BPE_NO_RANK};
    for (uint32_t i = 0; i < n; i++)
        if (pair_with_next(m, symbols, i)) scratch->heap[n_heap++] = (uint64_t)symbols[i].rank << 32 | i;
    for (size_t i = n_heap / 2; i-- > 0;) heap_down(scratch->heap, n_heap, i);
    return n_heap;
}

static void merge_all(const bpe_merges *m, bpe_scratch *scratch, size_t n_heap) {
    bpe_symbol *symbols = scratch->symbols;
    uint64_t *heap = scratch->heap;
    while (n_heap) {
        uint64_t entry = heap_pop(heap, &n_heap);
        uint32_t at = (uint32_t)entry;
        bpe_symbol *left = &symbols[at];
        if (left->rank != entry >> 32) continue;
        bpe_symbol *right = &symbols[left->next];
        left->id = left->merged;
        left->next = right->next;
        right->rank = BPE_NO_RANK;
        if (left->next != NOWHERE) symbols[left->next].prev = at;
        uint32_t changed[2] = {left->prev, at};
        for (int i = 0; i < 2; i++) {
            if (changed[i] == NOWHERE || !pair_with_next(m, symbols, changed[i])) continue;
            heap[n_heap] = (uint64_t)symbols[changed[i]].rank << 32 | changed[i];
            heap_up(heap, n_heap++);
        }
    }
}

qaio_status bpe_encode_word(const bpe_merges *m, const int32_t *byte_ids, const char *word, size_t n, bpe_scratch *scratch, token_list *out,
                            qaio_error *err) {
    if (n == 1) return token_list_append(out, &byte_ids[(unsigned char)word[0]], 1, err);
    if (n >= NOWHERE) return error_set(err, QAIO_ERR_LIMIT, "a word of %zu bytes, at most %u", n, NOWHERE - 1);
    qaio_status status = reserve(scratch, n, err);
    if (status) return status;
    merge_all(m, scratch, start(m, byte_ids, word, (uint32_t)n, scratch));
    for (uint32_t at = 0; at != NOWHERE && !status; at = scratch->symbols[at].next)
        status = token_list_append(out, &scratch->symbols[at].id, 1, err);
    return status;
}
