#include "server/completion.h"

#include <math.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "base/mem.h"
#include "tasks/answer.h"

/* One completion on its way to the client. */
typedef struct completion {
    const wire *wire;
    resident *resident;
    reply *reply;
    char id[48];
    json_int_t created;
    int n_top; /* -1: no log-probabilities */
    bool include_usage;
    bool is_begun;
    size_t text_offset;
} completion;

const char *finish_name(finish_reason finish) { return finish == FINISH_LENGTH ? "length" : "stop"; }

json_t *token_text(const tokenizer *t, int32_t token) {
    str raw = {0}, text = {0};
    tokenizer_decode(t, token, false, &raw);
    for (size_t i = 0; i < raw.len;) {
        uint32_t code_point;
        size_t n = utf8_decode(raw.data + i, raw.len - i, &code_point);
        if (n)
            str_append(&text, raw.data + i, n);
        else
            str_puts(&text, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
    json_t *value = raw.failed || text.failed ? NULL : json_stringn(text.data ? text.data : "", text.len);
    str_deinit(&raw);
    str_deinit(&text);
    return value;
}

json_t *logprob_to_json(float logprob) { return json_real(isfinite(logprob) ? (double)logprob : -9999.0); }

static void make_id(completion *c) {
    unsigned char random[12] = {0};
    if (getrandom(random, sizeof random, GRND_NONBLOCK) < 0) random[0] = 1; /* an id need not be secret */
    int n = snprintf(c->id, sizeof c->id, "%s", c->wire->id_prefix);
    for (size_t i = 0; i < sizeof random; i++, n += 2) snprintf(c->id + n, sizeof c->id - (size_t)n, "%02x", random[i]);
}

static json_t *envelope(const completion *c, const char *object, json_t *choices) {
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", c->id, "object", object, "created", c->created, "model",
                     resident_model_name(c->resident), "system_fingerprint", "qaio-" QAIO_VERSION, "choices", choices);
}

/* Completes a choice and wraps it up; logprobs (moved) may be NULL. */
static json_t *with_choice(const completion *c, const char *object, json_t *choice, json_t *logprobs, const char *finish) {
    if (!choice || json_object_set_new(choice, "index", json_integer(0)) != 0 ||
        json_object_set_new(choice, "logprobs", logprobs ? logprobs : json_null()) != 0 ||
        json_object_set_new(choice, "finish_reason", finish ? json_string(finish) : json_null()) != 0) {
        json_decref(choice);
        return NULL;
    }
    return envelope(c, object, json_pack("[o]", choice));
}

/* ---- at once ---- */

static void answer_whole(exchange *x, completion *c, const str *text, json_t *logprobs, const reply_result *result) {
    json_t *choice = c->wire->choice(text->data ? text->data : "", text->len);
    json_t *whole = with_choice(c, c->wire->object, choice, logprobs, finish_name(result->finish));
    json_t *usage = usage_to_json(result->n_prompt, result->n_cached, result->n_generated);
    if (whole)
        json_object_set_new(whole, "usage", usage);
    else
        json_decref(usage);
    answer_json(x, MHD_HTTP_OK, whole);
}

typedef struct token_gatherer {
    completion *completion;
    json_t *logprobs; /* NULL: not wanted */
} token_gatherer;

static bool gather_token(void *state, const reply_piece *piece) {
    token_gatherer *g = state;
    completion *c = g->completion;
    return !g->logprobs || !piece->is_token ||
           c->wire->logprobs_add(g->logprobs, resident_tokenizer(c->resident), &piece->token, c->n_top, &c->text_offset);
}

static void run_at_once(exchange *x, completion *c) {
    str text = {0};
    json_t *logprobs = c->n_top >= 0 ? c->wire->logprobs_new() : NULL;
    bool is_whole = exchange_gather(x, c->reply, &text, gather_token, &(token_gatherer){c, logprobs});
    reply_result result;
    qaio_error err;
    failure f;
    qaio_status status = reply_finish(c->reply, &result, &err);
    if (!is_whole) {
        answer_nothing(x);
    } else if (status) {
        failure_from(&f, &err, "");
        answer_failure(x, &f);
    } else {
        answer_whole(x, c, &text, json_incref(logprobs), &result);
    }
    json_decref(logprobs);
    str_deinit(&text);
}

/* ---- as a stream ---- */

static void append_chunk(str *out, const completion *c, json_t *chunk) {
    if (chunk && c->include_usage) json_object_set_new(chunk, "usage", json_null());
    event_append(out, NULL, chunk);
}

static void append_piece(str *out, completion *c, const reply_piece *piece) {
    json_t *logprobs = NULL;
    if (c->n_top >= 0 && piece->is_token) {
        logprobs = c->wire->logprobs_new();
        if (!c->wire->logprobs_add(logprobs, resident_tokenizer(c->resident), &piece->token, c->n_top, &c->text_offset)) out->failed = true;
    }
    if (piece->n == 0 && !logprobs) return;
    append_chunk(out, c, with_choice(c, c->wire->chunk_object, c->wire->chunk_choice(piece->text, piece->n, false), logprobs, NULL));
}

static void append_end(str *out, completion *c) {
    reply_result result;
    qaio_error err;
    qaio_status status = reply_finish(c->reply, &result, &err);
    c->reply = NULL;
    if (status) {
        failure f;
        failure_from(&f, &err, "");
        event_append(out, NULL, failure_to_json(&f));
    } else {
        append_chunk(out, c,
                     with_choice(c, c->wire->chunk_object, c->wire->chunk_choice(NULL, 0, false), NULL, finish_name(result.finish)));
        if (c->include_usage) {
            json_t *chunk = envelope(c, c->wire->chunk_object, json_array());
            if (chunk) json_object_set_new(chunk, "usage", usage_to_json(result.n_prompt, result.n_cached, result.n_generated));
            event_append(out, NULL, chunk);
        }
    }
    str_puts(out, "data: [DONE]\n\n");
}

static bool next_chunk(void *state, str *out, int wait_ms) {
    completion *c = state;
    if (!c->is_begun) {
        c->is_begun = true;
        if (c->wire->says_role_first) {
            append_chunk(out, c, with_choice(c, c->wire->chunk_object, c->wire->chunk_choice("", 0, true), NULL, NULL));
            return true;
        }
    }
    reply_piece piece;
    switch (reply_next(c->reply, &piece, wait_ms)) {
    case REPLY_PIECE:
        append_piece(out, c, &piece);
        return true;
    case REPLY_TIMEOUT:
        return true;
    default:
        append_end(out, c);
        return false;
    }
}

static void free_completion(void *state) {
    completion *c = state;
    reply_result unused;
    if (c->reply) reply_finish(c->reply, &unused, NULL);
    mem_free(c);
}

static void run_as_stream(exchange *x, const completion *begun) {
    completion *c = mem_alloc(sizeof *c);
    if (!c) {
        reply_result unused;
        reply_finish(begun->reply, &unused, NULL);
        answer_nothing(x);
        return;
    }
    *c = *begun;
    answer_events(x, &(event_source){.state = c, .next = next_chunk, .free = free_completion});
}

void completion_answer(exchange *x, const wire *w, reply *p, const generation *g) {
    completion c = {.wire = w,
                    .resident = x->resident,
                    .reply = p,
                    .created = (json_int_t)time(NULL),
                    .n_top = g->params.n_top,
                    .include_usage = g->include_usage};
    make_id(&c);
    if (g->is_stream)
        run_as_stream(x, &c);
    else
        run_at_once(x, &c);
}
