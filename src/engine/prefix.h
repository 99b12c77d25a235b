/* What all prompts of a task begin with: kept in the cache for good, and in files where the model is large enough. */
#ifndef QAIO_ENGINE_PREFIX_H
#define QAIO_ENGINE_PREFIX_H

#include "engine/internal.h"

/* Before the job's prompt is looked up: its pinned beginning comes from the files when it is there and not in the cache. */
void prefix_load(engine *e, const engine_job *job);
/* After the job was computed: its pinned beginning stays in the cache, and goes into the files. */
void prefix_pin(engine *e, const engine_job *job);

#endif
