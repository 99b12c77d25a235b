#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/locale.h"
#include "kernels/dtype.h"

#define MAX_NAMES   128 /* options of one command */
#define MAX_NAME    32  /* longer words are not compared */
#define MAX_SLIPS   2
#define HELP_COLUMN 28

/* ---- what was probably meant ---- */

/* Letters to insert, delete, replace or swap with a neighbour to turn a into b (optimal string alignment). */
static size_t slips(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b), d[MAX_NAME + 1][MAX_NAME + 1];
    if (n > MAX_NAME || m > MAX_NAME) return SIZE_MAX;
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (is_swap && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *nearest_name(const char *typed, const char *const *names, size_t n) {
    const char *best = NULL;
    size_t length = strlen(typed), fewest = MAX_SLIPS + 1;
    for (size_t i = 0; i < n && length >= 2; i++)
        if (strncmp(typed, names[i], length) == 0) return names[i];
    for (size_t i = 0; i < n; i++) {
        size_t count = slips(typed, names[i]);
        /* Short words are near to everything: at least half of what was typed must be right. */
        if (count < fewest && 2 * count <= length) {
            fewest = count;
            best = names[i];
        }
    }
    return best;
}

/* ---- parsing ---- */

static const option_row *find_long(const option_group *const *groups, const char *name, size_t n) {
    for (; *groups; groups++)
        for (size_t i = 0; i < (*groups)->n_rows; i++)
            if (strlen((*groups)->rows[i].name) == n && strncmp((*groups)->rows[i].name, name, n) == 0) return &(*groups)->rows[i];
    return NULL;
}

static const option_row *find_letter(const option_group *const *groups, char letter) {
    for (; *groups; groups++)
        for (size_t i = 0; i < (*groups)->n_rows; i++)
            if ((*groups)->rows[i].letter == letter) return &(*groups)->rows[i];
    return NULL;
}

static qaio_status unknown_option(const option_group *const *groups, const char *word, qaio_error *err) {
    const char *names[MAX_NAMES];
    size_t n = 0, length = strcspn(word, "=");
    char typed[MAX_NAME + 1] = "";
    for (; *groups; groups++)
        for (size_t i = 0; i < (*groups)->n_rows && n < MAX_NAMES; i++) names[n++] = (*groups)->rows[i].name;
    if (strncmp(word, "--", 2) == 0 && length - 2 <= MAX_NAME) memcpy(typed, word + 2, length - 2);
    const char *near = nearest_name(typed, names, n);
    if (near)
        return error_set(err, QAIO_ERR_ARGUMENT, TR("unknown option %.*s; did you mean --%s?", "没有选项 %.*s；是不是 --%s？"), (int)length,
                         word, near);
    return error_set(err, QAIO_ERR_ARGUMENT,
                     TR("unknown option %.*s; a text that begins with - needs -- before it", "没有选项 %.*s；以 - 开头的文本前要加 --"),
                     (int)length, word);
}

static qaio_status bad_value(const option_row *row, const char *value, qaio_error *err) {
    if (row->kind == OPTION_TYPE)
        return error_set(
            err, QAIO_ERR_ARGUMENT,
            TR("--%s %s: no such type; for example q8_0, q4_0, f16, bf16, f32", "--%s %s：没有这种类型；例如 q8_0、q4_0、f16、bf16、f32"),
            row->name, value);
    return error_set(err, QAIO_ERR_ARGUMENT, TR("--%s %s: must be a number from %.10g to %.10g", "--%s %s：须为 %.10g 到 %.10g 的数"),
                     row->name, value, row->min, row->max);
}

static qaio_status set_number(const option_row *row, char *place, const char *value, qaio_error *err) {
    char *end;
    errno = 0;
    if (row->kind == OPTION_COUNT) {
        unsigned long long number = strtoull(value, &end, 10);
        bool is_digits = value[0] && strspn(value, "0123456789") == strlen(value);
        if (!is_digits || errno || (double)number < row->min || (double)number > row->max) return bad_value(row, value, err);
        *(uint64_t *)(void *)place = number;
    } else {
        double number = strtod(value, &end);
        if (!value[0] || *end || !isfinite(number) || number < row->min || number > row->max) return bad_value(row, value, err);
        *(double *)(void *)place = number;
    }
    return QAIO_OK;
}

static qaio_status set_value(const option_row *row, void *target, const char *value, qaio_error *err) {
    char *place = (char *)target + row->offset;
    if (row->given) *(bool *)(void *)((char *)target + row->given) = true;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)(void *)place = true;
        return QAIO_OK;
    case OPTION_TEXT:
        *(const char **)(void *)place = value;
        return QAIO_OK;
    case OPTION_TEXTS: {
        text_values *list = (text_values *)(void *)place;
        if (list->n == OPTIONS_MAX_TEXTS)
            return error_set(err, QAIO_ERR_ARGUMENT, TR("--%s: at most %d times", "--%s：最多 %d 次"), row->name, OPTIONS_MAX_TEXTS);
        list->items[list->n++] = value;
        return QAIO_OK;
    }
    case OPTION_TYPE: {
        dtype type = dtype_from_name(value);
        if (type == DTYPE_NONE) return bad_value(row, value, err);
        *(dtype *)(void *)place = type;
        return QAIO_OK;
    }
    case OPTION_COUNT:
    case OPTION_REAL:
        return set_number(row, place, value, err);
    }
    return QAIO_OK;
}

/* argv[*i] is an option: sets it, moving *i over a value of its own. */
static qaio_status parse_option(const option_group *const *groups, void *target, int argc, char *const *argv, int *i, qaio_error *err) {
    const char *word = argv[*i], *value = NULL;
    const option_row *row;
    if (word[1] == '-') {
        const char *equals = strchr(word, '=');
        row = find_long(groups, word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
        value = equals ? equals + 1 : NULL;
    } else {
        row = find_letter(groups, word[1]);
        value = word[2] ? word + 2 : NULL;
    }
    if (!row || (row->kind == OPTION_FLAG && value && word[1] != '-')) return unknown_option(groups, word, err);
    if (row->kind == OPTION_FLAG && value) return error_set(err, QAIO_ERR_ARGUMENT, TR("--%s takes no value", "--%s 不带值"), row->name);
    if (row->kind != OPTION_FLAG && !value) {
        if (*i + 1 >= argc)
            return error_set(err, QAIO_ERR_ARGUMENT, TR("--%s needs a value: %s", "--%s 缺少值：%s"), row->name, row->argument);
        value = argv[++*i];
    }
    return set_value(row, target, value, err);
}

qaio_status options_parse(const option_group *const *groups, void *target, int argc, char *const *argv, operand_list *operands,
                          qaio_error *err) {
    const char **items = mem_array((size_t)argc + 1, sizeof *items);
    if (!items) return error_memory(err);
    size_t n = 0;
    qaio_status status = QAIO_OK;
    bool has_ended = false;
    for (int i = 0; i < argc && !status; i++) {
        if (has_ended || argv[i][0] != '-' || !argv[i][1])
            items[n++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            has_ended = true;
        else
            status = parse_option(groups, target, argc, argv, &i, err);
    }
    if (status) {
        mem_free(items);
        return status;
    }
    *operands = (operand_list){items, n};
    return QAIO_OK;
}

void options_help(const option_group *const *groups, FILE *out) {
    for (; *groups; groups++) {
        fprintf(out, TR("\n%s:\n", "\n%s：\n"), TR((*groups)->title_en, (*groups)->title_zh));
        for (size_t i = 0; i < (*groups)->n_rows; i++) {
            const option_row *row = &(*groups)->rows[i];
            int width = row->letter ? fprintf(out, "  -%c, --%s", row->letter, row->name) : fprintf(out, "      --%s", row->name);
            if (row->argument) width += fprintf(out, " %s", row->argument);
            if (width >= HELP_COLUMN) {
                fputc('\n', out);
                width = 0;
            }
            fprintf(out, "%*s%s\n", HELP_COLUMN - width, "", TR(row->help_en, row->help_zh));
        }
    }
}
