#include "cli/analysis.h"

#include <string.h>

#include "base/mem.h"
#include "cli/json_out.h"
#include "tasks/answer.h"
#include "tasks/route.h"

#define CANCEL_POLL_MS 50

/* The prompt of a chat task: where labels choose it, they are read first. */
static qaio_status find_system(const char **out, resident *r, const task *t, const str *text, qaio_error *err) {
    const task *tasks[LABELS_MAX_TASKS];
    label_read *reads[LABELS_MAX_TASKS];
    size_t n = route_add_tasks(t, resident_tasks(r), tasks, 0, LABELS_MAX_TASKS);
    *out = t->system ? t->system : "";
    if (n == 0) return QAIO_OK;
    label_answer *answers = mem_array(n, sizeof *answers);
    if (!answers) return error_memory(err);
    label_request request = {.tasks = tasks, .n_tasks = n};
    qaio_status status = labels_start(reads, r, &request, text->data ? text->data : "", text->len, err);
    bool has_started = !status;
    for (size_t i = 0; i < n && has_started; i++) {
        qaio_status read_status = label_finish(reads[i], &answers[i], status ? NULL : err);
        if (!status) status = read_status;
    }
    const task_route *route = status ? NULL : route_choose(t, answers, n);
    if (route) *out = route->system;
    mem_free(answers);
    return status;
}

static qaio_status start_chat(task_run *run, resident *r, const task *t, const reply_params *params, const analysis *a) {
    const char *system = run->system ? run->system : "";
    chat_message messages[] = {
        {.role = "system", .content = system, .content_bytes = strlen(system)},
        {.role = "user", .content = a->text.data ? a->text.data : "", .content_bytes = a->text.len},
    };
    reply_params own = *params;
    if (own.temperature < 0 && t->temperature >= 0) own.temperature = t->temperature;
    if (own.top_p < 0 && t->top_p >= 0) own.top_p = t->top_p;
    if (own.max_new == 0) own.max_new = t->max_new_tokens;
    size_t skipped = !t->system;
    return reply_start(&run->reply, r, messages + skipped, 2 - skipped, &own, &run->error);
}

static qaio_status start_run(task_run *run, resident *r, const task *t, const reply_params *params, const analysis *a) {
    const char *text = a->text.data ? a->text.data : "";
    if (a->text.failed) return error_memory(&run->error);
    if (t->kind == TASK_CHAT) return start_chat(run, r, t, params, a);
    return reply_start_task(&run->reply, r, t, text, a->text.len, params, &run->error);
}

/* All label tasks of the text, in one request; what fails is an error of each of them. */
static void start_labels(analysis *a, resident *r) {
    const task *tasks[MAX_TASKS_AT_ONCE];
    label_read *reads[MAX_TASKS_AT_ONCE];
    label_request request = {.tasks = tasks, .has_layout = a->choice->has_layout, .layout = a->choice->layout};
    qaio_error err;
    for (size_t i = 0; i < a->choice->n; i++)
        if (a->choice->tasks[i]->kind == TASK_LABEL) tasks[request.n_tasks++] = a->choice->tasks[i];
    if (request.n_tasks == 0) return;
    qaio_status status =
        a->text.failed ? error_memory(&err) : labels_start(reads, r, &request, a->text.data ? a->text.data : "", a->text.len, &err);
    for (size_t i = 0, k = 0; i < a->choice->n; i++) {
        if (a->choice->tasks[i]->kind != TASK_LABEL) continue;
        a->runs[i].status = status;
        if (status)
            a->runs[i].error = err;
        else
            a->runs[i].read = reads[k++];
    }
}

void analysis_start(analysis *a, resident *r, const task_choice *choice, const reply_params *params, const char *text, size_t n) {
    memset(a, 0, sizeof *a);
    a->choice = choice;
    str_append(&a->text, text, n);
    for (size_t i = 0; i < choice->n; i++) {
        task_run *run = &a->runs[i];
        if (choice->tasks[i]->kind == TASK_CHAT) run->status = find_system(&run->system, r, choice->tasks[i], &a->text, &run->error);
    }
    resident_hold(r);
    start_labels(a, r);
    for (size_t i = 0; i < choice->n; i++)
        if (choice->tasks[i]->kind != TASK_LABEL && !a->runs[i].status)
            a->runs[i].status = start_run(&a->runs[i], r, choice->tasks[i], params, a);
    resident_release(r);
}

void analysis_cancel(analysis *a) {
    for (size_t i = 0; i < a->choice->n; i++) {
        if (a->runs[i].read) label_cancel(a->runs[i].read);
        if (a->runs[i].reply) reply_cancel(a->runs[i].reply);
    }
}

void analysis_finish_label(analysis *a, size_t i) {
    task_run *run = &a->runs[i];
    if (!run->read) return;
    run->status = label_finish(run->read, &run->answer, &run->error);
    run->read = NULL;
}

void analysis_finish_text(analysis *a, size_t i, analysis_show *show, void *ctx, int (*is_cancelled)(void)) {
    task_run *run = &a->runs[i];
    if (!run->reply) return;
    reply_piece piece;
    reply_step step;
    while ((step = reply_next(run->reply, &piece, is_cancelled ? CANCEL_POLL_MS : -1)) != REPLY_END) {
        if (is_cancelled && is_cancelled()) reply_cancel(run->reply);
        if (step == REPLY_TIMEOUT) continue;
        str_append(&run->text, piece.text, piece.n);
        if (show && piece.n) show(ctx, piece.text, piece.n);
    }
    reply_result result;
    run->status = reply_finish(run->reply, &result, &run->error);
    run->reply = NULL;
    if (!run->status && run->text.failed) run->status = error_memory(&run->error);
}

void analysis_finish(analysis *a) {
    for (size_t i = 0; i < a->choice->n; i++) {
        analysis_finish_label(a, i);
        analysis_finish_text(a, i, NULL, NULL, NULL);
    }
}

void analysis_deinit(analysis *a) {
    if (!a->choice) return;
    analysis_finish(a);
    for (size_t i = 0; i < a->choice->n; i++) str_deinit(&a->runs[i].text);
    str_deinit(&a->text);
    a->choice = NULL;
}

const qaio_error *analysis_error(const analysis *a) {
    for (size_t i = 0; i < a->choice->n; i++)
        if (a->runs[i].status) return &a->runs[i].error;
    return NULL;
}

static json_t *result_of(const task *t, const task_run *run, const char *model_name) {
    if (run->status) return json_pack("{s:s, s:o}", "task", t->name, "error", json_text(run->error.message, strlen(run->error.message)));
    if (t->kind == TASK_LABEL) return answer_to_json(&run->answer, model_name);
    return json_pack("{s:s, s:o}", "task", t->name, "reply", json_text(run->text.data ? run->text.data : "", run->text.len));
}

json_t *analysis_results(const analysis *a, const char *model_name) {
    json_t *list = json_array();
    for (size_t i = 0; i < a->choice->n; i++)
        if (json_array_append_new(list, result_of(a->choice->tasks[i], &a->runs[i], model_name))) {
            json_decref(list);
            return NULL;
        }
    return list;
}
