/* What the tests of this layer share: scratch directories, files, and expectations on errors. */
#ifndef TESTS_CHECKPOINT_SUPPORT_H
#define TESTS_CHECKPOINT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "checkpoint/checkpoint.h"

#define GOLDEN "tests/golden/"

#define N_ITEMS(array) (sizeof(array) / sizeof *(array))

/* A path in static storage, valid until eight more were asked for. */
const char *path_of(const char *format, ...) PRINTF_LIKE(1, 2);

/* A fresh empty directory, owned by the caller; scratch_remove deletes it with its files. */
char *scratch_new(void);
void scratch_remove(char *dir);

void copy_file(const char *from, const char *to);
void copy_dir(const char *from, const char *to); /* its regular files */
void write_bytes(const char *path, const void *data, size_t n);
uint8_t *read_bytes(const char *path, size_t *n); /* owned, free with mem_free */

/* Opens what must open; prints the error where it does not. */
checkpoint *open_or_fail(const char *path);

/* An error a user can act on: the status set, one line that says something, and the file. */
void assert_clear_error(const qaio_error *err, qaio_status status);

/* The same description, tokenizer and template; tensors are compared by the caller. */
void assert_same_model(const checkpoint *a, const checkpoint *b);

/* All values of a tensor as float32, owned (mem_free). */
float *values_of(const tensor *t);

#endif
