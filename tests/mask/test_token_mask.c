/* Masks over a real vocabulary, and properties over random schemas: whatever the logits are, what comes out satisfies the schema, and so
 * can every beginning of it.  With --bench: time of a mask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "../tokenizer/golden.h"
#include "base/clock.h"
#include "base/mem.h"
#include "mask/keywords.h"
#include "mask/schema.h"
#include "mask/token_mask.h"
#include "random_schema.h"

enum { N_SMALL_MERGES = 400, MORE_LOGITS = 100 };

/* A vocabulary and its trie; logits may be more than it has tokens. */
typedef struct fixture {
    golden_vocabulary vocabulary;
    tokenizer *tokenizer;
    token_trie *trie;
    int32_t stop;
    size_t n_logits;
    float *logits;
} fixture;

static void open_fixture(fixture *f, size_t max_merges) {
    golden_vocabulary_init(&f->vocabulary, true, max_merges);
    f->vocabulary.source.pre = PRE_QWEN2;
    assert_int_equal(tokenizer_new(&f->tokenizer, &f->vocabulary.source, "", NULL), QAIO_OK);
    assert_int_equal(token_trie_new(&f->trie, f->tokenizer, NULL), QAIO_OK);
    f->stop = tokenizer_special(f->tokenizer, "<|im_end|>");
    assert_true(f->stop >= 0);
    f->n_logits = tokenizer_size(f->tokenizer) + MORE_LOGITS;
    f->logits = mem_array(f->n_logits, sizeof *f->logits);
}

static void close_fixture(fixture *f) {
    mem_free(f->logits);
    token_trie_free(f->trie);
    tokenizer_free(f->tokenizer);
    golden_vocabulary_deinit(&f->vocabulary);
}

static grammar *grammar_of(const json_t *schema) {
    grammar *g = NULL;
    qaio_error err = {0};
    if (schema_grammar(&g, schema, &err)) fail_msg("%s", err.message);
    return g;
}

static grammar *grammar_of_text(const char *schema) {
    json_t *value = json_loads(schema, 0, NULL);
    grammar *g = grammar_of(value);
    json_decref(value);
    return g;
}

static token_mask *new_mask(const fixture *f, grammar *g) {
    token_mask *m = NULL;
    assert_int_equal(token_mask_new(&m, g, f->trie, f->n_logits, NULL), QAIO_OK);
    return m;
}

static void fill_logits(fixture *f, uint64_t *random) {
    for (size_t i = 0; i < f->n_logits; i++) f->logits[i] = (float)(random_below(random, 10000)) / 1000;
}

static expr walk(grammar *g, expr state, const char *bytes, size_t n) {
    for (size_t i = 0; i < n && state != EXPR_NOTHING; i++) state = grammar_next(g, state, (uint8_t)bytes[i]);
    return state;
}

/* The token of the largest logit, greedily; -1: the end. */
static int32_t step(fixture *f, token_mask *m) {
    bool is_over = false;
    qaio_error err = {0};
    if (token_mask_apply(m, &f->stop, 1, f->logits, &is_over, &err)) fail_msg("%s", err.message);
    if (is_over) return -1;
    size_t best = 0;
    for (size_t i = 1; i < f->n_logits; i++)
        if (f->logits[i] > f->logits[best]) best = i;
    assert_true(f->logits[best] > -INFINITY);
    if ((int32_t)best == f->stop) return -1;
    if (token_mask_advance(m, (int32_t)best, &err)) fail_msg("%s", err.message);
    return (int32_t)best;
}

/* ---- masks ---- */

/* Every token one by one, against the whole walk. */
static void expect_mask(fixture *f, token_mask *m, grammar *reference, expr state, const char *text) {
    bool is_over;
    memset(f->logits, 0, f->n_logits * sizeof *f->logits);
    assert_int_equal(token_mask_apply(m, &f->stop, 1, f->logits, &is_over, NULL), QAIO_OK);
    for (size_t i = 0; i < f->n_logits; i++) {
        bool is_text = i < tokenizer_size(f->tokenizer) && tokenizer_kind(f->tokenizer, (int32_t)i) != TOKEN_SPECIAL &&
                       tokenizer_kind(f->tokenizer, (int32_t)i) != TOKEN_UNUSED;
        str bytes = {0};
        if (is_text) tokenizer_decode(f->tokenizer, (int32_t)i, false, &bytes);
        bool is_allowed = bytes.len && walk(reference, state, bytes.data, bytes.len) != EXPR_NOTHING;
        if ((int32_t)i == f->stop) is_allowed = grammar_accepts(reference, state);
        if (is_allowed != (f->logits[i] > -INFINITY)) fail_msg("token %zu after %s", i, text);
        str_deinit(&bytes);
    }
}

static void a_mask_allows_exactly_the_tokens_that_keep_a_text_alive(void **state) {
    (void)state;
    static const char schema[] =
        "{\"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 300}, \"n\": {\"type\": \"integer\"}, \"tags\": "
        "{\"type\": \"array\", \"items\": {\"enum\": [\"高兴\", \"难过\"]}, \"maxItems\": 3}}, \"required\": [\"name\"]}";
    static const char *const texts[] = {"",
                                        "{",
                                        "{\"",
                                        "{\"name\": ",
                                        "{\"name\": \"",
                                        "{\"name\": \"\xE5\xA4",
                                        "{\"name\": \"\\",
                                        "{\"name\":\"小明\",\n  \"n\": 1",
                                        "{\"name\":\"\",\"tags\":[\"高",
                                        "{\"name\":\"\",\"tags\":[\"难过\",\"高兴\",\"难过\"",
                                        "{\"name\":\"\"}"};
    fixture f;
    open_fixture(&f, SIZE_MAX);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        grammar *reference = grammar_of_text(schema);
        token_mask *m = new_mask(&f, grammar_of_text(schema));
        for (const char *c = texts[i]; *c; c++) { /* a token for every byte */
            int32_t id = 0;
            str bytes = {0};
            do {
                str_clear(&bytes);
                tokenizer_decode(f.tokenizer, id++, false, &bytes);
            } while (bytes.len != 1 || bytes.data[0] != *c);
            str_deinit(&bytes);
            assert_int_equal(token_mask_advance(m, id - 1, NULL), QAIO_OK);
        }
        expect_mask(&f, m, reference, walk(reference, grammar_start(reference), texts[i], strlen(texts[i])), texts[i]);
        grammar_free(reference);
        token_mask_free(m);
    }
    close_fixture(&f);
}

static void a_complete_text_allows_the_end_alone(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, N_SMALL_MERGES);
    token_mask *m = new_mask(&f, grammar_of_text("{\"const\": 7}"));
    memset(f.logits, 0, f.n_logits * sizeof *f.logits);
    assert_false(token_mask_is_complete(m));
    assert_true(step(&f, m) >= 0);
    assert_true(token_mask_is_complete(m));
    bool is_over = false;
    memset(f.logits, 0, f.n_logits * sizeof *f.logits);
    assert_int_equal(token_mask_apply(m, &f.stop, 1, f.logits, &is_over, NULL), QAIO_OK);
    assert_true(is_over);
    for (size_t i = 0; i < f.n_logits; i++) assert_int_equal(f.logits[i] > -INFINITY, (int32_t)i == f.stop);
    assert_int_equal(token_mask_apply(m, NULL, 0, f.logits, &is_over, NULL), QAIO_OK); /* without a token for the end */
    assert_true(is_over);
    token_mask_free(m);
    close_fixture(&f);
}

static void a_token_that_was_masked_is_refused(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, N_SMALL_MERGES);
    token_mask *m = new_mask(&f, grammar_of_text("{\"const\": 7}"));
    const int32_t bad[] = {-1, 0, f.stop, (int32_t)f.n_logits, INT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(token_mask_advance(m, bad[i], NULL), QAIO_ERR_FORMAT);
    token_mask_free(m);
    close_fixture(&f);
}

/* ---- properties ---- */

/* The bytes that end a text soonest, first. */
static const char closing[] = "\"}]:n,0123456789tf!";

static void complete(grammar *g, expr state, str *text) {
    uint8_t order[256];
    size_t n = 0;
    for (; closing[n]; n++) order[n] = (uint8_t)closing[n];
    for (unsigned byte = 1; byte < 256; byte++)
        if (!strchr(closing, (int)byte)) order[n++] = (uint8_t)byte;
    while (!grammar_accepts(g, state)) {
        expr next = EXPR_NOTHING;
        size_t i = 0;
        while (i < n && next == EXPR_NOTHING) next = grammar_next(g, state, order[i++]);
        assert_int_not_equal(next, EXPR_NOTHING);
        str_putc(text, (char)order[i - 1]);
        state = next;
        assert_true(text->len < 100000);
    }
}

static void expect_valid(const json_t *schema, const char *text, size_t n) {
    json_error_t where;
    json_t *value = json_loadb(text, n, JSON_DECODE_ANY, &where);
    if (!value || !schema_accepts(schema, schema, value)) {
        char *dump = json_dumps(schema, 0);
        fail_msg("%s\n%.*s\n%s", dump, (int)n, text, value ? "does not satisfy it" : where.text);
    }
    json_decref(value);
}

static void run_schema(fixture *f, const json_t *schema, uint64_t *random) {
    grammar *g = NULL, *reference = NULL;
    qaio_error err = {0};
    if (schema_grammar(&g, schema, &err)) { /* the only thing that a random schema may be */
        if (!strstr(err.message, "no text satisfies")) fail_msg("%s", err.message);
        return;
    }
    reference = grammar_of(schema);
    token_mask *m = new_mask(f, g);
    str text = {0};
    bool has_ended = false;
    for (size_t i = 0; i < 60 && !has_ended; i++) {
        fill_logits(f, random);
        int32_t token = step(f, m);
        has_ended = token < 0;
        if (!has_ended) tokenizer_decode(f->tokenizer, token, false, &text);
        expr state = walk(reference, grammar_start(reference), text.data ? text.data : "", text.len);
        if (has_ended) assert_true(grammar_accepts(reference, state));
        str whole = {0};
        str_append(&whole, text.data ? text.data : "", text.len);
        complete(reference, state, &whole);
        expect_valid(schema, whole.data, whole.len);
        str_deinit(&whole);
    }
    str_deinit(&text);
    token_mask_free(m);
    grammar_free(reference);
}

static void whatever_the_logits_are_the_text_satisfies_its_schema_at_every_cut(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, N_SMALL_MERGES);
    for (uint64_t seed = 1; seed <= 400; seed++) {
        uint64_t random = seed;
        json_t *schema = random_schema(&random);
        run_schema(&f, schema, &random);
        json_decref(schema);
    }
    close_fixture(&f);
}

static void the_same_logits_give_the_same_text(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, N_SMALL_MERGES);
    str texts[2] = {{0}, {0}};
    for (size_t i = 0; i < 2; i++) {
        token_mask *m = new_mask(&f, grammar_of(NULL));
        uint64_t random = 7;
        for (int n = 0; n < 80; n++) {
            fill_logits(&f, &random);
            int32_t token = step(&f, m);
            if (token < 0) break;
            tokenizer_decode(f.tokenizer, token, false, &texts[i]);
        }
        token_mask_free(m);
    }
    assert_int_equal(texts[0].len, texts[1].len);
    assert_memory_equal(texts[0].data, texts[1].data, texts[0].len);
    str_deinit(&texts[0]);
    str_deinit(&texts[1]);
    close_fixture(&f);
}

static void check_keywords(const char *source, const str *list) {
    char seen[8][256];
    size_t n = 0;
    for (const char *item = list->data, *end; item; item = end ? end + strlen("、") : NULL) {
        end = strstr(item, "、");
        size_t length = end ? (size_t)(end - item) : strlen(item);
        assert_true(n < 5 && length > 0 && length < sizeof seen[0]);
        memcpy(seen[n], item, length);
        seen[n][length] = '\0';
        if (!strstr(source, seen[n])) fail_msg("%s has no %s", source, seen[n]);
        assert_true(utf8_is_valid(item, length));
        for (size_t i = 0; i < n; i++) assert_null(strstr(seen[i], seen[n]));
        n++;
    }
}

static void keywords_are_parts_of_the_text_whatever_the_logits_are(void **state) {
    (void)state;
    static const char source[] = "今天天气真不错，适合出去走走。The new café opens at 9:30, 大家都很高兴！天气";
    fixture f;
    open_fixture(&f, SIZE_MAX);
    for (uint64_t random = 1, i = 0; i < 40; i++) {
        grammar *g = NULL;
        expr start;
        assert_int_equal(grammar_new(&g, NULL), QAIO_OK);
        assert_int_equal(grammar_keywords(g, &(keywords_params){"、", 5, 12}, source, strlen(source), &start, NULL), QAIO_OK);
        assert_int_equal(grammar_begin(g, start, NULL), QAIO_OK);
        token_mask *m = new_mask(&f, g);
        str list = {0};
        for (int32_t token = 0; token >= 0;) {
            fill_logits(&f, &random);
            f.logits[f.stop] -= 5; /* or the lists are short */
            if ((token = step(&f, m)) >= 0) tokenizer_decode(f.tokenizer, token, false, &list);
        }
        assert_true(list.len > 0);
        check_keywords(source, &list);
        str_deinit(&list);
        token_mask_free(m);
    }
    close_fixture(&f);
}

static void failed_allocations_are_reported(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, N_SMALL_MERGES);
    qaio_status status = QAIO_ERR_MEMORY;
    for (long n = 0; status; n++) {
        grammar *g = grammar_of(NULL);
        token_mask *m = NULL;
        token_trie *trie = NULL;
        bool is_over;
        mem_fail_after(n);
        status = token_trie_new(&trie, f.tokenizer, NULL);
        if (status)
            grammar_free(g);
        else
            status = token_mask_new(&m, g, trie, f.n_logits, NULL);
        memset(f.logits, 0, f.n_logits * sizeof *f.logits);
        if (!status) status = token_mask_apply(m, &f.stop, 1, f.logits, &is_over, NULL);
        mem_fail_after(-1);
        if (status) assert_int_equal(status, QAIO_ERR_MEMORY);
        token_mask_free(m);
        token_trie_free(trie);
        assert_true(n < 3000);
    }
    close_fixture(&f);
}

/* ---- time ---- */

static void bench_one(fixture *f, const char *name, grammar *g) {
    token_mask *m = new_mask(f, g);
    uint64_t random = 1;
    double total = 0, worst = 0, first = 0;
    size_t n = 0;
    for (; n < 200; n++) {
        bool is_over = false;
        fill_logits(f, &random);
        double begin = clock_ms();
        assert_int_equal(token_mask_apply(m, &f->stop, 1, f->logits, &is_over, NULL), QAIO_OK);
        double ms = clock_ms() - begin;
        if (n == 0) first = ms;
        if (ms > worst) worst = ms;
        total += ms;
        if (is_over || step(f, m) < 0) break;
    }
    printf("%-28s %3zu tokens, first %.3f ms, mean %.3f ms, worst %.3f ms\n", name, n, first, total / (double)(n ? n : 1), worst);
    token_mask_free(m);
}

static int bench(void) {
    static const char text[] = "今天天气真不错，适合出去走走。The new café opens at 9:30, 大家都很高兴！";
    fixture f;
    open_fixture(&f, SIZE_MAX);
    double begin = clock_ms();
    token_trie *trie;
    assert_int_equal(token_trie_new(&trie, f.tokenizer, NULL), QAIO_OK);
    size_t n_bytes = 0;
    for (size_t i = 0; i < trie->n_tokens; i++) n_bytes += (size_t)(trie->tokens[i].n - trie->tokens[i].shared);
    printf("%zu tokens, %zu nodes, longest %zu bytes; made in %.1f ms\n", trie->n_tokens, n_bytes, trie->longest, clock_ms() - begin);
    token_trie_free(trie);
    bench_one(&f, "any object", grammar_of(NULL));
    bench_one(&f, "string", grammar_of_text("{\"type\": \"string\"}"));
    bench_one(&f, "string of at most 400", grammar_of_text("{\"type\": \"string\", \"maxLength\": 400}"));
    bench_one(&f, "string of at most 100", grammar_of_text("{\"type\": \"string\", \"maxLength\": 100}"));
    bench_one(&f, "array of objects",
              grammar_of_text("{\"type\": \"array\", \"minItems\": 10, \"items\": {\"properties\": {\"name\": {\"type\": \"string\", "
                              "\"maxLength\": 20}, \"age\": {\"type\": "
                              "\"integer\", \"minimum\": 0, \"maximum\": 120}, \"mood\": {\"enum\": [\"开心\", \"难过\"]}}, \"required\": "
                              "[\"name\", \"age\", \"mood\"]}}"));
    grammar *g = NULL;
    expr start;
    grammar_new(&g, NULL);
    assert_int_equal(grammar_keywords(g, &(keywords_params){"、", 5, 12}, text, strlen(text), &start, NULL), QAIO_OK);
    grammar_begin(g, start, NULL);
    bench_one(&f, "keywords", g);
    close_fixture(&f);
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_allows_exactly_the_tokens_that_keep_a_text_alive),
        cmocka_unit_test(a_complete_text_allows_the_end_alone),
        cmocka_unit_test(a_token_that_was_masked_is_refused),
        cmocka_unit_test(whatever_the_logits_are_the_text_satisfies_its_schema_at_every_cut),
        cmocka_unit_test(the_same_logits_give_the_same_text),
        cmocka_unit_test(keywords_are_parts_of_the_text_whatever_the_logits_are),
        cmocka_unit_test(failed_allocations_are_reported),
    };
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) return bench();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
