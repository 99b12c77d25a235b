/* The scores of a job, for several reads. */
#include "base/mem.h"
#include "tasks/label.h"

void source_take(score_source *s) {
    if (s->is_taken || !s->job) return;
    s->is_taken = true;
    if (s->is_reply) {
        s->status = engine_scores(s->job, s->scores, &s->result, &s->error);
    } else {
        s->status = engine_finish(s->job, s->scores, &s->result, &s->error);
        s->job = NULL;
    }
}

bool source_wait(score_source *s, int timeout_ms) { return s->is_taken || !s->job || engine_wait(s->job, timeout_ms); }

void source_cancel(score_source *s) {
    if (++s->n_cancelled >= s->n_users && s->job && !s->is_taken) engine_cancel(s->job);
}

void source_leave_job(score_source *s) {
    source_take(s);
    s->job = NULL;
    source_leave(s);
}

void source_leave(score_source *s) {
    if (--s->n_users) return;
    if (s->job && !s->is_reply && !s->is_taken) {
        engine_cancel(s->job);
        engine_finish(s->job, NULL, NULL, NULL);
    }
    mem_free(s->scores);
    mem_free(s);
}
