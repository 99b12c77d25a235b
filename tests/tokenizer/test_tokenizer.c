/* Loading, refusals, literal spans, threads and failed allocations. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "golden.h"

enum { N_SMALL_MERGES = 300 };

static void make_directory(char *dir) {
    strcpy(dir, "/tmp/qaio-tokenizer-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static void remove_directory(const char *dir) {
    static const char *const names[] = {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"};
    char path[512];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void write_file(const char *dir, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void expect_same_source(const token_source *a, const token_source *b) {
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->n_merges, b->n_merges);
    assert_int_equal(a->pre, b->pre);
    for (size_t i = 0; i < a->n_tokens; i++) {
        assert_int_equal(a->kinds[i], b->kinds[i]);
        assert_int_equal(a->piece_lengths[i], b->piece_lengths[i]);
        assert_memory_equal(a->pieces[i], b->pieces[i], a->piece_lengths[i]);
    }
    for (size_t i = 0; i < a->n_merges; i++) {
        assert_int_equal(a->merge_lengths[i], b->merge_lengths[i]);
        assert_memory_equal(a->merges[i], b->merges[i], a->merge_lengths[i]);
    }
}

static void expect_every_file_form_gives(golden_vocabulary *v) {
    for (golden_style style = GOLDEN_MODERN; style <= GOLDEN_VOCAB_AND_MERGES; style++) {
        char dir[64];
        make_directory(dir);
        golden_write(&v->source, style, dir);
        tokenizer *t = NULL;
        qaio_error err = {0};
        if (tokenizer_open(&t, dir, &err)) fail_msg("%s: %s", err.path, err.message);
        token_source back;
        tokenizer_source(t, &back);
        expect_same_source(&v->source, &back);
        assert_int_equal(tokenizer_size(t), v->source.n_tokens);
        assert_int_equal(tokenizer_special(t, "<|im_end|>"), v->source.n_merges + 258);
        assert_int_equal(tokenizer_special(t, "<|im_en"), -1);
        assert_int_equal(tokenizer_special(t, "a"), -1);
        tokenizer_free(t);
        remove_directory(dir);
    }
}

static void every_form_of_file_gives_the_same_vocabulary(void **state) {
    (void)state;
    golden_vocabulary v;
    golden_vocabulary_init(&v, false, SIZE_MAX);
    expect_every_file_form_gives(&v);
    golden_vocabulary_deinit(&v);
    golden_vocabulary_init(&v, true, N_SMALL_MERGES);
    v.source.pre = PRE_QWEN2; /* vocab.json and merges.txt say nothing about it */
    expect_every_file_form_gives(&v);
    golden_vocabulary_deinit(&v);
}

static void tokenizer_json_names_the_pre_tokenizer(void **state) {
    (void)state;
    golden_vocabulary v;
    golden_vocabulary_init(&v, true, N_SMALL_MERGES);
    v.source.pre = PRE_QWEN35;
    char dir[64];
    make_directory(dir);
    golden_write(&v.source, GOLDEN_MODERN, dir);
    tokenizer *t = NULL;
    assert_int_equal(tokenizer_open(&t, dir, NULL), QAIO_OK);
    token_source back;
    tokenizer_source(t, &back);
    assert_int_equal(back.pre, PRE_QWEN35);
    tokenizer_free(t);
    remove_directory(dir);
    golden_vocabulary_deinit(&v);
}

static void expect_refused(const char *dir, qaio_status status, const char *file, const char *reason) {
    tokenizer *t = NULL;
    qaio_error err = {0};
    assert_int_equal(tokenizer_open(&t, dir, &err), status);
    assert_null(t);
    assert_non_null(strstr(err.path, file));
    if (!strstr(err.message, reason)) fail_msg("\"%s\" does not say \"%s\"", err.message, reason);
}

static void what_is_wrong_with_a_tokenizer_json_is_said(void **state) {
    (void)state;
    static const struct {
        const char *text, *reason;
        qaio_status status;
    } cases[] = {
        {"", "the file ends", QAIO_ERR_FORMAT},
        {"[]", "an object expected", QAIO_ERR_FORMAT},
        {"{\"a\":1,}", "a string expected", QAIO_ERR_FORMAT},
        {"{\"a\":01}", "',' or '}'", QAIO_ERR_FORMAT},
        {"{\"a\":\"\\ud800\"}", "\\u escape", QAIO_ERR_FORMAT},
        {"{\"a\":\"\xFF\"}", "UTF-8", QAIO_ERR_FORMAT},
        {"{\"a\":\"\n\"}", "control character", QAIO_ERR_FORMAT},
        {"{} x", "the end of the file", QAIO_ERR_FORMAT},
        {"{}", "\"model\" is missing", QAIO_ERR_FORMAT},
        {"{\"model\":{\"type\":\"WordPiece\"}}", "only as \"BPE\"", QAIO_ERR_UNSUPPORTED},
        {"{\"model\":{\"vocab\":{\"a\":-1}}}", "a whole number", QAIO_ERR_FORMAT},
        {"{\"model\":{\"vocab\":{\"a\":1.5}}}", "a whole number", QAIO_ERR_FORMAT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[[\"a\"]]}}", "", QAIO_ERR_FORMAT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[[\"a\",\"b\",\"c\"]]}}", "a pair", QAIO_ERR_FORMAT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[[\"a\",\"b c\"]]}}", "space", QAIO_ERR_FORMAT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"ignore_merges\":true,\"merges\":[]}}", "ignore_merges", QAIO_ERR_UNSUPPORTED},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[]}}", "normalizer", QAIO_ERR_UNSUPPORTED},
        {"{\"normalizer\":{\"type\":\"NFKC\"}}", "NFC", QAIO_ERR_UNSUPPORTED},
        {"{\"pre_tokenizer\":{\"pattern\":{\"Regex\":\"\\\\w+\"}}}", "pattern", QAIO_ERR_UNSUPPORTED},
        {"{\"added_tokens\":[{\"content\":\"x\"}]}", "no \"id\"", QAIO_ERR_FORMAT},
        {"{\"added_tokens\":[{\"id\":1,\"content\":\"x\",\"lstrip\":true}]}", "lstrip", QAIO_ERR_UNSUPPORTED},
        {"{\"added_tokens\":[{\"id\":1,\"content\":\"\"}]}", "0 bytes", QAIO_ERR_FORMAT},
    };
    char dir[64];
    make_directory(dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(dir, "tokenizer.json", cases[i].text);
        expect_refused(dir, cases[i].status, "tokenizer.json", cases[i].reason);
    }
    remove_directory(dir);
}

static void broken_vocabularies_and_merges_are_refused(void **state) {
    (void)state;
    golden_vocabulary v;
    golden_vocabulary_init(&v, false, N_SMALL_MERGES);
    char dir[64];
    make_directory(dir);
    expect_refused(dir, QAIO_ERR_NOT_FOUND, dir, "neither tokenizer.json nor vocab.json");
    golden_write(&v.source, GOLDEN_VOCAB_AND_MERGES, dir);
    write_file(dir, "merges.txt", "#version: 0.2\nabc\n");
    expect_refused(dir, QAIO_ERR_FORMAT, "merges.txt", "two pieces");
    write_file(dir, "merges.txt", "a  b\n");
    expect_refused(dir, QAIO_ERR_FORMAT, "merges.txt", "two pieces");
    write_file(dir, "merges.txt", "a zzzz\n");
    expect_refused(dir, QAIO_ERR_FORMAT, dir, "vocabulary lacks");
    write_file(dir, "merges.txt", "");
    write_file(dir, "vocab.json", "{\"a\":0,\"b\":0}");
    expect_refused(dir, QAIO_ERR_FORMAT, "vocab.json", "two tokens");
    write_file(dir, "vocab.json", "{\"a\":0,\"a\":1}");
    expect_refused(dir, QAIO_ERR_FORMAT, dir, "same piece");
    write_file(dir, "vocab.json", "{\"a\":0,\"b\":100000}");
    write_file(dir, "tokenizer_config.json", "{}");
    expect_refused(dir, QAIO_ERR_FORMAT, dir, "far more ids");
    write_file(dir, "tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{}}}");
    expect_refused(dir, QAIO_ERR_FORMAT, "tokenizer_config.json", "not a number");
    remove_directory(dir);
    golden_vocabulary_deinit(&v);
}

#define BROKEN "tests/golden/broken/"

/* The case's own file in the place of the base's; null: none. */
static void place_file(const char *dir, const char *name, const json_t *files) {
    const json_t *replacement = json_object_get(files, name);
    char from[512], to[512], *text;
    size_t n;
    if (json_is_null(replacement)) return;
    snprintf(from, sizeof from, BROKEN "%s%s", replacement ? "" : "base/", replacement ? json_string_value(replacement) : name);
    assert_int_equal(file_read(&text, &n, from, 1 << 20, NULL), QAIO_OK);
    snprintf(to, sizeof to, "%s/%s", dir, name);
    FILE *f = fopen(to, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    mem_free(text);
}

static void broken_tokenizers_end_as_the_manifest_says(void **state) {
    (void)state;
    json_t *manifest = json_load_file(BROKEN "manifest.json", 0, NULL), *one;
    assert_non_null(manifest);
    size_t i, n_cases = 0;
    json_array_foreach(json_object_get(manifest, "cases"), i, one) {
        const char *name = json_string_value(json_object_get(one, "case")), *verdict = json_string_value(json_object_get(one, "verdict"));
        if (strncmp(name, "tokenizer/", 10) != 0) continue;
        char dir[64];
        make_directory(dir);
        static const char *const names[] = {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"};
        for (size_t k = 0; k < 4; k++) place_file(dir, names[k], json_object_get(one, "files"));
        tokenizer *t = NULL;
        qaio_error err = {0};
        qaio_status status = tokenizer_open(&t, dir, &err);
        if ((strcmp(verdict, "must_load") == 0 && status) || (strcmp(verdict, "must_refuse") == 0 && !status))
            fail_msg("%s: %s, but it ended with %s %s", name, verdict, qaio_status_name(status), err.message);
        if (status) assert_true(strstr(err.path, dir) && err.message[0]);
        tokenizer_free(t);
        remove_directory(dir);
        n_cases++;
    }
    assert_true(n_cases >= 15);
    json_decref(manifest);
}

static tokenizer *small_tokenizer(void) {
    golden_vocabulary v;
    tokenizer *t = NULL;
    golden_vocabulary_init(&v, true, N_SMALL_MERGES);
    assert_int_equal(tokenizer_new(&t, &v.source, "small", NULL), QAIO_OK);
    golden_vocabulary_deinit(&v);
    return t;
}

static token_list encode(const tokenizer *t, const char *text, size_t n, const text_span *spans, size_t n_spans) {
    token_list out = {0};
    assert_int_equal(tokenizer_encode(t, text, n, spans, n_spans, &out, NULL), QAIO_OK);
    return out;
}

static size_t count_specials(const tokenizer *t, const token_list *ids) {
    size_t n = 0;
    for (size_t i = 0; i < ids->n; i++) n += tokenizer_kind(t, ids->ids[i]) != TOKEN_NORMAL;
    return n;
}

static void only_specials_outside_literal_spans_are_recognised(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer();
    static const char text[] = "<|im_start|>x<|im_end|>"; /* 12 + 1 + 10 bytes */
    static const struct {
        text_span spans[3];
        size_t n_spans, n_specials;
    } cases[] = {
        {{{0, 0}}, 0, 2},
        {{{12, 13}}, 1, 2},
        {{{0, 12}}, 1, 1},
        {{{13, 23}}, 1, 1},
        {{{0, 23}}, 1, 0},
        {{{11, 14}}, 1, 0},
        {{{0, 1}, {22, 23}}, 2, 0},
        {{{3, 3}, {5, 5}}, 2, 2},
        {{{12, 12}}, 1, 2},
        {{{13, 1000}}, 1, 1},
        {{{1000, 2000}}, 1, 2},
        {{{0, 12}, {12, 13}}, 2, 1},
        {{{1, 2}, {4, 4}, {12, 13}}, 3, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        token_list ids = encode(t, text, sizeof text - 1, cases[i].spans, cases[i].n_spans);
        if (count_specials(t, &ids) != cases[i].n_specials) fail_msg("case %zu: %zu special tokens", i, count_specials(t, &ids));
        token_list_deinit(&ids);
    }
    tokenizer_free(t);
}

static void span_borders_do_not_cut_words(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer();
    static const char text[] = "  the returning station, 这是 e\xCC\x81t\xC3\xA9 'll  \n\n x";
    token_list whole = encode(t, text, sizeof text - 1, NULL, 0);
    for (size_t begin = 0; begin < sizeof text; begin++)
        for (size_t end = begin; end < sizeof text; end++) {
            text_span span = {begin, end};
            token_list ids = encode(t, text, sizeof text - 1, &span, 1);
            assert_int_equal(ids.n, whole.n);
            assert_memory_equal(ids.ids, whole.ids, whole.n * sizeof *whole.ids);
            token_list_deinit(&ids);
        }
    token_list_deinit(&whole);
    tokenizer_free(t);
}

static void the_longest_special_token_wins(void **state) {
    (void)state;
    golden_vocabulary v;
    tokenizer *t = NULL;
    golden_vocabulary_init(&v, false, 0);
    static const char *const names[] = {"<a", "<a>", "<a><b>"};
    size_t first = v.source.n_tokens - 3;
    for (size_t i = 0; i < 3; i++) {
        free(v.pieces[first + i]);
        v.pieces[first + i] = strdup(names[i]);
        v.piece_lengths[first + i] = (uint32_t)strlen(names[i]);
    }
    assert_int_equal(tokenizer_new(&t, &v.source, "specials", NULL), QAIO_OK);
    static const struct {
        const char *text;
        size_t n;
        int order[3];
    } cases[] = {{"<a><b>", 1, {2}}, {"<a><b<a>", 4, {1, -1, -1}}, {"<a<a", 2, {0, 0}}, {"<a><a><b>", 2, {1, 2}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        token_list ids = encode(t, cases[i].text, strlen(cases[i].text), NULL, 0);
        assert_int_equal(ids.n, cases[i].n);
        for (size_t k = 0; k < 3 && k < ids.n; k++)
            if (cases[i].order[k] >= 0) assert_int_equal(ids.ids[k], first + (size_t)cases[i].order[k]);
        token_list_deinit(&ids);
    }
    text_span span = {3, 6}; /* the longest match would reach into the span */
    token_list ids = encode(t, "<a><b>", 6, &span, 1);
    assert_int_equal(ids.ids[0], first + 1);
    token_list_deinit(&ids);
    tokenizer_free(t);
    golden_vocabulary_deinit(&v);
}

static void ill_formed_text_becomes_replacement_characters(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer();
    static const struct {
        const char *text, *back;
    } cases[] = {
        {"a\xFFz", "a\uFFFDz"},
        {"\xE4\xBD", "\uFFFD"},
        {"\xE4\xBDx", "\uFFFDx"},
        {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
        {"\xF0\x9F\x98<|im_end|>", "\uFFFD<|im_end|>"},
        {"\xC0\x80"
         "e\xCC\x81\x80",
         "\uFFFD\uFFFD\u00E9\uFFFD"},
        {"e\x80\xCC\x81", "e\uFFFD\u0301"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        token_list ids = encode(t, cases[i].text, strlen(cases[i].text), NULL, 0);
        str back = {0};
        for (size_t k = 0; k < ids.n; k++) tokenizer_decode(t, ids.ids[k], false, &back);
        assert_string_equal(back.data, cases[i].back);
        str_deinit(&back);
        token_list_deinit(&ids);
    }
    tokenizer_free(t);
}

static void ids_that_are_none_decode_to_nothing(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer();
    str out = {0};
    detokenizer d = {0};
    static const int32_t ids[] = {-1, INT32_MIN, INT32_MAX, 100000};
    for (size_t i = 0; i < 4; i++) {
        tokenizer_decode(t, ids[i], false, &out);
        detokenizer_push(&d, t, ids[i], false, &out);
        assert_int_equal(tokenizer_kind(t, ids[i]), TOKEN_UNUSED);
    }
    detokenizer_flush(&d, &out);
    assert_int_equal(out.len, 0);
    str_deinit(&out);
    tokenizer_free(t);
}

static void unused_ids_may_lie_between_tokens(void **state) {
    (void)state;
    golden_vocabulary v;
    tokenizer *t = NULL;
    golden_vocabulary_init(&v, false, N_SMALL_MERGES);
    v.kinds[v.source.n_tokens - 2] = TOKEN_UNUSED;
    assert_int_equal(tokenizer_new(&t, &v.source, "gap", NULL), QAIO_OK);
    assert_int_equal(tokenizer_special(t, "<|im_start|>"), -1);
    token_list ids = encode(t, "<|im_start|>", 12, NULL, 0);
    assert_int_equal(count_specials(t, &ids), 0);
    token_list_deinit(&ids);
    tokenizer_free(t);
    golden_vocabulary_deinit(&v);
}

static void megabytes_of_hostile_text_take_seconds_at_most(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer();
    static const char *const units[] = {"a", " ", "\n", "e\xCC\x81\xCC\x96", "<|im_", "'s", "\xF0\x9F", "ab1 "};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        str text = {0};
        while (text.len < 2000000) str_puts(&text, units[i]);
        double begin = clock_ms();
        token_list ids = encode(t, text.data, text.len, NULL, 0);
        assert_true(clock_ms() - begin < 20000); /* quadratic time would be many minutes */
        assert_true(ids.n > 0);
        token_list_deinit(&ids);
        str_deinit(&text);
    }
    tokenizer_free(t);
}

typedef struct worker {
    pthread_t thread;
    const tokenizer *t;
    const char *text;
    size_t n;
    const token_list *expected;
    bool is_equal;
} worker;

static void *encode_often(void *argument) {
    worker *w = argument;
    w->is_equal = true;
    for (int round = 0; round < 20; round++) {
        token_list ids = {0};
        if (tokenizer_encode(w->t, w->text, w->n, NULL, 0, &ids, NULL) || ids.n != w->expected->n ||
            memcmp(ids.ids, w->expected->ids, ids.n * sizeof *ids.ids) != 0)
            w->is_equal = false;
        token_list_deinit(&ids);
    }
    return NULL;
}

static void four_threads_at_once_get_the_same_ids(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer();
    static const char text[] = "<|im_start|>user\n今天考试没考好,心情很低落。 It's e\xCC\x81t\xC3\xA9<|im_end|>\n";
    token_list expected = encode(t, text, sizeof text - 1, NULL, 0);
    worker workers[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (worker){.t = t, .text = text, .n = sizeof text - 1, .expected = &expected};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, encode_often, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_true(workers[i].is_equal);
    }
    token_list_deinit(&expected);
    tokenizer_free(t);
}

static void every_failed_allocation_of_opening_is_reported(void **state) {
    (void)state;
    golden_vocabulary v;
    golden_vocabulary_init(&v, true, 20);
    for (golden_style style = GOLDEN_MODERN; style <= GOLDEN_VOCAB_AND_MERGES; style++) {
        char dir[64];
        make_directory(dir);
        golden_write(&v.source, style, dir);
        qaio_status status = QAIO_ERR_MEMORY;
        for (long n = 0; status; n++) {
            tokenizer *t = NULL;
            mem_fail_after(n);
            status = tokenizer_open(&t, dir, NULL);
            mem_fail_after(-1);
            if (status) assert_true(status == QAIO_ERR_MEMORY && !t);
            tokenizer_free(t);
        }
        remove_directory(dir);
    }
    golden_vocabulary_deinit(&v);
}

static void every_failed_allocation_of_encoding_leaves_the_list_as_it_was(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer();
    static const char text[] = "<|im_start|>returning station e\xCC\x81 \xFF<|im_end|>\n\n";
    qaio_status status = QAIO_ERR_MEMORY;
    for (long n = 0; status; n++) {
        token_list ids = {0};
        int32_t before = 7;
        assert_int_equal(token_list_append(&ids, &before, 1, NULL), QAIO_OK);
        mem_fail_after(n);
        status = tokenizer_encode(t, text, sizeof text - 1, NULL, 0, &ids, NULL);
        mem_fail_after(-1);
        if (status) assert_true(status == QAIO_ERR_MEMORY && ids.n == 1 && ids.ids[0] == 7);
        token_list_deinit(&ids);
    }
    str out = {0};
    detokenizer d = {0};
    mem_fail_after(0);
    detokenizer_push(&d, t, 65, false, &out);
    mem_fail_after(-1);
    assert_true(out.failed);
    str_deinit(&out);
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_file_gives_the_same_vocabulary),
        cmocka_unit_test(tokenizer_json_names_the_pre_tokenizer),
        cmocka_unit_test(what_is_wrong_with_a_tokenizer_json_is_said),
        cmocka_unit_test(broken_vocabularies_and_merges_are_refused),
        cmocka_unit_test(broken_tokenizers_end_as_the_manifest_says),
        cmocka_unit_test(only_specials_outside_literal_spans_are_recognised),
        cmocka_unit_test(span_borders_do_not_cut_words),
        cmocka_unit_test(the_longest_special_token_wins),
        cmocka_unit_test(ill_formed_text_becomes_replacement_characters),
        cmocka_unit_test(ids_that_are_none_decode_to_nothing),
        cmocka_unit_test(unused_ids_may_lie_between_tokens),
        cmocka_unit_test(megabytes_of_hostile_text_take_seconds_at_most),
        cmocka_unit_test(four_threads_at_once_get_the_same_ids),
        cmocka_unit_test(every_failed_allocation_of_opening_is_reported),
        cmocka_unit_test(every_failed_allocation_of_encoding_leaves_the_list_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
