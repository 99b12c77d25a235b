/* Strings and numbers of a schema. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mask/pattern.h"
#include "mask/schema_internal.h"

/* ---- strings ---- */

#define TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d"
#define ZONE "(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
/* Every month with 28 days, and the days that longer ones have besides. */
#define DATE "\\d{4}-((0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"

static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"},
    {"time", "^" TIME ZONE "$"},
    {"date-time", "^" DATE "T" TIME ZONE "$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"ipv4", "^((25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)$"},
    {"email", "^[a-z0-9]+([._+-][a-z0-9]+)*@[a-z0-9]+(-[a-z0-9]+)*(\\.[a-z0-9]+(-[a-z0-9]+)*)+$"},
};

static bool format_pattern(compiler *c, const json_t *format, const char **out) {
    const char *name = json_string_value(format);
    for (size_t i = 0; name && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0) return *out = formats[i].pattern, true;
    return schema_fail(c, QAIO_ERR_UNSUPPORTED,
                       "the format \"%.60s\" is not supported; these are: date, time, date-time, uuid, ipv4, email", name ? name : "");
}

bool schema_string(compiler *c, const json_t *schema, expr *out) {
    const json_t *value = json_object_get(schema, "pattern"), *format = json_object_get(schema, "format");
    const char *pattern = json_string_value(value);
    uint32_t least = 0, most = GRAMMAR_ANY;
    expr inside = EXPR_NOTHING;
    if (value && (!pattern || strlen(pattern) != json_string_length(value)))
        return schema_fail(c, QAIO_ERR_ARGUMENT, "pattern must be a string without NUL");
    if (!schema_count(c, schema, "minLength", &least) || !schema_count(c, schema, "maxLength", &most)) return false;
    if (least > most) return schema_fail(c, QAIO_ERR_ARGUMENT, "minLength is more than maxLength");
    if (value && format) return schema_fail(c, QAIO_ERR_UNSUPPORTED, "only one of pattern and format can be honoured at a time");
    if (format && !format_pattern(c, format, &pattern)) return false;
    if (pattern) {
        qaio_error err;
        qaio_status status = pattern_compile(c->g, pattern, least, most, &inside, &err);
        if (status) return schema_fail(c, status, "pattern: %s", err.message);
    } else {
        inside = grammar_repeat(c->g, c->json.character, least, most);
    }
    *out = json_quoted(c->g, inside);
    return true;
}

/* ---- numbers ---- */

/* Distances from 0: on each side of it, the numbers allowed. */
typedef struct magnitudes {
    bool is_empty, has_most;
    uint64_t least, most;
    bool without_least, without_most; /* exclusive */
} magnitudes;

/* A bound of numbers that are no integers, and what fits behind its point: a double still tells 999999999.999999 from 1e9. */
#define LARGEST_INTEGER_BOUND 1e17
#define LARGEST_BOUND         1e9
#define FRACTION_DIGITS       6
#define LARGEST               999999999999999999u /* of JSON_MAX_DIGITS digits */

static expr digits_between(grammar *g, uint64_t least, uint64_t most) {
    expr all = EXPR_NOTHING;
    uint64_t shortest = 0, longest = 9; /* of as many digits */
    for (size_t n = 1; n <= JSON_MAX_DIGITS; n++, shortest = longest + 1, longest = longest * 10 + 9) {
        char first[24], last[24];
        uint64_t from = least > shortest ? least : shortest, to = most < longest ? most : longest;
        if (from > to) continue;
        snprintf(first, sizeof first, "%" PRIu64, from);
        snprintf(last, sizeof last, "%" PRIu64, to);
        all = grammar_or(g, all, grammar_between(g, (const uint8_t *)first, (const uint8_t *)last, n, '0', '9'));
    }
    return all;
}

/* Numbers without sign; a fraction where the whole part is no bound. */
static expr numbers_between(grammar *g, const magnitudes *m, bool is_integer) {
    expr digit = grammar_range(g, '0', '9'), zero = grammar_range(g, '0', '0'), point = grammar_range(g, '.', '.');
    uint64_t most = m->has_most ? m->most : LARGEST, least = m->least;
    if (m->is_empty) return EXPR_NOTHING;
    if (is_integer) {
        if ((m->without_least && ++least > most) || (m->without_most && most-- == 0)) return EXPR_NOTHING;
        return least > most ? EXPR_NOTHING : digits_between(g, least, most);
    }
    if (least == most && (m->without_least || m->without_most)) return EXPR_NOTHING;
    expr any = grammar_optional(g, grammar_then(g, point, grammar_repeat(g, digit, 1, FRACTION_DIGITS)));
    expr none = grammar_optional(g, grammar_then(g, point, grammar_repeat(g, zero, 1, FRACTION_DIGITS)));
    expr positive = grammar_then(g, grammar_repeat(g, zero, 0, FRACTION_DIGITS - 1), grammar_range(g, '1', '9'));
    bool is_above = !m->has_most || most > least; /* there is something between the bounds */
    uint64_t last = m->has_most ? most - 1 : most;
    expr at_least = !is_above ? none : m->without_least ? grammar_then(g, point, positive) : any;
    expr all = grammar_then(g, digits_between(g, least, least), at_least);
    if (is_above && last > least) all = grammar_or(g, all, grammar_then(g, digits_between(g, least + 1, last), any));
    if (is_above && m->has_most && !m->without_most) all = grammar_or(g, all, grammar_then(g, digits_between(g, most, most), none));
    return all;
}

/* What the keywords leave of a line of numbers. */
typedef struct bounds {
    bool has_least, has_most, without_least, without_most;
    int64_t least, most;
} bounds;

/* A bound as a whole number; a fraction is rounded to the inside where only integers lie. */
static bool parse_bound(compiler *c, const json_t *schema, const char *keyword, bool is_integer, bool is_upper, bool *has, int64_t *out,
                        bool *is_exclusive, bool means_exclusive) {
    const json_t *value = json_object_get(schema, keyword);
    if (!value) return true;
    double number = json_number_value(value);
    if (!json_is_number(value)) return schema_fail(c, QAIO_ERR_ARGUMENT, "%s must be a number", keyword);
    if (*has) return schema_fail(c, QAIO_ERR_UNSUPPORTED, "%s beside another bound of this side is not supported", keyword);
    double limit = is_integer ? LARGEST_INTEGER_BOUND : LARGEST_BOUND;
    if (!(fabs(number) <= limit)) return schema_fail(c, QAIO_ERR_LIMIT, "%s is beyond %g", keyword, limit);
    double whole = is_upper ? floor(number) : ceil(number);
    bool is_whole = json_is_integer(value) || (whole >= number && whole <= number);
    if (!is_integer && !is_whole)
        return schema_fail(c, QAIO_ERR_UNSUPPORTED, "%s of a number that is no integer must be a whole number", keyword);
    *has = true;
    *out = json_is_integer(value) ? (int64_t)json_integer_value(value) : (int64_t)whole;
    *is_exclusive = means_exclusive && is_whole;
    return true;
}

static bool parse_bounds(compiler *c, const json_t *schema, bool is_integer, bounds *b) {
    *b = (bounds){0};
    return parse_bound(c, schema, "minimum", is_integer, false, &b->has_least, &b->least, &b->without_least, false) &&
           parse_bound(c, schema, "exclusiveMinimum", is_integer, false, &b->has_least, &b->least, &b->without_least, true) &&
           parse_bound(c, schema, "maximum", is_integer, true, &b->has_most, &b->most, &b->without_most, false) &&
           parse_bound(c, schema, "exclusiveMaximum", is_integer, true, &b->has_most, &b->most, &b->without_most, true);
}

/* ---- multiples ---- */

/* Multiples of m from m on, of at most JSON_MAX_DIGITS digits.  From the right to the left: what may still follow digits that leave a
 * remainder, by remainder; one more digit d makes it (10 r + d) mod m. */
static expr positive_multiples(grammar *g, uint32_t m) {
    expr after[SCHEMA_MAX_DIVISOR] = {EXPR_END}, here[SCHEMA_MAX_DIVISOR] = {EXPR_NOTHING};
    for (size_t n = 1; n <= JSON_MAX_DIGITS; n++) {
        bool is_first = n == JSON_MAX_DIGITS; /* there is no zero in front, and something has to come */
        for (uint32_t r = 0; r < (is_first ? 1 : m); r++) {
            expr by_digit[10] = {EXPR_NOTHING};
            for (uint32_t d = is_first; d <= 9; d++)
                by_digit[d] = grammar_then(g, grammar_range(g, (uint8_t)('0' + d), (uint8_t)('0' + d)), after[(10 * r + d) % m]);
            expr all = grammar_either(g, by_digit, 10);
            here[r] = r == 0 && !is_first ? grammar_optional(g, all) : all;
        }
        memcpy(after, here, sizeof after);
    }
    return after[0];
}

/* Those between the bounds, one by one. */
static bool listed_multiples(compiler *c, int64_t least, int64_t most, int64_t m, expr *out) {
    int64_t first = least / m + (least > 0 && least % m != 0), last = most / m - (most < 0 && most % m != 0);
    if (first > last) return schema_fail(c, QAIO_ERR_ARGUMENT, "no multiple of multipleOf lies between the bounds");
    if (last - first >= SCHEMA_MAX_CHOICES)
        return schema_fail(c, QAIO_ERR_UNSUPPORTED, "multipleOf between bounds that leave more than %d numbers is not supported",
                           SCHEMA_MAX_CHOICES);
    *out = EXPR_NOTHING;
    for (int64_t k = first; k <= last; k++) {
        char text[24];
        snprintf(text, sizeof text, "%" PRId64, k * m);
        *out = grammar_or(c->g, *out, grammar_text(c->g, text, strlen(text)));
    }
    return true;
}

/* Multiples of a whole number are integers, also where numbers are asked for. */
static bool compile_multiples(compiler *c, const json_t *schema, const bounds *b, expr *out) {
    const json_t *value = json_object_get(schema, "multipleOf");
    if (!json_is_number(value) || json_number_value(value) <= 0)
        return schema_fail(c, QAIO_ERR_ARGUMENT, "multipleOf must be a number above 0");
    if (!json_is_integer(value) || json_integer_value(value) > SCHEMA_MAX_DIVISOR)
        return schema_fail(c, QAIO_ERR_UNSUPPORTED, "multipleOf must be a whole number, at most %d", SCHEMA_MAX_DIVISOR);
    int64_t m = json_integer_value(value);
    if (b->has_least && b->has_most) return listed_multiples(c, b->least + b->without_least, b->most - b->without_most, m, out);
    if ((b->has_least && b->least != 0) || (b->has_most && b->most != 0))
        return schema_fail(c, QAIO_ERR_UNSUPPORTED, "multipleOf beside one bound that is not 0 is not supported");
    expr positive = positive_multiples(c->g, (uint32_t)m), parts[3] = {EXPR_NOTHING};
    if (!b->without_least && !b->without_most) parts[0] = grammar_range(c->g, '0', '0');
    if (!b->has_most) parts[1] = positive;
    if (!b->has_least) parts[2] = grammar_then(c->g, grammar_range(c->g, '-', '-'), positive);
    return *out = grammar_either(c->g, parts, 3), true;
}

bool schema_number(compiler *c, const json_t *schema, bool is_integer, expr *out) {
    bounds b;
    bool is_multiple = json_object_get(schema, "multipleOf") != NULL;
    if (!parse_bounds(c, schema, is_integer || is_multiple, &b)) return false;
    if (is_multiple) return compile_multiples(c, schema, &b, out);
    if (!b.has_least && !b.has_most) return *out = is_integer ? c->json.integer : c->json.number, true;
    magnitudes above = {
        .is_empty = b.has_most && b.most < 0, .has_most = b.has_most, .most = (uint64_t)b.most, .without_most = b.without_most};
    if (b.has_least && b.least >= 0) above.least = (uint64_t)b.least, above.without_least = b.without_least;
    magnitudes below = {
        .is_empty = b.has_least && b.least >= 0, .has_most = b.has_least, .most = (uint64_t)-b.least, .without_most = b.without_least};
    if (b.has_most && b.most <= 0) below.least = (uint64_t)-b.most, below.without_least = b.without_most;
    if (above.has_most && above.least > above.most) above.is_empty = true;
    if (below.has_most && below.least > below.most) below.is_empty = true;
    grammar *g = c->g;
    *out = grammar_or(g, numbers_between(g, &above, is_integer),
                      grammar_then(g, grammar_range(g, '-', '-'), numbers_between(g, &below, is_integer)));
    if (*out == EXPR_NOTHING && !grammar_check(g, NULL)) return schema_fail(c, QAIO_ERR_ARGUMENT, "no number lies between the bounds");
    return true;
}
