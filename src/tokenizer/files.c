/* The files that transformers saves: tokenizer.json, vocab.json, merges.txt, tokenizer_config.json. */
#include <string.h>

#include "tokenizer/builder.h"
#include "tokenizer/internal.h"
#include "tokenizer/pretokenize.h"

static void expect_false(json_scan *s, const char *what) {
    if (json_scan_bool(s)) json_scan_refuse(s, QAIO_ERR_UNSUPPORTED, "\"%s\": true is not supported", what);
}

static void expect_text(json_scan *s, const char *what, const char *wanted) {
    json_slice text = json_scan_string(s);
    if (!s->status && !json_slice_is(text, wanted))
        json_scan_refuse(s, QAIO_ERR_UNSUPPORTED, "\"%s\" is supported only as \"%s\"", what, wanted);
}

static void expect_nothing(json_scan *s, const char *what) {
    if (!json_scan_null(s)) expect_text(s, what, "");
}

static void scan_pattern(vocabulary_builder *b, json_scan *s) {
    json_slice pattern = json_scan_string(s);
    if (s->status) return;
    if (json_slice_is(pattern, pretokenize_patterns[PRE_QWEN2]))
        b->pre = PRE_QWEN2;
    else if (json_slice_is(pattern, pretokenize_patterns[PRE_QWEN35]))
        b->pre = PRE_QWEN35;
    else
        json_scan_refuse(s, QAIO_ERR_UNSUPPORTED, "the pre-tokenizer's pattern is neither Qwen2's nor Qwen3.5's");
}

/* One added token: {"content": ..., "special": ...}; its id is given there or by the caller. */
static void scan_added_token(vocabulary_builder *b, json_scan *s, bool has_id, uint32_t id) {
    str content = {0};
    bool is_special = false;
    for (json_scan_open(s, '{'); json_scan_more(s, '}');) {
        json_slice key = json_scan_key(s);
        if (json_slice_is(key, "id")) {
            id = json_scan_unsigned(s, TOKENIZER_MAX_TOKENS - 1);
            has_id = true;
        } else if (json_slice_is(key, "content")) {
            json_slice text = json_scan_string(s);
            str_clear(&content);
            str_append(&content, text.data, text.n);
        } else if (json_slice_is(key, "special")) {
            is_special = json_scan_bool(s);
        } else if (json_slice_is(key, "single_word")) {
            expect_false(s, "single_word");
        } else if (json_slice_is(key, "lstrip")) {
            expect_false(s, "lstrip");
        } else if (json_slice_is(key, "rstrip")) {
            expect_false(s, "rstrip");
        } else {
            json_scan_skip(s);
        }
    }
    if (content.failed && !s->status) s->status = error_memory(s->err);
    if (!has_id) json_scan_refuse(s, QAIO_ERR_FORMAT, "an added token has no \"id\"");
    builder_add_piece(b, s, id, (json_slice){content.data, content.len}, is_special ? TOKEN_SPECIAL : TOKEN_ADDED);
    str_deinit(&content);
}

static void scan_normalizer(json_scan *s) {
    bool is_nfc = false;
    for (json_scan_open(s, '{'); json_scan_more(s, '}');) {
        json_slice key = json_scan_key(s);
        if (json_slice_is(key, "type")) {
            expect_text(s, "type", "NFC");
            is_nfc = true;
        } else {
            json_scan_skip(s);
        }
    }
    if (!is_nfc) json_scan_refuse(s, QAIO_ERR_UNSUPPORTED, "the normalizer is not NFC");
}

/* The object and, inside it, "pretokenizers" and "pattern"; true when a pattern was found. */
static bool scan_pre_tokenizer(vocabulary_builder *b, json_scan *s) {
    bool has_pattern = false;
    for (json_scan_open(s, '{'); json_scan_more(s, '}');) {
        json_slice key = json_scan_key(s);
        if (json_slice_is(key, "pretokenizers")) {
            for (json_scan_open(s, '['); json_scan_more(s, ']');) has_pattern |= scan_pre_tokenizer(b, s);
        } else if (json_slice_is(key, "pattern")) {
            has_pattern |= scan_pre_tokenizer(b, s);
        } else if (json_slice_is(key, "Regex")) {
            scan_pattern(b, s);
            has_pattern = true;
        } else if (json_slice_is(key, "behavior")) {
            expect_text(s, "behavior", "Isolated");
        } else if (json_slice_is(key, "invert")) {
            expect_false(s, "invert");
        } else if (json_slice_is(key, "add_prefix_space")) {
            expect_false(s, "add_prefix_space");
        } else if (json_slice_is(key, "use_regex")) {
            expect_false(s, "use_regex");
        } else {
            json_scan_skip(s);
        }
    }
    return has_pattern;
}

static void scan_vocab(vocabulary_builder *b, json_scan *s) {
    for (json_scan_open(s, '{'); json_scan_more(s, '}');) {
        json_slice key = json_scan_key(s);
        builder_add_piece(b, s, json_scan_unsigned(s, TOKENIZER_MAX_TOKENS - 1), key, TOKEN_NORMAL);
    }
}

/* One string of a pair, which may hold no space: it would be read as two. */
static void scan_half(vocabulary_builder *b, json_scan *s) {
    json_slice half = json_scan_string(s);
    if (memchr(half.data, ' ', half.n)) json_scan_refuse(s, QAIO_ERR_FORMAT, "a merge's piece has a space in it");
    str_append(&b->text, half.data, half.n);
}

static void scan_merges(vocabulary_builder *b, json_scan *s) {
    for (json_scan_open(s, '['); json_scan_more(s, ']');) {
        size_t begin = b->text.len;
        if (json_scan_peek(s) == '[') {
            json_scan_open(s, '[');
            if (json_scan_more(s, ']')) scan_half(b, s);
            str_putc(&b->text, ' ');
            if (json_scan_more(s, ']')) scan_half(b, s);
            if (json_scan_more(s, ']')) json_scan_refuse(s, QAIO_ERR_FORMAT, "a merge is a pair of pieces");
        } else {
            json_slice merge = json_scan_string(s);
            str_append(&b->text, merge.data, merge.n);
        }
        if (!s->status) s->status = builder_add_merge(b, begin, s->err);
    }
}

static void scan_model(vocabulary_builder *b, json_scan *s) {
    bool has_vocab = false, has_merges = false;
    for (json_scan_open(s, '{'); json_scan_more(s, '}');) {
        json_slice key = json_scan_key(s);
        if (json_slice_is(key, "type")) {
            expect_text(s, "type", "BPE");
        } else if (json_slice_is(key, "vocab") && !has_vocab) {
            scan_vocab(b, s);
            has_vocab = true;
        } else if (json_slice_is(key, "merges") && !has_merges) {
            scan_merges(b, s);
            has_merges = true;
        } else if (json_slice_is(key, "ignore_merges")) {
            expect_false(s, "ignore_merges");
        } else if (json_slice_is(key, "continuing_subword_prefix")) {
            expect_nothing(s, "continuing_subword_prefix");
        } else if (json_slice_is(key, "end_of_word_suffix")) {
            expect_nothing(s, "end_of_word_suffix");
        } else {
            json_scan_skip(s);
        }
    }
    if (!has_vocab || !has_merges) json_scan_refuse(s, QAIO_ERR_FORMAT, "\"model\" lacks \"%s\"", has_vocab ? "merges" : "vocab");
}

qaio_status read_tokenizer_json(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err) {
    json_scan s;
    bool has_model = false, has_pre = false, has_normalizer = false;
    json_scan_init(&s, text, n, path, err);
    for (json_scan_open(&s, '{'); json_scan_more(&s, '}');) {
        json_slice key = json_scan_key(&s);
        if (json_slice_is(key, "model") && !has_model) {
            scan_model(b, &s);
            has_model = true;
        } else if (json_slice_is(key, "added_tokens")) {
            for (json_scan_open(&s, '['); json_scan_more(&s, ']');) scan_added_token(b, &s, false, 0);
        } else if (json_slice_is(key, "normalizer")) {
            scan_normalizer(&s);
            has_normalizer = true;
        } else if (json_slice_is(key, "pre_tokenizer")) {
            has_pre = scan_pre_tokenizer(b, &s);
        } else {
            json_scan_skip(&s);
        }
    }
    json_scan_end(&s);
    if (!has_model) json_scan_refuse(&s, QAIO_ERR_FORMAT, "\"model\" is missing");
    if (!has_normalizer) json_scan_refuse(&s, QAIO_ERR_UNSUPPORTED, "\"normalizer\" is missing; only NFC is supported");
    if (!has_pre) json_scan_refuse(&s, QAIO_ERR_UNSUPPORTED, "\"pre_tokenizer\" has no pattern; only Qwen's are supported");
    json_scan_deinit(&s);
    return s.status;
}

qaio_status read_vocab_json(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err) {
    json_scan s;
    json_scan_init(&s, text, n, path, err);
    scan_vocab(b, &s);
    json_scan_end(&s);
    json_scan_deinit(&s);
    return s.status;
}

qaio_status read_merges_txt(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err) {
    static const char version[] = "#version";
    for (size_t i = 0, end; i < n; i = end + 1) {
        const char *line_end = memchr(text + i, '\n', n - i);
        end = line_end ? (size_t)(line_end - text) : n;
        size_t length = end - i;
        if (length && text[end - 1] == '\r') length--;
        if (length == 0 || (i == 0 && length >= sizeof version - 1 && memcmp(text, version, sizeof version - 1) == 0)) continue;
        const char *space = memchr(text + i, ' ', length);
        if (!space || memchr(space + 1, ' ', (size_t)(text + i + length - space - 1)))
            return error_at(err, QAIO_ERR_FORMAT, path, (int64_t)i, "a line is not two pieces with a space between");
        size_t begin = b->text.len;
        str_append(&b->text, text + i, length);
        qaio_status status = builder_add_merge(b, begin, err);
        if (status) return status;
    }
    return QAIO_OK;
}

static uint32_t id_of_key(json_scan *s, json_slice key) {
    uint32_t id = 0;
    bool is_number = key.n > 0;
    for (size_t i = 0; i < key.n && is_number; i++) {
        is_number = key.data[i] >= '0' && key.data[i] <= '9' && id < TOKENIZER_MAX_TOKENS;
        if (is_number) id = id * 10 + (uint32_t)(key.data[i] - '0');
    }
    if (!s->status && (!is_number || id >= TOKENIZER_MAX_TOKENS))
        json_scan_refuse(s, QAIO_ERR_FORMAT, "\"added_tokens_decoder\": a key is not a number of 0 to %u", TOKENIZER_MAX_TOKENS - 1);
    return id;
}

qaio_status read_tokenizer_config(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err) {
    json_scan s;
    json_scan_init(&s, text, n, path, err);
    for (json_scan_open(&s, '{'); json_scan_more(&s, '}');) {
        json_slice key = json_scan_key(&s);
        if (json_slice_is(key, "added_tokens_decoder")) {
            for (json_scan_open(&s, '{'); json_scan_more(&s, '}');) {
                uint32_t id = id_of_key(&s, json_scan_key(&s));
                scan_added_token(b, &s, true, id);
            }
        } else if (json_slice_is(key, "pretokenize_regex") && json_scan_peek(&s) == '"') {
            scan_pattern(b, &s);
        } else {
            json_scan_skip(&s);
        }
    }
    json_scan_end(&s);
    json_scan_deinit(&s);
    return s.status;
}
