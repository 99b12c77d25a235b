/* qaio quantize: a whole model as one GGUF file. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/locale.h"
#include "cli/open.h"
#include "cli/report.h"
#include "cli/terminal.h"

static bool on_progress(void *ctx, size_t done, size_t total) {
    char what[80], a[32], b[32];
    format_bytes(a, done);
    format_bytes(b, total);
    snprintf(what, sizeof what, "%s / %s", a, b);
    progress_draw(ctx, done, total, what);
    return !interrupt_count();
}

static void report_sizes(const checkpoint *c, const char *path) {
    struct stat st;
    char before[32], after[32];
    if (stat(path, &st)) return;
    format_bytes(before, checkpoint_bytes(c));
    format_bytes(after, (uint64_t)st.st_size);
    fprintf(stderr, "%s: %s -> %s\n", path, before, after);
}

int command_quantize(const settings *s) {
    if (s->operands.n != 2)
        return report_usage("%s",
                            TR("quantize needs IN and OUT; see `qaio help quantize`", "quantize 需要输入和输出；见 `qaio help quantize`"));
    if (s->type == DTYPE_NONE)
        return report_usage(
            "%s", TR("which type? add --type q8_0, q4_0, f16, bf16 or f32", "哪种类型？加上 --type q8_0、q4_0、f16、bf16 或 f32"));
    if (!type_is_writable(s->type))
        return report_usage(TR("--type %s can be read, not written; use q8_0, q4_0, f16, bf16 or f32",
                               "--type %s 只能读不能写；请用 q8_0、q4_0、f16、bf16 或 f32"),
                            dtype_get(s->type)->name);
    const char *out = s->operands.items[1];
    checkpoint *c;
    qaio_error err;
    if (open_checkpoint_named(&c, s->operands.items[0], &err)) return report_error(&err);
    progress bar;
    progress_init(&bar, false, s->quiet);
    interrupt_catch();
    qaio_status status = checkpoint_write_gguf(c, out, s->type, on_progress, &bar, &err);
    progress_end(&bar);
    if (status == QAIO_ERR_CANCELLED)
        report_failure(TR("stopped; %s was not written", "已停止；没有写出 %s"), out);
    else if (status)
        report_error(&err);
    else if (!s->quiet)
        report_sizes(c, out);
    checkpoint_close(c);
    return status ? EXIT_FAILED : EXIT_DONE;
}
