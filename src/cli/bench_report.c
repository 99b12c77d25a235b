/* Figures as a table for people and as JSON. */
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/locale.h"
#include "cli/memory.h"

#define NAME_COLUMNS 36

static const char *const kind_keys[] = {
    [MEASURE_F32] = "float32", [MEASURE_BF16] = "bfloat16", [MEASURE_INT8] = "int8", [MEASURE_INT4] = "int4"};

static const char *kind_name(measure_kind kind) {
    switch (kind) {
    case MEASURE_F32:
        return TR("float32 multiply-adds", "float32 乘加");
    case MEASURE_BF16:
        return TR("bfloat16 dot products", "bfloat16 点积");
    case MEASURE_INT8:
        return TR("int8 dot products", "int8 点积");
    case MEASURE_INT4:
        return TR("int8, 16-bit sums", "int8，16 位累加");
    }
    return "";
}

void bench_show_limits(const bench *b) {
    const bench_limits *l = &b->limits;
    char name[96];
    puts(TR("Limits of the machine", "机器的极限"));
    for (size_t i = 0; i < l->n_reads; i++) {
        snprintf(name, sizeof name, TR("reading memory, %d thread%s", "读内存，%d 线程%s"), l->reads[i].n_threads,
                 locale_is_chinese() || l->reads[i].n_threads == 1 ? "" : "s");
        print_name(name, NAME_COLUMNS);
        printf("%10.1f GB/s\n", l->reads[i].bytes_per_second * 1e-9);
    }
    for (size_t i = 0; i < l->n_peaks; i++) {
        snprintf(name, sizeof name, "%s: %s", l->peaks[i].instructions, kind_name(l->peaks[i].kind));
        print_name(name, NAME_COLUMNS);
        printf("%10.0f %s\n", l->peaks[i].operations_per_second * 1e-9, TR("G operations/s", "G 次运算/秒"));
    }
    fflush(stdout);
}

void bench_show_heading(const bench *b) {
    const model *m = resident_model(b->resident);
    char size[32];
    format_bytes(size, model_weight_bytes(m));
    printf(TR("%s, %s, %s of weights, %s kernels, %d threads\n", "%s，%s，权重 %s，%s 内核，%d 线程\n"), resident_model_name(b->resident),
           dtype_get(model_type(m))->name, size, resident_kernels(b->resident)->name, resident_threads(b->resident));
    if (b->limits.weight_bytes_per_second > 0) {
        print_name(TR("reading as much as the weights", "读与权重等量的内存"), NAME_COLUMNS);
        printf("%10.1f GB/s\n", b->limits.weight_bytes_per_second * 1e-9);
    }
    print_name("", NAME_COLUMNS);
    puts(TR("        ms    tokens/s     bound, ms    reached", "      毫秒     词元/秒    下限，毫秒    达到"));
    fflush(stdout);
}

void bench_add_row(bench *b, const bench_figure *figure, double ms, size_t n_runs, const bench_work *work) {
    const char *by;
    double bound = bench_bound_ms(b, work, &by);
    json_t *row = json_pack("{s:s, s:f, s:I}", "what", figure->what, "ms", ms, "runs", (json_int_t)n_runs);
    if (figure->n_tokens) json_object_set_new(row, "tokens_per_second", json_real(1000 * (double)figure->n_tokens / ms));
    if (bound > 0) {
        json_object_set_new(row, "bound_ms", json_real(bound));
        json_object_set_new(row, "bound_by", json_string(by));
        json_object_set_new(row, "share", json_real(bound / ms));
    }
    json_array_append_new(b->rows, row);
    progress_end(&b->progress);
    if (b->settings->json) return;
    print_name(TR(figure->en, figure->zh), NAME_COLUMNS);
    printf("%10.2f", ms);
    if (figure->n_tokens)
        printf("    %8.0f", 1000 * (double)figure->n_tokens / ms);
    else if (bound > 0)
        printf("    %8s", "");
    if (bound > 0)
        printf("    %10.2f    %.0f %% %s", bound, 100 * bound / ms,
               strcmp(by, "bytes") == 0 ? TR("bytes", "字节") : TR("operations", "运算"));
    putchar('\n');
    fflush(stdout);
}

static void print_memory(const char *name, uint64_t bytes) {
    char text[32];
    format_bytes(text, bytes);
    print_name(name, NAME_COLUMNS);
    printf("%13s\n", text);
}

json_t *bench_memory(const bench *b) {
    engine_stats stats;
    engine_get_stats(resident_engine(b->resident), &stats);
    uint64_t bytes = memory_resident_bytes();
    size_t weights = model_weight_bytes(resident_model(b->resident));
    if (!b->settings->json) {
        print_memory(TR("memory: resident", "内存：常驻"), bytes);
        print_memory(TR("  of which weights", "  其中权重"), weights);
        print_memory(TR("  of which KV in use", "  其中 KV"), stats.kv_bytes_used);
    }
    return json_pack("{s:I, s:I, s:I}", "resident_bytes", (json_int_t)bytes, "weight_bytes", (json_int_t)weights, "kv_bytes",
                     (json_int_t)stats.kv_bytes_used);
}

json_t *bench_limits_json(const bench *b) {
    const bench_limits *l = &b->limits;
    json_t *reads = json_array(), *peaks = json_array();
    for (size_t i = 0; i < l->n_reads; i++)
        json_array_append_new(reads,
                              json_pack("{s:i, s:f}", "threads", l->reads[i].n_threads, "bytes_per_second", l->reads[i].bytes_per_second));
    for (size_t i = 0; i < l->n_peaks; i++)
        json_array_append_new(peaks, json_pack("{s:s, s:s, s:f}", "instructions", l->peaks[i].instructions, "kind",
                                               kind_keys[l->peaks[i].kind], "operations_per_second", l->peaks[i].operations_per_second));
    return json_pack("{s:o, s:o, s:f}", "read", reads, "peaks", peaks, "weights_bytes_per_second", l->weight_bytes_per_second);
}
