/* What the files of the C API share.  The layer checks what an application gives, and copies what it gets; all work is done below. */
#ifndef QAIO_API_INTERNAL_H
#define QAIO_API_INTERNAL_H

#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "tasks/resident.h"

struct qaio_model {
    resident *resident;
};

/* A flag is enough: who waits looks at it. */
struct qaio_canceller {
    atomic_bool is_cancelled;
};

#define API_TERMINATED SIZE_MAX /* a length that says: up to the NUL */

static inline bool is_cancelled(qaio_canceller *c) { return c && atomic_load(&c->is_cancelled); }

#define CANCEL_POLL_MS 20

static inline qaio_status check_cancelled(qaio_canceller *c, qaio_error *err) {
    return is_cancelled(c) ? error_set(err, QAIO_ERR_CANCELLED, "cancelled by the caller") : QAIO_OK;
}

/* How long to wait at a time. */
static inline int poll_ms(const qaio_canceller *c) { return c ? CANCEL_POLL_MS : -1; }

static inline qaio_status error_null(qaio_error *err, const char *what) {
    return error_set(err, QAIO_ERR_ARGUMENT, "%s must not be NULL", what);
}

/* Copies a struct that an application of an older or newer version gives.  `known` has the defaults and its own size in front;
 * first_bytes: its size in the first version. */
qaio_status take_struct(void *known, size_t known_bytes, size_t first_bytes, const void *given, const char *what, qaio_error *err);

/* *bytes may be API_TERMINATED; the text must be UTF-8. */
qaio_status check_text(const char *text, size_t *bytes, const char *what, qaio_error *err);

qaio_status find_task(const task **out, const qaio_model *m, const char *name, qaio_error *err);

/* ---- answers of label tasks, in two steps, so that a reply can be started between them ---- */

#define READS_AHEAD 128 /* of one call: the engine's queue has room for two such calls */

typedef struct started_read {
    label_read *read;
    size_t task, text;
} started_read;

typedef struct reads {
    qaio_answers *answers;
    resident *resident;
    started_read ring[READS_AHEAD]; /* in the order they were started */
    size_t first, n;
} reads;

_Static_assert(QAIO_MAX_TASKS == LABELS_MAX_TASKS && QAIO_MAX_TASKS <= READS_AHEAD, "as many tasks as the layer below takes");

/* Checks the tasks and the layout (NULL: each its own); no text is read yet. */
qaio_status answers_new(qaio_answers **out, qaio_model *m, const char *layout, const char *const *tasks, size_t n_tasks, size_t n_texts,
                        qaio_error *err);
label_request answers_request(const qaio_answers *a); /* borrows */

/* Takes over what was started for a text, a read of every task; there is room. */
void reads_add(reads *r, label_read *const *started, size_t text);
/* Starts all tasks of a text; where it cannot be read, that is the text's failure.  QAIO_ERR_BUSY: the queue is full; QAIO_ERR_MEMORY. */
qaio_status reads_start(reads *r, size_t text, const char *bytes, size_t n, qaio_error *err);
/* Waits for the oldest read, of which there is one.  QAIO_ERR_CANCELLED: it is still to be dropped; QAIO_ERR_MEMORY. */
qaio_status reads_finish_first(reads *r, qaio_canceller *canceller, qaio_error *err);
/* For a while: others fill the queue.  QAIO_ERR_CANCELLED. */
qaio_status wait_for_others(qaio_canceller *canceller, qaio_error *err);
void reads_drop(reads *r); /* cancels what is left and waits for it */

#endif
