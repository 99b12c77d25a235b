/* The jobs that wait, in one lane a kind of work, and who of them starts next.  All under the engine's lock. */
#ifndef QAIO_ENGINE_QUEUE_H
#define QAIO_ENGINE_QUEUE_H

#include "engine/internal.h"

lane lane_of(const job_params *params);

/* QAIO_ERR_BUSY, QAIO_ERR_LIMIT: it could never start. */
qaio_status queue_push(engine *e, engine_job *job, qaio_error *err);
/* Starts what may start now; the engine's thread. */
void queue_admit(engine *e);
/* Cancelled and late jobs need not wait for their turn. */
void queue_drop(engine *e);

/* Whether the job's time is up, which is an error (in *err) and the finish of a reply that has begun. */
bool job_is_late(const engine_job *job, double now_ms, qaio_error *err);

#endif
