/* Options as data: one row an option, rows in groups, groups shared by commands.  Parsing writes into one plain struct. */
#ifndef QAIO_CLI_OPTIONS_H
#define QAIO_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

#define OPTIONS_MAX_TEXTS 16 /* values of an option that may be given more than once */

typedef enum option_kind {
    OPTION_FLAG,  /* bool */
    OPTION_TEXT,  /* const char * */
    OPTION_TEXTS, /* text_values: may be given several times */
    OPTION_COUNT, /* uint64_t within [min, max] */
    OPTION_REAL,  /* double within [min, max] */
    OPTION_TYPE,  /* dtype, by name */
} option_kind;

typedef struct text_values {
    const char *items[OPTIONS_MAX_TEXTS];
    size_t n;
} text_values;

typedef struct option_row {
    const char *name; /* long name without "--" */
    char letter;      /* short name, 0: none */
    option_kind kind;
    size_t offset;        /* of the value in the struct */
    const char *argument; /* as help shows it; NULL for flags */
    double min, max;
    size_t given; /* offset of a bool that says that the option was given; 0: none */
    const char *help_en, *help_zh;
} option_row;

typedef struct option_group {
    const char *title_en, *title_zh;
    const option_row *rows;
    size_t n_rows;
} option_group;

typedef struct operand_list {
    const char *const *items; /* owned (mem_free); the texts are argv's */
    size_t n;
} operand_list;

/* Parses argv[0 .. argc) into *target; options and operands may be mixed, "--" ends the options, "-" is an operand.  groups ends with
 * NULL.  QAIO_ERR_ARGUMENT says what is wrong, in the user's language. */
qaio_status options_parse(const option_group *const *groups, void *target, int argc, char *const *argv, operand_list *operands,
                          qaio_error *err);

void options_help(const option_group *const *groups, FILE *out);

/* The name among `names` that was probably meant, or NULL: a beginning, or at most two slips of the finger away. */
const char *nearest_name(const char *typed, const char *const *names, size_t n);

#endif
