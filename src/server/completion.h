/* /v1/chat/completions and /v1/completions: one course, two shapes. */
#ifndef QAIO_SERVER_COMPLETION_H
#define QAIO_SERVER_COMPLETION_H

#include "server/exchange.h"
#include "server/generation.h"

/* How a route words its answer.  Each function returns a new reference, NULL when out of memory. */
typedef struct wire {
    const char *id_prefix;    /* "chatcmpl-" */
    const char *object;       /* of the whole answer */
    const char *chunk_object; /* of a piece of a stream */
    bool says_role_first;     /* a first chunk without text */
    json_t *(*choice)(const char *text, size_t n);
    json_t *(*chunk_choice)(const char *text, size_t n, bool is_first);
    json_t *(*logprobs_new)(void);
    /* Adds one token to what logprobs_new made; *offset: of the token in the text, moved on. */
    bool (*logprobs_add)(json_t *logprobs, const tokenizer *t, const token_event *token, int n_top, size_t *offset);
} wire;

/* Runs a started reply (moved) to its end and answers, as a stream or at once. */
void completion_answer(exchange *x, const wire *w, reply *p, const generation *g);

/* A request's fields as the fuzz target and the tests reach them. */
typedef struct chat_request {
    generation generation;
    message_list messages;
} chat_request;
bool chat_request_parse(chat_request *out, const json_t *root, const char *model_name, failure *f);
void chat_request_deinit(chat_request *r); /* also after a failure */

typedef struct completion_request {
    generation generation;
    const char *prompt; /* borrowed from the JSON */
    size_t prompt_bytes;
} completion_request;
bool completion_request_parse(completion_request *out, const json_t *root, const char *model_name, failure *f);
void completion_request_deinit(completion_request *r); /* also after a failure */

/* A token as text: its bytes, with U+FFFD for what is no whole character; a new reference. */
json_t *token_text(const tokenizer *t, int32_t token);

/* JSON has no infinities: what is impossible gets OpenAI's -9999. */
json_t *logprob_to_json(float logprob);

/* "stop", "length". */
const char *finish_name(finish_reason finish);

#endif
