#include "cli/json_out.h"

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

static int print(json_t *value, FILE *out, size_t flags) {
    int failed = !value || json_dumpf(value, out, flags | JSON_ENCODE_ANY) != 0;
    if (!value) fputs("{\"error\":\"out of memory\"}", out);
    json_decref(value);
    return fputc('\n', out) == EOF || failed ? -1 : 0;
}

int json_print_to(json_t *value, FILE *out, int digits) { return print(value, out, JSON_COMPACT | JSON_REAL_PRECISION(digits)); }

int json_print(json_t *value) { return json_print_to(value, stdout, JSON_DIGITS); }

int json_print_pretty(json_t *value) { return print(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(JSON_DIGITS)); }
