#include "cli/open.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/locale.h"
#include "cli/report.h"
#include "hub/hub.h"

const char *wanted_cpu(void) {
    const char *cpu = getenv("QAIO_CPU");
    return cpu && cpu[0] ? cpu : NULL;
}

/* What --model means: *path (owned) is NULL for the embedded model, which has a name too. */
static qaio_status find_model(char **path, const char *name, qaio_error *err) {
    size_t embedded_bytes;
    embedded_model(&embedded_bytes);
    *path = NULL;
    if (!name || (embedded_bytes && strcmp(name, EMBEDDED_MODEL_NAME) == 0 && !file_exists(name))) return QAIO_OK;
    return hub_find(path, name, err);
}

int check_types(const settings *s) {
    if (s->type != DTYPE_NONE && !type_is_writable(s->type))
        return report_usage(TR("--type %s: files may have it, weights in memory cannot; use q8_0, q4_0, f16, bf16 or f32",
                               "--type %s：只用于文件，内存中的权重请用 q8_0、q4_0、f16、bf16 或 f32"),
                            dtype_get(s->type)->name);
    if (s->kv_type != DTYPE_NONE && s->kv_type != DTYPE_F32 && s->kv_type != DTYPE_F16)
        return report_usage(TR("--kv-type %s: must be f16 or f32", "--kv-type %s：须为 f16 或 f32"), dtype_get(s->kv_type)->name);
    return EXIT_DONE;
}

int open_resident(resident **out, const settings *s, bool is_long_lived) {
    qaio_error err;
    char *path = NULL;
    if (check_types(s)) return EXIT_USAGE;
    if (find_model(&path, s->model, &err)) return report_error(&err);
    resident_options options = {
        .model = path,
        .type = s->type,
        .kv_type = s->kv_type,
        .n_ctx = s->n_ctx,
        .n_threads = (int)s->n_threads,
        .cpu = wanted_cpu(),
        .tasks_dir = s->tasks_dir,
        .timeout_ms = (int)(s->timeout * 1000),
        .keeps_packed = is_long_lived,
    };
    qaio_status status = resident_open(out, &options, &err);
    mem_free(path);
    if (status) return report_error(&err);
    if (!resident_template(*out)->is_recognised)
        report_note("%s", TR("the model's chat template is unknown; plain ChatML is used", "不认识该模型的对话模板，改用普通 ChatML"));
    return EXIT_DONE;
}

qaio_status open_checkpoint_named(checkpoint **out, const char *name, qaio_error *err) {
    char *path;
    size_t bytes;
    qaio_status status = find_model(&path, name, err);
    if (status) return status;
    const void *image = embedded_model(&bytes);
    if (path)
        status = checkpoint_open(out, path, err);
    else if (bytes)
        status = checkpoint_open_memory(out, image, bytes, EMBEDDED_MODEL_NAME, err);
    else
        status = error_set(err, QAIO_ERR_NOT_FOUND,
                           TR("this build has no embedded model; name one with --model", "此程序没有内置模型；请用 --model 指定"));
    mem_free(path);
    return status;
}

static bool has_task(const task_choice *choice, const task *t) {
    for (size_t i = 0; i < choice->n; i++)
        if (choice->tasks[i] == t) return true;
    return false;
}

static int choose_layout(task_choice *out, const char *name) {
    out->has_layout = name != NULL;
    if (!name || (task_layout_from_name(name, &out->layout) && out->layout != LAYOUT_PLAIN)) return EXIT_DONE;
    return report_usage(TR("--layout %s: must be own, shared or probe", "--layout %s：须为 own、shared 或 probe"), name);
}

int choose_tasks(task_choice *out, const settings *s, const task_set *set, const char *list) {
    *out = (task_choice){0};
    int status = choose_layout(out, s->layout);
    if (status) return status;
    while (*list) {
        char name[TASK_NAME_BYTES];
        size_t n = strcspn(list, ",");
        const task *t;
        qaio_error err;
        if (n == 0 || n >= sizeof name)
            return report_usage(TR("no task %.*s; `qaio tasks list` shows them", "没有任务 %.*s；见 `qaio tasks list`"), (int)n, list);
        memcpy(name, list, n);
        name[n] = '\0';
        if (task_set_find(&t, set, name, &err)) {
            report_error(&err);
            return EXIT_USAGE;
        }
        if (out->n == MAX_TASKS_AT_ONCE) return report_usage(TR("at most %d tasks at once", "一次最多 %d 个任务"), MAX_TASKS_AT_ONCE);
        if (!has_task(out, t)) {
            out->tasks[out->n++] = t;
            out->n_labels += t->kind == TASK_LABEL;
        }
        list += n + (list[n] == ',');
    }
    return out->n ? EXIT_DONE : report_usage("%s", TR("no task named; `qaio tasks list` shows them", "没有指定任务；见 `qaio tasks list`"));
}
