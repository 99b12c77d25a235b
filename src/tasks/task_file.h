/* One task file: YAML text -> a validated task. */
#ifndef QAIO_TASKS_TASK_FILE_H
#define QAIO_TASKS_TASK_FILE_H

#include "tasks/task.h"

#define TASK_MAX_PROMPT_BYTES   (32 << 10) /* system, before, after */
#define TASK_MAX_TITLE_BYTES    256
#define TASK_MAX_LABEL_BYTES    128 /* id, text, emoji */
#define TASK_MAX_TESTS          1024
#define TASK_MAX_TEST_BYTES     (8 << 10)
#define TASK_MAX_NEW_TOKENS     32768
#define TASK_DEFAULT_ITEMS      5 /* of a list of keywords */
#define TASK_DEFAULT_CHARACTERS 16
#define TASK_MAX_VALUES         256 /* of a constraint */
#define TASK_MAX_ROUTES         32
#define TASK_MAX_CONDITIONS     8
#define TASK_MAX_WEAK_WITH      32

/* What answers say instead of a label's id below abstain_below; no label may be called so. */
#define TASK_UNSURE_ID "unsure"

/* [a-z0-9-]+, shorter than TASK_NAME_BYTES. */
bool task_name_is_valid(const char *name);

/* *.yaml, but not hidden: editors leave such. */
bool task_file_is_named(const char *name);

/* `path` is only named in errors, as "path:line".  *out is owned by the caller: task_deinit. */
qaio_status task_parse(task *out, const char *path, const char *text, size_t n, qaio_error *err);
void task_deinit(task *t);

#endif
