/* Replies: conversations and generate tasks, with labels that are read in the pass that begins them. */
#include "api/internal.h"
#include "base/mem.h"
#include "base/str.h"

/* In the first version; members that come later stand behind it. */
#define FIRST_OPTIONS_BYTES (offsetof(qaio_reply_options, canceller) + sizeof(qaio_canceller *))

struct qaio_reply {
    str text;
    reply_result result;
    qaio_answers *answers; /* or NULL */
};

void qaio_reply_options_init(qaio_reply_options *options, size_t size) {
    if (!options || size < FIRST_OPTIONS_BYTES) return;
    memset(options, 0, size);
    options->size = size;
    options->temperature = options->top_p = options->repetition_penalty = -1;
    options->top_k = options->thinking = -1;
}

static qaio_status take_options(qaio_reply_options *out, const qaio_reply_options *given, qaio_error *err) {
    qaio_reply_options_init(out, sizeof *out);
    if (!given) return QAIO_OK;
    qaio_status status = take_struct(out, sizeof *out, FIRST_OPTIONS_BYTES, given, "qaio_reply_options", err);
    if (status) return status;
    if (!out->stops && out->n_stops) return error_null(err, "stops");
    for (size_t i = 0; i < out->n_stops; i++) {
        size_t n = API_TERMINATED;
        if ((status = check_text(out->stops[i], &n, "a stop string", err))) return status;
    }
    return QAIO_OK;
}

static reply_params params_of(const qaio_reply_options *o) {
    reply_params p = reply_defaults;
    p.temperature = (float)o->temperature;
    p.top_p = (float)o->top_p;
    p.repetition_penalty = (float)o->repetition_penalty;
    p.top_k = o->top_k;
    p.max_new = o->max_tokens;
    p.has_seed = o->has_seed != 0;
    p.seed = o->seed;
    p.stops = o->stops;
    p.n_stops = o->n_stops;
    p.enable_thinking = o->thinking < 0 ? -1 : o->thinking != 0;
    return p;
}

/* What a reply is made from: a conversation, or a generate task's text. */
typedef struct source {
    const chat_message *messages;
    size_t n_messages;
    const task *task;
    const char *text;
    size_t text_bytes;
} source;

static qaio_status start_task(reply **out, reads *labels, const source *s, const reply_params *params, qaio_error *err) {
    qaio_status status = QAIO_OK;
    resident_hold(labels->resident);
    if (labels->answers) status = reads_start(labels, 0, s->text, s->text_bytes, err);
    if (!status) status = reply_start_task(out, labels->resident, s->task, s->text, s->text_bytes, params, err);
    resident_release(labels->resident);
    return status;
}

static qaio_status start(reply **out, reads *labels, const source *s, const qaio_reply_options *o, qaio_error *err) {
    reply_params params = params_of(o);
    if (s->task) return start_task(out, labels, s, &params, err);
    if (!labels->answers) return reply_start(out, labels->resident, s->messages, s->n_messages, &params, err);
    label_read *started[QAIO_MAX_TASKS];
    label_request request = answers_request(labels->answers);
    qaio_status status = reply_start_labelled(out, started, labels->resident, &request, s->messages, s->n_messages, &params, err);
    if (!status) reads_add(labels, started, 0);
    return status;
}

static qaio_status finish_labels(reads *labels, const qaio_reply_options *o, bool *is_over, qaio_error *err) {
    qaio_status status = QAIO_OK;
    while (labels->n && !status) status = reads_finish_first(labels, o->canceller, err);
    if (status == QAIO_ERR_CANCELLED) {
        *is_over = true;
        return QAIO_OK;
    }
    if (!status && labels->answers && o->on_labels) *is_over = o->on_labels(o->context, labels->answers) != 0;
    return status;
}

/* False: the caller ended it. */
static bool stream(reply *p, str *text, const qaio_reply_options *o, bool is_over) {
    reply_piece piece;
    reply_step step;
    if (is_over) reply_cancel(p);
    while ((step = reply_next(p, &piece, poll_ms(o->canceller))) != REPLY_END) {
        if (is_cancelled(o->canceller)) is_over = true;
        if (!is_over && step == REPLY_PIECE && piece.n) {
            str_append(text, piece.text, piece.n);
            is_over = text->failed || (o->on_text && o->on_text(o->context, piece.text, piece.n) != 0);
        }
        if (is_over) reply_cancel(p);
    }
    return !is_over;
}

static qaio_status run(qaio_reply *out, reads *labels, const source *s, const qaio_reply_options *o, qaio_error *err) {
    reply *p;
    qaio_error why;
    bool is_over = is_cancelled(o->canceller);
    qaio_status status = start(&p, labels, s, o, err);
    if (status) return status;
    status = finish_labels(labels, o, &is_over, err);
    is_over = !stream(p, &out->text, o, is_over || status);
    str_append(&out->text, "", 0);
    qaio_status finished = reply_finish(p, &out->result, &why);
    if (status) return status;
    if (out->text.failed) return error_memory(err);
    /* The model may have gone on to its end, or not yet have begun: what the caller has is a reply that it cut. */
    if (is_over) out->result.finish = FINISH_CANCELLED;
    if (is_over && finished == QAIO_ERR_CANCELLED) return QAIO_OK;
    if (finished && err) *err = why;
    return finished;
}

static qaio_status make_reply(qaio_reply **out, qaio_model *m, const source *s, const qaio_reply_options *o, qaio_error *err) {
    qaio_status status = QAIO_OK;
    reads labels = {.resident = m->resident};
    qaio_reply *made = mem_zalloc(sizeof *made);
    if (!made) return error_memory(err);
    if (o->n_tasks) {
        status = answers_new(&labels.answers, m, o->layout, o->tasks, o->n_tasks, 1, err);
        made->answers = labels.answers;
    }
    if (!status) status = run(made, &labels, s, o, err);
    reads_drop(&labels);
    if (status)
        qaio_reply_free(made);
    else
        *out = made;
    return status;
}

/* ---- conversations ---- */

/* A role becomes part of the prompt unchanged: no other is let in. */
static bool is_role(const char *role) { return strcmp(role, "system") == 0 || strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0; }

static qaio_status take_messages(chat_message *out, const qaio_message *messages, size_t n, qaio_error *err) {
    for (size_t i = 0; i < n; i++) {
        size_t role_bytes = API_TERMINATED, bytes = API_TERMINATED;
        qaio_status status = check_text(messages[i].role, &role_bytes, "a role", err);
        if (!status) status = check_text(messages[i].content, &bytes, "a message", err);
        if (!status && !is_role(messages[i].role))
            status = error_set(err, QAIO_ERR_ARGUMENT, "a role is system, user or assistant, not \"%.32s\"", messages[i].role);
        if (status) return status;
        out[i] = (chat_message){.role = messages[i].role, .content = messages[i].content, .content_bytes = bytes};
    }
    return QAIO_OK;
}

qaio_status qaio_chat(qaio_reply **out, qaio_model *m, const qaio_message *messages, size_t n_messages, const qaio_reply_options *options,
                      qaio_error *err) {
    if (!out) return error_null(err, "out");
    if (!m) return error_null(err, "model");
    if (!messages || n_messages == 0) return error_set(err, QAIO_ERR_ARGUMENT, "there are no messages");
    qaio_reply_options o;
    qaio_status status = take_options(&o, options, err);
    if (status) return status;
    chat_message *taken = mem_array(n_messages, sizeof *taken);
    if (!taken) return error_memory(err);
    source s = {.messages = taken, .n_messages = n_messages};
    status = take_messages(taken, messages, n_messages, err);
    if (!status) status = make_reply(out, m, &s, &o, err);
    mem_free(taken);
    return status;
}

qaio_status qaio_generate(qaio_reply **out, qaio_model *m, const char *task_name, const char *text, size_t text_bytes,
                          const qaio_reply_options *options, qaio_error *err) {
    if (!out) return error_null(err, "out");
    if (!m) return error_null(err, "model");
    if (!text) return error_null(err, "text");
    qaio_reply_options o;
    source s = {.text = text, .text_bytes = text_bytes};
    qaio_status status = take_options(&o, options, err);
    if (!status) status = find_task(&s.task, m, task_name, err);
    if (!status) status = check_text(text, &s.text_bytes, "the text", err);
    return status ? status : make_reply(out, m, &s, &o, err);
}

void qaio_reply_free(qaio_reply *r) {
    if (!r) return;
    str_deinit(&r->text);
    qaio_answers_free(r->answers);
    mem_free(r);
}

/* ---- accessors ---- */

const char *qaio_reply_text(const qaio_reply *r) { return r ? r->text.data : NULL; }
size_t qaio_reply_text_bytes(const qaio_reply *r) { return r ? r->text.len : 0; }
const qaio_answers *qaio_reply_answers(const qaio_reply *r) { return r ? r->answers : NULL; }
size_t qaio_reply_prompt_tokens(const qaio_reply *r) { return r ? r->result.n_prompt : 0; }
size_t qaio_reply_cached_tokens(const qaio_reply *r) { return r ? r->result.n_cached : 0; }
size_t qaio_reply_generated_tokens(const qaio_reply *r) { return r ? r->result.n_generated : 0; }
size_t qaio_reply_dropped_messages(const qaio_reply *r) { return r ? r->result.n_dropped_messages : 0; }
double qaio_reply_first_ms(const qaio_reply *r) { return r ? r->result.first_ms : 0; }
double qaio_reply_total_ms(const qaio_reply *r) { return r ? r->result.total_ms : 0; }

qaio_finish qaio_reply_finish(const qaio_reply *r) {
    if (!r || r->result.finish == FINISH_STOP) return QAIO_FINISH_STOP;
    return r->result.finish == FINISH_LENGTH ? QAIO_FINISH_LENGTH : QAIO_FINISH_CANCELLED;
}
