/* One step: rows of all active jobs -> one forward pass -> scores and tokens.
 *
 *   a job's life   prompt not computed:  pieces of it, as many rows as are left
 *                  then, at once:        the runs of its scores, in the prompt's last step already where rows are left
 *                  generating:           one row, the token drawn last
 *
 * Every reply that generates has its row in every step: rows are cheap beside the pass over the weights.  Only where label reads are
 * there it sits out every second step, so that a read does not wait for the rows of all streams as well.  Prompts share what a step has
 * room for, which is little where others wait for the step's end: label reads first, then replies, and bulk where nothing else is there.  A
 * lane that others went before is owed a quarter of their rows, and goes first for those. */
#include "base/clock.h"
#include "engine/internal.h"
#include "engine/queue.h"
#include "engine/share.h"

#define ROWS_BESIDE 48   /* rows of prompts in a step that others wait for */
#define RECENT_MS   1000 /* a lane that had something to compute so lately may have again before the step ends */
#define OWED_ROWS   16   /* a lane goes first when it is owed so many */
#define MAX_OWED    64
#define STEP_ROWS   6    /* a pass over the weights takes the time of so many rows */
#define MAX_MIRRORS 1024 /* what needs more waits for the next step */

/* Where a span comes from. */
typedef struct span_owner {
    engine_job *job;
    uint32_t run; /* of its scores; SCORE_NONE: the job's own sequence */
} span_owner;

typedef struct step {
    engine *e;
    model_span spans[MODEL_MAX_ROWS];
    span_owner owners[MODEL_MAX_ROWS];
    model_mirror mirrors[MAX_MIRRORS];
    size_t n_spans, n_rows, n_mirrors;
    size_t n_replies;       /* that generate */
    size_t served[N_LANES]; /* rows of prompts, and all rows of bulk */
} step;

static qaio_status reserve(engine *e, kv_sequence *s, size_t n, qaio_error *err) {
    qaio_status status;
    while ((status = kv_reserve(&e->kv, s, n, err)) == QAIO_ERR_LIMIT && cache_evict(&e->cache, &e->kv)) continue;
    return status;
}

/* Adds n rows of a sequence; hidden states of the last n_outputs are wanted. */
static qaio_status add_span(step *st, span_owner owner, kv_sequence *kv, const int32_t *tokens, size_t n, size_t n_outputs,
                            qaio_error *err) {
    qaio_status status = reserve(st->e, kv, n, err);
    if (status) return status;
    size_t i = st->n_spans++;
    st->spans[i] = (model_span){tokens, n, kv->n_positions, kv->data, n_outputs, NULL};
    st->owners[i] = owner;
    st->n_rows += n;
    return QAIO_OK;
}

static bool is_prompt_computed(const engine_job *job) { return job->kv.n_positions >= job->n_prompt; }

/* ---- the runs of a job's scores ---- */

/* The span of this step that holds a run, or the prompt's end, of a job whose spans begin at first; NULL: none. */
static model_span *span_of(step *st, size_t first, uint32_t run) {
    for (size_t i = first; i < st->n_spans; i++)
        if (st->owners[i].run == run) return &st->spans[i];
    return NULL;
}

/* Whether a run's rows, or all of the prompt, are computed before this step or in it. */
static bool is_there(step *st, const engine_job *job, size_t first, uint32_t run) {
    if (run == SCORE_NONE ? is_prompt_computed(job) : score_run_is_computed(&job->scores, run)) return true;
    const model_span *span = span_of(st, first, run);
    size_t end = run == SCORE_NONE ? job->n_prompt : job->scores.runs[run].position + job->scores.runs[run].n;
    return span && span->position + span->n_tokens == end;
}

/* The run's first block is a copy where it begins within one: what this step computes of that block above it goes into the copy too. */
static void add_mirrors(step *st, const engine_job *job, size_t first, const score_run *run) {
    size_t block = run->position / KV_BLOCK, begin = block * KV_BLOCK;
    uint32_t above = run->parent;
    for (size_t end = run->position; end > begin;) { /* where `above` ends */
        model_span *span = span_of(st, first, above);
        if (!span) return;
        st->mirrors[st->n_mirrors] = (model_mirror){run->kv.data[block], span->mirrors};
        span->mirrors = &st->mirrors[st->n_mirrors++];
        end = span->position;
        if (above == SCORE_NONE || end > job->scores.runs[above].position) return; /* the rest was computed before */
        above = job->scores.runs[above].parent;
    }
}

static qaio_status fork_run(engine_job *job, score_run *run, qaio_error *err) {
    const kv_sequence *source = run->parent == SCORE_NONE ? &job->kv : &job->scores.runs[run->parent].kv;
    qaio_status status = kv_fork(&run->kv, source, run->position, err);
    if (!status) job->scores.n_held += run->n_blocks;
    return status;
}

static bool may_start(step *st, const engine_job *job, size_t first, const score_run *run) {
    return job->scores.n_held + run->n_blocks <= job->scores.n_blocks && st->n_mirrors + KV_BLOCK <= MAX_MIRRORS &&
           is_there(st, job, first, run->parent);
}

/* Adds the runs that can be computed now, in their order; the job's spans of this step begin at first. */
static qaio_status add_runs(step *st, engine_job *job, size_t first, qaio_error *err) {
    score_tree *t = &job->scores;
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < t->n_runs && !status && st->n_rows < MODEL_MAX_ROWS; i++) {
        score_run *run = &t->runs[i];
        size_t done = run->n_computed, n = run->n - done, left = MODEL_MAX_ROWS - st->n_rows;
        if (n == 0) continue;
        if (n > left) n = left;
        if (done == 0 && !may_start(st, job, first, run)) break;
        if (done == 0) status = fork_run(job, run, err);
        size_t quiet = run->first_output > done ? run->first_output - done : 0; /* rows that nothing is read from */
        if (!status)
            status =
                add_span(st, (span_owner){job, (uint32_t)i}, &run->kv, t->row_tokens + run->row + done, n, quiet < n ? n - quiet : 0, err);
        if (!status && done == 0) add_mirrors(st, job, first, run);
    }
    return status;
}

/* ---- rows ---- */

static qaio_status add_prompt(step *st, engine_job *job, size_t *room, qaio_error *err) {
    size_t done = job->kv.n_positions, n = job->n_prompt - done, left = MODEL_MAX_ROWS - st->n_rows;
    if (left > *room) left = *room;
    bool is_last = n <= left;
    if (!is_last) n = left;
    *room -= n;
    return add_span(st, (span_owner){job, SCORE_NONE}, &job->kv, job->ids + done, n,
                    is_last && (job->kind == JOB_GENERATE || job->scores.n_points), err);
}

/* ---- jobs ---- */

static void drop_spans(step *st, const engine_job *job) {
    size_t n = 0;
    for (size_t i = 0; i < st->n_spans; i++) {
        if (st->owners[i].job == job) {
            st->n_rows -= st->spans[i].n_tokens;
            continue;
        }
        st->spans[n] = st->spans[i];
        st->owners[n++] = st->owners[i];
    }
    st->n_spans = n;
}

/* After rows of a job were added; false: it could not go on and has ended. */
static bool gathered(step *st, engine_job *job, size_t rows_before, qaio_status status, const qaio_error *err) {
    if (status) {
        drop_spans(st, job); /* its sequences are about to go */
        job_end(job, status, FINISH_CANCELLED, err);
        return false;
    }
    job->is_gathered |= st->n_rows > rows_before;
    if (job->lane == LANE_BULK || !is_prompt_computed(job)) st->served[job->lane] += st->n_rows - rows_before;
    return true;
}

static bool is_generating(const engine_job *job) { return job->kind == JOB_GENERATE && is_prompt_computed(job); }

/* Running jobs: first the rows that decode, for which there is always room, then the runs of scores.  Backwards, as a job may end and leave
 * the list. */
static void gather_running(step *st, bool with_bulk) {
    engine *e = st->e;
    qaio_error err;
    e->replies_sit_out = !e->replies_sit_out && e->lanes[LANE_READ].n_active;
    for (size_t i = e->n_active; i-- > 0 && !e->replies_sit_out;) {
        engine_job *job = e->active[i];
        size_t before = st->n_rows;
        if (!is_generating(job) || (job->lane == LANE_BULK && !with_bulk)) continue;
        qaio_status status = add_span(st, (span_owner){job, SCORE_NONE}, &job->kv, job->ids + job->kv.n_positions, 1, 1, &err);
        if (gathered(st, job, before, status, &err)) st->n_replies += job->lane == LANE_REPLY;
    }
    for (size_t i = e->n_active; i-- > 0;) {
        engine_job *job = e->active[i];
        size_t before = st->n_rows;
        if (!job->scores.n_points || !is_prompt_computed(job) || (job->lane == LANE_BULK && !with_bulk)) continue;
        qaio_status status = add_runs(st, job, st->n_spans, &err);
        gathered(st, job, before, status, &err);
    }
}

static void gather_prompts(step *st, lane l, size_t *room) {
    engine *e = st->e;
    for (size_t i = 0; i < e->n_active && *room && st->n_rows < MODEL_MAX_ROWS;) {
        engine_job *job = e->active[i];
        size_t first = st->n_spans, before = st->n_rows;
        qaio_error err;
        if (job->lane != l || job->is_gathered || is_prompt_computed(job) || share_prompt(e, job)) {
            i++;
            continue;
        }
        qaio_status status = add_prompt(st, job, room, &err);
        if (!status) status = add_runs(st, job, first, &err);
        if (gathered(st, job, before, status, &err)) i++;
    }
}

/* ---- who goes first ---- */

static void gather_owed(step *st, lane l, size_t *room) {
    size_t owed = st->e->lanes[l].owed, part = owed < *room ? owed : *room, left = part;
    if (owed < OWED_ROWS) return;
    gather_prompts(st, l, &left);
    *room -= part - left;
}

static size_t room_for_prompts(const step *st) {
    double now_ms = clock_ms();
    size_t n_lanes = 0;
    for (size_t l = 0; l < N_LANES; l++) {
        lane_load *load = &st->e->lanes[l];
        if (load->n_active) load->seen_ms = now_ms;
        n_lanes += load->seen_ms > 0 && now_ms - load->seen_ms < RECENT_MS;
    }
    return st->n_replies || n_lanes > 1 ? ROWS_BESIDE : MODEL_MAX_ROWS;
}

/* What the lanes are owed after this step. */
static void settle(step *st) {
    engine *e = st->e;
    bool is_waiting[N_LANES] = {false};
    for (size_t i = 0; i < e->n_active; i++) {
        const engine_job *job = e->active[i];
        is_waiting[job->lane] |= !job->is_gathered && (job->lane == LANE_BULK || !is_generating(job));
    }
    for (size_t l = LANE_REPLY; l < N_LANES; l++) {
        lane_load *load = &e->lanes[l];
        size_t served = st->served[l], owed = load->owed + (st->n_rows - served + STEP_ROWS) / 4;
        owed = !is_waiting[l] || owed < served ? 0 : owed - served;
        load->owed = owed < MAX_OWED ? owed : MAX_OWED;
    }
}

static void gather(step *st) {
    engine *e = st->e;
    for (size_t i = 0; i < e->n_active; i++) e->active[i]->is_gathered = false;
    bool is_bulk_alone = e->lanes[LANE_READ].n_active + e->lanes[LANE_REPLY].n_active == 0;
    gather_running(st, is_bulk_alone || e->lanes[LANE_BULK].owed >= OWED_ROWS);
    size_t room = room_for_prompts(st);
    gather_owed(st, LANE_REPLY, &room);
    gather_owed(st, LANE_BULK, &room);
    gather_prompts(st, LANE_READ, &room);
    gather_prompts(st, LANE_REPLY, &room);
    if (is_bulk_alone) gather_prompts(st, LANE_BULK, &room);
    settle(st);
}

/* What was generated so far is a result, also of a reply that was cancelled. */
static void end_early(engine *e) {
    double now_ms = clock_ms();
    for (size_t i = e->n_active; i-- > 0;) {
        engine_job *job = e->active[i];
        bool is_reply = job->kind == JOB_GENERATE;
        qaio_error err;
        pthread_mutex_lock(&e->lock);
        bool is_cancelled = job->is_cancelled, has_begun = job->n_events > 0;
        pthread_mutex_unlock(&e->lock);
        if (is_cancelled) {
            error_set(&err, QAIO_ERR_CANCELLED, "cancelled");
            job_end(job, is_reply ? QAIO_OK : QAIO_ERR_CANCELLED, FINISH_CANCELLED, &err);
        } else if (job_is_late(job, now_ms, &err)) {
            job_end(job, has_begun ? QAIO_OK : QAIO_ERR_TIMEOUT, FINISH_LENGTH, &err);
        }
    }
}

/* Counts a span's rows as computed. */
static void advance(step *st, size_t i) {
    engine_job *job = st->owners[i].job;
    size_t n = st->spans[i].n_tokens;
    if (st->owners[i].run == SCORE_NONE) {
        job->kv.n_positions += n;
        return;
    }
    score_run *run = &job->scores.runs[st->owners[i].run];
    run->kv.n_positions += n;
    run->n_computed += n;
}

/* The k-th of the outputs of span i, as a node of its job's scores. */
static uint32_t node_of(const step *st, size_t i, size_t k) {
    const span_owner *owner = &st->owners[i];
    if (owner->run == SCORE_NONE) return SCORE_ROOT;
    const score_tree *t = &owner->job->scores;
    const score_run *run = &t->runs[owner->run];
    return t->row_nodes[run->row + run->n_computed - st->spans[i].n_outputs + k];
}

/* Scores are read before tokens are drawn, so that a caller sees them first and because drawing may end a job. */
static size_t collect(step *st, logit_row *rows) {
    const float *hidden = st->e->hidden;
    size_t stride = model_hidden_stride(st->e->model), n = 0, n_draws = 0;
    logit_row draws[ENGINE_MAX_ACTIVE];
    for (size_t i = 0; i < st->n_spans; i++) {
        engine_job *job = st->owners[i].job;
        bool is_own = st->owners[i].run == SCORE_NONE, is_prompt = is_own && job->kv.n_positions < job->n_prompt;
        advance(st, i);
        for (size_t k = 0; k < st->spans[i].n_outputs; k++, hidden += stride) {
            if (is_own && job->kind == JOB_GENERATE) draws[n_draws++] = (logit_row){job, SCORE_NONE, hidden};
            if (is_own && (!is_prompt || !job->scores.n_points)) continue;
            uint32_t node = node_of(st, i, k);
            score_need need = score_need_of(&job->scores, node);
            if (need == NEED_LOGITS) output_relative(job, node, hidden);
            if (need == NEED_ALL) rows[n++] = (logit_row){job, node, hidden};
        }
        if (!is_own) score_run_done(&job->scores, &st->e->kv, st->owners[i].run);
    }
    for (size_t i = 0; i < n_draws; i++) rows[n + i] = draws[i];
    return n + n_draws;
}

static bool is_scored(const engine_job *job) { return job->kind == JOB_SCORE && is_prompt_computed(job) && job->scores.n_points == 0; }

void engine_step(engine *e) {
    step st = {.e = e};
    logit_row rows[MODEL_MAX_ROWS + ENGINE_MAX_ACTIVE];
    end_early(e);
    gather(&st);
    if (st.n_rows == 0) return;
    model_forward(e->model, st.spans, st.n_spans, e->hidden, NULL, NULL);
    output_rows(e, rows, collect(&st, rows));
    for (size_t i = e->n_active; i-- > 0;)
        if (is_scored(e->active[i])) job_end(e->active[i], QAIO_OK, FINISH_STOP, NULL);
}
