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
static void write_line(const str *text, FILE *out) {
    static const struct {
        const char *bytes, *escape;
    } breaks[] = {{"\xC2\x85", "\\u0085"}, {"\xE2\x80\xA8", "\\u2028"}, {"\xE2\x80\xA9", "\\u2029"}};
    for (size_t begin = 0, end = 0; begin < text->len; begin = end) {
        while (end < text->len && text->data[end] != '\xC2' && text->data[end] != '\xE2') end++;
        fwrite(text->data + begin, 1, end - begin, out);
        size_t skipped = 0;
        for (size_t i = 0; i < 3 && end < text->len && !skipped; i++)
            if (strncmp(text->data + end, breaks[i].bytes, strlen(breaks[i].bytes)) == 0) {
                fputs(breaks[i].escape, out);
                skipped = strlen(breaks[i].bytes);
            }
        if (!skipped && end < text->len) {
            fputc(text->data[end], out);
            skipped = 1;
        }
        end += skipped;
    }
}

static int print(json_t *value, FILE *out, size_t flags) {
    str text = {0};
    int failed = !value || json_dump_callback(value, append, &text, flags | JSON_ENCODE_ANY) != 0 || text.failed;
    if (failed)
        fputs("{\"error\":\"out of memory\"}", out);
    else
        write_line(&text, out);
    str_deinit(&text);
    json_decref(value);
    return fputc('\n', out) == EOF || failed ? -1 : 0;
}

int json_print_to(json_t *value, FILE *out, int digits) { return print(value, out, JSON_COMPACT | JSON_REAL_PRECISION((size_t)digits)); }

int json_print(json_t *value) { return json_print_to(value, stdout, JSON_DIGITS); }
