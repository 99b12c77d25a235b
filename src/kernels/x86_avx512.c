/* AVX-512: the row-wise kernels, and the table.  Ends that are no multiple of 16 go through masked loads and stores. */
#include "kernels/x86_avx512.h"

#include <math.h>
#include <string.h>

static void rms_norm(float *y, const float *x, const float *w, size_t n, size_t n_padded, float eps) {
    __m512 squares = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(first_lanes(n - i), x + i);
        squares = _mm512_fmadd_ps(v, v, squares);
    }
    __m512 scale = _mm512_set1_ps(1.0f / sqrtf(add_lanes(squares) / (float)n + eps));
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), scale);
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, w + i)));
    }
    for (size_t i = n; i < n_padded; i++) y[i] = 0.0f;
}

static void rope(float *x, const float *cosines, const float *sines, size_t n_rot) {
    size_t half = n_rot / 2;
    for (size_t i = 0; i < half; i += 16) {
        __mmask16 lanes = first_lanes(half - i);
        __m512 a = _mm512_maskz_loadu_ps(lanes, x + i), b = _mm512_maskz_loadu_ps(lanes, x + half + i);
        __m512 c = _mm512_maskz_loadu_ps(lanes, cosines + i), s = _mm512_maskz_loadu_ps(lanes, sines + i);
        _mm512_mask_storeu_ps(x + i, lanes, _mm512_fnmadd_ps(b, s, _mm512_mul_ps(a, c)));
        _mm512_mask_storeu_ps(x + half + i, lanes, _mm512_fmadd_ps(a, s, _mm512_mul_ps(b, c)));
    }
}

static void silu_mul(float *out, const float *gate, const float *up, size_t n, size_t n_padded) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i), u = _mm512_maskz_loadu_ps(lanes, up + i);
        __m512 e = exp16(_mm512_xor_ps(g, _mm512_set1_ps(-0.0f)));
        __m512 silu = _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
        _mm512_mask_storeu_ps(out + i, lanes, _mm512_mul_ps(silu, u));
    }
    for (size_t i = n; i < n_padded; i++) out[i] = 0.0f;
}

static void quantize_row(int8_t *q, float *d, int32_t *sum, const float *x, size_t n) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    for (size_t b = 0; b < n / PACK_COLS; b++, q += PACK_COLS, x += PACK_COLS) {
        __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
        /* Magnitudes compare as integers; infinity and NaN are above everything finite. */
        __m512i both =
            _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(low), magnitude), _mm512_and_si512(_mm512_castps_si512(high), magnitude));
        int32_t largest = _mm512_reduce_max_epi32(both);
        float amax;
        memcpy(&amax, &largest, sizeof amax);
        if (!(amax >= QUANT_TINY) || isinf(amax)) {
            memset(q, 0, PACK_COLS);
            sum[b] = 0;
            d[b] = amax < QUANT_TINY ? 0.0f : NAN;
            continue;
        }
        __m512 inverse = _mm512_set1_ps(127.0f / amax);
        __m128i q_low = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(low, inverse)));
        __m128i q_high = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(high, inverse)));
        _mm_storeu_si128((__m128i *)q, q_low);
        _mm_storeu_si128((__m128i *)(q + 16), q_high);
        __m128i ones = _mm_set1_epi8(1), sums = _mm_dpbusd_epi32(_mm_setzero_si128(), ones, q_low);
        sums = _mm_dpbusd_epi32(sums, ones, q_high);
        sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
        sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1));
        sum[b] = _mm_cvtsi128_si32(sums);
        d[b] = amax / 127.0f;
    }
}

static void kv_store(void *k_block, void *v_block, dtype kv_type, size_t slot, const float *k, const float *v, size_t head_dim) {
    for (size_t d = 0; d < head_dim; d += 16) {
        size_t n = head_dim - d < 16 ? head_dim - d : 16;
        __mmask16 lanes = first_lanes(n);
        __m512 row = _mm512_maskz_loadu_ps(lanes, v + d);
        if (kv_type == DTYPE_F32) {
            float *column = (float *)k_block + d * KV_BLOCK + slot;
            for (size_t i = 0; i < n; i++) column[i * KV_BLOCK] = k[d + i];
            _mm512_mask_storeu_ps((float *)v_block + slot * head_dim + d, lanes, row);
        } else {
            uint16_t *column = (uint16_t *)k_block + d * KV_BLOCK + slot, halves[16];
            __m256i k_halves = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(lanes, k + d), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
            _mm256_storeu_si256((__m256i *)halves, k_halves);
            for (size_t i = 0; i < n; i++) column[i * KV_BLOCK] = halves[i];
            _mm256_mask_storeu_epi16((uint16_t *)v_block + slot * head_dim + d, lanes,
                                     _mm512_cvtps_ph(row, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
        }
    }
}

/* -inf when there is nothing above; passes over NaN. */
static float max_value(const float *x, size_t n) {
    __m512 none = _mm512_set1_ps(-INFINITY), m[4] = {none, none, none, none};
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        UNROLL for (size_t j = 0; j < 4; j++) m[j] = _mm512_max_ps(_mm512_loadu_ps(x + i + 16 * j), m[j]); /* the second where x is NaN */
    }
    for (; i < n; i += 16) m[0] = _mm512_max_ps(_mm512_mask_loadu_ps(none, first_lanes(n - i), x + i), m[0]);
    return max_lanes(_mm512_max_ps(_mm512_max_ps(m[0], m[1]), _mm512_max_ps(m[2], m[3])));
}

static size_t argmax(const float *x, size_t n) {
    __m512 m = _mm512_set1_ps(max_value(x, n));
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = first_lanes(n - i), equal = _mm512_mask_cmp_ps_mask(lanes, _mm512_maskz_loadu_ps(lanes, x + i), m, _CMP_EQ_OQ);
        if (equal) return i + (size_t)__builtin_ctz(equal);
    }
    return 0;
}

static double log_sum_exp(const float *x, size_t n) {
    float m = max_value(x, n);
    if (m == -INFINITY) return -INFINITY;
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 e = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_set1_ps(m)));
        e = _mm512_maskz_mov_ps(lanes, e);
        low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(e)));
        high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(e, 1)));
    }
    __m512d v8 = _mm512_add_pd(low, high);
    __m256d v4 = _mm256_add_pd(_mm512_castpd512_pd256(v8), _mm512_extractf64x4_pd(v8, 1));
    __m128d v2 = _mm_add_pd(_mm256_castpd256_pd128(v4), _mm256_extractf128_pd(v4, 1));
    return (double)m + log(_mm_cvtsd_f64(_mm_add_sd(v2, _mm_unpackhi_pd(v2, v2))));
}

void kernels_add_avx512(kernels *table) {
    table->name = "avx512";
    table->rms_norm = rms_norm;
    table->rope = rope;
    table->silu_mul = silu_mul;
    table->quantize_row = quantize_row;
    table->matmul_f32 = matmul_f32_avx512;
    table->matmul_f16 = matmul_f16_avx512;
    table->matmul_bf16 = matmul_bf16_avx512;
    table->matmul_q8_0 = matmul_q8_0_avx512;
    table->matmul_q4_0 = matmul_q4_0_avx512;
    table->kv_store = kv_store;
    table->attention = attention_avx512;
    table->argmax = argmax;
    table->log_sum_exp = log_sum_exp;
}
