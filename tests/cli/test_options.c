/* The command line as data: options, mistyped names, the language. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/locale.h"
#include "cli/settings.h"

typedef struct values {
    bool loud, has_count;
    const char *name;
    text_values stops;
    uint64_t count;
    double share;
    dtype type;
} values;

static const option_row rows[] = {
    {"loud", 'l', OPTION_FLAG, offsetof(values, loud), NULL, 0, 0, 0, "", ""},
    {"name", 'n', OPTION_TEXT, offsetof(values, name), "NAME", 0, 0, 0, "", ""},
    {"stop", 0, OPTION_TEXTS, offsetof(values, stops), "TEXT", 0, 0, 0, "", ""},
    {"count", 'c', OPTION_COUNT, offsetof(values, count), "N", 1, 1000, offsetof(values, has_count), "", ""},
    {"share", 0, OPTION_REAL, offsetof(values, share), "X", 0, 1, 0, "", ""},
    {"type", 0, OPTION_TYPE, offsetof(values, type), "TYPE", 0, 0, 0, "", ""},
};
static const option_group group = {"Test", "测试", rows, sizeof rows / sizeof *rows};
static const option_group *const groups[] = {&group, NULL};

#define WORDS(...)                                                                                                                         \
    (sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)), (char *[]) { __VA_ARGS__ }

static qaio_status parse(values *v, operand_list *operands, qaio_error *err, size_t n, char **words) {
    *v = (values){0};
    return options_parse(groups, v, (int)n, words, operands, err);
}

static void options_and_operands_may_be_mixed(void **state) {
    (void)state;
    values v;
    operand_list operands;
    qaio_error err;
    assert_int_equal(
        parse(&v, &operands, &err, WORDS("one", "--name=a=b", "-", "-lc", "--stop", "x", "--stop=y", "--share", "0.5", "--type", "Q8_0")),
        QAIO_ERR_ARGUMENT); /* -lc: flags are not joined */
    assert_int_equal(parse(&v, &operands, &err,
                           WORDS("one", "--name=a=b", "-", "-l", "-c7", "--stop", "x", "--stop=y", "--share", "0.5", "--type", "Q8_0")),
                     QAIO_OK);
    assert_int_equal(operands.n, 2);
    assert_string_equal(operands.items[0], "one");
    assert_string_equal(operands.items[1], "-");
    assert_string_equal(v.name, "a=b");
    assert_true(v.loud && v.has_count);
    assert_int_equal(v.count, 7);
    assert_int_equal(v.stops.n, 2);
    assert_string_equal(v.stops.items[1], "y");
    assert_true(v.share > 0.49 && v.share < 0.51);
    assert_int_equal(v.type, DTYPE_Q8_0);
    mem_free((void *)operands.items);
}

static void two_dashes_end_the_options(void **state) {
    (void)state;
    values v;
    operand_list operands;
    qaio_error err;
    assert_int_equal(parse(&v, &operands, &err, WORDS("--loud", "--", "--name", "-5")), QAIO_OK);
    assert_int_equal(operands.n, 2);
    assert_string_equal(operands.items[1], "-5");
    assert_null(v.name);
    mem_free((void *)operands.items);
}

static void wrong_values_are_refused_with_their_range(void **state) {
    (void)state;
    char *bad[][2] = {{"--count", "0"},
                      {"--count", "1001"},
                      {"--count", "-1"},
                      {"--count", "5x"},
                      {"--count", ""},
                      {"--count", "+3"},
                      {"--count", " 3"},
                      {"--share", "1.5"},
                      {"--share", "nan"},
                      {"--share", "0,5"},
                      {"--share", ""},
                      {"--type", "q9_9"},
                      {"--share", "1e999"},
                      {"--loud=yes", ""},
                      {"--nmae", "x"},
                      {"--unknown", "x"},
                      {"--count", "99999999999999999999999"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        values v;
        operand_list operands = {0};
        qaio_error err = {0};
        assert_int_equal(parse(&v, &operands, &err, 2, bad[i]), QAIO_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "--"));
        assert_null(operands.items);
    }
    values v;
    operand_list operands;
    qaio_error err;
    parse(&v, &operands, &err, WORDS("--count"));
    assert_non_null(strstr(err.message, "needs a value"));
    parse(&v, &operands, &err, WORDS("--nmae", "x"));
    assert_non_null(strstr(err.message, "--name"));
}

static void an_option_can_be_given_so_often_and_no_more(void **state) {
    (void)state;
    char *words[OPTIONS_MAX_TEXTS + 1];
    for (size_t i = 0; i <= OPTIONS_MAX_TEXTS; i++) words[i] = "--stop=x";
    values v;
    operand_list operands;
    qaio_error err;
    assert_int_equal(parse(&v, &operands, &err, OPTIONS_MAX_TEXTS, words), QAIO_OK);
    mem_free((void *)operands.items);
    assert_int_equal(parse(&v, &operands, &err, OPTIONS_MAX_TEXTS + 1, words), QAIO_ERR_ARGUMENT);
}

static void a_mistyped_name_finds_the_near_one(void **state) {
    (void)state;
    const char *const names[] = {"serve", "chat", "run", "batch", "quantize"};
    const struct {
        const char *typed, *meant;
    } cases[] = {{"srve", "serve"},    {"sevre", "serve"}, {"cht", "chat"}, {"rnu", "run"},         {"quantise", "quantize"},
                 {"quan", "quantize"}, {"x", NULL},        {"xyz", NULL},   {"wholly other", NULL}, {"", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *found = nearest_name(cases[i].typed, names, 5);
        if (cases[i].meant)
            assert_string_equal(found, cases[i].meant);
        else
            assert_null(found);
    }
    char long_word[500];
    memset(long_word, 'a', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    assert_null(nearest_name(long_word, names, 5));
}

static void the_first_variable_that_is_set_decides_the_language(void **state) {
    (void)state;
    assert_true(locale_means_chinese(NULL, NULL, NULL, "zh_CN.UTF-8"));
    assert_true(locale_means_chinese("zh", "en_US.UTF-8", NULL, NULL));
    assert_false(locale_means_chinese("en", "zh_CN.UTF-8", NULL, "zh_CN.UTF-8"));
    assert_true(locale_means_chinese("", "", "zh-TW", "en_US"));
    assert_false(locale_means_chinese(NULL, "C.UTF-8", NULL, "zh_CN.UTF-8"));
    assert_false(locale_means_chinese(NULL, NULL, NULL, NULL));
    assert_false(locale_means_chinese(NULL, NULL, NULL, "zhx"));
}

static void sampling_options_not_given_stay_not_given(void **state) {
    (void)state;
    settings s = settings_defaults;
    reply_params p = settings_reply_params(&s);
    assert_true(p.temperature < 0 && p.top_p < 0 && p.repetition_penalty < 0 && p.top_k < 0);
    assert_false(p.has_seed);
    assert_int_equal(p.max_new, 0);
    const option_group *const own[] = {&group_sampling, NULL};
    char *words[] = {"--temperature=0", "--top-k=0", "--seed=18446744073709551615", "--max-tokens=5"};
    operand_list operands;
    qaio_error err;
    assert_int_equal(options_parse(own, &s, 3, words, &operands, &err), QAIO_ERR_ARGUMENT); /* above the largest exact double */
    words[2] = "--seed=9007199254740993";
    assert_int_equal(options_parse(own, &s, 4, words, &operands, &err), QAIO_OK);
    p = settings_reply_params(&s);
    assert_true(p.temperature == 0 && p.top_k == 0 && p.has_seed && p.seed == 9007199254740993u && p.max_new == 5);
    mem_free((void *)operands.items);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_operands_may_be_mixed),         cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(wrong_values_are_refused_with_their_range), cmocka_unit_test(an_option_can_be_given_so_often_and_no_more),
        cmocka_unit_test(a_mistyped_name_finds_the_near_one),        cmocka_unit_test(the_first_variable_that_is_set_decides_the_language),
        cmocka_unit_test(sampling_options_not_given_stay_not_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
