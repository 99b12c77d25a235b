/* Exact on every vector of the reference (tokenizers 0.23.3 with the real Qwen2 vocabulary). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "golden.h"
#include "tokenizer/unicode.h"

typedef struct tokenizers {
    tokenizer *qwen2, *qwen35;
} tokenizers;

static int open_tokenizers(void **state) {
    static tokenizers both;
    both = (tokenizers){golden_tokenizer(false, PRE_QWEN2), golden_tokenizer(false, PRE_QWEN35)};
    *state = &both;
    return 0;
}

static int close_tokenizers(void **state) {
    tokenizers *both = *state;
    tokenizer_free(both->qwen2);
    tokenizer_free(both->qwen35);
    return 0;
}

static token_list encode(const tokenizer *t, const str *text, bool is_plain) {
    token_list out = {0};
    text_span all = {0, text->len};
    assert_int_equal(tokenizer_encode(t, text->data, text->len, &all, is_plain, &out, NULL), QAIO_OK);
    return out;
}

static void expect_ids(const tokenizer *t, const str *text, bool is_plain, const json_t *expected) {
    token_list ids = encode(t, text, is_plain);
    if (!golden_ids_equal(expected, ids.ids, ids.n)) {
        print_error("text \"%.*s\"%s:", (int)text->len, text->data, is_plain ? ", plain" : "");
        for (size_t i = 0; i < ids.n; i++) print_error(" %d", ids.ids[i]);
        print_error("\n");
        fail_msg("other ids than the reference");
    }
    token_list_deinit(&ids);
}

static const json_t *member_or(const json_t *line, const char *key, const char *otherwise) {
    const json_t *value = json_object_get(line, key);
    return value ? value : json_object_get(line, otherwise);
}

static void every_vector_gives_the_ids_of_the_reference(void **state) {
    const tokenizers *both = *state;
    json_t *lines = golden_lines(GOLDEN "vectors.jsonl"), *line;
    size_t i;
    json_array_foreach(lines, i, line) {
        str text = golden_text(line);
        expect_ids(both->qwen2, &text, false, json_object_get(line, "ids"));
        expect_ids(both->qwen2, &text, true, member_or(line, "ids_plain", "ids"));
        expect_ids(both->qwen35, &text, false, member_or(line, "ids_q35", "ids"));
        str_deinit(&text);
    }
    json_decref(lines);
}

static void expect_summary(const tokenizer *t, const str *text, bool is_plain, const json_t *line, const char *prefix) {
    char key[64];
    snprintf(key, sizeof key, "%s_n", prefix);
    const char *found = json_object_get(line, key) ? prefix : "ids";
    double begin = clock_ms();
    token_list ids = encode(t, text, is_plain);
    assert_true(clock_ms() - begin < 2000); /* milliseconds; the limit leaves room for sanitizers and a busy machine */
    uint64_t fnv = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < ids.n; i++)
        for (int shift = 0; shift < 32; shift += 8) fnv = (fnv ^ ((uint32_t)ids.ids[i] >> shift & 0xFF)) * UINT64_C(0x100000001b3);
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)fnv);
    snprintf(key, sizeof key, "%s_n", found);
    assert_int_equal(ids.n, json_integer_value(json_object_get(line, key)));
    snprintf(key, sizeof key, "%s_fnv", found);
    assert_string_equal(hash, json_string_value(json_object_get(line, key)));
    token_list_deinit(&ids);
}

static void hostile_texts_give_the_ids_of_the_reference_in_milliseconds(void **state) {
    const tokenizers *both = *state;
    json_t *lines = golden_lines(GOLDEN "hostile.jsonl"), *line;
    size_t i;
    json_array_foreach(lines, i, line) {
        str text = golden_text(line);
        expect_summary(both->qwen2, &text, false, line, "ids");
        expect_summary(both->qwen2, &text, true, line, "ids_plain");
        expect_summary(both->qwen35, &text, false, line, "ids_q35");
        str_deinit(&text);
    }
    json_decref(lines);
}

static void decoded_bytes_are_those_of_the_reference(void **state) {
    const tokenizers *both = *state;
    json_t *lines = golden_lines(GOLDEN "decode.jsonl"), *line, *id;
    size_t i, j;
    json_array_foreach(lines, i, line) {
        str all = {0}, skipped = {0}, streamed = {0};
        detokenizer d = {0};
        json_array_foreach(json_object_get(line, "ids"), j, id) {
            tokenizer_decode(both->qwen2, (int32_t)json_integer_value(id), false, &all);
            tokenizer_decode(both->qwen2, (int32_t)json_integer_value(id), true, &skipped);
            detokenizer_push(&d, both->qwen2, (int32_t)json_integer_value(id), false, &streamed);
        }
        detokenizer_flush(&d, &streamed);
        str bytes = golden_base64(json_object_get(line, "bytes_b64")), skip = golden_base64(json_object_get(line, "skip_b64"));
        assert_int_equal(all.len, bytes.len);
        assert_true(all.len == 0 || memcmp(all.data, bytes.data, bytes.len) == 0);
        assert_int_equal(skipped.len, skip.len);
        assert_true(skip.len == 0 || memcmp(skipped.data, skip.data, skip.len) == 0);
        json_t *replaced = json_object_get(line, "text_replace");
        assert_int_equal(streamed.len, json_string_length(replaced));
        assert_true(streamed.len == 0 || memcmp(streamed.data, json_string_value(replaced), streamed.len) == 0);
        assert_int_equal(utf8_is_valid(all.data, all.len), json_is_true(json_object_get(line, "complete")));
        str_deinit(&all);
        str_deinit(&skipped);
        str_deinit(&streamed);
        str_deinit(&bytes);
        str_deinit(&skip);
    }
    json_decref(lines);
}

static void stream_emits_whole_characters_as_the_reference(void **state) {
    const tokenizers *both = *state;
    json_t *lines = golden_lines(GOLDEN "stream.jsonl"), *line, *id;
    size_t i, j;
    json_array_foreach(lines, i, line) {
        detokenizer d = {0};
        str piece = {0};
        json_array_foreach(json_object_get(line, "ids"), j, id) {
            str_clear(&piece);
            detokenizer_push(&d, both->qwen2, (int32_t)json_integer_value(id), false, &piece);
            assert_string_equal(piece.data ? piece.data : "", json_string_value(json_array_get(json_object_get(line, "pieces"), j)));
        }
        str_clear(&piece);
        detokenizer_flush(&d, &piece);
        assert_string_equal(piece.data ? piece.data : "", json_string_value(json_object_get(line, "flush")));
        str_deinit(&piece);
    }
    json_decref(lines);
}

static str code_points(const json_t *list) {
    str out = {0};
    size_t i;
    json_t *c;
    json_array_foreach(list, i, c) {
        char bytes[4];
        str_append(&out, bytes, utf8_encode((uint32_t)json_integer_value(c), bytes));
    }
    return out;
}

static void nfc_is_that_of_the_reference(void **state) {
    (void)state;
    json_t *lines = golden_lines(GOLDEN "nfc.jsonl"), *line;
    size_t i, n_old_tables = 0;
    str buffer = {0};
    json_array_foreach(lines, i, line) {
        str in = code_points(json_object_get(line, "in")), expected = code_points(json_object_get(line, "out"));
        const char *result;
        size_t n;
        assert_int_equal(unicode_normalize(in.data, in.len, &buffer, &result, &n, NULL), QAIO_OK);
        bool is_equal = n == expected.len && memcmp(result, expected.data, n) == 0;
        if (!is_equal && json_object_get(line, "python_differs"))
            n_old_tables++;
        else
            assert_true(is_equal);
        str_deinit(&in);
        str_deinit(&expected);
    }
    print_message("%zu of %zu differ where the reference's tables are older than Unicode 14\n", n_old_tables, json_array_size(lines));
    str_deinit(&buffer);
    json_decref(lines);
}

static bool in_ranges(const json_t *ranges, uint32_t c, size_t *at) {
    while (*at < json_array_size(ranges) && json_integer_value(json_array_get(json_array_get(ranges, *at), 1)) < c) ++*at;
    return *at < json_array_size(ranges) && json_integer_value(json_array_get(json_array_get(ranges, *at), 0)) <= c;
}

static void every_code_point_has_the_class_of_the_reference(void **state) {
    (void)state;
    json_t *classes = json_load_file(GOLDEN "charclass.json", 0, NULL);
    assert_non_null(classes);
    static const struct {
        const char *key;
        char_class class;
    } kinds[] = {{"L", CHAR_LETTER}, {"N", CHAR_NUMBER}, {"M", CHAR_MARK}, {"S", CHAR_SPACE}};
    size_t at[4] = {0};
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char_class expected = CHAR_OTHER;
        for (size_t k = 0; k < 4; k++)
            if (in_ranges(json_object_get(classes, kinds[k].key), c, &at[k])) expected = kinds[k].class;
        if (unicode_class(c) != expected) fail_msg("U+%04X: class %d, the reference has %d", c, (int)unicode_class(c), (int)expected);
    }
    json_decref(classes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_has_the_class_of_the_reference),
        cmocka_unit_test(nfc_is_that_of_the_reference),
        cmocka_unit_test(every_vector_gives_the_ids_of_the_reference),
        cmocka_unit_test(hostile_texts_give_the_ids_of_the_reference_in_milliseconds),
        cmocka_unit_test(decoded_bytes_are_those_of_the_reference),
        cmocka_unit_test(stream_emits_whole_characters_as_the_reference),
    };
    return cmocka_run_group_tests(tests, open_tokenizers, close_tokenizers);
}
