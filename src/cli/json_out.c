#include "cli/json_out.h"

#include <string.h>

#include "base/str.h"

json_t *json_text(const char *text, size_t n) {
    if (utf8_is_valid(text, n)) return json_stringn(n ? text : "", n);
    str clean = {0};
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t length = utf8_decode(text + i, n - i, &c);
        if (length)
            str_append(&clean, text + i, length);
        else
            str_puts(&clean, "\xEF\xBF\xBD");
        i += length ? length : 1;
    }
    json_t *out = clean.failed ? NULL : json_stringn(clean.data, clean.len);
    str_deinit(&clean);
    return out;
}

static int append(const char *bytes, size_t n, void *out) {
    str_append(out, bytes, n);
    return 0;
}

/* U+0085, U+2028 and U+2029 are legal inside JSON strings, but many readers of lines take them for line ends: they are escaped. */
static void append_line(str *out, const str *text) {
    static const struct {
        const char *bytes, *escape;
    } breaks[] = {{"\xC2\x85", "\\u0085"}, {"\xE2\x80\xA8", "\\u2028"}, {"\xE2\x80\xA9", "\\u2029"}};
    for (size_t begin = 0, end = 0; begin < text->len; begin = end) {
        while (end < text->len && text->data[end] != '\xC2' && text->data[end] != '\xE2') end++;
        str_append(out, text->data + begin, end - begin);
        if (end == text->len) return;
        size_t i = 0;
        while (i < 3 && strncmp(text->data + end, breaks[i].bytes, strlen(breaks[i].bytes)) != 0) i++;
        if (i < 3)
            str_puts(out, breaks[i].escape);
        else
            str_putc(out, text->data[end]);
        end += i < 3 ? strlen(breaks[i].bytes) : 1;
    }
}

void json_line_append(str *out, json_t *value, int digits) {
    str text = {0};
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)digits);
    if (value && json_dump_callback(value, append, &text, flags) == 0 && !text.failed)
        append_line(out, &text);
    else
        out->failed = true;
    str_deinit(&text);
    json_decref(value);
}

int json_print_to(json_t *value, FILE *out, int digits) {
    str line = {0};
    json_line_append(&line, value, digits);
    str_putc(&line, '\n');
    bool is_written = !line.failed && fwrite(line.data, 1, line.len, out) == line.len;
    if (line.failed) fputs("{\"error\":\"out of memory\"}\n", out);
    str_deinit(&line);
    return is_written ? 0 : -1;
}

int json_print(json_t *value) { return json_print_to(value, stdout, JSON_DIGITS); }
