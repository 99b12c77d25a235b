/* Jobs that run at the same time and whose prompts begin alike compute that beginning once. */
#ifndef QAIO_ENGINE_SHARE_H
#define QAIO_ENGINE_SHARE_H

#include "engine/internal.h"

/* Before the first row of a job's prompt: true: a running job computes some of it in the step at hand, wait for that; false: the job has
 * taken over what running jobs had computed of it, and goes on from there.  Waits for jobs that are gathered only, so that nobody waits
 * for one that stands still. */
bool share_prompt(engine *e, engine_job *job);

#endif
