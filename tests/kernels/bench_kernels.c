/* Speed of the kernels beside what the machine can do:  bench_kernels [--threads N] [VERSION]
 *
 * Matrices for n = 1 are far larger than the caches, so that GB/s compares with the read bandwidth measured first; for more rows G-op/s (a
 * multiply and an add are two) compare with the peak of fused multiply-adds.  Every figure is the best of several rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "kernels/measure.h"
#include "random_data.h"

/* Each loop is repeated so often and at least so long. */
enum { MIN_ROUNDS = 5, MIN_NS = 300 * 1000 * 1000 };

static pool *threads;
static volatile double kept; /* so that nothing computed is left out */

typedef struct job {
    const kernels *k;
    void (*matmul)(const matmul_args *a, size_t group_begin, size_t group_end);
    matmul_args args;
    attention_args attention;
    const float *in, *in2;
    float *out;
    size_t n; /* floats of one call of a row-wise kernel */
    quant_rows q;
} job;

/* With one thread its processor time, so that other load on the machine hardly counts; with several the time that passes. */
static int64_t time_ns(void) {
    struct timespec t;
    if (pool_threads(threads) > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return clock_ns();
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Best time of the loop in seconds. */
static double best_seconds(pool_fn *fn, void *ctx, size_t n_items, size_t chunk) {
    int64_t best = INT64_MAX, total = 0;
    for (int round = 0; round < MIN_ROUNDS || total < MIN_NS; round++) {
        int64_t start = time_ns();
        pool_run(threads, fn, ctx, n_items, chunk);
        int64_t took = time_ns() - start;
        best = took < best ? took : best;
        total += took;
    }
    return (double)best * 1e-9;
}

/* The fastest loop of float32 multiply-adds. */
static double fma_peak(void) {
    double best = 0;
    for (size_t i = 0; i < measure_n_peaks(); i++) {
        measured_peak peak = measure_peak(i, threads);
        if (peak.kind == MEASURE_F32 && peak.operations_per_second > best) best = peak.operations_per_second;
    }
    return best;
}

static void matmul_part(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const job *j = ctx;
    j->matmul(&j->args, begin, end);
}

static void bench_matmul(job *j, dtype type, size_t n_rows, size_t n_cols, size_t n, double bandwidth, double peak) {
    packed_matrix w;
    size_t bytes;
    if (!packed_init(&w, type, n_rows, n_cols, &bytes)) return;
    packed_matrix one = random_matrix(type, PACK_ROWS, n_cols, ORDINARY);
    w.data = mem_pages(bytes);
    for (size_t group = 0; group < w.n_groups; group++) memcpy(w.data + group * w.group_bytes, one.data, w.group_bytes);
    float *x = mem_aligned(n * n_cols * sizeof *x);
    random_floats(x, n * n_cols, ORDINARY);
    size_t blocks = n_cols / PACK_COLS;
    quant_rows q = {mem_aligned(n * n_cols), mem_array(n * blocks, sizeof(float)), mem_array(n * blocks, sizeof(int32_t))};
    for (size_t i = 0; i < n; i++) j->k->quantize_row(q.q + i * n_cols, q.d + i * blocks, q.sum + i * blocks, x + i * n_cols, n_cols);
    j->args = (matmul_args){.w = &w, .y = mem_array(n * n_rows, sizeof(float)), .y_stride = n_rows, .x = x, .xq = q, .n = n};
    size_t chunk = w.n_groups / ((size_t)pool_threads(threads) * 8);
    double seconds = best_seconds(matmul_part, j, w.n_groups, chunk < 4 ? 4 : chunk);
    double rate = (double)bytes / seconds, operations = 2.0 * (double)n * (double)n_rows * (double)n_cols / seconds;
    printf("  %-8s matmul_%-5s %6zu x %5zu, n %4zu  %8.2f GB/s (%3.0f %% of reading)  %8.1f Gop/s (%3.0f %% of f32 peak)\n", j->k->name,
           dtype_get(type)->name, n_rows, n_cols, n, rate * 1e-9, 100.0 * rate / bandwidth, operations * 1e-9, 100.0 * operations / peak);
    mem_free(j->args.y);
    mem_free(q.q);
    mem_free(q.d);
    mem_free(q.sum);
    mem_free(x);
    mem_free(one.data);
    mem_pages_free(w.data, bytes);
}

static void bench_products(job *j, double bandwidth, double peak) {
    static const dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0};
    static const size_t counts[] = {2, 4, 8, 16, 64, 256};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        void (*const products[])(const matmul_args *, size_t, size_t) = {j->k->matmul_f32, j->k->matmul_f16, j->k->matmul_bf16,
                                                                         j->k->matmul_q8_0, j->k->matmul_q4_0};
        j->matmul = products[t];
        size_t cols = 1024, rows = ((size_t)128 << 20) / dtype_bytes(types[t], cols) / PACK_ROWS * PACK_ROWS;
        bench_matmul(j, types[t], rows, cols, 1, bandwidth, peak);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) bench_matmul(j, types[t], 3072, cols, counts[i], bandwidth, peak);
        bench_matmul(j, types[t], 1024, 3072, 256, bandwidth, peak);
    }
}

static void attention_part(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) {
        attention_args a = j->attention;
        a.out += i * a.row_stride * a.n_rows;
        j->k->attention(&a);
    }
}

/* 64 query rows over the same positions, as in a prefill; n_rows at a time. */
static void bench_attention(job *j, dtype type, size_t n_rows, size_t n_heads, double peak) {
    enum { HEAD_DIM = 128, BLOCKS = 64, ROWS = 64 };
    size_t block_bytes = HEAD_DIM * KV_BLOCK * (type == DTYPE_F32 ? 4 : 2);
    uint8_t *data = mem_aligned(2 * BLOCKS * block_bytes);
    const void *keys[BLOCKS + KV_AHEAD] = {0}, *values[BLOCKS + KV_AHEAD] = {0};
    float *q = mem_aligned(n_rows * n_heads * HEAD_DIM * sizeof *q), *out = mem_aligned(ROWS * n_heads * HEAD_DIM * sizeof *out);
    random_floats(q, n_rows * n_heads * HEAD_DIM, ORDINARY);
    for (size_t b = 0; b < BLOCKS; b++) {
        keys[b] = data + 2 * b * block_bytes;
        values[b] = data + (2 * b + 1) * block_bytes;
        for (size_t p = 0; p < KV_BLOCK; p++) j->k->kv_store((void *)keys[b], (void *)values[b], type, p, q, q, HEAD_DIM);
    }
    j->attention =
        (attention_args){type, HEAD_DIM, n_rows, n_heads * HEAD_DIM, n_heads, q, out, keys, values, BLOCKS * KV_BLOCK - n_rows + 1, 0.08f};
    double operations = 4.0 * ROWS * (double)n_heads * BLOCKS * KV_BLOCK * HEAD_DIM;
    double rate = operations / best_seconds(attention_part, j, ROWS / n_rows, 1);
    printf("  %-8s attention %s, %zu rows of %zu heads, %d positions  %8.1f Gop/s (%3.0f %% of f32 peak)\n", j->k->name,
           dtype_get(type)->name, n_rows, n_heads, BLOCKS * KV_BLOCK, rate * 1e-9, 100.0 * rate / peak);
    mem_free(data);
    mem_free(q);
    mem_free(out);
}

static void norm_part(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) j->k->rms_norm(j->out + (size_t)thread * j->n, j->in, j->in2, j->n, j->n, 1e-6f);
}

static void silu_part(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) j->k->silu_mul(j->out + (size_t)thread * j->n, j->in, j->in2, j->n, j->n);
}

static void rope_part(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) {
        for (size_t d = 0; d < j->n; d += 128) j->k->rope(j->out + (size_t)thread * j->n + d, j->in, j->in2, 128);
    }
}

static void quantize_part(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    size_t first = (size_t)thread * j->n, block = first / PACK_COLS;
    for (size_t i = begin; i < end; i++) j->k->quantize_row(j->q.q + first, j->q.d + block, j->q.sum + block, j->in, j->n);
}

static void argmax_part(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) kept = (double)j->k->argmax(j->in, j->n);
}

static void log_sum_exp_part(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) kept = j->k->log_sum_exp(j->in, j->n);
}

static void bench_rows(job *j) {
    static const struct {
        const char *name;
        pool_fn *part;
    } entries[] = {{"rms_norm", norm_part},         {"rope", rope_part},     {"silu_mul", silu_part},
                   {"quantize_row", quantize_part}, {"argmax", argmax_part}, {"log_sum_exp", log_sum_exp_part}};
    size_t n_threads = (size_t)pool_threads(threads), calls = 2000 * n_threads;
    j->n = 1024;
    float *in = mem_aligned(j->n * sizeof *in), *in2 = mem_aligned(j->n * sizeof *in2);
    random_floats(in, j->n, ORDINARY);
    random_floats(in2, j->n, ORDINARY);
    j->in = in;
    j->in2 = in2;
    j->out = mem_aligned(n_threads * j->n * sizeof(float));
    j->q = (quant_rows){mem_aligned(n_threads * j->n), mem_aligned(n_threads * j->n), mem_aligned(n_threads * j->n)};
    for (size_t e = 0; e < sizeof entries / sizeof *entries; e++) {
        double seconds = best_seconds(entries[e].part, j, calls, 100) / (double)calls;
        printf("  %-8s %-12s of %zu floats  %7.2f G floats/s\n", j->k->name, entries[e].name, j->n, (double)j->n / seconds * 1e-9);
    }
    mem_free(in);
    mem_free(in2);
    mem_free(j->out);
    mem_free(j->q.q);
    mem_free(j->q.d);
    mem_free(j->q.sum);
}

int main(int argc, char **argv) {
    int n_threads = 0;
    const char *name = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
            n_threads = atoi(argv[++i]);
        } else {
            name = argv[i];
        }
    }
    qaio_error err;
    job j = {0};
    double bandwidth;
    if (kernels_select(&j.k, name, &err) != QAIO_OK || pool_new(&threads, n_threads, &err) != QAIO_OK ||
        measure_read(&bandwidth, threads, measure_large_buffer(), &err) != QAIO_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err.message);
        return 2;
    }
    double peak = fma_peak();
    printf("%d threads; reading %.1f GB/s, f32 multiply-adds %.0f Gop/s\n", pool_threads(threads), bandwidth * 1e-9, peak * 1e-9);
    bench_products(&j, bandwidth, peak);
    bench_attention(&j, DTYPE_F32, 1, 2, peak);
    bench_attention(&j, DTYPE_F16, 1, 1, peak);
    bench_attention(&j, DTYPE_F16, 4, 1, peak);
    bench_attention(&j, DTYPE_F16, 1, 7, peak);
    bench_attention(&j, DTYPE_F16, 4, 7, peak);
    bench_rows(&j);
    pool_free(threads);
    return 0;
}
