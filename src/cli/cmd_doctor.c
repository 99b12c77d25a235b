/* qaio doctor: what this machine, model and build can do, a self-test, and what is wrong, in plain words. */
#include <curl/curl.h>
#include <langinfo.h>
#include <locale.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/memory.h"
#include "cli/open.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "hub/hub.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif
#define LOW_MEMORY_BYTES ((uint64_t)256 << 20)

typedef struct check_text {
    const char *text, *label;
} check_text;

static const check_text check_texts[] = {
    {"今天的实验终于成功了,太棒了!", "positive"},
    {"今天考试没考好,心情很低落。", "negative"},
};
#define N_CHECKS (sizeof check_texts / sizeof *check_texts)

typedef struct doctor {
    const settings *settings;
    resident *resident; /* NULL where it could not be opened */
    json_t *report;     /* {"machine": …, "model": …, "build": …, "checks": […], "problems": […]} */
    json_t *checks, *problems;
    bool has_failed;
} doctor;

static void add_problem(doctor *d, const char *format, ...) PRINTF_LIKE(2, 3);
static void add_problem(doctor *d, const char *format, ...) {
    str text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    json_array_append_new(d->problems, json_text(text.data ? text.data : "", text.len));
    str_deinit(&text);
}

static void add_check(doctor *d, bool is_passed, const char *format, ...) PRINTF_LIKE(3, 4);
static void add_check(doctor *d, bool is_passed, const char *format, ...) {
    str text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    json_array_append_new(d->checks, json_pack("{s:b, s:o}", "passed", is_passed, "what", json_text(text.data ? text.data : "", text.len)));
    d->has_failed |= !is_passed;
    str_deinit(&text);
}

/* ---- machine ---- */

static void cpu_name(char out[128]) {
    char line[256];
    snprintf(out, 128, "?");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(out, 128, "%.120s", strchr(line, ':') + 2);
            out[strcspn(out, "\n")] = '\0';
            break;
        }
    if (f) fclose(f);
}

static json_t *kernel_names(void) {
    json_t *list = json_array();
    for (const kernels *const *k = kernels_available(); *k; k++) json_array_append_new(list, json_string((*k)->name));
    return list;
}

static void examine_machine(doctor *d) {
    char name[128], features[512];
    cpu_name(name);
    kernels_cpu_features(features, sizeof features);
    long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int n_threads = pool_default_threads();
    uint64_t free_bytes = memory_available_bytes();
    json_object_set_new(d->report, "machine",
                        json_pack("{s:o, s:s, s:o, s:I, s:i, s:I}", "cpu", json_text(name, strlen(name)), "features", features, "kernels",
                                  kernel_names(), "cpus", (json_int_t)n_cpus, "threads", n_threads, "memory_available",
                                  (json_int_t)free_bytes));
    if (n_threads < n_cpus)
        add_problem(
            d,
            TR("only %d of %ld CPUs may be used (affinity or cgroup quota)", "只能使用 %2$ld 个 CPU 中的 %1$d 个（亲和性或 cgroup 配额）"),
            n_threads, n_cpus);
    if (free_bytes && free_bytes < LOW_MEMORY_BYTES)
        add_problem(d, "%s", TR("less than 256 MiB of memory is available", "可用内存不足 256 MiB"));
    if (setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        add_problem(d, "%s",
                    TR("the locale is not UTF-8: Chinese may be shown wrongly; try LANG=C.UTF-8",
                       "区域设置不是 UTF-8，中文可能显示错误；可设 LANG=C.UTF-8"));
}

/* ---- model ---- */

static void examine_calibrations(doctor *d) {
    json_t *calibrated = json_array();
    const task_set *set = resident_tasks(d->resident);
    for (size_t i = 0; i < task_set_size(set); i++) {
        const task *t = task_set_at(set, i);
        const found_calibration *found = resident_calibration(d->resident, t);
        if (!found || !found->is_found) continue;
        if (found->is_used)
            json_array_append_new(calibrated, json_string(t->name));
        else
            add_problem(d, TR("the calibration of %s is ignored: %s", "未使用 %s 的校准：%s"), t->name, found->why_not.message);
    }
    json_object_set_new(json_object_get(d->report, "model"), "calibrated", calibrated);
}

static void examine_model(doctor *d) {
    const model_desc *desc = resident_desc(d->resident);
    const chat_template *t = resident_template(d->resident);
    const model *m = resident_model(d->resident);
    const char *chosen = resident_kernels(d->resident)->name;
    json_object_set_new(d->report, "model",
                        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:s, s:b, s:s, s:i, s:I}", "name", desc->name,
                                  "architecture", desc->arch == ARCH_QWEN2 ? "qwen2" : "qwen3", "format",
                                  checkpoint_format(resident_checkpoint(d->resident)), "layers", (json_int_t)desc->n_layers, "hidden_size",
                                  (json_int_t)desc->hidden_size, "vocab_size", (json_int_t)desc->vocab_size, "type",
                                  dtype_get(model_type(m))->name, "kv_type", dtype_get(model_kv_type(m))->name, "weight_bytes",
                                  (json_int_t)model_weight_bytes(m), "context", (json_int_t)model_context(m), "template",
                                  chat_family_name(t->family), "template_recognised", t->is_recognised, "kernels", chosen, "threads",
                                  resident_threads(d->resident), "tasks", (json_int_t)task_set_size(resident_tasks(d->resident))));
    examine_calibrations(d);
    if (!t->is_recognised)
        add_problem(d, "%s", TR("the chat template is unknown; plain ChatML is used", "不认识对话模板，改用普通 ChatML"));
    if (wanted_cpu()) add_problem(d, TR("QAIO_CPU=%s chooses the kernels", "QAIO_CPU=%s 指定了内核"), wanted_cpu());
    if (strcmp(chosen, "ref") == 0) add_problem(d, "%s", TR("plain C kernels are used, which are slow", "正在使用较慢的纯 C 内核"));
}

/* ---- build ---- */

static void examine_build(doctor *d) {
    size_t embedded_bytes;
    embedded_model(&embedded_bytes);
    char *cache = hub_cache_dir();
    json_object_set_new(d->report, "build",
                        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "version", QAIO_VERSION, "compiler", COMPILER,
                                  "libmicrohttpd", MHD_get_version(), "libcurl", curl_version_info(CURLVERSION_NOW)->version, "jansson",
                                  jansson_version_str(), "utf8proc", utf8proc_version(), "embedded_model_bytes", (json_int_t)embedded_bytes,
                                  "cache", cache ? json_text(cache, strlen(cache)) : json_null()));
    if (!embedded_bytes)
        add_problem(d, "%s", TR("this build has no embedded model; --model is always needed", "此程序没有内置模型，必须给出 --model"));
    if (!cache) add_problem(d, "%s", TR("no home directory: `qaio pull` needs QAIO_HOME", "没有主目录：`qaio pull` 需要 QAIO_HOME"));
    mem_free(cache);
}

/* ---- self-test ---- */

static qaio_status read_label(resident *r, const char *text, label_answer *out, qaio_error *err) {
    const task *t;
    label_read *read;
    qaio_status status = task_set_find(&t, resident_tasks(r), "sentiment", err);
    if (!status) status = label_start(&read, r, t, text, strlen(text), err);
    return status ? status : label_finish(read, out, err);
}

static void check_labels(doctor *d, label_answer answers[N_CHECKS]) {
    for (size_t i = 0; i < N_CHECKS; i++) {
        qaio_error err;
        if (read_label(d->resident, check_texts[i].text, &answers[i], &err)) {
            add_check(d, false, "%s: %s", check_texts[i].text, err.message);
            continue;
        }
        const task_label *label = &answers[i].task->labels[answers[i].label];
        bool is_right = strcmp(label->id, check_texts[i].label) == 0;
        /* A model or a calibration of the user's own may see it otherwise: that is no failure of the program. */
        if (!is_right && (d->settings->model || answers[i].is_calibrated))
            add_problem(d, TR("%s is read as %s", "%s 被读作 %s"), check_texts[i].text, label->text);
        else
            add_check(d, is_right, "%s %s %s %.1f %%", check_texts[i].text, label->emoji, label->text,
                      100 * answers[i].probabilities[answers[i].label]);
    }
}

/* The chosen kernels against plain C, through the whole model: the same bits. */
static void check_kernels(doctor *d, const label_answer answers[N_CHECKS]) {
    if (d->settings->model) return; /* twice in memory may be too much */
    resident *plain;
    qaio_error err;
    resident_options options = {.type = d->settings->type,
                                .kv_type = d->settings->kv_type,
                                .n_ctx = d->settings->n_ctx,
                                .n_threads = 1,
                                .cpu = "ref",
                                .tasks_dir = d->settings->tasks_dir};
    if (resident_open(&plain, &options, &err)) {
        add_check(d, false, "ref: %s", err.message);
        return;
    }
    bool is_equal = true;
    for (size_t i = 0; i < N_CHECKS; i++) {
        label_answer answer;
        if (read_label(plain, check_texts[i].text, &answer, &err))
            is_equal = false;
        else
            for (size_t k = 0; k < answer.task->n_labels; k++) is_equal &= answer.raw[k] == answers[i].raw[k];
    }
    add_check(d, is_equal, TR("kernels %s give the same bits as plain C", "内核 %s 与纯 C 的结果逐位相同"),
              resident_kernels(d->resident)->name);
    resident_close(plain);
}

/* ---- printing ---- */

static void print_names(const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) printf("%s%s", i ? " " : "", json_string_value(json_array_get(list, i)));
    puts(json_array_size(list) ? "" : TR("none", "无"));
}

static void print_section(const doctor *d, const char *key, const char *title) {
    const char *name;
    json_t *value;
    printf("%s\n", title);
    json_object_foreach(json_object_get(d->report, key), name, value) {
        char size[32];
        if (json_is_string(value))
            printf("  %-22s %s\n", name, json_string_value(value));
        else if (json_is_integer(value) && (strstr(name, "bytes") || strstr(name, "memory"))) {
            format_bytes(size, (uint64_t)json_integer_value(value));
            printf("  %-22s %s\n", name, size);
        } else if (json_is_array(value)) {
            printf("  %-22s ", name);
            print_names(value);
        } else {
            char *text = json_dumps(value, JSON_ENCODE_ANY);
            printf("  %-22s %s\n", name, text ? text : "");
            free(text);
        }
    }
}

static void print_report(const doctor *d) {
    size_t i;
    json_t *item;
    print_section(d, "machine", TR("Machine", "机器"));
    print_section(d, "model", TR("Model", "模型"));
    print_section(d, "build", TR("Build", "程序"));
    puts(TR("Self-test", "自检"));
    json_array_foreach(d->checks, i, item) printf("  %s  %s\n", json_is_true(json_object_get(item, "passed")) ? "ok  " : "FAIL",
                                                  json_string_value(json_object_get(item, "what")));
    if (json_array_size(d->problems)) puts(TR("Worth knowing", "注意"));
    json_array_foreach(d->problems, i, item) printf("  %s\n", json_string_value(item));
    puts(d->has_failed ? TR("Something is wrong, see above.", "有问题，见上。") : TR("All is well.", "一切正常。"));
}

int command_doctor(const settings *s) {
    doctor d = {.settings = s, .report = json_object(), .checks = json_array(), .problems = json_array()};
    examine_machine(&d);
    if (open_resident(&d.resident, s, false) != EXIT_DONE) {
        add_check(&d, false, "%s", TR("the model cannot be opened", "无法打开模型"));
    } else {
        label_answer answers[N_CHECKS] = {0};
        examine_model(&d);
        check_labels(&d, answers);
        check_kernels(&d, answers);
    }
    examine_build(&d);
    json_object_set(d.report, "checks", d.checks);
    json_object_set(d.report, "problems", d.problems);
    if (s->json)
        json_print(json_incref(d.report));
    else
        print_report(&d);
    resident_close(d.resident);
    json_decref(d.report);
    json_decref(d.checks);
    json_decref(d.problems);
    return d.has_failed ? EXIT_FAILED : EXIT_DONE;
}
