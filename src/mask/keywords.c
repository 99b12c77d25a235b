/* The items of a text are the beginnings of its suffixes.  With the suffixes sorted, those that begin with what has been generated of an
 * item stand together: a state is a range of them, the bytes generated so far, and the items before.
 *
 *     text      今 天 | 散 步        (| a break: no item goes across it)
 *     suffixes  今天   天   散步   步      sorted by bytes
 *     state     [first, last)  bytes  items before */
#include "mask/keywords.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "mask/keywords_internal.h"

#define BREAK '\0'

/* The items before the one at hand, a list from the last to the first; list 0 is empty. */
typedef struct item_list {
    uint32_t before;
    uint32_t position, bytes; /* the last item, in the text */
    uint32_t n_items;
} item_list;

struct keywords {
    char *text; /* breaks are BREAK, one at the end */
    uint32_t *suffixes;
    uint32_t n_suffixes;
    uint32_t max_items, max_characters;
    uint32_t separator, n_separator; /* in the grammar's texts */
    item_list *lists;
    uint32_t n_lists, lists_capacity;
};

void keywords_free(keywords *k) {
    if (!k) return;
    mem_free(k->text);
    mem_free(k->suffixes);
    mem_free(k->lists);
    mem_free(k);
}

/* ---- the text ---- */

static bool is_one_of(uint32_t c, const char *characters) {
    uint32_t other = 0;
    for (size_t n = strlen(characters), i = 0; i < n;) {
        i += utf8_decode(characters + i, n - i, &other);
        if (other == c) return true;
    }
    return false;
}

/* Bytes at text[at] that no item holds; 0 inside items. */
static size_t break_at(const char *text, size_t n, size_t at, const keywords_params *p) {
    size_t n_separator = strlen(p->separator);
    if (n - at >= n_separator && memcmp(text + at, p->separator, n_separator) == 0) return n_separator;
    uint32_t c = 0;
    size_t len = utf8_decode(text + at, n - at, &c);
    if (!len) return 1;
    if (c < 0x20 || (c >= 0x7F && c < 0xA0) || is_one_of(c, ",;!?()[]{}\"<>、。，！？；：…—“”‘’（）《》〈〉【】「」『』～\u3000"))
        return len;
    bool is_sentence_end = c == '.' && (at + 1 == n || text[at + 1] == ' ' || text[at + 1] == '\n');
    return is_sentence_end ? len : 0;
}

static void mark_breaks(char *text, size_t n, const keywords_params *p) {
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c;
        if ((len = break_at(text, n, i, p)) > 0)
            memset(text + i, BREAK, len);
        else
            len = utf8_decode(text + i, n - i, &c);
    }
}

static bool is_inside_character(char c) { return ((uint8_t)c & 0xC0) == 0x80; }

typedef struct order {
    const char *text;
    size_t bytes; /* that count */
} order;

static int compare_suffixes(const void *a, const void *b, void *context) {
    const order *o = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int by_text = strncmp(o->text + x, o->text + y, o->bytes); /* as unsigned bytes, up to a break */
    return by_text ? by_text : (x > y) - (x < y);
}

static void sort_suffixes(keywords *k, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char c = k->text[i];
        if (c != BREAK && c != ' ' && !is_inside_character(c)) k->suffixes[k->n_suffixes++] = (uint32_t)i;
    }
    order o = {k->text, (size_t)k->max_characters * 4};
    qsort_r(k->suffixes, k->n_suffixes, sizeof *k->suffixes, compare_suffixes, &o);
}

/* ---- states ---- */

/* The suffixes of [*first, *last), alike in their first `at` bytes, whose next byte is `byte`. */
static void narrow(const keywords *k, uint32_t *first, uint32_t *last, uint32_t at, uint8_t byte) {
    for (int bound = 0; bound < 2; bound++) { /* the first not below the byte, the first above it */
        uint32_t low = *first, high = *last;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            uint8_t there = (uint8_t)k->text[k->suffixes[middle] + at];
            if (there < byte || (bound && there == byte))
                low = middle + 1;
            else
                high = middle;
        }
        *(bound ? last : first) = low;
    }
}

/* By one of the items of the list, or a part of one. */
static bool is_said(const keywords *k, uint32_t list, uint32_t position, uint32_t bytes) {
    for (; list; list = k->lists[list].before)
        if (memmem(k->text + k->lists[list].position, k->lists[list].bytes, k->text + position, bytes)) return true;
    return false;
}

/* Whether the first `bytes` bytes of the suffix are an item. */
static bool is_item(const keywords *k, uint32_t suffix, uint32_t bytes, uint32_t list) {
    const char *item = k->text + k->suffixes[suffix];
    return bytes && item[bytes - 1] != ' ' && !is_inside_character(item[bytes]) && !is_said(k, list, k->suffixes[suffix], bytes);
}

bool keywords_accepts(const grammar *g, const node *n) { return is_item(g->keywords, n->a, n->c, n->d); }

static uint32_t count_characters(const char *text, uint32_t bytes) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < bytes; i++) n += !is_inside_character(text[i]);
    return n;
}

/* Whether some suffix of the range goes on to an item.  Only what the list says already and pieces of characters do not end the search at
 * once, so it is short. */
static bool is_alive(const keywords *k, uint32_t first, uint32_t last, uint32_t bytes, uint32_t list) {
    if (first == last || count_characters(k->text + k->suffixes[first], bytes) > k->max_characters) return false;
    if (is_item(k, first, bytes, list)) return true;
    while (first < last) {
        uint8_t byte = (uint8_t)k->text[k->suffixes[first] + bytes];
        uint32_t begin = first, end = last;
        narrow(k, &begin, &end, bytes, byte);
        if (byte != BREAK && is_alive(k, begin, end, bytes + 1, list)) return true;
        first = end;
    }
    return false;
}

static expr state(grammar *g, uint32_t first, uint32_t last, uint32_t bytes, uint32_t list) {
    if (!is_alive(g->keywords, first, last, bytes, list)) return EXPR_NOTHING;
    return grammar_node(g, NODE_KEYWORDS, first, last, bytes, list);
}

/* The list with one more item; 0 after a failure. */
static uint32_t longer_list(grammar *g, uint32_t before, uint32_t position, uint32_t bytes) {
    keywords *k = g->keywords;
    for (uint32_t i = 1; i < k->n_lists; i++)
        if (k->lists[i].before == before && k->lists[i].position == position && k->lists[i].bytes == bytes) return i;
    if (k->n_lists == k->lists_capacity) {
        uint32_t capacity = k->lists_capacity ? k->lists_capacity * 2 : KEYWORDS_MAX_ITEMS;
        item_list *lists = mem_realloc(k->lists, capacity, sizeof *lists);
        if (!lists) return grammar_fail(g, QAIO_ERR_MEMORY);
        k->lists = lists;
        k->lists_capacity = capacity;
        if (!k->n_lists) lists[k->n_lists++] = (item_list){0};
    }
    k->lists[k->n_lists] = (item_list){before, position, bytes, before ? k->lists[before].n_items + 1 : 1};
    return k->n_lists++;
}

/* The rest of the separator, then an item that says something new. */
static expr next_item(grammar *g, const node *n) {
    keywords *k = g->keywords;
    uint32_t n_items = n->d ? k->lists[n->d].n_items : 0;
    if (n_items + 1 >= k->max_items) return EXPR_NOTHING;
    uint32_t list = longer_list(g, n->d, k->suffixes[n->a], n->c);
    if (!list) return EXPR_NOTHING;
    expr rest = k->n_separator == 1 ? EXPR_END : grammar_node(g, NODE_TEXT, k->separator + 1, k->n_separator - 1, 0, 0);
    return grammar_then(g, rest, state(g, 0, k->n_suffixes, 0, list));
}

expr keywords_next(grammar *g, const node *n, uint8_t byte) {
    const keywords *k = g->keywords;
    expr going_on = EXPR_NOTHING, done = EXPR_NOTHING;
    uint32_t first = n->a, last = n->b;
    if (byte != BREAK) {
        narrow(k, &first, &last, n->c, byte);
        going_on = state(g, first, last, n->c + 1, n->d);
    }
    if (byte == (uint8_t)g->texts[k->separator] && keywords_accepts(g, n)) done = next_item(g, n);
    return grammar_or(g, going_on, done);
}

/* ---- building ---- */

qaio_status grammar_keywords(grammar *g, const keywords_params *params, const char *text, size_t n, expr *out, qaio_error *err) {
    size_t n_separator = strlen(params->separator);
    if (n_separator == 0 || n_separator > KEYWORDS_MAX_SEPARATOR || params->max_items == 0 || params->max_items > KEYWORDS_MAX_ITEMS ||
        params->max_characters == 0 || params->max_characters > KEYWORDS_MAX_CHARACTERS)
        return error_set(err, QAIO_ERR_ARGUMENT, "1 to %d bytes of a separator, 1 to %d items and 1 to %d characters are possible",
                         KEYWORDS_MAX_SEPARATOR, KEYWORDS_MAX_ITEMS, KEYWORDS_MAX_CHARACTERS);
    if (n > KEYWORDS_MAX_TEXT)
        return error_set(err, QAIO_ERR_LIMIT, "the text has %zu bytes, keywords are found in at most %zu", n, KEYWORDS_MAX_TEXT);
    expr separator = grammar_text(g, params->separator, n_separator);
    if (g->status) return grammar_check(g, err);
    keywords *k = g->keywords = mem_zalloc(sizeof *k);
    if (!k || !(k->text = mem_alloc(n + 1)) || !(k->suffixes = mem_array(n + 1, sizeof *k->suffixes))) return error_memory(err);
    *k = (keywords){.text = k->text,
                    .suffixes = k->suffixes,
                    .max_items = params->max_items,
                    .max_characters = params->max_characters,
                    .separator = g->nodes[separator].a,
                    .n_separator = (uint32_t)n_separator};
    memcpy(k->text, text, n);
    k->text[n] = BREAK;
    mark_breaks(k->text, n, params);
    sort_suffixes(k, n);
    *out = k->n_suffixes ? state(g, 0, k->n_suffixes, 0, 0) : EXPR_END;
    return grammar_check(g, err);
}
