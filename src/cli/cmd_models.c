/* qaio pull, qaio models. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "hub/hub.h"
#include "tasks/resident.h"

/* ---- pull ---- */

static bool on_progress(void *ctx, const hub_progress *p) {
    progress *bar = ctx;
    if (progress_is_due(bar)) {
        char what[400], done[32], total[32], rate[32];
        double seconds = progress_seconds(bar);
        format_bytes(done, p->total_done);
        format_bytes(total, p->total_bytes);
        format_bytes(rate, seconds > 0 ? (uint64_t)((double)p->total_done / seconds) : 0);
        snprintf(what, sizeof what, "%s / %s  %s/s  %zu/%zu %.200s", done, total, rate, p->file_index + 1, p->n_files,
                 p->file ? p->file : "");
        progress_draw(bar, p->total_done, p->total_bytes, what);
    }
    return !interrupt_count();
}

static int pull(const settings *s, const hub_options *options, progress *bar) {
    char *path;
    qaio_error err;
    qaio_status status = hub_pull(&path, s->operands.items[0], options, &err);
    progress_end(bar);
    if (status == QAIO_ERR_CANCELLED)
        return report_failure(
            "%s", TR("stopped; what came is kept, the same command goes on from there", "已停止；已下载的部分保留，再次执行会继续"));
    if (status) return report_error(&err);
    if (s->json)
        json_print(json_pack("{s:s, s:o}", "name", s->operands.items[0], "path", json_text(path, strlen(path))));
    else
        printf("%s\n", path);
    mem_free(path);
    return EXIT_DONE;
}

int command_pull(const settings *s) {
    if (s->operands.n != 1)
        return report_usage(
            "%s", TR("pull what? a name from `qaio models`, or owner/repository", "下载什么？`qaio models` 里的名称，或 所有者/仓库"));
    progress bar;
    hub_options options = {
        .source = HUB_HUGGINGFACE, .endpoint = s->endpoint, .revision = s->revision, .progress = on_progress, .ctx = &bar};
    if (s->source && strcmp(s->source, "modelscope") == 0)
        options.source = HUB_MODELSCOPE;
    else if (s->source && strcmp(s->source, "huggingface") != 0)
        return report_usage(TR("--source %s: must be huggingface or modelscope", "--source %s：须为 huggingface 或 modelscope"), s->source);
    signal(SIGPIPE, SIG_IGN); /* a hub that hangs up is an error, not an end */
    interrupt_catch();
    progress_init(&bar, false, s->quiet);
    return pull(s, &options, &bar);
}

/* ---- models ---- */

static json_t *models_to_json(const hub_local *list, size_t n) {
    json_t *here = json_array(), *known = json_array();
    size_t n_known, embedded_bytes;
    const hub_known *names = hub_known_models(&n_known);
    embedded_model(&embedded_bytes);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(here, json_pack("{s:o, s:o, s:I}", "name", json_text(list[i].name, strlen(list[i].name)), "path",
                                              json_text(list[i].path, strlen(list[i].path)), "bytes", (json_int_t)list[i].bytes));
    for (size_t i = 0; i < n_known; i++)
        json_array_append_new(known, json_pack("{s:s, s:s, s:s?, s:I}", "name", names[i].name, "repo", names[i].repo, "file", names[i].file,
                                               "bytes", (json_int_t)names[i].bytes));
    json_t *embedded =
        embedded_bytes ? json_pack("{s:s, s:I}", "name", EMBEDDED_MODEL_NAME, "bytes", (json_int_t)embedded_bytes) : json_null();
    return json_pack("{s:o, s:o, s:o}", "embedded", embedded, "models", here, "known", known);
}

static void print_model(const char *name, uint64_t bytes, const char *where) {
    char size[32];
    format_bytes(size, bytes);
    printf("  %-34s %9s  %s\n", name, size, where);
}

static bool is_here(const char *name, const hub_local *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return true;
    return false;
}

static void print_models(const hub_local *list, size_t n) {
    size_t n_known, bytes;
    const hub_known *known = hub_known_models(&n_known);
    embedded_model(&bytes);
    puts(TR("Here (--model NAME):", "本机已有（--model 名称）："));
    if (bytes) print_model(EMBEDDED_MODEL_NAME, bytes, TR("built in, used without --model", "内置，不给 --model 时使用"));
    for (size_t i = 0; i < n; i++) print_model(list[i].name, list[i].bytes, list[i].path);
    puts(TR("\nTo be had with `qaio pull NAME`:", "\n可用 `qaio pull 名称` 下载："));
    for (size_t i = 0; i < n_known; i++)
        if (!is_here(known[i].name, list, n)) print_model(known[i].name, known[i].bytes, known[i].repo);
}

int command_models(const settings *s) {
    if (s->operands.n) return report_usage(TR("models takes no %s", "models 不需要 %s"), s->operands.items[0]);
    hub_local *list = NULL;
    size_t n = 0;
    qaio_error err;
    if (hub_list(&list, &n, &err)) return report_error(&err);
    if (s->json)
        json_print(models_to_json(list, n));
    else
        print_models(list, n);
    hub_list_free(list, n);
    return EXIT_DONE;
}
