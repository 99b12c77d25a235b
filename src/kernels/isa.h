/* What the versions for the instruction sets share: constants of the formulas and of the packed layout, and how they enter the table. */
#ifndef QAIO_KERNELS_ISA_H
#define QAIO_KERNELS_ISA_H

#include "kernels/kernels.h"

/* Each overrides the entries it has in a table that holds the next lower version. */
void kernels_add_avx2(kernels *table);
void kernels_add_avxvnni(kernels *table);
void kernels_add_avx512(kernels *table);
void kernels_add_amx(kernels *table);
void kernels_add_neon(kernels *table);

/* Loops over a register tile must vanish, or its arrays go to memory.  Not under a sanitizer, whose checks would multiply with them. */
#if defined(QAIO_SANITIZED)
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { LINE_BYTES = 64, PREFETCH_BYTES = 2048 };

/* With one activation row the weights come from memory as fast as they are used; asking for them this far ahead helps where a block is
 * small, and at the ends of pages, where hardware stops.  A prefetch past the end is harmless. */
ALWAYS_INLINE void prefetch_ahead(const uint8_t *w, size_t n_bytes) {
    UNROLL for (size_t i = 0; i < n_bytes; i += LINE_BYTES) __builtin_prefetch((const void *)((uintptr_t)w + PREFETCH_BYTES + i), 0, 3);
}

/* One head of one row of an attention.  Consecutive ones go through K and V together. */
typedef struct query {
    const float *q;
    float *out;
    size_t n_positions;
} query;

/* The i-th: rows in order, the heads of a row in order.  n_positions never decreases. */
ALWAYS_INLINE query query_at(const attention_args *a, size_t i) {
    size_t at = i / a->n_heads * a->row_stride + i % a->n_heads * a->head_dim;
    return (query){a->q + at, a->out + at, a->n_positions + i / a->n_heads};
}

/* How many of a query's positions lie in the tile that begins at `first`. */
ALWAYS_INLINE size_t in_tile(const query *q, size_t first) {
    size_t rest = q->n_positions > first ? q->n_positions - first : 0;
    return rest < ATTENTION_TILE ? rest : ATTENTION_TILE;
}

ALWAYS_INLINE size_t element_bytes(dtype kv_type) { return kv_type == DTYPE_F32 ? 4 : 2; }

/* Asks for a piece of a KV block that comes KV_AHEAD blocks later, into the first-level cache: between the blocks of one head lie those of
 * all other heads and layers, and no hardware prefetcher finds its way there. */
ALWAYS_INLINE void prefetch_kv(const void *const *blocks, size_t block, size_t byte) {
    __builtin_prefetch((const void *)((uintptr_t)blocks[block + KV_AHEAD] + byte), 0, 3);
}

/* Bytes of one packed block: 16 f16 scales, then 8 or 4 vectors of 64 bytes. */
#define SCALE_BYTES    (PACK_ROWS * 2)
#define Q8_BLOCK_BYTES (SCALE_BYTES + PACK_ROWS * 32)
#define Q4_BLOCK_BYTES (SCALE_BYTES + PACK_ROWS * 16)

/* A block of activations whose largest magnitude is below this counts as zero: 127/amax stays finite. */
#define QUANT_TINY 0x1p-100f

/* exp_approx: n = rint(x/ln 2) by adding and subtracting EXP_MAGIC, r = x - n ln 2 in two parts,
 * exp(r) = 1 + r (1 + r (C0 + r (C1 + r (C2 + r (C3 + r C4))))), a least-squares fit on [-ln 2/2, ln 2/2] with relative error 4e-9;
 * then n is added to the exponent. */
#define EXP_MIN    (-87.3f)
#define EXP_MAX    88.7f
#define EXP_LOG2E  0x1.715476p+0f
#define EXP_MAGIC  0x1.8p23f
#define EXP_LN2_HI 0x1.62e430p-1f
#define EXP_LN2_LO (-0x1.05c610p-29f)
#define EXP_C0     0x1.fffff8p-2f
#define EXP_C1     0x1.55548ep-3f
#define EXP_C2     0x1.555b5cp-5f
#define EXP_C3     0x1.123bdcp-7f
#define EXP_C4     0x1.687b46p-10f

#endif
