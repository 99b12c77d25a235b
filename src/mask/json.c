#include "mask/json.h"

#include <stdio.h>
#include <string.h>

#define MAX_INDENTATION     16
#define MAX_EXPONENT_DIGITS 2

static expr text(grammar *g, const char *s) { return grammar_text(g, s, strlen(s)); }

static expr one_of(grammar *g, const char *bytes) {
    byte_set set = {0};
    for (; *bytes; bytes++) byte_set_add(&set, (uint8_t)*bytes, (uint8_t)*bytes);
    return grammar_bytes(g, &set);
}

static expr sequence(grammar *g, const expr *list, size_t n) {
    expr all = EXPR_END;
    while (n-- > 0) all = grammar_then(g, list[n], all);
    return all;
}
#define SEQUENCE(g, ...) sequence(g, (const expr[]){__VA_ARGS__}, sizeof((const expr[]){__VA_ARGS__}) / sizeof(expr))

/* ---- strings ---- */

/* Four digits behind \u: no surrogates, which stand for nothing alone, and no NUL. */
static expr code_unit(grammar *g) {
    expr hex = one_of(g, "0123456789abcdefABCDEF"), positive = one_of(g, "123456789abcdefABCDEF"), zero = text(g, "0");
    expr high = SEQUENCE(g, one_of(g, "123456789abcefABCEF"), hex, hex, hex);
    expr before_surrogates = SEQUENCE(g, one_of(g, "dD"), one_of(g, "01234567"), hex, hex);
    expr low = SEQUENCE(g, zero,
                        grammar_or(g, SEQUENCE(g, positive, hex, hex),
                                   SEQUENCE(g, zero, grammar_or(g, SEQUENCE(g, positive, hex), SEQUENCE(g, zero, positive)))));
    return grammar_either(g, (expr[]){high, before_surrogates, low}, 3);
}

static expr any_character(grammar *g) {
    static const code_range plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, LAST_CODE_POINT}};
    expr escape = grammar_or(g, one_of(g, "\"\\/bfnrt"), SEQUENCE(g, text(g, "u"), code_unit(g)));
    return grammar_or(g, grammar_characters(g, plain, 3), SEQUENCE(g, text(g, "\\"), escape));
}

static expr escaped(grammar *g, uint32_t c) {
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs */
    char unit[8];
    for (size_t i = 0; i + 1 < sizeof letters; i += 2)
        if ((uint32_t)letters[i] == c) return grammar_text(g, (char[]){'\\', letters[i + 1]}, 2);
    snprintf(unit, sizeof unit, "\\u%04x", c & 0xFFFF);
    return text(g, unit);
}

expr json_characters(grammar *g, const code_range *ranges, size_t n) {
    static const code_range plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, LAST_CODE_POINT}};
    expr all = EXPR_NOTHING;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 3; k++) {
            code_range part = {ranges[i].first > plain[k].first ? ranges[i].first : plain[k].first,
                               ranges[i].last < plain[k].last ? ranges[i].last : plain[k].last};
            if (part.first <= part.last) all = grammar_or(g, all, grammar_characters(g, &part, 1));
        }
        for (uint32_t c = ranges[i].first; c <= ranges[i].last && c <= '\\'; c++)
            if ((c > 0 && c < 0x20) || c == '"' || c == '\\') all = grammar_or(g, all, escaped(g, c));
    }
    return all;
}

expr json_quoted(grammar *g, expr inside) { return SEQUENCE(g, text(g, "\""), inside, text(g, "\"")); }

/* ---- the others ---- */

static void make_numbers(json_parts *out, grammar *g) {
    expr digit = grammar_range(g, '0', '9'), sign = grammar_optional(g, text(g, "-"));
    expr whole = grammar_or(g, text(g, "0"), grammar_then(g, grammar_range(g, '1', '9'), grammar_repeat(g, digit, 0, JSON_MAX_DIGITS - 1)));
    expr fraction = grammar_optional(g, grammar_then(g, text(g, "."), grammar_repeat(g, digit, 1, JSON_MAX_DIGITS)));
    expr exponent = grammar_optional(
        g, SEQUENCE(g, one_of(g, "eE"), grammar_optional(g, one_of(g, "+-")), grammar_repeat(g, digit, 1, MAX_EXPONENT_DIGITS)));
    out->integer = grammar_then(g, sign, whole);
    out->number = SEQUENCE(g, sign, whole, fraction, exponent);
}

expr json_pair(grammar *g, const json_parts *json, expr key, expr value) { return SEQUENCE(g, key, text(g, ":"), json->space, value); }

expr json_list(grammar *g, const json_parts *json, const char *brackets, expr item, uint32_t least, uint32_t most) {
    expr open = grammar_text(g, brackets, 1), close = grammar_text(g, brackets + 1, 1);
    expr empty = least ? EXPR_NOTHING : grammar_then(g, json->gap, close);
    if (most == 0) return grammar_then(g, open, empty);
    expr next = SEQUENCE(g, text(g, ","), json->gap, item);
    expr others = grammar_repeat(g, next, least ? least - 1 : 0, most == GRAMMAR_ANY ? most : most - 1);
    return grammar_then(g, open, grammar_or(g, empty, SEQUENCE(g, json->gap, item, others, json->gap, close)));
}

void json_parts_make(json_parts *out, grammar *g) {
    *out = (json_parts){.character = any_character(g)};
    out->string = json_quoted(g, grammar_repeat(g, out->character, 0, GRAMMAR_ANY));
    make_numbers(out, g);
    out->space = grammar_optional(g, text(g, " "));
    expr line_break = grammar_then(g, text(g, "\n"), grammar_repeat(g, text(g, " "), 0, MAX_INDENTATION));
    out->gap = grammar_either(g, (expr[]){EXPR_END, text(g, " "), line_break}, 3);
    rule value = grammar_rule(g);
    out->value = grammar_named(g, value);
    out->object = json_list(g, out, "{}", json_pair(g, out, out->string, out->value), 0, GRAMMAR_ANY);
    expr array = json_list(g, out, "[]", out->value, 0, GRAMMAR_ANY);
    grammar_define(
        g, value,
        grammar_either(g, (expr[]){out->string, out->number, text(g, "true"), text(g, "false"), text(g, "null"), out->object, array}, 7));
}
