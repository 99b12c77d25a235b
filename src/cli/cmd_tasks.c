/* qaio tasks list, show, test; calibrate is a file of its own. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/analysis.h"
#include "cli/calibration_report.h"
#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "hub/hub.h"
#include "tasks/answer.h"

static const char *kind_name(task_kind kind) {
    switch (kind) {
    case TASK_LABEL:
        return TR("label", "分类");
    case TASK_GENERATE:
        return TR("generate", "生成");
    case TASK_CHAT:
        return TR("chat", "对话");
    }
    return "";
}

static const char *title_of(const task *t) {
    const char *wanted = TR(t->title_en, t->title_zh), *other = TR(t->title_zh, t->title_en);
    return wanted ? wanted : other ? other : "";
}

static int list_tasks(const settings *s, const task_set *set) {
    json_t *list = json_array();
    for (size_t i = 0; i < task_set_size(set); i++) {
        const task *t = task_set_at(set, i);
        if (s->json) {
            json_array_append_new(list, task_to_json(t));
            continue;
        }
        printf("%-16s %-9s %s", t->name, kind_name(t->kind), title_of(t));
        for (size_t k = 0; k < t->n_labels; k++) printf("%s%s %s", k ? "  " : TR(": ", "："), t->labels[k].emoji, t->labels[k].text);
        bool is_embedded = !s->model && task_is_weak_with(t, EMBEDDED_MODEL_NAME);
        puts(is_embedded ? TR("  (beyond the built-in model)", "（内置模型做不好）") : "");
    }
    if (s->json)
        json_print(list);
    else
        json_decref(list);
    return EXIT_DONE;
}

static void print_field(const char *name, const char *text) {
    if (text && text[0]) printf(TR("%s:\n  %s\n", "%s：\n  %s\n"), name, text);
}

/* The calibration of a task for the model at hand; the model is opened only where calibrations are kept at all. */
static int find_calibration(found_calibration *out, const settings *s, const task *t) {
    char *cache = hub_cache_dir(), *dir = cache ? file_join(cache, "calibration") : NULL;
    bool may_be_there = t->kind == TASK_LABEL && dir && file_is_directory(dir);
    mem_free(dir);
    mem_free(cache);
    *out = (found_calibration){0};
    if (!may_be_there) return EXIT_DONE;
    resident *r;
    const task *own;
    int status = open_resident(&r, s, false);
    if (status) return status;
    if (task_set_find(&own, resident_tasks(r), t->name, NULL) == QAIO_OK) *out = *resident_calibration(r, own);
    resident_close(r);
    return EXIT_DONE;
}

static json_t *calibration_to_json(const found_calibration *found) {
    if (!found->is_found) return json_null();
    if (!found->is_used) return json_pack("{s:b, s:s}", "used", false, "why_not", found->why_not.message);
    return json_pack("{s:b, s:I, s:s, s:f}", "used", true, "rows", (json_int_t)found->stored.n_rows, "date", found->stored.date,
                     "temperature", found->stored.values.temperature);
}

static void print_constraint(const task_constraint *c) {
    if (c->kind == CONSTRAINT_NONE) return;
    puts(TR("the answer is held to:", "答案受约束："));
    if (c->kind == CONSTRAINT_KEYWORDS)
        printf(TR("  parts of the text, 1 to %u, each of at most %u characters, \"%s\" between them\n",
                  "  文本里的词，1 到 %u 个，每个最多 %u 个字，之间是“%s”\n"),
               (unsigned)c->max_items, (unsigned)c->max_characters, c->separator);
    for (size_t i = 0; i < c->n_values; i++) printf("  %s\n", c->values[i]);
}

static void print_routes(const task *t) {
    if (t->n_routes)
        puts(TR("the first of these whose labels all hold replaces the system prompt:",
                "从上到下，第一条标签全部相符的提示词代替系统提示词："));
    for (size_t i = 0; i < t->n_routes; i++) {
        const task_route *route = &t->routes[i];
        printf("  %s", route->id);
        for (size_t k = 0; k < route->n_when; k++) printf("%s%s=%s", k ? ", " : ": ", route->when[k].task, route->when[k].label);
        printf("\n    %s\n", route->system);
    }
}

static void print_crisis(const task *t) {
    if (!t->crisis.text) return;
    printf(
        TR("where %s has a probability of %g or more, this comes before any reply:\n  %s\n", "%s 的概率达到 %g 时，回复之前先说：\n  %s\n"),
        t->crisis.label, t->crisis.at_least, t->crisis.text);
}

static int show_task(const settings *s, const task_set *set) {
    const task *t;
    qaio_error err;
    if (s->operands.n != 2) return report_usage("%s", TR("show which task? see `qaio tasks list`", "查看哪个任务？见 `qaio tasks list`"));
    if (task_set_find(&t, set, s->operands.items[1], &err)) return report_error(&err);
    found_calibration found;
    int status = find_calibration(&found, s, t);
    if (status) return status;
    if (s->json) {
        json_t *all = task_to_json(t);
        json_object_set_new(all, "system", t->system ? json_string(t->system) : json_null());
        json_object_set_new(all, "before", t->before ? json_string(t->before) : json_null());
        json_object_set_new(all, "after", t->after ? json_string(t->after) : json_null());
        json_object_set_new(all, "calibration", calibration_to_json(&found));
        json_print(all);
        return EXIT_DONE;
    }
    printf(TR("%s: %s (%s, version %llu)\n", "%s：%s（%s，版本 %llu）\n"), t->name, title_of(t), kind_name(t->kind),
           (unsigned long long)t->version);
    print_field(TR("system prompt", "系统提示词"), t->system);
    print_field(TR("before the text", "文本之前"), t->before);
    print_field(TR("after the text", "文本之后"), t->after);
    print_constraint(&t->constraint);
    print_routes(t);
    if (t->n_labels) puts(TR("labels:", "类别："));
    for (size_t i = 0; i < t->n_labels; i++) printf("  %s %s  %s\n", t->labels[i].emoji, t->labels[i].text, t->labels[i].id);
    print_crisis(t);
    if (t->n_tests) puts(TR("tests:", "自测："));
    for (size_t i = 0; i < t->n_tests; i++) printf("  %s -> %s\n", t->tests[i].text, t->tests[i].expect);
    if (found.is_found) {
        char note[sizeof found.why_not.message + 64];
        calibration_note(note, sizeof note, &found);
        print_field(TR("calibration", "校准"), note);
    }
    return EXIT_DONE;
}

/* ---- test ---- */

typedef struct tally {
    size_t n_passed, n_failed;
    json_t *rows; /* with --json */
} tally;

static void run_test(tally *sum, resident *r, const task *t, const task_test *test) {
    label_read *read;
    label_answer answer;
    qaio_error err;
    qaio_status status = label_start(&read, r, t, test->text, strlen(test->text), &err);
    if (!status) status = label_finish(read, &answer, &err);
    const char *label = status ? "" : answer.is_unsure ? "unsure" : t->labels[answer.label].id;
    double p = status ? 0 : answer.probabilities[answer.label];
    bool is_right = !status && strcmp(label, test->expect) == 0;
    *(is_right ? &sum->n_passed : &sum->n_failed) += 1;
    if (sum->rows)
        json_array_append_new(sum->rows, json_pack("{s:s, s:o, s:s, s:s, s:f, s:b}", "task", t->name, "text",
                                                   json_text(test->text, strlen(test->text)), "expect", test->expect, "label", label,
                                                   "probability", p, "passed", is_right));
    else
        printf("%s  %-12s %-10s %5.1f %%  %s%s%s%s\n", is_right ? "ok  " : "FAIL", t->name, label, 100 * p, test->text,
               is_right ? "" : " -> ", is_right ? "" : test->expect, status ? err.message : "");
}

static int test_tasks(const settings *s) {
    resident *r;
    int status = open_resident(&r, s, false);
    if (status) return status;
    tally sum = {.rows = s->json ? json_array() : NULL};
    const task_set *set = resident_tasks(r);
    for (size_t i = 1; i < s->operands.n && !status; i++) {
        const task *t;
        qaio_error err;
        if (task_set_find(&t, set, s->operands.items[i], &err)) status = report_error(&err);
    }
    for (size_t i = 0; i < task_set_size(set) && !status; i++) {
        const task *t = task_set_at(set, i);
        bool is_wanted = s->operands.n == 1;
        for (size_t k = 1; k < s->operands.n; k++) is_wanted |= strcmp(s->operands.items[k], t->name) == 0;
        for (size_t k = 0; k < t->n_tests && is_wanted; k++) run_test(&sum, r, t, &t->tests[k]);
    }
    if (s->json)
        json_print(json_pack("{s:I, s:I, s:o}", "passed", (json_int_t)sum.n_passed, "failed", (json_int_t)sum.n_failed, "tests", sum.rows));
    else if (!status)
        printf(TR("%zu passed, %zu failed\n", "通过 %zu，失败 %zu\n"), sum.n_passed, sum.n_failed);
    resident_close(r);
    return status ? status : sum.n_failed ? EXIT_FAILED : EXIT_DONE;
}

int command_tasks(const settings *s) {
    const char *names[] = {"list", "show", "test", "calibrate"}, *what = s->operands.n ? s->operands.items[0] : "list";
    if (strcmp(what, "test") == 0) return test_tasks(s);
    if (strcmp(what, "calibrate") == 0) return command_calibrate(s);
    if (strcmp(what, "list") != 0 && strcmp(what, "show") != 0) {
        const char *near = nearest_name(what, names, 4);
        return report_usage(
            TR("tasks %s: must be list, show, test or calibrate%s%s%s", "tasks %s：须为 list、show、test 或 calibrate%s%s%s"), what,
            near ? TR("; did you mean ", "；是不是 ") : "", near ? near : "", near ? TR("?", "？") : "");
    }
    task_set *set;
    qaio_error err;
    if (task_set_open(&set, s->tasks_dir, &err)) return report_error(&err);
    int status = strcmp(what, "list") == 0 ? list_tasks(s, set) : show_task(s, set);
    task_set_free(set);
    return status;
}
