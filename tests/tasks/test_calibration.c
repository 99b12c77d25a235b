/* Calibration: the fit, the figures, the files, and what answers say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "tasks/batch_prior.h"
#include "tasks/calibration.h"
#include "tasks/resident.h"

/* ---- the fit ---- */

/* xorshift64*: the same numbers everywhere. */
static double next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)(*state * 0x2545F4914F6CDD1Du >> 11) * 0x1p-53;
}

enum { N_SYNTHETIC = 6000, N_CLASSES = 3 };

typedef struct sample {
    double raw[N_SYNTHETIC * N_CLASSES];
    size_t labels[N_SYNTHETIC];
} sample;

/* Answers of a model whose truth is the given calibration of what it says. */
static labelled_answers draw(sample *s, const calibration *truth, uint64_t seed) {
    for (size_t i = 0; i < N_SYNTHETIC; i++) {
        double *raw = s->raw + i * N_CLASSES, p[N_CLASSES], sum = 0, u;
        for (size_t k = 0; k < N_CLASSES; k++) sum += raw[k] = exp(8 * next_random(&seed));
        for (size_t k = 0; k < N_CLASSES; k++) raw[k] /= sum;
        calibration_apply(truth, N_CLASSES, raw, p);
        u = next_random(&seed);
        s->labels[i] = u < p[0] ? 0 : u < p[0] + p[1] ? 1 : 2;
    }
    return (labelled_answers){s->raw, s->labels, N_SYNTHETIC, N_CLASSES};
}

static void the_fit_recovers_the_temperature_and_the_biases(void **state) {
    (void)state;
    static const calibration truths[] = {{2.5, {0.5, -0.75, 0.25}}, {1, {0, 0, 0}}, {0.6, {-1, 0.5, 0.5}}};
    sample *s = malloc(sizeof *s);
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
        labelled_answers answers = draw(s, &truths[i], 42 + i);
        calibration found, again;
        assert_int_equal(calibration_fit(&found, &answers, NULL), QAIO_OK);
        assert_true(fabs(found.temperature / truths[i].temperature - 1) < 0.06);
        for (size_t k = 0; k < N_CLASSES; k++) assert_true(fabs(found.biases[k] - truths[i].biases[k]) < 0.12);
        assert_int_equal(calibration_fit(&again, &answers, NULL), QAIO_OK);
        assert_memory_equal(&found, &again, sizeof found);
    }
    free(s);
}

/* What the fit minimises, written down once more. */
static double penalised_loss(const calibration *c, const labelled_answers *a) {
    double slope = 1 / c->temperature, loss = (slope - 1) * (slope - 1) / 2;
    for (size_t k = 0; k < N_CLASSES; k++) loss += c->biases[k] * c->biases[k] / 2;
    for (size_t i = 0; i < a->n; i++) {
        double p[N_CLASSES];
        calibration_apply(c, N_CLASSES, a->raw + i * N_CLASSES, p);
        loss -= log(p[a->labels[i]]);
    }
    return loss;
}

static void the_fit_ends_where_no_neighbour_is_better(void **state) {
    (void)state;
    static const calibration truth = {1.7, {0.3, -0.6, 0.3}};
    sample *s = malloc(sizeof *s);
    labelled_answers answers = draw(s, &truth, 7);
    answers.n = 200;
    calibration best;
    assert_int_equal(calibration_fit(&best, &answers, NULL), QAIO_OK);
    double least = penalised_loss(&best, &answers);
    for (double change = -1e-3; change < 2e-3; change += 2e-3) {
        calibration c = best;
        c.temperature += change;
        assert_true(penalised_loss(&c, &answers) > least);
        for (size_t k = 0; k < N_CLASSES; k++) {
            c = best;
            c.biases[k] += change;
            assert_true(penalised_loss(&c, &answers) > least);
        }
    }
    free(s);
}

static void extreme_answers_give_finite_calibrations(void **state) {
    (void)state;
    double raw[40][2];
    size_t labels[40];
    labelled_answers answers = {raw[0], labels, 40, 2};
    for (int kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < 40; i++) {
            labels[i] = i % 3 == 0;
            double p = kind == 0   ? labels[i] == 0            /* certain and right */
                       : kind == 1 ? labels[i] == 1            /* certain and wrong */
                       : kind == 2 ? 0.5                       /* knows nothing */
                                   : (double)(i % 2) * 1e-300; /* denormals away from certainty, for both */
            raw[i][0] = p;
            raw[i][1] = 1 - p;
        }
        calibration c;
        double after[40][2];
        assert_int_equal(calibration_fit(&c, &answers, NULL), QAIO_OK);
        assert_true(c.temperature >= CALIBRATION_MIN_TEMPERATURE && c.temperature <= CALIBRATION_MAX_TEMPERATURE);
        assert_true(fabs(c.biases[0]) < 100 && fabs(c.biases[1]) < 100);
        assert_int_equal(calibration_cross_validate(&answers, after[0], NULL), QAIO_OK);
        for (size_t i = 0; i < 40; i++) assert_true(fabs(after[i][0] + after[i][1] - 1) < 1e-12);
        if (kind == 2) assert_true(fabs(after[0][1] - 0.35) < 0.05); /* how often it is right */
    }
}

static void too_few_or_equal_labels_are_refused(void **state) {
    (void)state;
    double raw[2 * CALIBRATION_MIN_ROWS];
    size_t labels[CALIBRATION_MIN_ROWS] = {1};
    for (size_t i = 0; i < 2 * CALIBRATION_MIN_ROWS; i++) raw[i] = 0.5;
    labelled_answers answers = {raw, labels, CALIBRATION_MIN_ROWS - 1, 2};
    calibration c;
    qaio_error err;
    assert_int_equal(calibration_fit(&c, &answers, &err), QAIO_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "at least 20"));
    answers.n++;
    assert_int_equal(calibration_fit(&c, &answers, &err), QAIO_OK);
    labels[0] = 0;
    assert_int_equal(calibration_fit(&c, &answers, &err), QAIO_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "same label"));
}

static void a_text_is_judged_by_a_fit_that_has_not_seen_it(void **state) {
    (void)state;
    double raw[50][2], one[50][2], other[50][2];
    size_t labels[50];
    uint64_t seed = 5;
    for (size_t i = 0; i < 50; i++) {
        raw[i][0] = next_random(&seed);
        raw[i][1] = 1 - raw[i][0];
        labels[i] = next_random(&seed) > raw[i][0];
    }
    labelled_answers answers = {raw[0], labels, 50, 2};
    assert_int_equal(calibration_cross_validate(&answers, one[0], NULL), QAIO_OK);
    labels[7] = !labels[7];
    assert_int_equal(calibration_cross_validate(&answers, other[0], NULL), QAIO_OK);
    for (size_t i = 0; i < 50; i++)
        if (i % CALIBRATION_FOLDS == 7 % CALIBRATION_FOLDS)
            assert_true(one[i][0] == other[i][0]);
        else
            assert_true(one[i][0] != other[i][0]);
}

static void fitting_survives_every_failed_allocation(void **state) {
    (void)state;
    double raw[2 * CALIBRATION_MIN_ROWS], after[2 * CALIBRATION_MIN_ROWS];
    size_t labels[CALIBRATION_MIN_ROWS] = {1};
    for (size_t i = 0; i < 2 * CALIBRATION_MIN_ROWS; i++) raw[i] = 0.5;
    labelled_answers answers = {raw, labels, CALIBRATION_MIN_ROWS, 2};
    qaio_status status = QAIO_ERR_MEMORY;
    for (long n = 0; status; n++) {
        calibration c;
        quality q;
        mem_fail_after(n);
        status = calibration_fit(&c, &answers, NULL);
        if (!status) status = calibration_cross_validate(&answers, after, NULL);
        if (!status && !(status = quality_measure(&q, &answers, NULL))) quality_deinit(&q);
        mem_fail_after(-1);
        assert_true(status == QAIO_OK || status == QAIO_ERR_MEMORY);
    }
}

/* ---- the figures ---- */

static void the_figures_are_those_computed_by_hand(void **state) {
    (void)state;
    static const double raw[] = {0.9, 0.1, 0.8, 0.2, 0.3, 0.7, 0.45, 0.55};
    static const size_t labels[] = {0, 1, 1, 0}; /* right, wrong, right, wrong */
    labelled_answers answers = {raw, labels, 4, 2};
    quality q;
    assert_int_equal(quality_measure(&q, &answers, NULL), QAIO_OK);
    assert_true(q.accuracy == 0.5);
    assert_true(fabs(q.macro_f1 - 0.5) < 1e-15);                           /* both: 1 right, 1 missed, 1 too many */
    assert_true(fabs(q.ece - (0.1 + 0.8 + 0.3 + 0.55) / 4) < 1e-15);       /* a bin each: 13, 12, 10, 8 */
    assert_true(fabs(q.brier - (0.02 + 1.28 + 0.18 + 0.605) / 4) < 1e-15); /* 2 (1 - p)^2 */
    assert_true(fabs(q.log_loss + log(0.9 * 0.2 * 0.7 * 0.45) / 4) < 1e-15);
    assert_int_equal(q.confusion[0], 1);
    assert_int_equal(q.confusion[1], 1);
    assert_int_equal(q.confusion[2], 1);
    assert_int_equal(q.confusion[3], 1);
    for (size_t i = 0; i < QUALITY_RISKS; i++) assert_true(q.coverages[i].share == 0.25 && q.coverages[i].threshold == 0.9);
    quality_deinit(&q);
}

static void a_threshold_keeps_all_that_are_equally_sure_or_none(void **state) {
    (void)state;
    double raw[20][2];
    size_t labels[20] = {0};
    labelled_answers answers = {raw[0], labels, 20, 2};
    quality q;
    for (size_t i = 0; i < 20; i++) {
        raw[i][0] = i < 10 ? 0.9 : 0.8;
        raw[i][1] = 1 - raw[i][0];
    }
    labels[15] = 1;
    assert_int_equal(quality_measure(&q, &answers, NULL), QAIO_OK);
    assert_true(q.coverages[0].share == 0.5 && q.coverages[0].threshold == 0.9); /* 1 %: the first ten */
    assert_true(q.coverages[2].share == 1 && q.coverages[2].threshold == 0.8);   /* 5 %: 1 of 20 */
    quality_deinit(&q);
    labels[0] = 1;
    assert_int_equal(quality_measure(&q, &answers, NULL), QAIO_OK);
    assert_true(q.coverages[2].share == 0 && q.coverages[2].threshold == 1);
    assert_true(q.coverages[3].share == 1); /* 10 %: 2 of 20 */
    quality_deinit(&q);
}

static void a_label_that_nobody_has_or_gives_does_not_count_in_macro_f1(void **state) {
    (void)state;
    static const double raw[] = {0.9, 0.1, 0, 0.2, 0.8, 0};
    static const size_t labels[] = {0, 1};
    labelled_answers answers = {raw, labels, 2, 3};
    quality q;
    assert_int_equal(quality_measure(&q, &answers, NULL), QAIO_OK);
    assert_true(q.macro_f1 == 1);
    quality_deinit(&q);
}

/* ---- files ---- */

static char home[] = "/tmp/qaio-calibration-XXXXXX";
static task_set *tasks;
static const task *sentiment;
static char *path;

static int open_home(void **state) {
    (void)state;
    if (!mkdtemp(home)) return 1;
    setenv("QAIO_HOME", home, 1);
    if (task_set_open(&tasks, NULL, NULL) || task_set_find(&sentiment, tasks, "sentiment", NULL)) return 1;
    path = calibration_path(sentiment, EMBEDDED_MODEL_NAME);
    return path == NULL;
}

static int close_home(void **state) {
    (void)state;
    char dir[64];
    snprintf(dir, sizeof dir, "%s/calibration", home);
    unlink(path);
    rmdir(dir);
    rmdir(home);
    mem_free(path);
    task_set_free(tasks);
    return 0;
}

static calibration_key a_key(void) { return (calibration_key){sentiment, EMBEDDED_MODEL_NAME, "q8_0", 0x123456789abcdef0u}; }

static void store(const calibration_key *key, const calibration *values) {
    static const double raw[] = {0.9, 0.1};
    static const size_t labels[] = {0};
    labelled_answers answers = {raw, labels, 1, 2};
    quality q;
    qaio_error err;
    stored_calibration c = {.values = *values, .n_rows = 321, .date = "2026-01-02T03:04:05Z"};
    assert_int_equal(quality_measure(&q, &answers, NULL), QAIO_OK);
    if (calibration_store(key, &c, &q, &q, path, &err)) fail_msg("%s", err.message);
    quality_deinit(&q);
}

static const calibration some_values = {1.0 / 3, {0.1, -2e-17}};

static void what_was_stored_comes_back_bit_for_bit(void **state) {
    (void)state;
    calibration_key key = a_key();
    stored_calibration c;
    unlink(path);
    assert_int_equal(calibration_load(&c, &key, path, NULL), QAIO_ERR_NOT_FOUND);
    store(&key, &some_values);
    assert_int_equal(calibration_load(&c, &key, path, NULL), QAIO_OK);
    assert_true(c.values.temperature == 1.0 / 3 && c.values.biases[0] == 0.1 && c.values.biases[1] == -2e-17);
    assert_int_equal(c.n_rows, 321);
    assert_string_equal(c.date, "2026-01-02T03:04:05Z");
}

static void a_model_s_name_never_leaves_the_folder(void **state) {
    (void)state;
    char *odd = calibration_path(sentiment, "../../etc/x y");
    assert_non_null(strstr(odd, "/calibration/sentiment-.._.._etc_x_y.json"));
    mem_free(odd);
}

static void check_refused(const calibration_key *key, const char *why) {
    stored_calibration c;
    qaio_error err = {0};
    assert_int_equal(calibration_load(&c, key, path, &err), QAIO_ERR_FORMAT);
    if (!strstr(err.message, why)) fail_msg("\"%s\" does not say \"%s\"", err.message, why);
}

static void what_was_made_for_something_else_is_refused(void **state) {
    (void)state;
    calibration_key key = a_key();
    store(&key, &some_values);
    key.stamp++;
    check_refused(&key, "another model");
    key = a_key();
    key.model_name = "other";
    check_refused(&key, "another model");
    key = a_key();
    key.weights = "q4_0";
    check_refused(&key, "q4_0");
    key = a_key();
    task changed = *sentiment;
    key.task = &changed;
    changed.version++;
    check_refused(&key, "another version");
    changed = *sentiment;
    changed.n_labels = 1;
    check_refused(&key, "other labels");
    changed = *sentiment;
    task_label labels[] = {sentiment->labels[0], {"neutral", "中性", ""}};
    changed.labels = labels;
    check_refused(&key, "neutral is missing");
    changed = *sentiment;
    changed.name = "emotion";
    check_refused(&key, "another task");
}

static void write_file(const char *text) {
    file_writer w;
    assert_int_equal(file_writer_open(&w, path, NULL), QAIO_OK);
    fputs(text, w.stream);
    assert_int_equal(file_writer_commit(&w, NULL), QAIO_OK);
}

static void check_values_refused(const char *temperature, const char *positive, const char *why) {
    calibration_key key = a_key();
    str text = {0};
    str_printf(&text,
               "{\"format\":1,\"task\":\"sentiment\",\"task_version\":%llu,\"model\":{\"name\":\"" EMBEDDED_MODEL_NAME
               "\",\"weights\":\"q8_0\",\"stamp\":\"123456789abcdef0\"},\"temperature\":%s,\"biases\":{\"positive\":%s,\"negative\":0},"
               "\"rows\":1}",
               (unsigned long long)sentiment->version, temperature, positive);
    write_file(text.data);
    str_deinit(&text);
    if (why) {
        check_refused(&key, why);
        return;
    }
    stored_calibration c;
    assert_int_equal(calibration_load(&c, &key, path, NULL), QAIO_OK);
}

static void numbers_that_are_none_or_out_of_range_are_refused(void **state) {
    (void)state;
    check_values_refused("1.5", "0.5", NULL);
    check_values_refused("2", "1", NULL);
    static const char *const bad_temperatures[] = {"0", "-1", "0.001", "101", "1e300", "\"1\"", "null", "[1]"};
    for (size_t i = 0; i < sizeof bad_temperatures / sizeof *bad_temperatures; i++)
        check_values_refused(bad_temperatures[i], "0.5", "temperature");
    static const char *const bad_biases[] = {"1001", "-1001", "\"0\"", "true", "{}"};
    for (size_t i = 0; i < sizeof bad_biases / sizeof *bad_biases; i++) check_values_refused("1", bad_biases[i], "a bias");
    static const char *const no_json[] = {"NaN", "Infinity", "1e999", "", "1,\"positive\":2"};
    for (size_t i = 0; i < sizeof no_json / sizeof *no_json; i++) check_values_refused("1", no_json[i], "no JSON");
}

static void garbage_is_refused(void **state) {
    (void)state;
    static const char *const garbage[] = {"", "\xff\xfe", "[]", "{", "null", "{} {}", "\"x\""};
    calibration_key key = a_key();
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        write_file(garbage[i]);
        check_refused(&key, "no JSON");
    }
    write_file("{}");
    check_refused(&key, "no calibration of this version");
    write_file("{\"format\":1,\"task\":7,\"model\":[]}");
    check_refused(&key, "another task");
}

/* ---- answers ---- */

static label_answer read_label(resident *r, const char *text) {
    const task *t;
    label_read *read;
    label_answer answer;
    assert_int_equal(task_set_find(&t, resident_tasks(r), "sentiment", NULL), QAIO_OK);
    assert_int_equal(label_start(&read, r, t, text, strlen(text), NULL), QAIO_OK);
    assert_int_equal(label_finish(read, &answer, NULL), QAIO_OK);
    return answer;
}

static resident *open_resident(void) {
    resident_options options = {.type = DTYPE_NONE, .kv_type = DTYPE_NONE, .n_threads = 1};
    resident *r;
    assert_int_equal(resident_open(&r, &options, NULL), QAIO_OK);
    return r;
}

static void answers_are_calibrated_and_keep_the_raw_numbers(void **state) {
    (void)state;
    static const char *const text = "今天的实验终于成功了,太棒了!";
    unlink(path);
    resident *r = open_resident();
    label_answer before = read_label(r, text);
    const found_calibration *found = resident_calibration(r, before.task);
    assert_false(before.is_calibrated || found->is_found);
    assert_memory_equal(before.raw, before.probabilities, 2 * sizeof(double));
    calibration_key key = resident_calibration_key(r, before.task);
    calibration values = {.temperature = 2, .biases = {0, 10}};
    store(&key, &values);
    resident_close(r);

    r = open_resident();
    label_answer after = read_label(r, text);
    assert_true(after.is_calibrated);
    assert_memory_equal(before.raw, after.raw, 2 * sizeof(double));
    double odds = exp(log(after.raw[1] / after.raw[0]) / 2 + 10);
    assert_true(fabs(after.probabilities[1] - odds / (1 + odds)) < 1e-12);
    assert_int_equal(before.label, 0);
    assert_int_equal(after.label, 1);
    found = resident_calibration(r, after.task);
    assert_true(found->is_used && found->stored.values.temperature == 2);
    resident_close(r);
}

static void a_calibration_that_does_not_fit_is_ignored_and_says_why(void **state) {
    (void)state;
    calibration_key key = a_key(); /* another stamp */
    store(&key, &some_values);
    resident *r = open_resident();
    label_answer answer = read_label(r, "太棒了");
    const found_calibration *found = resident_calibration(r, answer.task);
    assert_false(answer.is_calibrated);
    assert_true(found->is_found && !found->is_used);
    assert_non_null(strstr(found->why_not.message, "another model"));
    assert_memory_equal(answer.raw, answer.probabilities, 2 * sizeof(double));
    resident_close(r);
}

/* ---- running batch calibration ---- */

static task three_labels(double abstain_below) { return (task){.kind = TASK_LABEL, .n_labels = 3, .abstain_below = abstain_below}; }

static void what_a_batch_leans_to_is_taken_off(void **state) {
    (void)state;
    task t = three_labels(0.5);
    batch_prior p = {0};
    label_answer leaning = {.task = &t, .raw = {0.9, 0.06, 0.04}}, other = {.task = &t, .raw = {0.6, 0.36, 0.04}};
    for (size_t i = 0; i < 1000; i++) batch_prior_calibrate(&p, &leaning);
    for (size_t i = 0; i < 3; i++) assert_true(fabs(leaning.probabilities[i] - 1.0 / 3) < 0.01); /* as all the others: it says nothing */
    assert_true(leaning.is_unsure && leaning.is_calibrated && leaning.is_batch_calibrated);
    batch_prior_calibrate(&p, &other);
    assert_int_equal(other.label, 1); /* not the most probable one, but more than usual */
    assert_true(fabs(other.probabilities[0] + other.probabilities[1] + other.probabilities[2] - 1) < 1e-12 && !other.is_unsure);
    assert_true(other.raw[0] == 0.6);
}

static void the_first_text_of_a_batch_keeps_its_label(void **state) {
    (void)state;
    task t = three_labels(0);
    batch_prior p = {0};
    label_answer first = {.task = &t, .raw = {0.2, 0.7, 0.1}};
    batch_prior_calibrate(&p, &first);
    assert_int_equal(first.label, 1);
    double fifth[3], sum = 0; /* of the prior four parts are even: p ~ raw / raw^(1/5) */
    for (size_t i = 0; i < 3; i++) sum += fifth[i] = pow(first.raw[i], 0.8);
    for (size_t i = 0; i < 3; i++) assert_true(fabs(first.probabilities[i] - fifth[i] / sum) < 1e-12);
}

static void numbers_that_are_no_probabilities_are_not_counted(void **state) {
    (void)state;
    static const double odd[] = {NAN, INFINITY, -0.1, 1.5};
    task t = three_labels(0);
    batch_prior p = {0};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        label_answer a = {.task = &t, .raw = {0.5, odd[i], 0.5}, .probabilities = {0.5, odd[i], 0.5}};
        batch_prior_calibrate(&p, &a);
        assert_false(a.is_batch_calibrated);
    }
    assert_int_equal(p.n, 0);
    label_answer certain = {.task = &t, .raw = {1, 0, 0}};
    for (size_t i = 0; i < 10; i++) batch_prior_calibrate(&p, &certain);
    assert_true(isfinite(certain.probabilities[0]) && isfinite(certain.probabilities[1]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fit_recovers_the_temperature_and_the_biases),
        cmocka_unit_test(the_fit_ends_where_no_neighbour_is_better),
        cmocka_unit_test(extreme_answers_give_finite_calibrations),
        cmocka_unit_test(too_few_or_equal_labels_are_refused),
        cmocka_unit_test(a_text_is_judged_by_a_fit_that_has_not_seen_it),
        cmocka_unit_test(fitting_survives_every_failed_allocation),
        cmocka_unit_test(the_figures_are_those_computed_by_hand),
        cmocka_unit_test(a_threshold_keeps_all_that_are_equally_sure_or_none),
        cmocka_unit_test(a_label_that_nobody_has_or_gives_does_not_count_in_macro_f1),
        cmocka_unit_test(what_was_stored_comes_back_bit_for_bit),
        cmocka_unit_test(a_model_s_name_never_leaves_the_folder),
        cmocka_unit_test(what_was_made_for_something_else_is_refused),
        cmocka_unit_test(numbers_that_are_none_or_out_of_range_are_refused),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(answers_are_calibrated_and_keep_the_raw_numbers),
        cmocka_unit_test(a_calibration_that_does_not_fit_is_ignored_and_says_why),
        cmocka_unit_test(what_a_batch_leans_to_is_taken_off),
        cmocka_unit_test(the_first_text_of_a_batch_keeps_its_label),
        cmocka_unit_test(numbers_that_are_no_probabilities_are_not_counted),
    };
    return cmocka_run_group_tests(tests, open_home, close_home);
}
