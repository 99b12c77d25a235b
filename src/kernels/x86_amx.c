/* Matrix products of int8 and int4 with AMX, for many activation rows.  A block of 32 columns is one tile product C += A . B:
 *
 *     A  16 activation rows x 32 bytes    where they are; the stride is that of the rows
 *     B  8 x 64 bytes                     a group's quants as signed bytes; byte 4*r + i of row v is output r, column 4*v + i
 *     C  16 activation rows x 16 outputs  int32
 *
 * Scales change with every block, so C leaves its tile after one product and is scaled and added with AVX-512, one register a row.  That,
 * not the tiles, takes most of the time; docs/kernels.md counts.  Columns go in chunks whose weights stay in the first-level cache while
 * the rows of a pass use them; between chunks the rows' sums wait in memory. */
#include "kernels/x86_avx512.h"

#if defined(QAIO_AMX_INTRINSICS) /* a test on a processor without AMX names a header that models it */
#include QAIO_AMX_INTRINSICS
#endif

/* With fewer rows AVX-512 waits for weights from memory already, and tiles are mostly empty. */
enum { MIN_ROWS = 8 };

enum { TILE_ROWS = 16, BLOCK_VECTORS = 8, VECTOR_BYTES = 64, CHUNK_BLOCKS = 32, PASS_ROWS = 8 * TILE_ROWS };

typedef struct workspace {
    int8_t quants[CHUNK_BLOCKS][BLOCK_VECTORS][VECTOR_BYTES]; /* of one group */
    float scales[CHUNK_BLOCKS][PACK_ROWS];
    int32_t sums[4][TILE_ROWS][PACK_ROWS]; /* of the last blocks: one pair is read while the tiles compute the next */
    float partial[PASS_ROWS][PACK_ROWS];   /* the rows' sums over the chunks so far */
} workspace;

/* Which rows and columns a step computes. */
typedef struct chunk {
    size_t group, first_block, n_blocks;
    bool is_first, is_last; /* of the columns */
} chunk;

/* Tile registers: two sets of C, A and B that take turns, C and A for the rows that do not fill a tile. */
#define TILE_C0     0
#define TILE_C1     1
#define TILE_A0     2
#define TILE_A1     3
#define TILE_B0     4
#define TILE_B1     5
#define TILE_C_REST 6
#define TILE_A_REST 7

/* Operand of LDTILECFG, palette 1. */
typedef struct tile_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Compilers do not know that tile instructions read memory: what was written before stays before. */
ALWAYS_INLINE void finish_writes(void) { __asm__ volatile("" ::: "memory"); }

/* Full tiles have n_full rows, the last one n_rest (0: there is none). */
static void configure_tiles(size_t n_full, size_t n_rest) {
    _Alignas(64) tile_config config = {.palette = 1};
    for (int tile = TILE_C0; tile <= TILE_A_REST; tile++) {
        bool is_b = tile == TILE_B0 || tile == TILE_B1, is_a = tile == TILE_A0 || tile == TILE_A1 || tile == TILE_A_REST;
        size_t n_rows = is_b ? BLOCK_VECTORS : tile >= TILE_C_REST ? n_rest : n_full;
        config.rows[tile] = (uint8_t)n_rows;
        config.row_bytes[tile] = n_rows == 0 ? 0 : is_a ? PACK_COLS : VECTOR_BYTES;
    }
    finish_writes();
    _tile_loadconfig(&config);
}

/* sums[row][r] of one block for the rows at q. */
#define SUM_BLOCK(name, C, A, B)                                                                                                           \
    ALWAYS_INLINE void name(int32_t sums[][PACK_ROWS], const int8_t *quants, const int8_t *q, size_t q_stride) {                           \
        _tile_zero(C);                                                                                                                     \
        _tile_loadd(B, quants, VECTOR_BYTES);                                                                                              \
        _tile_loadd(A, q, q_stride);                                                                                                       \
        _tile_dpbssd(C, A, B);                                                                                                             \
        _tile_stored(C, sums, VECTOR_BYTES);                                                                                               \
    }

SUM_BLOCK(sum_even, TILE_C0, TILE_A0, TILE_B0)
SUM_BLOCK(sum_odd, TILE_C1, TILE_A1, TILE_B1)
SUM_BLOCK(sum_rest, TILE_C_REST, TILE_A_REST, TILE_B0)

/* Blocks b and b + 1 of the n_blocks of a chunk, the second if there is one. */
ALWAYS_INLINE void sum_pair(workspace *s, size_t b, size_t n_blocks, const int8_t *q, size_t q_stride, bool is_rest) {
    int32_t(*sums)[TILE_ROWS][PACK_ROWS] = s->sums + (b & 2);
    UNROLL for (size_t i = 0; i < 2; i++) {
        const int8_t *quants = s->quants[b + i][0], *columns = q + (b + i) * PACK_COLS;
        if (b + i >= n_blocks) return;
        if (is_rest) {
            sum_rest(sums[i], quants, columns, q_stride);
        } else if (i == 0) {
            sum_even(sums[i], quants, columns, q_stride);
        } else {
            sum_odd(sums[i], quants, columns, q_stride);
        }
    }
}

/* The rows' scales for the block at hand: four pointers with three rows behind each take few registers, where the compiler would keep 16
 * pointers in memory. */
typedef struct row_scales {
    const float *fourth[4]; /* rows 0, 4, 8 and 12 */
    size_t stride, stride3; /* one and three rows further */
} row_scales;

ALWAYS_INLINE row_scales scales_from(const float *d, size_t stride) {
    row_scales scales = {{d, d + 4 * stride, d + 8 * stride, d + 12 * stride}, stride, 3 * stride};
    __asm__("" : "+r"(scales.stride3)); /* hides that it is a multiple */
    return scales;
}

/* On to the next block.  Hides that the pointers belong together. */
ALWAYS_INLINE void next_scales(row_scales *d) {
    UNROLL for (size_t i = 0; i < 4; i++) {
        d->fourth[i]++;
        __asm__("" : "+r"(d->fourth[i]));
    }
}

ALWAYS_INLINE float scale_of(const row_scales *d, size_t i) { return d->fourth[i / 4][i % 4 == 3 ? d->stride3 : i % 4 * d->stride]; }

/* acc[i] = fma(sums, scale of row i * scales of the group, acc[i]) */
ALWAYS_INLINE void add_block(__m512 acc[TILE_ROWS], int32_t sums[][PACK_ROWS], const float *scales, row_scales *d, size_t n_rows) {
    __m512 group_scales = _mm512_loadu_ps(scales);
    UNROLL for (size_t i = 0; i < TILE_ROWS; i++) {
        if (i < n_rows) {
            __m512 scale = _mm512_mul_ps(_mm512_set1_ps(scale_of(d, i)), group_scales);
            acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums[i])), scale, acc[i]);
        }
    }
    next_scales(d);
}

/* The chunk for n_rows rows from `row` on, the first of the pass being pass_row. */
ALWAYS_INLINE void run_tile(const matmul_args *a, workspace *s, const chunk *c, size_t pass_row, size_t row, size_t n_rows, bool is_rest) {
    size_t n_cols = a->w->n_cols_padded, n_blocks = c->n_blocks;
    const int8_t *q = a->xq.q + row * n_cols + c->first_block * PACK_COLS;
    row_scales d = scales_from(a->xq.d + row * (n_cols / PACK_COLS) + c->first_block, n_cols / PACK_COLS);
    float(*partial)[PACK_ROWS] = s->partial + (row - pass_row);
    __m512 acc[TILE_ROWS];
    UNROLL for (size_t i = 0; i < TILE_ROWS; i++) {
        acc[i] = c->is_first || i >= n_rows ? _mm512_setzero_ps() : _mm512_loadu_ps(partial[i]);
    }
    sum_pair(s, 0, n_blocks, q, n_cols, is_rest);
    for (size_t b = 0; b < n_blocks; b += 2) {
        if (b + 2 < n_blocks) sum_pair(s, b + 2, n_blocks, q, n_cols, is_rest);
        add_block(acc, s->sums[b & 2], s->scales[b], &d, n_rows);
        if (b + 1 < n_blocks) add_block(acc, s->sums[(b & 2) + 1], s->scales[b + 1], &d, n_rows);
    }
    UNROLL for (size_t i = 0; i < TILE_ROWS; i++) {
        if (i >= n_rows) continue;
        if (c->is_last) {
            store_results(a, c->group, row + i, acc[i]);
        } else {
            _mm512_storeu_ps(partial[i], acc[i]);
        }
    }
}

static void run_full_tile(const matmul_args *a, workspace *s, const chunk *c, size_t pass_row, size_t row) {
    run_tile(a, s, c, pass_row, row, TILE_ROWS, false);
}

/* Fewer than TILE_ROWS rows: the rest of many (is_rest), or all there are. */
static void run_low_tile(const matmul_args *a, workspace *s, const chunk *c, size_t pass_row, size_t row, size_t n_rows, bool is_rest) {
    run_tile(a, s, c, pass_row, row, n_rows, is_rest);
}

ALWAYS_INLINE void signed_quants(int8_t out[BLOCK_VECTORS][VECTOR_BYTES], const uint8_t *quants, dtype type) {
    const __m512i nibble = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8), flip = _mm512_set1_epi8(-128);
    if (type == DTYPE_Q8_0) {
        UNROLL for (size_t v = 0; v < 8; v++) {
            _mm512_storeu_si512(out[v], _mm512_xor_si512(_mm512_loadu_si512(quants + VECTOR_BYTES * v), flip));
        }
    } else {
        UNROLL for (size_t v = 0; v < 4; v++) { /* low nibbles are columns 4*v.., high ones 16 further */
            __m512i both = _mm512_loadu_si512(quants + VECTOR_BYTES * v), high = _mm512_srli_epi16(both, 4);
            _mm512_storeu_si512(out[v], _mm512_sub_epi8(_mm512_and_si512(both, nibble), eight));
            _mm512_storeu_si512(out[4 + v], _mm512_sub_epi8(_mm512_and_si512(high, nibble), eight));
        }
    }
}

/* Weights of the chunk as the tiles take them.  Asks for those of the next one, which come while this one is used. */
ALWAYS_INLINE void load_weights(workspace *s, const matmul_args *a, const chunk *c, dtype type) {
    size_t block_bytes = type == DTYPE_Q8_0 ? Q8_BLOCK_BYTES : Q4_BLOCK_BYTES;
    const uint8_t *w = a->w->data + c->group * a->w->group_bytes + c->first_block * block_bytes;
    for (size_t b = 0; b < c->n_blocks; b++, w += block_bytes) {
        uintptr_t ahead = (uintptr_t)w + CHUNK_BLOCKS * block_bytes; /* past the end harmless */
        UNROLL for (size_t i = 0; i < block_bytes; i += VECTOR_BYTES) _mm_prefetch((const char *)(ahead + i), _MM_HINT_T1);
        _mm512_storeu_ps(s->scales[b], _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)w)));
        signed_quants(s->quants[b], w + SCALE_BYTES, type);
    }
    finish_writes();
}

ALWAYS_INLINE void run_chunk(const matmul_args *a, workspace *s, const chunk *c, dtype type, size_t pass_row, size_t pass_end) {
    load_weights(s, a, c, type);
    size_t row = pass_row;
    for (; row + TILE_ROWS <= pass_end; row += TILE_ROWS) run_full_tile(a, s, c, pass_row, row);
    if (row < pass_end) run_low_tile(a, s, c, pass_row, row, pass_end - row, a->n >= TILE_ROWS);
}

ALWAYS_INLINE void multiply(const matmul_args *a, size_t group_begin, size_t group_end, dtype type) {
    _Alignas(64) workspace s;
    size_t n_blocks = a->w->n_cols_padded / PACK_COLS;
    configure_tiles(a->n < TILE_ROWS ? a->n : TILE_ROWS, a->n < TILE_ROWS ? 0 : a->n % TILE_ROWS);
    for (size_t row = 0; row < a->n; row += PASS_ROWS) {
        size_t row_end = a->n - row < PASS_ROWS ? a->n : row + PASS_ROWS;
        for (size_t group = group_begin; group < group_end; group++) {
            for (size_t b = 0; b < n_blocks; b += CHUNK_BLOCKS) {
                size_t n = n_blocks - b < CHUNK_BLOCKS ? n_blocks - b : CHUNK_BLOCKS;
                run_chunk(a, &s, &(chunk){group, b, n, b == 0, b + n == n_blocks}, type, row, row_end);
            }
        }
    }
    _tile_release();
}

static void matmul_q8_0(const matmul_args *a, size_t group_begin, size_t group_end) {
    if (a->n < MIN_ROWS) {
        matmul_q8_0_avx512(a, group_begin, group_end);
    } else {
        multiply(a, group_begin, group_end, DTYPE_Q8_0);
    }
}

static void matmul_q4_0(const matmul_args *a, size_t group_begin, size_t group_end) {
    if (a->n < MIN_ROWS) {
        matmul_q4_0_avx512(a, group_begin, group_end);
    } else {
        multiply(a, group_begin, group_end, DTYPE_Q4_0);
    }
}

void kernels_add_amx(kernels *table) {
    table->name = "amx";
    table->matmul_q8_0 = matmul_q8_0;
    table->matmul_q4_0 = matmul_q4_0;
}
