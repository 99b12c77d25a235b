/* Text to ids: special tokens are cut out first, in the raw text; what lies between is normalised, cut into words and merged. */
#include <string.h>

#include "base/mem.h"
#include "tokenizer/internal.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/unicode.h"

void token_list_deinit(token_list *list) {
    mem_free(list->ids);
    *list = (token_list){0};
}

qaio_status token_list_append(token_list *list, const int32_t *ids, size_t n, qaio_error *err) {
    size_t need;
    if (!size_add(list->n, n, &need)) return error_memory(err);
    if (need > list->capacity) {
        size_t capacity = list->capacity > SIZE_MAX / 2 || list->capacity * 2 < need ? need : list->capacity * 2;
        if (capacity < 16) capacity = 16;
        int32_t *grown = mem_realloc(list->ids, capacity, sizeof *grown);
        if (!grown) return error_memory(err);
        list->ids = grown;
        list->capacity = capacity;
    }
    if (n) memcpy(list->ids + list->n, ids, n * sizeof *ids);
    list->n = need;
    return QAIO_OK;
}

typedef struct encoder {
    const tokenizer *t;
    str normalized;
    bpe_scratch scratch;
    token_list *out;
    qaio_error *err;
} encoder;

static qaio_status encode_plain(encoder *e, const char *text, size_t n) {
    if (!n) return QAIO_OK;
    qaio_status status = unicode_normalize(text, n, &e->normalized, &text, &n, e->err);
    while (n && !status) {
        size_t word = pretokenize_word(text, n, e->t->pre);
        status = bpe_encode_word(&e->t->ranks, e->t->byte_ids, text, word, &e->scratch, e->out, e->err);
        text += word;
        n -= word;
    }
    return status;
}

/* The longest special token that text[n] begins with, or NULL: the range of sorted candidates shrinks byte by byte. */
static const special_token *special_at(const tokenizer *t, const char *text, size_t n) {
    const special_token *found = NULL;
    size_t begin = 0, end = t->n_specials;
    for (size_t depth = 0; begin < end; depth++) {
        if (t->specials[begin].n == depth) found = &t->specials[begin++];
        if (depth == n) break;
        unsigned char c = (unsigned char)text[depth];
        size_t high = end;
        while (begin < high) { /* first candidate whose byte is at least c */
            size_t mid = begin + (high - begin) / 2;
            if ((unsigned char)t->specials[mid].text[depth] < c)
                begin = mid + 1;
            else
                high = mid;
        }
        for (size_t low = begin; low < end;) { /* first candidate whose byte is above c */
            size_t mid = low + (end - low) / 2;
            if ((unsigned char)t->specials[mid].text[depth] > c)
                end = mid;
            else
                low = mid + 1;
        }
    }
    return found;
}

static qaio_status encode_all(encoder *e, const char *text, size_t n, const text_span *literal, size_t n_literal) {
    size_t plain = 0, span = 0; /* text[plain, i) waits to be encoded; literal[span] is the first that ends behind i */
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < n && !status;) {
        while (span < n_literal && (literal[span].end <= i || literal[span].begin == literal[span].end)) span++;
        size_t limit = span < n_literal && literal[span].begin < n ? literal[span].begin : n;
        if (i >= limit) {
            i = span < n_literal && literal[span].end < n ? literal[span].end : n;
            continue;
        }
        while (i < limit && !e->t->begins_special[(unsigned char)text[i]]) i++;
        const special_token *found = i < limit ? special_at(e->t, text + i, limit - i) : NULL;
        if (!found) {
            i += i < limit;
            continue;
        }
        status = encode_plain(e, text + plain, i - plain);
        if (!status) status = token_list_append(e->out, &found->id, 1, e->err);
        plain = i += found->n;
    }
    return status ? status : encode_plain(e, text + plain, n - plain);
}

qaio_status tokenizer_encode(const tokenizer *t, const char *text, size_t n, const text_span *literal, size_t n_literal, token_list *out,
                             qaio_error *err) {
    if (n == 0) return QAIO_OK;
    encoder e = {.t = t, .out = out, .err = err};
    size_t n_before = out->n;
    qaio_status status = encode_all(&e, text, n, literal, n_literal);
    if (status) out->n = n_before;
    str_deinit(&e.normalized);
    bpe_scratch_deinit(&e.scratch);
    return status;
}
