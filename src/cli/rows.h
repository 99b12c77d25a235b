/* Rows of a file of texts, CSV, JSONL or TXT alike: named columns, one of which holds the text. */
#ifndef QAIO_CLI_ROWS_H
#define QAIO_CLI_ROWS_H

#include <jansson.h>

#include "cli/csv.h"
#include "cli/lines.h"

typedef enum file_format { FORMAT_NONE, FORMAT_CSV, FORMAT_JSONL, FORMAT_TXT } file_format;

/* "csv", "jsonl" … as an option has it; by a path's suffix; FORMAT_NONE when it is none of them. */
file_format format_from_name(const char *name);
file_format format_from_path(const char *path);

#define ROWS_MAX_COLUMNS CSV_MAX_FIELDS

/* The columns, known once the first row was read: CSV: its header; JSONL: the keys of the first object; TXT: "text". */
typedef struct row_columns {
    char **names; /* owned */
    size_t n;
    size_t text; /* which of them holds the text */
} row_columns;

typedef struct row {
    csv_record record; /* CSV */
    json_t *object;    /* JSONL; TXT as {"text": …} */
    str line;          /* JSONL: the object as it stands in the file */
    str text;
    qaio_status status; /* of this row; the text is there only when it is QAIO_OK */
    qaio_error error;
} row;

typedef struct row_reader {
    file_format format;
    const char *wanted_column; /* or NULL */
    line_reader lines;
    csv_reader csv;
    size_t n_lines;
    row_columns columns;
    row first; /* JSONL, TXT: read to learn the columns, given out first */
    bool has_first;
} row_reader;

/* Reads as far as the columns are known.  QAIO_ERR_ARGUMENT: the text's column is not there, or not clear; the message lists them. */
qaio_status row_reader_open(row_reader *out, int fd, file_format format, const char *column, qaio_error *err);
void row_reader_close(row_reader *r);
uint64_t row_reader_bytes(const row_reader *r); /* of input taken so far */

typedef enum row_next { ROW_OK, ROW_END, ROW_FAILED } row_next;
/* The next row, also one that is malformed (out->status).  ROW_FAILED: the input cannot be read any further. */
row_next row_read(row_reader *r, row *out, qaio_error *err);
void row_deinit(row *r);

/* The column of this name, upper or lower case. */
bool row_columns_find(const row_columns *columns, const char *name, size_t *out);
/* The value of a column as text: what is no string as JSON, what is missing as "". */
void row_value(const row *r, const row_columns *columns, size_t column, str *out);
/* The columns of a row as an object, in their order; a new reference, NULL when out of memory. */
json_t *row_object(const row *r, const row_columns *columns);

#endif
