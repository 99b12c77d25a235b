/* qaio tasks calibrate: the answers to labelled texts, a calibration learnt from them, what it changes, and where it is kept. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/calibration_report.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/open.h"
#include "cli/report.h"
#include "cli/rows.h"
#include "cli/terminal.h"

#define MAX_READS_AHEAD 128 /* texts in flight; well below the engine's queue */
#define MAX_ROWS        ((size_t)1 << 22)

static const char *const usual_label_names[] = {"label", "labels", "标签", "类别", "分类"};

typedef struct pending {
    label_read *read;
    size_t right;
} pending;

typedef struct survey {
    const settings *settings;
    const char *path;
    resident *resident;
    const task *task;
    int in;
    uint64_t in_bytes, n_rows; /* of the file, read so far */
    row_reader reader;
    size_t label_column;
    progress progress;
    pending ring[MAX_READS_AHEAD];
    size_t first, n_pending;
    double *raw; /* of the texts that have an answer */
    size_t *labels;
    size_t n, capacity;
    uint64_t n_skipped;
    qaio_error first_skip;
} survey;

/* ---- opening ---- */

static int choose_label_column(survey *v) {
    const row_columns *c = &v->reader.columns;
    const char *wanted = v->settings->label_column;
    if (wanted && row_columns_find(c, wanted, &v->label_column)) return EXIT_DONE;
    for (size_t i = 0; !wanted && i < sizeof usual_label_names / sizeof *usual_label_names; i++)
        if (row_columns_find(c, usual_label_names[i], &v->label_column)) return EXIT_DONE;
    str names = {0};
    for (size_t i = 0; i < c->n && i < 20; i++) str_printf(&names, "%s%s", i ? ", " : "", c->names[i]);
    int status = report_usage(TR("%s: no column %s with the labels; name it with --label-column; there are: %s",
                                 "%s：没有标签列 %s；请用 --label-column 指定；现有：%s"),
                              v->path, wanted ? wanted : "label", names.data ? names.data : "");
    str_deinit(&names);
    return status;
}

static int open_file(survey *v) {
    const settings *s = v->settings;
    struct stat st;
    qaio_error err;
    file_format format = s->format ? format_from_name(s->format) : format_from_path(v->path);
    if (format != FORMAT_CSV && format != FORMAT_JSONL)
        return report_usage(TR("%s: labelled texts are csv or jsonl; say which with --format", "%s：须为 csv 或 jsonl，请用 --format 说明"),
                            v->path);
    v->in = open(v->path, O_RDONLY | O_CLOEXEC);
    if (v->in < 0 || fstat(v->in, &st) != 0) return report_failure(TR("cannot open %s: %s", "无法打开 %s：%s"), v->path, strerror(errno));
    if (S_ISREG(st.st_mode)) v->in_bytes = (uint64_t)st.st_size;
    qaio_status status = row_reader_open(&v->reader, v->in, format, s->column, &err);
    if (!status) return choose_label_column(v);
    report_failure(TR("%s: %s", "%s：%s"), v->path, err.message);
    return status == QAIO_ERR_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
}

static int find_task(const task **out, const task_set *set, const char *name) {
    qaio_error err;
    if (task_set_find(out, set, name, &err)) return report_error(&err);
    if ((*out)->kind == TASK_LABEL) return EXIT_DONE;
    return report_usage(TR("%s is not a label task: it has no probabilities to calibrate", "%s 不是分类任务，没有可校准的概率"), name);
}

/* ---- reading ---- */

static void skip(survey *v, const qaio_error *why) {
    if (v->n_skipped++ == 0) v->first_skip = *why;
}

static qaio_status keep(survey *v, const label_answer *answer, size_t right, qaio_error *err) {
    size_t width = v->task->n_labels;
    if (v->n == v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : 1024;
        double *raw = mem_realloc(v->raw, capacity, width * sizeof *raw);
        if (!raw) return error_memory(err);
        v->raw = raw;
        size_t *labels = mem_realloc(v->labels, capacity, sizeof *labels);
        if (!labels) return error_memory(err);
        v->labels = labels;
        v->capacity = capacity;
    }
    memcpy(v->raw + v->n * width, answer->raw, width * sizeof *v->raw);
    v->labels[v->n++] = right;
    return QAIO_OK;
}

static bool is_finite(const label_answer *a) {
    for (size_t i = 0; i < a->task->n_labels; i++)
        if (!isfinite(a->raw[i])) return false;
    return true;
}

static void show_progress(survey *v) {
    if (!progress_is_due(&v->progress)) return;
    char what[100];
    snprintf(what, sizeof what, TR("%llu rows", "%llu 行"), (unsigned long long)v->n_rows);
    progress_draw(&v->progress, row_reader_bytes(&v->reader), v->in_bytes, what);
}

/* An answer that failed is a row that is left out; the status is about what nobody can go on after. */
static qaio_status finish_first(survey *v, qaio_error *err) {
    pending *p = &v->ring[v->first];
    label_answer answer;
    qaio_error why;
    qaio_status status = label_finish(p->read, &answer, &why);
    if (!status && !is_finite(&answer)) status = error_set(&why, QAIO_ERR_FORMAT, "the model gives no number for a text");
    v->first = (v->first + 1) % MAX_READS_AHEAD;
    v->n_pending--;
    show_progress(v);
    if (!status) return keep(v, &answer, p->right, err);
    skip(v, &why);
    return QAIO_OK;
}

/* A label's id or text; 1 and 0 for the first and the other one of two. */
static bool find_label(const task *t, const char *text, size_t *out) {
    for (size_t i = 0; i < t->n_labels; i++)
        if (strcmp(text, t->labels[i].id) == 0 || strcmp(text, t->labels[i].text) == 0) {
            *out = i;
            return true;
        }
    if (t->n_labels != 2 || (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)) return false;
    *out = text[0] == '0';
    return true;
}

static qaio_status read_label_of(const survey *v, const row *r, size_t *out, qaio_error *err) {
    str value = {0};
    row_value(r, &v->reader.columns, v->label_column, &value);
    str_puts(&value, "");
    char *text = value.data ? value.data : "";
    while (value.len && strchr(" \t\r\n", text[value.len - 1])) text[--value.len] = '\0';
    text += strspn(text, " \t\r\n");
    qaio_status status = QAIO_OK;
    if (value.failed)
        status = error_memory(err);
    else if (!find_label(v->task, text, out))
        status = error_set(err, QAIO_ERR_FORMAT, "row %llu: \"%.100s\" is no label of %s; see `qaio tasks show %s`",
                           (unsigned long long)v->n_rows, text, v->task->name, v->task->name);
    str_deinit(&value);
    return status;
}

static void start(survey *v, const row *r) {
    pending p;
    qaio_error why = r->error;
    qaio_status status = r->status;
    if (!status) status = read_label_of(v, r, &p.right, &why);
    if (!status) status = label_start(&p.read, v->resident, v->task, r->text.data ? r->text.data : "", r->text.len, &why);
    if (status)
        skip(v, &why);
    else
        v->ring[(v->first + v->n_pending++) % MAX_READS_AHEAD] = p;
}

static void drop_pending(survey *v) {
    for (size_t i = 0; i < v->n_pending; i++) label_cancel(v->ring[(v->first + i) % MAX_READS_AHEAD].read);
    for (; v->n_pending; v->n_pending--, v->first = (v->first + 1) % MAX_READS_AHEAD) {
        label_answer answer;
        label_finish(v->ring[v->first].read, &answer, NULL);
    }
}

static int read_rows(survey *v) {
    qaio_error err;
    qaio_status status = QAIO_OK;
    row_next got = ROW_OK;
    while (got == ROW_OK && !status && !interrupt_count()) {
        row r;
        if (v->n_pending == MAX_READS_AHEAD) status = finish_first(v, &err);
        got = row_read(&v->reader, &r, &err);
        if (got == ROW_OK && ++v->n_rows > MAX_ROWS)
            status = error_set(&err, QAIO_ERR_LIMIT, TR("more than %zu rows", "超过 %zu 行"), MAX_ROWS);
        if (got == ROW_OK && !status) start(v, &r);
        row_deinit(&r);
    }
    while (v->n_pending && !status && !interrupt_count()) status = finish_first(v, &err);
    drop_pending(v);
    progress_end(&v->progress);
    if (interrupt_count()) return report_failure("%s", TR("stopped; nothing was stored", "已停止，没有存储任何内容"));
    return status || got == ROW_FAILED ? report_error(&err) : EXIT_DONE;
}

/* ---- learning ---- */

static qaio_status learn(const survey *v, calibration_report *out, qaio_error *err) {
    labelled_answers raw = {v->raw, v->labels, v->n, v->task->n_labels}, calibrated = raw;
    qaio_status status = calibration_fit(&out->learnt.values, &raw, err);
    if (status) return status;
    double *after = mem_array(v->n, v->task->n_labels * sizeof *after);
    if (!after) return error_memory(err);
    calibrated.raw = after;
    status = calibration_cross_validate(&raw, after, err);
    if (!status) status = quality_measure(&out->before, &raw, err);
    if (!status) status = quality_measure(&out->after, &calibrated, err);
    mem_free(after);
    time_t now = time(NULL);
    struct tm utc;
    out->learnt.n_rows = v->n;
    strftime(out->learnt.date, sizeof out->learnt.date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return status;
}

static int finish_survey(const survey *v) {
    qaio_error err;
    calibration_key key = resident_calibration_key(v->resident, v->task);
    calibration_report report = {.key = &key, .n_skipped = v->n_skipped};
    char *path = NULL;
    if (v->n_skipped)
        report_note(TR("%llu rows were left out; the first: %s", "略去 %llu 行；第一处：%s"), (unsigned long long)v->n_skipped,
                    v->first_skip.message);
    qaio_status status = learn(v, &report, &err);
    if (!status && !v->settings->dry_run) {
        path = calibration_path(v->task, key.model_name);
        status =
            path ? calibration_store(&key, &report.learnt, &report.before, &report.after, path, &err)
                 : error_set(&err, QAIO_ERR_IO,
                             TR("no home directory to keep the calibration in; set QAIO_HOME", "没有主目录可存放校准；请设置 QAIO_HOME"));
    }
    report.path = path;
    if (!status) calibration_report_print(&report, v->settings->json);
    quality_deinit(&report.before);
    quality_deinit(&report.after);
    mem_free(path);
    return status ? report_error(&err) : EXIT_DONE;
}

static int calibrate(const settings *s) {
    survey v = {.settings = s, .path = s->operands.items[2], .in = -1};
    int status = open_resident(&v.resident, s, false);
    if (!status) status = find_task(&v.task, resident_tasks(v.resident), s->operands.items[1]);
    if (!status) status = open_file(&v);
    if (!status) {
        interrupt_catch();
        progress_init(&v.progress, s->progress, s->quiet);
        status = read_rows(&v);
    }
    if (!status) status = finish_survey(&v);
    mem_free(v.raw);
    mem_free(v.labels);
    row_reader_close(&v.reader);
    resident_close(v.resident);
    if (v.in >= 0) close(v.in);
    return status;
}

/* ---- removing ---- */

static int remove_stored(const settings *s, const task *t) {
    checkpoint *c;
    qaio_error err;
    if (open_checkpoint_named(&c, s->model, &err)) return report_error(&err);
    char *path = calibration_path(t, checkpoint_desc(c)->name);
    checkpoint_close(c);
    bool is_removed = path && unlink(path) == 0;
    int status = EXIT_DONE;
    if (path && !is_removed && errno != ENOENT)
        status = report_failure(TR("cannot remove %s: %s", "无法删除 %s：%s"), path, strerror(errno));
    else if (s->json)
        json_print(json_pack("{s:s, s:b}", "task", t->name, "removed", is_removed));
    else if (is_removed)
        printf(TR("removed: %s\n", "已删除：%s\n"), path);
    else
        printf(TR("%s has no calibration for this model\n", "%s 没有这个模型的校准\n"), t->name);
    mem_free(path);
    return status;
}

static int remove_calibration(const settings *s) {
    task_set *set;
    const task *t;
    qaio_error err;
    if (task_set_open(&set, s->tasks_dir, &err)) return report_error(&err);
    int status = find_task(&t, set, s->operands.items[1]);
    if (!status) status = remove_stored(s, t);
    task_set_free(set);
    return status;
}

int command_calibrate(const settings *s) {
    if (s->operands.n != (s->remove ? 2 : 3))
        return report_usage("%s", TR("calibrate needs a task and a file of labelled texts, or a task and --remove",
                                     "calibrate 需要任务和带标签的文件，或任务加 --remove"));
    return s->remove ? remove_calibration(s) : calibrate(s);
}
