/* As much of cmocka as test_kernels needs, with its output: for running it on another architecture, where cmocka is not installed. */
#ifndef TESTS_KERNELS_CROSS_CMOCKA_H
#define TESTS_KERNELS_CROSS_CMOCKA_H

#include <stdio.h>

typedef struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
} CMUnitTest;

static jmp_buf cross_failed;

#define cmocka_unit_test(function)                                                                                                         \
    { #function, function }

#define fail_msg(...)                                                                                                                      \
    do {                                                                                                                                   \
        printf(__VA_ARGS__);                                                                                                               \
        printf("\n%s:%d\n", __FILE__, __LINE__);                                                                                           \
        longjmp(cross_failed, 1);                                                                                                          \
    } while (0)

#define assert_int_equal(a, b)                                                                                                             \
    do {                                                                                                                                   \
        if ((a) != (b)) fail_msg("%s is not %s", #a, #b);                                                                                  \
    } while (0)

static int cross_run(const CMUnitTest *tests, size_t n) {
    volatile int n_failed = 0;
    for (volatile size_t i = 0; i < n; i++) {
        printf("[ RUN      ] %s\n", tests[i].name);
        fflush(stdout);
        if (setjmp(cross_failed) == 0) {
            tests[i].run(NULL);
            printf("[       OK ] %s\n", tests[i].name);
        } else {
            printf("[  FAILED  ] %s\n", tests[i].name);
            n_failed++;
        }
    }
    return n_failed;
}

#define cmocka_run_group_tests(tests, setup, teardown) cross_run(tests, sizeof tests / sizeof *tests)

#endif
