/* Repeatable random data for the kernel tests and the benchmark: ordinary values, and all that float32 can hold. */
#ifndef TESTS_KERNELS_RANDOM_DATA_H
#define TESTS_KERNELS_RANDOM_DATA_H

#include "kernels/kernels.h"

typedef enum flavour {
    ORDINARY,  /* between -1 and 1 */
    EXTREME,   /* any magnitude, zeros of both signs, denormal numbers */
    NONFINITE, /* EXTREME with a few infinities and NaN */
    N_FLAVOURS
} flavour;

uint32_t random_u32(void);
float random_float(flavour f);
void random_floats(float *out, size_t n, flavour f);

/* Rows of `type` as files hold them, [n_rows, n_cols]; free with mem_free.  ORDINARY scales are small; others are any bits. */
void *random_rows(dtype type, size_t n_rows, size_t n_cols, flavour f);

/* The same, packed; free data with mem_free.  n_cols may be any number: what is no multiple of a block is packed through float32. */
packed_matrix random_matrix(dtype type, size_t n_rows, size_t n_cols, flavour f);

#endif
