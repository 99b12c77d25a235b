/* Cutting a matrix product into tiles: the tallest tile that still fits, first as wide as there are groups. */
#include "kernels/tiles.h"

/* Activations of this many bytes stay in a core's second-level cache while all groups pass by. */
enum { ROW_BLOCK_BYTES = 256 * 1024 };

/* The tallest tile of at most n_rows rows; 0 when there is none. */
static size_t tallest(const tile_function *tiles, size_t n_rows) {
    size_t rows = n_rows < TILE_MAX_ROWS ? n_rows : TILE_MAX_ROWS;
    while (rows > 0 && !tiles[rows]) rows--;
    return rows;
}

/* Eight rows are rather 4 + 4 than 6 + 2: low tiles keep the multipliers less busy. */
static void run_groups(const matmul_args *a, size_t group, size_t row, size_t row_end, const tile_function *tiles) {
    size_t most = tallest(tiles, TILE_MAX_ROWS);
    for (size_t rows; row < row_end; row += rows) {
        size_t rest = row_end - row, n_tiles = (rest + most - 1) / most;
        rows = tallest(tiles, (rest + n_tiles - 1) / n_tiles);
        tiles[rows](a, group, row);
    }
}

/* A multiple of 24, which every tile height divides. */
static size_t rows_a_block(const matmul_args *a) {
    bool is_quantized = a->w->type == DTYPE_Q8_0 || a->w->type == DTYPE_Q4_0;
    size_t row_bytes = a->w->n_cols_padded * (is_quantized ? 1 : sizeof(float));
    size_t rows = ROW_BLOCK_BYTES / (row_bytes ? row_bytes : 1) / 24 * 24;
    return rows ? rows : 24;
}

void tiles_run(const matmul_args *a, size_t group_begin, size_t group_end, const tile_set *set) {
    size_t block = rows_a_block(a);
    for (size_t row = 0; row < a->n; row += block) {
        size_t row_end = a->n - row < block ? a->n : row + block;
        for (size_t group = group_begin, step; group < group_end; group += step) {
            bool is_wide = group_end - group >= set->n_groups && tallest(set->wide, row_end - row) > 0;
            step = is_wide ? set->n_groups : 1;
            run_groups(a, group, row, row_end, is_wide ? set->wide : set->narrow);
        }
    }
}
