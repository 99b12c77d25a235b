/* Classes and NFC over utf8proc, kept equal to the reference tokenizer whatever version of Unicode the installed library has. */
#include "tokenizer/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"

/* Letters, numbers and marks of Unicode 16, which the reference's regular expressions know, and utf8proc 2.8 (Unicode 15) does not. */
static const struct {
    uint32_t first, last;
    char_class class;
} newer[] = {
    {0x897, 0x897, CHAR_MARK},       {0x1C89, 0x1C8A, CHAR_LETTER},   {0xA7CB, 0xA7CD, CHAR_LETTER},   {0xA7DA, 0xA7DC, CHAR_LETTER},
    {0x105C0, 0x105F3, CHAR_LETTER}, {0x10D40, 0x10D49, CHAR_NUMBER}, {0x10D4A, 0x10D65, CHAR_LETTER}, {0x10D69, 0x10D6D, CHAR_MARK},
    {0x10D6F, 0x10D85, CHAR_LETTER}, {0x10EC2, 0x10EC4, CHAR_LETTER}, {0x10EFC, 0x10EFC, CHAR_MARK},   {0x11380, 0x11389, CHAR_LETTER},
    {0x1138B, 0x1138B, CHAR_LETTER}, {0x1138E, 0x1138E, CHAR_LETTER}, {0x11390, 0x113B5, CHAR_LETTER}, {0x113B7, 0x113B7, CHAR_LETTER},
    {0x113B8, 0x113C0, CHAR_MARK},   {0x113C2, 0x113C2, CHAR_MARK},   {0x113C5, 0x113C5, CHAR_MARK},   {0x113C7, 0x113CA, CHAR_MARK},
    {0x113CC, 0x113D0, CHAR_MARK},   {0x113D1, 0x113D1, CHAR_LETTER}, {0x113D2, 0x113D2, CHAR_MARK},   {0x113D3, 0x113D3, CHAR_LETTER},
    {0x113E1, 0x113E2, CHAR_MARK},   {0x116D0, 0x116E3, CHAR_NUMBER}, {0x11BC0, 0x11BE0, CHAR_LETTER}, {0x11BF0, 0x11BF9, CHAR_NUMBER},
    {0x11F5A, 0x11F5A, CHAR_MARK},   {0x13460, 0x143FA, CHAR_LETTER}, {0x16100, 0x1611D, CHAR_LETTER}, {0x1611E, 0x1612F, CHAR_MARK},
    {0x16130, 0x16139, CHAR_NUMBER}, {0x16D40, 0x16D6C, CHAR_LETTER}, {0x16D70, 0x16D79, CHAR_NUMBER}, {0x18CFF, 0x18CFF, CHAR_LETTER},
    {0x1CCF0, 0x1CCF9, CHAR_NUMBER}, {0x1E5D0, 0x1E5ED, CHAR_LETTER}, {0x1E5EE, 0x1E5EF, CHAR_MARK},   {0x1E5F0, 0x1E5F0, CHAR_LETTER},
    {0x1E5F1, 0x1E5FA, CHAR_NUMBER}, {0x2EBF0, 0x2EE5D, CHAR_LETTER},
};

static char_class newer_class(uint32_t c) {
    size_t low = 0, high = sizeof newer / sizeof *newer;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c > newer[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < sizeof newer / sizeof *newer && c >= newer[low].first ? newer[low].class : CHAR_OTHER;
}

char_class unicode_class(uint32_t c) {
    if (c < 0x80) {
        if ((c | 0x20) - 'a' < 26) return CHAR_LETTER;
        if (c - '0' < 10) return CHAR_NUMBER;
        return c == ' ' || c - '\t' < 5 ? CHAR_SPACE : CHAR_OTHER;
    }
    if (c - 0x4E00 <= 0x9FFF - 0x4E00) return CHAR_LETTER;
    if (c == 0x85) return CHAR_SPACE;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return CHAR_NUMBER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return CHAR_MARK;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return CHAR_SPACE;
    case UTF8PROC_CATEGORY_CN:
        return newer_class(c);
    default:
        return CHAR_OTHER;
    }
}

size_t utf8_ill_formed_part(const char *p, size_t n, bool *is_unfinished) {
    const unsigned char *s = (const unsigned char *)p;
    *is_unfinished = false;
    if (s[0] < 0xC2 || s[0] > 0xF4) return 1;
    size_t whole = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    unsigned char low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    size_t i = 1;
    while (i < n && i < whole && s[i] >= low && s[i] <= high) {
        low = 0x80;
        high = 0xBF;
        i++;
    }
    *is_unfinished = i == n && i < whole;
    return i;
}

/* Characters that are in NFC alone, have combining class 0 and never join the character before them: text of these needs no work, and a
 * stretch that does need work ends before the next of them.
 * U+11A7 must be among them: utf8proc 2.8 takes it for a final consonant of Hangul and swallows it. */
static bool is_settled(uint32_t c) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x370, 0x373},   {0x391, 0x3A1},   {0x3A3, 0x3C9},   {0x400, 0x482},   {0x48A, 0x52F},     {0x11A7, 0x11A7},   {0x2002, 0x20CF},
        {0x2190, 0x2328}, {0x2460, 0x2ADB}, {0x3000, 0x3029}, {0x3041, 0x3096}, {0x309B, 0x30FF},   {0x3105, 0x312F},   {0xAC00, 0xD7A3},
        {0xFE00, 0xFE0F}, {0xFE30, 0xFE6F}, {0xFF01, 0xFFEF}, {0xFFFD, 0xFFFD}, {0x1F300, 0x1FAFF}, {0x20000, 0x2A6DF},
    };
    if (c < 0x300) return true;
    if (c - 0x3400 <= 0x9FFF - 0x3400) return true;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && c >= ranges[i].first; i++)
        if (c <= ranges[i].last) return true;
    return false;
}

static void sort_by_class(utf8proc_int32_t *run, size_t n, utf8proc_int32_t *scratch) {
    size_t begin[257] = {0};
    for (size_t i = 0; i < n; i++) begin[utf8proc_get_property(run[i])->combining_class + 1]++;
    for (size_t i = 1; i < 257; i++) begin[i] += begin[i - 1];
    for (size_t i = 0; i < n; i++) scratch[begin[utf8proc_get_property(run[i])->combining_class]++] = run[i];
    memcpy(run, scratch, n * sizeof *run);
}

/* Canonical order: marks by combining class, stably.  (utf8proc's own sorts by insertion, which is quadratic on hostile text.) */
static void order_marks(utf8proc_int32_t *text, size_t n, utf8proc_int32_t *scratch) {
    for (size_t i = 0; i < n;) {
        size_t end = i;
        bool is_sorted = true;
        for (int last = 0; end < n; end++) {
            int class = utf8proc_get_property(text[end])->combining_class;
            if (!class) break;
            if (class < last) is_sorted = false;
            last = class;
        }
        if (!is_sorted) sort_by_class(text + i, end - i, scratch);
        i = end + 1;
    }
}

/* One well-formed stretch. */
static qaio_status normalize_stretch(const char *text, size_t n, str *out, qaio_error *err) {
    /* A character of two bytes becomes at most three code points, one of three bytes at most four. */
    size_t capacity, filled = 0;
    utf8proc_int32_t *points = size_mul(n, 2, &capacity) ? mem_realloc(NULL, capacity, 2 * sizeof *points) : NULL;
    if (!points) return error_memory(err);
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        i += utf8_decode(text + i, n - i, &c);
        utf8proc_ssize_t got = utf8proc_decompose_char((utf8proc_int32_t)c, points + filled, (utf8proc_ssize_t)(capacity - filled),
                                                       UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, NULL);
        if (got > 0 && (size_t)got <= capacity - filled) filled += (size_t)got;
    }
    order_marks(points, filled, points + capacity);
    utf8proc_ssize_t composed = utf8proc_normalize_utf32(points, (utf8proc_ssize_t)filled, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        char bytes[4];
        str_append(out, bytes, utf8_encode((uint32_t)points[i], bytes));
    }
    mem_free(points);
    return QAIO_OK;
}

/* Reads one character, U+FFFD for an ill-formed part; says how many bytes it took. */
static size_t read_character(const char *p, size_t n, uint32_t *c, bool *is_ill_formed) {
    size_t len = utf8_decode(p, n, c);
    *is_ill_formed = len == 0;
    if (len) return len;
    bool is_unfinished;
    *c = REPLACEMENT_CHARACTER;
    return utf8_ill_formed_part(p, n, &is_unfinished);
}

qaio_status unicode_normalize(const char *text, size_t n, str *out, const char **result, size_t *n_result, qaio_error *err) {
    str_clear(out);
    size_t copied = 0, settled = 0; /* text[0, copied) is in out; the last settled character begins at `settled` */
    for (size_t i = 0; i < n;) {
        uint32_t c = (unsigned char)text[i];
        bool is_ill_formed = false;
        size_t len = c < 0x80 ? 1 : read_character(text + i, n - i, &c, &is_ill_formed);
        if (is_ill_formed) {
            str_append(out, text + copied, i - copied);
            str_append(out, "\xEF\xBF\xBD", 3);
            copied = settled = i + len;
        } else if (is_settled(c)) {
            settled = i;
        } else {
            size_t end = i;
            do {
                end += len;
                len = end < n ? read_character(text + end, n - end, &c, &is_ill_formed) : 0;
            } while (len && !is_ill_formed && !is_settled(c));
            str_append(out, text + copied, settled - copied);
            qaio_status status = normalize_stretch(text + settled, end - settled, out, err);
            if (status) return status;
            copied = settled = i = end;
            continue;
        }
        i += len;
    }
    if (copied) str_append(out, text + copied, n - copied);
    if (out->failed) return error_memory(err);
    *result = copied ? out->data : text;
    *n_result = copied ? out->len : n;
    return QAIO_OK;
}
