/* Which tokens stand for a task's labels.  A label behind an opening is tokenised together with it, as the model would see it. */
#include <string.h>

#include "base/mem.h"
#include "tasks/label.h"

static qaio_status encode(const resident *r, const char *text, size_t n, token_list *out, qaio_error *err) {
    text_span literal = {0, n};
    return tokenizer_encode(resident_tokenizer(r), text, n, &literal, 1, out, err);
}

/* The opening, or an empty text. */
static void append_opening(str *out, const task *t, task_layout layout) {
    if (layout == LAYOUT_SHARED || layout == LAYOUT_PROBE) opening_append(out, t);
}

static size_t common(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b) {
    size_t n = n_a < n_b ? n_a : n_b, i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

/* begin[i] .. begin[i + 1]: the tokens of opening and label i. */
static qaio_status encode_all(label_plan *p, const resident *r, const str *opening, size_t *begin, qaio_error *err) {
    str text = {0};
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < p->task->n_labels && !status; i++) {
        str_clear(&text);
        str_append(&text, opening->data ? opening->data : "", opening->len);
        str_puts(&text, p->task->labels[i].text);
        status = text.failed ? error_memory(err) : encode(r, text.data, text.len, &p->tokens, err);
        begin[i + 1] = p->tokens.n;
        if (!status && begin[i + 1] == begin[i])
            status = error_set(err, QAIO_ERR_ARGUMENT, "task %s: label %s has no tokens", p->task->name, p->task->labels[i].id);
    }
    str_deinit(&text);
    return status;
}

/* How many of the opening's own tokens all labels begin with, and leave at least one token each. */
static qaio_status count_opening(label_plan *p, const resident *r, const str *opening, const size_t *begin, qaio_error *err) {
    token_list own = {0};
    qaio_status status = opening->len ? encode(r, opening->data, opening->len, &own, err) : QAIO_OK;
    p->n_opening = own.n;
    for (size_t i = 0; i < p->task->n_labels; i++) {
        size_t n = common(own.ids, p->n_opening, p->tokens.ids + begin[i], begin[i + 1] - begin[i] - 1);
        if (n < p->n_opening) p->n_opening = n;
    }
    token_list_deinit(&own);
    return status;
}

qaio_status label_plan_init(label_plan *p, const resident *r, const task *t, task_layout layout, qaio_error *err) {
    if (t->kind != TASK_LABEL) return error_set(err, QAIO_ERR_ARGUMENT, "%s is not a label task", t->name);
    p->task = t;
    p->layout = layout;
    if (layout == LAYOUT_OWN && !t->system)
        return error_set(err, QAIO_ERR_ARGUMENT, "task %s has no prompt of its own (key system)", t->name);
    size_t begin[TASK_MAX_LABELS + 1] = {0};
    str opening = {0};
    append_opening(&opening, t, layout);
    qaio_status status = opening.failed ? error_memory(err) : encode_all(p, r, &opening, begin, err);
    if (!status) status = count_opening(p, r, &opening, begin, err);
    for (size_t i = 0; i < t->n_labels && !status; i++)
        p->labels[i] =
            (id_list){p->tokens.ids + begin[i] + p->n_opening, t->score == SCORE_FIRST ? 1 : begin[i + 1] - begin[i] - p->n_opening};
    str_deinit(&opening);
    return status;
}

void label_plan_deinit(label_plan *p) { token_list_deinit(&p->tokens); }

static task_layout layout_for(const label_request *request, const task *t) {
    return request->has_layout && t->layout != LAYOUT_PLAIN ? request->layout : t->layout;
}

static bool is_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n\f\v", text[i]) || !text[i]) return false;
    return true;
}

qaio_status plans_new(label_plan **out, const resident *r, const label_request *request, const char *text, size_t n_text, qaio_error *err) {
    size_t n = request->n_tasks;
    if (n && is_blank(text, n_text)) return error_set(err, QAIO_ERR_ARGUMENT, "the text is empty");
    if (n > LABELS_MAX_TASKS) return error_set(err, QAIO_ERR_ARGUMENT, "%zu tasks on one text, at most %d", n, LABELS_MAX_TASKS);
    if (request->has_layout && request->layout == LAYOUT_PLAIN)
        return error_set(err, QAIO_ERR_ARGUMENT, "tasks cannot be read in the layout plain: it needs texts of their own");
    label_plan *plans = mem_array(n, sizeof *plans);
    if (!plans) return error_memory(err);
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = label_plan_init(&plans[i], r, request->tasks[i], layout_for(request, request->tasks[i]), err);
    if (status)
        plans_free(plans, n);
    else
        *out = plans;
    return status;
}

void plans_free(label_plan *plans, size_t n) {
    for (size_t i = 0; plans && i < n; i++) label_plan_deinit(&plans[i]);
    mem_free(plans);
}
