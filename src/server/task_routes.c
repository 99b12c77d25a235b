/* GET /v1/tasks, GET and POST /v1/tasks/{name} */
#include <stdio.h>

#include "base/mem.h"
#include "server/analyze.h"
#include "server/completion.h"
#include "server/internal.h"
#include "tasks/answer.h"
#include "tasks/route.h"

#define READS_AHEAD 32 /* of a list of texts, at the same time */

/* ---- the request ---- */

static bool parse_texts(task_request *out, const json_t *list, const char *name, failure *f) {
    size_t n = json_array_size(list);
    if (n == 0 || n > TASK_MAX_TEXTS) return failure_set(f, 400, "invalid_value", name, "%s must have 1 to %d texts", name, TASK_MAX_TEXTS);
    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(list, i)))
            return failure_set(f, 400, "invalid_type", name, "%s must be a list of strings", name);
    out->texts = list;
    return true;
}

bool task_request_parse(task_request *out, const json_t *root, const char *model_name, failure *f) {
    *out = (task_request){0};
    if (!model_check(root, model_name, f) || !generation_parse(&out->generation, root, f) || !response_format_refuse(root, f) ||
        !label_options_parse(&out->options, root, f))
        return false;
    const json_t *text = field_given(root, "text"), *texts = field_given(root, "texts");
    if (texts && text) return failure_set(f, 400, "invalid_value", "texts", "give text or texts, not both");
    if (json_is_array(text)) return parse_texts(out, text, "text", f);
    if (texts && !json_is_array(texts)) return failure_set(f, 400, "invalid_type", "texts", "texts must be a list of strings");
    if (texts) return parse_texts(out, texts, "texts", f);
    if (!field_string(root, "text", &out->text, &out->text_bytes, f)) return false;
    return out->text ? true : failure_set(f, 400, "missing", "text", "text is missing");
}

/* ---- label tasks ---- */

static bool failed_at(failure *f, const qaio_error *err, bool is_list, size_t index) {
    char param[32] = "text";
    if (is_list) snprintf(param, sizeof param, "texts[%zu]", index);
    return failure_from(f, err, param);
}

/* Several reads on their way: started in order, finished in order. */
typedef struct reads {
    label_read *at[READS_AHEAD]; /* the i-th text's is at[i % READS_AHEAD] */
    size_t n_started, n_finished;
} reads;

static void reads_deinit(reads *all) {
    label_answer unused;
    for (size_t i = all->n_finished; i < all->n_started; i++) label_cancel(all->at[i % READS_AHEAD]);
    for (size_t i = all->n_finished; i < all->n_started; i++) label_finish(all->at[i % READS_AHEAD], &unused, NULL);
}

/* Starts what there is room for.  A full queue is no failure while reads of our own are about to leave it. */
static qaio_status start_reads(reads *all, exchange *x, const task *t, const label_options *options, const json_t *texts, qaio_error *err) {
    label_request request = {.tasks = &t,
                             .n_tasks = 1,
                             .has_layout = options->has_layout,
                             .layout = options->layout,
                             .has_mass = options->has_mass,
                             .is_bulk = json_array_size(texts) > 1};
    qaio_status status = QAIO_OK;
    bool is_held = request.is_bulk; /* one waits for no other */
    if (is_held) resident_hold(x->resident);
    while (!status && all->n_started < json_array_size(texts) && all->n_started - all->n_finished < READS_AHEAD) {
        const json_t *text = json_array_get(texts, all->n_started);
        label_read **read = &all->at[all->n_started % READS_AHEAD];
        status = labels_start(read, x->resident, &request, json_string_value(text), json_string_length(text), err);
        if (!status) all->n_started++;
    }
    if (is_held) resident_release(x->resident);
    return status == QAIO_ERR_BUSY && all->n_started > all->n_finished ? QAIO_OK : status;
}

/* Appends the answers of all texts. */
static bool read_texts(exchange *x, const task *t, const task_request *request, const json_t *texts, json_t *results, failure *f) {
    bool is_list = request->texts != NULL;
    reads all = {0};
    qaio_error err;
    bool is_good = true;
    while (is_good && all.n_finished < json_array_size(texts)) {
        if (start_reads(&all, x, t, &request->options, texts, &err)) {
            is_good = failed_at(f, &err, is_list, all.n_started);
            break;
        }
        label_answer answer;
        if (!exchange_await_label(x, all.at[all.n_finished % READS_AHEAD])) {
            is_good = failure_over(f);
            break;
        }
        size_t i = all.n_finished++;
        if (label_finish(all.at[i % READS_AHEAD], &answer, &err))
            is_good = failed_at(f, &err, is_list, i);
        else if (json_array_append_new(results, answer_to_json(&answer, resident_model_name(x->resident))) != 0)
            is_good = failure_memory(f);
        else if (all.n_finished < json_array_size(texts) && exchange_is_over(x))
            is_good = failure_over(f);
    }
    reads_deinit(&all);
    return is_good;
}

/* ---- tasks that generate ---- */

/* The prompt of a chat task: where labels choose it, they are read first. */
static qaio_status choose_route(const task_route **out, exchange *x, const task *t, const json_t *text, qaio_error *err) {
    const task *tasks[ANALYZE_MAX_TASKS];
    label_read *started[ANALYZE_MAX_TASKS];
    size_t n = route_add_tasks(t, x->tasks, tasks, 0, ANALYZE_MAX_TASKS), n_started = 0;
    if (n == 0) return QAIO_OK;
    label_answer *answers = mem_array(n, sizeof *answers);
    if (!answers) return error_memory(err);
    label_request request = {.tasks = tasks, .n_tasks = n};
    qaio_status status = labels_start(started, x->resident, &request, json_string_value(text), json_string_length(text), err);
    if (!status) n_started = n;
    for (size_t i = 0; i < n_started; i++) {
        if (!exchange_await_label(x, started[i])) label_cancel(started[i]);
        qaio_status read_status = label_finish(started[i], &answers[i], status ? NULL : err);
        if (!status) status = read_status;
    }
    if (!status) *out = route_choose(t, answers, n);
    mem_free(answers);
    return status;
}

static qaio_status start_reply(reply **out, resident *r, const task *t, const json_t *text, const reply_params *params, qaio_error *err) {
    const char *bytes = json_string_value(text);
    size_t n = json_string_length(text);
    if (t->kind == TASK_GENERATE) return reply_start_task(out, r, t, bytes, n, params, err);
    return reply_start(out, r, &(chat_message){.role = "user", .content = bytes, .content_bytes = n}, 1, params, err);
}

static json_t *generated(exchange *x, const task *t, const json_t *text, reply_params params, qaio_error *err) {
    reply *p;
    params.chat = t->kind == TASK_CHAT ? t : NULL;
    if (choose_route(&params.route, x, t, text, err) || start_reply(&p, x->resident, t, text, &params, err)) return NULL;
    str out = {0};
    reply_result result;
    bool is_whole = exchange_gather(x, p, &out, NULL, NULL);
    qaio_status status = reply_finish(p, &result, err);
    if (!status && !is_whole) status = error_set(err, QAIO_ERR_CANCELLED, "the client has left, or the server is stopping");
    json_t *answer = NULL;
    if (!status) {
        answer = json_pack("{s:s, s:s%, s:s, s:o, s:s, s:I, s:o*}", "task", t->name, "reply", out.data ? out.data : "", out.len,
                           "finish_reason", finish_name(result.finish), "usage",
                           usage_to_json(result.n_prompt, result.n_cached, result.n_generated), "model", resident_model_name(x->resident),
                           "task_version", (json_int_t)t->version, "route", t->n_routes ? route_to_json(params.route) : NULL);
        if (!answer) error_memory(err);
    }
    str_deinit(&out);
    return answer;
}

static bool generate_texts(exchange *x, const task *t, const task_request *request, const json_t *texts, json_t *results, failure *f) {
    for (size_t i = 0; i < json_array_size(texts); i++) {
        qaio_error err;
        json_t *answer = generated(x, t, json_array_get(texts, i), request->generation.params, &err);
        if (!answer) return failed_at(f, &err, request->texts != NULL, i);
        json_array_append_new(results, answer);
    }
    return true;
}

/* ---- handlers ---- */

static bool run(exchange *x, const task *t, const json_t *root, json_t **answer, failure *f) {
    task_request request;
    if (!task_request_parse(&request, root, resident_model_name(x->resident), f)) return false;
    if (request.generation.is_stream) return failure_set(f, 400, "unsupported", "stream", "this route does not stream; see /v1/analyze");
    json_t *texts = request.texts ? json_incref((json_t *)(uintptr_t)request.texts) : json_pack("[s%]", request.text, request.text_bytes);
    json_t *results = json_array();
    bool is_good =
        t->kind == TASK_LABEL ? read_texts(x, t, &request, texts, results, f) : generate_texts(x, t, &request, texts, results, f);
    if (is_good) *answer = request.texts ? json_pack("{s:O}", "results", results) : json_incref(json_array_get(results, 0));
    json_decref(texts);
    json_decref(results);
    return is_good;
}

void handle_task(exchange *x) {
    failure f;
    json_t *root = NULL, *answer = NULL;
    const task *t = task_named(x->tasks, x->tail, "", &f);
    if (t && (root = request_parse(x->body.data, x->body.len, &f)) && run(x, t, root, &answer, &f))
        answer_json(x, MHD_HTTP_OK, answer);
    else
        answer_failure(x, &f);
    json_decref(root);
}

void handle_task_get(exchange *x) {
    failure f;
    const task *t = task_named(x->tasks, x->tail, "", &f);
    if (t)
        answer_json(x, MHD_HTTP_OK, task_to_json(t));
    else
        answer_failure(x, &f);
}

void handle_task_list(exchange *x) {
    json_t *list = json_array();
    for (size_t i = 0; i < task_set_size(x->tasks); i++) json_array_append_new(list, task_to_json(task_set_at(x->tasks, i)));
    qaio_error err;
    char problem[sizeof err.path + sizeof err.message + 8];
    bool is_broken = resident_reload_status(x->resident, &err) != QAIO_OK;
    if (is_broken) error_format(&err, problem, sizeof problem);
    answer_json(x, MHD_HTTP_OK, json_pack("{s:s, s:o, s:s?}", "object", "list", "data", list, "reload_error", is_broken ? problem : NULL));
}
