/* AVX-VNNI: AVX2's products of int8 and int4, with four multiplications and additions in one instruction of 256 bits.  For processors that
 * have no AVX-512 (Alder Lake and its successors). */
#include "kernels/x86_avx2_tiles.h"

#if defined(QAIO_AVXVNNI_INTRINSICS) /* a test on a processor without it names a header that emulates the instruction */
#include QAIO_AVXVNNI_INTRINSICS
#endif

/* The quants as they are, 128 more than they stand for: unsigned, as the instruction takes its first factor. */
ALWAYS_INLINE void dot_q8(__m256i sum[][2], const uint8_t *w, const int8_t *const q[], size_t n_rows) {
    UNROLL for (size_t i = 0; i < n_rows; i++) sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    UNROLL for (size_t v = 0; v < 8; v++) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(w + 64 * v)), high = _mm256_loadu_si256((const __m256i *)(w + 64 * v + 32));
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m256i four = broadcast4(q[i] + 4 * v);
            sum[i][0] = _mm256_dpbusd_avx_epi32(sum[i][0], low, four);
            sum[i][1] = _mm256_dpbusd_avx_epi32(sum[i][1], high, four);
        }
    }
}

/* Quants 0..15, 8 more than they stand for. */
ALWAYS_INLINE void dot_q4(__m256i sum[][2], const uint8_t *w, const int8_t *const q[], size_t n_rows) {
    UNROLL for (size_t i = 0; i < n_rows; i++) sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    UNROLL for (size_t v = 0; v < 8; v++) {
        __m256i low = q4_quants(w, v, 0), high = q4_quants(w, v, 1);
        UNROLL for (size_t i = 0; i < n_rows; i++) {
            __m256i four = broadcast4(q[i] + q4_column(v));
            sum[i][0] = _mm256_dpbusd_avx_epi32(sum[i][0], low, four);
            sum[i][1] = _mm256_dpbusd_avx_epi32(sum[i][1], high, four);
        }
    }
}

QUANT_MATMUL(q8_0, avxvnni, DTYPE_Q8_0, dot_q8, 7)
QUANT_MATMUL(q4_0, avxvnni, DTYPE_Q4_0, dot_q4, 3)

void kernels_add_avxvnni(kernels *table) {
    table->name = "avxvnni";
    table->matmul_q8_0 = matmul_q8_0_avxvnni;
    table->matmul_q4_0 = matmul_q4_0_avxvnni;
}
