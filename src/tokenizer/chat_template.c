/* Which family a template's text is of.  The text is compared in a compact form that no change of layout touches: white space, line ends
 * in strings, trim marks ({%-) and the kind of quotes are gone. */
#include "tokenizer/chat_template.h"

#include <string.h>

#include "base/mem.h"

#define CHAT_MAX_TEMPLATE_BYTES (1u << 20)

static const char *const names[] = {
    [CHAT_CHATML] = "chatml",  [CHAT_QWEN15] = "qwen1.5", [CHAT_QWEN2_BASE] = "qwen2-base",
    [CHAT_QWEN25] = "qwen2.5", [CHAT_QWEN3] = "qwen3",    [CHAT_QWEN35] = "qwen3.5",
};

const char *chat_family_name(chat_family family) { return names[family]; }

static bool is_layout(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void make_compact(str *out, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char c = text[i], next = i + 1 < n ? text[i + 1] : 0;
        bool is_opening_trim = c == '-' && i > 0 && (text[i - 1] == '%' || text[i - 1] == '{'),
             is_closing_trim = c == '-' && (next == '%' || next == '}');
        if (c == '\\' && next == 'n')
            i++;
        else if (!is_layout(c) && !is_opening_trim && !is_closing_trim)
            str_putc(out, c == '"' ? '\'' : c);
    }
}

/* The simple templates: one loop, with or without a system message of their own in front. */
static const char loop_begin[] = "{%formessageinmessages%}";
static const char system_begin[] = "{%ifloop.firstandmessages[0]['role']!='system'%}{{'<|im_start|>system";
static const char system_end[] = "<|im_end|>'}}{%endif%}";
static const char loop_end[] = "{{'<|im_start|>'+message['role']+''+message['content']+'<|im_end|>'+''}}{%endfor%}"
                               "{%ifadd_generation_prompt%}{{'<|im_start|>assistant'}}{%endif%}";

static const char *skip(const char *text, const char *prefix) {
    size_t n = strlen(prefix);
    return text && strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

static bool is_simple(const char *compact, bool *has_system) {
    const char *rest = skip(compact, loop_begin), *system = skip(rest, system_begin);
    *has_system = system != NULL;
    if (system) {
        const char *end = strstr(system, system_end);
        rest = end ? end + strlen(system_end) : NULL;
    }
    return rest && strcmp(rest, loop_end) == 0;
}

static bool has_all(const char *compact, const char *const *fragments) {
    for (; *fragments; fragments++)
        if (!strstr(compact, *fragments)) return false;
    return true;
}

static const char *const qwen25_marks[] = {
    "{%iftools%}",
    "#Tools",
    "<tools></tools>",
    "<|im_start|>'+message.role+''+message.content+'<|im_end|>'",
    "<tool_response>",
    "tool_call.arguments|tojson",
    "{%ifadd_generation_prompt%}{{'<|im_start|>assistant'}}",
    NULL,
};
static const char *const qwen3_marks[] = {
    "{%iftools%}",
    "#Tools",
    "<tools></tools>",
    "ns.last_query_index",
    "ns.multi_step_tool",
    "reasoning_content",
    "</think>",
    "<tool_response>",
    "<|im_start|>'+message.role+'<think>'+",
    "{%ifadd_generation_prompt%}{{'<|im_start|>assistant'}}",
    NULL,
};
static const char *const qwen35_marks[] = {
    "render_content(",
    "ns.last_query_index",
    "Nouserqueryfoundinmessages.",
    "<function=",
    "<parameter=",
    "reasoning_content|trim",
    "<|im_start|>'+message.role+'<think>'+",
    "{%ifadd_generation_prompt%}{{'<|im_start|>assistant'}}",
    NULL,
};

/* Behind "<|im_start|>system" and a line end: the text up to <|im_end|>, when it is no expression, its escapes resolved. */
static qaio_status find_default_system(char **out, const char *text, size_t n, qaio_error *err) {
    static const char begin[] = "<|im_start|>system", end[] = "<|im_end|>";
    const char *at = text, *stop = text + n;
    while ((at = memmem(at, (size_t)(stop - at), begin, sizeof begin - 1)) != NULL) {
        at += sizeof begin - 1;
        if (stop - at >= 2 && at[0] == '\\' && at[1] == 'n')
            at += 2;
        else if (at < stop && *at == '\n')
            at += 1;
        else
            continue;
        const char *last = memmem(at, (size_t)(stop - at), end, sizeof end - 1);
        if (!last || at == stop || *at == '\'' || *at == '"') continue;
        str value = {0};
        for (; at < last; at++) {
            if (*at == '\\' && at + 1 < last) {
                at++;
                str_putc(&value, *at == 'n' ? '\n' : *at == 't' ? '\t' : *at);
            } else {
                str_putc(&value, *at);
            }
        }
        if (!value.failed) *out = value.data ? mem_strndup(value.data, value.len) : mem_strndup("", 0);
        str_deinit(&value);
        return *out ? QAIO_OK : error_memory(err);
    }
    return QAIO_OK;
}

static void recognise(chat_template *t, const char *compact, bool *has_system) {
    *has_system = false;
    t->is_recognised = true;
    if (is_simple(compact, has_system)) {
        t->family = *has_system ? CHAT_QWEN15 : CHAT_CHATML;
    } else if (has_all(compact, qwen35_marks)) {
        t->family = CHAT_QWEN35;
        t->thinks_unasked = strstr(compact, "enable_thinkingisdefinedandenable_thinkingisfalse") != NULL;
    } else if (has_all(compact, qwen3_marks)) {
        t->family = CHAT_QWEN3;
    } else if (has_all(compact, qwen25_marks) && !strstr(compact, "think")) {
        t->family = CHAT_QWEN25;
        *has_system = true;
    } else {
        t->is_recognised = false;
    }
}

qaio_status chat_template_init(chat_template *out, const char *text, size_t n, qaio_error *err) {
    chat_template t = {.family = CHAT_CHATML, .is_recognised = true};
    if (!text) {
        *out = t;
        return QAIO_OK;
    }
    if (n > CHAT_MAX_TEMPLATE_BYTES)
        return error_set(err, QAIO_ERR_LIMIT, "a chat template of %zu bytes, at most %u", n, CHAT_MAX_TEMPLATE_BYTES);
    str compact = {0};
    bool has_system;
    make_compact(&compact, text, n);
    str_append(&compact, "", 0);
    if (compact.failed) {
        str_deinit(&compact);
        return error_memory(err);
    }
    recognise(&t, compact.data, &has_system);
    str_deinit(&compact);
    qaio_status status = has_system ? find_default_system(&t.default_system, text, n, err) : QAIO_OK;
    if (status) return status;
    if (has_system && !t.default_system) t = (chat_template){.family = CHAT_CHATML};
    if (t.family == CHAT_QWEN15 && strcmp(t.default_system, "You are a helpful assistant") == 0) t.family = CHAT_QWEN2_BASE;
    *out = t;
    return QAIO_OK;
}

void chat_template_deinit(chat_template *t) {
    mem_free(t->default_system);
    *t = (chat_template){0};
}
