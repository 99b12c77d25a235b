/* What this machine can do at most: reading memory, and arithmetic in registers.  Kernels and whole models are compared with it.
 *
 * A loop of arithmetic keeps its operands and accumulators in registers, in more independent chains than any core needs, so that only the
 * execution units limit it; one of reading goes over a buffer of the size asked for.  Figures are the best of several short rounds. */
#ifndef QAIO_KERNELS_MEASURE_H
#define QAIO_KERNELS_MEASURE_H

#include "base/pool.h"

typedef enum measure_kind {
    MEASURE_F32,  /* fused multiply-adds of float32 */
    MEASURE_BF16, /* products of bfloat16 pairs, summed in float32 */
    MEASURE_INT8, /* products of 8-bit numbers, summed in 32 bits */
    MEASURE_INT4, /* the same summed in 16 bits, which only narrow weights allow; where 32 bits cost nothing more there is none */
} measure_kind;

typedef struct measured_peak {
    const char *instructions; /* "avx2", "avx512-vnni": constant */
    measure_kind kind;
    double operations_per_second; /* of all threads; a multiplication and an addition count as two */
} measured_peak;

/* The loops this CPU can run: MEASURE_F32 and so on, for each of its instruction sets. */
size_t measure_n_peaks(void);
measured_peak measure_peak(size_t i, pool *p); /* about a tenth of a second */

/* Bytes a second that the pool's threads read from a buffer of this size; QAIO_ERR_MEMORY.  A fifth of a second, or two readings. */
qaio_status measure_read(double *bytes_per_second, pool *p, size_t bytes, qaio_error *err);
/* A buffer far larger than this machine's caches. */
size_t measure_large_buffer(void);

#endif
