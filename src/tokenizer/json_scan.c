/* The strict JSON scanner (RFC 8259). */
#include "tokenizer/json_scan.h"

#include <stdio.h>
#include <string.h>

void json_scan_init(json_scan *s, const char *text, size_t n, const char *path, qaio_error *err) {
    *s = (json_scan){.text = text, .n = n, .path = path, .err = err};
}

void json_scan_deinit(json_scan *s) { str_deinit(&s->unescaped); }

void json_scan_refuse(json_scan *s, qaio_status status, const char *format, ...) {
    if (s->status) return;
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    s->status = error_at(s->err, status, s->path, (int64_t)s->pos, "%s", message);
}

static void malformed(json_scan *s, const char *expected) {
    if (s->pos >= s->n)
        json_scan_refuse(s, QAIO_ERR_FORMAT, "the file ends where %s is expected; it may be cut off", expected);
    else
        json_scan_refuse(s, QAIO_ERR_FORMAT, "not valid JSON: %s expected", expected);
}

char json_scan_peek(json_scan *s) {
    if (s->status) return 0;
    while (s->pos < s->n && (s->text[s->pos] == ' ' || s->text[s->pos] == '\n' || s->text[s->pos] == '\r' || s->text[s->pos] == '\t'))
        s->pos++;
    return s->pos < s->n ? s->text[s->pos] : 0;
}

void json_scan_open(json_scan *s, char bracket) {
    if (json_scan_peek(s) != bracket) {
        malformed(s, bracket == '{' ? "an object" : "an array");
        return;
    }
    if (++s->depth > JSON_SCAN_MAX_DEPTH) {
        json_scan_refuse(s, QAIO_ERR_LIMIT, "nested deeper than %d", JSON_SCAN_MAX_DEPTH);
        return;
    }
    s->pos++;
    s->is_opened = true;
}

bool json_scan_more(json_scan *s, char bracket) {
    char c = json_scan_peek(s);
    if (s->status) return false;
    if (c == bracket) {
        s->pos++;
        s->depth--;
        s->is_opened = false;
        return false;
    }
    if (!s->is_opened) {
        if (c != ',') {
            malformed(s, bracket == '}' ? "',' or '}'" : "',' or ']'");
            return false;
        }
        s->pos++;
    }
    s->is_opened = false;
    return true;
}

static int hex4(const char *p) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* \uXXXX at pos, behind the 'u'; a surrogate must be half of a pair. */
static void unicode_escape(json_scan *s) {
    int unit = s->n - s->pos >= 4 ? hex4(s->text + s->pos) : -1;
    uint32_t code_point = (uint32_t)unit;
    size_t used = 4;
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        const char *p = s->text + s->pos + 4;
        int low = s->n - s->pos >= 10 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2) : -1;
        if (low < 0xDC00 || low > 0xDFFF) unit = -1;
        code_point = 0x10000 + ((uint32_t)(unit - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
        used = 10;
    }
    if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) {
        malformed(s, "a \\u escape of a whole character");
        return;
    }
    char bytes[4];
    str_append(&s->unescaped, bytes, utf8_encode(code_point, bytes));
    s->pos += used;
}

static void escape(json_scan *s) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = s->pos < s->n ? s->text[s->pos] : 0;
    const char *at = c ? strchr(from, c) : NULL;
    if (!at && c != 'u') {
        malformed(s, "an escape");
        return;
    }
    s->pos++;
    if (at)
        str_putc(&s->unescaped, to[at - from]);
    else
        unicode_escape(s);
}

/* Runs over plain characters of a string; stops at '"', '\\' or an error. */
static void plain_run(json_scan *s) {
    size_t i = s->pos;
    while (i < s->n) {
        unsigned char c = (unsigned char)s->text[i];
        if (c == '"' || c == '\\') break;
        if (c < 0x20) {
            s->pos = i;
            malformed(s, "an escape in place of a control character");
            return;
        }
        uint32_t code_point;
        size_t len = c < 0x80 ? 1 : utf8_decode(s->text + i, s->n - i, &code_point);
        if (!len) {
            s->pos = i;
            malformed(s, "well-formed UTF-8");
            return;
        }
        i += len;
    }
    s->pos = i;
    if (i == s->n) malformed(s, "the end of a string");
}

json_slice json_scan_string(json_scan *s) {
    static const json_slice none = {"", 0};
    if (json_scan_peek(s) != '"') malformed(s, "a string");
    if (s->status) return none;
    size_t begin = ++s->pos;
    plain_run(s);
    if (s->status) return none;
    if (s->text[s->pos] == '"') return (json_slice){s->text + begin, s->pos++ - begin};
    str_clear(&s->unescaped);
    str_append(&s->unescaped, s->text + begin, s->pos - begin);
    while (!s->status && s->text[s->pos] != '"') {
        s->pos++;
        escape(s);
        begin = s->pos;
        plain_run(s);
        if (!s->status) str_append(&s->unescaped, s->text + begin, s->pos - begin);
    }
    if (!s->status && s->unescaped.failed) s->status = error_memory(s->err);
    if (s->status) return none;
    s->pos++;
    return (json_slice){s->unescaped.data, s->unescaped.len};
}

json_slice json_scan_key(json_scan *s) {
    json_slice key = json_scan_string(s);
    if (json_scan_peek(s) == ':')
        s->pos++;
    else
        malformed(s, "':'");
    return key;
}

static bool is_digit(const json_scan *s) { return s->pos < s->n && s->text[s->pos] >= '0' && s->text[s->pos] <= '9'; }

uint32_t json_scan_unsigned(json_scan *s, uint32_t max) {
    json_scan_peek(s);
    size_t begin = s->pos;
    uint64_t value = 0;
    while (!s->status && is_digit(s) && value <= max) value = value * 10 + (uint64_t)(s->text[s->pos++] - '0');
    bool is_whole = s->pos > begin && !(s->text[begin] == '0' && s->pos - begin > 1);
    if (s->pos < s->n && strchr(".eE", s->text[s->pos]) && s->text[s->pos]) is_whole = false;
    if (s->status || (is_whole && value <= max)) return (uint32_t)value;
    s->pos = begin;
    json_scan_refuse(s, QAIO_ERR_FORMAT, "a whole number of 0 to %u expected", max);
    return 0;
}

static bool word(json_scan *s, const char *text) {
    size_t n = strlen(text);
    if (s->status || s->n - s->pos < n || memcmp(s->text + s->pos, text, n) != 0) return false;
    s->pos += n;
    return true;
}

bool json_scan_bool(json_scan *s) {
    json_scan_peek(s);
    if (word(s, "true")) return true;
    if (!word(s, "false")) malformed(s, "true or false");
    return false;
}

bool json_scan_null(json_scan *s) {
    json_scan_peek(s);
    return word(s, "null");
}

static void digits(json_scan *s) {
    if (!is_digit(s)) malformed(s, "a digit");
    while (is_digit(s)) s->pos++;
}

static void number(json_scan *s) {
    if (s->text[s->pos] == '-') s->pos++;
    if (s->pos < s->n && s->text[s->pos] == '0')
        s->pos++;
    else
        digits(s);
    if (!s->status && s->pos < s->n && s->text[s->pos] == '.') {
        s->pos++;
        digits(s);
    }
    if (!s->status && s->pos < s->n && (s->text[s->pos] | 0x20) == 'e') {
        s->pos++;
        if (s->pos < s->n && (s->text[s->pos] == '+' || s->text[s->pos] == '-')) s->pos++;
        digits(s);
    }
}

void json_scan_skip(json_scan *s) {
    char c = json_scan_peek(s);
    if (s->status) return;
    if (c == '{') {
        for (json_scan_open(s, '{'); json_scan_more(s, '}');) {
            json_scan_key(s);
            json_scan_skip(s);
        }
    } else if (c == '[') {
        for (json_scan_open(s, '['); json_scan_more(s, ']');) json_scan_skip(s);
    } else if (c == '"') {
        json_scan_string(s);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        number(s);
    } else if (!word(s, "true") && !word(s, "false") && !word(s, "null")) {
        malformed(s, "a value");
    }
}

void json_scan_end(json_scan *s) {
    json_scan_peek(s);
    if (!s->status && s->pos < s->n) malformed(s, "the end of the file");
}

bool json_slice_is(json_slice slice, const char *text) { return slice.n == strlen(text) && memcmp(slice.data, text, slice.n) == 0; }
