/* Upper limits to compare kernels with. */
#ifndef TESTS_KERNELS_BENCH_PEAK_H
#define TESTS_KERNELS_BENCH_PEAK_H

#include <stddef.h>
#include <stdint.h>

/* Independent chains of fused multiply-adds, in registers. */
float bench_fma(void);
/* Operations of one such call, a multiply-add counted as two. */
double bench_fma_operations(void);

/* The exclusive or of n words: every byte is read. */
uint64_t bench_read(const uint64_t *data, size_t n);

#endif
