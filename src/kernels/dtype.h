/* Element types as they stand in files, and their exact conversion to and from float32, in plain C.
 *
 * Numbering, block sizes and layouts follow the GGUF specification (ggml/docs/gguf.md) and ggml-common.h's block structures. */
#ifndef QAIO_KERNELS_DTYPE_H
#define QAIO_KERNELS_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dtype {
    DTYPE_F32 = 0,
    DTYPE_F16 = 1,
    DTYPE_Q4_0 = 2,
    DTYPE_Q4_1 = 3,
    DTYPE_Q5_0 = 6,
    DTYPE_Q5_1 = 7,
    DTYPE_Q8_0 = 8,
    DTYPE_Q2_K = 10,
    DTYPE_Q3_K = 11,
    DTYPE_Q4_K = 12,
    DTYPE_Q5_K = 13,
    DTYPE_Q6_K = 14,
    DTYPE_IQ4_NL = 20,
    DTYPE_IQ4_XS = 23,
    DTYPE_BF16 = 30,
    DTYPE_NONE = -1,
} dtype;

typedef struct dtype_info {
    const char *name;   /* "q8_0": lower case, as on the command line */
    size_t block_size;  /* elements a block */
    size_t block_bytes; /* bytes a block */
} dtype_info;

/* NULL for a type this build does not know. */
const dtype_info *dtype_get(dtype type);
/* By name, any case ("Q8_0", "bf16"); DTYPE_NONE when unknown. */
dtype dtype_from_name(const char *name);
/* Bytes of n elements; 0 when n is no multiple of the block size or the product overflows. */
size_t dtype_bytes(dtype type, size_t n);

/* out[n] = the stored values; n a multiple of the block size.  `in` needs no alignment.  Non-finite scales give non-finite values. */
void dtype_dequantize(dtype type, float *out, const void *in, size_t n);
/* Round to nearest even (F16, BF16); ggml's reference rounding for Q8_0 and Q4_0.  Other types: returns false. */
bool dtype_quantize(dtype type, void *out, const float *in, size_t n);

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value); /* round to nearest even, overflow to infinity, NaN stays NaN */
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);

#endif
