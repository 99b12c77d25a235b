/* Golden models (tests/golden/models, gguf): reference values computed by transformers, see the README there. */
#ifndef QAIO_TESTS_GOLDEN_H
#define QAIO_TESTS_GOLDEN_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "model/model.h"

typedef struct golden {
    char name[256];
    char path[512]; /* what checkpoint_open takes */
    json_t *ref;
    const float *values; /* ref.bin */
    char *values_owned;
    size_t n_values;
    checkpoint *source;
} golden;

/* Golden models in a fixed order; false past the last. */
bool golden_open(golden *out, size_t index);
void golden_close(golden *g);

const json_t *golden_prompt(const golden *g, size_t i); /* NULL past the last */
/* The ids of a JSON array; *n its length; free() it. */
int32_t *golden_ids(const json_t *array, size_t *n);
/* {"offset", "shape"} -> [rows, cols] */
const float *golden_block(const golden *g, const json_t *where, size_t *rows, size_t *cols);
/* Fails the test when the largest difference exceeds `relative` times the largest reference value. */
void golden_compare(const char *what, const golden *g, const char *prompt, const float *got, size_t stride, const float *want, size_t rows,
                    size_t cols, double relative);

#endif
