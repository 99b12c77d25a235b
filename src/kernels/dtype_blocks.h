/* Blocks of the formats beyond the simple ones: one function a type, out[256] (IQ4_NL: out[32]) from one block's bytes. */
#ifndef QAIO_KERNELS_DTYPE_BLOCKS_H
#define QAIO_KERNELS_DTYPE_BLOCKS_H

#include <stdint.h>

void dequantize_q2_k(float *out, const uint8_t *block);
void dequantize_q3_k(float *out, const uint8_t *block);
void dequantize_q4_k(float *out, const uint8_t *block);
void dequantize_q5_k(float *out, const uint8_t *block);
void dequantize_q6_k(float *out, const uint8_t *block);
void dequantize_iq4_nl(float *out, const uint8_t *block);
void dequantize_iq4_xs(float *out, const uint8_t *block);

/* The little-endian f16 at p as float32. */
float load_f16(const uint8_t *p);

#endif
