#include "tasks/batch_prior.h"

#include <math.h>

static double logarithm(double raw) { return log(fmax(raw, BATCH_PRIOR_FLOOR)); }

bool batch_prior_add(batch_prior *p, size_t n_labels, const double *raw) {
    for (size_t i = 0; i < n_labels; i++)
        if (!(raw[i] >= 0 && raw[i] <= 1)) return false;
    for (size_t i = 0; i < n_labels; i++) p->sums[i] += logarithm(raw[i]);
    p->n++;
    return true;
}

void batch_prior_calibrate(batch_prior *p, label_answer *a) {
    size_t n = a->task->n_labels;
    if (!batch_prior_add(p, n, a->raw)) return;
    double sum = 0, even = -log((double)n), weight = (double)p->n + BATCH_PRIOR_TEXTS;
    for (size_t i = 0; i < n; i++)
        sum += a->probabilities[i] = exp(logarithm(a->raw[i]) - (p->sums[i] + BATCH_PRIOR_TEXTS * even) / weight);
    for (size_t i = 0; i < n; i++) a->probabilities[i] /= sum;
    a->is_calibrated = a->is_batch_calibrated = true;
    label_answer_conclude(a);
}
