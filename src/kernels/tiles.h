/* How a matrix product is cut into register tiles, for every instruction set.
 *
 * A tile is some activation rows times some groups of 16 outputs, all its sums in registers; one pass over the columns fills it:
 *
 *                 group 0   group 1             per column (float) or 4 columns (int8): load a vector of each group's weights, broadcast
 *     row 0        acc       acc                each row's activation, multiply-add.
 *     row 1        acc       acc
 *     ...                                       Every acc is one chain in the order of the columns, so that results do not depend on the
 *     row n-1      acc       acc                shape of the tile. */
#ifndef QAIO_KERNELS_TILES_H
#define QAIO_KERNELS_TILES_H

#include "kernels/kernels.h"

#define TILE_MAX_ROWS 8

/* Computes the tile at (group, row); its shape is the function's own. */
typedef void (*tile_function)(const matmul_args *a, size_t group, size_t row);

typedef struct tile_set {
    size_t n_groups;                         /* of a wide tile */
    tile_function narrow[TILE_MAX_ROWS + 1]; /* one group; by number of rows, NULL where there is none, always one for 1 row */
    tile_function wide[TILE_MAX_ROWS + 1];   /* n_groups groups; likewise, and may be all NULL */
} tile_set;

/* Covers all rows of the groups [group_begin, group_end). */
void tiles_run(const matmul_args *a, size_t group_begin, size_t group_end, const tile_set *set);

#endif
