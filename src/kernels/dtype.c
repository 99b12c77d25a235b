/* Element types: the table of formats, the 16-bit floats, and the simple block formats of 32 elements.
 *
 *   type   bytes  layout                        element
 *   Q8_0    34    d:f16 q[32]:i8                d*q
 *   Q4_0    18    d:f16 qs[16]                  d*(q - 8)           in every qs the low nibbles are elements 0..15, the high ones 16..31
 *   Q4_1    20    d:f16 m:f16 qs[16]            d*q + m
 *   Q5_0    22    d:f16 qh:u32 qs[16]           d*(q - 16)          bit i of qh is the fifth bit of element i
 *   Q5_1    24    d:f16 m:f16 qh:u32 qs[16]     d*q + m             */
#include "kernels/dtype.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "kernels/dtype_blocks.h"

typedef void (*block_function)(float *out, const uint8_t *block);

typedef struct format {
    dtype type;
    dtype_info info;
    block_function dequantize; /* NULL for the plain floats */
} format;

static float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float f16_to_f32(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00) { /* infinity and NaN keep their mantissa */
        return float_from_bits(sign | 0x7f800000u | (magnitude & 0x3ff) << 13);
    }
    if (magnitude < 0x400) { /* subnormal: a multiple of 2^-24 */
        return float_from_bits(sign | float_bits((float)magnitude * 0x1p-24f));
    }
    return float_from_bits(sign | ((magnitude << 13) + (112u << 23)));
}

uint16_t f32_to_f16(float value) {
    uint32_t bits = float_bits(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) { /* from 65520 on the nearest is infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 1/2 leaves a multiple of 2^-24 in the mantissa, rounded to even */
        return (uint16_t)(sign | (float_bits(float_from_bits(magnitude) + 0.5f) - 0x3f000000u));
    }
    uint32_t odd = magnitude >> 13 & 1;
    return (uint16_t)(sign | (magnitude - (112u << 23) + 0xfff + odd) >> 13);
}

float bf16_to_f32(uint16_t bits) { return float_from_bits((uint32_t)bits << 16); }

uint16_t f32_to_bf16(float value) {
    uint32_t bits = float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u); /* quiet, so that no payload rounds to infinity */
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t load_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static void store_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

float load_f16(const uint8_t *p) { return f16_to_f32(load_u16(p)); }

static void dequantize_f16(float *out, const uint8_t *in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] = load_f16(in + 2 * i);
    }
}

static void dequantize_bf16(float *out, const uint8_t *in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] = bf16_to_f32(load_u16(in + 2 * i));
    }
}

static void dequantize_q8_0(float *out, const uint8_t *block) {
    float d = load_f16(block);
    for (size_t i = 0; i < 32; i++) {
        out[i] = d * (float)(int8_t)block[2 + i];
    }
}

static void dequantize_q4_0(float *out, const uint8_t *block) {
    float d = load_f16(block);
    for (size_t i = 0; i < 16; i++) {
        out[i] = d * (float)((block[2 + i] & 15) - 8);
        out[i + 16] = d * (float)((block[2 + i] >> 4) - 8);
    }
}

static void dequantize_q4_1(float *out, const uint8_t *block) {
    float d = load_f16(block), m = load_f16(block + 2);
    for (size_t i = 0; i < 16; i++) {
        out[i] = d * (float)(block[4 + i] & 15) + m;
        out[i + 16] = d * (float)(block[4 + i] >> 4) + m;
    }
}

/* The 32 five-bit quants of Q5_0 and Q5_1, from qh[4] followed by qs[16]. */
static void unpack_q5(int q[32], const uint8_t *qh) {
    const uint8_t *qs = qh + 4;
    for (size_t i = 0; i < 16; i++) {
        q[i] = (qs[i] & 15) | (qh[i / 8] >> i % 8 & 1) << 4;
        q[i + 16] = (qs[i] >> 4) | (qh[2 + i / 8] >> i % 8 & 1) << 4;
    }
}

static void dequantize_q5_0(float *out, const uint8_t *block) {
    int q[32];
    float d = load_f16(block);
    unpack_q5(q, block + 2);
    for (size_t i = 0; i < 32; i++) {
        out[i] = d * (float)(q[i] - 16);
    }
}

static void dequantize_q5_1(float *out, const uint8_t *block) {
    int q[32];
    float d = load_f16(block), m = load_f16(block + 2);
    unpack_q5(q, block + 4);
    for (size_t i = 0; i < 32; i++) {
        out[i] = d * (float)q[i] + m;
    }
}

static const format formats[] = {
    {DTYPE_F32, {"f32", 1, 4}, NULL},
    {DTYPE_F16, {"f16", 1, 2}, NULL},
    {DTYPE_BF16, {"bf16", 1, 2}, NULL},
    {DTYPE_Q8_0, {"q8_0", 32, 34}, dequantize_q8_0},
    {DTYPE_Q4_0, {"q4_0", 32, 18}, dequantize_q4_0},
    {DTYPE_Q4_1, {"q4_1", 32, 20}, dequantize_q4_1},
    {DTYPE_Q5_0, {"q5_0", 32, 22}, dequantize_q5_0},
    {DTYPE_Q5_1, {"q5_1", 32, 24}, dequantize_q5_1},
    {DTYPE_Q2_K, {"q2_k", 256, 84}, dequantize_q2_k},
    {DTYPE_Q3_K, {"q3_k", 256, 110}, dequantize_q3_k},
    {DTYPE_Q4_K, {"q4_k", 256, 144}, dequantize_q4_k},
    {DTYPE_Q5_K, {"q5_k", 256, 176}, dequantize_q5_k},
    {DTYPE_Q6_K, {"q6_k", 256, 210}, dequantize_q6_k},
    {DTYPE_IQ4_NL, {"iq4_nl", 32, 18}, dequantize_iq4_nl},
    {DTYPE_IQ4_XS, {"iq4_xs", 256, 136}, dequantize_iq4_xs},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static const format *find_format(dtype type) {
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (formats[i].type == type) {
            return &formats[i];
        }
    }
    return NULL;
}

const dtype_info *dtype_get(dtype type) {
    const format *f = find_format(type);
    return f ? &f->info : NULL;
}

dtype dtype_from_name(const char *name) {
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (strcasecmp(formats[i].info.name, name) == 0) {
            return formats[i].type;
        }
    }
    return DTYPE_NONE;
}

size_t dtype_bytes(dtype type, size_t n) {
    const dtype_info *info = dtype_get(type);
    size_t bytes;
    if (!info || n % info->block_size != 0 || __builtin_mul_overflow(n / info->block_size, info->block_bytes, &bytes)) {
        return 0;
    }
    return bytes;
}

void dtype_dequantize(dtype type, float *out, const void *in, size_t n) {
    if (type == DTYPE_F32) {
        memcpy(out, in, n * sizeof *out);
    } else if (type == DTYPE_F16) {
        dequantize_f16(out, in, n);
    } else if (type == DTYPE_BF16) {
        dequantize_bf16(out, in, n);
    } else {
        const format *f = find_format(type);
        const uint8_t *block = in;
        for (size_t i = 0; f && i < n; i += f->info.block_size, block += f->info.block_bytes) {
            f->dequantize(out + i, block);
        }
    }
}

/* The largest |x| of 32, NaN left out: the bits of non-negative floats order as they do. */
static float largest_magnitude(const float *x) {
    uint32_t most = 0;
    for (size_t i = 0; i < 32; i++) {
        uint32_t magnitude = float_bits(x[i]) & 0x7fffffffu;
        magnitude = magnitude > 0x7f800000u ? 0 : magnitude;
        most = magnitude > most ? magnitude : most;
    }
    return float_from_bits(most);
}

/* roundf within [-127, 127], NaN to 0, without a call: adding the float just below 1/2 and truncating rounds halves away from zero (equal
 * for all 2^32 floats). */
static int8_t round_i8(float x) {
    float limited = x > -127.0f ? x : -127.0f;
    limited = limited < 127.0f ? limited : 127.0f;
    limited = isnan(x) ? 0.0f : limited;
    return (int8_t)(int32_t)(limited + copysignf(0x1.fffffep-2f, limited));
}

/* d = max|x| / 127, q = x / d rounded half away from zero. */
static void quantize_q8_0(uint8_t *block, const float *x) {
    float d = largest_magnitude(x) / 127.0f, inverse = d != 0.0f ? 1.0f / d : 0.0f;
    store_u16(block, f32_to_f16(d));
    for (size_t i = 0; i < 32; i++) {
        block[2 + i] = (uint8_t)round_i8(x[i] * inverse);
    }
}

static uint8_t q4_level(float x, float inverse) {
    double level = (double)x * (double)inverse + 8.5;
    if (!(level >= 1.0)) {
        return isnan(level) ? 8 : 0;
    }
    return level < 15.0 ? (uint8_t)level : 15;
}

/* d = the value of the largest magnitude / -8, q = trunc(x / d + 8.5) at most 15; the sum in double, as ggml's fused one rounds. */
static void quantize_q4_0(uint8_t *block, const float *x) {
    float largest = 0.0f;
    for (size_t i = 0; i < 32; i++) {
        largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
    }
    float d = largest / -8.0f, inverse = d != 0.0f ? 1.0f / d : 0.0f;
    store_u16(block, f32_to_f16(d));
    for (size_t i = 0; i < 16; i++) {
        block[2 + i] = (uint8_t)(q4_level(x[i], inverse) | q4_level(x[i + 16], inverse) << 4);
    }
}

bool dtype_quantize(dtype type, void *out, const float *in, size_t n) {
    uint8_t *bytes = out;
    switch (type) {
    case DTYPE_F32:
        memcpy(out, in, n * sizeof *in);
        return true;
    case DTYPE_F16:
        for (size_t i = 0; i < n; i++) {
            store_u16(bytes + 2 * i, f32_to_f16(in[i]));
        }
        return true;
    case DTYPE_BF16:
        for (size_t i = 0; i < n; i++) {
            store_u16(bytes + 2 * i, f32_to_bf16(in[i]));
        }
        return true;
    case DTYPE_Q8_0:
        for (size_t i = 0; i < n / 32; i++) {
            quantize_q8_0(bytes + 34 * i, in + 32 * i);
        }
        return true;
    case DTYPE_Q4_0:
        for (size_t i = 0; i < n / 32; i++) {
            quantize_q4_0(bytes + 18 * i, in + 32 * i);
        }
        return true;
    default:
        return false;
    }
}
