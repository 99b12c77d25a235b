/* How good probabilities are, measured on labelled texts. */
#ifndef QAIO_TASKS_CALIBRATION_QUALITY_H
#define QAIO_TASKS_CALIBRATION_QUALITY_H

#include <jansson.h>

#include "tasks/calibration_fit.h"

#define QUALITY_BINS  15
#define QUALITY_RISKS 4
extern const double quality_risks[QUALITY_RISKS]; /* 0.01, 0.02, 0.05, 0.1 */

/* The largest share of the texts, the surest first, of which at most so many are wrong. */
typedef struct coverage {
    double share;
    double threshold; /* their probabilities are at least this: a value for abstain_below; 1 where the share is 0 */
} coverage;

typedef struct quality {
    size_t n, n_labels;
    double accuracy;
    double macro_f1; /* over the labels that are right, or given, somewhere */
    double ece;      /* |how sure - how often right|, mean over QUALITY_BINS bins of equal width */
    double brier;    /* the squared distance to certainty of the right label, summed over labels, mean over texts */
    double log_loss; /* natural logarithm */
    coverage coverages[QUALITY_RISKS];
    size_t *confusion; /* [right, given]; owned */
} quality;

/* Measures a->raw, whatever probabilities it holds; at least one text. */
qaio_status quality_measure(quality *out, const labelled_answers *a, qaio_error *err);
void quality_deinit(quality *q);

/* {"accuracy","macro_f1","ece","brier","log_loss","coverage":[{"risk","share","threshold"}],"confusion":[[…]]}; a new reference. */
json_t *quality_to_json(const quality *q);

#endif
