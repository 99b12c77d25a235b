/* Which tables test_kernels compares with the reference. */
#ifndef TESTS_KERNELS_VERSIONS_H
#define TESTS_KERNELS_VERSIONS_H

#include "kernels/kernels.h"

/* Ended by NULL. */
const kernels *const *versions_under_test(void);

#endif
