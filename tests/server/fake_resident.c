#include "fake_resident.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

#define LATE_MS 2000  /* the first word, after "#late" */
#define SLOW_MS 60000 /* a label, of "#slow" */

static const char *const words[] = {"听起来", "你", "今天", "过得", "不容易", "，", "我", "在", "这里", "陪着", "你", "。"};
#define N_WORDS (sizeof words / sizeof *words)

struct resident {
    task_set *tasks;
    int token_ms;
    atomic_size_t n_active, n_held;
    atomic_uint_fast64_t n_jobs, n_generated;
};

struct label_read {
    resident *r;
    const task *task;
    char *text;
    size_t n;
    double due_ms;
    bool is_cancelled;
};

struct reply {
    resident *r;
    size_t n_prompt, n_dropped, n_tokens, n_shown;
    size_t first_word;
    str text; /* all of it, up to a stop string */
    size_t text_shown;
    double begun_ms, first_ms;
    double due_ms; /* the next word */
    int n_top;
    bool is_broken, is_cancelled, is_stopped;
};

const reply_params reply_defaults = {
    .temperature = -1, .top_p = -1, .repetition_penalty = -1, .top_k = -1, .n_top = -1, .enable_thinking = -1};

resident *fake_resident_new(int token_ms) {
    resident *r = mem_zalloc(sizeof *r);
    if (!r || task_set_open(&r->tasks, NULL, NULL)) abort();
    r->token_ms = token_ms;
    return r;
}

void fake_resident_free(resident *r) {
    if (atomic_load(&r->n_held)) abort(); /* a request kept its tasks */
    task_set_free(r->tasks);
    mem_free(r);
}

const char *resident_model_name(const resident *r) {
    (void)r;
    return FAKE_MODEL;
}
const task_set *resident_tasks(const resident *r) { return r->tasks; }
const task_set *resident_acquire_tasks(resident *r) {
    atomic_fetch_add(&r->n_held, 1);
    return r->tasks;
}
void resident_release_tasks(resident *r, const task_set *tasks) {
    if (tasks) atomic_fetch_sub(&r->n_held, 1);
}
qaio_status resident_reload_status(resident *r, qaio_error *err) {
    (void)r, (void)err;
    return QAIO_OK;
}
const tokenizer *resident_tokenizer(const resident *r) { return (const tokenizer *)r; }
engine *resident_engine(resident *r) { return (engine *)r; }
void resident_hold(resident *r) { (void)r; }
void resident_release(resident *r) { (void)r; }

void engine_get_stats(engine *e, engine_stats *out) {
    resident *r = (resident *)e;
    *out = (engine_stats){
        .n_active = atomic_load(&r->n_active), .n_jobs = atomic_load(&r->n_jobs), .n_generated_tokens = atomic_load(&r->n_generated)};
}

/* Ids behind the words are halves of a character, as byte-level tokens can be. */
void tokenizer_decode(const tokenizer *t, int32_t id, bool skip_special, str *out) {
    (void)t, (void)skip_special;
    if ((size_t)id < N_WORDS)
        str_puts(out, words[id]);
    else
        str_append(out, "\xE4\xBD", 2);
}

static bool holds(const char *text, size_t n, const char *word) { return memmem(text, n, word, strlen(word)) != NULL; }

static qaio_status refuse(const char *text, size_t n, qaio_error *err) {
    if (holds(text, n, "#busy")) return error_set(err, QAIO_ERR_BUSY, "the queue is full");
    if (n > FAKE_MAX_BYTES) return error_set(err, QAIO_ERR_LIMIT, "the text does not fit the context");
    return QAIO_OK;
}

static void sleep_ms(int ms) { nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL); }

/* ---- labels ---- */

qaio_status label_start(label_read **out, resident *r, const task *t, const char *text, size_t n, qaio_error *err) {
    size_t blank = 0;
    while (blank < n && memchr(" \t\r\n", text[blank], 4)) blank++;
    if (blank == n) return error_set(err, QAIO_ERR_ARGUMENT, "the text is empty");
    qaio_status status = refuse(text, n, err);
    if (status) return status;
    label_read *read = mem_zalloc(sizeof *read);
    if (!read || !(read->text = mem_strndup(text, n))) {
        mem_free(read);
        return error_memory(err);
    }
    read->r = r;
    read->task = t;
    read->n = n;
    read->due_ms = clock_ms() + r->token_ms + (holds(text, n, "#slow") ? SLOW_MS : 0);
    atomic_fetch_add(&r->n_active, 1);
    atomic_fetch_add(&r->n_jobs, 1);
    *out = read;
    return QAIO_OK;
}

qaio_status label_finish(label_read *read, label_answer *out, qaio_error *err) {
    const task *t = read->task;
    label_wait(read, -1);
    bool is_sad = holds(read->text, read->n, "低落") || holds(read->text, read->n, "难过"), is_cancelled = read->is_cancelled;
    *out = (label_answer){.task = t, .label = is_sad && t->n_labels > 1, .n_prompt = read->n / 3 + 1, .n_cached = 1, .total_ms = 1};
    for (size_t i = 0; i < t->n_labels; i++) out->raw[i] = i == out->label ? 0.95 : 0.05 / (double)(t->n_labels - 1);
    memcpy(out->probabilities, out->raw, sizeof out->raw);
    atomic_fetch_sub(&read->r->n_active, 1);
    mem_free(read->text);
    mem_free(read);
    return is_cancelled ? error_set(err, QAIO_ERR_CANCELLED, "cancelled") : QAIO_OK;
}

void label_cancel(label_read *read) { read->is_cancelled = true; }

bool label_wait(label_read *read, int timeout_ms) {
    double left_ms = read->is_cancelled ? 0 : read->due_ms - clock_ms();
    bool is_in_time = timeout_ms < 0 || left_ms <= timeout_ms;
    if (left_ms > 0) sleep_ms(is_in_time ? (int)left_ms + 1 : timeout_ms);
    return is_in_time;
}

/* ---- replies ---- */

static bool compose(reply *p, const reply_params *params, bool is_endless) {
    size_t max_new = params->max_new ? params->max_new : REPLY_DEFAULT_TOKENS;
    p->first_word = params->has_seed ? params->seed % N_WORDS : 0;
    p->is_stopped = !is_endless && max_new > N_WORDS;
    p->n_tokens = p->is_stopped ? N_WORDS : max_new;
    for (size_t i = 0; i < p->n_tokens; i++) str_puts(&p->text, words[(p->first_word + i) % N_WORDS]);
    if (p->text.failed) return false;
    for (size_t i = 0; i < params->n_stops; i++) {
        const char *at = strstr(p->text.data, params->stops[i]);
        if (!at) continue;
        p->text.len = (size_t)(at - p->text.data);
        p->text.data[p->text.len] = 0;
        p->is_stopped = true;
    }
    return true;
}

static qaio_status start(reply **out, resident *r, const char *text, size_t n, size_t n_dropped, const reply_params *params,
                         qaio_error *err) {
    qaio_status status = refuse(text, n, err);
    if (status) return status;
    reply *p = mem_zalloc(sizeof *p);
    if (!p) return error_memory(err);
    *p = (reply){.r = r, .n_prompt = n / 3 + 1, .n_dropped = n_dropped, .n_top = params->n_top, .begun_ms = clock_ms()};
    p->is_broken = holds(text, n, "#broken");
    p->due_ms = p->begun_ms + r->token_ms + (holds(text, n, "#late") ? LATE_MS : 0);
    if (!compose(p, params, holds(text, n, "#endless"))) {
        str_deinit(&p->text);
        mem_free(p);
        return error_memory(err);
    }
    atomic_fetch_add(&r->n_active, 1);
    atomic_fetch_add(&r->n_jobs, 1);
    *out = p;
    return QAIO_OK;
}

qaio_status reply_start(reply **out, resident *r, const chat_message *messages, size_t n_messages, const reply_params *params,
                        qaio_error *err) {
    const chat_message *last = &messages[n_messages - 1];
    return start(out, r, last->content, last->content_bytes, n_messages > 20 ? n_messages - 20 : 0, params, err);
}

qaio_status reply_start_raw(reply **out, resident *r, const char *prompt, size_t n, const reply_params *params, qaio_error *err) {
    return start(out, r, prompt, n, 0, params, err);
}

qaio_status reply_start_task(reply **out, resident *r, const task *t, const char *text, size_t n, const reply_params *params,
                             qaio_error *err) {
    (void)t;
    return start(out, r, text, n, 0, params, err);
}

qaio_status labels_start(label_read **reads, resident *r, const label_request *request, const char *text, size_t n, qaio_error *err) {
    label_answer unused;
    for (size_t i = 0; i < request->n_tasks; i++) {
        qaio_status status = label_start(&reads[i], r, request->tasks[i], text, n, err);
        while (status && i-- > 0) label_finish(reads[i], &unused, NULL);
        if (status) return status;
    }
    return QAIO_OK;
}

qaio_status reply_start_labelled(reply **out, label_read **reads, resident *r, const label_request *labels, const chat_message *messages,
                                 size_t n_messages, const reply_params *params, qaio_error *err) {
    const chat_message *last = &messages[n_messages - 1];
    label_answer unused;
    qaio_status status = labels_start(reads, r, labels, last->content, last->content_bytes, err);
    if (status) return status;
    status = reply_start(out, r, messages, n_messages, params, err);
    for (size_t i = 0; i < labels->n_tasks && status; i++) label_finish(reads[i], &unused, NULL);
    return status;
}

static void fill_token(reply *p, reply_piece *out) {
    size_t word = (p->first_word + p->n_shown) % N_WORDS;
    out->token = (token_event){.token = (int32_t)word, .logprob = -0.25f};
    for (int i = 0; i < p->n_top; i++) {
        out->token.top_tokens[i] = (int32_t)(word + (size_t)i);
        out->token.top_logprobs[i] = -0.25f - (float)i;
    }
}

reply_step reply_next(reply *p, reply_piece *out, int timeout_ms) {
    if (p->is_cancelled || p->text_shown == p->text.len || p->n_shown == p->n_tokens) return REPLY_END;
    double wait_ms = p->due_ms - clock_ms();
    if (timeout_ms >= 0 && wait_ms > timeout_ms) {
        sleep_ms(timeout_ms);
        return REPLY_TIMEOUT;
    }
    if (wait_ms > 0) sleep_ms((int)wait_ms + 1);
    p->due_ms = clock_ms() + p->r->token_ms;
    if (p->n_shown == 0) p->first_ms = clock_ms() - p->begun_ms;
    size_t left = p->text.len - p->text_shown, n = strlen(words[(p->first_word + p->n_shown) % N_WORDS]);
    *out = (reply_piece){.text = p->text.data + p->text_shown, .n = n < left ? n : left, .is_token = true};
    fill_token(p, out);
    p->text_shown += out->n;
    p->n_shown++;
    atomic_fetch_add(&p->r->n_generated, 1);
    return REPLY_PIECE;
}

void reply_cancel(reply *p) { p->is_cancelled = true; }

qaio_status reply_finish(reply *p, reply_result *out, qaio_error *err) {
    qaio_status status = p->is_broken ? error_set(err, QAIO_ERR_IO, "the fake model broke") : QAIO_OK;
    if (!status && out)
        *out = (reply_result){.finish = p->is_stopped ? FINISH_STOP : FINISH_LENGTH,
                              .n_prompt = p->n_prompt,
                              .n_cached = p->n_prompt / 2,
                              .n_generated = p->n_shown,
                              .n_dropped_messages = p->n_dropped,
                              .first_ms = p->first_ms,
                              .total_ms = clock_ms() - p->begun_ms};
    atomic_fetch_sub(&p->r->n_active, 1);
    str_deinit(&p->text);
    mem_free(p);
    return status;
}
