/* The schema of a task file as tables, one row a key, and the walk that applies them to the tree of the file.
 *
 *     reader          the file, its tree, the error
 *     field           a key: how its value is read, where it goes, in which shapes of a task it may or must stand
 *     read_map        unknown, duplicate, misplaced and missing keys, then each value
 *     read_<type>     one value */
#include "tasks/task_file.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "mask/keywords.h"
#include "tasks/yaml_tree.h"

typedef struct reader {
    const yaml_tree *tree;
    const char *path;
    qaio_error *err;
} reader;

/* What a task can be; decides which keys it has. */
enum shape {
    LABEL_OWN = 1,
    LABEL_PLAIN = 2,
    GENERATE_OWN = 4,
    GENERATE_PLAIN = 8,
    CHAT = 16,
    LABEL_SHARED = 32,
    LABEL_PROBE = 64,
};
#define FORKED   (LABEL_SHARED | LABEL_PROBE)
#define LABEL    (LABEL_OWN | LABEL_PLAIN | FORKED)
#define GENERATE (GENERATE_OWN | GENERATE_PLAIN)
#define OWN      (LABEL_OWN | GENERATE_OWN | CHAT)
#define PLAIN    (LABEL_PLAIN | GENERATE_PLAIN)
#define ANY      (OWN | PLAIN | FORKED)

typedef struct field field;
typedef qaio_status read_fn(const reader *r, const yaml_item *value, const field *f, void *into);

struct field {
    const char *key;
    read_fn *read;
    size_t offset;              /* of the member it fills */
    unsigned allowed, required; /* shapes */
    double least, most;         /* of a number; `most` also: bytes of a text */
    const char *const *words;   /* of a choice, NULL at the end; the value is the index */
};

#define FAIL(r, status, line, ...) yaml_tree_error((r)->err, status, (r)->path, line, __VA_ARGS__)

/* A value as it may stand in an error: whole characters, one line, not long. */
typedef struct quoted {
    char text[64];
} quoted;

static quoted quote(const yaml_item *item) {
    quoted q;
    size_t n = 0, len = 0;
    for (size_t i = 0; i < item->n; i += len) {
        uint32_t c = 0;
        len = utf8_decode(item->text + i, item->n - i, &c);
        if (!len) break;
        if (n + len > sizeof q.text - sizeof "...") {
            memcpy(q.text + n, "...", 3);
            n += 3;
            break;
        }
        if (c < 0x20 || (c >= 0x7F && c < 0xA0))
            q.text[n++] = '?';
        else
            memcpy(q.text + n, item->text + i, len), n += len;
    }
    q.text[n] = '\0';
    return q;
}

static const yaml_item *child(const reader *r, size_t index) { return index ? &r->tree->items[index] : NULL; }

/* ---- values ---- */

static qaio_status expect_kind(const reader *r, const yaml_item *value, yaml_kind kind, const char *key) {
    static const char *const names[] = {[YAML_TEXT] = "a single value", [YAML_LIST] = "a list", [YAML_MAP] = "a map (key: value)"};
    if (value->kind == kind) return QAIO_OK;
    return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s must be %s, not %s", key, names[kind], names[value->kind]);
}

/* C0, DEL and C1; the line feed and the tab only where a text may have several lines.  libyaml has checked the UTF-8. */
static bool has_control_character(const char *s, size_t n, bool is_multiline) {
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t len = utf8_decode(s + i, n - i, &c);
        if (!len) return true;
        if ((c < 0x20 && !(is_multiline && (c == '\n' || c == '\t'))) || (c >= 0x7F && c < 0xA0)) return true;
        i += len;
    }
    return false;
}

static bool is_blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\n' && s[i] != '\t') return false;
    return true;
}

static qaio_status store_text(const reader *r, const yaml_item *value, const field *f, void *into, bool is_multiline, bool may_be_empty) {
    qaio_status status = expect_kind(r, value, YAML_TEXT, f->key);
    if (status) return status;
    if (!may_be_empty && is_blank(value->text, value->n)) return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s is empty", f->key);
    if (value->n > (size_t)f->most)
        return FAIL(r, QAIO_ERR_LIMIT, value->line, "%s has %zu bytes, at most %zu are allowed", f->key, value->n, (size_t)f->most);
    if (has_control_character(value->text, value->n, is_multiline))
        return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s holds a control character%s", f->key, is_multiline ? "" : " or a line break");
    char **slot = into;
    *slot = mem_strndup(value->text, value->n);
    return *slot ? QAIO_OK : error_memory(r->err);
}

static qaio_status read_prompt(const reader *r, const yaml_item *value, const field *f, void *into) {
    return store_text(r, value, f, into, true, false);
}

static qaio_status read_line(const reader *r, const yaml_item *value, const field *f, void *into) {
    return store_text(r, value, f, into, false, false);
}

static qaio_status read_line_or_nothing(const reader *r, const yaml_item *value, const field *f, void *into) {
    return store_text(r, value, f, into, false, true);
}

bool task_name_is_valid(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && n < TASK_NAME_BYTES && name[n] == '\0';
}

static qaio_status read_name(const reader *r, const yaml_item *value, const field *f, void *into) {
    qaio_status status = read_line(r, value, f, into);
    if (status) return status;
    if (!task_name_is_valid(value->text))
        return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s \"%s\" may hold only a-z, 0-9 and -", f->key, quote(value).text);
    return QAIO_OK;
}

static qaio_status read_choice(const reader *r, const yaml_item *value, const field *f, void *into) {
    qaio_status status = expect_kind(r, value, YAML_TEXT, f->key);
    if (status) return status;
    str words = {0};
    for (int i = 0; f->words[i]; i++) {
        if (strcmp(f->words[i], value->text) == 0) {
            *(int *)into = i;
            goto done;
        }
        str_printf(&words, "%s%s", i ? ", " : "", f->words[i]);
    }
    status = words.failed ? error_memory(r->err)
                          : FAIL(r, QAIO_ERR_FORMAT, value->line, "%s is \"%s\", it can be: %s", f->key, quote(value).text, words.data);
done:
    str_deinit(&words);
    return status;
}

/* Digits with at most one point among them: what a person writes, in every locale.  At most 15 digits, so that a double holds them. */
static bool parse_decimal(const char *s, size_t n, double *out) {
    double value = 0, unit = 1;
    bool has_point = false;
    size_t n_digits = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '.' && !has_point && n_digits) {
            has_point = true;
        } else if (s[i] >= '0' && s[i] <= '9' && n_digits < 15) {
            n_digits++;
            value = value * 10 + (s[i] - '0');
            if (has_point) unit *= 10;
        } else {
            return false;
        }
    }
    if (!n_digits || s[n - 1] == '.') return false;
    *out = value / unit;
    return true;
}

static qaio_status parse_number(const reader *r, const yaml_item *value, const field *f, double *out) {
    qaio_status status = expect_kind(r, value, YAML_TEXT, f->key);
    if (status) return status;
    if (!parse_decimal(value->text, value->n, out) || *out < f->least || *out > f->most)
        return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s is \"%s\", it must be a number from %g to %.9g", f->key, quote(value).text,
                    f->least, f->most);
    return QAIO_OK;
}

static qaio_status read_double(const reader *r, const yaml_item *value, const field *f, void *into) {
    return parse_number(r, value, f, into);
}

static qaio_status read_float(const reader *r, const yaml_item *value, const field *f, void *into) {
    double number = 0;
    qaio_status status = parse_number(r, value, f, &number);
    if (!status) *(float *)into = (float)number;
    return status;
}

static qaio_status read_whole(const reader *r, const yaml_item *value, const field *f, uint64_t *out) {
    double number = 0;
    qaio_status status = parse_number(r, value, f, &number);
    if (status) return status;
    if (memchr(value->text, '.', value->n))
        return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s is \"%s\", it must be a whole number", f->key, quote(value).text);
    *out = (uint64_t)number;
    return QAIO_OK;
}

static qaio_status read_u64(const reader *r, const yaml_item *value, const field *f, void *into) { return read_whole(r, value, f, into); }

static qaio_status read_u32(const reader *r, const yaml_item *value, const field *f, void *into) {
    uint64_t number = 0;
    qaio_status status = read_whole(r, value, f, &number);
    if (!status) *(uint32_t *)into = (uint32_t)number;
    return status;
}

/* ---- maps ---- */

static const field *find_field(const field *fields, size_t n_fields, const yaml_item *key) {
    for (size_t i = 0; i < n_fields; i++)
        if (strlen(fields[i].key) == key->n && memcmp(fields[i].key, key->text, key->n) == 0) return &fields[i];
    return NULL;
}

static qaio_status unknown_key(const reader *r, const yaml_item *key, const field *fields, size_t n_fields, unsigned shape) {
    const yaml_item *value = child(r, key->next);
    if (value->kind == YAML_TEXT && value->n == 0) /* {text: good,bad, expect: x}: to YAML `bad` is a key */
        return FAIL(r, QAIO_ERR_FORMAT, key->line, "unknown key \"%s\"; if it is part of a text with a comma, put the text in quotes",
                    quote(key).text);
    str known = {0};
    for (size_t i = 0; i < n_fields; i++)
        if (fields[i].allowed & shape) str_printf(&known, "%s%s", known.len ? ", " : "", fields[i].key);
    qaio_status status = known.failed
                             ? error_memory(r->err)
                             : FAIL(r, QAIO_ERR_FORMAT, key->line, "unknown key \"%s\"; known here: %s", quote(key).text, known.data);
    str_deinit(&known);
    return status;
}

#define MAX_FIELDS 24 /* of one map */

/* Each key once, known, in its place; then none missing.  `into` is the struct the offsets belong to; `what` names it in errors. */
static qaio_status read_map(const reader *r, const yaml_item *map, const field *fields, size_t n_fields, unsigned shape, const char *what,
                            void *into) {
    qaio_status status = expect_kind(r, map, YAML_MAP, what);
    size_t seen_line[MAX_FIELDS] = {0}; /* by field, 0: not yet */
    for (const yaml_item *key = child(r, map->first); !status && key;) {
        const yaml_item *value = child(r, key->next);
        if ((status = expect_kind(r, key, YAML_TEXT, "a key"))) break;
        const field *f = find_field(fields, n_fields, key);
        if (!f) return unknown_key(r, key, fields, n_fields, shape);
        size_t *seen = &seen_line[f - fields];
        if (*seen) return FAIL(r, QAIO_ERR_FORMAT, key->line, "%s stands twice, first in line %zu", f->key, *seen);
        *seen = key->line;
        if (!(f->allowed & shape))
            return FAIL(r, QAIO_ERR_FORMAT, key->line, "%s has no meaning in a task of this kind and layout", f->key);
        status = f->read(r, value, f, (char *)into + f->offset);
        key = child(r, value->next);
    }
    for (size_t i = 0; !status && i < n_fields; i++)
        if ((fields[i].required & shape) && !seen_line[i])
            status = FAIL(r, QAIO_ERR_FORMAT, map->line, "%s has no %s", what, fields[i].key);
    return status;
}

#define FIELDS(table) table, sizeof table / sizeof *table

static qaio_status count_children(const reader *r, const yaml_item *list, const char *key, size_t most, size_t *n) {
    qaio_status status = expect_kind(r, list, YAML_LIST, key);
    *n = 0;
    for (const yaml_item *i = child(r, list->first); !status && i; i = child(r, i->next))
        if (++*n > most) status = FAIL(r, QAIO_ERR_LIMIT, i->line, "more than %zu %s", most, key);
    return status;
}

/* ---- the parts of a task ---- */

static qaio_status read_title(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const field fields[] = {
        {"zh", read_line, offsetof(task, title_zh), ANY, ANY, 0, TASK_MAX_TITLE_BYTES, NULL},
        {"en", read_line, offsetof(task, title_en), ANY, ANY, 0, TASK_MAX_TITLE_BYTES, NULL},
    };
    return read_map(r, value, FIELDS(fields), ANY, f->key, into);
}

static qaio_status check_label(const reader *r, const task *t, size_t line) {
    const task_label *l = &t->labels[t->n_labels - 1];
    if (strcmp(l->id, TASK_UNSURE_ID) == 0)
        return FAIL(r, QAIO_ERR_FORMAT, line, "a label cannot have the id \"%s\": answers below abstain_below have it", l->id);
    for (size_t i = 0; i + 1 < t->n_labels; i++) {
        if (strcmp(t->labels[i].id, l->id) == 0) return FAIL(r, QAIO_ERR_FORMAT, line, "two labels have the id \"%s\"", l->id);
        if (strcmp(t->labels[i].text, l->text) == 0) return FAIL(r, QAIO_ERR_FORMAT, line, "two labels have the text \"%s\"", l->text);
    }
    return QAIO_OK;
}

static qaio_status read_labels(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const field fields[] = {
        {"id", read_line, offsetof(task_label, id), ANY, ANY, 0, TASK_MAX_LABEL_BYTES, NULL},
        {"text", read_line, offsetof(task_label, text), ANY, ANY, 0, TASK_MAX_LABEL_BYTES, NULL},
        {"emoji", read_line_or_nothing, offsetof(task_label, emoji), ANY, 0, 0, TASK_MAX_LABEL_BYTES, NULL},
    };
    task *t = into;
    size_t n = 0;
    qaio_status status = count_children(r, value, f->key, TASK_MAX_LABELS, &n);
    if (status) return status;
    if (n < 2) return FAIL(r, QAIO_ERR_FORMAT, value->line, "a task of kind label needs at least 2 labels, this has %zu", n);
    if (!(t->labels = mem_array(n, sizeof *t->labels))) return error_memory(r->err);
    for (const yaml_item *i = child(r, value->first); !status && i; i = child(r, i->next)) {
        task_label *l = &t->labels[t->n_labels++];
        status = read_map(r, i, FIELDS(fields), ANY, "a label", l);
        if (!status && !l->emoji && !(l->emoji = mem_strndup("", 0))) status = error_memory(r->err);
        if (!status) status = check_label(r, t, i->line);
    }
    return status;
}

static qaio_status read_tests(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const field fields[] = {
        {"text", read_prompt, offsetof(task_test, text), ANY, ANY, 0, TASK_MAX_TEST_BYTES, NULL},
        {"expect", read_line, offsetof(task_test, expect), ANY, ANY, 0, TASK_MAX_LABEL_BYTES, NULL},
    };
    task *t = into;
    size_t n = 0;
    qaio_status status = count_children(r, value, f->key, TASK_MAX_TESTS, &n);
    if (status) return status;
    if (!(t->tests = mem_array(n, sizeof *t->tests))) return error_memory(r->err);
    for (const yaml_item *i = child(r, value->first); !status && i; i = child(r, i->next))
        status = read_map(r, i, FIELDS(fields), ANY, "a test", &t->tests[t->n_tests++]);
    return status;
}

static qaio_status read_values(const reader *r, const yaml_item *value, const field *f, void *into) {
    const field line = {f->key, read_line, 0, ANY, ANY, 0, TASK_MAX_LABEL_BYTES, NULL};
    task_constraint *c = into;
    size_t n = 0;
    qaio_status status = count_children(r, value, f->key, TASK_MAX_VALUES, &n);
    if (status) return status;
    if (n == 0) return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s is empty", f->key);
    if (!(c->values = mem_array(n, sizeof *c->values))) return error_memory(r->err);
    for (const yaml_item *i = child(r, value->first); !status && i; i = child(r, i->next))
        status = read_line(r, i, &line, &c->values[c->n_values++]);
    return status;
}

static qaio_status read_constraint(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const char *const words[] = {
        [CONSTRAINT_NONE] = "none", [CONSTRAINT_KEYWORDS] = "keywords", [CONSTRAINT_ONE_OF] = "one_of", NULL};
    static const field fields[] = {
        {"kind", read_choice, offsetof(task_constraint, kind), ANY, ANY, 0, 0, words},
        {"separator", read_line_or_nothing, offsetof(task_constraint, separator), ANY, 0, 0, KEYWORDS_MAX_SEPARATOR, NULL},
        {"max_items", read_u32, offsetof(task_constraint, max_items), ANY, 0, 1, KEYWORDS_MAX_ITEMS, NULL},
        {"max_characters", read_u32, offsetof(task_constraint, max_characters), ANY, 0, 1, KEYWORDS_MAX_CHARACTERS, NULL},
        {"values", read_values, 0, ANY, 0, 0, 0, NULL},
    };
    task_constraint *c = into;
    qaio_status status = read_map(r, value, FIELDS(fields), ANY, f->key, c);
    if (status) return status;
    bool is_list = c->kind == CONSTRAINT_KEYWORDS;
    if ((c->kind == CONSTRAINT_ONE_OF) != (c->values != NULL))
        return FAIL(r, QAIO_ERR_FORMAT, value->line, "values belong to a constraint of the kind one_of, which has no others");
    if (!is_list && (c->separator || c->max_items || c->max_characters))
        return FAIL(r, QAIO_ERR_FORMAT, value->line, "separator, max_items and max_characters belong to a constraint of the kind keywords");
    if (c->separator && !*c->separator) return FAIL(r, QAIO_ERR_FORMAT, value->line, "the separator is empty");
    if (is_list && !c->separator && !(c->separator = mem_strndup("、", strlen("、")))) return error_memory(r->err);
    if (is_list && !c->max_items) c->max_items = TASK_DEFAULT_ITEMS;
    if (is_list && !c->max_characters) c->max_characters = TASK_DEFAULT_CHARACTERS;
    return QAIO_OK;
}

static qaio_status read_when(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const field name = {"a task in when", read_name, 0, ANY, 0, 0, TASK_NAME_BYTES - 1, NULL};
    static const field label = {"a label in when", read_line, 0, ANY, 0, 0, TASK_MAX_LABEL_BYTES, NULL};
    task_route *route = into;
    qaio_status status = expect_kind(r, value, YAML_MAP, f->key);
    if (status) return status;
    if (!value->first) return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s has no condition; it maps tasks to labels", f->key);
    if (!(route->when = mem_array(TASK_MAX_CONDITIONS, sizeof *route->when))) return error_memory(r->err);
    for (const yaml_item *key = child(r, value->first); !status && key; key = child(r, child(r, key->next)->next)) {
        if (route->n_when == TASK_MAX_CONDITIONS) return FAIL(r, QAIO_ERR_LIMIT, key->line, "more than %d conditions", TASK_MAX_CONDITIONS);
        task_condition *c = &route->when[route->n_when++];
        status = read_name(r, key, &name, &c->task);
        if (!status) status = read_line(r, child(r, key->next), &label, &c->label);
        for (size_t i = 0; !status && i + 1 < route->n_when; i++)
            if (strcmp(route->when[i].task, c->task) == 0) status = FAIL(r, QAIO_ERR_FORMAT, key->line, "%s stands twice in when", c->task);
    }
    return status;
}

static qaio_status read_route_title(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const field fields[] = {
        {"zh", read_line, offsetof(task_route, title_zh), ANY, ANY, 0, TASK_MAX_TITLE_BYTES, NULL},
        {"en", read_line, offsetof(task_route, title_en), ANY, ANY, 0, TASK_MAX_TITLE_BYTES, NULL},
    };
    return read_map(r, value, FIELDS(fields), ANY, f->key, into);
}

static qaio_status read_routes(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const field fields[] = {
        {"id", read_name, offsetof(task_route, id), ANY, ANY, 0, TASK_NAME_BYTES - 1, NULL},
        {"title", read_route_title, 0, ANY, 0, 0, 0, NULL},
        {"when", read_when, 0, ANY, ANY, 0, 0, NULL},
        {"system", read_prompt, offsetof(task_route, system), ANY, ANY, 0, TASK_MAX_PROMPT_BYTES, NULL},
    };
    task *t = into;
    size_t n = 0;
    qaio_status status = count_children(r, value, f->key, TASK_MAX_ROUTES, &n);
    if (status) return status;
    if (n == 0) return FAIL(r, QAIO_ERR_FORMAT, value->line, "%s has no route", f->key);
    if (!(t->routes = mem_array(n, sizeof *t->routes))) return error_memory(r->err);
    for (const yaml_item *i = child(r, value->first); !status && i; i = child(r, i->next)) {
        task_route *route = &t->routes[t->n_routes++];
        route->line = i->line;
        status = read_map(r, i, FIELDS(fields), ANY, "a route", route);
        for (size_t k = 0; !status && k + 1 < t->n_routes; k++)
            if (strcmp(t->routes[k].id, route->id) == 0)
                status = FAIL(r, QAIO_ERR_FORMAT, i->line, "two routes have the id \"%s\"", route->id);
    }
    return status;
}

static qaio_status read_crisis(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const field fields[] = {
        {"label", read_line, offsetof(task_crisis, label), ANY, ANY, 0, TASK_MAX_LABEL_BYTES, NULL},
        {"at_least", read_double, offsetof(task_crisis, at_least), ANY, ANY, 0.001, 1, NULL},
        {"text", read_prompt, offsetof(task_crisis, text), ANY, ANY, 0, TASK_MAX_PROMPT_BYTES, NULL},
    };
    return read_map(r, value, FIELDS(fields), ANY, f->key, into);
}

static qaio_status read_weak_with(const reader *r, const yaml_item *value, const field *f, void *into) {
    static const field name = {"a model in weak_with", read_line, 0, ANY, 0, 0, TASK_MAX_TITLE_BYTES, NULL};
    task *t = into;
    size_t n = 0;
    qaio_status status = count_children(r, value, f->key, TASK_MAX_WEAK_WITH, &n);
    if (status || n == 0) return status;
    if (!(t->weak_with = mem_array(n, sizeof *t->weak_with))) return error_memory(r->err);
    for (const yaml_item *i = child(r, value->first); !status && i; i = child(r, i->next))
        status = read_line(r, i, &name, &t->weak_with[t->n_weak_with++]);
    return status;
}

static const yaml_item *value_of(const reader *r, const yaml_item *map, const char *name) {
    for (const yaml_item *key = child(r, map->first); key; key = child(r, child(r, key->next)->next))
        if (key->kind == YAML_TEXT && strcmp(key->text, name) == 0) return child(r, key->next);
    return NULL;
}

static qaio_status check_crisis(const reader *r, const yaml_item *root, task *t) {
    task_crisis *c = &t->crisis;
    while (c->text && c->label_index < t->n_labels && strcmp(t->labels[c->label_index].id, c->label) != 0) c->label_index++;
    if (!c->text || c->label_index < t->n_labels) return QAIO_OK;
    return FAIL(r, QAIO_ERR_FORMAT, value_of(r, root, "crisis")->line, "crisis has the label \"%s\", which is the id of no label",
                c->label);
}

/* Only when the whole map is read are the labels known, wherever they stand. */
static qaio_status check_tests(const reader *r, const yaml_item *root, const task *t) {
    const yaml_item *list = value_of(r, root, "tests");
    if (!list) return QAIO_OK;
    const yaml_item *item = child(r, list->first);
    for (size_t i = 0; i < t->n_tests; i++, item = child(r, item->next)) {
        size_t label = 0;
        while (label < t->n_labels && strcmp(t->labels[label].id, t->tests[i].expect) != 0) label++;
        if (label == t->n_labels)
            return FAIL(r, QAIO_ERR_FORMAT, item->line, "the test expects \"%s\", which is the id of no label", t->tests[i].expect);
    }
    return QAIO_OK;
}

/* ---- the task ---- */

static const char *const kinds[] = {[TASK_LABEL] = "label", [TASK_GENERATE] = "generate", [TASK_CHAT] = "chat", NULL};
static const char *const layouts[] = {
    [LAYOUT_OWN] = "own", [LAYOUT_PLAIN] = "plain", [LAYOUT_SHARED] = "shared", [LAYOUT_PROBE] = "probe", NULL};
static const char *const scores[] = {[SCORE_SUM] = "sum", [SCORE_MEAN] = "mean", [SCORE_FIRST] = "first", [SCORE_PRIOR] = "prior", NULL};

const char *task_layout_name(task_layout layout) { return layouts[layout]; }

bool task_layout_from_name(const char *name, task_layout *out) {
    for (int i = 0; layouts[i]; i++) {
        if (strcmp(layouts[i], name) != 0) continue;
        *out = (task_layout)i;
        return true;
    }
    return false;
}

static const field task_fields[] = {
    {"name", read_name, offsetof(task, name), ANY, ANY, 0, TASK_NAME_BYTES - 1, NULL},
    {"version", read_u64, offsetof(task, version), ANY, ANY, 1, 999999999, NULL},
    {"title", read_title, 0, ANY, ANY, 0, 0, NULL},
    {"kind", read_choice, offsetof(task, kind), ANY, ANY, 0, 0, kinds},
    {"layout", read_choice, offsetof(task, layout), ANY, 0, 0, 0, layouts},
    {"system", read_prompt, offsetof(task, system), OWN | FORKED, OWN, 0, TASK_MAX_PROMPT_BYTES, NULL},
    {"analyst", read_prompt, offsetof(task, analyst), LABEL_OWN | FORKED, 0, 0, TASK_MAX_PROMPT_BYTES, NULL},
    {"opening", read_line, offsetof(task, opening), LABEL_OWN | FORKED, FORKED, 0, TASK_MAX_LABEL_BYTES, NULL},
    {"before", read_prompt, offsetof(task, before), PLAIN, PLAIN, 0, TASK_MAX_PROMPT_BYTES, NULL},
    {"after", read_prompt, offsetof(task, after), PLAIN, PLAIN, 0, TASK_MAX_PROMPT_BYTES, NULL},
    {"labels", read_labels, 0, LABEL, LABEL, 0, 0, NULL},
    {"score", read_choice, offsetof(task, score), LABEL, 0, 0, 0, scores},
    {"abstain_below", read_double, offsetof(task, abstain_below), LABEL, 0, 0, 1, NULL},
    {"temperature", read_float, offsetof(task, temperature), GENERATE | CHAT, 0, 0, 2, NULL},
    {"top_p", read_float, offsetof(task, top_p), GENERATE | CHAT, 0, 0.001, 1, NULL},
    {"max_new_tokens", read_u32, offsetof(task, max_new_tokens), GENERATE | CHAT, 0, 1, TASK_MAX_NEW_TOKENS, NULL},
    {"constraint", read_constraint, offsetof(task, constraint), GENERATE, 0, 0, 0, NULL},
    {"tests", read_tests, 0, LABEL, 0, 0, 0, NULL},
    {"crisis", read_crisis, offsetof(task, crisis), LABEL, 0, 0, 0, NULL},
    {"route_by", read_routes, 0, CHAT, 0, 0, 0, NULL},
    {"weak_with", read_weak_with, 0, ANY, 0, 0, 0, NULL},
};

_Static_assert(sizeof(constraint_kind) == sizeof(int) && sizeof(task_kind) == sizeof(int) && sizeof(task_layout) == sizeof(int) &&
                   sizeof(task_score) == sizeof(int),
               "read_choice stores an int");
_Static_assert(sizeof task_fields / sizeof *task_fields <= MAX_FIELDS, "read_map counts them");

static const unsigned shapes[][sizeof layouts / sizeof *layouts - 1] = {
    [TASK_LABEL] = {[LAYOUT_OWN] = LABEL_OWN, [LAYOUT_PLAIN] = LABEL_PLAIN, [LAYOUT_SHARED] = LABEL_SHARED, [LAYOUT_PROBE] = LABEL_PROBE},
    [TASK_GENERATE] = {[LAYOUT_OWN] = GENERATE_OWN, [LAYOUT_PLAIN] = GENERATE_PLAIN},
    [TASK_CHAT] = {[LAYOUT_OWN] = CHAT},
};

/* kind and layout come first: they say which other keys there may be. */
static qaio_status read_shape(const reader *r, const yaml_item *root, task *t, unsigned *shape) {
    qaio_status status = expect_kind(r, root, YAML_MAP, "a task file");
    bool has_kind = false;
    for (const yaml_item *key = child(r, root->first); !status && key; key = child(r, child(r, key->next)->next)) {
        if (key->kind != YAML_TEXT) continue;
        const field *f = find_field(FIELDS(task_fields), key);
        if (!f || f->read != read_choice || f->words == scores) continue;
        has_kind |= f->words == kinds;
        status = f->read(r, child(r, key->next), f, (char *)t + f->offset);
    }
    if (status) return status;
    if (!has_kind) return FAIL(r, QAIO_ERR_FORMAT, root->line, "the task has no kind; it can be: label, generate, chat");
    if (!shapes[t->kind][t->layout])
        return FAIL(r, QAIO_ERR_FORMAT, root->line, "a task of kind %s cannot have the layout %s%s", kinds[t->kind], layouts[t->layout],
                    t->kind == TASK_CHAT ? ": it follows the model's chat template" : "");
    *shape = shapes[t->kind][t->layout];
    return QAIO_OK;
}

static qaio_status read_task(const reader *r, task *t) {
    const yaml_item *root = &r->tree->items[0];
    unsigned shape = 0;
    qaio_status status = read_shape(r, root, t, &shape);
    if (!status) status = read_map(r, root, FIELDS(task_fields), shape, "the task", t);
    if (!status) status = check_crisis(r, root, t);
    return status ? status : check_tests(r, root, t);
}

qaio_status task_parse(task *out, const char *path, const char *text, size_t n, qaio_error *err) {
    if (n > TASK_MAX_FILE_BYTES)
        return error_at(err, QAIO_ERR_LIMIT, path, -1, "%zu bytes, a task file has at most %d", n, TASK_MAX_FILE_BYTES);
    yaml_tree tree = {0};
    qaio_status status = yaml_tree_open(&tree, path, text, n, err);
    if (status) return status;
    task t = {.temperature = -1, .top_p = -1};
    status = read_task(&(reader){&tree, path, err}, &t);
    yaml_tree_close(&tree);
    if (status) {
        task_deinit(&t);
        return status;
    }
    *out = t;
    return QAIO_OK;
}

static void route_deinit(task_route *route) {
    for (size_t i = 0; i < route->n_when; i++) {
        mem_free(route->when[i].task);
        mem_free(route->when[i].label);
    }
    mem_free(route->when);
    mem_free(route->id);
    mem_free(route->title_zh);
    mem_free(route->title_en);
    mem_free(route->system);
}

void task_deinit(task *t) {
    for (size_t i = 0; i < t->n_routes; i++) route_deinit(&t->routes[i]);
    for (size_t i = 0; i < t->n_weak_with; i++) mem_free(t->weak_with[i]);
    mem_free(t->routes);
    mem_free(t->weak_with);
    mem_free(t->crisis.label);
    mem_free(t->crisis.text);
    for (size_t i = 0; i < t->n_labels; i++) {
        mem_free(t->labels[i].id);
        mem_free(t->labels[i].text);
        mem_free(t->labels[i].emoji);
    }
    for (size_t i = 0; i < t->n_tests; i++) {
        mem_free(t->tests[i].text);
        mem_free(t->tests[i].expect);
    }
    for (size_t i = 0; i < t->constraint.n_values; i++) mem_free(t->constraint.values[i]);
    mem_free(t->constraint.values);
    mem_free(t->constraint.separator);
    mem_free(t->labels);
    mem_free(t->tests);
    mem_free(t->name);
    mem_free(t->title_zh);
    mem_free(t->title_en);
    mem_free(t->system);
    mem_free(t->analyst);
    mem_free(t->opening);
    mem_free(t->before);
    mem_free(t->after);
    *t = (task){0};
}
