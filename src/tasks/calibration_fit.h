/* Calibration: how sure a task's answers really are, learnt from labelled texts.
 *
 * p(label) = exp(score(label) / T + bias(label)) / sum, where the scores are the model's log-probabilities over the labels.  T above 1: the
 * model was too sure of itself; a bias below 0: it says the label too often. */
#ifndef QAIO_TASKS_CALIBRATION_FIT_H
#define QAIO_TASKS_CALIBRATION_FIT_H

#include "tasks/task.h"

#define CALIBRATION_MIN_TEMPERATURE 0.01
#define CALIBRATION_MAX_TEMPERATURE 100.0
#define CALIBRATION_MAX_BIAS        1000.0 /* either way */
#define CALIBRATION_MIN_ROWS        20
#define CALIBRATION_FOLDS           5

typedef struct calibration {
    double temperature;
    double biases[TASK_MAX_LABELS];
} calibration;

/* What a task answered on labelled texts. */
typedef struct labelled_answers {
    const double *raw;    /* probabilities [n, n_labels], all finite */
    const size_t *labels; /* the right ones, [n] */
    size_t n, n_labels;
} labelled_answers;

/* probabilities[n_labels] of raw[n_labels]; they may be the same array. */
void calibration_apply(const calibration *c, size_t n_labels, const double *raw, double *probabilities);

/* The temperature and biases of the smallest log loss.  A weak prior keeps them finite where the texts leave them open (all
 * right, or a label without a text).  The same input gives the same bits.  QAIO_ERR_ARGUMENT: fewer than CALIBRATION_MIN_ROWS texts, or all
 * with the same label. */
qaio_status calibration_fit(calibration *out, const labelled_answers *answers, qaio_error *err);

/* The calibrated probabilities [n, n_labels] that each text gets from a fit on the other folds: what new texts can expect.  Text i belongs
 * to fold i mod CALIBRATION_FOLDS. */
qaio_status calibration_cross_validate(const labelled_answers *answers, double *probabilities, qaio_error *err);

#endif
