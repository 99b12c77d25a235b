#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"

/* Without --repeat a figure is measured as often as fits into this time. */
#define BUDGET_MS 1500.0
#define MIN_RUNS  2
#define MAX_RUNS  1000
#define FEW_RUNS  25

bool bench_wants(const bench *b, const char *group) {
    const char *list = b->settings->only;
    if (!list) return true;
    for (size_t n = strlen(group); *list; list += strcspn(list, ",") + (list[strcspn(list, ",")] == ',')) {
        if (strncmp(list, group, n) == 0 && (list[n] == ',' || !list[n])) return true;
    }
    return false;
}

bool bench_is_over(const bench *b) { return b->status || interrupt_count(); }

/* splitmix64 */
uint64_t bench_random(bench *b) {
    uint64_t x = b->random += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void bench_measure(bench *b, const bench_figure *figure, bench_once *once, void *ctx) {
    double times[MAX_RUNS], total = 0;
    size_t n = 0, wanted = b->settings->repeat;
    bench_work work = {0};
    if (bench_is_over(b)) return;
    progress_draw(&b->progress, 0, 0, figure->what);
    if (!figure->is_warm) b->status = once(b, ctx, &times[0], &work);
    while (!bench_is_over(b) && (wanted ? n < wanted : n < MIN_RUNS || (n < FEW_RUNS && total < BUDGET_MS))) {
        b->status = once(b, ctx, &times[n], &work);
        if (!b->status) total += times[n++];
        progress_draw(&b->progress, 0, 0, figure->what);
    }
    if (b->status && interrupt_count()) b->status = QAIO_OK; /* it was cut, nothing is wrong */
    if (n && !bench_is_over(b)) bench_add_row(b, figure, median(times, n), n, &work);
}
