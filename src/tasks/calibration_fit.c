/* The fit: Newton's method in double on a convex function of 1/T and the biases. */
#include "tasks/calibration_fit.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

#define PRIOR_WEIGHT     1.0 /* of (1/T - 1)^2 / 2 and bias^2 / 2, against a sum over rows */
#define MAX_STEPS        100
#define MAX_HALVINGS     40
#define ENOUGH           1e-12   /* the decrement, a row, at which a step is the last */
#define SMALLEST_RAW     DBL_MIN /* log of less is this: a label the model gave up is not lost for ever */
#define SMALLEST_INVERSE (1 / CALIBRATION_MAX_TEMPERATURE)
#define LARGEST_INVERSE  (1 / CALIBRATION_MIN_TEMPERATURE)

static double score_of(double raw) { return log(raw < SMALLEST_RAW ? SMALLEST_RAW : raw); }

/* probabilities[i] = exp(inverse * scores[i] + biases[i]) / sum; the result is the logarithm of the sum. */
static double softmax(double inverse, const double *biases, size_t n, const double *scores, double *probabilities) {
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) {
        probabilities[i] = inverse * scores[i] + biases[i];
        if (!(probabilities[i] <= top)) top = probabilities[i];
    }
    for (size_t i = 0; i < n; i++) sum += probabilities[i] = exp(probabilities[i] - top);
    for (size_t i = 0; i < n; i++) probabilities[i] /= sum;
    return top + log(sum);
}

void calibration_apply(const calibration *c, size_t n_labels, const double *raw, double *probabilities) {
    double scores[TASK_MAX_LABELS];
    for (size_t i = 0; i < n_labels; i++) scores[i] = score_of(raw[i]);
    softmax(1 / c->temperature, c->biases, n_labels, scores, probabilities);
}

/* ---- the function, its gradient and its second derivatives; parameter 0 is 1/T, then come the biases ---- */

typedef struct fit {
    double *scores; /* [n, n_labels] */
    const size_t *labels;
    size_t n, n_labels;
    size_t fold; /* whose rows are left out; CALIBRATION_FOLDS: none */
    size_t n_used;
    double *at, *gradient, *step, *tried; /* [n_labels + 1] */
    double *hessian;                      /* [n_labels + 1, n_labels + 1], the lower triangle; then its Cholesky factor */
} fit;

static bool is_left_out(const fit *f, size_t row) { return row % CALIBRATION_FOLDS == f->fold; }

static double prior_loss(const fit *f, const double *at) {
    double sum = (at[0] - 1) * (at[0] - 1);
    for (size_t i = 1; i <= f->n_labels; i++) sum += at[i] * at[i];
    return PRIOR_WEIGHT * sum / 2;
}

static double loss_at(const fit *f, const double *at) {
    double probabilities[TASK_MAX_LABELS], loss = prior_loss(f, at);
    for (size_t row = 0; row < f->n; row++) {
        if (is_left_out(f, row)) continue;
        const double *scores = f->scores + row * f->n_labels;
        size_t right = f->labels[row];
        loss += softmax(at[0], at + 1, f->n_labels, scores, probabilities) - at[0] * scores[right] - at[1 + right];
    }
    return loss;
}

static void add_row(fit *f, const double *scores, size_t right) {
    size_t width = f->n_labels + 1;
    double p[TASK_MAX_LABELS], mean = 0, square = 0;
    softmax(f->at[0], f->at + 1, f->n_labels, scores, p);
    for (size_t i = 0; i < f->n_labels; i++) mean += p[i] * scores[i];
    for (size_t i = 0; i < f->n_labels; i++) square += p[i] * (scores[i] - mean) * (scores[i] - mean);
    f->gradient[0] += mean - scores[right];
    f->hessian[0] += square;
    for (size_t i = 0; i < f->n_labels; i++) {
        double *line = f->hessian + (i + 1) * width;
        f->gradient[i + 1] += p[i] - (i == right);
        line[0] += p[i] * (scores[i] - mean);
        for (size_t k = 0; k < i; k++) line[k + 1] -= p[i] * p[k];
        line[i + 1] += p[i] * (1 - p[i]);
    }
}

static void differentiate(fit *f) {
    size_t width = f->n_labels + 1;
    memset(f->hessian, 0, width * width * sizeof *f->hessian);
    for (size_t i = 0; i < width; i++) {
        f->gradient[i] = PRIOR_WEIGHT * (f->at[i] - (i == 0));
        f->hessian[i * width + i] = PRIOR_WEIGHT;
    }
    for (size_t row = 0; row < f->n; row++)
        if (!is_left_out(f, row)) add_row(f, f->scores + row * f->n_labels, f->labels[row]);
}

/* At a border that it would like to cross, 1/T stays where it is and the biases move alone. */
static void hold_at_border(fit *f) {
    bool is_low = f->at[0] <= SMALLEST_INVERSE && f->gradient[0] > 0, is_high = f->at[0] >= LARGEST_INVERSE && f->gradient[0] < 0;
    if (!is_low && !is_high) return;
    f->gradient[0] = 0;
    for (size_t i = 1; i <= f->n_labels; i++) f->hessian[i * (f->n_labels + 1)] = 0;
}

/* ---- Newton's step ---- */

/* In place; the prior keeps the matrix positive definite. */
static void factorise(double *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k <= i; k++) {
            double sum = a[i * n + k];
            for (size_t j = 0; j < k; j++) sum -= a[i * n + j] * a[k * n + j];
            a[i * n + k] = i == k ? sqrt(sum) : sum / a[k * n + k];
        }
}

/* step = -hessian^-1 gradient; the result is the decrement, gradient . hessian^-1 gradient. */
static double find_step(fit *f) {
    size_t n = f->n_labels + 1;
    double decrement = 0;
    factorise(f->hessian, n);
    for (size_t i = 0; i < n; i++) {
        double sum = -f->gradient[i];
        for (size_t k = 0; k < i; k++) sum -= f->hessian[i * n + k] * f->step[k];
        f->step[i] = sum / f->hessian[i * n + i];
        decrement += f->step[i] * f->step[i];
    }
    for (size_t i = n; i-- > 0;) {
        double sum = f->step[i];
        for (size_t k = i + 1; k < n; k++) sum -= f->hessian[k * n + i] * f->step[k];
        f->step[i] = sum / f->hessian[i * n + i];
    }
    return decrement;
}

/* As much of the step as makes the loss smaller; false when nothing does. */
static bool move(fit *f, double decrement) {
    size_t width = f->n_labels + 1;
    double length = 1, now = loss_at(f, f->at);
    double border = f->step[0] < 0 ? SMALLEST_INVERSE : LARGEST_INVERSE;
    if (f->step[0] != 0 && (border - f->at[0]) / f->step[0] < 1) length = (border - f->at[0]) / f->step[0];
    for (int i = 0; i < MAX_HALVINGS; i++, length /= 2) {
        for (size_t k = 0; k < width; k++) f->tried[k] = f->at[k] + length * f->step[k];
        f->tried[0] = fmin(fmax(f->tried[0], SMALLEST_INVERSE), LARGEST_INVERSE);
        if (!(loss_at(f, f->tried) <= now - 1e-4 * length * decrement)) continue;
        memcpy(f->at, f->tried, width * sizeof *f->at);
        return true;
    }
    return false;
}

static void minimise(fit *f) {
    f->at[0] = 1;
    for (size_t i = 1; i <= f->n_labels; i++) f->at[i] = 0;
    for (int i = 0; i < MAX_STEPS; i++) {
        differentiate(f);
        hold_at_border(f);
        double decrement = find_step(f);
        if (!(decrement > ENOUGH * (double)f->n_used) || !move(f, decrement)) return;
    }
}

static void take_result(const fit *f, calibration *out) {
    *out = (calibration){.temperature = 1 / f->at[0]};
    memcpy(out->biases, f->at + 1, f->n_labels * sizeof *out->biases);
}

/* ---- around it ---- */

static qaio_status check(const labelled_answers *a, qaio_error *err) {
    if (a->n < CALIBRATION_MIN_ROWS)
        return error_set(err, QAIO_ERR_ARGUMENT, "%zu labelled texts, at least %d are needed; some hundreds are better", a->n,
                         CALIBRATION_MIN_ROWS);
    for (size_t i = 1; i < a->n; i++)
        if (a->labels[i] != a->labels[0]) return QAIO_OK;
    return error_set(err, QAIO_ERR_ARGUMENT, "all labelled texts have the same label; others are needed too");
}

static void fit_deinit(fit *f) {
    mem_free(f->scores);
    mem_free(f->at);
    mem_free(f->hessian);
}

static qaio_status fit_init(fit *f, const labelled_answers *a, qaio_error *err) {
    size_t width = a->n_labels + 1, n_scores;
    *f = (fit){.labels = a->labels, .n = a->n, .n_labels = a->n_labels, .fold = CALIBRATION_FOLDS};
    qaio_status status = check(a, err);
    if (status) return status;
    f->scores = size_mul(a->n, a->n_labels, &n_scores) ? mem_array(n_scores, sizeof *f->scores) : NULL;
    f->at = mem_array(4 * width, sizeof *f->at);
    f->hessian = mem_array(width * width, sizeof *f->hessian);
    if (!f->scores || !f->at || !f->hessian) {
        fit_deinit(f);
        return error_memory(err);
    }
    f->gradient = f->at + width;
    f->step = f->at + 2 * width;
    f->tried = f->at + 3 * width;
    for (size_t i = 0; i < n_scores; i++) f->scores[i] = score_of(a->raw[i]);
    return QAIO_OK;
}

static void fit_without(fit *f, size_t fold, calibration *out) {
    f->fold = fold;
    f->n_used = 0;
    for (size_t i = 0; i < f->n; i++) f->n_used += !is_left_out(f, i);
    minimise(f);
    take_result(f, out);
}

qaio_status calibration_fit(calibration *out, const labelled_answers *answers, qaio_error *err) {
    fit f;
    qaio_status status = fit_init(&f, answers, err);
    if (status) return status;
    fit_without(&f, CALIBRATION_FOLDS, out);
    fit_deinit(&f);
    return QAIO_OK;
}

qaio_status calibration_cross_validate(const labelled_answers *answers, double *probabilities, qaio_error *err) {
    fit f;
    size_t width = answers->n_labels;
    qaio_status status = fit_init(&f, answers, err);
    if (status) return status;
    for (size_t fold = 0; fold < CALIBRATION_FOLDS; fold++) {
        calibration c;
        fit_without(&f, fold, &c);
        for (size_t i = fold; i < answers->n; i += CALIBRATION_FOLDS)
            calibration_apply(&c, width, answers->raw + i * width, probabilities + i * width);
    }
    fit_deinit(&f);
    return QAIO_OK;
}
