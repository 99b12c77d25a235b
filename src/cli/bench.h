/* The parts of `qaio bench`: limits of the machine, figures of the model, the table of both.
 *
 * A figure stands beside its bound: the time for the bytes that must be read, at the measured bandwidth, or for the operations, at the
 * measured peak, whichever is longer.  Prompts and texts are new in every run, so that no cache answers for the model. */
#ifndef QAIO_CLI_BENCH_H
#define QAIO_CLI_BENCH_H

#include <jansson.h>

#include "cli/settings.h"
#include "cli/terminal.h"
#include "kernels/measure.h"

#define BENCH_MAX_PEAKS 16
#define BENCH_MAX_READS 16 /* 1, 2, 4 … threads */

typedef struct bench_read {
    int n_threads;
    double bytes_per_second;
} bench_read;

typedef struct bench_limits {
    size_t n_reads, n_peaks;
    bench_read reads[BENCH_MAX_READS];
    measured_peak peaks[BENCH_MAX_PEAKS];
    double weight_bytes_per_second; /* reading as much as the weights are; the caches may hold that */
} bench_limits;

/* What something cannot do without. */
typedef struct bench_work {
    double bytes;
    double operations;     /* with weights, of their type */
    double f32_operations; /* attention */
} bench_work;

typedef struct bench {
    const settings *settings;
    resident *resident; /* NULL while only the machine is measured */
    bench_limits limits;
    json_t *rows;
    uint64_t random; /* makes prompts and texts new */
    progress progress;
    qaio_status status; /* of the first failure; what follows is left out */
    qaio_error error;
} bench;

/* ---- bench.c ---- */

bool bench_wants(const bench *b, const char *group); /* --only */
bool bench_is_over(const bench *b);                  /* something failed, or Ctrl-C */
uint64_t bench_random(bench *b);

/* One run of what is measured; *work is what it had to do. */
typedef qaio_status bench_once(bench *b, void *ctx, double *ms, bench_work *work);
typedef struct bench_figure {
    char what[32];       /* in JSON */
    char en[48], zh[48]; /* in the table */
    size_t n_tokens;     /* of one run, for the rate; 0: no rate */
    bool is_warm;        /* needs no run in front that does not count */
} bench_figure;
/* The median of some runs as a row. */
void bench_measure(bench *b, const bench_figure *figure, bench_once *once, void *ctx);

/* ---- bench_limits.c ---- */

void bench_machine(bench *b);
void bench_weights(bench *b); /* weight_bytes_per_second */
/* Milliseconds that the work takes at the measured limits, and which of them binds: "bytes" or "operations"; 0: not known. */
double bench_bound_ms(const bench *b, const bench_work *work, const char **by);

/* Rows going through the model. */
typedef struct bench_pass {
    double n_steps;    /* passes over the weights */
    double n_rows;     /* in all of them */
    double n_attended; /* positions all rows attend to */
    double n_kv;       /* positions whose KV has to be read */
    double n_logits;   /* rows that need the whole head */
} bench_pass;
bench_work bench_work_of(const resident *r, const bench_pass *pass);

/* ---- the groups ---- */

void bench_prefill(bench *b);
void bench_decode(bench *b);
void bench_streams(bench *b);
void bench_labels(bench *b);
void bench_start(bench *b); /* after the resident is closed: other processes open the model */

/* ---- bench_report.c ---- */

void bench_show_limits(const bench *b);
void bench_show_heading(const bench *b);
void bench_add_row(bench *b, const bench_figure *figure, double ms, size_t n_runs, const bench_work *work);
json_t *bench_limits_json(const bench *b);
json_t *bench_memory(const bench *b); /* shown too; a new reference */

#endif
