/* The commands: one row each, with the options they take.  A command returns the exit status. */
#ifndef QAIO_CLI_COMMANDS_H
#define QAIO_CLI_COMMANDS_H

#include "cli/settings.h"

#define COMMAND_MAX_GROUPS 8

typedef int command_fn(const settings *s);

typedef struct command {
    const char *name;
    const char *operands; /* as help shows them */
    const char *summary_en, *summary_zh;
    const char *examples; /* command lines */
    command_fn *run;
    const option_group *groups[COMMAND_MAX_GROUPS]; /* ended by NULL */
} command;

extern const command commands[];
extern const size_t n_commands;

/* command_calibrate is `tasks calibrate`, command_bench_tasks `bench tasks`. */
command_fn command_serve, command_chat, command_run, command_batch, command_tasks, command_calibrate, command_pull, command_models,
    command_quantize, command_bench, command_bench_tasks, command_doctor, command_inspect;

#endif
