/* Expressions, their automaton, lists of keywords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mask/keywords.h"

static grammar *new_grammar(void) {
    grammar *g = NULL;
    assert_int_equal(grammar_new(&g, NULL), QAIO_OK);
    return g;
}

static expr text(grammar *g, const char *s) { return grammar_text(g, s, strlen(s)); }

static void begin(grammar *g, expr start) {
    qaio_error err = {0};
    if (grammar_begin(g, start, &err)) fail_msg("%s", err.message);
}

static expr state_after(grammar *g, const char *s) {
    expr state = grammar_start(g);
    for (; *s && state != EXPR_NOTHING; s++) state = grammar_next(g, state, (uint8_t)*s);
    return state;
}

static bool is_prefix(grammar *g, const char *s) { return state_after(g, s) != EXPR_NOTHING; }
static bool is_text(grammar *g, const char *s) { return grammar_accepts(g, state_after(g, s)); }

static void a_choice_takes_its_texts_and_their_beginnings_only(void **state) {
    (void)state;
    grammar *g = new_grammar();
    begin(g, grammar_either(g, (expr[]){text(g, "正面"), text(g, "负面"), text(g, "正"), text(g, "yes")}, 4));
    assert_true(is_text(g, "正面"));
    assert_true(is_text(g, "正"));
    assert_true(is_text(g, "yes"));
    assert_true(is_prefix(g, "\xE8"));
    assert_false(is_text(g, "负"));
    assert_false(is_text(g, ""));
    assert_false(is_prefix(g, "yess"));
    assert_false(is_prefix(g, "no"));
    grammar_free(g);
}

static void repetitions_are_counted(void **state) {
    (void)state;
    grammar *g = new_grammar();
    expr ab = grammar_or(g, text(g, "a"), text(g, "bc"));
    begin(g, grammar_then(g, grammar_repeat(g, ab, 2, 3), text(g, ".")));
    assert_true(is_text(g, "aa."));
    assert_true(is_text(g, "abca."));
    assert_true(is_text(g, "bcbcbc."));
    assert_false(is_prefix(g, "a."));
    assert_false(is_prefix(g, "aaaa"));
    assert_false(is_prefix(g, "ba"));
    grammar_free(g);
}

static void what_is_optional_may_be_left_out(void **state) {
    (void)state;
    grammar *g = new_grammar();
    expr digit = grammar_range(g, '0', '9');
    begin(g, grammar_then(g, grammar_optional(g, text(g, "-")), grammar_repeat(g, digit, 1, GRAMMAR_ANY)));
    assert_true(is_text(g, "-12"));
    assert_true(is_text(g, "7"));
    assert_false(is_text(g, "-"));
    assert_false(is_prefix(g, "--"));
    grammar_free(g);
}

/* value: "x" or "(" value ")" */
static expr parentheses(grammar *g) {
    rule value = grammar_rule(g);
    expr inside = grammar_then(g, text(g, "("), grammar_then(g, grammar_named(g, value), text(g, ")")));
    grammar_define(g, value, grammar_or(g, text(g, "x"), inside));
    return grammar_named(g, value);
}

static void rules_nest_up_to_the_limit_and_can_always_end(void **state) {
    (void)state;
    grammar *g = new_grammar();
    begin(g, parentheses(g));
    assert_true(is_text(g, "x"));
    assert_true(is_text(g, "((x))"));
    assert_false(is_text(g, "((x)"));
    assert_false(is_prefix(g, "(x))"));
    char nested[2 * GRAMMAR_MAX_DEPTH + 1] = "";
    memset(nested, '(', GRAMMAR_MAX_DEPTH - 1);
    assert_true(is_prefix(g, nested)); /* room for an x is left */
    nested[GRAMMAR_MAX_DEPTH - 1] = '(';
    assert_false(is_prefix(g, nested));
    nested[GRAMMAR_MAX_DEPTH - 1] = 'x';
    memset(nested + GRAMMAR_MAX_DEPTH, ')', GRAMMAR_MAX_DEPTH - 1);
    assert_true(is_text(g, nested));
    grammar_free(g);
}

static void a_rule_that_never_ends_is_refused(void **state) {
    (void)state;
    grammar *g = new_grammar();
    rule endless = grammar_rule(g);
    grammar_define(g, endless, grammar_then(g, text(g, "("), grammar_named(g, endless)));
    qaio_error err;
    assert_int_equal(grammar_begin(g, grammar_named(g, endless), &err), QAIO_ERR_ARGUMENT);
    grammar_free(g);
}

static void a_branch_that_never_ends_is_no_branch(void **state) {
    (void)state;
    grammar *g = new_grammar();
    rule endless = grammar_rule(g);
    grammar_define(g, endless, grammar_then(g, text(g, "("), grammar_named(g, endless)));
    begin(g, grammar_or(g, text(g, "x"), grammar_named(g, endless)));
    assert_true(is_text(g, "x"));
    assert_false(is_prefix(g, "("));
    grammar_free(g);
}

static void counters_are_forgotten_only_beyond_the_horizon(void **state) {
    (void)state;
    grammar *g = new_grammar();
    begin(g, grammar_then(g, grammar_repeat(g, text(g, "a"), 6, 9), text(g, ".")));
    grammar_set_horizon(g, 3);
    expr s = grammar_start(g), seen[10];
    for (size_t i = 0; i <= 9; i++, s = grammar_next(g, s, 'a')) {
        seen[i] = grammar_nearby(g, s);
        /* Both judge every text of up to 3 bytes alike. */
        expr near = seen[i], far = s;
        for (size_t n = 0; n <= 3; n++) {
            assert_int_equal(near == EXPR_NOTHING, far == EXPR_NOTHING);
            assert_int_equal(grammar_accepts(g, near), grammar_accepts(g, far));
            assert_int_equal(grammar_next(g, near, '.') == EXPR_NOTHING, grammar_next(g, far, '.') == EXPR_NOTHING);
            near = grammar_next(g, near, 'a');
            far = grammar_next(g, far, 'a');
        }
    }
    assert_int_equal(seen[0], seen[1]); /* 6 and 5 more needed: neither is reached within 3 bytes */
    assert_int_not_equal(seen[6], seen[9]);
    grammar_free(g);
}

static void a_constraint_of_too_many_states_fails_by_name(void **state) {
    (void)state;
    grammar *g = new_grammar();
    /* One of the 30 bytes before the end is an a: as many states as subsets. */
    expr any = grammar_or(g, text(g, "a"), text(g, "b"));
    begin(g, grammar_then(g, grammar_repeat(g, any, 0, GRAMMAR_ANY), grammar_then(g, text(g, "a"), grammar_repeat(g, any, 30, 30))));
    uint32_t random = 1;
    expr s = grammar_start(g);
    for (size_t i = 0; i < 3000000 && !grammar_check(g, NULL); i++) {
        random = random * 1664525 + 1013904223;
        s = grammar_next(g, s, random >> 31 ? 'a' : 'b');
    }
    qaio_error err;
    assert_int_equal(s, EXPR_NOTHING);
    assert_int_equal(grammar_check(g, &err), QAIO_ERR_LIMIT);
    assert_non_null(strstr(err.message, "MiB"));
    grammar_free(g);
}

/* ---- keywords ---- */

static grammar *keywords_of(const char *source, const char *separator, uint32_t max_items, uint32_t max_characters) {
    grammar *g = new_grammar();
    expr start = EXPR_NOTHING;
    qaio_error err = {0};
    if (grammar_keywords(g, &(keywords_params){separator, max_items, max_characters}, source, strlen(source), &start, &err))
        fail_msg("%s", err.message);
    begin(g, start);
    return g;
}

static void keywords_are_parts_of_the_text(void **state) {
    (void)state;
    grammar *g = keywords_of("今天天气真不错，适合出去走走。", "、", 5, 10);
    assert_true(is_text(g, "天气"));
    assert_true(is_text(g, "天气、出去走走"));
    assert_true(is_text(g, "今、天、气"));
    assert_false(is_prefix(g, "天空"));
    assert_false(is_prefix(g, "不错，")); /* not across punctuation */
    assert_false(is_text(g, "天气、"));   /* an item must follow */
    assert_false(is_text(g, "\xE5\xA4")); /* half a character */
    assert_true(is_prefix(g, "\xE5\xA4"));
    assert_false(is_text(g, ""));
    grammar_free(g);
}

static void no_keyword_lies_in_one_before_it(void **state) {
    (void)state;
    grammar *g = keywords_of("好天气，天气", "、", 5, 10);
    assert_true(is_text(g, "天气、好"));
    assert_false(is_text(g, "天气、天气"));
    assert_false(is_prefix(g, "天气、天")); /* nor anything that begins so */
    assert_false(is_text(g, "天气、气"));
    assert_true(is_text(g, "天气、好天"));
    assert_false(is_text(g, "天、气、天"));
    assert_true(is_text(g, "天、气、天气"));
    grammar_free(g);
}

static void when_no_item_is_left_the_list_ends(void **state) {
    (void)state;
    grammar *g = keywords_of("好", "、", 5, 10);
    assert_true(is_text(g, "好"));
    assert_false(is_prefix(g, "好、"));
    grammar_free(g);
    g = keywords_of("天", "、", 5, 10);
    assert_false(is_prefix(g, "天\xE3"));
    grammar_free(g);
}

static void the_number_and_length_of_keywords_are_limited(void **state) {
    (void)state;
    grammar *g = keywords_of("甲乙丙丁戊", "、", 2, 3);
    assert_true(is_text(g, "甲、乙"));
    assert_false(is_prefix(g, "甲、乙、"));
    assert_true(is_text(g, "甲乙丙"));
    assert_false(is_prefix(g, "甲乙丙丁"));
    grammar_free(g);
}

static void separators_of_any_kind_split_the_text(void **state) {
    (void)state;
    grammar *g = keywords_of("new machine learning, fast; costs 3.5 GB.", ", ", 4, 30);
    assert_true(is_text(g, "machine learning, costs 3.5 GB"));
    assert_true(is_text(g, "fast"));
    assert_false(is_text(g, "machine "));
    assert_false(is_prefix(g, " machine"));
    assert_false(is_prefix(g, "learning, fast;"));
    assert_false(is_prefix(g, "GB."));
    grammar_free(g);
}

static void a_text_without_a_word_has_no_keywords(void **state) {
    (void)state;
    grammar *g = keywords_of("……！ \xFF", "、", 5, 10);
    assert_int_equal(grammar_start(g), EXPR_END);
    grammar_free(g);
}

static void keywords_may_be_one_of_several_choices(void **state) {
    (void)state;
    grammar *g = new_grammar();
    expr list = EXPR_NOTHING;
    assert_int_equal(grammar_keywords(g, &(keywords_params){"、", 5, 10}, "天气", strlen("天气"), &list, NULL), QAIO_OK);
    begin(g, grammar_or(g, list, text(g, "none")));
    assert_false(is_prefix(g, "\xE8"));
    assert_true(is_text(g, "天气"));
    assert_true(is_text(g, "none"));
    grammar_free(g);
}

static void impossible_keyword_limits_are_refused(void **state) {
    (void)state;
    static const keywords_params bad[] = {{"", 1, 1},   {"12345678901234567", 1, 1}, {"、", 0, 1}, {"、", 65, 1}, {"、", 1, 0},
                                          {"、", 1, 65}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        grammar *g = new_grammar();
        expr start;
        qaio_error err;
        assert_int_equal(grammar_keywords(g, &bad[i], "好", 3, &start, &err), QAIO_ERR_ARGUMENT);
        grammar_free(g);
    }
}

/* ---- failed allocations ---- */

static qaio_status use_everything(void) {
    grammar *g = NULL;
    qaio_error err;
    qaio_status status = grammar_new(&g, &err);
    if (status) return status;
    expr list = EXPR_NOTHING;
    status = grammar_keywords(g, &(keywords_params){"、", 3, 8}, "天气好，散步", strlen("天气好，散步"), &list, &err);
    expr start = grammar_or(g, parentheses(g), grammar_then(g, grammar_repeat(g, text(g, "ab"), 0, 100), text(g, ".")));
    if (!status) status = grammar_begin(g, grammar_or(g, start, list), &err);
    static const char *const walks[] = {"((((x))))", "abababab.", "天气、散步"};
    for (size_t i = 0; i < 3 && !status; i++) {
        bool is_good = is_text(g, walks[i]);
        status = grammar_check(g, &err);
        if (!status) assert_true(is_good);
    }
    grammar_free(g);
    return status;
}

static void failed_allocations_are_reported(void **state) {
    (void)state;
    qaio_status status = QAIO_ERR_MEMORY;
    for (long n = 0; status; n++) {
        mem_fail_after(n);
        status = use_everything();
        mem_fail_after(-1);
        if (status) assert_int_equal(status, QAIO_ERR_MEMORY);
        assert_true(n < 2000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_choice_takes_its_texts_and_their_beginnings_only),
        cmocka_unit_test(repetitions_are_counted),
        cmocka_unit_test(what_is_optional_may_be_left_out),
        cmocka_unit_test(rules_nest_up_to_the_limit_and_can_always_end),
        cmocka_unit_test(a_rule_that_never_ends_is_refused),
        cmocka_unit_test(a_branch_that_never_ends_is_no_branch),
        cmocka_unit_test(counters_are_forgotten_only_beyond_the_horizon),
        cmocka_unit_test(a_constraint_of_too_many_states_fails_by_name),
        cmocka_unit_test(keywords_are_parts_of_the_text),
        cmocka_unit_test(no_keyword_lies_in_one_before_it),
        cmocka_unit_test(when_no_item_is_left_the_list_ends),
        cmocka_unit_test(the_number_and_length_of_keywords_are_limited),
        cmocka_unit_test(separators_of_any_kind_split_the_text),
        cmocka_unit_test(a_text_without_a_word_has_no_keywords),
        cmocka_unit_test(keywords_may_be_one_of_several_choices),
        cmocka_unit_test(impossible_keyword_limits_are_refused),
        cmocka_unit_test(failed_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
