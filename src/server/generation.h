/* What the routes that generate share: the sampling fields, the messages. */
#ifndef QAIO_SERVER_GENERATION_H
#define QAIO_SERVER_GENERATION_H

#include "server/fields.h"
#include "tasks/resident.h"

#define MAX_MESSAGES 2048

typedef struct generation {
    reply_params params; /* its stops are stop_list, its biases bias_list */
    const char *stop_list[REPLY_MAX_STOPS];
    token_bias bias_list[SAMPLING_MAX_BIASES];
    grammar *grammar; /* of response_format, params points here; owned until a reply has taken it */
    bool is_stream, include_usage;
} generation;

/* Reads temperature, top_p, top_k, repetition_penalty, logit_bias, seed, stop, max_tokens, max_completion_tokens, enable_thinking, stream,
 * stream_options; refuses what is asked for and not there (n > 1, tools, images, penalties ...).  Borrows from root and *out itself. */
bool generation_parse(generation *out, const json_t *root, failure *f);

/* Frees what no reply has taken; also after a failure. */
void generation_deinit(generation *g);

/* Reads response_format, of the routes that have it; after generation_parse. */
bool response_format_parse(generation *out, const json_t *root, failure *f);
/* The others have none but {"type": "text"}. */
bool response_format_refuse(const json_t *root, failure *f);

typedef struct message_list {
    chat_message *items; /* borrow from the request's JSON, and from texts */
    str *texts;          /* of contents that came in parts */
    size_t n;
} message_list;

/* Appends what the list `name` of messages says; absent: nothing.  message_list_deinit also after a failure. */
bool messages_parse(message_list *out, const json_t *root, const char *name, failure *f);
void message_list_deinit(message_list *list);

/* The model's name, if the request has one, must be the resident's. */
bool model_check(const json_t *root, const char *name, failure *f);

#endif
