/* qaio run: tasks on texts from arguments or lines.
 *
 * Lines that have already come are started before earlier ones are finished, so that they share passes; a line is never waited for while an
 * answer is due, so that a program can feed one line, read its answer, and feed the next. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/analysis.h"
#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/labels.h"
#include "cli/lines.h"
#include "cli/locale.h"
#include "cli/report.h"
#include "cli/terminal.h"

#define MAX_LINE_BYTES ((size_t)16 << 20)
#define MAX_JOBS_AHEAD 64 /* texts in flight times tasks; well below the engine's queue */

typedef struct run_state {
    const settings *settings;
    resident *resident;
    task_choice choice;
    reply_params params;
    bool is_many; /* more than one text: each line says which */
    bool has_colour;
    size_t n_done, n_failed;
    /* where texts come from: arguments, or lines */
    const char *const *texts;
    size_t n_texts, next_text;
    line_reader lines;
    bool is_reading;
    /* in flight, a ring in order */
    analysis *ring;
    size_t capacity, first, n;
} run_state;

static void show_piece(void *ctx, const char *text, size_t n) {
    (void)ctx;
    terminal_write(stdout, text, n);
    fflush(stdout);
}

/* The text on one line. */
static void print_text(const str *text) {
    fputs("  ", stdout);
    for (size_t i = 0; i < text->len;) {
        size_t n = 0;
        while (i + n < text->len && !strchr("\n\r\t", text->data[i + n])) n++;
        terminal_write(stdout, text->data + i, n);
        i += n;
        if (i < text->len) fputc(' ', stdout), i++;
    }
}

static void print_labels(run_state *s, analysis *a) {
    size_t n_shown = 0;
    for (size_t i = 0; i < s->choice.n; i++) {
        if (s->choice.tasks[i]->kind != TASK_LABEL) continue;
        analysis_finish_label(a, i);
        if (a->runs[i].status) continue;
        if (n_shown++) fputs(" · ", stdout);
        label_print(&a->runs[i].answer, s->has_colour);
    }
    if (n_shown == 0) return;
    if (s->is_many && s->choice.n_labels == s->choice.n) print_text(&a->text);
    fputc('\n', stdout);
    fflush(stdout);
}

static void print_for_people(run_state *s, analysis *a) {
    if (s->n_done && s->choice.n_labels < s->choice.n) fputc('\n', stdout);
    print_labels(s, a);
    for (size_t i = 0; i < s->choice.n; i++) {
        if (s->choice.tasks[i]->kind == TASK_LABEL) continue;
        analysis_finish_text(a, i, show_piece, NULL, NULL);
        if (!a->runs[i].status) fputc('\n', stdout);
    }
}

static void finish_first(run_state *s) {
    analysis *a = &s->ring[s->first];
    if (s->settings->json) {
        analysis_finish(a);
        json_print(json_pack("{s:o, s:o}", "text", json_text(a->text.data ? a->text.data : "", a->text.len), "results",
                             analysis_results(a, resident_model_name(s->resident))));
    } else {
        print_for_people(s, a);
    }
    fflush(stdout);
    const qaio_error *err = analysis_error(a);
    s->n_done++;
    if (err) {
        s->n_failed++;
        if (!s->settings->json) report_error(err);
    }
    analysis_deinit(a);
    s->first = (s->first + 1) % s->capacity;
    s->n--;
}

static void start_next(run_state *s, const char *text, size_t n) {
    analysis_start(&s->ring[(s->first + s->n) % s->capacity], s->resident, &s->choice, &s->params, text, n);
    s->n++;
}

/* One step: starts a text, or finishes the oldest.  false: all done. */
static bool run_step(run_state *s) {
    if (s->n == s->capacity) {
        finish_first(s);
        return true;
    }
    if (!s->is_reading) {
        if (s->next_text == s->n_texts) {
            if (s->n) finish_first(s);
            return s->n > 0;
        }
        const char *text = s->texts[s->next_text++];
        start_next(s, text, strlen(text));
        return true;
    }
    const char *line;
    size_t n;
    switch (line_next(&s->lines, s->n == 0, &line, &n)) {
    case LINE_OK:
        start_next(s, line, n);
        return true;
    case LINE_TOO_LONG:
        while (s->n) finish_first(s);
        s->n_failed++;
        report_failure(TR("a line has more than %zu MiB", "有一行超过 %zu MiB"), MAX_LINE_BYTES >> 20);
        return true;
    case LINE_NOT_YET:
        finish_first(s);
        return true;
    case LINE_END:
        break;
    }
    while (s->n) finish_first(s);
    if (s->lines.error) {
        s->n_failed++;
        report_failure(TR("cannot read standard input: %s", "无法读取标准输入：%s"), strerror(s->lines.error));
    }
    return false;
}

static int run_all(run_state *s) {
    bool has_replies = s->choice.n_labels < s->choice.n;
    s->capacity = has_replies && !s->settings->json ? 1 : MAX_JOBS_AHEAD / s->choice.n;
    if (!(s->ring = mem_array(s->capacity, sizeof *s->ring))) return report_failure("%s", TR("out of memory", "内存不足"));
    while (!ferror(stdout) && run_step(s)) {
    }
    for (size_t i = 0; i < s->capacity; i++)
        if (s->ring[i].choice) analysis_cancel(&s->ring[i]), analysis_deinit(&s->ring[i]);
    mem_free(s->ring);
    return s->n_failed ? EXIT_FAILED : EXIT_DONE;
}

int command_run(const settings *chosen) {
    const operand_list *operands = &chosen->operands;
    bool is_dash = operands->n == 2 && strcmp(operands->items[1], "-") == 0;
    if (operands->n == 0)
        return report_usage("%s",
                            TR("run what? for example: qaio run sentiment,chat TEXT", "执行什么任务？例如：qaio run sentiment,chat 文本"));
    if (operands->n == 1 && isatty(STDIN_FILENO))
        return report_usage("%s",
                            TR("no text; give it as an argument, or - for standard input", "没有文本；作为参数给出，或用 - 读标准输入"));
    run_state s = {.settings = chosen, .params = settings_reply_params(chosen), .has_colour = terminal_has_colour(stdout)};
    s.is_reading = operands->n == 1 || is_dash;
    s.texts = operands->items + 1;
    s.n_texts = operands->n - 1;
    s.is_many = s.is_reading || s.n_texts > 1;
    int status = open_resident(&s.resident, chosen, false);
    if (status) return status;
    status = choose_tasks(&s.choice, chosen, resident_tasks(s.resident), operands->items[0]);
    line_reader_init(&s.lines, STDIN_FILENO, MAX_LINE_BYTES);
    if (!status) status = run_all(&s);
    line_reader_deinit(&s.lines);
    resident_close(s.resident);
    return status;
}
