/* Chat templates of the Qwen families, implemented natively and recognised from the text of the checkpoint's own template. */
#ifndef QAIO_TOKENIZER_CHAT_TEMPLATE_H
#define QAIO_TOKENIZER_CHAT_TEMPLATE_H

#include "tokenizer/tokenizer.h"

typedef enum chat_family {
    CHAT_CHATML, /* plain ChatML, no default system prompt: what an unknown template gets */
    CHAT_QWEN15, /* qwen1.5 */
    CHAT_QWEN2_BASE,
    CHAT_QWEN25,
    CHAT_QWEN3,
    CHAT_QWEN35,
} chat_family;

typedef struct chat_template {
    chat_family family;
    char *default_system; /* the text the template itself inserts when no system message comes first, or NULL; owned */
    bool thinks_unasked; /* CHAT_QWEN35: where enable_thinking is not given, the generation prompt opens a thought (some sizes: does not) */
    bool is_recognised;  /* false: unknown template text, plain ChatML is used (the caller warns) */
} chat_template;

/* text may be NULL (no template in the checkpoint): plain ChatML, recognised. */
qaio_status chat_template_init(chat_template *out, const char *text, size_t n, qaio_error *err);
void chat_template_deinit(chat_template *t);
const char *chat_family_name(chat_family family);

typedef struct chat_tool_call {
    const char *name;
    const char *arguments_json; /* as the template prints it: an object, ", " and ": " between its parts */
} chat_tool_call;

typedef struct chat_message {
    const char *role;    /* borrowed, terminated */
    const char *content; /* borrowed; may hold NUL bytes: see content_bytes.  NULL: none */
    size_t content_bytes;
    const char *reasoning_content; /* NULL: none */
    const chat_tool_call *tool_calls;
    size_t n_tool_calls;
} chat_message;

typedef struct chat_options {
    bool add_generation_prompt;
    bool continue_final_message;   /* the rendering is cut right after the last message's content (assistant prefill) */
    int enable_thinking;           /* -1 not given, 0, 1 */
    const char *const *tools_json; /* each tool as the template's tojson prints it */
    size_t n_tools;
} chat_options;

/* Appends the rendering to *text and the byte ranges of message contents (untrusted text) to *literal, for tokenizer_encode.  *literal is
 * mem_realloc'd, owned by the caller.  QAIO_ERR_ARGUMENT where the checkpoint's template would raise an exception. */
qaio_status chat_template_render(const chat_template *t, const chat_message *messages, size_t n_messages, const chat_options *options,
                                 str *text, text_span **literal, size_t *n_literal, qaio_error *err);

#endif
