/* What goes to stderr, and the exit status that belongs to it: "qaio: what was wrong (where); what to do". */
#ifndef QAIO_CLI_REPORT_H
#define QAIO_CLI_REPORT_H

#include "base/error.h"

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Each returns the exit status: EXIT_FAILED or, for report_usage, EXIT_USAGE. */
int report_error(const qaio_error *err);
int report_failure(const char *format, ...) PRINTF_LIKE(1, 2);
int report_usage(const char *format, ...) PRINTF_LIKE(1, 2);
/* A remark; nothing has failed. */
void report_note(const char *format, ...) PRINTF_LIKE(1, 2);

/* Flushes stdout: EXIT_FAILED with a report when not everything could be written (a full disk), else `status`. */
int report_output(int status);

#endif
