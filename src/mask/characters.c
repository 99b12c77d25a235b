#include "mask/characters.h"

#include <string.h>

#include "base/str.h"

static bool is_all(const uint8_t *bytes, size_t n, uint8_t value) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != value) return false;
    return true;
}

/* Of one to four bytes, or as many as a number has digits: a tail is split at most twice. */
expr grammar_between(grammar *g, const uint8_t *first, const uint8_t *last, size_t n, uint8_t least, uint8_t most) {
    enum { MAX_BYTES = 32 };
    if (n == 0) return EXPR_END;
    if (n > MAX_BYTES) return EXPR_NOTHING;
    if (first[0] == last[0])
        return grammar_then(g, grammar_range(g, first[0], last[0]), grammar_between(g, first + 1, last + 1, n - 1, least, most));
    uint8_t lowest[MAX_BYTES], highest[MAX_BYTES];
    memset(lowest, least, sizeof lowest);
    memset(highest, most, sizeof highest);
    unsigned begin = first[0], end = last[0];
    expr parts[3] = {EXPR_NOTHING, EXPR_NOTHING, EXPR_NOTHING};
    if (!is_all(first + 1, n - 1, least)) {
        parts[0] = grammar_then(g, grammar_range(g, first[0], first[0]), grammar_between(g, first + 1, highest, n - 1, least, most));
        begin++;
    }
    if (!is_all(last + 1, n - 1, most)) {
        parts[2] = grammar_then(g, grammar_range(g, last[0], last[0]), grammar_between(g, lowest, last + 1, n - 1, least, most));
        end--;
    }
    if (begin <= end)
        parts[1] = grammar_then(g, grammar_range(g, (uint8_t)begin, (uint8_t)end),
                                grammar_repeat(g, grammar_range(g, least, most), (uint32_t)n - 1, (uint32_t)n - 1));
    return grammar_either(g, parts, 3);
}

/* Code points whose UTF-8 has the same length. */
static const code_range lengths[] = {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, LAST_CODE_POINT}};

expr grammar_characters(grammar *g, const code_range *ranges, size_t n) {
    expr all = EXPR_NOTHING;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            uint32_t first = ranges[i].first > lengths[k].first ? ranges[i].first : lengths[k].first;
            uint32_t last = ranges[i].last < lengths[k].last ? ranges[i].last : lengths[k].last;
            char from[4], to[4];
            if (first > last) continue;
            size_t length = utf8_encode(first, from);
            utf8_encode(last, to);
            all = grammar_or(g, all, grammar_between(g, (const uint8_t *)from, (const uint8_t *)to, length, 0x80, 0xBF));
        }
    return all;
}
