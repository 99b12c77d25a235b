/* What a task is: a prompt that turns the one model into one tool, and how its answer is read.  The built-in tasks are YAML files embedded
 * into the program (tasks/ in the repository); a directory adds to them and overrides them by name.  Immutable once loaded. */
#ifndef QAIO_TASKS_TASK_H
#define QAIO_TASKS_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TASK_MAX_LABELS     256
#define TASK_MAX_FILE_BYTES (1 << 20)
#define TASK_MAX_TASKS      256
#define TASK_NAME_BYTES     64

typedef enum task_kind {
    TASK_LABEL,    /* one of a set of labels, read from the logits */
    TASK_GENERATE, /* a text made from the text */
    TASK_CHAT,     /* a reply in a conversation */
} task_kind;

typedef enum task_layout {
    LAYOUT_OWN,    /* a system prompt of its own, the text as the user's message */
    LAYOUT_PLAIN,  /* raw text before and after, no chat template: for base models */
    LAYOUT_SHARED, /* label: one analyst's prompt for many tasks, each reads behind its own opening of the answer ("情绪：") */
    LAYOUT_PROBE,  /* label: the chat's own prompt, read behind the opening: costs nearly nothing beside a reply */
} task_layout;
#define TASK_LAYOUTS 4

/* The layout's name as files and requests have it; false: there is none such. */
const char *task_layout_name(task_layout layout);
bool task_layout_from_name(const char *name, task_layout *out);

typedef enum task_score {
    SCORE_SUM,   /* log-probability of all tokens of the label */
    SCORE_MEAN,  /* the same per token */
    SCORE_FIRST, /* of the first token alone */
    SCORE_PRIOR, /* as SUM, less what the label gets after a text without content */
} task_score;

typedef struct task_label {
    char *id;    /* "positive" */
    char *text;  /* "正面": what the model would say */
    char *emoji; /* "" when there is none */
} task_label;

typedef struct task_test {
    char *text;
    char *expect; /* a label's id */
} task_test;

typedef enum constraint_kind {
    CONSTRAINT_NONE,     /* any text */
    CONSTRAINT_KEYWORDS, /* a list of parts of the user's text */
    CONSTRAINT_ONE_OF,   /* one of a list of texts */
} constraint_kind;

/* What a generated text may be, whatever the model would like to say. */
typedef struct task_constraint {
    constraint_kind kind;
    char *separator;                    /* KEYWORDS */
    uint32_t max_items, max_characters; /* KEYWORDS; the latter of one item */
    char **values;                      /* ONE_OF */
    size_t n_values;
} task_constraint;

/* A label that an answer has to have. */
typedef struct task_condition {
    char *task;  /* its name */
    char *label; /* its id */
} task_condition;

/* A prompt that a chat task follows instead of its own when all conditions hold. */
typedef struct task_route {
    char *id;                  /* [a-z0-9-]+ */
    char *title_zh, *title_en; /* NULL: none */
    char *system;
    task_condition *when;
    size_t n_when;
    size_t line; /* in its file */
} task_route;

/* The text that comes before any reply when the label is at least so probable. */
typedef struct task_crisis {
    char *label;
    size_t label_index;
    double at_least;
    char *text; /* NULL: the task knows no crisis */
} task_crisis;

typedef struct task {
    char *name; /* [a-z0-9-]+ */
    uint64_t version;
    char *title_zh, *title_en;
    task_kind kind;
    task_layout layout;
    char *system;         /* LAYOUT_OWN and chat; SHARED and PROBE: NULL where the task cannot be read as OWN */
    char *analyst;        /* the prompt of LAYOUT_SHARED; NULL: the one that names all tasks there are */
    char *opening;        /* label: how the answer begins in LAYOUT_SHARED and LAYOUT_PROBE; never NULL there */
    char *before, *after; /* LAYOUT_PLAIN */
    task_label *labels;
    size_t n_labels;
    task_score score;
    double abstain_below; /* 0: never unsure */
    float temperature;    /* generate and chat; negative: the checkpoint's, else 0.7 */
    float top_p;          /* negative: the checkpoint's, else 0.8 */
    uint32_t max_new_tokens;
    task_constraint constraint; /* generate */
    task_test *tests;
    size_t n_tests;
    task_crisis crisis; /* label */
    task_route *routes; /* chat; the first that fits is taken */
    size_t n_routes;
    char **weak_with; /* names of models that do this task badly */
    size_t n_weak_with;
} task;

/* Whether its file says that this model does it badly. */
bool task_is_weak_with(const task *t, const char *model_name);

typedef struct task_set task_set;

/* The built-in tasks and, when dir is not NULL, those of every *.yaml in it.  Errors say file and line. */
qaio_status task_set_open(task_set **out, const char *dir, qaio_error *err);
void task_set_free(task_set *set);

size_t task_set_size(const task_set *set);
const task *task_set_at(const task_set *set, size_t i); /* in the order of the built-in list, then by name */
#define TASK_NOT_IN_SET SIZE_MAX
size_t task_set_index(const task_set *set, const task *t); /* of a task by its address, else TASK_NOT_IN_SET */
const task *task_set_chat(const task_set *set);            /* the task that replies where none is named, or NULL */
/* QAIO_ERR_NOT_FOUND names the tasks there are. */
qaio_status task_set_find(const task **out, const task_set *set, const char *name, qaio_error *err);

#endif
