#include "cli/row_writer.h"

#include <string.h>

#include "base/mem.h"
#include "cli/batch_calibration.h"
#include "cli/json_out.h"

void row_writer_init(row_writer *w, file_format format, const row_columns *columns, const task_choice *choice, const char *model_name) {
    *w = (row_writer){.format = format, .columns = columns, .choice = choice, .model_name = model_name};
}

void row_writer_deinit(row_writer *w) {
    str_deinit(&w->line);
    str_deinit(&w->name);
    mem_free(w->is_replaced);
}

static bool write_line(row_writer *w) {
    if (w->line.failed) return false;
    fwrite(w->line.data, 1, w->line.len, w->out);
    return fflush(w->out) == 0;
}

/* ---- CSV ---- */

static size_t n_columns(const row_writer *w, const task *t) { return t->kind != TASK_LABEL ? 1 : 2 + (w->has_raw ? t->n_labels : 0); }

static size_t n_added(const row_writer *w) {
    size_t n = 1;
    for (size_t i = 0; i < w->choice->n; i++) n += n_columns(w, w->choice->tasks[i]);
    return n;
}

static void name_column(str *out, const task *t, size_t i) {
    if (i >= 2)
        batch_raw_column(out, t, i - 2);
    else
        str_printf(out, "%s_%s", t->name, t->kind != TASK_LABEL ? "reply" : i == 0 ? "label" : "probability");
}

/* The name of an added column: those of the tasks in order, then "error".  Valid until the next call. */
static const str *added_name(row_writer *w, size_t i) {
    str_clear(&w->name);
    size_t t = 0;
    for (; t < w->choice->n && i >= n_columns(w, w->choice->tasks[t]); t++) i -= n_columns(w, w->choice->tasks[t]);
    if (t < w->choice->n)
        name_column(&w->name, w->choice->tasks[t], i);
    else
        str_puts(&w->name, "error");
    w->line.failed |= w->name.failed;
    return &w->name;
}

static bool is_added(row_writer *w, const char *name) {
    size_t n = n_added(w), length = strlen(name);
    for (size_t i = 0; i < n; i++) {
        const str *added = added_name(w, i);
        if (added->len == length && memcmp(added->data, name, length) == 0) return true;
    }
    return false;
}

/* Which columns of the input give way to added ones; the same for all rows. */
static bool find_replaced(row_writer *w) {
    if (!w->is_replaced && !(w->is_replaced = mem_array(w->columns->n, sizeof *w->is_replaced))) return false;
    for (size_t i = 0; i < w->columns->n; i++) w->is_replaced[i] = is_added(w, w->columns->names[i]);
    return true;
}

static void add_field(str *line, const char *text, size_t n, bool is_first) {
    if (!is_first) str_putc(line, ',');
    csv_write_field(line, text, n);
}

const char *row_writer_header(row_writer *w, size_t *n) {
    *n = 0;
    if (w->format != FORMAT_CSV) return "";
    if (!find_replaced(w)) return NULL;
    str_clear(&w->line);
    bool is_first = true;
    for (size_t i = 0; i < w->columns->n; i++) {
        const char *name = w->columns->names[i];
        if (w->is_replaced[i]) continue;
        add_field(&w->line, name, strlen(name), is_first);
        is_first = false;
    }
    for (size_t i = 0; i < n_added(w); i++) {
        const str *name = added_name(w, i);
        add_field(&w->line, name->data, name->len, is_first);
        is_first = false;
    }
    str_putc(&w->line, '\n');
    *n = w->line.len;
    return w->line.failed ? NULL : w->line.data;
}

void row_writer_begin(row_writer *w) {
    size_t n;
    if (row_writer_header(w, &n) && n) write_line(w);
}

static void add_label(row_writer *w, const task *t, const label_answer *a, bool is_first) {
    char number[32] = "";
    const char *label = !a ? "" : a->is_unsure ? "unsure" : t->labels[a->label].id;
    add_field(&w->line, label, strlen(label), is_first);
    if (a) snprintf(number, sizeof number, "%.6f", a->probabilities[a->label]);
    add_field(&w->line, number, strlen(number), false);
    for (size_t i = 0; w->has_raw && i < t->n_labels; i++) {
        if (a) snprintf(number, sizeof number, "%.*g", JSON_DIGITS, a->raw[i]);
        add_field(&w->line, number, strlen(number), false);
    }
}

static void add_answers(row_writer *w, const analysis *a, bool is_first) {
    for (size_t i = 0; i < w->choice->n; i++) {
        const task *t = w->choice->tasks[i];
        const task_run *run = a ? &a->runs[i] : NULL;
        if (run && run->status) run = NULL;
        if (t->kind == TASK_LABEL) {
            add_label(w, t, run ? &run->answer : NULL, is_first);
        } else {
            add_field(&w->line, run && run->text.data ? run->text.data : "", run ? run->text.len : 0, is_first);
        }
        is_first = false;
    }
}

static void csv_row(row_writer *w, const row *r, const analysis *a, const char *error) {
    bool is_first = true;
    str value = {0};
    w->line.failed |= !w->is_replaced; /* there was no memory for the header */
    for (size_t i = 0; i < w->columns->n && w->is_replaced; i++) {
        if (w->is_replaced[i]) continue;
        str_clear(&value);
        row_value(r, w->columns, i, &value);
        add_field(&w->line, value.data ? value.data : "", value.len, is_first);
        is_first = false;
    }
    w->line.failed |= value.failed;
    str_deinit(&value);
    add_answers(w, a, is_first);
    add_field(&w->line, error, strlen(error), false);
    str_putc(&w->line, '\n');
}

/* ---- JSONL, TXT ---- */

/* The members that a row gains, or NULL when out of memory. */
static json_t *gained(const row_writer *w, const analysis *a, const char *error) {
    json_t *object = json_object();
    if (a) json_object_set_new(object, "results", analysis_results(a, w->model_name));
    if (error[0]) json_object_set_new(object, "error", json_text(error, strlen(error)));
    return object;
}

/* The object of IN keeps its bytes, numbers with many digits too; the new members come before its closing brace. */
static void splice(str *line, const str *object, bool is_empty, json_t *members) {
    str text = {0};
    size_t end = object->len;
    while (end && object->data[end - 1] != '}') end--;
    str_append(line, object->data, end ? end - 1 : 0);
    if (!is_empty) str_putc(line, ',');
    json_line_append(&text, members, JSON_DIGITS);
    if (text.failed)
        line->failed = true;
    else
        str_append(line, text.data + 1, text.len - 1);
    str_deinit(&text);
}

static void jsonl_row(row_writer *w, const row *r, const analysis *a, const char *error) {
    bool has_own = json_object_get(r->object, "results") || json_object_get(r->object, "error");
    json_t *members = gained(w, a, error);
    if (r->line.len && !has_own) {
        splice(&w->line, &r->line, json_object_size(r->object) == 0, members);
    } else {
        json_t *object = row_object(r, w->columns);
        json_object_del(object, "results");
        json_object_del(object, "error");
        if (json_object_update_new(object, members)) w->line.failed = true;
        json_line_append(&w->line, object, JSON_DIGITS);
    }
    str_putc(&w->line, '\n');
}

/* Text on one line. */
static void add_cell(str *line, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) str_putc(line, memchr("\t\r\n", text[i], 3) ? ' ' : text[i]);
}

static void txt_row(row_writer *w, const row *r, const analysis *a, const char *error) {
    for (size_t i = 0; i < w->choice->n; i++) {
        const task *t = w->choice->tasks[i];
        const task_run *run = a ? &a->runs[i] : NULL;
        bool is_label = t->kind == TASK_LABEL;
        if (!run || run->status)
            str_puts(&w->line, is_label ? "\t\t" : "\t");
        else if (is_label)
            str_printf(&w->line, "%s\t%.4f\t", run->answer.is_unsure ? "unsure" : t->labels[run->answer.label].text,
                       run->answer.probabilities[run->answer.label]);
        else
            add_cell(&w->line, run->text.data ? run->text.data : "", run->text.len), str_putc(&w->line, '\t');
    }
    add_cell(&w->line, r->text.data ? r->text.data : "", r->text.len);
    if (error[0]) str_printf(&w->line, "\terror: %s", error);
    str_putc(&w->line, '\n');
}

bool row_write(row_writer *w, const row *r, const analysis *a) {
    const qaio_error *err = r->status ? &r->error : a ? analysis_error(a) : NULL;
    const char *error = err ? err->message : "";
    str_clear(&w->line);
    if (w->format == FORMAT_JSONL)
        jsonl_row(w, r, a, error);
    else if (w->format == FORMAT_CSV)
        csv_row(w, r, a, error);
    else
        txt_row(w, r, a, error);
    return write_line(w);
}
