/* Prompts read and tokens generated, one stream and several. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/interrupt.h"

#define DECODE_TOKENS  32
#define SHALLOW_PROMPT 8
#define STREAM_PROMPT  (2 * KV_BLOCK + 1) /* whole blocks are cached: one row is left */
#define STREAM_TOKENS  32
#define MAX_STREAMS    16
#define WAIT_MS        50 /* between two looks at Ctrl-C */

/* Ordinary ids, new in every call. */
static void fresh_prompt(bench *b, int32_t *ids, size_t n) {
    size_t vocab_size = tokenizer_size(resident_tokenizer(b->resident));
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(bench_random(b) % vocab_size);
}

static qaio_status start(bench *b, const int32_t *ids, size_t n, size_t n_new, engine_job **out) {
    job_params params = {.kind = JOB_GENERATE,
                         .prompt = ids,
                         .n_prompt = n,
                         .sampling = {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
                         .max_new = n_new,
                         .n_top = -1};
    return engine_submit(resident_engine(b->resident), &params, out, &b->error);
}

static qaio_status finish(bench *b, engine_job *job, job_result *result) {
    token_event event;
    job_next next;
    while ((next = engine_next(job, &event, WAIT_MS)) != NEXT_END) {
        if (interrupt_count()) engine_cancel(job);
    }
    return engine_finish(job, NULL, result, &b->error);
}

/* Positions attended to by n_tokens rows, the first of which stands at `depth`. */
static double attended(double depth, double n_tokens) { return n_tokens * (depth + (n_tokens + 1) / 2); }

/* ---- prompts ---- */

static qaio_status prefill_once(bench *b, void *ctx, double *ms, bench_work *work) {
    size_t n = *(size_t *)ctx;
    int32_t *ids = mem_array(n, sizeof *ids);
    if (!ids) return error_memory(&b->error);
    fresh_prompt(b, ids, n);
    engine_job *job;
    job_result result;
    qaio_status status = start(b, ids, n, 1, &job);
    if (!status) status = finish(b, job, &result);
    mem_free(ids);
    if (!status) *ms = result.first_ms;
    double rows = (double)n;
    bench_pass pass = {.n_steps = 1, .n_rows = rows, .n_attended = attended(0, rows), .n_kv = rows, .n_logits = 1};
    *work = bench_work_of(b->resident, &pass);
    return status;
}

void bench_prefill(bench *b) {
    static const size_t sizes[] = {16, 32, 128, 512};
    size_t room = model_context(resident_model(b->resident)) - 1; /* one for the token that is generated */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i] < room ? sizes[i] : room;
        bench_figure figure = {.n_tokens = n, .is_warm = i > 0};
        snprintf(figure.what, sizeof figure.what, "prefill %zu", n);
        snprintf(figure.en, sizeof figure.en, "prompt of %zu tokens", n);
        snprintf(figure.zh, sizeof figure.zh, "读入 %zu 词元", n);
        bench_measure(b, &figure, prefill_once, &n);
        if (n == room) break;
    }
}

/* ---- one stream ---- */

typedef struct prompt {
    int32_t *ids;
    size_t n;
} prompt;

/* The run before those that count leaves the prompt in the cache. */
static qaio_status decode_once(bench *b, void *ctx, double *ms, bench_work *work) {
    const prompt *p = ctx;
    engine_job *job;
    job_result result;
    qaio_status status = start(b, p->ids, p->n, DECODE_TOKENS + 1, &job);
    if (!status) status = finish(b, job, &result);
    if (!status) *ms = (result.total_ms - result.first_ms) / DECODE_TOKENS;
    double positions = attended((double)p->n, DECODE_TOKENS) / DECODE_TOKENS;
    bench_pass pass = {.n_steps = 1, .n_rows = 1, .n_attended = positions, .n_kv = positions, .n_logits = 1};
    *work = bench_work_of(b->resident, &pass);
    return status;
}

static void decode_at(bench *b, size_t depth) {
    prompt p = {.n = depth ? depth : SHALLOW_PROMPT};
    if (bench_is_over(b) || p.n + DECODE_TOKENS + 1 > model_context(resident_model(b->resident))) return;
    if (!(p.ids = mem_array(p.n, sizeof *p.ids))) {
        b->status = error_memory(&b->error);
        return;
    }
    fresh_prompt(b, p.ids, p.n);
    bench_figure figure = {.n_tokens = 1};
    snprintf(figure.what, sizeof figure.what, "decode at %zu", depth);
    snprintf(figure.en, sizeof figure.en, depth ? "token at depth %zu" : "token", depth);
    snprintf(figure.zh, sizeof figure.zh, depth ? "深度 %zu 处一个词元" : "生成一个词元", depth);
    bench_measure(b, &figure, decode_once, &p);
    mem_free(p.ids);
}

void bench_decode(bench *b) {
    decode_at(b, 0);
    decode_at(b, 1024);
    if (b->settings->full) decode_at(b, 4096);
}

/* ---- several streams ---- */

typedef struct streams {
    int32_t ids[MAX_STREAMS][STREAM_PROMPT];
    size_t n;
} streams;

/* All begin in one step, from prompts that the run before left in the cache. */
static qaio_status streams_once(bench *b, void *ctx, double *ms, bench_work *work) {
    const streams *s = ctx;
    engine_job *jobs[MAX_STREAMS];
    job_result result;
    qaio_status status = QAIO_OK;
    size_t n = 0;
    engine_hold(resident_engine(b->resident));
    double started_ms = clock_ms();
    while (n < s->n && !(status = start(b, s->ids[n], STREAM_PROMPT, STREAM_TOKENS, &jobs[n]))) n++;
    engine_release(resident_engine(b->resident));
    for (size_t i = 0; i < n; i++) {
        qaio_status ended = finish(b, jobs[i], &result);
        if (!status) status = ended;
    }
    *ms = clock_ms() - started_ms;
    double rows = (double)(s->n * STREAM_TOKENS), positions = (double)s->n * attended(STREAM_PROMPT - 1, STREAM_TOKENS);
    bench_pass pass = {.n_steps = STREAM_TOKENS, .n_rows = rows, .n_attended = positions, .n_kv = positions, .n_logits = rows};
    *work = bench_work_of(b->resident, &pass);
    return status;
}

void bench_streams(bench *b) {
    streams s;
    for (s.n = 1; s.n <= MAX_STREAMS && !bench_is_over(b); s.n *= 2) {
        for (size_t i = 0; i < s.n; i++) fresh_prompt(b, s.ids[i], STREAM_PROMPT);
        bench_figure figure = {.n_tokens = s.n * STREAM_TOKENS};
        snprintf(figure.what, sizeof figure.what, "streams %zu", s.n);
        snprintf(figure.en, sizeof figure.en, "%zu streams of %d tokens", s.n, STREAM_TOKENS);
        snprintf(figure.zh, sizeof figure.zh, "%zu 路，每路 %d 词元", s.n, STREAM_TOKENS);
        bench_measure(b, &figure, streams_once, &s);
    }
}
