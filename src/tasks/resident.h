/* The resident: one model in memory with its tokenizer, chat template, engine and tasks.  Everything a program does goes through it:
 * labels are read (label_read), replies are generated (reply), both at the same time by any number of threads.
 *
 * The order of a process:  resident_open -> label_start / reply_start ... finish -> resident_close. */
#ifndef QAIO_TASKS_RESIDENT_H
#define QAIO_TASKS_RESIDENT_H

#include "checkpoint/checkpoint.h"
#include "engine/engine.h"
#include "tasks/calibration.h"
#include "tasks/task.h"

typedef struct resident resident;

typedef struct resident_options {
    const char *model;     /* a file or directory; NULL: the embedded model */
    dtype type;            /* weights in memory, see model_options; NONE: default */
    dtype kv_type;         /* NONE: default */
    size_t n_ctx;          /* 0: the checkpoint's, at most RESIDENT_DEFAULT_CTX */
    size_t kv_bytes;       /* memory for KV; 0: default */
    int n_threads;         /* 0: all CPUs this process may use */
    const char *cpu;       /* kernels_select's name; NULL: best */
    const char *tasks_dir; /* or NULL */
    int timeout_ms;        /* of every read and reply; what is not done then ends, a reply that has begun as if it were long enough, all
                              else with QAIO_ERR_TIMEOUT; 0: none */
    bool keeps_packed;     /* keep a large model's packed weights and prompts' KV in the cache directory, for a faster next start */
} resident_options;

#define RESIDENT_DEFAULT_CTX 4096

qaio_status resident_open(resident **out, const resident_options *options, qaio_error *err);
void resident_close(resident *r); /* every read and reply has been finished */

/* Borrowed, valid as long as the resident. */
const char *resident_model_name(const resident *r); /* "qaio-mini-zh" */
const model_desc *resident_desc(const resident *r);
const checkpoint *resident_checkpoint(const resident *r);
const model *resident_model(const resident *r);
engine *resident_engine(resident *r);
const tokenizer *resident_tokenizer(const resident *r);
const chat_template *resident_template(const resident *r);
const task_set *resident_tasks(const resident *r); /* for programs that never reload them */
const kernels *resident_kernels(const resident *r);
int resident_threads(const resident *r);

/* The embedded checkpoint as an image; *bytes == 0 when the build has none. */
const void *embedded_model(size_t *bytes);
#define EMBEDDED_MODEL_NAME "qaio-mini-zh"

/* A task's calibration for this model, found in the cache directory when the resident was opened. */
typedef struct found_calibration {
    bool is_found; /* there is a file */
    bool is_used;  /* and it holds for this task, these labels and this model */
    stored_calibration stored;
    qaio_error why_not; /* where it is found and not used */
} found_calibration;

/* Borrowed; t is one of the resident's label tasks, else NULL. */
const found_calibration *resident_calibration(const resident *r, const task *t);
/* What a new calibration of the task would be made for; borrows from the resident. */
calibration_key resident_calibration_key(const resident *r, const task *t);

/* The tasks as they are now, counted: they and all answers that point to them stay until the release, whatever is reloaded meanwhile.  Who
 * starts a read or a reply holds the tasks it is for until it is finished. */
const task_set *resident_acquire_tasks(resident *r);
void resident_release_tasks(resident *r, const task_set *tasks); /* takes NULL */

/* Reads the built-in tasks, those of tasks_dir and the calibrations anew.  All or nothing: after an error the tasks are as before.  One
 * caller at a time. */
qaio_status resident_reload_tasks(resident *r, qaio_error *err);
/* How the last reload ended; fills err where it failed. */
qaio_status resident_reload_status(resident *r, qaio_error *err);

/* What is started between the two begins together, in one pass over the weights.  Counted; keep it short, everybody waits. */
void resident_hold(resident *r);
void resident_release(resident *r);

/* ---- label tasks ---- */

typedef struct label_read label_read;

typedef struct label_answer {
    const task *task;
    task_layout layout;                    /* how it was read */
    size_t label;                          /* the most probable one */
    bool is_unsure;                        /* its probability is below the task's abstain_below */
    double raw[TASK_MAX_LABELS];           /* probabilities over the labels as the model gives them, in the order of task->labels */
    double probabilities[TASK_MAX_LABELS]; /* calibrated, where the task has a calibration; else the same */
    bool is_calibrated;
    bool is_batch_calibrated;  /* by the texts of its batch (batch_prior.h) */
    bool has_mass;             /* it was asked for */
    double mass;               /* the probability that the model would go on with one of the labels at all */
    size_t n_prompt, n_cached; /* tokens; of reads that share a prompt the first counts it */
    double total_ms;
} label_answer;

/* What is read from one text. */
typedef struct label_request {
    const task *const *tasks; /* label tasks */
    size_t n_tasks;           /* at most LABELS_MAX_TASKS */
    bool has_layout;          /* read all in this layout instead of their own; tasks of LAYOUT_PLAIN stay as they are */
    task_layout layout;       /* OWN, SHARED or PROBE */
    bool has_mass;            /* fill in label_answer.mass: costs a row of the whole head a task */
    bool is_bulk;             /* one of many texts: everything else goes first, within limits */
} label_request;
#define LABELS_MAX_TASKS 64

/* Starts the reading of a text's label; the text is copied.  Special tokens in it are plain text.  QAIO_ERR_ARGUMENT: the text is empty or
 * only white space, or the task is no label task; QAIO_ERR_LIMIT: it does not fit the context; QAIO_ERR_BUSY: the queue is full. */
qaio_status label_start(label_read **out, resident *r, const task *t, const char *text, size_t n, qaio_error *err);
/* Starts all of a request in one pass over the weights: reads[n_tasks].  Tasks of LAYOUT_SHARED with the same analyst are forks of one
 * prompt; LAYOUT_PROBE reads after the chat's prompt.  All or nothing.  Fails as label_start does; QAIO_ERR_ARGUMENT also: a layout that a
 * task has no prompt for.  The reads of a request belong to one thread. */
qaio_status labels_start(label_read **reads, resident *r, const label_request *request, const char *text, size_t n, qaio_error *err);
/* Waits until label_finish would not wait, at most timeout_ms (negative: for ever); false: not yet. */
bool label_wait(label_read *read, int timeout_ms);
/* Waits and frees, also on failure. */
qaio_status label_finish(label_read *read, label_answer *out, qaio_error *err);
/* Finds label and is_unsure anew, for probabilities that were changed. */
void label_answer_conclude(label_answer *answer);
/* label_finish still has to be called; it returns QAIO_ERR_CANCELLED, or the answer if it was there, or comes for others that share its
 * prompt. */
void label_cancel(label_read *read);

/* ---- replies ---- */

#define REPLY_MAX_STOPS      16
#define REPLY_MAX_STOP_BYTES 256
#define REPLY_DEFAULT_TOKENS 128

typedef struct reply_params {
    float temperature, top_p, repetition_penalty; /* negative: the checkpoint's, else 0.7, 0.8, 1 */
    int32_t top_k;                                /* negative: the checkpoint's, else 0 (all) */
    bool has_seed;                                /* false: a fresh one for each reply */
    uint64_t seed;
    uint32_t max_new;         /* 0: REPLY_DEFAULT_TOKENS; cut to what the context leaves */
    const token_bias *biases; /* added to logits */
    size_t n_biases;
    const char *const *stops;
    size_t n_stops;
    const task *chat;        /* the chat task that replies, held until the reply has started; NULL: the first there is */
    const task_route *route; /* of it: this prompt instead of the task's own, or NULL */
    int n_top;               /* alternatives with log-probabilities for each token; -1: no log-probabilities */
    grammar **grammar;       /* where a grammar is that the reply follows; the start takes it and leaves NULL.  NULL: anything may come */
    int enable_thinking;     /* -1: as the template does by itself (qwen3: the product's default is 0) */
} reply_params;

extern const reply_params reply_defaults; /* all "not given" */

typedef struct reply reply;

/* A reply to the last message.  With no system message in front, the chat task's own comes first.  A history that does not fit is shortened
 * by whole turns from its beginning; the system message and the last message stay.  QAIO_ERR_ARGUMENT: no messages, or the template refuses
 * them, or a parameter is out of range; QAIO_ERR_LIMIT: even the last message alone does not fit; QAIO_ERR_BUSY. */
qaio_status reply_start(reply **out, resident *r, const chat_message *messages, size_t n_messages, const reply_params *params,
                        qaio_error *err);
/* The same, and the labels of the last message, all started together: tasks of LAYOUT_PROBE read in forks of the reply's own prompt, in the
 * step that yields its first token.  reads[n_tasks]; they may be finished before and after the reply. */
qaio_status reply_start_labelled(reply **out, label_read **reads, resident *r, const label_request *labels, const chat_message *messages,
                                 size_t n_messages, const reply_params *params, qaio_error *err);
/* A continuation of a raw text, no template; special tokens in it are recognised (/v1/completions). */
qaio_status reply_start_raw(reply **out, resident *r, const char *prompt, size_t n, const reply_params *params, qaio_error *err);
/* A generate task on a text. */
qaio_status reply_start_task(reply **out, resident *r, const task *t, const char *text, size_t n, const reply_params *params,
                             qaio_error *err);

typedef enum reply_step { REPLY_PIECE, REPLY_END, REPLY_TIMEOUT } reply_step;

/* One generated token as it concerns a reader. */
typedef struct reply_piece {
    const char
        *text; /* whole characters to show now, often "" (an unfinished character, a possible stop string); valid until the next call */
    size_t n;
    bool is_token;     /* false: text that was held back and comes at the end */
    token_event token; /* log-probabilities when they were asked for */
} reply_piece;

/* Waits for the next piece, at most timeout_ms (negative: for ever).  Never emits a part of a character or a stop string. */
reply_step reply_next(reply *p, reply_piece *out, int timeout_ms);
void reply_cancel(reply *p); /* reply_finish still has to be called */

typedef struct reply_result {
    finish_reason finish; /* a stop string counts as FINISH_STOP */
    size_t n_prompt, n_cached, n_generated;
    size_t n_dropped_messages; /* of the history */
    double first_ms, total_ms; /* since reply_start */
} reply_result;

/* Ends it (cancelled when it had not ended), frees it, also on failure. */
qaio_status reply_finish(reply *p, reply_result *out, qaio_error *err);

#endif
