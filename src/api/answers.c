/* Labels of many texts: started in order, as many at a time as READS_AHEAD, collected in order into columns, one set a task. */
#include <math.h>
#include <time.h>

#include "api/internal.h"
#include "base/mem.h"

/* Of qaio_read_options in the first version; members that come later stand behind it. */
#define FIRST_OPTIONS_BYTES (offsetof(qaio_read_options, canceller) + sizeof(qaio_canceller *))

#define QUEUE_POLL_NS 1000000 /* while other callers fill the queue */

/* Why a text has no answer. */
typedef struct failure {
    qaio_status status;
    char message[];
} failure;

typedef struct column {
    const task *task;
    bool is_calibrated;
    int32_t *labels;             /* [n_texts] */
    double *probabilities, *raw; /* [n_texts, n_labels] */
    failure **failures;          /* [n_texts], NULL where a text has an answer */
} column;

struct qaio_answers {
    column columns[QAIO_MAX_TASKS];
    const task *tasks[QAIO_MAX_TASKS]; /* of the columns */
    size_t n_tasks, n_texts;
    bool has_layout;
    task_layout layout;
    uint64_t n_prompt, n_cached;
};

/* ---- columns ---- */

static qaio_status column_init(column *c, const resident *r, const task *t, const qaio_answers *a, qaio_error *err) {
    size_t n, n_texts = a->n_texts;
    const found_calibration *found = resident_calibration(r, t);
    bool is_own = !a->has_layout || a->layout == t->layout || t->layout == LAYOUT_PLAIN;
    *c = (column){.task = t, .is_calibrated = is_own && found && found->is_used};
    if (!size_mul(n_texts, t->n_labels, &n)) return error_memory(err);
    c->labels = mem_array(n_texts, sizeof *c->labels);
    c->probabilities = mem_array(n, sizeof *c->probabilities);
    c->raw = mem_array(n, sizeof *c->raw);
    c->failures = mem_array(n_texts, sizeof *c->failures);
    return c->labels && c->probabilities && c->raw && c->failures ? QAIO_OK : error_memory(err);
}

static void column_deinit(column *c, size_t n_texts) {
    for (size_t i = 0; c->failures && i < n_texts; i++) mem_free(c->failures[i]);
    mem_free(c->labels);
    mem_free(c->probabilities);
    mem_free(c->raw);
    mem_free(c->failures);
}

static qaio_status take_layout(qaio_answers *a, const char *name, qaio_error *err) {
    a->has_layout = name != NULL;
    if (!name || (task_layout_from_name(name, &a->layout) && a->layout != LAYOUT_PLAIN)) return QAIO_OK;
    return error_set(err, QAIO_ERR_ARGUMENT, "the layout is own, shared or probe, not \"%.32s\"", name);
}

qaio_status answers_new(qaio_answers **out, qaio_model *m, const char *layout, const char *const *tasks, size_t n_tasks, size_t n_texts,
                        qaio_error *err) {
    if (!tasks) return error_null(err, "tasks");
    if (n_tasks == 0) return error_set(err, QAIO_ERR_ARGUMENT, "no tasks");
    if (n_tasks > QAIO_MAX_TASKS) return error_set(err, QAIO_ERR_LIMIT, "%zu tasks, at most %d at once", n_tasks, QAIO_MAX_TASKS);
    qaio_answers *a = mem_zalloc(sizeof *a);
    if (!a) return error_memory(err);
    a->n_texts = n_texts;
    qaio_status status = take_layout(a, layout, err);
    for (size_t i = 0; i < n_tasks && !status; i++) {
        const task *t;
        if ((status = find_task(&t, m, tasks[i], err))) break;
        if (t->kind != TASK_LABEL) status = error_set(err, QAIO_ERR_ARGUMENT, "%s is not a label task", t->name);
        for (size_t k = 0; k < i && !status; k++)
            if (a->columns[k].task == t) status = error_set(err, QAIO_ERR_ARGUMENT, "%s is named twice", t->name);
        if (status) break;
        a->tasks[i] = t;
        status = column_init(&a->columns[a->n_tasks++], m->resident, t, a, err);
    }
    if (status)
        qaio_answers_free(a);
    else
        *out = a;
    return status;
}

void qaio_answers_free(qaio_answers *a) {
    if (!a) return;
    for (size_t i = 0; i < a->n_tasks; i++) column_deinit(&a->columns[i], a->n_texts);
    mem_free(a);
}

static void put(qaio_answers *a, size_t i, size_t text, const label_answer *answer) {
    column *c = &a->columns[i];
    size_t n = c->task->n_labels;
    c->labels[text] = answer->is_unsure ? QAIO_UNSURE : (int32_t)answer->label;
    memcpy(c->probabilities + text * n, answer->probabilities, n * sizeof *c->probabilities);
    memcpy(c->raw + text * n, answer->raw, n * sizeof *c->raw);
    a->n_prompt += answer->n_prompt;
    a->n_cached += answer->n_cached;
}

static qaio_status fail(qaio_answers *a, size_t i, size_t text, const qaio_error *why, qaio_error *err) {
    if (why->status == QAIO_ERR_MEMORY) return error_memory(err);
    column *c = &a->columns[i];
    size_t n_labels = c->task->n_labels, n = strlen(why->message);
    failure *f = mem_alloc(sizeof *f + n + 1);
    if (!f) return error_memory(err);
    f->status = why->status;
    memcpy(f->message, why->message, n + 1);
    c->failures[text] = f;
    c->labels[text] = QAIO_FAILED;
    for (size_t k = 0; k < n_labels; k++) c->probabilities[text * n_labels + k] = c->raw[text * n_labels + k] = NAN;
    return QAIO_OK;
}

static qaio_status fail_all(qaio_answers *a, size_t text, const qaio_error *why, qaio_error *err) {
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < a->n_tasks && !status; i++) status = fail(a, i, text, why, err);
    return status;
}

/* ---- reading ---- */

label_request answers_request(const qaio_answers *a) {
    return (label_request){.tasks = a->tasks, .n_tasks = a->n_tasks, .has_layout = a->has_layout, .layout = a->layout};
}

void reads_add(reads *r, label_read *const *started, size_t text) {
    for (size_t i = 0; i < r->answers->n_tasks; i++) r->ring[(r->first + r->n++) % READS_AHEAD] = (started_read){started[i], i, text};
}

qaio_status reads_start(reads *r, size_t text, const char *bytes, size_t n, qaio_error *err) {
    label_read *started[QAIO_MAX_TASKS];
    label_request request = answers_request(r->answers);
    qaio_error why;
    qaio_status status = labels_start(started, r->resident, &request, bytes, n, &why);
    if (!status) {
        reads_add(r, started, text);
        return QAIO_OK;
    }
    if (status != QAIO_ERR_BUSY) return fail_all(r->answers, text, &why, err);
    if (err) *err = why;
    return status;
}

qaio_status reads_finish_first(reads *r, qaio_canceller *canceller, qaio_error *err) {
    started_read s = r->ring[r->first];
    label_answer answer;
    qaio_error why;
    do {
        qaio_status status = check_cancelled(canceller, err);
        if (status) return status;
    } while (!label_wait(s.read, poll_ms(canceller)));
    r->first = (r->first + 1) % READS_AHEAD;
    r->n--;
    if (label_finish(s.read, &answer, &why)) return fail(r->answers, s.task, s.text, &why, err);
    put(r->answers, s.task, s.text, &answer);
    return QAIO_OK;
}

void reads_drop(reads *r) {
    label_answer unused;
    for (size_t i = 0; i < r->n; i++) label_cancel(r->ring[(r->first + i) % READS_AHEAD].read);
    for (; r->n; r->n--, r->first = (r->first + 1) % READS_AHEAD) label_finish(r->ring[r->first].read, &unused, NULL);
}

qaio_status wait_for_others(qaio_canceller *canceller, qaio_error *err) {
    nanosleep(&(struct timespec){.tv_nsec = QUEUE_POLL_NS}, NULL);
    return check_cancelled(canceller, err);
}

static qaio_status wait_for_room(reads *r, qaio_canceller *canceller, qaio_error *err) {
    return r->n ? reads_finish_first(r, canceller, err) : wait_for_others(canceller, err);
}

/* Starts a text, finishing earlier ones where there is no room. */
static qaio_status read_text(reads *r, size_t text, const char *bytes, size_t n, qaio_canceller *canceller, qaio_error *err) {
    qaio_error why;
    qaio_status status = check_cancelled(canceller, err);
    if (!status && check_text(bytes, &n, "the text", &why)) return fail_all(r->answers, text, &why, err);
    while (r->n + r->answers->n_tasks > READS_AHEAD && !status) status = reads_finish_first(r, canceller, err);
    while (!status && (status = reads_start(r, text, bytes, n, err)) == QAIO_ERR_BUSY) {
        if ((status = wait_for_room(r, canceller, err))) break;
    }
    return status;
}

void qaio_read_options_init(qaio_read_options *options, size_t size) {
    if (!options || size < FIRST_OPTIONS_BYTES) return;
    memset(options, 0, size);
    options->size = size;
}

qaio_status qaio_read_with(qaio_answers **out, qaio_model *m, const char *const *tasks, size_t n_tasks, const char *const *texts,
                           const size_t *text_bytes, size_t n_texts, const qaio_read_options *options, qaio_error *err) {
    qaio_read_options o = {.size = sizeof o};
    if (!out) return error_null(err, "out");
    if (!m) return error_null(err, "model");
    if (!texts && n_texts) return error_null(err, "texts");
    qaio_status status = options ? take_struct(&o, sizeof o, FIRST_OPTIONS_BYTES, options, "qaio_read_options", err) : QAIO_OK;
    qaio_canceller *canceller = o.canceller;
    if (!status) status = check_cancelled(canceller, err);
    if (status) return status;
    reads r = {.resident = m->resident};
    status = answers_new(&r.answers, m, o.layout, tasks, n_tasks, n_texts, err);
    if (status) return status;
    for (size_t i = 0; i < n_texts && !status; i++)
        status = read_text(&r, i, texts[i], text_bytes ? text_bytes[i] : API_TERMINATED, canceller, err);
    while (r.n && !status) status = reads_finish_first(&r, canceller, err);
    reads_drop(&r);
    if (status)
        qaio_answers_free(r.answers);
    else
        *out = r.answers;
    return status;
}

qaio_status qaio_read(qaio_answers **out, qaio_model *m, const char *const *tasks, size_t n_tasks, const char *const *texts,
                      const size_t *text_bytes, size_t n_texts, qaio_canceller *canceller, qaio_error *err) {
    qaio_read_options o = {.size = sizeof o, .canceller = canceller};
    return qaio_read_with(out, m, tasks, n_tasks, texts, text_bytes, n_texts, &o, err);
}

/* ---- accessors ---- */

static const column *column_at(const qaio_answers *a, size_t i) { return a && i < a->n_tasks ? &a->columns[i] : NULL; }

size_t qaio_answers_task_count(const qaio_answers *a) { return a ? a->n_tasks : 0; }
size_t qaio_answers_text_count(const qaio_answers *a) { return a ? a->n_texts : 0; }
uint64_t qaio_answers_prompt_tokens(const qaio_answers *a) { return a ? a->n_prompt : 0; }
uint64_t qaio_answers_cached_tokens(const qaio_answers *a) { return a ? a->n_cached : 0; }

const qaio_task *qaio_answers_task(const qaio_answers *a, size_t i) {
    const column *c = column_at(a, i);
    return c ? (const qaio_task *)(const void *)c->task : NULL;
}

const int32_t *qaio_answers_labels(const qaio_answers *a, size_t i) {
    const column *c = column_at(a, i);
    return c ? c->labels : NULL;
}

const double *qaio_answers_probabilities(const qaio_answers *a, size_t i) {
    const column *c = column_at(a, i);
    return c ? c->probabilities : NULL;
}

const double *qaio_answers_raw(const qaio_answers *a, size_t i) {
    const column *c = column_at(a, i);
    return c ? c->raw : NULL;
}

int qaio_answers_calibrated(const qaio_answers *a, size_t i) {
    const column *c = column_at(a, i);
    return c && c->is_calibrated;
}

qaio_status qaio_answers_status(const qaio_answers *a, size_t i, size_t text, qaio_error *err) {
    const column *c = column_at(a, i);
    if (!c || text >= a->n_texts) return error_set(err, QAIO_ERR_ARGUMENT, "there is no such task or text in the answers");
    const failure *f = c->failures[text];
    return f ? error_set(err, f->status, "%s", f->message) : QAIO_OK;
}
