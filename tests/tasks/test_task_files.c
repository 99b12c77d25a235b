/* Task files: the built-in ones are what the embedded model was trained on, a directory adds and overrides, and whatever is wrong with a
 * file is said with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "tasks/route.h"
#include "tasks/task.h"
#include "tasks/task_file.h"
#include "tasks/yaml_tree.h"

/* ---- a directory of tasks for a test ---- */

typedef struct folder {
    char path[64];
    char *files[8];
    size_t n;
} folder;

static void folder_open(folder *f) {
    *f = (folder){.path = "/tmp/qaio-tasks-XXXXXX"};
    assert_non_null(mkdtemp(f->path));
}

static void folder_add(folder *f, const char *name, const char *text) {
    char *path = file_join(f->path, name);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
    f->files[f->n++] = path;
}

static void folder_close(folder *f) {
    for (size_t i = 0; i < f->n; i++) {
        unlink(f->files[i]);
        mem_free(f->files[i]);
    }
    assert_int_equal(rmdir(f->path), 0);
}

#define HEAD      "name: mood\nversion: 2\ntitle: {zh: 心情, en: Mood}\nkind: label\n"         /* lines 1 to 4 */
#define SYSTEM    "system: 判断心情\n"                                                         /* line 5 */
#define CHAT_HEAD "name: talk\nversion: 1\ntitle: {zh: 聊, en: Talk}\nkind: chat\nsystem: x\n" /* lines 1 to 5 */
#define LABELS    "labels:\n- {id: good, text: 好}\n- {id: bad, text: 坏}\n"                   /* lines 6 to 8 */

/* ---- the built-in tasks ---- */

static void built_in_prompts_and_labels_are_those_the_model_was_trained_on(void **state) {
    (void)state;
    task_set *set;
    assert_int_equal(task_set_open(&set, NULL, NULL), QAIO_OK);
    json_t *golden = json_load_file("tests/golden/tasks/qaio-mini-zh.json", 0, NULL);
    assert_non_null(golden);
    const char *names[] = {"sentiment", "emotion", "intent", "urgency", "crisis", "chat"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const task *t;
        assert_int_equal(task_set_find(&t, set, names[i], NULL), QAIO_OK);
        const json_t *expected = json_object_get(golden, names[i]), *labels = json_object_get(expected, "labels");
        assert_string_equal(t->system, json_string_value(json_object_get(expected, "system")));
        assert_int_equal(t->n_labels, json_array_size(labels));
        for (size_t l = 0; l < t->n_labels; l++) assert_string_equal(t->labels[l].text, json_string_value(json_array_get(labels, l)));
    }
    json_decref(golden);
    task_set_free(set);
}

static void built_in_tasks_are_listed_in_their_order_and_complete(void **state) {
    (void)state;
    static const char *const order[] = {"sentiment", "emotion",  "intent",  "urgency", "crisis",       "sentiment-plain", "chat",
                                        "service",   "keywords", "summary", "style",   "to-classical", "to-modern"};
    size_t n = sizeof order / sizeof *order;
    task_set *set;
    assert_int_equal(task_set_open(&set, NULL, NULL), QAIO_OK);
    assert_int_equal(task_set_size(set), n);
    for (size_t i = 0; i < n; i++) {
        const task *t = task_set_at(set, i);
        assert_string_equal(t->name, order[i]);
        assert_int_equal(t->version, 1);
        assert_true(t->title_zh[0] && t->title_en[0]);
        if (t->kind == TASK_LABEL) assert_true(t->n_tests > 0);
    }
    const task *plain = task_set_at(set, 5), *chat = task_set_at(set, 6), *sentiment = task_set_at(set, 0);
    assert_int_equal(plain->layout, LAYOUT_PLAIN);
    assert_null(plain->system);
    assert_string_equal(plain->after, "\n输出:");
    assert_int_equal(chat->kind, TASK_CHAT);
    assert_int_equal(chat->max_new_tokens, 128);
    assert_true(chat->temperature < 0); /* the checkpoint's */
    assert_string_equal(sentiment->labels[0].id, "positive");
    assert_string_equal(sentiment->labels[1].emoji, "😢");
    assert_string_equal(sentiment->tests[0].expect, "positive");
    task_set_free(set);
}

static void a_crisis_names_the_hotline(void **state) {
    (void)state;
    task_set *set;
    const task *t;
    assert_int_equal(task_set_open(&set, NULL, NULL), QAIO_OK);
    assert_int_equal(task_set_find(&t, set, "crisis", NULL), QAIO_OK);
    assert_non_null(strstr(t->crisis.text, "12356"));
    label_answer answer = {.task = t, .probabilities = {0.5, 0.5}};
    assert_string_equal(t->labels[t->crisis.label_index].id, "yes");
    answer.probabilities[t->crisis.label_index] = t->crisis.at_least;
    assert_true(answer_is_crisis(&answer));
    answer.probabilities[t->crisis.label_index] = t->crisis.at_least - 1e-6;
    assert_false(answer_is_crisis(&answer));
    task_set_free(set);
}

/* ---- routes ---- */

static label_answer answer_of(const task_set *set, const char *name, const char *id) {
    label_answer answer = {0};
    assert_int_equal(task_set_find(&answer.task, set, name, NULL), QAIO_OK);
    while (strcmp(answer.task->labels[answer.label].id, id) != 0) answer.label++;
    return answer;
}

static void the_first_route_that_fits_is_taken(void **state) {
    (void)state;
    task_set *set;
    const task *service, *tasks[8];
    assert_int_equal(task_set_open(&set, NULL, NULL), QAIO_OK);
    assert_int_equal(task_set_find(&service, set, "service", NULL), QAIO_OK);
    assert_int_equal(task_set_find(&tasks[0], set, "intent", NULL), QAIO_OK);
    assert_int_equal(route_add_tasks(service, set, tasks, 1, 8), 3);
    assert_string_equal(tasks[1]->name, "urgency");
    assert_string_equal(tasks[2]->name, "sentiment");
    label_answer answers[] = {answer_of(set, "sentiment", "negative"), answer_of(set, "intent", "complaint"),
                              answer_of(set, "urgency", "normal")};
    assert_string_equal(route_choose(service, answers, 3)->id, "soothe");
    answers[1] = answer_of(set, "intent", "share");
    assert_string_equal(route_choose(service, answers, 3)->id, "comfort");
    answers[2] = answer_of(set, "urgency", "urgent");
    assert_string_equal(route_choose(service, answers, 3)->id, "urgent");
    answers[2].is_unsure = true;
    assert_string_equal(route_choose(service, answers, 3)->id, "comfort");
    assert_null(route_choose(service, answers + 1, 1));
    task_set_free(set);
}

static void check_folder_error(const char *text, const char *at, const char *message) {
    folder f;
    task_set *set;
    qaio_error err = {0};
    folder_open(&f);
    folder_add(&f, "a.yaml", text);
    assert_int_equal(task_set_open(&set, f.path, &err), QAIO_ERR_FORMAT);
    if (!strstr(err.path, at) || !strstr(err.message, message)) fail_msg("%s: %s", err.path, err.message);
    folder_close(&f);
}

static void a_route_must_look_at_a_label_that_there_is(void **state) {
    (void)state;
    check_folder_error(CHAT_HEAD "route_by:\n- {id: a, when: {sentiment: bad}, system: x}\n", "a.yaml:7", "has no such label");
    check_folder_error(CHAT_HEAD "route_by:\n- id: a\n  when: {nothing: bad}\n  system: x\n", "a.yaml:7", "no label task");
    check_folder_error(CHAT_HEAD "route_by:\n- {id: a, when: {chat: bad}, system: x}\n", "a.yaml:7", "no label task");
}

/* ---- a directory ---- */

static void a_directory_adds_and_overrides_by_name_and_keeps_the_order(void **state) {
    (void)state;
    folder f;
    folder_open(&f);
    folder_add(&f, "1.yaml",
               "name: zebra\nversion: 1\ntitle: {zh: 斑马, en: Zebra}\nkind: generate\nsystem: x\ntemperature: 0.25\ntop_p: 1\n");
    folder_add(&f, "2.yaml", HEAD SYSTEM LABELS);
    folder_add(
        &f, "3.yaml",
        "name: emotion\nversion: 7\ntitle: {zh: 情绪, en: Mood}\nkind: label\nlayout: plain\nbefore: \"甲:\"\nafter: \"\\n乙:\"\n" LABELS
        "score: first\nabstain_below: 0.55\n");
    folder_add(&f, ".hidden.yaml", "nonsense: [");
    folder_add(&f, "README.md", "# not a task");
    task_set *set;
    qaio_error err = {0};
    if (task_set_open(&set, f.path, &err)) fail_msg("%s: %s", err.path, err.message);
    assert_int_equal(task_set_size(set), 15);
    const task *t = task_set_at(set, 1);
    assert_string_equal(t->name, "emotion");
    assert_int_equal(t->version, 7);
    assert_int_equal(t->score, SCORE_FIRST);
    assert_true(t->abstain_below == 0.55);
    assert_string_equal(t->before, "甲:");
    assert_string_equal(t->labels[1].id, "bad");
    assert_string_equal(t->labels[1].emoji, "");
    assert_string_equal(task_set_at(set, 13)->name, "mood");
    t = task_set_at(set, 14);
    assert_string_equal(t->name, "zebra");
    assert_int_equal(t->kind, TASK_GENERATE);
    assert_true(t->temperature == 0.25F && t->top_p == 1.0F);
    task_set_free(set);
    folder_close(&f);
}

static void open_fails_with(const char *dir, qaio_status status, const char *path_end, const char *message_part) {
    task_set *set = NULL;
    qaio_error err = {0};
    assert_int_equal(task_set_open(&set, dir, &err), status);
    assert_null(set);
    size_t n = strlen(err.path), m = strlen(path_end);
    if (n < m || strcmp(err.path + n - m, path_end) != 0 || !strstr(err.message, message_part))
        fail_msg("\"%s: %s\" is not \"%s: ...%s...\"", err.path, err.message, path_end, message_part);
}

static void a_bad_directory_is_refused_with_its_reason(void **state) {
    (void)state;
    open_fails_with("/tmp/qaio-no-such-folder", QAIO_ERR_NOT_FOUND, "/tmp/qaio-no-such-folder", "no such folder");
    folder f;
    folder_open(&f);
    open_fails_with(f.path, QAIO_ERR_NOT_FOUND, f.path, "no file *.yaml");
    folder_add(&f, "a.yaml", HEAD SYSTEM LABELS);
    open_fails_with(f.files[0], QAIO_ERR_IO, f.files[0], "folder of tasks");
    folder_add(&f, "b.yaml", HEAD SYSTEM LABELS);
    open_fails_with(f.path, QAIO_ERR_FORMAT, "/b.yaml", "\"mood\" is already in /tmp/");
    folder_add(&f, "b.yaml", "name: chat\nversion: 2\ntitle: {zh: 闲, en: Chat}\nkind: label\n" SYSTEM LABELS);
    open_fails_with(f.path, QAIO_ERR_FORMAT, "/b.yaml", "\"chat\" is of another kind");
    folder_add(&f, "b.yaml", HEAD SYSTEM "labels: 3\n");
    open_fails_with(f.path, QAIO_ERR_FORMAT, "/b.yaml:6", "labels must be a list");
    folder_add(&f, "b.yaml", "");
    assert_int_equal(truncate(f.files[1], TASK_MAX_FILE_BYTES + 1), 0);
    open_fails_with(f.path, QAIO_ERR_LIMIT, "/b.yaml", "1048577 bytes");
    unlink(f.files[1]);
    assert_int_equal(mkdir(f.files[1], 0700), 0);
    open_fails_with(f.path, QAIO_ERR_IO, "/b.yaml", "not a regular file");
    rmdir(f.files[1]);
    folder_close(&f);
}

static void an_unknown_task_is_answered_with_those_there_are(void **state) {
    (void)state;
    task_set *set;
    const task *t = NULL;
    qaio_error err;
    assert_int_equal(task_set_open(&set, NULL, NULL), QAIO_OK);
    assert_int_equal(task_set_find(&t, set, "sentimant", &err), QAIO_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "sentimant; there are: sentiment, emotion, intent"));
    assert_int_equal(task_set_find(&t, set, "\x1b[2J\xff", &err), QAIO_ERR_NOT_FOUND);
    assert_null(strchr(err.message, '\x1b'));
    assert_null(t);
    task_set_free(set);
}

/* ---- one file ---- */

typedef struct bad_file {
    qaio_status status;
    int line;
    const char *message_part, *text;
} bad_file;

static void check_bad(const bad_file *bad) {
    task t;
    qaio_error err = {0};
    char where[32];
    snprintf(where, sizeof where, "dir/t.yaml:%d", bad->line);
    qaio_status status = task_parse(&t, "dir/t.yaml", bad->text, strlen(bad->text), &err);
    if (status != bad->status || strcmp(err.path, where) != 0 || !strstr(err.message, bad->message_part))
        fail_msg("%s %s: %s\nis not %s %s: %s\nfor\n%s", qaio_status_name(status), err.path, err.message, qaio_status_name(bad->status),
                 where, bad->message_part, bad->text);
    assert_true(utf8_is_valid(err.message, strlen(err.message)));
    for (const char *c = err.message; *c; c++) assert_true((unsigned char)*c >= 0x20);
}

#define F QAIO_ERR_FORMAT
#define L QAIO_ERR_LIMIT

static void whatever_is_wrong_with_the_yaml_is_said_with_its_line(void **state) {
    (void)state;
    static const bad_file files[] = {
        {F, 1, "the file is empty", ""},
        {F, 1, "the file is empty", "# only a comment\n"},
        {F, 2, "not valid YAML", "name: a\n\tversion: 1\n"},
        {F, 2, "not valid YAML", "name: a\ntitle: {zh: [\n"},
        {F, 2, "not valid YAML", "name: a\rtitle: [a: b: c"},
        {F, 3, "not valid YAML", "name: a\nversion: 1\nsystem: \xff\xfe\n"},
        {F, 2, "not valid YAML", "name: a\nsystem: \"\\q\"\n"},
        {F, 2, "anchors (&a)", "name: x\nsystem: &a text\n"},
        {F, 2, "anchors (&l)", "name: x\nlabels: &l [a, b]\n"},
        {F, 2, "aliases (*a)", "name: x\nsystem: *a\n"},
        {F, 1, "tags", "name: !!binary eA==\n"},
        {F, 2, "tags", "name: a\ntitle: !x {zh: a, en: b}\n"},
        {F, 5, "second document", HEAD "---\nname: b\n"},
        {L, 1, "nested deeper than 8", "[[[[[[[[[[[[[[[["},
        {F, 1, "a task file must be a map", "- a\n- b\n"},
        {F, 1, "a task file must be a map", "just words"},
        {F, 1, "a key must be a single value", "[a]: b\nkind: label\n"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) check_bad(&files[i]);
}

static void whatever_is_wrong_with_a_task_is_said_with_its_line(void **state) {
    (void)state;
    static const bad_file files[] = {
        /* keys */
        {F, 1, "the task has no kind", "name: a\n"},
        {F, 5, "unknown key \"sytem\"; known here: name, version, title, kind, layout, system, analyst, opening, labels,",
         HEAD "sytem: x\n" LABELS},
        {F, 5, "unknown key \"a?b\"", HEAD "\"a\\nb\": x\n"},
        {F, 9, "system stands twice, first in line 5", HEAD SYSTEM LABELS SYSTEM},
        {F, 9, "kind stands twice, first in line 4", HEAD SYSTEM LABELS "kind: label\n"},
        {F, 1, "the task has no system", HEAD "labels: [{id: a, text: b}, {id: c, text: d}]\n"},
        {F, 1, "the task has no labels", HEAD SYSTEM},
        {F, 1, "the task has no version", "kind: chat\nname: a\ntitle: {zh: a, en: b}\nsystem: x\n"},
        {F, 3, "title has no en", "name: a\nversion: 1\ntitle: {zh: a}\nkind: chat\nsystem: x\n"},
        {F, 3, "title must be a map", "name: a\nversion: 1\ntitle: b\nkind: chat\nsystem: x\n"},
        {F, 5, "before has no meaning", HEAD "before: x\n" LABELS},
        {F, 1, "the task has no after", HEAD "layout: plain\nbefore: x\n" LABELS},
        {F, 9, "temperature has no meaning", HEAD SYSTEM LABELS "temperature: 1\n"},
        {F, 5, "labels has no meaning",
         "name: a\nversion: 1\ntitle: {zh: a, en: b}\nkind: chat\n"
         "labels: []\n"},
        {F, 1, "kind chat cannot have the layout plain", "name: a\nkind: chat\nlayout: plain\n"},
        /* values */
        {F, 1, "name \"Mood\" may hold only", "name: Mood\nkind: chat\n"},
        {F, 1, "name \"心情\" may hold only", "name: 心情\nkind: chat\n"},
        {F, 1, "name is empty", "name: \"\"\nkind: chat\n"},
        {L, 1, "name has 64 bytes, at most 63", "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nkind: chat\n"},
        {F, 1, "name must be a single value, not a list", "name: [a]\nkind: chat\n"},
        {F, 2, "kind is \"lable\", it can be: label, generate, chat", "name: a\nkind: lable\n"},
        {F, 2, "layout is \"forked\", it can be: own, plain, shared, probe", "kind: label\nlayout: forked\n"},
        {F, 1, "kind generate cannot have the layout shared", "name: a\nkind: generate\nlayout: shared\n"},
        {F, 1, "the task has no opening", HEAD "layout: shared\n" LABELS},
        {F, 6, "opening has no meaning", HEAD "layout: plain\nopening: x\nbefore: x\nafter: x\n" LABELS},
        {F, 1, "version is \"one\"", "version: one\nkind: chat\n"},
        {F, 1, "version is \"0\", it must be a number from 1 to 999999999", "version: 0\nkind: chat\n"},
        {F, 1, "version is \"1000000000\"", "version: 1000000000\nkind: chat\n"},
        {F, 1, "version is \"99999999999999999999999999\"", "version: 99999999999999999999999999\nkind: chat\n"},
        {F, 1, "version is \"1.0\", it must be a whole number", "version: 1.0\nkind: chat\n"},
        {F, 9, "score is \"best\", it can be: sum, mean, first", HEAD SYSTEM LABELS "score: best\n"},
        {F, 9, "abstain_below is \"1.5\"", HEAD SYSTEM LABELS "abstain_below: 1.5\n"},
        {F, 9, "abstain_below is \"nan\"", HEAD SYSTEM LABELS "abstain_below: nan\n"},
        {F, 9, "abstain_below is \"0,5\"", HEAD SYSTEM LABELS "abstain_below: \"0,5\"\n"},
        {F, 9, "abstain_below is \"1e-1\"", HEAD SYSTEM LABELS "abstain_below: 1e-1\n"},
        {F, 5, "system is empty", HEAD "system: \"  \\n\"\n" LABELS},
        {F, 5, "system is empty", HEAD "system:\n" LABELS},
        {F, 5, "system holds a control character", HEAD "system: \"a\\0b\"\n" LABELS},
        {F, 5, "system holds a control character", HEAD "system: \"a\\x1b[2J\"\n" LABELS},
        {F, 5, "system holds a control character", HEAD "system: \"a\\N\"\n" LABELS},
        {F, 1, "max_new_tokens is \"0\"", "max_new_tokens: 0\nkind: chat\n"},
        {F, 1, "temperature is \"-1\"", "temperature: -1\nkind: chat\n"},
        {F, 1, "top_p is \"0\"", "top_p: 0\nkind: chat\n"},
        /* labels */
        {F, 6, "at least 2 labels, this has 0", HEAD SYSTEM "labels: []\n"},
        {F, 7, "at least 2 labels, this has 1", HEAD SYSTEM "labels:\n- {id: a, text: b}\n"},
        {F, 8, "two labels have the id \"a\"", HEAD SYSTEM "labels:\n- {id: a, text: b}\n- {id: a, text: c}\n"},
        {F, 8, "two labels have the text \"b\"", HEAD SYSTEM "labels:\n- {id: a, text: b}\n- {id: c, text: b}\n"},
        {F, 7, "text is empty", HEAD SYSTEM "labels:\n- {id: a, text: \"\"}\n- {id: c, text: b}\n"},
        {F, 7, "a label has no text", HEAD SYSTEM "labels:\n- {id: a}\n- {id: c, text: b}\n"},
        {F, 8, "a label must be a map", HEAD SYSTEM "labels:\n- {id: a, text: b}\n- c\n"},
        {F, 7, "id holds a control character or a line break", HEAD SYSTEM "labels:\n- {id: \"a\\nb\", text: b}\n- {id: c, text: d}\n"},
        {F, 8, "cannot have the id \"unsure\"", HEAD SYSTEM "labels:\n- {id: a, text: b}\n- {id: unsure, text: c}\n"},
        {F, 8, "unknown key \"emoij\"; known here: id, text, emoji",
         HEAD SYSTEM "labels:\n- {id: a, text: b}\n- {id: b, text: c, emoij: d}\n"},
        /* tests */
        {F, 11, "the test expects \"ugly\"", HEAD SYSTEM LABELS "tests:\n- {text: a, expect: good}\n- {text: a, expect: ugly}\n"},
        {F, 10, "\"太棒了!\"; if it is part of a text with a comma, put the text in quotes",
         HEAD SYSTEM LABELS "tests:\n- {text: 成功了,太棒了!, expect: good}\n"},
        {F, 10, "a test has no expect", HEAD SYSTEM LABELS "tests:\n- {text: a}\n"},
        /* crisis, routes */
        {F, 10, "crisis has the label \"ugly\"", HEAD SYSTEM LABELS "crisis:\n  label: ugly\n  at_least: 0.5\n  text: x\n"},
        {F, 10, "crisis has no text", HEAD SYSTEM LABELS "crisis:\n  {label: bad, at_least: 0.5}\n"},
        {F, 9, "at_least is \"0\"", HEAD SYSTEM LABELS "crisis: {label: bad, at_least: 0, text: x}\n"},
        {F, 9, "route_by has no meaning", HEAD SYSTEM LABELS "route_by: []\n"},
        {F, 6, "route_by has no route", CHAT_HEAD "route_by: []\n"},
        {F, 7, "when has no condition", CHAT_HEAD "route_by:\n- {id: a, when: {}, system: x}\n"},
        {F, 7, "a route has no system", CHAT_HEAD "route_by:\n- {id: a, when: {mood: bad}}\n"},
        {F, 8, "two routes have the id \"a\"",
         CHAT_HEAD "route_by:\n- {id: a, when: {mood: bad}, system: x}\n- {id: a, when: {mood: good}, system: x}\n"},
        {F, 7, "mood stands twice in when", CHAT_HEAD "route_by:\n- {id: a, when: {mood: bad, mood: good}, system: x}\n"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) check_bad(&files[i]);
}

static void limits_are_refused_at_the_value_that_passes_them(void **state) {
    (void)state;
    str s = {0};
    str_puts(&s, HEAD SYSTEM "labels:\n");
    for (int i = 0; i <= TASK_MAX_LABELS; i++) str_printf(&s, "- {id: i%d, text: t%d}\n", i, i);
    check_bad(&(bad_file){L, 7 + TASK_MAX_LABELS, "more than 256 labels", s.data});
    str_clear(&s);
    str_puts(&s, HEAD SYSTEM LABELS "tests:\n");
    for (int i = 0; i <= TASK_MAX_TESTS; i++) str_puts(&s, "- {text: a, expect: good}\n");
    check_bad(&(bad_file){L, 10 + TASK_MAX_TESTS, "more than 1024 tests", s.data});
    str_clear(&s);
    str_puts(&s, "name: a\nlist:\n");
    for (int i = 0; i < YAML_MAX_NODES; i++) str_puts(&s, "- a\n");
    check_bad(&(bad_file){L, 2 + YAML_MAX_NODES - 4, "more than 16384 values", s.data});
    str_clear(&s);
    str_puts(&s, HEAD "system: ");
    for (int i = 0; i <= TASK_MAX_PROMPT_BYTES; i++) str_putc(&s, 'x');
    str_puts(&s, "\n" LABELS);
    check_bad(&(bad_file){L, 5, "system has 32769 bytes, at most 32768", s.data});
    str_deinit(&s);
}

static void a_long_path_keeps_its_end_and_the_line(void **state) {
    (void)state;
    char path[1000];
    for (size_t i = 0; i + 3 < sizeof path; i += 3) memcpy(path + i, "情", 3);
    strcpy(path + 990, "/t.yaml");
    task t;
    qaio_error err;
    assert_int_equal(task_parse(&t, path, "kind: [", 7, &err), QAIO_ERR_FORMAT);
    assert_true(utf8_is_valid(err.path, strlen(err.path)));
    if (!strstr(err.path, "情/t.yaml:1")) fail_msg("%s", err.path);
    assert_memory_equal(err.path, "...情", 6);
}

static void windows_files_are_read_like_others(void **state) {
    (void)state;
    static const char text[] =
        "\xEF\xBB\xBFname: mood\r\nversion: 1\r\ntitle: {zh: 心情, en: Mood}\r\nkind: chat\r\nsystem: |-\r\n  第一行\r\n  第二行\r\n";
    task t;
    qaio_error err = {0};
    if (task_parse(&t, "t.yaml", text, sizeof text - 1, &err)) fail_msg("%s: %s", err.path, err.message);
    assert_string_equal(t.name, "mood");
    assert_string_equal(t.system, "第一行\n第二行");
    task_deinit(&t);
}

static void the_example_of_the_documentation_is_a_task(void **state) {
    (void)state;
    char *page;
    size_t n;
    assert_int_equal(file_read(&page, &n, "docs/tasks.md", 1 << 20, NULL), QAIO_OK);
    char *begin = strstr(page, "```yaml\n");
    assert_non_null(begin);
    begin += strlen("```yaml\n");
    char *end = strstr(begin, "```");
    assert_non_null(end);
    task t;
    qaio_error err = {0};
    if (task_parse(&t, "docs/tasks.md", begin, (size_t)(end - begin), &err)) fail_msg("%s: %s", err.path, err.message);
    assert_string_equal(t.name, "review-topic");
    assert_int_equal(t.n_labels, 4);
    assert_int_equal(t.n_tests, 2);
    assert_true(t.abstain_below == 0.5);
    task_deinit(&t);
    mem_free(page);
}

static void every_value_is_taken_literally(void **state) {
    (void)state;
    static const char text[] = HEAD SYSTEM "labels:\n- {id: no, text: yes}\n- {id: null, text: 1.0}\n- {id: off, text: ' ~'}\n";
    task t;
    qaio_error err = {0};
    if (task_parse(&t, "t.yaml", text, sizeof text - 1, &err)) fail_msg("%s: %s", err.path, err.message);
    assert_string_equal(t.labels[0].id, "no");
    assert_string_equal(t.labels[0].text, "yes");
    assert_string_equal(t.labels[1].id, "null");
    assert_string_equal(t.labels[1].text, "1.0");
    assert_string_equal(t.labels[2].text, " ~");
    task_deinit(&t);
}

static void no_failed_allocation_leaks_or_is_taken_for_another_error(void **state) {
    (void)state;
    folder f;
    folder_open(&f);
    folder_add(&f, "a.yaml", HEAD SYSTEM LABELS "tests:\n- {text: a, expect: good}\n");
    bool has_opened = false;
    for (long n = 0; !has_opened; n++) {
        task_set *set = NULL;
        qaio_error err = {0};
        mem_fail_after(n);
        qaio_status status = task_set_open(&set, f.path, &err);
        mem_fail_after(-1);
        has_opened = status == QAIO_OK;
        if (has_opened) {
            assert_true(n > 100);
            task_set_free(set);
        } else if (status != QAIO_ERR_MEMORY || set) {
            fail_msg("allocation %ld: %s", n, qaio_status_name(status));
        }
    }
    folder_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_prompts_and_labels_are_those_the_model_was_trained_on),
        cmocka_unit_test(built_in_tasks_are_listed_in_their_order_and_complete),
        cmocka_unit_test(a_crisis_names_the_hotline),
        cmocka_unit_test(a_route_must_look_at_a_label_that_there_is),
        cmocka_unit_test(the_first_route_that_fits_is_taken),
        cmocka_unit_test(a_directory_adds_and_overrides_by_name_and_keeps_the_order),
        cmocka_unit_test(a_bad_directory_is_refused_with_its_reason),
        cmocka_unit_test(an_unknown_task_is_answered_with_those_there_are),
        cmocka_unit_test(whatever_is_wrong_with_the_yaml_is_said_with_its_line),
        cmocka_unit_test(whatever_is_wrong_with_a_task_is_said_with_its_line),
        cmocka_unit_test(limits_are_refused_at_the_value_that_passes_them),
        cmocka_unit_test(a_long_path_keeps_its_end_and_the_line),
        cmocka_unit_test(windows_files_are_read_like_others),
        cmocka_unit_test(the_example_of_the_documentation_is_a_task),
        cmocka_unit_test(every_value_is_taken_literally),
        cmocka_unit_test(no_failed_allocation_leaks_or_is_taken_for_another_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
