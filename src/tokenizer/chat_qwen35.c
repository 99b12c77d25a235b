/* Qwen3.5: contents trimmed, thoughts kept behind the last question, tool calls as tags, and refusals where its template raises. */
#include <string.h>

#include "tokenizer/chat_internal.h"
#include "tokenizer/json_scan.h"

static const char tool_instructions[] =
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n<tool_call>\n"
    "<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n<parameter=example_parameter_2>\n"
    "This is the value for the second parameter\nthat can span\nmultiple lines\n</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\n"
    "Reminder:\n- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within "
    "<tool_call></tool_call> XML tags\n- Required parameters MUST be specified\n- You may provide optional reasoning for your function "
    "call "
    "in natural language BEFORE the function call, but NOT after\n- If there is no function call available, answer the question like "
    "normal "
    "with your current knowledge and do not tell the user about function calls\n</IMPORTANT>";

static chat_slice trimmed_content(const chat_renderer *r, size_t message) {
    const chat_message *m = &r->messages[message];
    return m->content ? chat_trim((chat_slice){m->content, m->content_bytes}) : (chat_slice){"", 0};
}

static void system_turn(chat_renderer *r) {
    bool has_system = chat_has_role(r, 0, "system"), has_tools = r->options->n_tools > 0;
    if (!has_system && !has_tools) return;
    chat_slice content = has_system ? trimmed_content(r, 0) : (chat_slice){"", 0};
    chat_puts(r, "<|im_start|>system\n");
    if (has_tools) {
        chat_puts(r, "# Tools\n\nYou have access to the following functions:\n\n<tools>");
        for (size_t i = 0; i < r->options->n_tools; i++) {
            chat_puts(r, "\n");
            chat_untrusted_text(r, r->options->tools_json[i]);
        }
        chat_puts(r, tool_instructions);
        if (content.n) chat_puts(r, "\n\n");
    }
    if (has_system) chat_content(r, 0, content);
    chat_puts(r, "<|im_end|>\n");
}

/* As Python prints the value: strings bare, true as True; objects, arrays and numbers as the caller wrote them. */
static void parameter_value(chat_renderer *r, json_scan *s) {
    char first = json_scan_peek(s);
    size_t begin = s->pos;
    if (first == '"') {
        json_slice value = json_scan_string(s);
        chat_untrusted(r, (chat_slice){value.data, value.n});
    } else if (json_scan_null(s)) {
        chat_puts(r, "None");
    } else if (first == 't' || first == 'f') {
        chat_puts(r, json_scan_bool(s) ? "True" : "False");
    } else {
        json_scan_skip(s);
        chat_untrusted(r, (chat_slice){s->text + begin, s->pos - begin});
    }
}

static void parameters(chat_renderer *r, const char *arguments) {
    json_scan s;
    json_scan_init(&s, arguments, strlen(arguments), "tool call arguments", r->err);
    for (json_scan_open(&s, '{'); json_scan_more(&s, '}');) {
        json_slice name = json_scan_key(&s);
        chat_puts(r, "<parameter=");
        chat_untrusted(r, (chat_slice){name.data, name.n});
        chat_puts(r, ">\n");
        parameter_value(r, &s);
        chat_puts(r, "\n</parameter>\n");
    }
    json_scan_end(&s);
    json_scan_deinit(&s);
    if (!r->status && s.status) r->status = s.status == QAIO_ERR_MEMORY ? s.status : QAIO_ERR_ARGUMENT;
    if (r->err && r->status) r->err->status = r->status;
}

static void assistant(chat_renderer *r, size_t message, size_t last_query) {
    const chat_message *m = &r->messages[message];
    chat_slice content = trimmed_content(r, message), reasoning = {"", 0};
    if (m->reasoning_content)
        reasoning = (chat_slice){m->reasoning_content, strlen(m->reasoning_content)};
    else
        chat_split_thought(content, &reasoning, &content);
    chat_puts(r, "<|im_start|>assistant\n");
    if (message > last_query) {
        chat_puts(r, "<think>\n");
        chat_untrusted(r, chat_trim(reasoning));
        chat_puts(r, "\n</think>\n\n");
    }
    chat_content(r, message, content);
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        if (i || chat_trim(content).n) chat_puts(r, i ? "\n" : "\n\n");
        chat_puts(r, "<tool_call>\n<function=");
        chat_untrusted_text(r, m->tool_calls[i].name);
        chat_puts(r, ">\n");
        if (m->tool_calls[i].arguments_json) parameters(r, m->tool_calls[i].arguments_json);
        chat_puts(r, "</function>\n</tool_call>");
    }
    chat_puts(r, "<|im_end|>\n");
}

static void user(chat_renderer *r, size_t message) {
    chat_puts(r, "<|im_start|>user\n");
    chat_content(r, message, trimmed_content(r, message));
    chat_puts(r, "<|im_end|>\n");
}

static void tool_result(chat_renderer *r, size_t message) {
    if (message > 0 && !chat_has_role(r, message - 1, "tool")) chat_puts(r, "<|im_start|>user");
    chat_puts(r, "\n<tool_response>\n");
    chat_content(r, message, trimmed_content(r, message));
    chat_puts(r, "\n</tool_response>");
    if (!chat_has_role(r, message + 1, "tool")) chat_puts(r, "<|im_end|>\n");
}

void chat_render_qwen35(chat_renderer *r) {
    size_t last_query = 0;
    if (r->n_messages == 0) chat_refuse(r, "no messages");
    system_turn(r);
    if (!chat_last_query(r, true, &last_query)) chat_refuse(r, "no message of the user that asks something");
    for (size_t i = chat_has_role(r, 0, "system"); i < r->n_messages; i++) {
        if (chat_has_role(r, i, "user"))
            user(r, i);
        else if (chat_has_role(r, i, "assistant"))
            assistant(r, i, last_query);
        else if (chat_has_role(r, i, "tool"))
            tool_result(r, i);
        else if (chat_has_role(r, i, "system"))
            chat_refuse(r, "message %zu: a system message must be the first", i);
        else
            chat_refuse(r, "message %zu: unknown role", i);
    }
}
