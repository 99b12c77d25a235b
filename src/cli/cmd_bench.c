/* qaio bench: how fast this model is on this machine, through the same path as every user: prompts read, tokens generated, labels read.
 *
 * Every prompt begins differently, so that the prefix cache helps none of them; a label read's system prompt is cached, as in service. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/memory.h"
#include "cli/open.h"
#include "cli/report.h"
#include "cli/terminal.h"

#define MAX_REPEAT    1000
#define DECODE_PROMPT 8
#define DECODE_TOKENS 64

typedef struct bench {
    resident *resident;
    const settings *settings;
    uint64_t salt; /* makes every prompt a fresh one */
    json_t *rows;
    qaio_status status;
    qaio_error error;
} bench;

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Ordinary ids, differing in the first token already. */
static void fresh_prompt(bench *b, int32_t *ids, size_t n) {
    size_t vocab_size = tokenizer_size(resident_tokenizer(b->resident));
    for (size_t i = 0; i < n; i++) {
        b->salt = b->salt * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((b->salt >> 33) % vocab_size);
    }
}

/* Milliseconds for the first token of a fresh prompt and for n_new tokens after it. */
static qaio_status time_generation(bench *b, size_t n_prompt, size_t n_new, double *first_ms, double *rest_ms) {
    int32_t *ids = mem_array(n_prompt, sizeof *ids);
    if (!ids) return error_memory(&b->error);
    fresh_prompt(b, ids, n_prompt);
    job_params params = {.kind = JOB_GENERATE,
                         .prompt = ids,
                         .n_prompt = n_prompt,
                         .sampling = {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
                         .max_new = n_new + 1,
                         .n_top = -1};
    engine_job *job;
    token_event event;
    job_result result;
    qaio_status status = engine_submit(resident_engine(b->resident), &params, &job, &b->error);
    if (!status) {
        while (engine_next(job, &event, -1) == NEXT_TOKEN) {
        }
        status = engine_finish(job, NULL, &result, &b->error);
    }
    if (!status) {
        *first_ms = result.first_ms;
        *rest_ms = result.total_ms - result.first_ms;
    }
    mem_free(ids);
    return status;
}

static qaio_status time_label(bench *b, const task *t, double *ms) {
    char text[64];
    label_read *read;
    label_answer answer;
    snprintf(text, sizeof text, "第%llu次来,今天的菜比上次好吃。", (unsigned long long)(b->salt++ % 1000000));
    qaio_status status = label_start(&read, b->resident, t, text, strlen(text), &b->error);
    if (!status) status = label_finish(read, &answer, &b->error);
    if (!status) *ms = answer.total_ms;
    return status;
}

static void add_row(bench *b, const char *what, double ms, size_t n_tokens) {
    json_t *row = json_pack("{s:s, s:f}", "what", what, "ms", ms);
    if (n_tokens) json_object_set_new(row, "tokens_per_second", json_real(1000 * (double)n_tokens / ms));
    json_array_append_new(b->rows, row);
    if (b->settings->json) return;
    if (n_tokens)
        printf("  %-18s %10.2f ms  %8.0f tokens/s\n", what, ms, 1000 * (double)n_tokens / ms);
    else
        printf("  %-18s %10.2f ms\n", what, ms);
    fflush(stdout);
}

static void bench_prefill(bench *b, size_t n_tokens) {
    double times[MAX_REPEAT], rest;
    size_t n = b->settings->repeat;
    char what[32];
    size_t room = model_context(resident_model(b->resident)) - 1; /* one for the token that is generated */
    if (n_tokens > room) n_tokens = room;
    snprintf(what, sizeof what, "prefill %zu", n_tokens);
    for (size_t i = 0; i < n && !b->status; i++) b->status = time_generation(b, n_tokens, 0, &times[i], &rest);
    if (!b->status) add_row(b, what, median(times, n), n_tokens);
}

static void bench_decode(bench *b) {
    double times[MAX_REPEAT], first;
    size_t n = b->settings->repeat;
    for (size_t i = 0; i < n && !b->status; i++) b->status = time_generation(b, DECODE_PROMPT, DECODE_TOKENS, &first, &times[i]);
    if (!b->status) add_row(b, "decode", median(times, n) / DECODE_TOKENS, 1);
}

static void bench_label(bench *b) {
    double times[MAX_REPEAT];
    size_t n = b->settings->repeat;
    const task *t;
    if (task_set_find(&t, resident_tasks(b->resident), "sentiment", &b->error)) return; /* --tasks may have taken it away */
    for (size_t i = 0; i < n && !b->status; i++) b->status = time_label(b, t, &times[i]);
    if (!b->status) add_row(b, "label read", median(times, n), 0);
}

int command_bench(const settings *s) {
    if (s->operands.n) return report_usage(TR("bench takes no %s", "bench 不需要 %s"), s->operands.items[0]);
    bench b = {.settings = s, .salt = 1, .rows = json_array()};
    double started_ms = clock_ms();
    int status = open_resident(&b.resident, s, false);
    if (status) {
        json_decref(b.rows);
        return status;
    }
    double open_ms = clock_ms() - started_ms;
    const char *name = resident_model_name(b.resident), *type = dtype_get(model_type(resident_model(b.resident)))->name,
               *cpu = resident_kernels(b.resident)->name;
    int n_threads = resident_threads(b.resident);
    if (!s->json)
        printf(TR("%s, %s, %s kernels, %d threads; median of %llu\n", "%s,%s,%s 内核,%d 线程;取 %llu 次的中位数\n"), name, type, cpu,
               n_threads, (unsigned long long)s->repeat);
    add_row(&b, "open", open_ms, 0);
    bench_prefill(&b, 16);
    bench_prefill(&b, 128);
    bench_prefill(&b, 512);
    bench_decode(&b);
    bench_label(&b);
    uint64_t bytes = memory_resident_bytes();
    char memory[32];
    format_bytes(memory, bytes);
    if (b.status)
        status = report_error(&b.error);
    else if (!s->json)
        printf("  %-18s %13s\n", TR("memory", "内存"), memory);
    else
        json_print(json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:O}", "model", name, "type", type, "kernels", cpu, "threads", n_threads,
                             "repeat", (json_int_t)s->repeat, "memory_bytes", (json_int_t)bytes, "results", b.rows));
    json_decref(b.rows);
    resident_close(b.resident);
    return status;
}
