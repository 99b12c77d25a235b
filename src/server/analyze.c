/* POST /v1/analyze: the labels of a text and a reply to it.  All of it starts together, so that it shares its steps; labels are said first.
 * Only where they choose the reply's prompt may the reply have to wait for them:
 *
 *   labels ---------------> all there -> [route_by: another prompt?] -> reply */
#include "server/analyze.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/completion.h"
#include "server/internal.h"
#include "tasks/answer.h"
#include "tasks/route.h"

#define CRISIS_GAP "\n\n" /* between its text and the reply */

/* ---- the request ---- */

const task *task_named(const task_set *tasks, const char *name, const char *param, failure *f) {
    const task *found = NULL;
    qaio_error err;
    if (task_set_find(&found, tasks, name, &err) == QAIO_OK) return found;
    failure_set(f, 404, "task_not_found", param, "%s", err.message);
    return NULL;
}

static bool add_task(analyze_request *out, const task_set *tasks, const char *name, failure *f) {
    const task *t = task_named(tasks, name, "tasks", f);
    if (!t) return false;
    if (t->kind != TASK_LABEL) return failure_set(f, 400, "invalid_value", "tasks", "%s is not a task that reads a label", t->name);
    out->tasks[out->n_tasks++] = t;
    return true;
}

static bool parse_tasks(analyze_request *out, const json_t *root, const task_set *tasks, failure *f) {
    const json_t *names = field_given(root, "tasks");
    if (!names) return add_task(out, tasks, "sentiment", f);
    if (!json_is_array(names)) return failure_set(f, 400, "invalid_type", "tasks", "tasks must be a list of names");
    if (json_array_size(names) > ANALYZE_MAX_TASKS)
        return failure_set(f, 400, "invalid_value", "tasks", "%zu tasks, at most %d", json_array_size(names), ANALYZE_MAX_TASKS);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name) return failure_set(f, 400, "invalid_type", "tasks", "tasks must be a list of names");
        if (!add_task(out, tasks, name, f)) return false;
    }
    return true;
}

bool label_options_parse(label_options *out, const json_t *root, failure *f) {
    const char *name = NULL;
    size_t n;
    if (!field_string(root, "layout", &name, &n, f) || !field_bool(root, "diagnostics", &out->has_mass, f)) return false;
    out->has_layout = name != NULL;
    if (!name || (task_layout_from_name(name, &out->layout) && strlen(name) == n && out->layout != LAYOUT_PLAIN)) return true;
    return failure_set(f, 400, "invalid_value", "layout", "layout must be own, shared or probe");
}

/* The text is the user's last message. */
static bool parse_conversation(analyze_request *out, const json_t *root, failure *f) {
    if (!field_string(root, "text", &out->text, &out->text_bytes, f) || !messages_parse(&out->messages, root, "history", f)) return false;
    if (!out->text || out->text_bytes == 0) return failure_set(f, 400, "missing", "text", "text is missing or empty");
    message_list *m = &out->messages;
    if (!m->items && (!(m->items = mem_array(1, sizeof *m->items)) || !(m->texts = mem_array(1, sizeof *m->texts))))
        return failure_memory(f);
    m->items[m->n++] = (chat_message){.role = "user", .content = out->text, .content_bytes = out->text_bytes};
    return true;
}

/* A task's name stands for "true, and by this one". */
static bool parse_reply(analyze_request *out, const json_t *root, const task_set *tasks, failure *f) {
    const json_t *value = field_given(root, "reply");
    if (!json_is_string(value)) return field_bool(root, "reply", &out->has_reply, f);
    const task *t = task_named(tasks, json_string_value(value), "reply", f);
    if (!t) return false;
    if (t->kind == TASK_LABEL) return failure_set(f, 400, "invalid_value", "reply", "%s is not a task that replies", t->name);
    if (t->kind == TASK_CHAT)
        out->chat = t;
    else
        out->tool = t;
    return true;
}

bool analyze_request_parse(analyze_request *out, const json_t *root, const char *model_name, const task_set *tasks, failure *f) {
    *out = (analyze_request){.has_reply = true, .chat = task_set_chat(tasks)};
    if (!model_check(root, model_name, f) || !generation_parse(&out->generation, root, f) || !response_format_refuse(root, f) ||
        !parse_conversation(out, root, f) || !parse_reply(out, root, tasks, f) || !parse_tasks(out, root, tasks, f) ||
        !label_options_parse(&out->options, root, f))
        return false;
    out->is_routed = out->has_reply && !out->tool && out->chat && out->chat->n_routes && strcmp(out->messages.items[0].role, "system") != 0;
    if (out->is_routed) out->n_tasks = route_add_tasks(out->chat, tasks, out->tasks, out->n_tasks, ANALYZE_MAX_TASKS);
    out->generation.params.chat = out->chat;
    if (!out->has_reply && out->n_tasks == 0)
        return failure_set(f, 400, "invalid_value", "tasks", "neither tasks nor a reply are asked for");
    return true;
}

void analyze_request_deinit(analyze_request *r) { message_list_deinit(&r->messages); }

/* ---- its course ---- */

typedef struct analysis {
    resident *resident;
    json_t *root; /* the request borrows from it, until the end */
    analyze_request request;
    label_read *reads[ANALYZE_MAX_TASKS];
    size_t n_reads, n_finished;           /* reads */
    label_answer *answers;                /* of the finished ones, where they choose the reply's prompt; else NULL */
    bool is_labelled;                     /* a stream has said all labels, and what follows from them */
    const task_route *route;              /* NULL: the chat task's own prompt */
    const task *crisis;                   /* whose text comes first, NULL: none */
    reply *reply;                         /* NULL: none, not yet, or finished */
    double begun_ms, labels_ms, reply_ms; /* the latter two since the first */
    size_t n_prompt, n_cached;            /* of the labels */
} analysis;

static void analysis_free(void *state) {
    analysis *a = state;
    label_answer unused;
    reply_result unused_result;
    if (a->reply) reply_cancel(a->reply); /* reads may wait for its prompt */
    for (size_t i = a->n_finished; i < a->n_reads; i++) label_cancel(a->reads[i]);
    for (size_t i = a->n_finished; i < a->n_reads; i++) label_finish(a->reads[i], &unused, NULL);
    if (a->reply) reply_finish(a->reply, &unused_result, NULL);
    analyze_request_deinit(&a->request);
    json_decref(a->root);
    mem_free(a->answers);
    mem_free(a);
}

static bool failed_to_start(const analysis *a, const qaio_error *err, failure *f) {
    /* Only a conversation that does not fit is the history's fault. */
    bool is_of_history = err->status == QAIO_ERR_LIMIT && a->request.has_reply && !a->request.tool && a->request.messages.n > 1;
    return failure_from(f, err, is_of_history ? "history" : "text");
}

static qaio_status start_reply(analysis *a, const label_request *labels, qaio_error *err) {
    const message_list *m = &a->request.messages;
    reply_params params = a->request.generation.params;
    params.route = a->route;
    a->reply_ms = clock_ms() - a->begun_ms;
    return labels ? reply_start_labelled(&a->reply, a->reads, a->resident, labels, m->items, m->n, &params, err)
                  : reply_start(&a->reply, a->resident, m->items, m->n, &params, err);
}

/* The answer of a task that looks at the text alone. */
static qaio_status start_tool(analysis *a, const label_request *labels, qaio_error *err) {
    const analyze_request *request = &a->request;
    resident_hold(a->resident);
    qaio_status status = labels_start(a->reads, a->resident, labels, request->text, request->text_bytes, err);
    if (!status) {
        a->n_reads = request->n_tasks;
        status =
            reply_start_task(&a->reply, a->resident, request->tool, request->text, request->text_bytes, &request->generation.params, err);
    }
    resident_release(a->resident);
    return status;
}

/* Whether a label is read in a fork of the reply's own prompt. */
static bool has_probe(const analyze_request *r) {
    for (size_t i = 0; i < r->n_tasks; i++) {
        task_layout own = r->tasks[i]->layout;
        if ((r->options.has_layout && own != LAYOUT_PLAIN ? r->options.layout : own) == LAYOUT_PROBE) return true;
    }
    return false;
}

/* Starts everything at once.  Where labels choose the reply's prompt, the reply starts with them only when they need its prompt anyway. */
static bool analysis_start(analysis *a, failure *f) {
    const analyze_request *request = &a->request;
    label_request labels = {.tasks = request->tasks,
                            .n_tasks = request->n_tasks,
                            .has_layout = request->options.has_layout,
                            .layout = request->options.layout,
                            .has_mass = request->options.has_mass};
    qaio_error err;
    a->begun_ms = clock_ms();
    if (request->is_routed && !(a->answers = mem_array(request->n_tasks, sizeof *a->answers))) return failure_memory(f);
    bool starts_reply = request->has_reply && (!request->is_routed || has_probe(request));
    qaio_status status = request->tool  ? start_tool(a, &labels, &err)
                         : starts_reply ? start_reply(a, &labels, &err)
                                        : labels_start(a->reads, a->resident, &labels, request->text, request->text_bytes, &err);
    if (status) return failed_to_start(a, &err, f);
    a->n_reads = request->n_tasks;
    return true;
}

/* When all labels are there: the reply follows the prompt that they choose.  One that has begun goes on if that is its own; else it ends
 * here, and the new one computes only the conversation, as the beginnings of all prompts are pinned. */
static bool follow_route(analysis *a, failure *f) {
    if (!a->request.is_routed) return true;
    a->route = route_choose(a->request.chat, a->answers, a->n_reads);
    if (a->reply && !a->route) return true;
    qaio_error err;
    if (a->reply) {
        reply_result result;
        if (reply_finish(a->reply, &result, NULL) == QAIO_OK) {
            a->n_prompt += result.n_prompt; /* the labels have used it */
            a->n_cached += result.n_cached;
        }
        a->reply = NULL;
    }
    return start_reply(a, NULL, &err) ? failed_to_start(a, &err, f) : true;
}

/* The next label's answer; a new reference, NULL after filling f. */
static json_t *next_label(analysis *a, failure *f) {
    label_answer answer;
    qaio_error err;
    size_t i = a->n_finished++;
    if (label_finish(a->reads[i], &answer, &err)) {
        failure_from(f, &err, "text");
        return NULL;
    }
    a->labels_ms = clock_ms() - a->begun_ms;
    a->n_prompt += answer.n_prompt;
    a->n_cached += answer.n_cached;
    if (a->answers) a->answers[i] = answer;
    if (!a->crisis && answer_is_crisis(&answer)) a->crisis = answer.task;
    json_t *value = answer_to_json(&answer, resident_model_name(a->resident));
    if (!value) failure_memory(f);
    return value;
}

/* A time or a rate: more digits than these are noise. */
static json_t *rounded(double value) { return json_real(round(value * 1000) / 1000); }

/* Ends the reply, if there is one: what the event `done` says; a new reference, NULL after filling f. */
static json_t *finish(analysis *a, failure *f) {
    reply_result result = {0};
    qaio_error err;
    bool has_reply = a->reply != NULL;
    qaio_status status = has_reply ? reply_finish(a->reply, &result, &err) : QAIO_OK;
    a->reply = NULL;
    if (status) {
        failure_from(f, &err, "");
        return NULL;
    }
    double generating_ms = result.total_ms - result.first_ms;
    double rate = result.n_generated > 1 && generating_ms > 0 ? (double)(result.n_generated - 1) * 1000 / generating_ms : 0;
    json_t *timings = json_pack("{s:o, s:o, s:o, s:o}", "labels_ms", rounded(a->labels_ms), "first_token_ms",
                                has_reply ? rounded(a->reply_ms + result.first_ms) : json_null(), "total_ms",
                                rounded(clock_ms() - a->begun_ms), "tokens_per_second", rounded(rate));
    json_t *done = json_pack("{s:s?, s:o, s:o, s:I, s:s}", "finish_reason", has_reply ? finish_name(result.finish) : NULL, "usage",
                             usage_to_json(a->n_prompt + result.n_prompt, a->n_cached + result.n_cached, result.n_generated), "timings",
                             timings, "dropped_messages", (json_int_t)result.n_dropped_messages, "model", resident_model_name(a->resident));
    if (!done) failure_memory(f);
    return done;
}

/* ---- as a stream ---- */

static bool say(str *out, const char *event, json_t *value, const failure *f) {
    if (value)
        event_append(out, event, value);
    else
        event_append(out, "error", failure_to_json(f));
    return value != NULL;
}

/* What stands between the labels and the reply; false: it failed, the stream has said so. */
static bool begin_reply(analysis *a, str *out) {
    failure f;
    if (!a->request.has_reply) return true;
    if (a->crisis) event_append(out, "delta", json_pack("{s:s+, s:b}", "text", a->crisis->crisis.text, CRISIS_GAP, "crisis", true));
    if (!follow_route(a, &f)) return say(out, NULL, NULL, &f);
    if (a->request.is_routed)
        event_append(out, "route", json_pack("{s:s, s:o}", "task", a->request.chat->name, "route", route_to_json(a->route)));
    return true;
}

static bool next_event(void *state, str *out, int wait_ms) {
    analysis *a = state;
    failure f;
    if (a->n_finished < a->n_reads) {
        if (!label_wait(a->reads[a->n_finished], wait_ms)) return true;
        return say(out, "label", next_label(a, &f), &f);
    }
    if (!a->is_labelled) {
        a->is_labelled = true;
        return begin_reply(a, out);
    }
    if (a->reply) {
        reply_piece piece;
        reply_step step = reply_next(a->reply, &piece, wait_ms);
        if (step == REPLY_PIECE && piece.n) event_append(out, "delta", json_pack("{s:s%}", "text", piece.text, piece.n));
        if (step != REPLY_END) return true;
    }
    say(out, "done", finish(a, &f), &f);
    return false;
}

/* ---- at once ---- */

/* All labels; a new reference, NULL after filling f. */
static json_t *gather_labels(const exchange *x, analysis *a, failure *f) {
    json_t *labels = json_array();
    while (a->n_finished < a->n_reads) {
        bool has_come = exchange_await_label(x, a->reads[a->n_finished]);
        json_t *label = has_come ? next_label(a, f) : NULL;
        if (!has_come) failure_over(f);
        if (!label) {
            json_decref(labels);
            return NULL;
        }
        json_array_append_new(labels, label);
    }
    if (follow_route(a, f)) return labels;
    json_decref(labels);
    return NULL;
}

static void answer_at_once(exchange *x, analysis *a) {
    failure f;
    str text = {0};
    bool has_reply = a->request.has_reply, is_left = false;
    json_t *labels = gather_labels(x, a, &f), *done = NULL;
    if (labels && has_reply && a->crisis) str_printf(&text, "%s%s", a->crisis->crisis.text, CRISIS_GAP);
    if (labels && has_reply) is_left = !exchange_gather(x, a->reply, &text, NULL, NULL);
    if (labels && !is_left) done = finish(a, &f);
    if (is_left) {
        answer_nothing(x);
    } else if (!done) {
        answer_failure(x, &f);
    } else {
        json_t *whole =
            json_pack("{s:O, s:o, s:b}", "labels", labels, "reply",
                      has_reply ? json_stringn(text.data ? text.data : "", text.len) : json_null(), "crisis", a->crisis != NULL);
        if (a->request.is_routed) json_object_set_new(whole, "route", route_to_json(a->route));
        if (whole) json_object_update(whole, done);
        answer_json(x, MHD_HTTP_OK, whole);
    }
    json_decref(done);
    json_decref(labels);
    str_deinit(&text);
    analysis_free(a);
}

void handle_analyze(exchange *x) {
    failure f;
    analysis *a = mem_zalloc(sizeof *a);
    bool is_good = a ? (a->root = request_parse(x->body.data, x->body.len, &f)) != NULL : failure_memory(&f);
    if (is_good) {
        a->resident = x->resident;
        is_good = analyze_request_parse(&a->request, a->root, resident_model_name(x->resident), x->tasks, &f) && analysis_start(a, &f);
    }
    if (!is_good) {
        if (a) analysis_free(a);
        answer_failure(x, &f);
    } else if (a->request.generation.is_stream) {
        answer_events(x, &(event_source){.state = a, .next = next_event, .free = analysis_free});
    } else {
        answer_at_once(x, a);
    }
}
