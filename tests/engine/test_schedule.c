/* Who is computed when: lanes, shares, deadlines, and that none of it changes a result. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

enum { MAX_PROMPT = 250, MAX_NEW = 24, N_LABELS = 2, LABEL_TOKENS = 3, N_COMMON = 40 };

/* A job with its own prompt, by number; long ones begin alike. */
typedef struct order {
    size_t n_prompt;
    bool is_reply, is_bulk;
    int32_t ids[MAX_PROMPT];
    int32_t label_ids[N_LABELS][LABEL_TOKENS];
    id_list labels[N_LABELS];
    score_group group;
    engine_job *job;
    double scores[N_LABELS];
    int32_t tokens[MAX_NEW];
    job_result result;
} order;

static void make_order(order *o, int32_t number, size_t n_prompt, bool is_reply, bool is_bulk) {
    *o = (order){.n_prompt = n_prompt, .is_reply = is_reply, .is_bulk = is_bulk};
    for (size_t i = 0; i < n_prompt; i++)
        o->ids[i] = i < N_COMMON && n_prompt > 2 * N_COMMON ? (int32_t)i + 1 : (number * 37 + (int32_t)i * 11) % 199 + 1;
    for (int32_t l = 0; l < N_LABELS; l++) {
        for (int32_t i = 0; i < LABEL_TOKENS; i++) o->label_ids[l][i] = (number + 50 * l + i) % 199;
        o->labels[l] = (id_list){o->label_ids[l], LABEL_TOKENS};
    }
    o->group = (score_group){.continuations = o->labels, .n_continuations = N_LABELS};
}

static void submit(engine *e, order *o, int timeout_ms) {
    job_params params = {.kind = o->is_reply ? JOB_GENERATE : JOB_SCORE,
                         .prompt = o->ids,
                         .n_prompt = o->n_prompt,
                         .is_bulk = o->is_bulk,
                         .timeout_ms = timeout_ms,
                         .groups = o->is_reply ? NULL : &o->group,
                         .n_groups = !o->is_reply,
                         .sampling = {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
                         .max_new = MAX_NEW,
                         .n_top = -1};
    qaio_error err;
    if (engine_submit(e, &params, &o->job, &err)) fail_msg("%s", err.message);
}

static qaio_status finish(order *o) {
    token_event event;
    size_t n = 0;
    while (o->is_reply && engine_next(o->job, &event, -1) == NEXT_TOKEN) o->tokens[n++] = event.token;
    return engine_finish(o->job, o->is_reply ? NULL : o->scores, &o->result, NULL);
}

static bool is_same(const order *a, const order *b) {
    return memcmp(a->scores, b->scores, sizeof a->scores) == 0 && memcmp(a->tokens, b->tokens, sizeof a->tokens) == 0;
}

/* ---- order ---- */

enum { N_BULK = 100 };

static void a_read_overtakes_bulk_that_came_before(void **state) {
    (void)state;
    static order bulk[N_BULK], read;
    fixture f;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    engine_hold(f.e);
    for (int32_t i = 0; i < N_BULK; i++) {
        make_order(&bulk[i], i, 200, false, true);
        submit(f.e, &bulk[i], 0);
    }
    make_order(&read, 1000, 20, false, false);
    submit(f.e, &read, 0);
    engine_release(f.e);
    assert_int_equal(finish(&read), QAIO_OK);
    size_t n_before = 0;
    for (size_t i = 0; i < N_BULK; i++) {
        assert_int_equal(finish(&bulk[i]), QAIO_OK);
        n_before += bulk[i].result.total_ms < read.result.total_ms;
    }
    assert_true(n_before < N_BULK / 4); /* those that a step under way took along, where the hold ran out meanwhile */
    fixture_close(&f);
}

typedef struct flood {
    engine *e;
    bool is_over;
    int32_t number;
} flood;

/* Long reads without a pause. */
static void *keep_reading(void *arg) {
    flood *fl = arg;
    for (int32_t i = 0; !__atomic_load_n(&fl->is_over, __ATOMIC_RELAXED); i++) {
        static _Thread_local order o;
        make_order(&o, fl->number + i, 240, false, false);
        submit(fl->e, &o, 0);
        finish(&o);
    }
    return NULL;
}

static void bulk_and_replies_go_on_under_a_flood_of_reads(void **state) {
    (void)state;
    enum { N_FLOODS = 6 };
    static order bulk[8], reply;
    static flood floods[N_FLOODS];
    pthread_t threads[N_FLOODS];
    fixture f;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    for (int32_t i = 0; i < N_FLOODS; i++) {
        floods[i] = (flood){f.e, false, i * 10000};
        assert_int_equal(pthread_create(&threads[i], NULL, keep_reading, &floods[i]), 0);
    }
    for (int32_t i = 0; i < 8; i++) {
        make_order(&bulk[i], 77 + i, 240, i % 2, true);
        submit(f.e, &bulk[i], 0);
    }
    make_order(&reply, 99, 240, true, false);
    submit(f.e, &reply, 0);
    assert_int_equal(finish(&reply), QAIO_OK); /* hangs where they starve */
    for (size_t i = 0; i < 8; i++) assert_int_equal(finish(&bulk[i]), QAIO_OK);
    for (size_t i = 0; i < N_FLOODS; i++) __atomic_store_n(&floods[i].is_over, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < N_FLOODS; i++) pthread_join(threads[i], NULL);
    fixture_close(&f);
}

enum { N_READS = 14 };

/* Reads of five steps each, one after the other; a reply that has its row in every second step only ends behind most of them. */
static void a_reply_sits_out_every_second_step_while_reads_are_there(void **state) {
    (void)state;
    static order reads[N_READS], reply;
    fixture f;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    engine_hold(f.e);
    for (int32_t i = 0; i < N_READS; i++) {
        make_order(&reads[i], i, 240, false, false);
        submit(f.e, &reads[i], 0);
    }
    make_order(&reply, 99, 10, true, false);
    submit(f.e, &reply, 0);
    engine_release(f.e);
    assert_int_equal(finish(&reply), QAIO_OK);
    size_t n_before = 0;
    for (size_t i = 0; i < N_READS; i++) {
        assert_int_equal(finish(&reads[i]), QAIO_OK);
        n_before += reads[i].result.total_ms < reply.result.total_ms;
    }
    assert_true(n_before >= 8 && n_before < N_READS); /* 11; in every step: 5 */
    fixture_close(&f);
}

/* ---- deadlines ---- */

static void a_late_job_leaves_the_queue(void **state) {
    (void)state;
    static order late, other;
    fixture f;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    make_order(&late, 1, 20, false, false);
    make_order(&other, 2, 20, false, false);
    engine_hold(f.e);
    submit(f.e, &late, 1);
    submit(f.e, &other, 60000);
    assert_int_equal(finish(&late), QAIO_ERR_TIMEOUT); /* the hold takes longer */
    engine_release(f.e);
    assert_int_equal(finish(&other), QAIO_OK);
    fixture_close(&f);
}

static void a_late_reply_keeps_what_it_has(void **state) {
    (void)state;
    static order whole, o;
    fixture f;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    make_order(&whole, 5, 10, true, false);
    submit(f.e, &whole, 0);
    assert_int_equal(finish(&whole), QAIO_OK);
    for (int timeout_ms = 1; timeout_ms < 12; timeout_ms++) { /* somewhere between the prompt and the end */
        make_order(&o, 5, 10, true, false);
        submit(f.e, &o, timeout_ms);
        qaio_status status = finish(&o);
        if (status == QAIO_ERR_TIMEOUT) continue;
        assert_int_equal(status, QAIO_OK);
        assert_true(o.result.n_generated > 0 && o.result.finish == FINISH_LENGTH);
        assert_memory_equal(o.tokens, whole.tokens, o.result.n_generated * sizeof *o.tokens);
    }
    fixture_close(&f);
}

/* ---- results ---- */

enum { N_WIDE = 90, WIDE_TOKENS = 5, N_REPLIES = 12 };

/* Its continuations have more rows than a step; replies decode meanwhile. */
static void replies_have_room_beside_more_scores_than_a_step_holds(void **state) {
    (void)state;
    static int32_t label_ids[N_WIDE][WIDE_TOKENS];
    static id_list labels[N_WIDE];
    static order alone[N_REPLIES], beside[N_REPLIES];
    double want[N_WIDE], got[N_WIDE];
    int32_t prompt[5] = {1, 2, 3, 4, 5};
    fixture f;
    for (size_t i = 0; i < N_WIDE; i++) {
        for (size_t k = 0; k < WIDE_TOKENS; k++) label_ids[i][k] = (int32_t)((i * 7 + k * i + k) % 199);
        labels[i] = (id_list){label_ids[i], WIDE_TOKENS};
    }
    score_group group = {.continuations = labels, .n_continuations = N_WIDE};
    job_params wide = {.kind = JOB_SCORE, .prompt = prompt, .n_prompt = 5, .groups = &group, .n_groups = 1};
    engine_job *job;
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    assert_int_equal(engine_submit(f.e, &wide, &job, NULL), QAIO_OK);
    assert_int_equal(engine_finish(job, want, NULL, NULL), QAIO_OK);
    for (int32_t i = 0; i < N_REPLIES; i++) {
        make_order(&alone[i], i, 3, true, false);
        submit(f.e, &alone[i], 0);
        assert_int_equal(finish(&alone[i]), QAIO_OK);
    }
    fixture_close(&f);
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    engine_hold(f.e);
    for (int32_t i = 0; i < N_REPLIES; i++) {
        make_order(&beside[i], i, 3, true, i % 3 == 0);
        submit(f.e, &beside[i], 0);
    }
    assert_int_equal(engine_submit(f.e, &wide, &job, NULL), QAIO_OK);
    engine_release(f.e);
    assert_int_equal(engine_finish(job, got, NULL, NULL), QAIO_OK);
    assert_memory_equal(got, want, sizeof want);
    for (size_t i = 0; i < N_REPLIES; i++) {
        assert_int_equal(finish(&beside[i]), QAIO_OK);
        assert_true(is_same(&alone[i], &beside[i]));
    }
    fixture_close(&f);
}

enum { N_ALIKE = 8 };

/* first_leaves: the job that computes for all of them is cancelled. */
static void start_together(bool first_leaves) {
    static order alone[N_ALIKE], together[N_ALIKE];
    fixture f;
    for (int32_t i = 0; i < N_ALIKE; i++) {
        assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
        make_order(&alone[i], i, 90 + (size_t)i, i % 2, i % 3 == 0);
        submit(f.e, &alone[i], 0);
        assert_int_equal(finish(&alone[i]), QAIO_OK);
        assert_int_equal(alone[i].result.n_cached, 0);
        fixture_close(&f);
    }
    assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
    engine_hold(f.e);
    for (int32_t i = 0; i < N_ALIKE; i++) {
        make_order(&together[i], i, 90 + (size_t)i, i % 2, i % 3 == 0);
        submit(f.e, &together[i], 0);
    }
    engine_release(f.e);
    if (first_leaves) engine_cancel(together[2].job); /* the first read */
    size_t n_computed = 0;
    for (size_t i = 0; i < N_ALIKE; i++) {
        qaio_status status = finish(&together[i]);
        if (first_leaves && i == 2) continue;
        assert_int_equal(status, QAIO_OK);
        assert_true(is_same(&alone[i], &together[i]));
        n_computed += together[i].result.n_cached < N_COMMON;
    }
    assert_true(n_computed < N_ALIKE / 2); /* one, where the hold did not run out */
    fixture_close(&f);
}

static void jobs_that_start_together_compute_their_common_beginning_once(void **state) {
    (void)state;
    start_together(false);
    for (int i = 0; i < 5; i++) start_together(true);
}

enum { N_CASES = 16, N_CALLERS = 4, N_ROUNDS = 40 };

typedef struct traffic {
    engine *e;
    const order *want;
    unsigned seed;
    size_t n_wrong;
} traffic;

static void *send_traffic(void *arg) {
    traffic *t = arg;
    static _Thread_local order o;
    for (int round = 0; round < N_ROUNDS; round++) {
        int32_t number = rand_r(&t->seed) % N_CASES;
        const order *want = &t->want[number];
        bool may_be_late = rand_r(&t->seed) % 4 == 0;
        make_order(&o, number, want->n_prompt, want->is_reply, rand_r(&t->seed) % 2);
        submit(t->e, &o, may_be_late ? 1 + rand_r(&t->seed) % 4 : 0);
        if (rand_r(&t->seed) % 8 == 0) engine_cancel(o.job), may_be_late = true;
        qaio_status status = finish(&o);
        if (!may_be_late) t->n_wrong += status != QAIO_OK || !is_same(&o, want);
    }
    return NULL;
}

/* Memory for little more than one job: everything waits for memory, and prefixes are evicted all the time. */
static void no_lane_deadline_or_lack_of_memory_changes_a_result(void **state) {
    (void)state;
    static order want[N_CASES];
    fixture f;
    for (int32_t i = 0; i < N_CASES; i++) {
        assert_true(fixture_open(&f, 1, DTYPE_F32, 0));
        make_order(&want[i], i, 5 + (size_t)i * 14, i % 2, false);
        submit(f.e, &want[i], 0);
        assert_int_equal(finish(&want[i]), QAIO_OK);
        fixture_close(&f);
    }
    assert_true(fixture_open(&f, 1, DTYPE_F32, 1));
    pthread_t threads[N_CALLERS];
    traffic callers[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (traffic){f.e, want, i + 1, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, send_traffic, &callers[i]), 0);
    }
    for (size_t i = 0; i < N_CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].n_wrong, 0);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_overtakes_bulk_that_came_before),
        cmocka_unit_test(bulk_and_replies_go_on_under_a_flood_of_reads),
        cmocka_unit_test(a_reply_sits_out_every_second_step_while_reads_are_there),
        cmocka_unit_test(a_late_job_leaves_the_queue),
        cmocka_unit_test(a_late_reply_keeps_what_it_has),
        cmocka_unit_test(replies_have_room_beside_more_scores_than_a_step_holds),
        cmocka_unit_test(jobs_that_start_together_compute_their_common_beginning_once),
        cmocka_unit_test(no_lane_deadline_or_lack_of_memory_changes_a_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
