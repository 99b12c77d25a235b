/* Weights into groups of 16 rows, laid out as kernels.h says: block by block of 32 columns, the rows of a group interleaved. */
#include <string.h>

#include "base/mem.h"
#include "kernels/isa.h"
#include "kernels/kernels.h"

/* Bytes of a group's 32 columns; 0 when the type cannot be packed. */
static size_t packed_block_bytes(dtype type) {
    switch (type) {
    case DTYPE_F32:
        return PACK_ROWS * PACK_COLS * 4;
    case DTYPE_F16:
    case DTYPE_BF16:
        return PACK_ROWS * PACK_COLS * 2;
    case DTYPE_Q8_0:
        return Q8_BLOCK_BYTES;
    case DTYPE_Q4_0:
        return Q4_BLOCK_BYTES;
    default:
        return 0;
    }
}

bool packed_init(packed_matrix *m, dtype type, size_t n_rows, size_t n_cols, size_t *bytes) {
    size_t block_bytes = packed_block_bytes(type);
    size_t padded, rounded_rows, group_bytes, total;
    if (block_bytes == 0 || !size_add(n_cols, PACK_COLS - 1, &padded) || !size_add(n_rows, PACK_ROWS - 1, &rounded_rows) ||
        !size_mul(padded / PACK_COLS, block_bytes, &group_bytes) || !size_mul(rounded_rows / PACK_ROWS, group_bytes, &total)) {
        return false;
    }
    *m = (packed_matrix){
        .type = type,
        .n_rows = n_rows,
        .n_cols = n_cols,
        .n_cols_padded = padded / PACK_COLS * PACK_COLS,
        .n_groups = rounded_rows / PACK_ROWS,
        .group_bytes = group_bytes,
    };
    *bytes = total;
    return true;
}

/* Puts 32 columns of one row, `in` in the layout of the file format, at row r of a packed block. */
static void place_block(dtype type, uint8_t *block, size_t r, const uint8_t *in) {
    size_t element_bytes = type == DTYPE_F32 ? 4 : 2;
    switch (type) {
    case DTYPE_Q8_0:
        memcpy(block + 2 * r, in, 2);
        for (size_t v = 0; v < 8; v++) {
            uint32_t quants;
            memcpy(&quants, in + 2 + 4 * v, 4);
            quants ^= 0x80808080u; /* + 128 */
            memcpy(block + SCALE_BYTES + 64 * v + 4 * r, &quants, 4);
        }
        break;
    case DTYPE_Q4_0: /* a byte of the file holds columns j and j + 16 already */
        memcpy(block + 2 * r, in, 2);
        for (size_t v = 0; v < 4; v++) {
            memcpy(block + SCALE_BYTES + 64 * v + 4 * r, in + 2 + 4 * v, 4);
        }
        break;
    default:
        for (size_t c = 0; c < PACK_COLS; c++) {
            memcpy(block + (c * PACK_ROWS + r) * element_bytes, in + c * element_bytes, element_bytes);
        }
    }
}

/* A row of zeros: quant + 128 or quant + 8, scale 0. */
static void place_zero_row(const packed_matrix *m, uint8_t *group, size_t r) {
    uint8_t zeros[PACK_COLS * 4] = {0};
    size_t block_bytes = packed_block_bytes(m->type);
    if (m->type == DTYPE_Q4_0) memset(zeros + 2, 0x88, 16);
    for (size_t b = 0; b < m->n_cols_padded / PACK_COLS; b++) {
        place_block(m->type, group + b * block_bytes, r, zeros);
    }
}

/* The row in the matrix's own type: bits copied, the last block filled up with zeros (only plain floats have a part of a block). */
static void place_same_type(const packed_matrix *m, uint8_t *group, size_t r, const uint8_t *row) {
    size_t block_bytes = packed_block_bytes(m->type), in_bytes = dtype_bytes(m->type, PACK_COLS);
    size_t whole = m->n_cols / PACK_COLS, rest = m->n_cols % PACK_COLS;
    for (size_t b = 0; b < whole; b++) {
        place_block(m->type, group + b * block_bytes, r, row + b * in_bytes);
    }
    if (rest) {
        uint8_t last[PACK_COLS * 4] = {0};
        memcpy(last, row + whole * in_bytes, dtype_bytes(m->type, rest));
        place_block(m->type, group + whole * block_bytes, r, last);
    }
}

static void place_converted(const packed_matrix *m, uint8_t *group, size_t r, const uint8_t *row, dtype source_type, float *row_f32) {
    size_t block_bytes = packed_block_bytes(m->type);
    dtype_dequantize(source_type, row_f32, row, m->n_cols);
    memset(row_f32 + m->n_cols, 0, (m->n_cols_padded - m->n_cols) * sizeof *row_f32);
    for (size_t b = 0; b < m->n_cols_padded / PACK_COLS; b++) {
        uint8_t block[PACK_COLS * 4];
        dtype_quantize(m->type, block, row_f32 + b * PACK_COLS, PACK_COLS);
        place_block(m->type, group + b * block_bytes, r, block);
    }
}

void packed_fill_group(packed_matrix *m, size_t group, const void *source, dtype source_type, float *row_f32) {
    uint8_t *out = m->data + group * m->group_bytes;
    size_t row_bytes = dtype_bytes(source_type, m->n_cols);
    for (size_t r = 0; r < PACK_ROWS; r++) {
        size_t row = group * PACK_ROWS + r;
        const uint8_t *in = (const uint8_t *)source + row * row_bytes;
        if (row >= m->n_rows) {
            place_zero_row(m, out, r);
        } else if (source_type == m->type) {
            place_same_type(m, out, r, in);
        } else {
            place_converted(m, out, r, in, source_type, row_f32);
        }
    }
}
