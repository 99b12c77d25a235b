/* qaio bench tasks: what the layouts of label tasks cost, and how well they read.
 *
 * Times: one task and all label tasks on a new text, in each layout, and beside the first token of a reply; the measurements take turns, so
 * that a slower moment of the machine hits all of them.  Accuracy: the tasks' own tests, or a file of labelled texts for one task. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/open.h"
#include "cli/report.h"
#include "cli/rows.h"

#define MAX_RUNS     1000
#define DEFAULT_RUNS 9

typedef struct task_bench {
    resident *resident;
    const settings *settings;
    const task *tasks[LABELS_MAX_TASKS];
    size_t n_tasks;
    uint64_t n_texts; /* each is a new one */
    json_t *times, *accuracies;
    qaio_status status;
    qaio_error error;
} task_bench;

static const task_layout forkable[] = {LAYOUT_OWN, LAYOUT_SHARED, LAYOUT_PROBE};
#define N_LAYOUTS (sizeof forkable / sizeof *forkable)

/* ---- times ---- */

/* One measurement: its times, smallest first. */
typedef struct timing {
    char what[64];
    task_layout layout;
    size_t n_tasks;     /* the first so many */
    bool is_one_by_one; /* each task waits for the one before */
    bool has_reply;     /* until the labels and the first token are there */
    double times[MAX_RUNS];
    size_t n;
} timing;

static void add_time(timing *t, double ms) {
    size_t i = t->n++;
    for (; i > 0 && t->times[i - 1] > ms; i--) t->times[i] = t->times[i - 1];
    t->times[i] = ms;
}

static double median(const timing *t) { return t->n ? (t->times[(t->n - 1) / 2] + t->times[t->n / 2]) / 2 : 0; }

static void next_text(task_bench *b, char *out, size_t n) {
    static const char *const endings[] = {"今天的菜比上次好吃。", "我不知道该怎么办。", "包裹摔坏了没人管！", "请问明天还开门吗？"};
    size_t kinds = sizeof endings / sizeof *endings;
    snprintf(out, n, "%llu号，%s", (unsigned long long)(b->n_texts % 1000000), endings[b->n_texts % kinds]);
    b->n_texts++;
}

static qaio_status finish_reads(label_read **reads, size_t n, qaio_status status, qaio_error *err) {
    for (size_t i = 0; i < n; i++) {
        label_answer answer;
        qaio_status read = label_finish(reads[i], &answer, status ? NULL : err);
        if (!status) status = read;
    }
    return status;
}

static qaio_status read_once(task_bench *b, const timing *t, const char *text) {
    label_read *reads[LABELS_MAX_TASKS];
    size_t step = t->is_one_by_one ? 1 : t->n_tasks;
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < t->n_tasks && !status; i += step) {
        label_request request = {.tasks = b->tasks + i, .n_tasks = step, .has_layout = true, .layout = t->layout};
        status = labels_start(reads, b->resident, &request, text, strlen(text), &b->error);
        if (!status) status = finish_reads(reads, step, status, &b->error);
    }
    return status;
}

static qaio_status reply_once(task_bench *b, const timing *t, const char *text) {
    label_read *reads[LABELS_MAX_TASKS];
    reply *p;
    reply_piece piece;
    reply_params params = reply_defaults;
    params.temperature = 0;
    params.max_new = 1;
    chat_message message = {.role = "user", .content = text, .content_bytes = strlen(text)};
    label_request request = {.tasks = b->tasks, .n_tasks = t->n_tasks, .has_layout = true, .layout = t->layout};
    qaio_status status = reply_start_labelled(&p, reads, b->resident, &request, &message, 1, &params, &b->error);
    if (status) return status;
    status = finish_reads(reads, t->n_tasks, status, &b->error);
    while (!status && reply_next(p, &piece, -1) != REPLY_END) continue;
    qaio_status ended = reply_finish(p, NULL, status ? NULL : &b->error);
    return status ? status : ended;
}

static void time_once(task_bench *b, timing *t, bool counts) {
    char text[128];
    next_text(b, text, sizeof text);
    double begun_ms = clock_ms();
    b->status = t->has_reply ? reply_once(b, t, text) : read_once(b, t, text);
    if (!b->status && counts) add_time(t, clock_ms() - begun_ms);
}

#define MAX_TIMINGS 16

static size_t list_timings(const task_bench *b, timing *out) {
    size_t n = 0;
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        out[n++] = (timing){.layout = forkable[i], .n_tasks = 1};
        out[n++] = (timing){.layout = forkable[i], .n_tasks = b->n_tasks};
    }
    out[n++] = (timing){.layout = LAYOUT_OWN, .n_tasks = b->n_tasks, .is_one_by_one = true};
    out[n++] = (timing){.layout = LAYOUT_PROBE, .has_reply = true};
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        out[n++] = (timing){.layout = forkable[i], .n_tasks = 1, .has_reply = true};
        out[n++] = (timing){.layout = forkable[i], .n_tasks = b->n_tasks, .has_reply = true};
    }
    return n;
}

static void show_timing(task_bench *b, timing *t, double base_ms) {
    const char *layout = t->n_tasks ? task_layout_name(t->layout) : "";
    double ms = median(t);
    json_array_append_new(b->times, json_pack("{s:s, s:I, s:b, s:b, s:f, s:f}", "layout", layout, "tasks", (json_int_t)t->n_tasks,
                                              "one_by_one", t->is_one_by_one, "reply", t->has_reply, "ms", ms, "ratio", ms / base_ms));
    if (b->settings->json) return;
    char what[128];
    snprintf(what, sizeof what, TR("%zu task%s%s%s", "%zu 个任务%s%s%s"), t->n_tasks, t->n_tasks == 1 ? "" : TR("s", ""),
             t->is_one_by_one ? TR(", one by one", "，逐个") : "",
             t->has_reply ? TR(" + first token of a reply", " + 回复的第一个词元") : "");
    printf("  %-8s %9.2f ms %7.2f ×  %s\n", layout, ms, ms / base_ms, what);
}

static void bench_times(task_bench *b) {
    static timing timings[MAX_TIMINGS];
    size_t n = list_timings(b, timings), n_runs = b->settings->repeat ? b->settings->repeat : DEFAULT_RUNS;
    double read_ms = 0, reply_ms = 0;
    for (size_t run = 0; run <= n_runs && !interrupt_count(); run++) /* the first computes the prompts and does not count */
        for (size_t i = 0; i < n && !b->status; i++) time_once(b, &timings[i], run > 0);
    if (b->status) return;
    if (!b->settings->json)
        printf(TR("time on a new text, median of %zu; × one task in its own layout, × the first token alone\n",
                  "对新文本的耗时，取 %zu 次的中位数；× 相对于 own 布局的一个任务、相对于单独的第一个词元\n"),
               n_runs);
    for (size_t i = 0; i < n; i++) {
        if (i == 0) read_ms = median(&timings[i]);
        if (timings[i].has_reply && timings[i].n_tasks == 0) reply_ms = median(&timings[i]);
        show_timing(b, &timings[i], timings[i].has_reply ? reply_ms : read_ms);
    }
}

/* ---- accuracy ---- */

typedef struct score_board {
    size_t n, n_right[N_LAYOUTS];
} score_board;

/* right: a label's index. */
static void judge(task_bench *b, score_board *board, const task *t, const char *text, size_t n, size_t right) {
    label_read *reads[N_LAYOUTS];
    qaio_error why;
    size_t n_started = 0;
    resident_hold(b->resident);
    for (; n_started < N_LAYOUTS; n_started++) {
        label_request request = {.tasks = &t, .n_tasks = 1, .has_layout = true, .layout = forkable[n_started]};
        if (labels_start(&reads[n_started], b->resident, &request, text, n, &why)) break; /* an empty or too long text */
    }
    resident_release(b->resident);
    board->n += n_started == N_LAYOUTS;
    for (size_t i = 0; i < n_started; i++) {
        label_answer answer;
        if (label_finish(reads[i], &answer, &b->error))
            b->status = QAIO_ERR_IO;
        else if (n_started == N_LAYOUTS)
            board->n_right[i] += answer.label == right;
    }
}

static size_t label_of(const task *t, const char *id_or_text) {
    size_t i = 0;
    while (i < t->n_labels && strcmp(t->labels[i].id, id_or_text) != 0 && strcmp(t->labels[i].text, id_or_text) != 0) i++;
    return i;
}

static void show_board(task_bench *b, const task *t, const score_board *board) {
    json_t *shares = json_pack("{s:s, s:I}", "task", t->name, "texts", (json_int_t)board->n);
    if (!b->settings->json) printf("  %-16s %6zu", t->name, board->n);
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        double share = board->n ? (double)board->n_right[i] / (double)board->n : 0;
        json_object_set_new(shares, task_layout_name(forkable[i]), json_real(share));
        if (!b->settings->json) printf("  %-6s %5.1f %%", task_layout_name(forkable[i]), 100 * share);
    }
    if (!b->settings->json) putchar('\n');
    json_array_append_new(b->accuracies, shares);
}

static void bench_own_tests(task_bench *b) {
    for (size_t i = 0; i < b->n_tasks && !b->status; i++) {
        const task *t = b->tasks[i];
        score_board board = {0};
        for (size_t k = 0; k < t->n_tests && !b->status; k++)
            judge(b, &board, t, t->tests[k].text, strlen(t->tests[k].text), label_of(t, t->tests[k].expect));
        show_board(b, t, &board);
    }
}

/* A file with columns of texts and labels ("label": a label's id or text). */
static void read_rows(task_bench *b, const task *t, row_reader *reader, size_t column, score_board *board) {
    row r = {0};
    str label = {0};
    while (!b->status && !interrupt_count() && row_read(reader, &r, &b->error) == ROW_OK) {
        str_clear(&label);
        if (!r.status) row_value(&r, &reader->columns, column, &label);
        size_t right = r.status || !label.data ? t->n_labels : label_of(t, label.data);
        if (right < t->n_labels && r.text.data) judge(b, board, t, r.text.data, r.text.len, right);
    }
    str_deinit(&label);
    row_deinit(&r);
}

static int bench_file(task_bench *b, const char *name, const char *path) {
    const task *t;
    row_reader reader;
    size_t column;
    score_board board = {0};
    file_format format = format_from_path(path);
    if (task_set_find(&t, resident_tasks(b->resident), name, &b->error)) return report_error(&b->error);
    if (t->kind != TASK_LABEL || (format != FORMAT_CSV && format != FORMAT_JSONL))
        return report_usage("%s", TR("bench tasks TASK FILE: a label task, and a .csv or .jsonl file with columns text and label",
                                     "bench tasks TASK FILE：须为分类任务，及含 text、label 列的 .csv 或 .jsonl 文件"));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return report_failure(TR("cannot open %s", "无法打开 %s"), path);
    qaio_status status = row_reader_open(&reader, fd, format, NULL, &b->error);
    int code = status ? report_error(&b->error) : EXIT_DONE;
    if (!status && !row_columns_find(&reader.columns, "label", &column))
        code = report_usage(TR("%s: no column label", "%s：没有 label 列"), path);
    if (code == EXIT_DONE) read_rows(b, t, &reader, column, &board);
    if (code == EXIT_DONE && !b->status) show_board(b, t, &board);
    if (!status) row_reader_close(&reader);
    close(fd);
    return code;
}

/* ---- the command ---- */

static void choose(task_bench *b) {
    const task_set *set = resident_tasks(b->resident);
    for (size_t i = 0; i < task_set_size(set) && b->n_tasks < LABELS_MAX_TASKS; i++) {
        const task *t = task_set_at(set, i);
        if (t->kind == TASK_LABEL && t->layout != LAYOUT_PLAIN && t->system) b->tasks[b->n_tasks++] = t;
    }
}

static int measure(task_bench *b) {
    const operand_list *words = &b->settings->operands;
    const model *m = resident_model(b->resident);
    const char *name = resident_model_name(b->resident), *type = dtype_get(model_type(m))->name;
    int status = EXIT_DONE;
    choose(b);
    if (b->n_tasks == 0) return report_failure("%s", TR("there are no label tasks", "没有分类任务"));
    if (!b->settings->json) printf(TR("%s, %s, %d threads\n", "%s，%s，%d 线程\n"), name, type, resident_threads(b->resident));
    if (words->n == 1) bench_times(b);
    if (!b->status && !b->settings->json) puts(TR("right answers", "答对的比例"));
    if (!b->status && words->n == 1) bench_own_tests(b);
    if (words->n == 3) status = bench_file(b, words->items[1], words->items[2]);
    if (b->status) status = report_error(&b->error);
    if (status == EXIT_DONE && b->settings->json)
        json_print(json_pack("{s:s, s:s, s:i, s:O, s:O}", "model", name, "type", type, "threads", resident_threads(b->resident), "times",
                             b->times, "accuracy", b->accuracies));
    return status;
}

int command_bench_tasks(const settings *s) {
    if (s->operands.n != 1 && s->operands.n != 3)
        return report_usage("%s", TR("bench tasks, or bench tasks TASK FILE", "bench tasks，或 bench tasks TASK FILE"));
    task_bench b = {.settings = s, .n_texts = (uint64_t)clock_ns() % 100000, .times = json_array(), .accuracies = json_array()};
    int status = open_resident(&b.resident, s, false);
    if (status == EXIT_DONE) {
        interrupt_catch();
        status = measure(&b);
        resident_close(b.resident);
    }
    json_decref(b.times);
    json_decref(b.accuracies);
    return status;
}
