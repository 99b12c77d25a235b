/* The forward pass against transformers' values, with every instruction set this machine has; and promise 3: a row's bits do not depend on
 * what else is in the batch, on how a prompt is cut, or on the number of threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "golden.h"

#define TOLERANCE 2e-4 /* tests/golden/README.md */

/* A sequence with its blocks. */
typedef struct sequence {
    void *blocks[64];
    size_t n_positions;
} sequence;

static void sequence_init(sequence *s, const model *m) {
    s->n_positions = 0;
    for (size_t i = 0; i < 64; i++) assert_non_null(s->blocks[i] = mem_aligned(model_kv_block_bytes(m)));
}

static void sequence_deinit(sequence *s) {
    for (size_t i = 0; i < 64; i++) mem_free(s->blocks[i]);
}

static model *load(const golden *g, dtype type, const kernels *k, pool *p) {
    model *m;
    qaio_error err;
    model_options options = {.type = type, .kv_type = DTYPE_NONE, .kernels = k, .pool = p};
    if (model_load(&m, g->source, &options, &err)) fail_msg("%s: %s", g->name, err.message);
    return m;
}

/* hidden[n, stride] of ids, fed in pieces of at most `piece` rows. */
static float *run(model *m, const int32_t *ids, size_t n, size_t piece) {
    size_t stride = model_hidden_stride(m);
    float *hidden = mem_aligned(n * stride * sizeof(float));
    sequence s;
    sequence_init(&s, m);
    for (size_t at = 0; at < n; at += piece) {
        size_t count = n - at < piece ? n - at : piece;
        model_span span = {.tokens = ids + at, .n_tokens = count, .position = at, .blocks = s.blocks, .n_outputs = count};
        model_forward(m, &span, 1, hidden + at * stride, NULL, NULL);
    }
    sequence_deinit(&s);
    return hidden;
}

typedef struct trace {
    const golden *g;
    const char *prompt;
    const float *want; /* [layers + 1, hidden] at the last position */
    size_t cols, n_seen;
} trace;

static void check_layer(void *ctx, size_t layer, const float *x, size_t stride, size_t n_rows) {
    trace *t = ctx;
    golden_compare("residual stream", t->g, t->prompt, x + (n_rows - 1) * stride, stride, t->want + layer * t->cols, 1, t->cols, TOLERANCE);
    t->n_seen++;
}

static void check_layers(const golden *g, model *m, const json_t *prompt, const int32_t *ids, size_t n) {
    const json_t *where = json_object_get(prompt, "hidden_layers");
    if (!where) return;
    size_t rows;
    trace t = {.g = g, .prompt = json_string_value(json_object_get(prompt, "name"))};
    t.want = golden_block(g, where, &rows, &t.cols);
    sequence s;
    sequence_init(&s, m);
    model_span span = {.tokens = ids, .n_tokens = n, .blocks = s.blocks};
    model_forward(m, &span, 1, NULL, check_layer, &t);
    sequence_deinit(&s);
    assert_int_equal(t.n_seen, model_description(m)->n_layers + 1);
}

static void check_prompt(const golden *g, model *m, const json_t *prompt) {
    const char *name = json_string_value(json_object_get(prompt, "name"));
    size_t n, rows, cols, stride = model_hidden_stride(m), vocab = model_description(m)->vocab_size;
    int32_t *ids = golden_ids(json_object_get(prompt, "ids"), &n);
    float *hidden = run(m, ids, n, MODEL_MAX_ROWS), *single = run(m, ids, n, 1), *pieces = run(m, ids, n, 7);
    assert_memory_equal(hidden, single, n * stride * sizeof(float));
    assert_memory_equal(hidden, pieces, n * stride * sizeof(float));
    const json_t *where = json_object_get(prompt, "hidden");
    if (where) {
        const float *want = golden_block(g, where, &rows, &cols);
        golden_compare("hidden", g, name, hidden, stride, want, rows, cols, TOLERANCE);
    }
    const float *want = golden_block(g, json_object_get(prompt, "logits"), &rows, &cols);
    assert_int_equal(cols, vocab);
    float *logits = malloc(rows * vocab * sizeof *logits);
    model_logits(m, hidden + (n - rows) * stride, rows, logits);
    golden_compare("logits", g, name, logits, vocab, want, rows, cols, TOLERANCE);
    float some[3];
    int32_t tokens[3] = {0, (int32_t)vocab - 1, (int32_t)vocab / 2};
    model_logits_of(m, hidden + (n - 1) * stride, 1, tokens, 3, some);
    for (size_t i = 0; i < 3; i++) assert_memory_equal(&some[i], &logits[(rows - 1) * vocab + (size_t)tokens[i]], sizeof(float));
    check_layers(g, m, prompt, ids, n);
    free(logits);
    free(ids);
    mem_free(hidden);
    mem_free(single);
    mem_free(pieces);
}

static void golden_values_come_out_with_every_instruction_set(void **state) {
    (void)state;
    pool *p;
    assert_int_equal(pool_new(&p, 2, NULL), QAIO_OK);
    golden g;
    for (size_t i = 0; golden_open(&g, i); i++) {
        for (const kernels *const *k = kernels_available(); *k; k++) {
            model *m = load(&g, DTYPE_F32, *k, p);
            const json_t *prompt;
            for (size_t j = 0; (prompt = golden_prompt(&g, j)); j++) check_prompt(&g, m, prompt);
            model_free(m);
        }
        golden_close(&g);
    }
    pool_free(p);
}

/* The last logits of every prompt of the first model, all prompts in one ragged batch or one by one. */
static float *last_logits(const golden *g, dtype type, const kernels *k, int threads, bool is_ragged, size_t *n_values) {
    pool *p;
    assert_int_equal(pool_new(&p, threads, NULL), QAIO_OK);
    model *m = load(g, type, k, p);
    size_t stride = model_hidden_stride(m), vocab = model_description(m)->vocab_size, n_prompts = 4;
    float *hidden = mem_aligned(n_prompts * stride * sizeof(float));
    model_span spans[4];
    sequence sequences[4];
    int32_t *ids[4];
    for (size_t i = 0; i < n_prompts; i++) {
        sequence_init(&sequences[i], m);
        spans[i] = (model_span){.blocks = sequences[i].blocks, .n_outputs = 1};
        spans[i].tokens = ids[i] = golden_ids(json_object_get(golden_prompt(g, i), "ids"), &spans[i].n_tokens);
        if (!is_ragged) model_forward(m, &spans[i], 1, hidden + i * stride, NULL, NULL);
    }
    if (is_ragged) model_forward(m, spans, n_prompts, hidden, NULL, NULL);
    *n_values = n_prompts * vocab;
    float *logits = malloc(*n_values * sizeof *logits);
    model_logits(m, hidden, n_prompts, logits);
    for (size_t i = 0; i < n_prompts; i++) {
        sequence_deinit(&sequences[i]);
        free(ids[i]);
    }
    mem_free(hidden);
    model_free(m);
    pool_free(p);
    return logits;
}

static void same_bits_for_any_batch_threads_and_instruction_set(void **state) {
    (void)state;
    static const dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0};
    golden g;
    for (size_t i = 0; golden_open(&g, i) && i < 6; i++) {
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            size_t n;
            float *alone = last_logits(&g, types[t], kernels_ref(), 1, false, &n);
            for (const kernels *const *k = kernels_available(); *k; k++)
                for (int threads = 1; threads <= 8; threads *= 8) {
                    float *together = last_logits(&g, types[t], *k, threads, true, &n);
                    if (memcmp(alone, together, n * sizeof *alone) != 0)
                        fail_msg("%s %s: %s with %d threads differs from plain C", g.name, dtype_get(types[t])->name, (*k)->name, threads);
                    free(together);
                }
            free(alone);
        }
        golden_close(&g);
    }
    golden_close(&g);
}

/* 8-bit weights and activations: near the float32 logits. */
static void quantised_logits_stay_near(void **state) {
    (void)state;
    golden g;
    assert_true(golden_open(&g, 0));
    size_t n;
    const kernels *best;
    assert_int_equal(kernels_select(&best, NULL, NULL), QAIO_OK);
    float *exact = last_logits(&g, DTYPE_F32, best, 1, true, &n), *q8 = last_logits(&g, DTYPE_Q8_0, best, 1, true, &n);
    double squares = 0, difference = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)exact[i] * (double)exact[i];
        difference += ((double)exact[i] - (double)q8[i]) * ((double)exact[i] - (double)q8[i]);
    }
    double relative = sqrt(difference / squares); /* these random models amplify: see their README */
    if (!(relative > 0 && relative < 0.1)) fail_msg("the relative RMS error is %g", relative);
    free(exact);
    free(q8);
    golden_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_values_come_out_with_every_instruction_set),
        cmocka_unit_test(same_bits_for_any_batch_threads_and_instruction_set),
        cmocka_unit_test(quantised_logits_stay_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
