/* Running batch calibration: what a task leans to, taken from the texts it reads, without labels (Zhou et al. 2023, "Batch Calibration").
 *
 *   prior(label) = mean of log raw(label) over the texts so far, this one too;   p(label) = exp(log raw(label) - prior(label)) / sum
 *
 * The labels' own frequencies go with the leaning: for texts of which each label holds about equally often. */
#ifndef QAIO_TASKS_BATCH_PRIOR_H
#define QAIO_TASKS_BATCH_PRIOR_H

#include "tasks/resident.h"

/* So many texts without a leaning are thought to have come first: the first text alone would say nothing about itself. */
#define BATCH_PRIOR_TEXTS 4
#define BATCH_PRIOR_FLOOR 1e-12 /* smaller probabilities count as this: one text does not outweigh thousands */

/* Zero: nothing seen yet. */
typedef struct batch_prior {
    uint64_t n;
    double sums[TASK_MAX_LABELS]; /* of logarithms */
} batch_prior;

/* Counts a text.  The order of texts decides the bits.  false: raw holds what is no probability, and nothing was counted. */
bool batch_prior_add(batch_prior *p, size_t n_labels, const double *raw);
/* Counts the answer's text, and makes its probabilities, label and is_unsure from its raw ones; those that are no number stay. */
void batch_prior_calibrate(batch_prior *p, label_answer *answer);

#endif
