/* Calibrations on disk:  <cache directory>/calibration/<task>-<model name>.json
 *
 * A file holds for one task, of one version and with these labels, and for one model, with these bytes and weights of this type.  Where
 * anything differs it is ignored, and the reason can be shown: numbers made for another prompt or another model would be wrong. */
#ifndef QAIO_TASKS_CALIBRATION_H
#define QAIO_TASKS_CALIBRATION_H

#include "tasks/calibration_quality.h"

/* What a calibration is made for. */
typedef struct calibration_key {
    const task *task;
    const char *model_name;
    const char *weights; /* the type of the weights in memory: "q8_0" */
    uint64_t stamp;      /* of the model's bytes or files */
} calibration_key;

#define CALIBRATION_DATE_BYTES 24

typedef struct stored_calibration {
    calibration values;
    size_t n_rows;                     /* it was learnt from */
    char date[CALIBRATION_DATE_BYTES]; /* "2026-11-24T18:00:00Z" */
} stored_calibration;

/* The file's path, owned; NULL when out of memory or without a home. */
char *calibration_path(const task *t, const char *model_name);

/* QAIO_ERR_NOT_FOUND: there is no file.  QAIO_ERR_FORMAT: it is none, or holds for another task version, other labels or another model; the
 * message says which. */
qaio_status calibration_load(stored_calibration *out, const calibration_key *key, const char *path, qaio_error *err);
/* The same for the file's text. */
qaio_status calibration_parse(stored_calibration *out, const calibration_key *key, const char *text, size_t n, qaio_error *err);

/* Writes the file, and the folder where it is missing. */
qaio_status calibration_store(const calibration_key *key, const stored_calibration *c, const quality *before, const quality *after,
                              const char *path, qaio_error *err);

#endif
