/* Rows with their answers, as CSV, JSONL or TXT.
 *
 *   CSV    the input's columns, then per task TASK_label and TASK_probability (or TASK_reply), with has_raw also
 *          TASK_raw_LABEL for each label, then error; a column of the input with such a name is replaced, so that running a file twice
 *          changes nothing
 *   JSONL  the input's keys, then "results": [answer, …], or "error"
 *   TXT    per task the label's text and its probability (or the reply), then the text, with tabs between */
#ifndef QAIO_CLI_ROW_WRITER_H
#define QAIO_CLI_ROW_WRITER_H

#include <stdio.h>

#include "cli/analysis.h"
#include "cli/rows.h"

typedef struct row_writer {
    FILE *out;
    file_format format;
    const row_columns *columns;
    const task_choice *choice;
    const char *model_name;
    bool has_raw;
    bool *is_replaced; /* owned, [columns->n]: CSV, from the header on */
    str line, name;
} row_writer;

/* Everything is borrowed.  w->out, and has_raw where it is wanted, are set before anything is written. */
void row_writer_init(row_writer *w, file_format format, const row_columns *columns, const task_choice *choice, const char *model_name);
void row_writer_deinit(row_writer *w);
/* Before the first row.  What the file begins with: CSV: the header, with its line end; else "".  Borrowed until the next call; NULL when
 * out of memory. */
const char *row_writer_header(row_writer *w, size_t *n);
/* Writes that. */
void row_writer_begin(row_writer *w);
/* One row, whole and flushed.  a: finished; NULL where the row itself failed.  false: it could not be written (errno). */
bool row_write(row_writer *w, const row *r, const analysis *a);

#endif
