/* What a calibration changes, for people and as JSON. */
#ifndef QAIO_CLI_CALIBRATION_REPORT_H
#define QAIO_CLI_CALIBRATION_REPORT_H

#include "tasks/resident.h"

typedef struct calibration_report {
    const calibration_key *key;
    stored_calibration learnt;
    quality before, after; /* after: cross-validated */
    uint64_t n_skipped;
    const char *path; /* where it was stored; NULL: it was not */
} calibration_report;

void calibration_report_print(const calibration_report *r, bool is_json);

/* One line on the calibration that the resident found for a task. */
void calibration_note(char *out, size_t bytes, const found_calibration *found);

#endif
