/* How the loops of the instruction sets enter measure.c's list. */
#ifndef QAIO_KERNELS_MEASURE_ISA_H
#define QAIO_KERNELS_MEASURE_ISA_H

#include "kernels/isa.h"
#include "kernels/measure.h"

typedef struct measure_loop {
    const char *instructions;
    measure_kind kind;
    const char *needs; /* kernels_cpu_features must name all of these words */
    double operations_per_step;
    uint32_t (*run)(size_t n_steps); /* returns something of what was computed, so that it is */
} measure_loop;

/* Ended by a loop without `run`. */
extern const measure_loop measure_avx2[], measure_avx512[], measure_neon[];

/* Makes the compiler believe that a register has changed: equal chains are not made one, and nothing moves out of the loop. */
#if defined(__x86_64__)
#define CHANGED(v) __asm__("" : "+v"(v))
#else
#define CHANGED(v) __asm__("" : "+w"(v))
#endif

#endif
