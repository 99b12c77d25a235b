#include "cli/csv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/interrupt.h"

#define READ_BYTES ((size_t)1 << 16)
#define AT_END     (-1)

/* ---- records ---- */

void csv_record_deinit(csv_record *r) {
    str_deinit(&r->text);
    mem_free(r->ends);
    *r = (csv_record){0};
}

const char *csv_field(const csv_record *r, size_t i, size_t *n) {
    size_t begin = i ? r->ends[i - 1] : 0;
    *n = r->ends[i] - begin;
    return r->text.data ? r->text.data + begin : "";
}

static bool end_field(csv_record *out) {
    if (out->n_fields == out->capacity) {
        size_t capacity = out->capacity ? 2 * out->capacity : 16;
        size_t *ends = mem_realloc(out->ends, capacity, sizeof *ends);
        if (!ends) return false;
        out->ends = ends;
        out->capacity = capacity;
    }
    out->ends[out->n_fields++] = out->text.len;
    return true;
}

/* ---- characters ---- */

void csv_reader_init(csv_reader *r, int fd) { *r = (csv_reader){.fd = fd, .line = 1}; }

void csv_reader_init_memory(csv_reader *r, const char *data, size_t n) {
    *r = (csv_reader){.fd = -1, .line = 1, .at = data, .end = data + n, .is_eof = true};
}

void csv_reader_deinit(csv_reader *r) {
    mem_free(r->buffer);
    *r = (csv_reader){0};
}

/* More bytes behind the `kept` ones not taken yet. */
static void fill(csv_reader *r, size_t kept) {
    if (!r->buffer && !(r->buffer = mem_alloc(READ_BYTES))) {
        r->error = ENOMEM;
        r->is_eof = true;
        return;
    }
    if (kept) memmove(r->buffer, r->at, kept);
    ssize_t n;
    do n = read(r->fd, r->buffer + kept, READ_BYTES - kept);
    while (n < 0 && errno == EINTR && !interrupt_count());
    if (n <= 0) r->is_eof = true;
    if (n < 0 && errno != EINTR) r->error = errno;
    r->at = r->buffer;
    r->end = r->buffer + kept + (n > 0 ? (size_t)n : 0);
}

static int peek(csv_reader *r) {
    while (r->at == r->end && !r->is_eof) fill(r, 0);
    return r->at == r->end ? AT_END : (unsigned char)*r->at;
}

static void take(csv_reader *r) {
    r->at++;
    r->n_bytes++;
}

static void skip_byte_order_mark(csv_reader *r) {
    r->has_begun = true;
    while (r->end - r->at < 3 && !r->is_eof) fill(r, (size_t)(r->end - r->at));
    if (r->end - r->at >= 3 && memcmp(r->at, "\xEF\xBB\xBF", 3) == 0)
        for (int i = 0; i < 3; i++) take(r);
}

static bool is_line_end(int c) { return c == '\n' || c == '\r'; }

/* Over LF, CR or CRLF. */
static void take_line_end(csv_reader *r) {
    bool is_cr = peek(r) == '\r';
    take(r);
    if (is_cr && peek(r) == '\n') take(r);
    r->line++;
}

static void skip_line(csv_reader *r) {
    while (peek(r) != AT_END && !is_line_end(peek(r))) take(r);
    if (peek(r) != AT_END) take_line_end(r);
}

/* ---- fields ---- */

/* A record that is too long is read to its end, but not kept. */
static void keep(csv_record *out, int c) {
    if (out->text.len <= CSV_MAX_RECORD_BYTES) str_putc(&out->text, (char)c);
}

/* From behind the opening quote to behind the closing one.  false: the file ends before. */
static bool read_quoted(csv_reader *r, csv_record *out) {
    int before = 0;
    for (int c = peek(r); c != AT_END; before = c, c = peek(r)) {
        take(r);
        if (c == '"') {
            if (peek(r) != '"') return true;
            take(r);
        }
        /* The text keeps its line ends as they are; only the counting knows that CRLF is one. */
        if (c == '\r' || (c == '\n' && before != '\r')) r->line++;
        keep(out, c);
    }
    return false;
}

static qaio_status read_field(csv_reader *r, csv_record *out, qaio_error *err) {
    if (peek(r) == '"') {
        take(r);
        if (!read_quoted(r, out)) return error_set(err, QAIO_ERR_FORMAT, "line %zu: a quoted field is never closed", out->line);
        int c = peek(r);
        if (c != ',' && c != AT_END && !is_line_end(c))
            return error_set(err, QAIO_ERR_FORMAT, "line %zu: text behind a closing quote", r->line);
    }
    for (int c = peek(r); c != ',' && c != AT_END && !is_line_end(c); c = peek(r)) {
        take(r);
        keep(out, c);
    }
    if (out->n_fields == CSV_MAX_FIELDS) return error_set(err, QAIO_ERR_LIMIT, "line %zu: more than %d fields", out->line, CSV_MAX_FIELDS);
    return end_field(out) ? QAIO_OK : error_memory(err);
}

static qaio_status read_record(csv_reader *r, csv_record *out, qaio_error *err) {
    for (;;) {
        qaio_status status = read_field(r, out, err);
        if (status) return status;
        if (peek(r) != ',') break;
        take(r);
    }
    if (out->text.failed) return error_memory(err);
    if (out->text.len > CSV_MAX_RECORD_BYTES)
        return error_set(err, QAIO_ERR_LIMIT, "line %zu: the record has more than %zu MiB", out->line, CSV_MAX_RECORD_BYTES >> 20);
    return QAIO_OK;
}

csv_status csv_read(csv_reader *r, csv_record *out, qaio_error *err) {
    if (!r->has_begun) skip_byte_order_mark(r);
    while (is_line_end(peek(r))) take_line_end(r);
    str_clear(&out->text);
    out->n_fields = 0;
    out->line = r->line;
    if (peek(r) == AT_END) {
        if (!r->error) return CSV_END;
        if (r->error == ENOMEM)
            error_memory(err);
        else
            error_errno(err, "", "read", r->error);
        return CSV_ERROR;
    }
    qaio_status status = read_record(r, out, err);
    skip_line(r);
    return status ? CSV_ERROR : CSV_RECORD;
}

void csv_write_field(str *out, const char *text, size_t n) {
    bool needs_quotes = n > 0 && (text[0] == ' ' || text[n - 1] == ' ');
    for (size_t i = 0; i < n && !needs_quotes; i++) needs_quotes = memchr(",\"\r\n", text[i], 4) != NULL;
    if (!needs_quotes) {
        str_append(out, text, n);
        return;
    }
    str_putc(out, '"');
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"') str_putc(out, '"');
        str_putc(out, text[i]);
    }
    str_putc(out, '"');
}
