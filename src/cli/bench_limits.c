/* What the machine can do, and how long a model's work takes at that. */
#include "cli/bench.h"

static int n_threads(const bench *b) { return b->settings->n_threads ? (int)b->settings->n_threads : pool_default_threads(); }

static void measure_one_read(bench *b, int threads) {
    pool *p;
    bench_limits *l = &b->limits;
    if (bench_is_over(b) || l->n_reads == BENCH_MAX_READS || (b->status = pool_new(&p, threads, &b->error))) return;
    double rate;
    b->status = measure_read(&rate, p, measure_large_buffer(), &b->error);
    if (!b->status) l->reads[l->n_reads++] = (bench_read){threads, rate};
    pool_free(p);
}

void bench_machine(bench *b) {
    bench_limits *l = &b->limits;
    int all = n_threads(b);
    progress_draw(&b->progress, 0, 0, "limits");
    for (int threads = 1; threads < all; threads *= 2) measure_one_read(b, threads);
    measure_one_read(b, all);
    pool *p;
    if (bench_is_over(b) || (b->status = pool_new(&p, all, &b->error))) return;
    for (size_t i = 0; i < measure_n_peaks() && i < BENCH_MAX_PEAKS && !bench_is_over(b); i++) l->peaks[l->n_peaks++] = measure_peak(i, p);
    pool_free(p);
}

void bench_weights(bench *b) {
    bench_limits *l = &b->limits;
    size_t bytes = model_weight_bytes(resident_model(b->resident));
    if (l->n_reads) l->weight_bytes_per_second = l->reads[l->n_reads - 1].bytes_per_second;
    if (bytes >= measure_large_buffer() || bench_is_over(b)) return;
    pool *p;
    if ((b->status = pool_new(&p, n_threads(b), &b->error))) return;
    b->status = measure_read(&l->weight_bytes_per_second, p, bytes, &b->error);
    pool_free(p);
}

static double best_peak(const bench_limits *l, measure_kind kind) {
    double best = 0;
    for (size_t i = 0; i < l->n_peaks; i++)
        if (l->peaks[i].kind == kind && l->peaks[i].operations_per_second > best) best = l->peaks[i].operations_per_second;
    return best;
}

/* Products with weights of this type. */
static double peak_of_type(const bench_limits *l, dtype type) {
    double f32 = best_peak(l, MEASURE_F32), bf16 = best_peak(l, MEASURE_BF16), int8 = best_peak(l, MEASURE_INT8),
           int4 = best_peak(l, MEASURE_INT4);
    if (type == DTYPE_Q4_0) return int4 > int8 ? int4 : int8;
    if (type == DTYPE_Q8_0) return int8;
    return type == DTYPE_BF16 && bf16 > f32 ? bf16 : f32;
}

double bench_bound_ms(const bench *b, const bench_work *work, const char **by) {
    const bench_limits *l = &b->limits;
    *by = "";
    if (!b->resident) return 0;
    double peak = peak_of_type(l, model_type(resident_model(b->resident))), f32 = best_peak(l, MEASURE_F32);
    double bytes_ms = l->weight_bytes_per_second > 0 ? 1000 * work->bytes / l->weight_bytes_per_second : 0;
    double operations_ms = peak > 0 && f32 > 0 ? 1000 * (work->operations / peak + work->f32_operations / f32) : 0;
    *by = operations_ms > bytes_ms ? "operations" : "bytes";
    return operations_ms > bytes_ms ? operations_ms : bytes_ms;
}

static size_t matrix_bytes(dtype type, size_t n_rows, size_t n_cols) {
    packed_matrix m;
    size_t bytes;
    return packed_init(&m, type, n_rows, n_cols, &bytes) ? bytes : 0;
}

bench_work bench_work_of(const resident *r, const bench_pass *pass) {
    const model_desc *d = resident_desc(r);
    const model *m = resident_model(r);
    dtype type = model_type(m);
    size_t q = d->n_heads * d->head_dim, kv = d->n_kv_heads * d->head_dim, hidden = d->hidden_size, ffn = d->intermediate_size;
    double layers = (double)d->n_layers;
    double layer_bytes = (double)(matrix_bytes(type, q, hidden) + 2 * matrix_bytes(type, kv, hidden) + matrix_bytes(type, hidden, q) +
                                  2 * matrix_bytes(type, ffn, hidden) + matrix_bytes(type, hidden, ffn));
    double ends_bytes = (double)model_weight_bytes(m) - layers * layer_bytes; /* embedding and head, one matrix where they are tied */
    double head_bytes = d->is_tied ? ends_bytes : ends_bytes / 2;
    double layer_weights = (double)(2 * hidden * q + 2 * hidden * kv + 3 * hidden * ffn);
    return (bench_work){
        .bytes = pass->n_steps * (layers * layer_bytes + (pass->n_logits > 0 ? head_bytes : 0)) +
                 pass->n_kv * (double)model_kv_block_bytes(m) / KV_BLOCK,
        .operations = 2 * (pass->n_rows * layers * layer_weights + pass->n_logits * (double)(d->vocab_size * hidden)),
        .f32_operations = 4 * pass->n_attended * layers * (double)q,
    };
}
