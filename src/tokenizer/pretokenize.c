/* The patterns of Qwen2 and Qwen3.5, written out as a scanner.  Each alternative is a function that returns how many bytes it matches at a
 * place, 0 for none, in the pattern's order; none of them looks back, and none looks ahead further than it or the next word consumes. */
#include "tokenizer/pretokenize.h"

#include "tokenizer/unicode.h"

const char *const pretokenize_patterns[2] = {
    [PRE_QWEN2] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
                  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    [PRE_QWEN35] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"
                   "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

typedef struct cursor {
    const char *text;
    size_t n;
    bool marks_are_letters;
} cursor;

/* The character at `at`: its class, CHAR_SPACE too for line ends, and its length; length 0 at the end. */
static size_t class_at(const cursor *c, size_t at, char_class *class) {
    uint32_t code_point = 0;
    size_t len = utf8_decode(c->text + at, c->n - at, &code_point);
    *class = unicode_class(code_point);
    if (*class == CHAR_MARK) *class = c->marks_are_letters ? CHAR_LETTER : CHAR_OTHER;
    return len;
}

static bool is_line_end(char c) { return c == '\r' || c == '\n'; }

/* Where the run of characters of one class that begins at `at` ends. */
static size_t run_end(const cursor *c, size_t at, char_class wanted) {
    for (;;) {
        char_class class;
        size_t len = class_at(c, at, &class);
        if (!len || class != wanted) return at;
        at += len;
    }
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d); the long s U+017F folds to s. */
static size_t contraction(const cursor *c) {
    if (c->n < 2 || c->text[0] != '\'') return 0;
    if (c->n >= 3 && c->text[1] == '\xC5' && c->text[2] == '\xBF') return 3;
    char first = (char)(c->text[1] | 0x20), second = c->n >= 3 ? (char)(c->text[2] | 0x20) : 0;
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    return ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l') ? 3 : 0;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last line end of the white space; else all of it at the end of the text; else all but its last
 * character, which belongs to the word behind it; else that one. */
static size_t white_space(const cursor *c) {
    size_t end = 0, line_end = 0, last = 0;
    for (;;) {
        char_class class;
        size_t len = class_at(c, end, &class);
        if (!len || class != CHAR_SPACE) break;
        if (is_line_end(c->text[end])) line_end = end + 1;
        last = end;
        end += len;
    }
    if (line_end) return line_end;
    return end == c->n || last == 0 ? end : last;
}

/* [^\s\p{L}\p{N}]+[\r\n]* from `at`. */
static size_t punctuation(const cursor *c, size_t at) {
    size_t end = run_end(c, at, CHAR_OTHER);
    while (end < c->n && is_line_end(c->text[end])) end++;
    return end;
}

size_t pretokenize_word(const char *text, size_t n, pre_tokenizer pre) {
    cursor c = {text, n, pre == PRE_QWEN35};
    size_t matched = contraction(&c);
    if (matched) return matched;
    char_class class, next;
    size_t len = class_at(&c, 0, &class);
    if (class == CHAR_LETTER) return run_end(&c, len, CHAR_LETTER);
    if (class == CHAR_NUMBER) return len;
    size_t next_len = class_at(&c, len, &next);
    if (next_len && next == CHAR_LETTER && !is_line_end(text[0])) return run_end(&c, len + next_len, CHAR_LETTER);
    if (class == CHAR_OTHER) return punctuation(&c, len);
    if (text[0] == ' ' && next_len && next == CHAR_OTHER) return punctuation(&c, len + next_len);
    return white_space(&c);
}
