#include "golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"

#define MODELS "tests/golden/models/"
#define GGUF   "tests/golden/gguf/"

static const char *const directories[] = {"a_qwen2_mha_tied_f32",           "b_qwen2_gqa_untied_bf16", "c_qwen2_odd_f16",
                                          "d_qwen2_headdim24_sharded_bf16", "e_qwen3_tied_bf16",       "f_qwen3_untied_sharded_f16"};
static const char *const files[] = {"qwen2_a.F32",  "qwen2_a.F16",  "qwen2_a.BF16", "qwen2_a.Q8_0", "qwen2_a.Q4_0",
                                    "qwen2_a.Q4_1", "qwen2_a.Q5_0", "qwen2_a.Q5_1", "qwen3_b.K_MIX"};
enum { N_DIRECTORIES = sizeof directories / sizeof *directories, N_FILES = sizeof files / sizeof *files };

bool golden_open(golden *out, size_t index) {
    char ref[600], bin[600];
    if (index >= N_DIRECTORIES + N_FILES) return false;
    *out = (golden){0};
    bool is_directory = index < N_DIRECTORIES;
    snprintf(out->name, sizeof out->name, "%s", is_directory ? directories[index] : files[index - N_DIRECTORIES]);
    snprintf(out->path, sizeof out->path, is_directory ? MODELS "%s" : GGUF "%s.gguf", out->name);
    snprintf(ref, sizeof ref, is_directory ? MODELS "%s/ref.json" : GGUF "%s.ref.json", out->name);
    snprintf(bin, sizeof bin, is_directory ? MODELS "%s/ref.bin" : GGUF "%s.ref.bin", out->name);
    out->ref = json_load_file(ref, 0, NULL);
    assert_non_null(out->ref);
    size_t bytes;
    assert_int_equal(file_read(&out->values_owned, &bytes, bin, 1 << 24, NULL), QAIO_OK);
    out->values = (const float *)(const void *)out->values_owned;
    out->n_values = bytes / sizeof(float);
    qaio_error err;
    if (checkpoint_open(&out->source, out->path, &err)) fail_msg("%s: %s", out->path, err.message);
    return true;
}

void golden_close(golden *g) {
    json_decref(g->ref);
    mem_free(g->values_owned);
    checkpoint_close(g->source);
}

const json_t *golden_prompt(const golden *g, size_t i) { return json_array_get(json_object_get(g->ref, "prompts"), i); }

int32_t *golden_ids(const json_t *array, size_t *n) {
    *n = json_array_size(array);
    int32_t *ids = malloc((*n + 1) * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < *n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return ids;
}

const float *golden_block(const golden *g, const json_t *where, size_t *rows, size_t *cols) {
    size_t offset = (size_t)json_integer_value(json_object_get(where, "offset")) / sizeof(float);
    const json_t *shape = json_object_get(where, "shape");
    *rows = (size_t)json_integer_value(json_array_get(shape, 0));
    *cols = (size_t)json_integer_value(json_array_get(shape, 1));
    assert_true(offset + *rows * *cols <= g->n_values);
    return g->values + offset;
}

void golden_compare(const char *what, const golden *g, const char *prompt, const float *got, size_t stride, const float *want, size_t rows,
                    size_t cols, double relative) {
    double largest = 0, worst = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            double difference = fabs((double)got[r * stride + c] - (double)want[r * cols + c]);
            if (!(difference <= worst)) worst = difference;
            largest = fmax(largest, fabs((double)want[r * cols + c]));
        }
    if (!(worst <= relative * largest)) fail_msg("%s %s: %s off by %g of at most %g", g->name, prompt, what, worst, relative * largest);
}
