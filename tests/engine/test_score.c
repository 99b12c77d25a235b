/* Scores of continuations: a tree of forks gives what brute force gives, and the same bits in any company, whatever is cancelled, evicted
 * or fails beside them. */
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
#include "engine/internal.h"
#include "fixture.h"

/* ---- random questions ---- */

enum { MAX_GROUPS = 3, MAX_LABELS = 6, MAX_LABEL = 5, MAX_OPENING = 20, MAX_PROMPT = 70, MAX_SCORES = MAX_GROUPS * MAX_LABELS, N_NEW = 8 };

typedef struct question {
    int32_t prompt[MAX_PROMPT];
    size_t n_prompt;
    int32_t openings[MAX_GROUPS][MAX_OPENING];
    int32_t labels[MAX_GROUPS][MAX_LABELS][MAX_LABEL];
    id_list lists[MAX_GROUPS][MAX_LABELS];
    score_group groups[MAX_GROUPS];
    size_t n_groups, n_scores;
    double scores[MAX_SCORES]; /* right ones */
    int32_t tokens[N_NEW];
} question;

static size_t below(unsigned *seed, size_t n) { return (size_t)rand_r(seed) % n; }

static void fill(int32_t *ids, size_t n, size_t vocab, unsigned *seed) {
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)below(seed, vocab);
}

/* Labels of few different tokens, so that many begin alike, go on from one another, or are the same. */
static void make_group(question *q, size_t g, size_t vocab, unsigned *seed) {
    score_group *group = &q->groups[g];
    fill(q->openings[g], MAX_OPENING, vocab, seed);
    if (g && below(seed, 2)) memcpy(q->openings[g], q->openings[g - 1], sizeof(int32_t) * below(seed, MAX_OPENING));
    *group = (score_group){.opening = {q->openings[g], below(seed, 3) ? below(seed, MAX_OPENING) : 0},
                           .continuations = q->lists[g],
                           .n_continuations = 1 + below(seed, MAX_LABELS),
                           .is_relative = below(seed, 2)};
    for (size_t i = 0; i < group->n_continuations; i++) {
        fill(q->labels[g][i], MAX_LABEL, below(seed, 2) ? 2 : 40, seed);
        q->lists[g][i] = (id_list){q->labels[g][i], 1 + below(seed, MAX_LABEL)};
    }
    q->n_scores += group->n_continuations;
}

/* after: another question whose prompt this one may begin like. */
static void make_question(question *q, const question *after, size_t vocab, unsigned *seed) {
    *q = (question){.n_prompt = 1 + below(seed, MAX_PROMPT), .n_groups = 1 + below(seed, MAX_GROUPS)};
    fill(q->prompt, q->n_prompt, vocab, seed);
    if (after)
        memcpy(q->prompt, after->prompt, sizeof(int32_t) * below(seed, q->n_prompt < after->n_prompt ? q->n_prompt : after->n_prompt));
    for (size_t g = 0; g < q->n_groups; g++) make_group(q, g, vocab, seed);
}

static job_params params_of(const question *q, job_kind kind) {
    return (job_params){.kind = kind,
                        .prompt = q->prompt,
                        .n_prompt = q->n_prompt,
                        .groups = q->groups,
                        .n_groups = q->n_groups,
                        .sampling = {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
                        .max_new = N_NEW,
                        .n_top = -1};
}

static void ask(engine *e, const question *q, double *scores) {
    job_params params = params_of(q, JOB_SCORE);
    engine_job *job;
    qaio_error err;
    if (engine_submit(e, &params, &job, &err)) fail_msg("%s", err.message);
    assert_int_equal(engine_finish(job, scores, NULL, NULL), QAIO_OK);
}

/* A reply to the prompt, its scores asked for before or after its end. */
static void ask_and_reply(engine *e, const question *q, bool at_once, double *scores, int32_t *tokens) {
    job_params params = params_of(q, JOB_GENERATE);
    engine_job *job;
    token_event event;
    qaio_error err;
    size_t n = 0;
    if (engine_submit(e, &params, &job, &err)) fail_msg("%s", err.message);
    if (at_once) assert_int_equal(engine_scores(job, scores, NULL, NULL), QAIO_OK);
    while (engine_next(job, &event, -1) == NEXT_TOKEN) tokens[n++] = event.token;
    assert_int_equal(n, N_NEW);
    if (!at_once) assert_int_equal(engine_scores(job, scores, NULL, NULL), QAIO_OK);
    assert_int_equal(engine_finish(job, NULL, NULL, NULL), QAIO_OK);
}

/* Blocks that nobody but the cache holds on to: the engine is idle. */
static void assert_all_blocks_are_free(engine *e) { assert_int_equal(e->kv.n_used, e->cache.n_blocks); }

/* ---- brute force ---- */

/* log P(token | ids), as a job of its own. */
static double step_of(engine *e, const int32_t *ids, size_t n, int32_t token) {
    id_list one = {&token, 1};
    score_group group = {.continuations = &one, .n_continuations = 1};
    job_params params = {.kind = JOB_SCORE, .prompt = ids, .n_prompt = n, .groups = &group, .n_groups = 1};
    engine_job *job;
    double logprob;
    assert_int_equal(engine_submit(e, &params, &job, NULL), QAIO_OK);
    assert_int_equal(engine_finish(job, &logprob, NULL, NULL), QAIO_OK);
    return logprob;
}

static double brute_force(engine *e, const question *q, const score_group *g, const id_list *label) {
    int32_t ids[MAX_PROMPT + MAX_OPENING + MAX_LABEL];
    size_t n = q->n_prompt;
    double sum = 0;
    memcpy(ids, q->prompt, n * sizeof *ids);
    for (size_t i = 0; i < g->opening.n; i++) ids[n++] = g->opening.ids[i];
    for (size_t i = 0; i < label->n; i++) {
        sum += step_of(e, ids, n, label->ids[i]);
        ids[n++] = label->ids[i];
    }
    return sum;
}

static void a_tree_of_forks_gives_what_brute_force_gives(void **state) {
    (void)state;
    fixture f;
    unsigned seed = 11;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    for (int round = 0; round < 40; round++) {
        question q;
        double scores[MAX_SCORES];
        make_question(&q, NULL, f.vocab, &seed);
        ask(f.e, &q, scores);
        const double *got = scores;
        for (size_t g = 0; g < q.n_groups; g++) {
            double first = brute_force(f.e, &q, &q.groups[g], &q.lists[g][0]);
            for (size_t i = 0; i < q.groups[g].n_continuations; i++) {
                double want = brute_force(f.e, &q, &q.groups[g], &q.lists[g][i]);
                double difference = q.groups[g].is_relative ? (got[i] - got[0]) - (want - first) : got[i] - want;
                if (!(fabs(difference) < 1e-9)) fail_msg("round %d group %zu label %zu: %g", round, g, i, difference);
            }
            got += q.groups[g].n_continuations;
        }
    }
    assert_all_blocks_are_free(f.e);
    fixture_close(&f);
}

static void forks_share_the_step_that_ends_their_prompt(void **state) {
    (void)state;
    fixture f;
    unsigned seed = 5;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    for (int round = 0; round < 20; round++) {
        question q;
        double scores[MAX_SCORES];
        engine_stats before, after;
        make_question(&q, NULL, f.vocab, &seed);
        engine_get_stats(f.e, &before);
        ask(f.e, &q, scores);
        engine_get_stats(f.e, &after);
        assert_int_equal(after.n_steps - before.n_steps, 1);
    }
    fixture_close(&f);
}

static void labels_are_there_before_the_reply_s_first_token(void **state) {
    (void)state;
    fixture f;
    unsigned seed = 6;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    for (int round = 0; round < 20; round++) {
        question q;
        job_result at_scores, at_end;
        double scores[MAX_SCORES], alone[MAX_SCORES];
        make_question(&q, NULL, f.vocab, &seed);
        job_params params = params_of(&q, JOB_GENERATE);
        engine_job *job;
        assert_int_equal(engine_submit(f.e, &params, &job, NULL), QAIO_OK);
        assert_true(engine_wait(job, -1));
        assert_int_equal(engine_scores(job, scores, &at_scores, NULL), QAIO_OK);
        assert_int_equal(engine_finish(job, NULL, &at_end, NULL), QAIO_OK);
        assert_true(at_scores.scored_ms <= at_end.first_ms);
        ask(f.e, &q, alone);
        assert_memory_equal(scores, alone, q.n_scores * sizeof *scores);
    }
    fixture_close(&f);
}

/* ---- any company ---- */

enum { N_QUESTIONS = 16, N_CALLERS = 4, N_ROUNDS = 50 };

typedef struct caller {
    engine *e;
    const question *questions;
    unsigned seed;
    size_t n_wrong;
} caller;

static void cancel_one(caller *c, const question *q) {
    job_params params = params_of(q, below(&c->seed, 2) ? JOB_SCORE : JOB_GENERATE);
    engine_job *job;
    if (engine_submit(c->e, &params, &job, NULL)) return;
    engine_wait(job, (int)below(&c->seed, 3));
    engine_cancel(job);
    engine_finish(job, NULL, NULL, NULL);
}

static void *call(void *arg) {
    caller *c = arg;
    for (int round = 0; round < N_ROUNDS; round++) {
        const question *q = &c->questions[below(&c->seed, N_QUESTIONS)];
        double scores[MAX_SCORES];
        int32_t tokens[N_NEW];
        size_t kind = below(&c->seed, 4);
        if (kind == 0) {
            cancel_one(c, q);
            continue;
        }
        if (kind == 1) ask_and_reply(c->e, q, below(&c->seed, 2), scores, tokens);
        if (kind > 1) ask(c->e, q, scores);
        c->n_wrong += memcmp(scores, q->scores, q->n_scores * sizeof *scores) != 0;
        c->n_wrong += kind == 1 && memcmp(tokens, q->tokens, sizeof tokens) != 0;
    }
    return NULL;
}

static void scores_do_not_depend_on_other_traffic_and_no_block_is_lost(void **state) {
    (void)state;
    static question questions[N_QUESTIONS];
    fixture f;
    unsigned seed = 3;
    for (size_t i = 0; i < N_QUESTIONS; i++) { /* each alone in a fresh engine */
        question *q = &questions[i];
        assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
        make_question(q, i ? &questions[i - 1] : NULL, f.vocab, &seed);
        ask(f.e, q, q->scores);
        fixture_close(&f);
        assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
        double scores[MAX_SCORES];
        ask_and_reply(f.e, q, true, scores, q->tokens);
        assert_memory_equal(scores, q->scores, q->n_scores * sizeof *scores);
        fixture_close(&f);
    }
    assert_true(fixture_open(&f, 1, DTYPE_F32, 1)); /* as little KV memory as there may be: prefixes are evicted all the time */
    pthread_t threads[N_CALLERS];
    caller callers[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (caller){f.e, questions, i + 1, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (size_t i = 0; i < N_CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].n_wrong, 0);
    }
    assert_all_blocks_are_free(f.e);
    fixture_close(&f);
}

/* More runs than have memory at the same time: they are computed one after the other. */
static void many_long_labels_fit_into_little_memory(void **state) {
    (void)state;
    fixture f;
    enum { N = 200, LENGTH = 20 };
    static int32_t ids[N][LENGTH];
    static id_list lists[N];
    static double many[N];
    double one;
    unsigned seed = 9;
    assert_true(fixture_open(&f, 1, DTYPE_F32, (size_t)1 << 20));
    int32_t prompt[30];
    fill(prompt, 30, f.vocab, &seed);
    for (size_t i = 0; i < N; i++) {
        fill(ids[i], LENGTH, f.vocab, &seed);
        lists[i] = (id_list){ids[i], LENGTH};
    }
    score_group group = {.continuations = lists, .n_continuations = N};
    job_params params = {.kind = JOB_SCORE, .prompt = prompt, .n_prompt = 30, .groups = &group, .n_groups = 1};
    engine_job *job;
    assert_int_equal(engine_submit(f.e, &params, &job, NULL), QAIO_OK);
    assert_int_equal(engine_finish(job, many, NULL, NULL), QAIO_OK);
    assert_all_blocks_are_free(f.e);
    for (size_t i = 0; i < N; i += 37) {
        group = (score_group){.continuations = &lists[i], .n_continuations = 1};
        assert_int_equal(engine_submit(f.e, &params, &job, NULL), QAIO_OK);
        assert_int_equal(engine_finish(job, &one, NULL, NULL), QAIO_OK);
        assert_true(one == many[i]);
    }
    fixture_close(&f);
}

/* ---- failed allocations ---- */

/* Where the nth allocation of the submission, or of the engine's steps, fails: an error, and nothing is lost. */
static void check_failure(fixture *f, const question *q, job_kind kind, bool in_step, long n, bool *has_failed) {
    job_params params = params_of(q, kind);
    engine_job *job;
    engine_hold(f->e);
    if (!in_step) mem_fail_after(n);
    qaio_status status = engine_submit(f->e, &params, &job, NULL);
    mem_fail_after(in_step ? n : -1);
    engine_release(f->e);
    *has_failed = status != QAIO_OK;
    if (!status) *has_failed = engine_finish(job, NULL, NULL, NULL) != QAIO_OK;
    mem_fail_after(-1);
    assert_all_blocks_are_free(f->e);
}

static void a_failed_allocation_loses_nothing(void **state) {
    (void)state;
    fixture f;
    unsigned seed = 2;
    question q;
    for (int in_step = 0; in_step < 2; in_step++)
        for (int kind = JOB_SCORE; kind <= JOB_GENERATE; kind++) {
            bool has_failed = true;
            long n = 0;
            assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
            make_question(&q, NULL, f.vocab, &seed);
            while (q.n_groups < 2) make_question(&q, NULL, f.vocab, &seed);
            for (; has_failed && n < 200; n++) check_failure(&f, &q, (job_kind)kind, in_step, n, &has_failed);
            assert_true(n > 2 && n < 200);
            double scores[MAX_SCORES], again[MAX_SCORES];
            ask(f.e, &q, scores);
            fixture_close(&f);
            assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
            ask(f.e, &q, again);
            assert_memory_equal(scores, again, q.n_scores * sizeof *scores);
            fixture_close(&f);
        }
}

static void senseless_groups_are_refused(void **state) {
    (void)state;
    fixture f;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    static int32_t ids[300];
    qaio_error err;
    engine_job *job;
    id_list label = {ids, 1}, empty = {ids, 0};
    static id_list many[ENGINE_MAX_LABELS + 1];
    score_group group = {.opening = {ids, 250}, .continuations = &label, .n_continuations = 1};
    job_params params = {.kind = JOB_SCORE, .prompt = ids, .n_prompt = 6, .groups = &group, .n_groups = 1};
    assert_int_equal(engine_submit(f.e, &params, &job, NULL), QAIO_OK); /* 256 positions; the label's token needs none */
    assert_int_equal(engine_finish(job, NULL, NULL, NULL), QAIO_OK);
    group.opening.n = 251;
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_LIMIT);
    group = (score_group){.continuations = &empty, .n_continuations = 1};
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_ARGUMENT);
    for (size_t i = 0; i < ENGINE_MAX_LABELS + 1; i++) many[i] = label;
    group = (score_group){.continuations = many, .n_continuations = ENGINE_MAX_LABELS + 1};
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_LIMIT);
    ids[3] = -1;
    group = (score_group){.opening = {ids + 3, 1}, .continuations = &label, .n_continuations = 1};
    params.n_prompt = 3;
    assert_int_equal(engine_submit(f.e, &params, &job, &err), QAIO_ERR_ARGUMENT);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_of_forks_gives_what_brute_force_gives),
        cmocka_unit_test(forks_share_the_step_that_ends_their_prompt),
        cmocka_unit_test(labels_are_there_before_the_reply_s_first_token),
        cmocka_unit_test(scores_do_not_depend_on_other_traffic_and_no_block_is_lost),
        cmocka_unit_test(many_long_labels_fit_into_little_memory),
        cmocka_unit_test(a_failed_allocation_loses_nothing),
        cmocka_unit_test(senseless_groups_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
