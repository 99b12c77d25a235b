/* Writing a rendering, and the string methods that the templates use. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tokenizer/chat_internal.h"

void chat_refuse(chat_renderer *r, const char *format, ...) {
    if (r->status) return;
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->status = error_set(r->err, QAIO_ERR_ARGUMENT, "%s", message);
}

void chat_puts(chat_renderer *r, const char *text) {
    if (!r->status) str_puts(r->text, text);
}

static void add_span(chat_renderer *r, size_t begin, size_t end) {
    if (r->n_spans && r->spans[r->n_spans - 1].end == begin) {
        r->spans[r->n_spans - 1].end = end;
        return;
    }
    if (r->n_spans == r->spans_capacity) {
        size_t capacity = r->spans_capacity ? 2 * r->spans_capacity : 16;
        text_span *grown = mem_realloc(r->spans, capacity, sizeof *grown);
        if (!grown) {
            r->status = error_memory(r->err);
            return;
        }
        r->spans = grown;
        r->spans_capacity = capacity;
    }
    r->spans[r->n_spans++] = (text_span){begin, end};
}

void chat_untrusted(chat_renderer *r, chat_slice content) {
    if (r->status || content.n == 0) return;
    size_t begin = r->text->len;
    str_append(r->text, content.data, content.n);
    if (!r->text->failed) add_span(r, begin, r->text->len);
}

void chat_untrusted_text(chat_renderer *r, const char *text) { chat_untrusted(r, (chat_slice){text, strlen(text)}); }

void chat_content(chat_renderer *r, size_t message, chat_slice content) {
    chat_untrusted(r, content);
    if (message + 1 != r->n_messages) return;
    r->has_final_end = true;
    r->final_end = r->text->len;
}

bool chat_has_role(const chat_renderer *r, size_t message, const char *role) {
    return message < r->n_messages && strcmp(r->messages[message].role, role) == 0;
}

chat_slice chat_content_of(chat_renderer *r, size_t message) {
    const chat_message *m = &r->messages[message];
    if (!m->content) chat_refuse(r, "message %zu (%s) has no content", message, m->role);
    return m->content ? (chat_slice){m->content, m->content_bytes} : (chat_slice){"", 0};
}

/* What Python's str.strip takes away. */
static bool is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

chat_slice chat_trim_end(chat_slice s) {
    while (s.n) {
        uint32_t c;
        size_t begin = s.n - 1;
        while (begin > 0 && s.n - begin < 4 && ((unsigned char)s.data[begin] & 0xC0) == 0x80) begin--;
        if (utf8_decode(s.data + begin, s.n - begin, &c) != s.n - begin || !is_space(c)) break;
        s.n = begin;
    }
    return s;
}

chat_slice chat_trim(chat_slice s) {
    uint32_t c;
    for (size_t len; s.n && (len = utf8_decode(s.data, s.n, &c)) > 0 && is_space(c); s.n -= len) s.data += len;
    return chat_trim_end(s);
}

chat_slice chat_strip_line_ends(chat_slice s, bool at_begin, bool at_end) {
    for (; at_begin && s.n && s.data[0] == '\n'; s.n--) s.data++;
    while (at_end && s.n && s.data[s.n - 1] == '\n') s.n--;
    return s;
}

static const char *find_first(chat_slice s, const char *what) { return s.n ? memmem(s.data, s.n, what, strlen(what)) : NULL; }

/* What follows the last `what` in s; s itself where there is none. */
static chat_slice behind_last(chat_slice s, const char *what) {
    const char *at;
    while ((at = find_first(s, what)) != NULL) {
        const char *behind = at + strlen(what);
        s = (chat_slice){behind, (size_t)(s.data + s.n - behind)};
    }
    return s;
}

bool chat_split_thought(chat_slice message, chat_slice *reasoning, chat_slice *content) {
    const char *end = find_first(message, "</think>");
    if (!end) return false;
    chat_slice before = {message.data, (size_t)(end - message.data)};
    *reasoning = chat_strip_line_ends(behind_last(chat_strip_line_ends(before, false, true), "<think>"), true, false);
    *content = chat_strip_line_ends(behind_last(message, "</think>"), true, false);
    return true;
}

static bool is_tool_response(chat_slice s) {
    static const char begin[] = "<tool_response>", end[] = "</tool_response>";
    return s.n >= sizeof begin - 1 && s.n >= sizeof end - 1 && memcmp(s.data, begin, sizeof begin - 1) == 0 &&
           memcmp(s.data + s.n - (sizeof end - 1), end, sizeof end - 1) == 0;
}

bool chat_last_query(chat_renderer *r, bool trims, size_t *index) {
    for (size_t i = r->n_messages; i-- > 0;) {
        if (!chat_has_role(r, i, "user")) continue;
        chat_slice content = chat_content_of(r, i);
        bool is_continued = r->options->continue_final_message && i + 1 == r->n_messages; /* its end is still to come */
        if (!is_continued && is_tool_response(trims ? chat_trim(content) : content)) continue;
        *index = i;
        return true;
    }
    return false;
}
