/* The embedded model, opened once for all tests of a program: cmocka_run_group_tests(tests, open_shared, close_shared). */
#ifndef QAIO_TESTS_API_SHARED_H
#define QAIO_TESTS_API_SHARED_H

#include "qaio/qaio.h"

extern qaio_model *shared;

int open_shared(void **state);
int close_shared(void **state);

#endif
