#include "cli/rows.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "cli/json_out.h"
#include "cli/locale.h"

#define MAX_LINE_BYTES ((size_t)16 << 20)

static const char *const usual_names[] = {"text", "content", "review", "sentence", "comment", "message",
                                          "文本", "内容",    "评论",   "评价",     "句子",    "留言"};

/* ---- formats ---- */

file_format format_from_name(const char *name) {
    if (strcasecmp(name, "csv") == 0) return FORMAT_CSV;
    if (strcasecmp(name, "jsonl") == 0 || strcasecmp(name, "ndjson") == 0) return FORMAT_JSONL;
    if (strcasecmp(name, "txt") == 0) return FORMAT_TXT;
    return FORMAT_NONE;
}

file_format format_from_path(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot ? format_from_name(dot + 1) : FORMAT_NONE;
}

/* ---- columns ---- */

static qaio_status add_column(row_columns *c, const char *name, size_t n, qaio_error *err) {
    char **names = mem_realloc(c->names, c->n + 1, sizeof *names);
    if (!names) return error_memory(err);
    c->names = names;
    if (!(names[c->n] = mem_strndup(name, n))) return error_memory(err);
    c->n++;
    return QAIO_OK;
}

static qaio_status list_columns(const row_columns *c, const char *wanted, qaio_error *err) {
    str list = {0};
    for (size_t i = 0; i < c->n && i < 20; i++) str_printf(&list, "%s%s", i ? ", " : "", c->names[i]);
    if (wanted)
        error_set(err, QAIO_ERR_ARGUMENT, TR("there is no column %s; there are: %s", "没有 %s 这一列；现有：%s"), wanted,
                  list.data ? list.data : "");
    else
        error_set(err, QAIO_ERR_ARGUMENT,
                  TR("which column holds the text? name it with --column; there are: %s", "文本在哪一列？请用 --column 指明；现有：%s"),
                  list.data ? list.data : TR("none", "无"));
    str_deinit(&list);
    return QAIO_ERR_ARGUMENT;
}

bool row_columns_find(const row_columns *c, const char *name, size_t *out) {
    for (size_t i = 0; i < c->n; i++)
        if (strcasecmp(c->names[i], name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static qaio_status choose_column(row_columns *c, const char *wanted, qaio_error *err) {
    if (wanted) return row_columns_find(c, wanted, &c->text) ? QAIO_OK : list_columns(c, wanted, err);
    for (size_t i = 0; i < sizeof usual_names / sizeof *usual_names; i++)
        if (row_columns_find(c, usual_names[i], &c->text)) return QAIO_OK;
    return c->n == 1 ? QAIO_OK : list_columns(c, NULL, err);
}

/* ---- reading ---- */

void row_deinit(row *r) {
    csv_record_deinit(&r->record);
    json_decref(r->object);
    str_deinit(&r->line);
    str_deinit(&r->text);
    *r = (row){0};
}

static void set_text(row *out, const char *text, size_t n) {
    if (!utf8_is_valid(text, n)) {
        out->status =
            error_set(&out->error, QAIO_ERR_FORMAT, "the text is not UTF-8; convert the file, for example with iconv -f gbk -t utf-8");
        return;
    }
    str_append(&out->text, text, n);
    out->status = out->text.failed ? error_memory(&out->error) : QAIO_OK;
}

static row_next read_csv(row_reader *r, row *out, qaio_error *err) {
    switch (csv_read(&r->csv, &out->record, &out->error)) {
    case CSV_END:
        return ROW_END;
    case CSV_ERROR:
        if (out->error.status != QAIO_ERR_FORMAT && out->error.status != QAIO_ERR_LIMIT) {
            *err = out->error;
            return ROW_FAILED;
        }
        out->status = out->error.status;
        return ROW_OK;
    case CSV_RECORD:
        break;
    }
    if (out->record.n_fields != r->columns.n) {
        out->status = error_set(&out->error, QAIO_ERR_FORMAT, "line %zu: %zu fields, the header has %zu", out->record.line,
                                out->record.n_fields, r->columns.n);
        return ROW_OK;
    }
    size_t n;
    const char *text = csv_field(&out->record, r->columns.text, &n);
    set_text(out, text, n);
    return ROW_OK;
}

static void parse_line(const row_reader *r, row *out, const char *line, size_t n) {
    json_error_t where;
    if (r->n_lines == 1 && n >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
        line += 3;
        n -= 3;
    }
    if (r->format == FORMAT_TXT) {
        set_text(out, line, n);
        out->object = json_pack("{s:o}", "text", json_text(line, n));
        return;
    }
    out->object = json_loadb(line, n, JSON_ALLOW_NUL, &where);
    if (!json_is_object(out->object)) {
        out->status = error_set(&out->error, QAIO_ERR_FORMAT, "line %zu: not a JSON object", r->n_lines);
        json_decref(out->object);
        out->object = NULL;
    } else {
        str_append(&out->line, line, n);
    }
}

/* JSONL, once the column is known. */
static void take_text(const row_reader *r, row *out) {
    if (r->format != FORMAT_JSONL || out->status) return;
    const json_t *text = json_object_get(out->object, r->columns.names[r->columns.text]);
    if (!json_is_string(text)) {
        out->status =
            error_set(&out->error, QAIO_ERR_FORMAT, "line %zu: \"%s\" is no string", r->n_lines, r->columns.names[r->columns.text]);
        return;
    }
    set_text(out, json_string_value(text), json_string_length(text));
}

static row_next read_line(row_reader *r, row *out, qaio_error *err) {
    const char *line;
    size_t n;
    line_status got;
    do {
        got = line_next(&r->lines, true, &line, &n);
        r->n_lines++;
    } while (r->format == FORMAT_JSONL && got == LINE_OK && n == 0); /* an empty line is no object */
    if (got == LINE_END && r->lines.error) {
        if (r->lines.error == ENOMEM)
            error_memory(err);
        else
            error_errno(err, "", "read", r->lines.error);
        return ROW_FAILED;
    }
    if (got == LINE_END) return ROW_END;
    if (got == LINE_OK)
        parse_line(r, out, line, n);
    else
        out->status = error_set(&out->error, QAIO_ERR_LIMIT, "line %zu: longer than %zu MiB", r->n_lines, MAX_LINE_BYTES >> 20);
    return ROW_OK;
}

row_next row_read(row_reader *r, row *out, qaio_error *err) {
    *out = (row){0};
    if (r->format == FORMAT_CSV) return read_csv(r, out, err);
    if (r->has_first) {
        *out = r->first;
        r->first = (row){0};
        r->has_first = false;
    } else {
        row_next got = read_line(r, out, err);
        if (got != ROW_OK) return got;
    }
    take_text(r, out);
    return ROW_OK;
}

/* ---- opening ---- */

static qaio_status open_csv(row_reader *r, qaio_error *err) {
    csv_record header = {0};
    csv_status got = csv_read(&r->csv, &header, err);
    qaio_status status = got == CSV_ERROR ? err->status : QAIO_OK;
    if (got == CSV_END)
        status = error_set(err, QAIO_ERR_FORMAT,
                           TR("the file is empty; a CSV file begins with a header", "文件是空的；CSV 文件的第一行须为表头"));
    for (size_t i = 0; i < header.n_fields && !status; i++) {
        size_t n;
        const char *name = csv_field(&header, i, &n);
        if (!utf8_is_valid(name, n) || memchr(name, 0, n))
            status = error_set(err, QAIO_ERR_FORMAT,
                               TR("the header is not UTF-8; convert the file, for example with iconv -f gbk -t utf-8",
                                  "表头不是 UTF-8；请先转换文件，例如 iconv -f gbk -t utf-8"));
        else
            status = add_column(&r->columns, name, n, err);
    }
    csv_record_deinit(&header);
    return status;
}

static qaio_status open_lines(row_reader *r, qaio_error *err) {
    if (r->format == FORMAT_TXT) return add_column(&r->columns, "text", 4, err);
    row_next got = read_line(r, &r->first, err);
    if (got == ROW_FAILED) return err->status;
    r->has_first = got == ROW_OK;
    const char *key;
    json_t *value;
    qaio_status status = QAIO_OK;
    json_object_foreach(r->first.object, key, value) if (!status) status = add_column(&r->columns, key, strlen(key), err);
    if (got == ROW_END || !r->first.object) { /* nothing to learn from: what it says is as good as what is usual */
        const char *name = r->wanted_column ? r->wanted_column : "text";
        status = add_column(&r->columns, name, strlen(name), err);
    }
    return status;
}

qaio_status row_reader_open(row_reader *out, int fd, file_format format, const char *column, qaio_error *err) {
    *out = (row_reader){.format = format, .wanted_column = column};
    line_reader_init(&out->lines, fd, MAX_LINE_BYTES);
    csv_reader_init(&out->csv, fd);
    qaio_status status = format == FORMAT_CSV ? open_csv(out, err) : open_lines(out, err);
    if (!status) status = choose_column(&out->columns, format == FORMAT_TXT ? NULL : column, err);
    if (status) row_reader_close(out);
    return status;
}

void row_reader_close(row_reader *r) {
    line_reader_deinit(&r->lines);
    csv_reader_deinit(&r->csv);
    row_deinit(&r->first);
    for (size_t i = 0; i < r->columns.n; i++) mem_free(r->columns.names[i]);
    mem_free(r->columns.names);
    *r = (row_reader){0};
}

uint64_t row_reader_bytes(const row_reader *r) { return r->format == FORMAT_CSV ? r->csv.n_bytes : r->lines.n_taken; }

/* ---- values ---- */

static int append(const char *bytes, size_t n, void *out) {
    str_append(out, bytes, n);
    return 0;
}

void row_value(const row *r, const row_columns *columns, size_t column, str *out) {
    if (r->object) {
        const json_t *value = json_object_get(r->object, columns->names[column]);
        if (json_is_string(value))
            str_append(out, json_string_value(value), json_string_length(value));
        else if (value && !json_is_null(value))
            json_dump_callback(value, append, out, JSON_ENCODE_ANY | JSON_COMPACT);
    } else if (column < r->record.n_fields) {
        size_t n;
        const char *field = csv_field(&r->record, column, &n);
        str_append(out, field, n);
    }
}

json_t *row_object(const row *r, const row_columns *columns) {
    if (r->object) return json_copy(r->object);
    json_t *object = json_object();
    for (size_t i = 0; i < columns->n && i < r->record.n_fields; i++) {
        size_t n;
        const char *field = csv_field(&r->record, i, &n);
        json_object_set_new(object, columns->names[i], json_text(field, n));
    }
    return object;
}
