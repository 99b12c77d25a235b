/* qaio bench: how fast this model is on this machine, beside what the machine could do, through the same path as every user. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/open.h"
#include "cli/report.h"

static const char *const groups[] = {"limits", "prefill", "decode", "streams", "labels", "start"};
#define N_GROUPS (sizeof groups / sizeof *groups)

static int check_groups(const char *list) {
    while (*list) {
        size_t n = strcspn(list, ","), i = 0;
        while (i < N_GROUPS && (strlen(groups[i]) != n || strncmp(list, groups[i], n) != 0)) i++;
        if (i == N_GROUPS)
            return report_usage(TR("--only %.*s: must be of limits, prefill, decode, streams, labels, start",
                                   "--only %.*s：须为 limits、prefill、decode、streams、labels、start 之一"),
                                (int)n, list);
        list += n + (list[n] == ',');
    }
    return EXIT_DONE;
}

static void measure_model(bench *b) {
    if (bench_wants(b, "limits")) bench_weights(b);
    progress_end(&b->progress);
    if (!b->settings->json) bench_show_heading(b);
    if (bench_wants(b, "prefill")) bench_prefill(b);
    if (bench_wants(b, "decode")) bench_decode(b);
    if (bench_wants(b, "streams")) bench_streams(b);
    if (bench_wants(b, "labels")) bench_labels(b);
}

static json_t *describe(const bench *b) {
    const model *m = resident_model(b->resident);
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:I}", "model", resident_model_name(b->resident), "type", dtype_get(model_type(m))->name,
                     "kv_type", dtype_get(model_kv_type(m))->name, "kernels", resident_kernels(b->resident)->name, "threads",
                     resident_threads(b->resident), "context", (json_int_t)model_context(m));
}

static int finish(bench *b, json_t *report, int status) {
    progress_end(&b->progress);
    if (b->status)
        status = report_error(&b->error);
    else if (interrupt_count())
        status = report_failure("%s", TR("stopped; the rest was not measured", "已停止；其余未测量"));
    if (b->settings->json && report && !b->status) {
        json_object_set(report, "results", b->rows);
        json_object_set_new(report, "complete", json_boolean(!interrupt_count()));
        if (json_print(json_incref(report))) status = EXIT_FAILED;
    }
    json_decref(report);
    json_decref(b->rows);
    return status;
}

int command_bench(const settings *s) {
    if (s->operands.n && strcmp(s->operands.items[0], "tasks") == 0) return command_bench_tasks(s);
    if (s->operands.n) return report_usage(TR("bench takes no %s", "bench 不需要 %s"), s->operands.items[0]);
    if (s->only && check_groups(s->only)) return EXIT_USAGE;
    bench b = {.settings = s, .random = (uint64_t)clock_ns(), .rows = json_array()};
    json_t *report = NULL;
    int status = open_resident(&b.resident, s, false);
    if (!status) {
        interrupt_catch();
        progress_init(&b.progress, false, false);
        if (bench_wants(&b, "limits")) bench_machine(&b);
        progress_end(&b.progress);
        if (bench_wants(&b, "limits") && !b.status && !s->json) bench_show_limits(&b);
        if (!bench_is_over(&b)) measure_model(&b);
        report = describe(&b);
        json_object_set_new(report, "limits", bench_limits_json(&b));
        if (!bench_is_over(&b)) json_object_set_new(report, "memory", bench_memory(&b));
        resident_close(b.resident);
        b.resident = NULL;
        if (bench_wants(&b, "start") && !bench_is_over(&b)) bench_start(&b);
    }
    return finish(&b, report, status);
}
