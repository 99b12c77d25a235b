/* The embedded model, opened once for all tests of a program: cmocka_run_group_tests(tests, open_shared, close_shared). */
#ifndef QAIO_TESTS_TASKS_SHARED_H
#define QAIO_TESTS_TASKS_SHARED_H

#include "tasks/resident.h"

extern resident *shared;

int open_shared(void **state);
int close_shared(void **state);

#endif
