/* What the renderings of the chat families share. */
#ifndef QAIO_TOKENIZER_CHAT_INTERNAL_H
#define QAIO_TOKENIZER_CHAT_INTERNAL_H

#include "tokenizer/chat_template.h"

typedef struct chat_slice {
    const char *data;
    size_t n;
} chat_slice;

/* One rendering under way.  Sticky: after the first error nothing is written any more. */
typedef struct chat_renderer {
    const chat_template *t;
    const chat_message *messages;
    size_t n_messages;
    const chat_options *options;
    str *text;
    text_span *spans; /* of untrusted text */
    size_t n_spans, spans_capacity;
    bool has_final_end; /* the last message's content was written, up to final_end */
    size_t final_end;
    qaio_error *err;
    qaio_status status;
} chat_renderer;

void chat_puts(chat_renderer *r, const char *text);        /* the template's own text */
void chat_untrusted(chat_renderer *r, chat_slice content); /* text from outside */
void chat_untrusted_text(chat_renderer *r, const char *text);
void chat_content(chat_renderer *r, size_t message, chat_slice content); /* the message's content, where continue_final_message cuts */
void chat_refuse(chat_renderer *r, const char *format, ...) PRINTF_LIKE(2, 3);

bool chat_has_role(const chat_renderer *r, size_t message, const char *role); /* false past the ends */
chat_slice chat_content_of(chat_renderer *r, size_t message);                 /* refuses a message without content */

/* As Python's str methods. */
chat_slice chat_trim(chat_slice s);
chat_slice chat_trim_end(chat_slice s);
chat_slice chat_strip_line_ends(chat_slice s, bool at_begin, bool at_end);
/* An assistant's message as the Qwen3 templates take it apart: "<think>reasoning</think>content". */
bool chat_split_thought(chat_slice message, chat_slice *reasoning, chat_slice *content);
/* The index of the last user message that is no tool response; false: there is none. */
bool chat_last_query(chat_renderer *r, bool trims, size_t *index);

/* The families: the messages, without the generation prompt. */
void chat_render_chatml(chat_renderer *r);
void chat_render_qwen25(chat_renderer *r);
void chat_render_qwen3(chat_renderer *r);
void chat_render_qwen35(chat_renderer *r);

#endif
