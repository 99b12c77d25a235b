/* CSV as RFC 4180 has it, read strictly and record by record: quoted fields may hold commas, quotes ("" for one) and line breaks; records
 * end with LF, CRLF or CR; an UTF-8 byte order mark before the first field is skipped; empty lines are no records.  What RFC 4180 leaves
 * open: a quote inside an unquoted field is an ordinary character; text behind a closing quote is refused. */
#ifndef QAIO_CLI_CSV_H
#define QAIO_CLI_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define CSV_MAX_RECORD_BYTES ((size_t)16 << 20)
#define CSV_MAX_FIELDS       4096

/* One record: field i is text.data[begin(i) .. ends[i]), begin(i) = i ? ends[i - 1] : 0. */
typedef struct csv_record {
    str text;
    size_t *ends;
    size_t n_fields, capacity;
    size_t line; /* where it begins, from 1 */
} csv_record;

void csv_record_deinit(csv_record *r);
const char *csv_field(const csv_record *r, size_t i, size_t *n); /* not terminated */

typedef struct csv_reader {
    int fd;       /* -1: all is in memory */
    char *buffer; /* owned */
    const char *at, *end;
    uint64_t n_bytes; /* taken so far */
    size_t line;
    bool has_begun, is_eof;
    int error; /* errno of a read that failed */
} csv_reader;

void csv_reader_init(csv_reader *r, int fd);
void csv_reader_init_memory(csv_reader *r, const char *data, size_t n); /* borrowed */
void csv_reader_deinit(csv_reader *r);

typedef enum csv_status { CSV_RECORD, CSV_END, CSV_ERROR } csv_status;

/* The next record.  CSV_ERROR: err says what is wrong in which line.  After QAIO_ERR_FORMAT and QAIO_ERR_LIMIT reading goes on with the
 * next line; out->text is what there was of the record. */
csv_status csv_read(csv_reader *r, csv_record *out, qaio_error *err);

/* Appends a field, quoted where it must be. */
void csv_write_field(str *out, const char *text, size_t n);

#endif
