/* AVX2 with FMA and F16C: the row-wise kernels, and the table.  Ends that are no multiple of 8 go through masked loads and stores. */
#include "kernels/x86_avx2.h"

#include <math.h>
#include <string.h>

static void rms_norm(float *y, const float *x, const float *w, size_t n, size_t n_padded, float eps) {
    __m256 low = _mm256_setzero_ps(), high = low;
    for (size_t i = 0; i < n; i += 16) {
        __m256 a = load_first(x + i, n - i), b = n - i > 8 ? load_first(x + i + 8, n - i - 8) : _mm256_setzero_ps();
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    __m256 scale = _mm256_set1_ps(1.0f / sqrtf(add_lanes(low, high) / (float)n + eps));
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(load_first(x + i, n - i), scale);
        store_first(y + i, n - i, _mm256_mul_ps(v, load_first(w + i, n - i)));
    }
    for (size_t i = n; i < n_padded; i++) y[i] = 0.0f;
}

static void rope(float *x, const float *cosines, const float *sines, size_t n_rot) {
    size_t half = n_rot / 2;
    for (size_t i = 0; i < half; i += 8) {
        size_t n = half - i;
        __m256 a = load_first(x + i, n), b = load_first(x + half + i, n);
        __m256 c = load_first(cosines + i, n), s = load_first(sines + i, n);
        store_first(x + i, n, _mm256_fnmadd_ps(b, s, _mm256_mul_ps(a, c)));
        store_first(x + half + i, n, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
    }
}

static void silu_mul(float *out, const float *gate, const float *up, size_t n, size_t n_padded) {
    for (size_t i = 0; i < n; i += 8) {
        __m256 g = load_first(gate + i, n - i), u = load_first(up + i, n - i);
        __m256 e = exp8(_mm256_xor_ps(g, _mm256_set1_ps(-0.0f)));
        __m256 silu = _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
        store_first(out + i, n - i, _mm256_mul_ps(silu, u));
    }
    for (size_t i = n; i < n_padded; i++) out[i] = 0.0f;
}

/* The largest magnitude of 32 floats; magnitudes compare as integers, and infinity and NaN are above everything finite. */
static float largest_magnitude(const __m256 x[4]) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i m[4];
    UNROLL for (size_t i = 0; i < 4; i++) m[i] = _mm256_and_si256(_mm256_castps_si256(x[i]), magnitude);
    __m256i v8 = _mm256_max_epi32(_mm256_max_epi32(m[0], m[1]), _mm256_max_epi32(m[2], m[3]));
    __m128i v4 = _mm_max_epi32(_mm256_castsi256_si128(v8), _mm256_extracti128_si256(v8, 1));
    __m128i v2 = _mm_max_epi32(v4, _mm_shuffle_epi32(v4, 0x4e));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(v2, _mm_shuffle_epi32(v2, 0xb1))));
}

static void quantize_row(int8_t *q, float *d, int32_t *sum, const float *x, size_t n) {
    for (size_t b = 0; b < n / PACK_COLS; b++, q += PACK_COLS, x += PACK_COLS) {
        __m256 v[4];
        __m256i whole[4];
        UNROLL for (size_t i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(x + 8 * i);
        float amax = largest_magnitude(v);
        if (!(amax >= QUANT_TINY) || isinf(amax)) {
            memset(q, 0, PACK_COLS);
            sum[b] = 0;
            d[b] = amax < QUANT_TINY ? 0.0f : NAN;
            continue;
        }
        __m256 inverse = _mm256_set1_ps(127.0f / amax);
        UNROLL for (size_t i = 0; i < 4; i++) whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
        /* Packing works on halves of registers: the 4-byte pieces come out in the order 0 2 4 6 1 3 5 7. */
        __m256i low = _mm256_packs_epi32(whole[0], whole[1]), high = _mm256_packs_epi32(whole[2], whole[3]);
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i *)q, bytes);
        __m256i s8 = _mm256_madd_epi16(_mm256_add_epi16(low, high), _mm256_set1_epi16(1));
        __m128i s4 = _mm_add_epi32(_mm256_castsi256_si128(s8), _mm256_extracti128_si256(s8, 1));
        s4 = _mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0x4e));
        sum[b] = _mm_cvtsi128_si32(_mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0xb1)));
        d[b] = amax / 127.0f;
    }
}

static void kv_store_f32(float *column, float *row, const float *k, const float *v, size_t head_dim) {
    for (size_t d = 0; d < head_dim; d++) column[d * KV_BLOCK] = k[d];
    memcpy(row, v, head_dim * sizeof *row);
}

static void kv_store_f16(uint16_t *column, uint16_t *row, const float *k, const float *v, size_t head_dim) {
    for (size_t d = 0; d < head_dim; d += 8) {
        size_t n = head_dim - d < 8 ? head_dim - d : 8;
        uint16_t halves[8];
        _mm_storeu_si128((__m128i *)halves, _mm256_cvtps_ph(load_first(v + d, n), _MM_FROUND_TO_NEAREST_INT));
        memcpy(row + d, halves, n * sizeof *halves);
        _mm_storeu_si128((__m128i *)halves, _mm256_cvtps_ph(load_first(k + d, n), _MM_FROUND_TO_NEAREST_INT));
        for (size_t i = 0; i < n; i++) column[(d + i) * KV_BLOCK] = halves[i];
    }
}

static void kv_store(void *k_block, void *v_block, dtype kv_type, size_t slot, const float *k, const float *v, size_t head_dim) {
    if (kv_type == DTYPE_F32) {
        kv_store_f32((float *)k_block + slot, (float *)v_block + slot * head_dim, k, v, head_dim);
    } else {
        kv_store_f16((uint16_t *)k_block + slot, (uint16_t *)v_block + slot * head_dim, k, v, head_dim);
    }
}

/* -inf when there is nothing above; passes over NaN. */
static float max_value(const float *x, size_t n) {
    const __m256 none = _mm256_set1_ps(-INFINITY);
    __m256 m[4] = {none, none, none, none};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        UNROLL for (size_t j = 0; j < 4; j++) m[j] = _mm256_max_ps(_mm256_loadu_ps(x + i + 8 * j), m[j]); /* the second where x is NaN */
    }
    for (; i < n; i += 8) {
        __m256 v = _mm256_blendv_ps(none, load_first(x + i, n - i), _mm256_castsi256_ps(first_lanes(n - i)));
        m[0] = _mm256_max_ps(v, m[0]);
    }
    return max_lanes(_mm256_max_ps(_mm256_max_ps(m[0], m[1]), _mm256_max_ps(m[2], m[3])));
}

static size_t argmax(const float *x, size_t n) {
    __m256 m = _mm256_set1_ps(max_value(x, n));
    for (size_t i = 0; i < n; i += 8) {
        __m256 equal = _mm256_cmp_ps(load_first(x + i, n - i), m, _CMP_EQ_OQ);
        unsigned lanes = (unsigned)_mm256_movemask_ps(_mm256_and_ps(equal, _mm256_castsi256_ps(first_lanes(n - i))));
        if (lanes) return i + (size_t)__builtin_ctz(lanes);
    }
    return 0;
}

static double log_sum_exp(const float *x, size_t n) {
    float m = max_value(x, n);
    if (m == -INFINITY) return -INFINITY;
    __m256d sum[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    for (size_t i = 0; i < n; i += 16) {
        UNROLL for (size_t half = 0; half < 2; half++) {
            size_t rest = n - i > 8 * half ? n - i - 8 * half : 0;
            __m256 e = exp8(_mm256_sub_ps(load_first(x + i + 8 * half, rest), _mm256_set1_ps(m)));
            e = _mm256_and_ps(e, _mm256_castsi256_ps(first_lanes(rest)));
            sum[2 * half] = _mm256_add_pd(sum[2 * half], _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
            sum[2 * half + 1] = _mm256_add_pd(sum[2 * half + 1], _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
        }
    }
    __m256d v4 = _mm256_add_pd(_mm256_add_pd(sum[0], sum[2]), _mm256_add_pd(sum[1], sum[3]));
    __m128d v2 = _mm_add_pd(_mm256_castpd256_pd128(v4), _mm256_extractf128_pd(v4, 1));
    return (double)m + log(_mm_cvtsd_f64(_mm_add_sd(v2, _mm_unpackhi_pd(v2, v2))));
}

void kernels_add_avx2(kernels *table) {
    table->name = "avx2";
    table->rms_norm = rms_norm;
    table->rope = rope;
    table->silu_mul = silu_mul;
    table->quantize_row = quantize_row;
    table->matmul_f32 = matmul_f32_avx2;
    table->matmul_f16 = matmul_f16_avx2;
    table->matmul_bf16 = matmul_bf16_avx2;
    table->matmul_q8_0 = matmul_q8_0_avx2;
    table->matmul_q4_0 = matmul_q4_0_avx2;
    table->kv_store = kv_store;
    table->attention = attention_avx2;
    table->argmax = argmax;
    table->log_sum_exp = log_sum_exp;
}
