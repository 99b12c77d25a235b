/* The K-quants and the non-linear 4-bit types: blocks of 256 elements cut into sub-blocks of 16 or 32, each with a small integer scale
 * (and minimum) of its own under one f16 scale (and minimum) of the block.
 *
 *   type    bytes  layout                                                        element
 *   Q2_K     84    scales[16] qs[64] d:f16 dmin:f16                               d*(s & 15)*q - dmin*(s >> 4)
 *   Q3_K    110    hmask[32] qs[64] scales[12] d:f16                              d*(s - 32)*(q - 4)
 *   Q4_K    144    d:f16 dmin:f16 scales[12] qs[128]                              d*s*q - dmin*m
 *   Q5_K    176    d:f16 dmin:f16 scales[12] qh[32] qs[128]                       d*s*q - dmin*m
 *   Q6_K    210    ql[128] qh[64] scales[16]:i8 d:f16                             d*s*(q - 32)
 *   IQ4_NL   18    d:f16 qs[16]                       (32 elements)               d*level[q]
 *   IQ4_XS  136    d:f16 scales_h:u16 scales_l[4] qs[128]                         d*(s - 32)*level[q] */
#include "kernels/dtype_blocks.h"

#include <stddef.h>

static const float iq4_level[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void dequantize_q2_k(float *out, const uint8_t *block) {
    const uint8_t *scales = block, *qs = block + 16;
    float d = load_f16(block + 80), dmin = load_f16(block + 82);
    for (size_t sub = 0; sub < 16; sub++) {
        /* A half of 128 elements shares 32 bytes: two sub-blocks for each pair of bits. */
        const uint8_t *q = qs + sub / 8 * 32 + sub % 2 * 16;
        unsigned shift = (unsigned)(sub % 8 / 2 * 2);
        float scale = d * (float)(scales[sub] & 15), minimum = dmin * (float)(scales[sub] >> 4);
        for (size_t i = 0; i < 16; i++) {
            out[sub * 16 + i] = scale * (float)((q[i] >> shift) & 3) - minimum;
        }
    }
}

void dequantize_q3_k(float *out, const uint8_t *block) {
    const uint8_t *hmask = block, *qs = block + 32, *scales = block + 96;
    float d = load_f16(block + 108);
    for (size_t sub = 0; sub < 16; sub++) {
        /* 6 bits: the lower 4 from bytes 0..7 (low nibbles, then high ones), the upper 2 from bytes 8..11. */
        int low = sub < 8 ? scales[sub] & 15 : scales[sub - 8] >> 4;
        int high = (scales[8 + sub % 4] >> (sub / 4 * 2)) & 3;
        float scale = d * (float)((low | (high << 4)) - 32);
        const uint8_t *q = qs + sub / 8 * 32 + sub % 2 * 16;
        const uint8_t *h = hmask + sub % 2 * 16;
        unsigned shift = (unsigned)(sub % 8 / 2 * 2);
        for (size_t i = 0; i < 16; i++) {
            int upper = (h[i] >> (sub / 2)) & 1;
            out[sub * 16 + i] = scale * (float)(((q[i] >> shift) & 3) - (upper ? 0 : 4));
        }
    }
}

/* Scale and minimum of 32-element sub-block `sub` of Q4_K and Q5_K: 6 bits each in 12 bytes. */
static void scale_and_minimum(const uint8_t scales[12], size_t sub, float *scale, float *minimum) {
    int s, m;
    if (sub < 4) {
        s = scales[sub] & 63;
        m = scales[sub + 4] & 63;
    } else {
        s = (scales[sub + 4] & 15) | ((scales[sub - 4] >> 6) << 4);
        m = (scales[sub + 4] >> 4) | ((scales[sub] >> 6) << 4);
    }
    *scale = (float)s;
    *minimum = (float)m;
}

void dequantize_q4_k(float *out, const uint8_t *block) {
    const uint8_t *scales = block + 4, *qs = block + 16;
    float d = load_f16(block), dmin = load_f16(block + 2);
    for (size_t sub = 0; sub < 8; sub++) {
        float scale, minimum;
        scale_and_minimum(scales, sub, &scale, &minimum);
        scale *= d;
        minimum *= dmin;
        const uint8_t *q = qs + sub / 2 * 32;
        unsigned shift = (unsigned)(sub % 2 * 4);
        for (size_t i = 0; i < 32; i++) {
            out[sub * 32 + i] = scale * (float)((q[i] >> shift) & 15) - minimum;
        }
    }
}

void dequantize_q5_k(float *out, const uint8_t *block) {
    const uint8_t *scales = block + 4, *qh = block + 16, *qs = block + 48;
    float d = load_f16(block), dmin = load_f16(block + 2);
    for (size_t sub = 0; sub < 8; sub++) {
        float scale, minimum;
        scale_and_minimum(scales, sub, &scale, &minimum);
        scale *= d;
        minimum *= dmin;
        const uint8_t *q = qs + sub / 2 * 32;
        unsigned shift = (unsigned)(sub % 2 * 4);
        for (size_t i = 0; i < 32; i++) {
            int upper = (qh[i] >> sub) & 1;
            out[sub * 32 + i] = scale * (float)(((q[i] >> shift) & 15) | (upper << 4)) - minimum;
        }
    }
}

void dequantize_q6_k(float *out, const uint8_t *block) {
    const uint8_t *ql = block, *qh = block + 128, *scales = block + 192;
    float d = load_f16(block + 208);
    for (size_t i = 0; i < 256; i++) {
        /* Halves of 128, each in quarters of 32: the quarter chooses the nibble of ql and the bit pair of qh. */
        size_t half = i / 128, quarter = i % 128 / 32, l = i % 32;
        int low = (ql[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4)) & 15;
        int high = (qh[half * 32 + l] >> (quarter * 2)) & 3;
        float scale = d * (float)(int8_t)scales[i / 16];
        out[i] = scale * (float)((low | (high << 4)) - 32);
    }
}

/* 32 elements: low nibbles, then high ones. */
static void dequantize_levels(float out[32], float scale, const uint8_t qs[16]) {
    for (size_t i = 0; i < 16; i++) {
        out[i] = scale * iq4_level[qs[i] & 15];
        out[i + 16] = scale * iq4_level[qs[i] >> 4];
    }
}

void dequantize_iq4_nl(float *out, const uint8_t *block) { dequantize_levels(out, load_f16(block), block + 2); }

void dequantize_iq4_xs(float *out, const uint8_t *block) {
    float d = load_f16(block);
    unsigned scales_h = (unsigned)block[2] | (unsigned)block[3] << 8;
    const uint8_t *scales_l = block + 4, *qs = block + 8;
    for (size_t sub = 0; sub < 8; sub++) {
        int low = (scales_l[sub / 2] >> (sub % 2 * 4)) & 15;
        int high = (int)((scales_h >> (sub * 2)) & 3);
        dequantize_levels(out + sub * 32, d * (float)((low | (high << 4)) - 32), qs + sub * 16);
    }
}
