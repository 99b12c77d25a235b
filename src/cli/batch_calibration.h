/* Running batch calibration of a `qaio batch`: its state is what stands in OUT, so a run that was cut goes on with the same numbers. */
#ifndef QAIO_CLI_BATCH_CALIBRATION_H
#define QAIO_CLI_BATCH_CALIBRATION_H

#include "cli/analysis.h"
#include "cli/rows.h"
#include "tasks/batch_prior.h"

typedef struct batch_calibration {
    batch_prior priors[MAX_TASKS_AT_ONCE]; /* of the choice's tasks; those that are no label tasks stay unused */
} batch_calibration;

/* Calibrates the labels of a finished analysis, the next one in the order of rows. */
void batch_calibration_apply(batch_calibration *c, analysis *a);

/* Counts the first n_rows of OUT, a CSV or JSONL file that such a run has written; reads fd from its beginning.  QAIO_ERR_ARGUMENT: the
 * file is none. */
qaio_status batch_calibration_restore(batch_calibration *c, const task_choice *choice, int fd, file_format format, uint64_t n_rows,
                                      qaio_error *err);

/* The column of a label's raw probability, appended. */
void batch_raw_column(str *out, const task *t, size_t label);

#endif
