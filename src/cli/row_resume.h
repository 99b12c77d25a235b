/* Where an interrupted `qaio batch` left its output.  Rows are written in order, one for each row of IN, so their number says where to go
 * on; what follows the last whole row is a row that was cut. */
#ifndef QAIO_CLI_ROW_RESUME_H
#define QAIO_CLI_ROW_RESUME_H

#include "cli/rows.h"

typedef struct resume_point {
    uint64_t n_rows;
    uint64_t n_bytes; /* of the header and the whole rows; 0: begin anew */
} resume_point;

/* Reads the output from its beginning.  header: what a CSV file begins with, its line end included; "" for the other formats.
 * QAIO_ERR_ARGUMENT: the file begins otherwise, so it is the result of something else. */
qaio_status find_resume_point(resume_point *out, int fd, file_format format, const char *header, size_t header_bytes, qaio_error *err);

#endif
