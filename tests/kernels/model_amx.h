/* AMX's tiles in plain C, as Intel's SDM (volume 1, chapter 18, and volume 2) describes palette 1: the instructions that
 * src/kernels/x86_amx.c uses, and what a processor would fault on.  A fault ends the program unless MODEL_AMX_FAULT says otherwise. */
#ifndef TESTS_KERNELS_MODEL_AMX_H
#define TESTS_KERNELS_MODEL_AMX_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MODEL_AMX_FAULT
#define MODEL_AMX_FAULT(what) (fprintf(stderr, "model_amx: %s\n", what), abort())
#endif

enum { MODEL_TILES = 8, MODEL_ROWS = 16, MODEL_ROW_BYTES = 64 };

typedef struct model_tile {
    uint8_t rows, row_bytes;
    uint8_t data[MODEL_ROWS][MODEL_ROW_BYTES];
} model_tile;

/* A thread's tile registers. */
static _Thread_local struct {
    bool is_configured;
    model_tile tiles[MODEL_TILES];
} model_amx;

static inline void model_check(bool is_fine, const char *what) {
    if (!is_fine) MODEL_AMX_FAULT(what);
}

/* TILERELEASE: back to the initial state. */
static inline void model_tile_release(void) { memset(&model_amx, 0, sizeof model_amx); }

/* LDTILECFG: byte 0 the palette, 1 the start row, 2..15 reserved; bytes a row of 16 tiles as 16-bit words from 16 on, rows of 16 tiles as
 * bytes from 48 on.  All tiles become zero. */
static inline void model_tile_loadconfig(const void *memory) {
    uint8_t config[64];
    memcpy(config, memory, sizeof config);
    model_tile_release();
    if (config[0] == 0) return;
    model_check(config[0] == 1, "#GP: LDTILECFG of a palette other than 1");
    for (int i = 2; i < 16; i++) model_check(config[i] == 0, "#GP: LDTILECFG with reserved bytes set");
    model_check(config[1] == 0, "a start row is not modelled");
    for (int tile = 0; tile < 16; tile++) {
        unsigned row_bytes = config[16 + 2 * tile] | (unsigned)config[17 + 2 * tile] << 8, rows = config[48 + tile];
        model_check(tile < MODEL_TILES || (rows == 0 && row_bytes == 0), "#GP: LDTILECFG of more than 8 tiles");
        model_check(rows <= MODEL_ROWS, "#GP: LDTILECFG with more than 16 rows");
        model_check(row_bytes <= MODEL_ROW_BYTES, "#GP: LDTILECFG with rows of more than 64 bytes");
        model_check((rows == 0) == (row_bytes == 0), "#GP: LDTILECFG with rows but no columns, or columns but no rows");
        if (tile >= MODEL_TILES) continue;
        model_amx.tiles[tile].rows = (uint8_t)rows;
        model_amx.tiles[tile].row_bytes = (uint8_t)row_bytes;
    }
    model_amx.is_configured = true;
}

static inline model_tile *model_tile_at(int tile) {
    model_check(model_amx.is_configured, "#UD: a tile is used before LDTILECFG");
    model_check(tile >= 0 && tile < MODEL_TILES && model_amx.tiles[tile].rows > 0, "#UD: a tile is used that has no size");
    return &model_amx.tiles[tile];
}

static inline void model_tile_zero(int tile) {
    model_tile *t = model_tile_at(tile);
    memset(t->data, 0, sizeof t->data);
}

/* Rows and bytes past the tile's size become zero. */
static inline void model_tile_loadd(int tile, const void *base, ptrdiff_t stride) {
    model_tile *t = model_tile_at(tile);
    memset(t->data, 0, sizeof t->data);
    for (int row = 0; row < t->rows; row++) memcpy(t->data[row], (const uint8_t *)base + row * stride, t->row_bytes);
}

static inline void model_tile_stored(int tile, void *base, ptrdiff_t stride) {
    const model_tile *t = model_tile_at(tile);
    for (int row = 0; row < t->rows; row++) memcpy((uint8_t *)base + row * stride, t->data[row], t->row_bytes);
}

/* TDPBSSD: c[m][n] += the sum over k and i = 0..3 of a[m][4k + i] * b[k][4n + i], signed bytes, no saturation. */
static inline void model_tile_dpbssd(int c_tile, int a_tile, int b_tile) {
    model_tile *c = model_tile_at(c_tile);
    const model_tile *a = model_tile_at(a_tile), *b = model_tile_at(b_tile);
    model_check(c_tile != a_tile && c_tile != b_tile && a_tile != b_tile, "#UD: a tile product in place");
    model_check(c->row_bytes % 4 == 0 && a->row_bytes % 4 == 0 && b->row_bytes % 4 == 0, "#UD: rows that are no multiple of 4 bytes");
    model_check(c->rows == a->rows, "#UD: the rows of C are not those of A");
    model_check(c->row_bytes == b->row_bytes, "#UD: the columns of C are not those of B");
    model_check(a->row_bytes / 4 == b->rows, "#UD: the columns of A are not the rows of B");
    for (int m = 0; m < c->rows; m++) {
        for (int n = 0; n < c->row_bytes / 4; n++) {
            uint32_t sum;
            memcpy(&sum, &c->data[m][4 * n], sizeof sum);
            for (int k = 0; k < a->row_bytes; k++) sum += (uint32_t)((int8_t)a->data[m][k] * (int8_t)b->data[k / 4][4 * n + k % 4]);
            memcpy(&c->data[m][4 * n], &sum, sizeof sum);
        }
    }
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_loadconfig(config)         model_tile_loadconfig(config)
#define _tile_release()                  model_tile_release()
#define _tile_zero(tile)                 model_tile_zero(tile)
#define _tile_loadd(tile, base, stride)  model_tile_loadd(tile, base, (ptrdiff_t)(stride))
#define _tile_stored(tile, base, stride) model_tile_stored(tile, base, (ptrdiff_t)(stride))
#define _tile_dpbssd(c, a, b)            model_tile_dpbssd(c, a, b)

#endif
