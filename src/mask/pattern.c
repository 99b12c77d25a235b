#include "mask/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "mask/json.h"

typedef struct class {
    code_range ranges[PATTERN_MAX_RANGES];
    size_t n;
} class;

/* A part of a pattern and how many characters its strings have; most: GRAMMAR_ANY, no limit. */
typedef struct piece {
    expr e;
    uint32_t least, most;
    expr one; /* e is this, of one character, repeated least to most times; EXPR_NOTHING: it is no such repetition */
} piece;

typedef struct parser {
    grammar *g;
    const char *text, *at;
    piece terms[PATTERN_MAX_BYTES + 2]; /* of the sequences being read, a stack */
    size_t n_terms;
    size_t depth;
    uint32_t least, most; /* characters of the whole */
    qaio_error *err;
    bool has_failed;
} parser;

static expr fail(parser *p, qaio_status status, const char *what) {
    if (!p->has_failed) error_set(p->err, status, "%s (at byte %zu)", what, (size_t)(p->at - p->text));
    p->has_failed = true;
    return EXPR_NOTHING;
}

static const piece nothing = {EXPR_NOTHING, 0, 0, EXPR_NOTHING}, empty = {EXPR_END, 0, 0, EXPR_NOTHING};

static piece fail_piece(parser *p, qaio_status status, const char *what) {
    fail(p, status, what);
    return nothing;
}

static bool take(parser *p, char c) {
    if (*p->at != c) return false;
    p->at++;
    return true;
}

/* ---- classes ---- */

static const code_range digits[] = {{'0', '9'}}, words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const code_range spaces[] = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                                    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const code_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
static const code_range everything[] = {{0, LAST_CODE_POINT}};

static void add(parser *p, class *c, uint32_t first, uint32_t last) {
    if (c->n == PATTERN_MAX_RANGES)
        fail(p, QAIO_ERR_LIMIT, "a class of too many parts");
    else if (first <= last)
        c->ranges[c->n++] = (code_range){first, last};
}

static int compare_ranges(const void *a, const void *b) {
    uint32_t x = ((const code_range *)a)->first, y = ((const code_range *)b)->first;
    return (x > y) - (x < y);
}

/* What is not among the ranges; sorts them. */
static void add_others(parser *p, class *c, code_range *ranges, size_t n) {
    uint32_t next = 0;
    qsort(ranges, n, sizeof *ranges, compare_ranges);
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].first > next) add(p, c, next, ranges[i].first - 1);
        if (ranges[i].last >= next) next = ranges[i].last + 1;
    }
    add(p, c, next, LAST_CODE_POINT);
}

static void add_named(parser *p, class *c, const code_range *ranges, size_t n, bool is_negated) {
    code_range copy[sizeof spaces / sizeof *spaces];
    memcpy(copy, ranges, n * sizeof *ranges);
    if (is_negated) {
        add_others(p, c, copy, n);
        return;
    }
    for (size_t i = 0; i < n; i++) add(p, c, ranges[i].first, ranges[i].last);
}

/* ---- characters ---- */

static uint32_t hex(parser *p, size_t n) {
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++) {
        const char *all = "0123456789abcdef0123456789ABCDEF", *digit = *p->at ? strchr(all, *p->at) : NULL;
        if (!digit) return fail(p, QAIO_ERR_ARGUMENT, "\\x needs two hexadecimal digits, \\u four");
        value = value * 16 + (uint32_t)(digit - all) % 16;
        p->at++;
    }
    return value;
}

/* Behind a backslash: a character, or a class (*is_class) that is added to c. */
static uint32_t escape(parser *p, class *c, bool *is_class) {
    char e = *p->at;
    *is_class = true;
    if (e) p->at++;
    switch (e) {
    case 'd':
    case 'D':
        add_named(p, c, digits, 1, e == 'D');
        return 0;
    case 'w':
    case 'W':
        add_named(p, c, words, 4, e == 'W');
        return 0;
    case 's':
    case 'S':
        add_named(p, c, spaces, sizeof spaces / sizeof *spaces, e == 'S');
        return 0;
    default:
        *is_class = false;
    }
    if (e == 'x' || e == 'u') return hex(p, e == 'x' ? 2 : 4);
    const char *const controls = "ntrfv", *const values = "\n\t\r\f\v", *control = e ? strchr(controls, e) : NULL;
    if (control) return (uint8_t)values[control - controls];
    if (e && strchr("^$\\.*+?()[]{}|/-", e)) return (uint8_t)e;
    p->at--;
    return fail(p, QAIO_ERR_UNSUPPORTED, "this escape is not supported");
}

static uint32_t character(parser *p) {
    uint32_t c = 0;
    size_t n = utf8_decode(p->at, strlen(p->at), &c);
    if (!n) return fail(p, QAIO_ERR_ARGUMENT, "the pattern is not UTF-8");
    p->at += n;
    return c;
}

/* One character of a class, or the end of a range. */
static uint32_t class_character(parser *p, class *c, bool *is_class) {
    *is_class = false;
    return take(p, '\\') ? escape(p, c, is_class) : character(p);
}

static expr bracket(parser *p) {
    class inside = {.n = 0}, others = {.n = 0};
    bool is_negated = take(p, '^');
    while (*p->at && *p->at != ']' && !p->has_failed) {
        bool is_class, is_end_class = false;
        uint32_t first = class_character(p, &inside, &is_class), last = first;
        bool is_range = p->at[0] == '-' && p->at[1] && p->at[1] != ']';
        if (is_range) {
            p->at++;
            last = class_character(p, &inside, &is_end_class);
        }
        if (is_range && (is_class || is_end_class || last < first)) return fail(p, QAIO_ERR_ARGUMENT, "this is no range of characters");
        if (!is_class) add(p, &inside, first, last);
    }
    if (!take(p, ']')) return fail(p, QAIO_ERR_ARGUMENT, "a class has no end");
    if (is_negated) add_others(p, &others, inside.ranges, inside.n);
    const class *c = is_negated ? &others : &inside;
    return json_characters(p->g, c->ranges, c->n);
}

/* ---- structure ---- */

static uint32_t add_counts(uint32_t a, uint32_t b) { return a >= GRAMMAR_ANY - b ? GRAMMAR_ANY : a + b; }

static uint32_t times(uint32_t a, uint32_t b) {
    if (a == 0 || b == 0) return 0;
    return a >= GRAMMAR_ANY / b ? GRAMMAR_ANY : a * b;
}

static piece repeat(parser *p, piece one, uint32_t least, uint32_t most) {
    bool is_character = one.least == 1 && one.most == 1;
    return (piece){grammar_repeat(p->g, one.e, least, most), times(one.least, least), times(one.most, most),
                   is_character ? one.e : EXPR_NOTHING};
}

static piece alternatives(parser *p);

static piece group(parser *p) {
    if (p->at[0] == '?') {
        if (p->at[1] != ':') return fail_piece(p, QAIO_ERR_UNSUPPORTED, "of groups only (..) and (?:..) are supported");
        p->at += 2;
    }
    if (++p->depth > PATTERN_MAX_DEPTH) return fail_piece(p, QAIO_ERR_LIMIT, "groups are nested too deep");
    piece inside = alternatives(p);
    p->depth--;
    if (!take(p, ')')) return fail_piece(p, QAIO_ERR_ARGUMENT, "a group has no end");
    return inside;
}

/* One character. */
static expr single(parser *p) {
    class c = {.n = 0};
    bool is_class = false;
    if (take(p, '[')) return bracket(p);
    if (take(p, '.')) {
        add_named(p, &c, line_ends, 3, true);
    } else if (take(p, '\\')) {
        uint32_t one = escape(p, &c, &is_class);
        if (!is_class) add(p, &c, one, one);
    } else if (strchr("*+?{", *p->at)) {
        return fail(p, QAIO_ERR_ARGUMENT, "there is nothing to repeat");
    } else if (strchr("^$", *p->at)) {
        return fail(p, QAIO_ERR_UNSUPPORTED, "^ and $ are supported only at the ends of the whole");
    } else {
        uint32_t one = character(p);
        add(p, &c, one, one);
    }
    return json_characters(p->g, c.ranges, c.n);
}

static piece atom(parser *p) { return take(p, '(') ? group(p) : (piece){single(p), 1, 1, EXPR_NOTHING}; }

static uint32_t count(parser *p) {
    uint32_t n = 0;
    if (*p->at < '0' || *p->at > '9') return fail(p, QAIO_ERR_ARGUMENT, "a number is expected");
    for (; *p->at >= '0' && *p->at <= '9' && n <= PATTERN_MAX_COUNT; p->at++) n = n * 10 + (uint32_t)(*p->at - '0');
    return n <= PATTERN_MAX_COUNT ? n : fail(p, QAIO_ERR_LIMIT, "a count is too great");
}

static piece quantified(parser *p) {
    piece one = atom(p);
    uint32_t least = 1, most = 1;
    if (take(p, '*')) {
        least = 0, most = GRAMMAR_ANY;
    } else if (take(p, '+')) {
        most = GRAMMAR_ANY;
    } else if (take(p, '?')) {
        least = 0;
    } else if (take(p, '{')) {
        least = most = count(p);
        if (take(p, ',')) most = *p->at == '}' ? GRAMMAR_ANY : count(p);
        if (!take(p, '}') || most < least) return fail_piece(p, QAIO_ERR_ARGUMENT, "this is no count: {n}, {n,}, {n,m}");
    } else {
        return one;
    }
    take(p, '?'); /* a lazy one finds the same texts */
    return repeat(p, one, least, most);
}

/* The terms from `begin` on, one after the other. */
static piece join(parser *p, size_t begin) {
    piece all = empty;
    for (size_t i = p->n_terms; i-- > begin;) {
        all.e = grammar_then(p->g, p->terms[i].e, all.e);
        all.least = add_counts(all.least, p->terms[i].least);
        all.most = add_counts(all.most, p->terms[i].most);
    }
    return all;
}

/* Makes the terms' strings as long as asked for, where one term alone decides the length: a character that is repeated. */
static bool fit(parser *p, size_t begin) {
    piece *free_term = NULL;
    uint32_t fixed = 0;
    for (size_t i = begin; i < p->n_terms; i++) {
        piece *t = &p->terms[i];
        if (t->least == t->most) {
            fixed = add_counts(fixed, t->least);
        } else if (free_term || t->one == EXPR_NOTHING) {
            return false;
        } else {
            free_term = t;
        }
    }
    uint32_t least = p->least > fixed ? p->least - fixed : 0, most = p->most == GRAMMAR_ANY ? GRAMMAR_ANY : p->most - fixed;
    if (fixed > p->most || (!free_term && least > 0)) { /* none is as long as that */
        p->terms[p->n_terms++] = nothing;
        return true;
    }
    if (!free_term) return true;
    if (free_term->least > least) least = free_term->least;
    if (free_term->most < most) most = free_term->most;
    *free_term = least > most ? nothing : (piece){grammar_repeat(p->g, free_term->one, least, most), least, most, free_term->one};
    return true;
}

static bool is_at_end(const parser *p) { return *p->at == '\0' || *p->at == '|' || *p->at == ')'; }

static piece sequence(parser *p) {
    size_t begin = p->n_terms;
    bool is_whole = p->depth == 0; /* may have anchors, and is as long as asked for */
    piece character = {json_characters(p->g, everything, 1), 1, 1, EXPR_NOTHING}, anything = repeat(p, character, 0, GRAMMAR_ANY);
    bool has_end = !is_whole;
    if (is_whole && !take(p, '^')) p->terms[p->n_terms++] = anything;
    while (!is_at_end(p) && !p->has_failed) {
        if (is_whole && p->at[0] == '$' && (p->at[1] == '\0' || p->at[1] == '|')) {
            p->at++;
            has_end = true;
            break;
        }
        piece one = quantified(p); /* uses the stack */
        p->terms[p->n_terms++] = one;
    }
    if (!has_end) p->terms[p->n_terms++] = anything;
    piece all = join(p, begin);
    if (is_whole && !p->has_failed && (all.least < p->least || all.most > p->most)) {
        if (fit(p, begin))
            all = join(p, begin);
        else
            fail(p, QAIO_ERR_UNSUPPORTED, "this and minLength/maxLength together: more than one part can be longer or shorter");
    }
    p->n_terms = begin;
    return all;
}

static piece alternatives(parser *p) {
    piece all = sequence(p);
    while (!p->has_failed && take(p, '|')) {
        piece next = sequence(p);
        all = (piece){grammar_or(p->g, all.e, next.e), all.least < next.least ? all.least : next.least,
                      all.most > next.most ? all.most : next.most, EXPR_NOTHING};
    }
    all.one = EXPR_NOTHING;
    return all;
}

qaio_status pattern_compile(grammar *g, const char *pattern, uint32_t least, uint32_t most, expr *out, qaio_error *err) {
    qaio_error local = {0};
    if (strlen(pattern) >= PATTERN_MAX_BYTES)
        return error_set(err, QAIO_ERR_LIMIT, "it has %zu bytes, at most %d", strlen(pattern), PATTERN_MAX_BYTES - 1);
    parser p = {.g = g, .text = pattern, .at = pattern, .least = least, .most = most, .err = &local};
    piece all = alternatives(&p);
    if (!p.has_failed && *p.at) fail(&p, QAIO_ERR_ARGUMENT, "a ) has no beginning");
    if (p.has_failed) {
        if (err) *err = local;
        return local.status;
    }
    if (grammar_check(g, NULL)) return grammar_check(g, err);
    if (all.e == EXPR_NOTHING)
        return error_set(err, QAIO_ERR_ARGUMENT, "no string matches it%s", least || most != GRAMMAR_ANY ? " and is as long as that" : "");
    *out = all.e;
    return QAIO_OK;
}
