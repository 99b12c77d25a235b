/* Replies: a prompt, sampling parameters, a job; then tokens become whole characters, and stop strings are held back.
 *
 *   token -> detokenizer -> held -> [stop string found: the part before it, end]
 *                                   [else: all but a tail that a stop string may begin with] -> shown */
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "tasks/label.h"

#define FALLBACK_TEMPERATURE 0.7f
#define FALLBACK_TOP_P       0.8f

struct reply {
    resident *r;
    engine_job *job;
    score_source *scores; /* of the labels that are read in forks of its prompt; or NULL */
    detokenizer text;
    str held;         /* whole characters not shown yet */
    str shown;        /* of the last reply_next */
    token_mask *mask; /* or NULL */
    char *stops[REPLY_MAX_STOPS];
    size_t n_stops;
    bool is_stopped; /* by a stop string */
    bool is_flushed;
    size_t n_tokens, n_dropped;
};

const reply_params reply_defaults = {
    .temperature = -1, .top_p = -1, .repetition_penalty = -1, .top_k = -1, .n_top = -1, .enable_thinking = -1};

/* The first that is given (not negative). */
static float first_given(float asked, float of_task, float of_model, float fallback) {
    return asked >= 0 ? asked : of_task >= 0 ? of_task : of_model >= 0 ? of_model : fallback;
}

static qaio_status fill_sampling(sampling *out, const model_desc *d, const task *t, const reply_params *p, qaio_error *err) {
    *out = (sampling){
        .temperature = first_given(p->temperature, t ? t->temperature : -1, d->do_sample == 0 ? 0 : d->temperature, FALLBACK_TEMPERATURE),
        .top_p = first_given(p->top_p, t ? t->top_p : -1, d->top_p, FALLBACK_TOP_P),
        .top_k = p->top_k >= 0   ? p->top_k
                 : d->top_k >= 0 ? d->top_k
                                 : 0,
        .repetition_penalty = first_given(p->repetition_penalty, -1, d->repetition_penalty, 1),
        .seed = p->seed,
        .biases = p->biases,
        .n_biases = p->n_biases,
    };
    if (!p->has_seed && getrandom(&out->seed, sizeof out->seed, 0) != sizeof out->seed)
        return error_set(err, QAIO_ERR_IO, "the system gives no random seed");
    return sampling_check(out, err);
}

static qaio_status copy_stops(reply *p, const reply_params *params, qaio_error *err) {
    if (params->n_stops > REPLY_MAX_STOPS)
        return error_set(err, QAIO_ERR_ARGUMENT, "%zu stop strings, at most %d", params->n_stops, REPLY_MAX_STOPS);
    for (size_t i = 0; i < params->n_stops; i++) {
        size_t n = strlen(params->stops[i]);
        if (n == 0 || n > REPLY_MAX_STOP_BYTES)
            return error_set(err, QAIO_ERR_ARGUMENT, "a stop string must have 1 to %d bytes", REPLY_MAX_STOP_BYTES);
        if (!(p->stops[p->n_stops] = mem_strndup(params->stops[i], n))) return error_memory(err);
        p->n_stops++;
    }
    return QAIO_OK;
}

/* The checkpoint's end tokens, and those that end a turn in every Qwen. */
static size_t stop_tokens(const resident *r, int32_t out[MODEL_MAX_STOP_TOKENS]) {
    const model_desc *d = resident_desc(r);
    static const char *const always[] = {"<|im_end|>", "<|endoftext|>"};
    size_t n = d->n_stop_tokens;
    memcpy(out, d->stop_tokens, n * sizeof *out);
    for (size_t i = 0; i < 2 && n < MODEL_MAX_STOP_TOKENS; i++) {
        int32_t id = tokenizer_special(resident_tokenizer(r), always[i]);
        if (id >= 0) out[n++] = id;
    }
    return n;
}

static void reply_free(reply *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n_stops; i++) mem_free(p->stops[i]);
    token_mask_free(p->mask);
    str_deinit(&p->held);
    str_deinit(&p->shown);
    mem_free(p);
}

static uint32_t tokens_wanted(const task *t, const reply_params *params) {
    return params->max_new ? params->max_new : t && t->max_new_tokens ? t->max_new_tokens : REPLY_DEFAULT_TOKENS;
}

static qaio_status take_grammar(reply *p, const reply_params *params, qaio_error *err) {
    if (!params->grammar || !*params->grammar) return QAIO_OK;
    grammar *g = *params->grammar;
    *params->grammar = NULL;
    return constraint_mask(&p->mask, p->r, g, err);
}

static qaio_status start(reply **out, resident *r, const token_list *prompt, const task *t, const reply_params *params, size_t n_dropped,
                         label_job *labels, qaio_error *err) {
    reply *p = mem_zalloc(sizeof *p);
    if (!p) return error_memory(err);
    p->r = r;
    p->n_dropped = n_dropped;
    int32_t stops[MODEL_MAX_STOP_TOKENS];
    job_params job = {.kind = JOB_GENERATE,
                      .prompt = prompt->ids,
                      .n_prompt = prompt->n,
                      .timeout_ms = r->timeout_ms,
                      .n_pin = !t              ? 0
                               : params->route ? route_prefix(r, t, params->route, prompt)
                                               : task_prefix(r, t, t->layout, prompt),
                      .max_new = tokens_wanted(t, params),
                      .stop_tokens = stops,
                      .n_stop_tokens = stop_tokens(r, stops),
                      .n_top = params->n_top};
    if (labels) job.groups = labels->groups, job.n_groups = labels->n_groups;
    qaio_status status = fill_sampling(&job.sampling, resident_desc(r), t, params, err);
    if (!status) status = copy_stops(p, params, err);
    if (!status) status = take_grammar(p, params, err);
    job.mask = p->mask;
    if (!status) status = engine_submit(r->engine, &job, &p->job, err);
    if (!status && labels) p->scores = label_job_is_reply(labels, p->job);
    if (status)
        reply_free(p);
    else
        *out = p;
    return status;
}

/* ---- conversations ---- */

/* Renders the messages without those of [first, first + n_dropped); first: 1 after a system message, else 0. */
static qaio_status render_without(const resident *r, const chat_message *messages, size_t n, size_t first, size_t n_dropped,
                                  const chat_options *options, token_list *out, qaio_error *err) {
    chat_message *kept = mem_array(n, sizeof *kept);
    if (!kept) return error_memory(err);
    memcpy(kept, messages, first * sizeof *kept);
    memcpy(kept + first, messages + first + n_dropped, (n - first - n_dropped) * sizeof *kept);
    out->n = 0;
    qaio_status status = prompt_of_messages(r, kept, n - n_dropped, options, out, err);
    mem_free(kept);
    return status;
}

/* Where the conversation may begin: the starts of user turns, as numbers of messages to drop; the last turn is never dropped. */
static size_t list_cuts(const chat_message *messages, size_t n, size_t first, size_t *cuts) {
    size_t n_cuts = 0;
    cuts[n_cuts++] = 0;
    for (size_t i = first + 1; i < n; i++)
        if (strcmp(messages[i].role, "user") == 0) cuts[n_cuts++] = i - first;
    return n_cuts;
}

/* The longest conversation that leaves room for the reply, found by bisection: a prompt gets shorter with every turn that goes. */
static qaio_status fit(const resident *r, const chat_message *messages, size_t n, const chat_options *options, size_t n_reply,
                       token_list *out, size_t *n_dropped, qaio_error *err) {
    size_t first = n > 1 && strcmp(messages[0].role, "system") == 0, n_ctx = model_context(resident_model(r));
    size_t *cuts = mem_array(n, sizeof *cuts);
    if (!cuts) return error_memory(err);
    size_t low = 0, high = list_cuts(messages, n, first, cuts) - 1;
    qaio_status status = render_without(r, messages, n, first, 0, options, out, err);
    if (!status && out->n + n_reply > n_ctx && high > 0) {
        for (low = 1; low < high && !status;) {
            size_t middle = (low + high) / 2;
            status = render_without(r, messages, n, first, cuts[middle], options, out, err);
            if (out->n + n_reply > n_ctx)
                low = middle + 1;
            else
                high = middle;
        }
        if (!status) status = render_without(r, messages, n, first, cuts[low], options, out, err);
    }
    *n_dropped = cuts[low];
    mem_free(cuts);
    return status;
}

static qaio_status fit_with_system(const resident *r, const task *chat, const chat_message *messages, size_t n, const reply_params *params,
                                   token_list *out, size_t *n_dropped, qaio_error *err) {
    chat_options options = {.add_generation_prompt = true, .enable_thinking = params->enable_thinking < 0 ? 0 : params->enable_thinking};
    size_t n_reply = tokens_wanted(chat, params);
    const char *system = params->route ? params->route->system : chat ? chat->system : NULL;
    if (!system || strcmp(messages[0].role, "system") == 0) return fit(r, messages, n, &options, n_reply, out, n_dropped, err);
    chat_message *all = mem_array(n + 1, sizeof *all);
    if (!all) return error_memory(err);
    all[0] = (chat_message){.role = "system", .content = system, .content_bytes = strlen(system)};
    memcpy(all + 1, messages, n * sizeof *all);
    qaio_status status = fit(r, all, n + 1, &options, n_reply, out, n_dropped, err);
    mem_free(all);
    return status;
}

/* labels: read in forks of its prompt, or NULL. */
static qaio_status start_conversation(reply **out, label_job *labels, resident *r, const chat_message *messages, size_t n_messages,
                                      const reply_params *params, qaio_error *err) {
    token_list prompt = {0};
    size_t n_dropped = 0;
    const task_set *tasks = resident_acquire_tasks(r);
    const task *chat = params->chat ? params->chat : task_set_chat(tasks);
    qaio_status status = fit_with_system(r, chat, messages, n_messages, params, &prompt, &n_dropped, err);
    if (!status) status = start(out, r, &prompt, chat, params, n_dropped, labels, err);
    resident_release_tasks(r, tasks);
    token_list_deinit(&prompt);
    return status;
}

/* The reply with those planned tasks that are read in forks of its prompt. */
static qaio_status start_probed(reply **out, label_read **reads, const label_plan *plans, resident *r, const label_request *labels,
                                const chat_message *messages, size_t n_messages, const reply_params *params, qaio_error *err) {
    size_t first = 0;
    while (first < labels->n_tasks && plans[first].layout != LAYOUT_PROBE) first++;
    if (first == labels->n_tasks) return start_conversation(out, NULL, r, messages, n_messages, params, err);
    label_job job;
    qaio_status status = label_job_init(&job, err);
    if (status) return status;
    status = label_job_add_together(&job, reads, r, plans, first, labels, err);
    if (!status) status = start_conversation(out, &job, r, messages, n_messages, params, err);
    label_job_deinit(&job);
    return status;
}

qaio_status reply_start_labelled(reply **out, label_read **reads, resident *r, const label_request *labels, const chat_message *messages,
                                 size_t n_messages, const reply_params *params, qaio_error *err) {
    if (n_messages == 0) return error_set(err, QAIO_ERR_ARGUMENT, "there are no messages");
    const chat_message *last = &messages[n_messages - 1];
    label_plan *plans;
    reply *p = NULL;
    qaio_status status = plans_new(&plans, r, labels, last->content, last->content_bytes, err);
    if (status) return status;
    for (size_t i = 0; i < labels->n_tasks; i++) reads[i] = NULL;
    resident_hold(r);
    status = start_probed(&p, reads, plans, r, labels, messages, n_messages, params, err);
    if (!status) status = plans_start(reads, r, plans, labels, last->content, last->content_bytes, err);
    resident_release(r);
    plans_free(plans, labels->n_tasks);
    if (!status) {
        *out = p;
        return QAIO_OK;
    }
    if (p) reply_finish(p, NULL, NULL);
    reads_free(reads, labels->n_tasks);
    return status;
}

qaio_status reply_start(reply **out, resident *r, const chat_message *messages, size_t n_messages, const reply_params *params,
                        qaio_error *err) {
    if (n_messages == 0) return error_set(err, QAIO_ERR_ARGUMENT, "there are no messages");
    return start_conversation(out, NULL, r, messages, n_messages, params, err);
}

qaio_status reply_start_raw(reply **out, resident *r, const char *prompt, size_t n, const reply_params *params, qaio_error *err) {
    token_list ids = {0};
    qaio_status status = tokenizer_encode(resident_tokenizer(r), prompt, n, NULL, 0, &ids, err);
    if (!status) status = start(out, r, &ids, NULL, params, 0, NULL, err);
    token_list_deinit(&ids);
    return status;
}

qaio_status reply_start_task(reply **out, resident *r, const task *t, const char *text, size_t n, const reply_params *params,
                             qaio_error *err) {
    if (t->kind != TASK_GENERATE) return error_set(err, QAIO_ERR_ARGUMENT, "%s does not generate a text", t->name);
    token_list prompt = {0};
    grammar *g = NULL;
    reply_params constrained = *params;
    qaio_status status = prompt_of_task(r, t, t->layout, text, n, &prompt, err);
    if (!status) status = constraint_grammar(&g, &t->constraint, text, n, err);
    if (g) constrained.grammar = &g;
    if (!status) status = start(out, r, &prompt, t, &constrained, 0, NULL, err);
    grammar_free(g);
    token_list_deinit(&prompt);
    return status;
}

/* ---- the stream ---- */

/* Where the first stop string in text begins, or n. */
static size_t find_stop(const reply *p, const char *text, size_t n) {
    size_t best = n;
    for (size_t i = 0; i < p->n_stops; i++) {
        const char *at = memmem(text, n, p->stops[i], strlen(p->stops[i]));
        if (at && (size_t)(at - text) < best) best = (size_t)(at - text);
    }
    return best;
}

/* Bytes at the end of text that a stop string may begin with. */
static size_t possible_stop(const reply *p, const char *text, size_t n) {
    size_t longest = 0;
    for (size_t i = 0; i < p->n_stops; i++) {
        size_t length = strlen(p->stops[i]), most = length - 1 < n ? length - 1 : n;
        for (size_t k = most; k > longest; k--)
            if (memcmp(text + n - k, p->stops[i], k) == 0) longest = k;
    }
    return longest;
}

/* Moves the first n bytes of what is held to what is shown. */
static void show(reply *p, size_t n) {
    str_append(&p->shown, p->held.data ? p->held.data : "", n);
    p->held.len -= n;
    if (n) memmove(p->held.data, p->held.data + n, p->held.len);
}

static void show_safe_part(reply *p) {
    size_t n = p->held.len, stop = n ? find_stop(p, p->held.data, n) : 0;
    if (stop < n) {
        show(p, stop);
        str_clear(&p->held);
        p->is_stopped = true;
        engine_cancel(p->job);
    } else if (n) {
        show(p, n - possible_stop(p, p->held.data, n));
    }
}

reply_step reply_next(reply *p, reply_piece *out, int timeout_ms) {
    str_clear(&p->shown);
    if (p->is_stopped) return REPLY_END;
    *out = (reply_piece){0};
    switch (engine_next(p->job, &out->token, timeout_ms)) {
    case NEXT_TIMEOUT:
        return REPLY_TIMEOUT;
    case NEXT_TOKEN:
        p->n_tokens++;
        out->is_token = true;
        detokenizer_push(&p->text, resident_tokenizer(p->r), out->token.token, true, &p->held);
        show_safe_part(p);
        break;
    case NEXT_END:
        if (p->is_flushed) return REPLY_END;
        p->is_flushed = true;
        /* An unfinished character that waits in the detokenizer was cut by the length limit: it is left out, not shown as U+FFFD. */
        if (p->held.len) show(p, p->held.len);
        if (!p->shown.len) return REPLY_END;
        break;
    }
    out->text = p->shown.data ? p->shown.data : "";
    out->n = p->shown.len;
    return REPLY_PIECE;
}

void reply_cancel(reply *p) { engine_cancel(p->job); }

qaio_status reply_finish(reply *p, reply_result *out, qaio_error *err) {
    job_result result;
    bool has_failed = p->held.failed || p->shown.failed;
    engine_cancel(p->job);
    if (p->scores) source_leave_job(p->scores);
    qaio_status status = engine_finish(p->job, NULL, &result, err);
    if (!status && has_failed) status = error_memory(err);
    if (!status && out)
        *out = (reply_result){.finish = p->is_stopped ? FINISH_STOP : result.finish,
                              .n_prompt = result.n_prompt,
                              .n_cached = result.n_cached,
                              .n_generated = p->is_stopped ? p->n_tokens : result.n_generated,
                              .n_dropped_messages = p->n_dropped,
                              .first_ms = result.first_ms,
                              .total_ms = result.total_ms};
    reply_free(p);
    return status;
}
