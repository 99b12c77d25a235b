#include "tasks/decision.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* One order of the options. */
typedef struct ordered {
    task task;
    str system;
    label_read *read;
} ordered;

struct decision {
    size_t n_options;
    size_t n_orders, n_started;
    size_t given[DECISION_MAX_OPTIONS]; /* label -> the option's place in the question */
    task_label labels[DECISION_MAX_OPTIONS];
    ordered orders[DECISION_MAX_ORDERS];
};

/* ---- wording: as the embedded model was trained ---- */

static bool is_chinese_character(uint32_t c) {
    return (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x323AF);
}

static bool is_chinese(const char *text) {
    size_t n = strlen(text);
    uint32_t c;
    for (size_t i = 0, length; i < n && (length = utf8_decode(text + i, n - i, &c)) > 0; i += length)
        if (is_chinese_character(c)) return true;
    return false;
}

const char *decision_yes_or_no(const char *instructions, bool is_yes) {
    if (is_chinese(instructions)) return is_yes ? "是" : "否";
    return is_yes ? "yes" : "no";
}

static void word_options(str *out, const decision_question *q, const size_t *order, size_t first, bool in_chinese) {
    for (size_t i = 0; i < q->n_options; i++) {
        const decision_option *option = &q->options[order[(first + i) % q->n_options]];
        if (i > 0) str_puts(out, " / ");
        str_puts(out, option->text);
        if (!option->description || !option->description[0]) continue;
        str_puts(out, in_chinese ? "（" : " (");
        str_puts(out, option->description);
        str_puts(out, in_chinese ? "）" : ")");
    }
}

static void word_question(str *out, const decision_question *q, const size_t *order, size_t first) {
    bool in_chinese = is_chinese(q->instructions);
    str_puts(out, q->instructions);
    str_puts(out, in_chinese ? " 只输出一个选项：" : " Answer with exactly one option: ");
    word_options(out, q, order, first, in_chinese);
    str_puts(out, in_chinese ? "。" : ".");
}

/* ---- orders ---- */

static int compare_options(const void *a, const void *b) {
    const decision_option *x = *(const decision_option *const *)a, *y = *(const decision_option *const *)b;
    int by_text = strcmp(x->text, y->text);
    if (by_text) return by_text;
    int by_description = strcmp(x->description ? x->description : "", y->description ? y->description : "");
    return by_description ? by_description : (x > y) - (x < y);
}

/* The order of their texts, whatever the caller's is: the same options are the same question. */
static void sort_options(size_t *order, const decision_question *q) {
    const decision_option *sorted[DECISION_MAX_OPTIONS];
    for (size_t i = 0; i < q->n_options; i++) sorted[i] = &q->options[i];
    qsort(sorted, q->n_options, sizeof *sorted, compare_options);
    for (size_t i = 0; i < q->n_options; i++) order[i] = (size_t)(sorted[i] - q->options);
}

static size_t count_orders(size_t n_options) {
    if (n_options <= DECISION_MAX_ORDERS) return n_options;
    return n_options <= DECISION_MAX_SOME_ORDERS ? DECISION_SOME_ORDERS : 1;
}

/* ---- reading ---- */

/* The mean over an option's tokens: a sum would favour short options ("yes" over "not at all"). */
#define OPTION_SCORE SCORE_MEAN

/* A task owns its texts when it comes from a file; here they are borrowed. */
static char *borrowed(const char *text) { return (char *)(uintptr_t)text; }

static qaio_status order_start(decision *d, ordered *o, resident *r, const decision_question *q, const char *input, size_t n,
                               qaio_error *err) {
    size_t k = (size_t)(o - d->orders);
    word_question(&o->system, q, d->given, k * d->n_options / d->n_orders);
    if (o->system.failed) return error_memory(err);
    o->task = (task){.name = borrowed("decision"),
                     .title_zh = borrowed(""),
                     .title_en = borrowed(""),
                     .kind = TASK_LABEL,
                     .layout = LAYOUT_OWN,
                     .system = o->system.data,
                     .labels = d->labels,
                     .n_labels = d->n_options,
                     .score = OPTION_SCORE};
    const task *t = &o->task;
    label_request request = {.tasks = &t, .n_tasks = 1, .has_mass = q->has_mass};
    return labels_start(&o->read, r, &request, input, n, err);
}

static void decision_free(decision *d) {
    for (size_t i = 0; i < d->n_orders; i++) str_deinit(&d->orders[i].system);
    mem_free(d);
}

static decision *decision_new(const decision_question *q) {
    decision *d = mem_zalloc(sizeof *d);
    if (!d) return NULL;
    d->n_options = q->n_options;
    d->n_orders = count_orders(q->n_options);
    sort_options(d->given, q);
    for (size_t i = 0; i < q->n_options; i++) {
        char *text = borrowed(q->options[d->given[i]].text);
        d->labels[i] = (task_label){.id = text, .text = text, .emoji = borrowed("")};
    }
    return d;
}

qaio_status decision_start(decision **out, resident *r, const decision_question *q, const char *input, size_t n, qaio_error *err) {
    if (q->n_options < 2 || q->n_options > DECISION_MAX_OPTIONS)
        return error_set(err, QAIO_ERR_ARGUMENT, "%zu options; a question has 2 to %d", q->n_options, DECISION_MAX_OPTIONS);
    decision *d = decision_new(q);
    if (!d) return error_memory(err);
    resident_hold(r);
    qaio_status status = QAIO_OK;
    while (!status && d->n_started < d->n_orders) {
        status = order_start(d, &d->orders[d->n_started], r, q, input, n, err);
        if (!status) d->n_started++;
    }
    resident_release(r);
    if (!status) {
        *out = d;
        return QAIO_OK;
    }
    decision_answer unused;
    decision_cancel(d);
    decision_finish(d, &unused, NULL);
    return status;
}

void decision_cancel(decision *d) {
    for (size_t i = 0; i < d->n_started; i++) label_cancel(d->orders[i].read);
}

bool decision_wait(decision *d, int timeout_ms) {
    for (size_t i = 0; i < d->n_started; i++)
        if (!label_wait(d->orders[i].read, timeout_ms)) return false;
    return true;
}

/* What follows from the probabilities. */
static qaio_status conclude(decision_answer *a, size_t n_options, qaio_error *err) {
    double sum = 0;
    for (size_t i = 0; i < n_options; i++) {
        sum += a->probabilities[i];
        a->expected += (double)i * a->probabilities[i];
        if (a->probabilities[i] > a->probabilities[a->best]) a->best = i;
    }
    if (!isfinite(sum)) return error_set(err, QAIO_ERR_IO, "the model gives no number for an option; is it broken?");
    double n = (double)n_options;
    a->confidence = fmax(0, (n * a->probabilities[a->best] - 1) / (n - 1));
    return QAIO_OK;
}

qaio_status decision_finish(decision *d, decision_answer *out, qaio_error *err) {
    qaio_status status = QAIO_OK;
    *out = (decision_answer){0};
    for (size_t i = 0; i < d->n_started; i++) {
        label_answer answer;
        qaio_status read = label_finish(d->orders[i].read, &answer, status ? NULL : err);
        if (read) {
            if (!status) status = read;
            continue;
        }
        for (size_t k = 0; k < d->n_options; k++) out->probabilities[d->given[k]] += answer.raw[k] / (double)d->n_orders;
        out->mass += answer.mass / (double)d->n_orders;
        out->n_prompt += answer.n_prompt;
        out->n_cached += answer.n_cached;
    }
    if (!status) status = conclude(out, d->n_options, err);
    decision_free(d);
    return status;
}
