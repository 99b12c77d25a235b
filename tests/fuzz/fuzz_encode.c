/* Any text: its ids decode to its repaired NFC; a stream of ids, also of arbitrary ones, emits whole characters that join to the whole. */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/unicode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const merges[] = {"i n",   "Ġ t",   "h e",   "Ġ Ġ", "ĠĠ ĠĠ", "a a", "aa aa", "aaaa aaaa", "ä ¸", "ä¸ Ń",
                                     "Ċ Ċ",   "ĊĊ ĊĊ", "Ġt he", "' s", "Ì ģ",   "Ã ©", "ï ¿",   "ï¿ ½",      "ð Ł", "ðŁ ĺ",
                                     "ðŁĺ Ģ", "! !",   "!! !!", "l l", "' ll",  "r e", "< |",   "| >",       "i m", "im _"};
static const char *const specials[] = {"<|im_start|>", "<|im_end|>", "<think>", "<t"};

enum { N_MERGES = sizeof merges / sizeof *merges, N_SPECIALS = sizeof specials / sizeof *specials, N_TOKENS = 256 + N_MERGES + N_SPECIALS };

static tokenizer *make_tokenizer(pre_tokenizer pre) {
    static char text[N_TOKENS][32];
    const char *pieces[N_TOKENS];
    uint32_t lengths[N_TOKENS], merge_lengths[N_MERGES];
    token_kind kinds[N_TOKENS];
    for (size_t i = 0; i < N_TOKENS; i++) {
        memset(text[i], 0, sizeof text[i]);
        kinds[i] = i < 256 + N_MERGES ? TOKEN_NORMAL : i % 2 ? TOKEN_SPECIAL : TOKEN_ADDED;
        pieces[i] = text[i];
        if (i < 256)
            utf8_encode(byte_to_letter((uint8_t)i), text[i]);
        else if (i >= 256 + N_MERGES)
            strcpy(text[i], specials[i - 256 - N_MERGES]);
        else
            for (const char *p = merges[i - 256]; *p; p++)
                if (*p != ' ') strncat(text[i], p, 1);
        lengths[i] = (uint32_t)strlen(text[i]);
    }
    for (size_t i = 0; i < N_MERGES; i++) merge_lengths[i] = (uint32_t)strlen(merges[i]);
    token_source source = {pieces, lengths, kinds, N_TOKENS, merges, merge_lengths, N_MERGES, pre};
    tokenizer *t = NULL;
    if (tokenizer_new(&t, &source, "fuzz", NULL)) abort();
    return t;
}

static void expect_equal(const char *a, size_t n, const str *b) {
    if (n != b->len || (n && memcmp(a, b->data, n) != 0)) abort();
}

/* The bytes of the ids at once, and as the stream gives them. */
static void decode(const tokenizer *t, const int32_t *ids, size_t n, str *whole, str *streamed) {
    detokenizer d = {0};
    str_append(streamed, "", 0);
    for (size_t i = 0; i < n; i++) {
        size_t before = streamed->len;
        tokenizer_decode(t, ids[i], false, whole);
        detokenizer_push(&d, t, ids[i], false, streamed);
        if (!utf8_is_valid(streamed->data + before, streamed->len - before)) abort();
    }
    detokenizer_flush(&d, streamed);
    if (!utf8_is_valid(streamed->data, streamed->len)) abort();
}

static void text_survives(const tokenizer *t, const char *text, size_t n, const text_span *spans, size_t n_spans, bool is_plain) {
    token_list ids = {0};
    str whole = {0}, streamed = {0}, buffer = {0};
    const char *normalized;
    size_t n_normalized;
    if (tokenizer_encode(t, text, n, spans, n_spans, &ids, NULL)) abort();
    decode(t, ids.ids, ids.n, &whole, &streamed);
    expect_equal(streamed.data, streamed.len, &whole);
    if (unicode_normalize(text, n, &buffer, &normalized, &n_normalized, NULL)) abort();
    if (is_plain) expect_equal(normalized, n_normalized, &whole);
    token_list_deinit(&ids);
    str_deinit(&whole);
    str_deinit(&streamed);
    str_deinit(&buffer);
}

/* Bytes as ids, some out of range: what the stream emits is the whole, repaired. */
static void any_ids_stream(const tokenizer *t, const uint8_t *data, size_t size) {
    str whole = {0}, streamed = {0}, repaired = {0};
    str_append(&streamed, "", 0);
    for (size_t i = 0; i < size; i++) {
        int32_t id = i % 5 == 4 ? 256 + data[i] : data[i];
        tokenizer_decode(t, id, false, &whole);
    }
    detokenizer d = {0};
    for (size_t i = 0; i < size; i++) detokenizer_push(&d, t, i % 5 == 4 ? 256 + data[i] : data[i], false, &streamed);
    detokenizer_flush(&d, &streamed);
    for (size_t i = 0; i < whole.len;) {
        uint32_t c;
        bool is_unfinished;
        size_t len = utf8_decode(whole.data + i, whole.len - i, &c);
        if (len)
            str_append(&repaired, whole.data + i, len);
        else
            str_puts(&repaired, "\uFFFD");
        i += len ? len : utf8_ill_formed_part(whole.data + i, whole.len - i, &is_unfinished);
    }
    expect_equal(streamed.data, streamed.len, &repaired);
    str_deinit(&whole);
    str_deinit(&streamed);
    str_deinit(&repaired);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tokenizer *tokenizers[2];
    for (int i = 0; i < 2; i++)
        if (!tokenizers[i]) tokenizers[i] = make_tokenizer(i ? PRE_QWEN35 : PRE_QWEN2);
    const char *text = (const char *)data;
    for (int i = 0; i < 2; i++) {
        text_span all = {0, size}, part = {size / 3, size / 2};
        text_survives(tokenizers[i], text, size, &all, 1, true);
        text_survives(tokenizers[i], text, size, &part, 1, false);
        text_survives(tokenizers[i], text, size, NULL, 0, false);
    }
    any_ids_stream(tokenizers[0], data, size);
    return 0;
}
