#include "cli/batch_calibration.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/json_out.h"
#include "cli/locale.h"

#define MAX_LINE_BYTES ((size_t)32 << 20) /* of OUT; IN has shorter ones */

/* The number as OUT has it: what is counted is what can be read back. */
static double as_written(double value) {
    char text[32];
    snprintf(text, sizeof text, "%.*g", JSON_DIGITS, value);
    return strtod(text, NULL);
}

void batch_calibration_apply(batch_calibration *c, analysis *a) {
    for (size_t i = 0; i < a->choice->n; i++) {
        label_answer *answer = &a->runs[i].answer;
        if (a->choice->tasks[i]->kind != TASK_LABEL || a->runs[i].status) continue;
        for (size_t k = 0; k < answer->task->n_labels; k++) answer->raw[k] = as_written(answer->raw[k]);
        batch_prior_calibrate(&c->priors[i], answer);
    }
}

void batch_raw_column(str *out, const task *t, size_t label) { str_printf(out, "%s_raw_%s", t->name, t->labels[label].id); }

/* ---- going on ---- */

/* A broken model's numbers, NaN, were not counted either. */
static qaio_status count(batch_prior *p, const task *t, const double *raw, uint64_t number, qaio_error *err) {
    for (size_t i = 0; i < t->n_labels; i++)
        if (isnan(raw[i])) return QAIO_OK;
    if (batch_prior_add(p, t->n_labels, raw)) return QAIO_OK;
    return error_set(err, QAIO_ERR_ARGUMENT, TR("row %llu has no raw probabilities of %s", "第 %llu 行没有 %s 的原始概率"),
                     (unsigned long long)number, t->name);
}

/* A cell of a CSV record; -1: it holds no number. */
static double cell_number(const csv_record *record, size_t i, bool *is_empty) {
    char text[32], *end;
    size_t n;
    const char *cell = csv_field(record, i, &n);
    *is_empty = n == 0;
    if (n == 0 || n >= sizeof text) return -1;
    memcpy(text, cell, n);
    text[n] = '\0';
    double value = strtod(text, &end);
    return *end ? -1 : value;
}

/* Columns of OUT by task: the first of its raw probabilities. */
static qaio_status find_columns(size_t *first, const task_choice *choice, const csv_record *header, qaio_error *err) {
    str wanted = {0};
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < choice->n && !status; i++) {
        if (choice->tasks[i]->kind != TASK_LABEL) continue;
        str_clear(&wanted);
        batch_raw_column(&wanted, choice->tasks[i], 0);
        bool is_found = false;
        for (size_t k = header->n_fields; k-- > 0 && !is_found;) {
            size_t n;
            const char *name = csv_field(header, k, &n);
            is_found = !wanted.failed && n == wanted.len && memcmp(name, wanted.data, n) == 0;
            first[i] = k;
        }
        if (wanted.failed)
            status = error_memory(err);
        else if (!is_found || first[i] + choice->tasks[i]->n_labels > header->n_fields)
            status = error_set(err, QAIO_ERR_ARGUMENT, TR("there is no column %s", "没有 %s 这一列"), wanted.data);
    }
    str_deinit(&wanted);
    return status;
}

static qaio_status count_record(batch_calibration *c, const task_choice *choice, const csv_record *record, const size_t *first,
                                uint64_t number, qaio_error *err) {
    double raw[TASK_MAX_LABELS];
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < choice->n && !status; i++) {
        const task *t = choice->tasks[i];
        bool is_empty = false; /* the row failed */
        if (t->kind != TASK_LABEL) continue;
        for (size_t k = 0; k < t->n_labels; k++)
            raw[k] = first[i] + k < record->n_fields ? cell_number(record, first[i] + k, &is_empty) : -1;
        if (!is_empty) status = count(&c->priors[i], t, raw, number, err);
    }
    return status;
}

static qaio_status restore_csv(batch_calibration *c, const task_choice *choice, int fd, uint64_t n_rows, qaio_error *err) {
    size_t first[MAX_TASKS_AT_ONCE];
    csv_reader reader;
    csv_record record = {0};
    csv_reader_init(&reader, fd);
    csv_status got = csv_read(&reader, &record, err);
    qaio_status status = got == CSV_RECORD ? find_columns(first, choice, &record, err) : QAIO_OK;
    for (uint64_t number = 1; number <= n_rows && got == CSV_RECORD && !status; number++)
        if ((got = csv_read(&reader, &record, err)) == CSV_RECORD) status = count_record(c, choice, &record, first, number, err);
    if (!status && got == CSV_ERROR) status = err->status;
    csv_record_deinit(&record);
    csv_reader_deinit(&reader);
    return status;
}

static qaio_status count_answer(batch_prior *p, const task *t, const json_t *answer, uint64_t number, qaio_error *err) {
    double raw[TASK_MAX_LABELS];
    const char *name = json_string_value(json_object_get(answer, "task")), *how = json_string_value(json_object_get(answer, "calibration"));
    if (!name || strcmp(name, t->name) != 0)
        return error_set(err, QAIO_ERR_ARGUMENT, TR("row %llu is the result of other tasks", "第 %llu 行是其他任务的结果"),
                         (unsigned long long)number);
    if (json_object_get(answer, "error")) return QAIO_OK;
    if (!how || strcmp(how, "batch") != 0)
        return error_set(err, QAIO_ERR_ARGUMENT,
                         TR("row %llu was made without --batch-calibration", "第 %llu 行不是用 --batch-calibration 得到的"),
                         (unsigned long long)number);
    for (size_t i = 0; i < t->n_labels; i++) {
        const json_t *value = json_object_get(json_object_get(answer, "raw"), t->labels[i].id);
        raw[i] = json_is_number(value) ? json_number_value(value) : json_is_null(value) ? NAN : -1;
    }
    return count(p, t, raw, number, err);
}

static qaio_status count_line(batch_calibration *c, const task_choice *choice, const char *line, size_t n, uint64_t number,
                              qaio_error *err) {
    json_error_t where;
    json_t *object = json_loadb(line, n, JSON_ALLOW_NUL, &where);
    const json_t *results = json_object_get(object, "results");
    qaio_status status =
        json_is_object(object)
            ? QAIO_OK
            : error_set(err, QAIO_ERR_ARGUMENT, TR("row %llu is no JSON object", "第 %llu 行不是 JSON 对象"), (unsigned long long)number);
    for (size_t i = 0; i < choice->n && results && !status; i++)
        if (choice->tasks[i]->kind == TASK_LABEL)
            status = count_answer(&c->priors[i], choice->tasks[i], json_array_get(results, i), number, err);
    json_decref(object);
    return status;
}

static qaio_status restore_jsonl(batch_calibration *c, const task_choice *choice, int fd, uint64_t n_rows, qaio_error *err) {
    line_reader reader;
    line_reader_init(&reader, fd, MAX_LINE_BYTES);
    qaio_status status = QAIO_OK;
    for (uint64_t number = 1; number <= n_rows && !status; number++) {
        const char *line;
        size_t n;
        line_status got = line_next(&reader, true, &line, &n);
        if (got == LINE_OK)
            status = count_line(c, choice, line, n, number, err);
        else if (got == LINE_END)
            status = reader.error ? error_errno(err, "", "read", reader.error)
                                  : error_set(err, QAIO_ERR_IO, TR("it has become shorter", "文件变短了"));
        else
            status = error_set(err, QAIO_ERR_LIMIT, TR("row %llu is too long", "第 %llu 行太长"), (unsigned long long)number);
    }
    line_reader_deinit(&reader);
    return status;
}

qaio_status batch_calibration_restore(batch_calibration *c, const task_choice *choice, int fd, file_format format, uint64_t n_rows,
                                      qaio_error *err) {
    if (lseek(fd, 0, SEEK_SET) < 0) return error_errno(err, "", "read", errno);
    return format == FORMAT_CSV ? restore_csv(c, choice, fd, n_rows, err) : restore_jsonl(c, choice, fd, n_rows, err);
}
