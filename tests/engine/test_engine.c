/* The engine against transformers' continuations and label log-probabilities, and promise 3: the same bits whatever else is going on. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fixture.h"

static const sampling greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};

static size_t generate(engine *e, const int32_t *ids, size_t n, size_t max_new, int32_t *out) {
    job_params params = {.kind = JOB_GENERATE, .prompt = ids, .n_prompt = n, .sampling = greedy, .max_new = max_new, .n_top = -1};
    engine_job *job;
    qaio_error err;
    if (engine_submit(e, &params, &job, &err)) fail_msg("%s", err.message);
    token_event event;
    size_t got = 0;
    while (engine_next(job, &event, -1) == NEXT_TOKEN) out[got++] = event.token;
    job_result result;
    assert_int_equal(engine_finish(job, NULL, &result, NULL), QAIO_OK);
    assert_int_equal(result.n_generated, got);
    return got;
}

static void greedy_continuations_are_those_of_transformers(void **state) {
    (void)state;
    fixture f;
    for (size_t i = 0; fixture_open(&f, i, DTYPE_F32, 0); i++) {
        const json_t *prompt;
        for (size_t j = 0; (prompt = golden_prompt(&f.g, j)); j++) {
            size_t n, n_want;
            int32_t *ids = golden_ids(json_object_get(prompt, "ids"), &n), *want = golden_ids(json_object_get(prompt, "greedy"), &n_want);
            int32_t got[64];
            assert_int_equal(generate(f.e, ids, n, n_want, got), n_want);
            for (size_t k = 0; k < n_want; k++)
                if (got[k] != want[k]) fail_msg("%s prompt %zu: token %zu is %d, not %d", f.g.name, j, k, got[k], want[k]);
            free(ids);
            free(want);
        }
        fixture_close(&f);
    }
}

static void score(engine *e, const int32_t *ids, size_t n, const id_list *labels, size_t n_labels, bool is_relative, double *logprobs) {
    score_group group = {.continuations = labels, .n_continuations = n_labels, .is_relative = is_relative};
    job_params params = {.kind = JOB_SCORE, .prompt = ids, .n_prompt = n, .groups = &group, .n_groups = 1};
    engine_job *job;
    qaio_error err;
    if (engine_submit(e, &params, &job, &err)) fail_msg("%s", err.message);
    assert_int_equal(engine_finish(job, logprobs, NULL, NULL), QAIO_OK);
}

static void check_labels(fixture *f, const json_t *prompt) {
    const json_t *labels = json_object_get(prompt, "labels");
    size_t n, n_labels = json_array_size(labels);
    if (!n_labels) return;
    int32_t *ids = golden_ids(json_object_get(prompt, "ids"), &n);
    id_list lists[32];
    double want[32], got[32], relative[32];
    assert_true(n_labels <= 32);
    for (size_t i = 0; i < n_labels; i++) {
        const json_t *label = json_array_get(labels, i);
        lists[i].ids = golden_ids(json_object_get(label, "ids"), &lists[i].n);
        const json_t *exact = json_object_get(label, "logprob_f64");
        want[i] = json_real_value(exact ? exact : json_object_get(label, "logprob"));
    }
    score(f->e, ids, n, lists, n_labels, false, got);
    score(f->e, ids, n, lists, n_labels, true, relative);
    for (size_t i = 0; i < n_labels; i++) {
        if (!(fabs(got[i] - want[i]) <= 1e-4 + 2e-5 * fabs(want[i])))
            fail_msg("%s label %zu: %.7f, not %.7f", f->g.name, i, got[i], want[i]);
        /* Without the constant of the first token the differences between labels are the same. */
        assert_true(fabs((relative[i] - relative[0]) - (got[i] - got[0])) < 1e-4);
        free((void *)(uintptr_t)lists[i].ids);
    }
    free(ids);
}

static void label_log_probabilities_are_those_of_transformers(void **state) {
    (void)state;
    fixture f;
    for (size_t i = 0; fixture_open(&f, i, DTYPE_F32, 0); i++) {
        const json_t *prompt;
        for (size_t j = 0; (prompt = golden_prompt(&f.g, j)); j++) check_labels(&f, prompt);
        fixture_close(&f);
    }
}

/* ---- random traffic ---- */

enum { N_CASES = 24, N_CALLERS = 4, N_ROUNDS = 60, MAX_IDS = 120, N_SCORES = 3 };

typedef struct test_case {
    int32_t ids[MAX_IDS];
    size_t n;
    int32_t labels[N_SCORES][4];
    id_list lists[N_SCORES];
    double scores[N_SCORES];
    int32_t tokens[16];
} test_case;

typedef struct traffic {
    engine *e;
    const test_case *cases;
    unsigned seed;
    size_t n_wrong;
} traffic;

/* Prompts that share beginnings of many lengths. */
static void make_cases(test_case *cases, size_t vocab) {
    unsigned seed = 7;
    for (size_t c = 0; c < N_CASES; c++) {
        size_t shared = c ? (size_t)rand_r(&seed) % (cases[c - 1].n + 1) : 0;
        cases[c].n = shared + 1 + (size_t)rand_r(&seed) % 60;
        if (cases[c].n > MAX_IDS) cases[c].n = MAX_IDS;
        for (size_t i = 0; i < cases[c].n; i++)
            cases[c].ids[i] = i < shared ? cases[c - 1].ids[i] : (int32_t)((size_t)rand_r(&seed) % vocab);
        for (size_t l = 0; l < N_SCORES; l++) {
            cases[c].lists[l] = (id_list){cases[c].labels[l], l + 1};
            for (size_t i = 0; i <= l; i++) cases[c].labels[l][i] = (int32_t)((size_t)rand_r(&seed) % vocab);
        }
    }
}

static void cancel_one(traffic *t, const test_case *c) {
    job_params params = {.kind = JOB_GENERATE, .prompt = c->ids, .n_prompt = c->n, .sampling = greedy, .max_new = 64, .n_top = -1};
    engine_job *job;
    token_event event;
    if (engine_submit(t->e, &params, &job, NULL)) return;
    engine_next(job, &event, (int)(rand_r(&t->seed) % 3));
    engine_cancel(job);
    engine_finish(job, NULL, NULL, NULL);
}

static void *caller(void *arg) {
    traffic *t = arg;
    for (int round = 0; round < N_ROUNDS; round++) {
        const test_case *c = &t->cases[(size_t)rand_r(&t->seed) % N_CASES];
        double scores[N_SCORES];
        int32_t tokens[16];
        switch (rand_r(&t->seed) % 3) {
        case 0:
            cancel_one(t, c);
            break;
        case 1:
            score(t->e, c->ids, c->n, c->lists, N_SCORES, false, scores);
            t->n_wrong += memcmp(scores, c->scores, sizeof scores) != 0;
            break;
        default:
            generate(t->e, c->ids, c->n, 16, tokens);
            t->n_wrong += memcmp(tokens, c->tokens, sizeof tokens) != 0;
        }
    }
    return NULL;
}

static void results_do_not_depend_on_other_traffic(void **state) {
    (void)state;
    static test_case cases[N_CASES];
    fixture f;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    make_cases(cases, model_description(engine_model(f.e))->vocab_size);
    fixture_close(&f);
    for (size_t c = 0; c < N_CASES; c++) { /* each alone in a fresh engine */
        assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
        score(f.e, cases[c].ids, cases[c].n, cases[c].lists, N_SCORES, false, cases[c].scores);
        fixture_close(&f);
        assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
        generate(f.e, cases[c].ids, cases[c].n, 16, cases[c].tokens);
        fixture_close(&f);
    }
    /* All together, with so little KV memory that prefixes are evicted all the time. */
    assert_true(fixture_open(&f, 1, DTYPE_F32, 1));
    pthread_t threads[N_CALLERS];
    traffic callers[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (traffic){f.e, cases, i + 1, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, caller, &callers[i]), 0);
    }
    for (size_t i = 0; i < N_CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].n_wrong, 0);
    }
    engine_stats stats;
    engine_get_stats(f.e, &stats);
    assert_int_equal(stats.n_active + stats.n_queued, 0);
    assert_true(stats.n_cached_tokens > 0);
    fixture_close(&f);
}

static void a_second_turn_computes_only_what_is_new(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_F32, 0));
    int32_t ids[100] = {5, 6, 7, 8, 9, 10, 11, 12};
    size_t n = 8 + generate(f.e, ids, 8, 20, ids + 8);
    ids[n++] = 3;
    job_params params = {.kind = JOB_GENERATE, .prompt = ids, .n_prompt = n, .sampling = greedy, .max_new = 1, .n_top = -1};
    engine_job *job;
    job_result result;
    assert_int_equal(engine_submit(f.e, &params, &job, NULL), QAIO_OK);
    assert_int_equal(engine_finish(job, NULL, &result, NULL), QAIO_OK);
    assert_int_equal(result.n_cached, n - 2); /* the last token drawn was never computed */
    fixture_close(&f);
}

static void a_pinned_prompt_survives_eviction(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_F32, 1));
    int32_t ids[40], other[200], out[16];
    for (int32_t i = 0; i < 40; i++) ids[i] = i;
    job_params pin = {.kind = JOB_SCORE, .prompt = ids, .n_prompt = 32, .n_pin = 32};
    engine_job *job;
    assert_int_equal(engine_submit(f.e, &pin, &job, NULL), QAIO_OK);
    assert_int_equal(engine_finish(job, NULL, NULL, NULL), QAIO_OK);
    for (int32_t round = 0; round < 20; round++) {
        for (int32_t i = 0; i < 150; i++) other[i] = 300 - i - round;
        generate(f.e, other, 150, 16, out);
    }
    id_list label = {ids, 1};
    score_group group = {.continuations = &label, .n_continuations = 1};
    job_params read = {.kind = JOB_SCORE, .prompt = ids, .n_prompt = 40, .groups = &group, .n_groups = 1};
    job_result result;
    assert_int_equal(engine_submit(f.e, &read, &job, NULL), QAIO_OK);
    double logprob;
    assert_int_equal(engine_finish(job, &logprob, &result, NULL), QAIO_OK);
    assert_int_equal(result.n_cached, 32);
    fixture_close(&f);
}

static void senseless_jobs_are_refused(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_F32, 0));
    int32_t ids[300] = {0};
    engine_job *job;
    qaio_error err;
    job_params params = {.kind = JOB_GENERATE, .prompt = ids, .n_prompt = 300, .sampling = greedy, .max_new = 4, .n_top = -1};
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_LIMIT);
    assert_non_null(strstr(err.message, "300 tokens"));
    params.n_prompt = 0;
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_ARGUMENT);
    params.n_prompt = 2;
    ids[1] = 99999;
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_ARGUMENT);
    ids[1] = -1;
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_ARGUMENT);
    ids[1] = 0;
    params.sampling.temperature = NAN;
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_ARGUMENT);
    fixture_close(&f);
}

/* Long jobs are submitted faster than they are computed. */
static void a_full_queue_is_busy(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_F32, 0));
    enum { MAX_JOBS = 4 * ENGINE_MAX_QUEUED };
    int32_t ids[2] = {1, 2};
    job_params params = {.kind = JOB_GENERATE, .prompt = ids, .n_prompt = 2, .sampling = greedy, .max_new = 200, .n_top = -1};
    static engine_job *jobs[MAX_JOBS];
    size_t n = 0;
    qaio_status status = QAIO_OK;
    qaio_error err;
    while (n < MAX_JOBS && !(status = engine_submit(f.e, &params, &jobs[n], &err))) n++;
    assert_int_equal(status, QAIO_ERR_BUSY);
    assert_non_null(strstr(err.message, "try again"));
    for (size_t i = 0; i < n; i++) engine_cancel(jobs[i]);
    for (size_t i = 0; i < n; i++) engine_finish(jobs[i], NULL, NULL, NULL);
    fixture_close(&f);
}

/* Steps that ten label reads took, started under one hold. */
static uint64_t steps_of_held_reads(engine *e) {
    int32_t ids[2] = {1, 2};
    id_list label = {ids, 1};
    score_group group = {.continuations = &label, .n_continuations = 1};
    job_params params = {.kind = JOB_SCORE, .prompt = ids, .n_prompt = 2, .groups = &group, .n_groups = 1};
    engine_job *jobs[10];
    engine_stats before, after;
    engine_get_stats(e, &before);
    engine_hold(e);
    for (size_t i = 0; i < 10; i++) assert_int_equal(engine_submit(e, &params, &jobs[i], NULL), QAIO_OK);
    engine_release(e);
    for (size_t i = 0; i < 10; i++) assert_int_equal(engine_finish(jobs[i], NULL, NULL, NULL), QAIO_OK);
    engine_get_stats(e, &after);
    return after.n_steps - before.n_steps;
}

static void held_jobs_share_a_step(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_F32, 0));
    uint64_t steps = 0;
    for (int i = 0; i < 100 && steps != 1; i++) steps = steps_of_held_reads(f.e); /* a hold may run out where this thread loses its CPU */
    assert_int_equal(steps, 1);
    fixture_close(&f);
}

static void a_forgotten_hold_holds_nobody_for_long(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_F32, 0));
    int32_t ids[3] = {1, 2, 3}, out[4];
    engine_hold(f.e);
    assert_int_equal(generate(f.e, ids, 3, 4, out), 4);
    engine_release(f.e);
    assert_int_equal(generate(f.e, ids, 3, 4, out), 4);
    fixture_close(&f);
}

static void top_alternatives_are_sorted_and_hold_the_greedy_token(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_F32, 0));
    int32_t ids[3] = {1, 2, 3};
    job_params params = {.kind = JOB_GENERATE, .prompt = ids, .n_prompt = 3, .sampling = greedy, .max_new = 5, .n_top = 5};
    engine_job *job;
    token_event event;
    assert_int_equal(engine_submit(f.e, &params, &job, NULL), QAIO_OK);
    while (engine_next(job, &event, -1) == NEXT_TOKEN) {
        assert_int_equal(event.top_tokens[0], event.token);
        assert_true(event.logprob == event.top_logprobs[0] && event.logprob < 0);
        for (int i = 1; i < 5; i++) assert_true(event.top_logprobs[i] <= event.top_logprobs[i - 1]);
    }
    assert_int_equal(engine_finish(job, NULL, NULL, NULL), QAIO_OK);
    fixture_close(&f);
}

static void a_failed_allocation_refuses_the_job_and_nothing_else(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 0, DTYPE_F32, 0));
    int32_t ids[3] = {1, 2, 3};
    sampling hot = {.temperature = 1, .top_p = 0.9f, .repetition_penalty = 1.1f};
    job_params params = {.kind = JOB_GENERATE, .prompt = ids, .n_prompt = 3, .sampling = hot, .max_new = 5, .n_top = -1};
    engine_job *job;
    long n = 0;
    qaio_status status;
    do {
        engine_hold(f.e); /* the engine's thread shall not meet the failing allocations */
        mem_fail_after(n++);
        status = engine_submit(f.e, &params, &job, NULL);
        mem_fail_after(-1);
        engine_release(f.e);
        if (status) assert_int_equal(status, QAIO_ERR_MEMORY);
    } while (status);
    assert_true(n > 5);
    assert_int_equal(engine_finish(job, NULL, NULL, NULL), QAIO_OK);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_continuations_are_those_of_transformers),
        cmocka_unit_test(label_log_probabilities_are_those_of_transformers),
        cmocka_unit_test(results_do_not_depend_on_other_traffic),
        cmocka_unit_test(a_second_turn_computes_only_what_is_new),
        cmocka_unit_test(a_pinned_prompt_survives_eviction),
        cmocka_unit_test(senseless_jobs_are_refused),
        cmocka_unit_test(a_full_queue_is_busy),
        cmocka_unit_test(held_jobs_share_a_step),
        cmocka_unit_test(a_forgotten_hold_holds_nobody_for_long),
        cmocka_unit_test(top_alternatives_are_sorted_and_hold_the_greedy_token),
        cmocka_unit_test(a_failed_allocation_refuses_the_job_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
