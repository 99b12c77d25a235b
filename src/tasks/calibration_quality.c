#include "tasks/calibration_quality.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

const double quality_risks[QUALITY_RISKS] = {0.01, 0.02, 0.05, 0.1};

typedef struct outcome {
    double confidence;
    bool is_right;
} outcome;

static size_t most_probable(const double *probabilities, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (probabilities[i] > probabilities[best]) best = i;
    return best;
}

static void add_text(quality *q, outcome *out, const double *probabilities, size_t right) {
    size_t given = most_probable(probabilities, q->n_labels);
    *out = (outcome){probabilities[given], given == right};
    q->confusion[right * q->n_labels + given]++;
    q->accuracy += given == right;
    q->log_loss -= log(fmax(probabilities[right], DBL_MIN));
    for (size_t i = 0; i < q->n_labels; i++) q->brier += (probabilities[i] - (i == right)) * (probabilities[i] - (i == right));
}

static double macro_f1(const quality *q) {
    double sum = 0;
    size_t n_there = 0;
    for (size_t label = 0; label < q->n_labels; label++) {
        size_t n_right = 0, n_given = 0;
        for (size_t i = 0; i < q->n_labels; i++) {
            n_right += q->confusion[label * q->n_labels + i];
            n_given += q->confusion[i * q->n_labels + label];
        }
        if (n_right + n_given == 0) continue;
        sum += 2 * (double)q->confusion[label * q->n_labels + label] / (double)(n_right + n_given);
        n_there++;
    }
    return sum / (double)n_there;
}

static double calibration_error(const outcome *outcomes, size_t n) {
    double confidence[QUALITY_BINS] = {0}, right[QUALITY_BINS] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double place = outcomes[i].confidence * QUALITY_BINS;
        size_t bin = place >= QUALITY_BINS ? QUALITY_BINS - 1 : place > 0 ? (size_t)place : 0;
        confidence[bin] += outcomes[i].confidence;
        right[bin] += outcomes[i].is_right;
    }
    for (size_t bin = 0; bin < QUALITY_BINS; bin++) sum += fabs(confidence[bin] - right[bin]);
    return sum / (double)n;
}

static int surest_first(const void *a, const void *b) {
    double x = ((const outcome *)a)->confidence, y = ((const outcome *)b)->confidence;
    return (x < y) - (x > y);
}

/* A threshold keeps all texts that are equally sure, or none of them. */
static void find_coverages(quality *q, outcome *outcomes) {
    qsort(outcomes, q->n, sizeof *outcomes, surest_first);
    for (size_t k = 0; k < QUALITY_RISKS; k++) q->coverages[k] = (coverage){0, 1};
    size_t n_wrong = 0;
    for (size_t i = 0; i < q->n; i++) {
        n_wrong += !outcomes[i].is_right;
        if (i + 1 < q->n && outcomes[i + 1].confidence == outcomes[i].confidence) continue;
        for (size_t k = 0; k < QUALITY_RISKS; k++)
            if ((double)n_wrong <= quality_risks[k] * (double)(i + 1))
                q->coverages[k] = (coverage){(double)(i + 1) / (double)q->n, outcomes[i].confidence};
    }
}

qaio_status quality_measure(quality *out, const labelled_answers *a, qaio_error *err) {
    *out = (quality){.n = a->n, .n_labels = a->n_labels};
    outcome *outcomes = mem_array(a->n, sizeof *outcomes);
    out->confusion = mem_array(a->n_labels * a->n_labels, sizeof *out->confusion);
    if (!outcomes || !out->confusion) {
        mem_free(outcomes);
        quality_deinit(out);
        return error_memory(err);
    }
    for (size_t i = 0; i < a->n; i++) add_text(out, &outcomes[i], a->raw + i * a->n_labels, a->labels[i]);
    out->accuracy /= (double)a->n;
    out->log_loss /= (double)a->n;
    out->brier /= (double)a->n;
    out->macro_f1 = macro_f1(out);
    out->ece = calibration_error(outcomes, a->n);
    find_coverages(out, outcomes);
    mem_free(outcomes);
    return QAIO_OK;
}

void quality_deinit(quality *q) {
    mem_free(q->confusion);
    q->confusion = NULL;
}

json_t *quality_to_json(const quality *q) {
    json_t *coverages = json_array(), *confusion = json_array();
    for (size_t k = 0; k < QUALITY_RISKS; k++)
        json_array_append_new(coverages, json_pack("{s:f, s:f, s:f}", "risk", quality_risks[k], "share", q->coverages[k].share, "threshold",
                                                   q->coverages[k].threshold));
    for (size_t right = 0; right < q->n_labels; right++) {
        json_t *row = json_array();
        for (size_t given = 0; given < q->n_labels; given++)
            json_array_append_new(row, json_integer((json_int_t)q->confusion[right * q->n_labels + given]));
        json_array_append_new(confusion, row);
    }
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "accuracy", q->accuracy, "macro_f1", q->macro_f1, "ece", q->ece, "brier",
                     q->brier, "log_loss", q->log_loss, "coverage", coverages, "confusion", confusion);
}
