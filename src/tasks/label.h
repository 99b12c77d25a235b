/* How labels are read.  A task is planned (label_plan.c: which tokens stand for its labels), plans that share a prompt become one job, and
 * a read (label.c) waits for its part of the job's scores.
 *
 *   request -> plan per task -> label_job per prompt -> score_source <- label_read per task
 *                                                                    <- the reply, where its own prompt is forked */
#ifndef QAIO_TASKS_LABEL_H
#define QAIO_TASKS_LABEL_H

#include "tasks/internal.h"

/* ---- the scores of a job, for several reads ---- */

typedef struct score_source {
    engine_job *job; /* NULL before it is submitted, and once it is over */
    bool is_reply;   /* the job is a reply's, which ends it */
    bool is_taken;   /* what follows is there */
    qaio_status status;
    qaio_error error;
    job_result result;
    double *scores; /* owned, [n_scores] */
    size_t n_scores;
    size_t n_users, n_cancelled; /* reads, and the reply; of one thread */
} score_source;

/* Waits for the scores, once. */
void source_take(score_source *s);
bool source_wait(score_source *s, int timeout_ms);
/* A user wants no more of it: the job ends when all say so. */
void source_cancel(score_source *s);
/* A user goes; the last one frees it. */
void source_leave(score_source *s);
/* The reply goes, and is about to end the job: its scores stay for the others. */
void source_leave_job(score_source *s);

/* ---- plans ---- */

typedef struct label_plan {
    const task *task;
    task_layout layout;
    token_list tokens; /* owned: of all labels, each with its opening */
    size_t n_opening;
    id_list labels[TASK_MAX_LABELS]; /* without the opening */
} label_plan;

/* The layout: the request's, where the task is not tied to its own. */
qaio_status label_plan_init(label_plan *p, const resident *r, const task *t, task_layout layout, qaio_error *err);
void label_plan_deinit(label_plan *p);

/* ---- jobs ---- */

typedef struct label_job {
    score_source *source;
    score_group groups[2 * LABELS_MAX_TASKS]; /* point into the plans */
    size_t n_groups;
} label_job;

/* Until label_job_deinit, which the caller calls once the job is under way, or has failed. */
qaio_status label_job_init(label_job *job, qaio_error *err);
void label_job_deinit(label_job *job);
/* Adds all planned tasks that are read after the same prompt as plans[first] and are not read yet (reads[i] == NULL). */
qaio_status label_job_add_together(label_job *job, label_read **reads, resident *r, const label_plan *plans, size_t first,
                                   const label_request *request, qaio_error *err);
/* The groups were submitted with a reply, which is a user of the source from now on. */
score_source *label_job_is_reply(label_job *job, engine_job *of_reply);

/* Starts what is planned and not read yet.  After a failure the caller frees the reads. */
qaio_status plans_start(label_read **reads, resident *r, const label_plan *plans, const label_request *request, const char *text, size_t n,
                        qaio_error *err);
void reads_free(label_read **reads, size_t n); /* those that are not NULL; what still runs is cancelled */
/* plans[request->n_tasks], owned.  Refuses an empty text. */
qaio_status plans_new(label_plan **out, const resident *r, const label_request *request, const char *text, size_t n, qaio_error *err);
void plans_free(label_plan *plans, size_t n);

/* ---- priors (prior.c) ---- */

/* What a task says about a text without content, where it is known: scores[n_labels], or NULL to ask. */
bool prior_find(resident *r, const task *t, task_layout layout, double *scores);
void prior_keep(resident *r, const task *t, task_layout layout, const double *scores);

#endif
