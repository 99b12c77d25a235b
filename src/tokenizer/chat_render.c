/* ChatML and its refinements up to Qwen3: what each template prints, in its own order. */
#include <string.h>

#include "base/mem.h"
#include "tokenizer/chat_internal.h"

static void turn(chat_renderer *r, size_t message) {
    chat_puts(r, "<|im_start|>");
    chat_untrusted_text(r, r->messages[message].role);
    chat_puts(r, "\n");
    chat_content(r, message, chat_content_of(r, message));
    chat_puts(r, "<|im_end|>\n");
}

static void default_system(chat_renderer *r) {
    if (!r->t->default_system) return;
    chat_puts(r, "<|im_start|>system\n");
    chat_puts(r, r->t->default_system);
    chat_puts(r, "<|im_end|>\n");
}

void chat_render_chatml(chat_renderer *r) {
    if (r->n_messages && !chat_has_role(r, 0, "system")) default_system(r);
    for (size_t i = 0; i < r->n_messages; i++) turn(r, i);
}

static void list_tools(chat_renderer *r) {
    chat_puts(r,
              "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures "
              "within <tools></tools> XML tags:\n<tools>");
    for (size_t i = 0; i < r->options->n_tools; i++) {
        chat_puts(r, "\n");
        chat_untrusted_text(r, r->options->tools_json[i]);
    }
    chat_puts(r, "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
                 "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": "
                 "<args-json-object>}\n</tool_call><|im_end|>\n");
}

static void tool_call(chat_renderer *r, const chat_tool_call *call) {
    chat_puts(r, "<tool_call>\n{\"name\": \"");
    chat_untrusted_text(r, call->name);
    chat_puts(r, "\", \"arguments\": ");
    chat_untrusted_text(r, call->arguments_json);
    chat_puts(r, "}\n</tool_call>");
}

/* Tool results in a row share one user turn. */
static void tool_result(chat_renderer *r, size_t message) {
    if (message == 0 || !chat_has_role(r, message - 1, "tool")) chat_puts(r, "<|im_start|>user");
    chat_puts(r, "\n<tool_response>\n");
    chat_content(r, message, chat_content_of(r, message));
    chat_puts(r, "\n</tool_response>");
    if (!chat_has_role(r, message + 1, "tool")) chat_puts(r, "<|im_end|>\n");
}

static void qwen25_calls(chat_renderer *r, size_t message) {
    const chat_message *m = &r->messages[message];
    chat_puts(r, "<|im_start|>assistant");
    bool is_continued = r->options->continue_final_message && message + 1 == r->n_messages;
    if ((m->content && m->content_bytes) || is_continued) {
        chat_puts(r, "\n");
        chat_content(r, message, chat_content_of(r, message));
    }
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        chat_puts(r, "\n");
        tool_call(r, &m->tool_calls[i]);
    }
    chat_puts(r, "<|im_end|>\n");
}

void chat_render_qwen25(chat_renderer *r) {
    bool has_system = chat_has_role(r, 0, "system");
    if (r->n_messages == 0) chat_refuse(r, "no messages");
    if (r->options->n_tools) {
        chat_puts(r, "<|im_start|>system\n");
        if (has_system)
            chat_content(r, 0, chat_content_of(r, 0));
        else
            chat_puts(r, r->t->default_system);
        chat_puts(r, "\n\n");
        list_tools(r);
    } else if (has_system) {
        turn(r, 0);
    } else {
        default_system(r);
    }
    for (size_t i = has_system; i < r->n_messages; i++) {
        if (chat_has_role(r, i, "assistant") && r->messages[i].n_tool_calls)
            qwen25_calls(r, i);
        else if (chat_has_role(r, i, "tool"))
            tool_result(r, i);
        else if (chat_has_role(r, i, "user") || chat_has_role(r, i, "system") || chat_has_role(r, i, "assistant"))
            turn(r, i);
    }
}

/* Thoughts are printed behind the last question only: in the last message always, before it where there are any. */
static void qwen3_assistant(chat_renderer *r, size_t message, size_t last_query) {
    const chat_message *m = &r->messages[message];
    chat_slice content = chat_content_of(r, message), reasoning = {"", 0};
    if (m->reasoning_content)
        reasoning = (chat_slice){m->reasoning_content, strlen(m->reasoning_content)};
    else
        chat_split_thought(content, &reasoning, &content);
    bool has_content = content.n > 0;
    chat_puts(r, "<|im_start|>assistant\n");
    if (message > last_query && (message + 1 == r->n_messages || reasoning.n)) {
        chat_puts(r, "<think>\n");
        chat_untrusted(r, chat_strip_line_ends(reasoning, true, true));
        chat_puts(r, "\n</think>\n\n");
        content = chat_strip_line_ends(content, true, false);
    }
    chat_content(r, message, content);
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        if (i || has_content) chat_puts(r, "\n");
        tool_call(r, &m->tool_calls[i]);
    }
    chat_puts(r, "<|im_end|>\n");
}

void chat_render_qwen3(chat_renderer *r) {
    bool has_system = chat_has_role(r, 0, "system");
    if (r->n_messages == 0) chat_refuse(r, "no messages");
    if (r->options->n_tools) {
        chat_puts(r, "<|im_start|>system\n");
        if (has_system) {
            chat_content(r, 0, chat_content_of(r, 0));
            chat_puts(r, "\n\n");
        }
        list_tools(r);
    } else if (has_system) {
        turn(r, 0);
    }
    size_t last_query = r->n_messages ? r->n_messages - 1 : 0;
    chat_last_query(r, false, &last_query);
    for (size_t i = has_system; i < r->n_messages; i++) {
        if (chat_has_role(r, i, "user") || chat_has_role(r, i, "system"))
            turn(r, i);
        else if (chat_has_role(r, i, "assistant"))
            qwen3_assistant(r, i, last_query);
        else if (chat_has_role(r, i, "tool"))
            tool_result(r, i);
    }
}

static void generation_prompt(chat_renderer *r) {
    int thinking = r->options->enable_thinking;
    chat_puts(r, "<|im_start|>assistant\n");
    if (r->t->family == CHAT_QWEN35 && thinking < 0) thinking = r->t->thinks_unasked;
    if (r->t->family == CHAT_QWEN35 && thinking == 1) chat_puts(r, "<think>\n");
    if ((r->t->family == CHAT_QWEN35 || r->t->family == CHAT_QWEN3) && thinking == 0) chat_puts(r, "<think>\n\n</think>\n\n");
}

/* Behind the last message's content everything goes; Qwen3.5, which trims contents, also loses the white space before. */
static void cut_behind_final_message(chat_renderer *r, size_t begin) {
    if (!r->has_final_end) {
        chat_refuse(r, "continue_final_message: the template does not print the last message");
        return;
    }
    size_t end = r->final_end;
    if (r->t->family == CHAT_QWEN35) end = begin + chat_trim_end((chat_slice){r->text->data + begin, end - begin}).n;
    r->text->len = end;
    r->text->data[end] = '\0';
    while (r->n_spans && r->spans[r->n_spans - 1].begin >= end) r->n_spans--;
    if (r->n_spans && r->spans[r->n_spans - 1].end > end) r->spans[r->n_spans - 1].end = end;
}

static void render(chat_renderer *r) {
    size_t begin = r->text->len;
    for (size_t i = 0; i < r->n_messages; i++)
        if (!r->messages[i].role) chat_refuse(r, "message %zu has no role", i);
    if (r->options->continue_final_message && r->options->add_generation_prompt)
        chat_refuse(r, "continue_final_message and add_generation_prompt exclude each other");
    if (r->status) return;
    if (r->t->family == CHAT_QWEN35)
        chat_render_qwen35(r);
    else if (r->t->family == CHAT_QWEN3)
        chat_render_qwen3(r);
    else if (r->t->family == CHAT_QWEN25)
        chat_render_qwen25(r);
    else
        chat_render_chatml(r);
    if (!r->status && r->text->failed) r->status = error_memory(r->err);
    if (!r->status && r->options->continue_final_message) cut_behind_final_message(r, begin);
    if (r->options->add_generation_prompt) generation_prompt(r);
    if (!r->status && r->text->failed) r->status = error_memory(r->err);
}

qaio_status chat_template_render(const chat_template *t, const chat_message *messages, size_t n_messages, const chat_options *options,
                                 str *text, text_span **literal, size_t *n_literal, qaio_error *err) {
    chat_renderer r = {.t = t,
                       .messages = messages,
                       .n_messages = n_messages,
                       .options = options,
                       .text = text,
                       .spans = *literal,
                       .n_spans = *n_literal,
                       .spans_capacity = *n_literal,
                       .err = err};
    size_t before = text->len;
    render(&r);
    *literal = r.spans;
    if (r.status) {
        text->len = before;
        if (text->data) text->data[before] = '\0';
    } else {
        *n_literal = r.n_spans;
    }
    return r.status;
}
