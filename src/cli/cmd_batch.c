/* qaio batch: tasks on every row of a file.  Many texts are in flight at once; rows are written whole and in order. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/batch_calibration.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/locale.h"
#include "cli/report.h"
#include "cli/row_resume.h"
#include "cli/row_writer.h"
#include "cli/terminal.h"

#define MAX_JOBS_AHEAD 128 /* texts in flight times tasks; well below the engine's queue */

typedef struct item {
    row row;
    analysis analysis; /* .choice is NULL where the row failed */
    uint64_t in_bytes; /* of IN up to its end */
} item;

typedef struct batch {
    const settings *settings;
    const char *in_path, *out_path; /* NULL: standard streams */
    file_format in_format, out_format;
    int in;
    uint64_t in_bytes; /* 0: not known */
    FILE *out;
    resident *resident;
    task_choice choice;
    reply_params params;
    row_reader reader;
    row_writer writer;
    resume_point resume;
    batch_calibration *calibration; /* or NULL */
    progress progress;
    item *ring;
    size_t capacity, first, n;
    uint64_t n_rows, n_failed, done_bytes;
    qaio_error first_error; /* of the first row that failed */
    int write_error;        /* errno of a row that could not be written */
} batch;

/* ---- files ---- */

static int choose_format(file_format *out, const char *option, const char *named, const char *path, file_format fallback) {
    *out = named ? format_from_name(named) : path ? format_from_path(path) : FORMAT_NONE;
    if (named && !*out) return report_usage(TR("--%s %s: must be csv, jsonl or txt", "--%s %s：须为 csv、jsonl 或 txt"), option, named);
    if (!*out) *out = fallback;
    if (!*out)
        return report_usage(TR("what is in %s? add --%s csv, jsonl or txt", "%s 是什么格式？加上 --%s csv、jsonl 或 txt"),
                            path ? path : TR("standard input", "标准输入"), option);
    return EXIT_DONE;
}

static int open_input(batch *b) {
    b->in = b->in_path ? open(b->in_path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    struct stat st;
    if (b->in < 0 || fstat(b->in, &st) != 0)
        return report_failure(TR("cannot open %s: %s", "无法打开 %s：%s"), b->in_path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return report_failure(TR("%s is a directory", "%s 是目录"), b->in_path);
    if (S_ISREG(st.st_mode)) b->in_bytes = (uint64_t)st.st_size;
    return EXIT_DONE;
}

/* Before anything is computed: may OUT be written at all? */
static int check_output(const batch *b) {
    struct stat in, out;
    if (!b->out_path || stat(b->out_path, &out) != 0) return EXIT_DONE;
    if (fstat(b->in, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
        return report_usage("%s", TR("IN and OUT are the same file", "输入和输出是同一个文件"));
    if (S_ISREG(out.st_mode) && !b->settings->force && !b->settings->resume)
        return report_usage(
            TR("%s exists; --resume goes on with it, --force overwrites it", "%s 已存在；用 --resume 继续，或用 --force 覆盖"),
            b->out_path);
    return EXIT_DONE;
}

/* The file of an earlier run, cut behind its last whole row. */
static int reopen_output(batch *b) {
    qaio_error err;
    size_t n;
    const char *header = row_writer_header(&b->writer, &n);
    int fd = open(b->out_path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || !header) return report_failure(TR("cannot open %s: %s", "无法打开 %s：%s"), b->out_path, strerror(errno));
    qaio_status status = find_resume_point(&b->resume, fd, b->out_format, header, n, &err);
    if (!status && b->calibration && b->resume.n_rows)
        status = batch_calibration_restore(b->calibration, &b->choice, fd, b->out_format, b->resume.n_rows, &err);
    if (status) {
        report_failure(TR("cannot go on with %s: %s", "无法继续 %s：%s"), b->out_path, err.message);
    } else if (ftruncate(fd, (off_t)b->resume.n_bytes) != 0 || lseek(fd, 0, SEEK_END) < 0 || !(b->out = fdopen(fd, "w"))) {
        status = QAIO_ERR_IO;
        report_failure(TR("cannot write %s: %s", "无法写入 %s：%s"), b->out_path, strerror(errno));
    }
    if (!b->out) close(fd);
    return status == QAIO_ERR_ARGUMENT ? EXIT_USAGE : status ? EXIT_FAILED : EXIT_DONE;
}

static int open_output(batch *b) {
    struct stat st;
    if (b->out_path && b->settings->resume && stat(b->out_path, &st) == 0 && S_ISREG(st.st_mode)) return reopen_output(b);
    b->out = b->out_path ? fopen(b->out_path, b->settings->force ? "we" : "wxe") : stdout;
    if (!b->out && errno == EEXIST) b->out = fopen(b->out_path, "we"); /* no regular file: check_output has seen it */
    return b->out ? EXIT_DONE : report_failure(TR("cannot write %s: %s", "无法写入 %s：%s"), b->out_path, strerror(errno));
}

/* After the tasks and the formats are known. */
static int prepare_calibration(batch *b) {
    if (!b->settings->batch_calibration) return EXIT_DONE;
    if (b->out_format == FORMAT_TXT)
        return report_usage("%s", TR("--batch-calibration needs OUT as csv or jsonl: a txt file has no place for the raw probabilities",
                                     "--batch-calibration 的输出须为 csv 或 jsonl：txt 没有原始概率的位置"));
    if (!b->choice.n_labels)
        return report_usage("%s", TR("--batch-calibration: none of the tasks has labels", "--batch-calibration：没有分类任务"));
    if (!(b->calibration = mem_zalloc(sizeof *b->calibration))) return report_failure("%s", TR("out of memory", "内存不足"));
    return EXIT_DONE;
}

static int prepare(batch *b) {
    const settings *s = b->settings;
    int status = choose_format(&b->in_format, "format", s->format, b->in_path, FORMAT_NONE);
    if (!status) status = choose_format(&b->out_format, "output-format", s->output_format, b->out_path, b->in_format);
    if (!status) status = open_input(b);
    if (!status) status = check_output(b);
    if (!status) status = open_resident(&b->resident, s, false);
    if (!status) status = choose_tasks(&b->choice, s, resident_tasks(b->resident), s->operands.items[0]);
    if (!status) status = prepare_calibration(b);
    if (status) return status;
    qaio_error err;
    qaio_status opened = row_reader_open(&b->reader, b->in, b->in_format, s->column, &err);
    if (opened) {
        report_failure(TR("%s: %s", "%s：%s"), b->in_path ? b->in_path : TR("standard input", "标准输入"), err.message);
        return opened == QAIO_ERR_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
    }
    b->capacity = MAX_JOBS_AHEAD / b->choice.n;
    if (!(b->ring = mem_array(b->capacity, sizeof *b->ring))) return report_failure("%s", TR("out of memory", "内存不足"));
    row_writer_init(&b->writer, b->out_format, &b->reader.columns, &b->choice, resident_model_name(b->resident));
    b->writer.has_raw = b->calibration != NULL;
    status = open_output(b);
    b->writer.out = b->out;
    return status;
}

/* ---- the run ---- */

static void show_progress(batch *b) {
    if (!progress_is_due(&b->progress)) return;
    char what[100];
    double seconds = progress_seconds(&b->progress);
    snprintf(what, sizeof what, TR("%llu rows  %.0f/s", "%llu 行  %.0f/秒"), (unsigned long long)b->n_rows,
             seconds > 0 ? (double)b->n_rows / seconds : 0);
    progress_draw(&b->progress, b->done_bytes, b->in_bytes, what);
}

static void finish_first(batch *b) {
    item *it = &b->ring[b->first];
    bool has_analysis = it->analysis.choice != NULL;
    if (has_analysis) analysis_finish(&it->analysis);
    if (has_analysis && b->calibration) batch_calibration_apply(b->calibration, &it->analysis);
    const qaio_error *err = it->row.status ? &it->row.error : has_analysis ? analysis_error(&it->analysis) : NULL;
    if (err && b->n_failed++ == 0) b->first_error = *err;
    errno = 0;
    if (!row_write(&b->writer, &it->row, has_analysis ? &it->analysis : NULL)) b->write_error = errno ? errno : EIO;
    analysis_deinit(&it->analysis);
    row_deinit(&it->row);
    b->first = (b->first + 1) % b->capacity;
    b->n--;
    b->n_rows++;
    b->done_bytes = it->in_bytes;
    show_progress(b);
}

static void start(batch *b, const row *r) {
    item *it = &b->ring[(b->first + b->n) % b->capacity];
    it->row = *r;
    it->in_bytes = row_reader_bytes(&b->reader);
    it->analysis.choice = NULL;
    if (!r->status) analysis_start(&it->analysis, b->resident, &b->choice, &b->params, r->text.data ? r->text.data : "", r->text.len);
    b->n++;
}

/* What is in flight at an interrupt is dropped: its rows are not written, the run can be repeated. */
static void drop_all(batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        item *it = &b->ring[(b->first + i) % b->capacity];
        if (it->analysis.choice) analysis_cancel(&it->analysis);
    }
    for (size_t i = 0; i < b->n; i++) {
        item *it = &b->ring[(b->first + i) % b->capacity];
        analysis_deinit(&it->analysis);
        row_deinit(&it->row);
    }
    b->n = 0;
}

/* Over the rows that an earlier run has written. */
static row_next skip_rows(batch *b, qaio_error *err) {
    row_next got = ROW_OK;
    for (uint64_t i = 0; i < b->resume.n_rows && got == ROW_OK; i++) {
        row r;
        got = row_read(&b->reader, &r, err);
        row_deinit(&r);
    }
    b->progress.begun_at = row_reader_bytes(&b->reader);
    if (b->resume.n_rows && !b->settings->quiet)
        report_note(TR("going on after %llu rows", "从第 %llu 行之后继续"), (unsigned long long)b->resume.n_rows);
    return got;
}

static int run_rows(batch *b) {
    qaio_error err;
    if (b->resume.n_bytes == 0) row_writer_begin(&b->writer);
    row_next got = skip_rows(b, &err);
    while (got == ROW_OK && !b->write_error && !interrupt_count()) {
        row r;
        if (b->n == b->capacity) finish_first(b);
        got = row_read(&b->reader, &r, &err);
        if (got == ROW_OK)
            start(b, &r);
        else
            row_deinit(&r);
    }
    while (b->n && !b->write_error && !interrupt_count()) finish_first(b);
    drop_all(b);
    progress_end(&b->progress);
    if (b->write_error == EPIPE) return EXIT_FAILED;
    if (b->write_error) return report_failure(TR("cannot write the output: %s", "无法写出结果：%s"), strerror(b->write_error));
    return got == ROW_FAILED ? report_error(&err) : EXIT_DONE;
}

static int summarise(const batch *b, int status) {
    char time[32];
    double seconds = progress_seconds(&b->progress);
    format_seconds(time, seconds);
    if (interrupt_count())
        status = report_failure(TR("stopped after %llu rows; they are written whole", "已停止；写出了完整的 %llu 行"),
                                (unsigned long long)b->n_rows);
    else if (!b->settings->quiet)
        report_note(TR("%llu rows in %s, %.0f/s, %llu failed", "%llu 行，用时 %s，每秒 %.0f 行，失败 %llu 行"),
                    (unsigned long long)b->n_rows, time, seconds > 0 ? (double)b->n_rows / seconds : 0, (unsigned long long)b->n_failed);
    if (b->n_failed) report_note(TR("the first row that failed: %s", "第一个失败的行：%s"), b->first_error.message);
    return status;
}

int command_batch(const settings *s) {
    const char *const *operands = s->operands.items;
    if (s->operands.n != 3)
        return report_usage("%s",
                            TR("batch needs tasks, IN and OUT; see `qaio help batch`", "batch 需要任务、输入和输出；见 `qaio help batch`"));
    if (s->force && s->resume) return report_usage("%s", TR("--force and --resume exclude each other", "--force 与 --resume 不能同时使用"));
    batch b = {.settings = s, .params = settings_reply_params(s), .in = -1};
    b.in_path = strcmp(operands[1], "-") == 0 ? NULL : operands[1];
    b.out_path = strcmp(operands[2], "-") == 0 ? NULL : operands[2];
    int status = prepare(&b);
    if (!status) {
        interrupt_catch();
        progress_init(&b.progress, s->progress, s->quiet);
        status = summarise(&b, run_rows(&b));
    }
    row_writer_deinit(&b.writer);
    if (b.out && b.out != stdout && fclose(b.out) != 0 && !status)
        status = report_failure(TR("cannot write %s: %s", "无法写入 %s：%s"), b.out_path, strerror(errno));
    mem_free(b.ring);
    mem_free(b.calibration);
    row_reader_close(&b.reader);
    resident_close(b.resident);
    if (b.in > STDIN_FILENO) close(b.in);
    return status;
}
