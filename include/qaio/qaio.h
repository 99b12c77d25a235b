/* qaio: one resident small Qwen that does every language task.  Public C API; docs/api.md is the guide.
 *
 *     qaio_model_open -> qaio_read (labels of texts), qaio_chat (a reply), qaio_generate, qaio_choose -> qaio_model_close
 *
 * The library never prints, never exits and installs no signal handler; the threads it starts block the signals that an application
 * handles.  What can fail returns a qaio_status and, when err is not NULL, fills it with what was wrong, where, and what to do;
 * out-parameters are untouched on failure.  A NULL that is not allowed is QAIO_ERR_ARGUMENT; accessors return NULL or 0 for it.
 *
 * Strings are UTF-8 and terminated, where no length stands beside them.  What a function returns by const pointer is borrowed.
 *
 * Threads: any number of threads may use one model at the same time, and they share passes over its weights.  An object that is returned
 * (qaio_answers, qaio_reply) does not change: several threads may read it, one frees it.  Only qaio_model_close and the free functions need
 * the object for themselves.  A process that has opened a model and then forks uses the model in the parent only.
 *
 * The ABI grows: functions are added, structs with a `size` get members at their end, and an older program goes on. */
#ifndef QAIO_QAIO_H
#define QAIO_QAIO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __GNUC__
#define QAIO_API __attribute__((visibility("default")))
#else
#define QAIO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors and version ---- */

typedef enum qaio_status {
    QAIO_OK = 0,
    QAIO_ERR_MEMORY,      /* an allocation failed */
    QAIO_ERR_IO,          /* a file could not be read or written; the network failed */
    QAIO_ERR_FORMAT,      /* a file or a message is malformed */
    QAIO_ERR_UNSUPPORTED, /* well-formed, but not something this build can do */
    QAIO_ERR_ARGUMENT,    /* the caller asked for something that makes no sense */
    QAIO_ERR_NOT_FOUND,   /* no such model, task or file */
    QAIO_ERR_LIMIT,       /* a documented limit was passed (text too long, too many labels ...) */
    QAIO_ERR_BUSY,        /* the queue is full: try again later */
    QAIO_ERR_CANCELLED,   /* the caller cancelled the work */
    QAIO_ERR_TIMEOUT      /* it was not done in the time that was given */
} qaio_status;

/* Where and why something failed.  Plain storage: copy it, keep it on the stack; nothing to free. */
typedef struct qaio_error {
    qaio_status status;
    int64_t offset;    /* byte offset in `path`, or -1 */
    char path[256];    /* the file concerned, or "" */
    char message[512]; /* UTF-8, one line, no full stop at the end */
} qaio_error;

/* "QAIO_ERR_FORMAT" and so on; never NULL. */
QAIO_API const char *qaio_status_name(qaio_status status);

#define QAIO_VERSION_MAJOR 0
#define QAIO_VERSION_MINOR 1
#define QAIO_VERSION_PATCH 0

/* Of the library that runs: "0.1.0". */
QAIO_API const char *qaio_version(void);

/* ---- the model ---- */

typedef struct qaio_model qaio_model;

typedef struct qaio_options {
    size_t size;           /* set by qaio_options_init */
    const char *model;     /* a GGUF file, a safetensors directory, or a name that `qaio models` lists; NULL: the model in the library */
    const char *type;      /* weights in memory: "q8_0", "q4_0", "f16", "bf16", "f32"; NULL: "q8_0" */
    const char *kv_type;   /* KV cache: "f16" or "f32"; NULL: default */
    const char *tasks_dir; /* a directory of task files that add to the built-in ones, or NULL */
    const char *cpu;       /* instruction set: "ref", "avx2", "avxvnni", "avx512", "amx", "neon"; NULL: $QAIO_CPU, else the best */
    size_t context;        /* tokens; 0: the model's, at most 4096 */
    size_t kv_bytes;       /* memory for KV; 0: an eighth of the machine's, at most 1 GiB */
    int threads;           /* 0: all CPUs that affinity and cgroup quota leave to this process */
    int keep_cache;        /* not 0: write what makes the next start of a large model faster into the cache directory ($QAIO_HOME, else
                              ~/.cache/qaio) */
} qaio_options;

/* Fills in the defaults; size is sizeof(qaio_options).  options NULL, or a size that is none: nothing happens. */
QAIO_API void qaio_options_init(qaio_options *options, size_t size);

/* Loads a model, its tokenizer and the tasks; options NULL: all defaults.  The options are copied.  *out is owned by the caller:
 * qaio_model_close.  QAIO_ERR_NOT_FOUND (model, directory), QAIO_ERR_FORMAT (a file; see err->path), QAIO_ERR_UNSUPPORTED (an architecture
 * or type, or a member of options that only a newer library knows), QAIO_ERR_ARGUMENT, QAIO_ERR_LIMIT, QAIO_ERR_IO, QAIO_ERR_MEMORY.
 * Thread-safe. */
QAIO_API qaio_status qaio_model_open(qaio_model **out, const qaio_options *options, qaio_error *err);

/* Frees it, NULL is fine.  No other call with this model may be under way; tasks and answers that came from it are gone with it (free the
 * answers and replies first).  As with free(), closing it twice is a bug of the caller that cannot be caught. */
QAIO_API void qaio_model_close(qaio_model *model);

/* What was opened.  Strings live as long as the model.  Thread-safe. */
QAIO_API const char *qaio_model_name(const qaio_model *model);
QAIO_API const char *qaio_model_type(const qaio_model *model); /* of the weights in memory: "q8_0" */
QAIO_API const char *qaio_model_cpu(const qaio_model *model);  /* the instruction set in use: "avx2" */
QAIO_API size_t qaio_model_context(const qaio_model *model);   /* tokens */
QAIO_API int qaio_model_threads(const qaio_model *model);

/* ---- tasks ---- */

typedef enum qaio_task_kind {
    QAIO_TASK_LABEL = 0,    /* one of a set of labels, read from the model's distribution: qaio_read */
    QAIO_TASK_GENERATE = 1, /* a text made from the text: qaio_generate */
    QAIO_TASK_CHAT = 2      /* a reply in a conversation: qaio_chat */
} qaio_task_kind;

/* Borrowed from the model, unchangeable, valid until it is closed.  All functions on it are thread-safe. */
typedef struct qaio_task qaio_task;

QAIO_API size_t qaio_task_count(const qaio_model *model);
QAIO_API const qaio_task *qaio_task_at(const qaio_model *model, size_t i);           /* NULL past the end */
QAIO_API const qaio_task *qaio_task_find(const qaio_model *model, const char *name); /* NULL: there is none */

QAIO_API const char *qaio_task_name(const qaio_task *task);
QAIO_API const char *qaio_task_title(const qaio_task *task, const char *language); /* "zh", else English */
QAIO_API qaio_task_kind qaio_task_kind_of(const qaio_task *task);
QAIO_API uint64_t qaio_task_version(const qaio_task *task);
QAIO_API size_t qaio_task_label_count(const qaio_task *task); /* 0 for what is no label task */
/* Of label i: its name for programs ("positive"), what the model would say ("正面"), and an emoji or "".  NULL past the end. */
QAIO_API const char *qaio_task_label_id(const qaio_task *task, size_t i);
QAIO_API const char *qaio_task_label_text(const qaio_task *task, size_t i);
QAIO_API const char *qaio_task_label_emoji(const qaio_task *task, size_t i);

/* ---- cancelling ---- */

/* Stops calls that were given it, from any thread.  It outlives those calls. */
typedef struct qaio_canceller qaio_canceller;

QAIO_API qaio_status qaio_canceller_new(qaio_canceller **out, qaio_error *err);
QAIO_API void qaio_canceller_free(qaio_canceller *canceller);
/* For good: later calls with it stop at once.  Returns immediately; the calls end some milliseconds later, after the pass
 * over the weights that is under way.  Thread-safe, and safe in a signal handler. */
QAIO_API void qaio_cancel(qaio_canceller *canceller);

/* ---- labels ---- */

#define QAIO_MAX_TASKS 64 /* in one call */

#define QAIO_UNSURE (-1) /* the most probable label's probability is below the task's abstain_below */
#define QAIO_FAILED (-2) /* no answer; qaio_answers_status says why */

/* The answers of one or more label tasks on one or more texts.  Tasks and texts are numbered as they were given. */
typedef struct qaio_answers qaio_answers;

/* Reads n_tasks label tasks on n_texts texts.  text_bytes are the lengths of the texts; NULL: they are terminated.  Many texts are computed
 * together, as many as the queue takes: give as many as there are in one call.  A text that fails (empty, too long, not UTF-8) is
 * QAIO_FAILED in the answers of all tasks, the other texts go on.  The probabilities of a text do not depend on the other texts or on the
 * number of threads, bit for bit. canceller may be NULL.  *out is owned by the caller: qaio_answers_free. QAIO_ERR_ARGUMENT (a NULL, no
 * tasks, a task twice or that reads no label), QAIO_ERR_NOT_FOUND (no such task), QAIO_ERR_LIMIT (too many tasks), QAIO_ERR_CANCELLED,
 * QAIO_ERR_MEMORY.  Waits where the queue is full.  Thread-safe. */
QAIO_API qaio_status qaio_read(qaio_answers **out, qaio_model *model, const char *const *tasks, size_t n_tasks, const char *const *texts,
                               const size_t *text_bytes, size_t n_texts, qaio_canceller *canceller, qaio_error *err);

typedef struct qaio_read_options {
    size_t size;        /* set by qaio_read_options_init */
    const char *layout; /* read all tasks in this layout: "own", "shared" or "probe" (tasks of layout plain stay as they are), without a
                           calibration where it is not the task's; NULL: each task's own */
    qaio_canceller *canceller; /* or NULL */
} qaio_read_options;

/* Fills in the defaults; size is sizeof(qaio_read_options).  options NULL, or a size that is none: nothing happens. */
QAIO_API void qaio_read_options_init(qaio_read_options *options, size_t size);

/* As qaio_read, with options; NULL: all defaults.  QAIO_ERR_ARGUMENT also: there is no such layout, or a task has no prompt in it. */
QAIO_API qaio_status qaio_read_with(qaio_answers **out, qaio_model *model, const char *const *tasks, size_t n_tasks,
                                    const char *const *texts, const size_t *text_bytes, size_t n_texts, const qaio_read_options *options,
                                    qaio_error *err);
QAIO_API void qaio_answers_free(qaio_answers *answers);

QAIO_API size_t qaio_answers_task_count(const qaio_answers *answers);
QAIO_API size_t qaio_answers_text_count(const qaio_answers *answers);
QAIO_API const qaio_task *qaio_answers_task(const qaio_answers *answers, size_t task);

/* A task's whole columns; NULL where there is no such task.  They live as long as the answers.
 * [n_texts]: a label's number, or QAIO_UNSURE, QAIO_FAILED. */
QAIO_API const int32_t *qaio_answers_labels(const qaio_answers *answers, size_t task);
/* [n_texts][n_labels], row by row; NaN where a text failed.  Calibrated where the task is; raw ones are what the model says. */
QAIO_API const double *qaio_answers_probabilities(const qaio_answers *answers, size_t task);
QAIO_API const double *qaio_answers_raw(const qaio_answers *answers, size_t task);
/* 1 where a calibration for this task and model was found when it was opened (`qaio tasks calibrate`), else 0. */
QAIO_API int qaio_answers_calibrated(const qaio_answers *answers, size_t task);
/* QAIO_OK, or why a text has no answer, with the reason in err. */
QAIO_API qaio_status qaio_answers_status(const qaio_answers *answers, size_t task, size_t text, qaio_error *err);

/* All reads of the call together: tokens of the prompts, and those of them that were not computed again. */
QAIO_API uint64_t qaio_answers_prompt_tokens(const qaio_answers *answers);
QAIO_API uint64_t qaio_answers_cached_tokens(const qaio_answers *answers);

/* ---- replies ---- */

typedef struct qaio_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} qaio_message;

typedef enum qaio_finish {
    QAIO_FINISH_STOP = 0,     /* the model ended, or said a stop string */
    QAIO_FINISH_LENGTH = 1,   /* max_tokens, or the context is full */
    QAIO_FINISH_CANCELLED = 2 /* by a callback or qaio_cancel; the text is what came until then */
} qaio_finish;

/* How a reply is made.  Negative numbers (and 0 for max_tokens): the task's, else the model's own, else 0.7, 0.8, all, 1, 128. */
typedef struct qaio_reply_options {
    size_t size;        /* set by qaio_reply_options_init */
    double temperature; /* 0: always the most probable token */
    double top_p;
    double repetition_penalty;
    int32_t top_k; /* 0: all */
    uint32_t max_tokens;
    int has_seed; /* 0: a fresh seed for each reply */
    int thinking; /* qwen3: 0 or 1; -1: 0 */
    uint64_t seed;
    const char *const *stops; /* the reply ends before the first of them; at most 16, each 1 to 256 bytes */
    size_t n_stops;
    const char *const *tasks; /* label tasks to read in the pass that begins the reply; of a conversation: on its last message */
    size_t n_tasks;
    /* Both are called in the thread that waits for the reply, and may call the library, with the same model too.  Not 0 cancels. */
    int (*on_labels)(void *context, const qaio_answers *answers);  /* once, before the first text; borrowed during the call */
    int (*on_text)(void *context, const char *text, size_t bytes); /* whole characters, never "", not terminated */
    void *context;
    qaio_canceller *canceller; /* or NULL */
    const char *layout;        /* of tasks, as in qaio_read_options; "probe": forks of the reply's own prompt, nearly free */
} qaio_reply_options;

/* Fills in the defaults; size is sizeof(qaio_reply_options).  options NULL, or a size that is none: nothing happens. */
QAIO_API void qaio_reply_options_init(qaio_reply_options *options, size_t size);

typedef struct qaio_reply qaio_reply;

/* Replies to the last message and waits for the whole reply; on_text shows it as it comes.  messages are the conversation so far, oldest
 * first; with no system message in front, the chat task's own comes first.  A history that does not fit loses whole turns from its
 * beginning.  options NULL: all defaults.  *out is owned by the caller: qaio_reply_free.  A cancelled reply is QAIO_OK with
 * QAIO_FINISH_CANCELLED.
 * QAIO_ERR_ARGUMENT (a NULL, no messages, a role or a number that makes no sense, not UTF-8), QAIO_ERR_NOT_FOUND (a task in options),
 * QAIO_ERR_LIMIT (even the last message alone does not fit), QAIO_ERR_BUSY, QAIO_ERR_MEMORY.  Thread-safe. */
QAIO_API qaio_status qaio_chat(qaio_reply **out, qaio_model *model, const qaio_message *messages, size_t n_messages,
                               const qaio_reply_options *options, qaio_error *err);

/* As qaio_chat, for a generate task on one text; text_bytes (size_t)-1: it is terminated.  QAIO_ERR_NOT_FOUND: no such task. */
QAIO_API qaio_status qaio_generate(qaio_reply **out, qaio_model *model, const char *task, const char *text, size_t text_bytes,
                                   const qaio_reply_options *options, qaio_error *err);
QAIO_API void qaio_reply_free(qaio_reply *reply);

QAIO_API const char *qaio_reply_text(const qaio_reply *reply); /* terminated; lives as long as the reply */
QAIO_API size_t qaio_reply_text_bytes(const qaio_reply *reply);
QAIO_API qaio_finish qaio_reply_finish(const qaio_reply *reply);
QAIO_API const qaio_answers *qaio_reply_answers(const qaio_reply *reply); /* of options.tasks; NULL without.  Borrowed from the reply */
QAIO_API size_t qaio_reply_prompt_tokens(const qaio_reply *reply);
QAIO_API size_t qaio_reply_cached_tokens(const qaio_reply *reply);
QAIO_API size_t qaio_reply_generated_tokens(const qaio_reply *reply);
QAIO_API size_t qaio_reply_dropped_messages(const qaio_reply *reply); /* of the history */
QAIO_API double qaio_reply_first_ms(const qaio_reply *reply);         /* to the first token */
QAIO_API double qaio_reply_total_ms(const qaio_reply *reply);

/* ---- questions of your own ---- */

typedef struct qaio_option {
    const char *text;        /* what the model would say, 1 to 1024 bytes */
    const char *description; /* what it means, or NULL */
} qaio_option;

/* Asks a question about a text: probabilities[n_options] of the options (2 to 255), which are 1 together.  instructions is the question, in
 * the language of the model.  For a score let the options be its levels; their mean is the sum of i * probabilities[i].
 * text_bytes (size_t)-1: text is terminated.  QAIO_ERR_ARGUMENT, QAIO_ERR_LIMIT, QAIO_ERR_BUSY, QAIO_ERR_MEMORY.  Thread-safe. */
QAIO_API qaio_status qaio_choose(double *probabilities, qaio_model *model, const char *instructions, const qaio_option *options,
                                 size_t n_options, const char *text, size_t text_bytes, qaio_error *err);

/* The same question about many texts, several at a time: probabilities[n_texts][n_options], row by row.  text_bytes are the lengths of the
 * texts; NULL: they are terminated.  A text that cannot be read is NaN in its row and has its reason in statuses[n_texts] (NULL: nobody
 * asks), the others go on.  A text's probabilities are those of qaio_choose, bit for bit.  canceller may be NULL.  On failure
 * probabilities and statuses hold what was done until then.  Errors as qaio_choose, but waits where the queue is full;
 * QAIO_ERR_CANCELLED.  Thread-safe. */
QAIO_API qaio_status qaio_choose_many(double *probabilities, qaio_status *statuses, qaio_model *model, const char *instructions,
                                      const qaio_option *options, size_t n_options, const char *const *texts, const size_t *text_bytes,
                                      size_t n_texts, qaio_canceller *canceller, qaio_error *err);

/* The probability of yes. */
QAIO_API qaio_status qaio_is_true(double *probability, qaio_model *model, const char *instructions, const char *text, size_t text_bytes,
                                  qaio_error *err);

#ifdef __cplusplus
}
#endif
#endif
