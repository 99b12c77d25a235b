/* Everything a command line can say, and the groups of options that commands share. */
#ifndef QAIO_CLI_SETTINGS_H
#define QAIO_CLI_SETTINGS_H

#include "cli/options.h"
#include "tasks/resident.h"

typedef struct settings {
    operand_list operands;
    /* everywhere */
    bool help, json, version;
    /* the model */
    const char *model;
    dtype type, kv_type;
    uint64_t n_ctx, n_threads;
    const char *tasks_dir;
    const char *layout; /* of label tasks */
    /* sampling; negative: not given */
    double temperature, top_p, repetition_penalty;
    uint64_t top_k, seed, max_tokens;
    bool has_top_k, has_seed;
    text_values stops;
    /* serve */
    const char *host, *api_key_file;
    uint64_t port;
    double timeout; /* seconds; 0: none */
    bool insecure;
    text_values allowed_hosts, allowed_origins;
    /* chat */
    const char *system;
    bool no_mood;
    /* batch */
    const char *column, *format, *output_format;
    bool force, resume, batch_calibration, progress, quiet;
    /* tasks calibrate */
    const char *label_column;
    bool dry_run, remove;
    /* pull */
    const char *source, *endpoint, *revision;
    /* inspect */
    const char *tokenizer, *template;
    bool plain;
    /* bench */
    uint64_t repeat; /* 0: by time */
    const char *only;
    bool full;
} settings;

extern const settings settings_defaults;

extern const option_group group_general, group_json, group_labels, group_model, group_sampling, group_serve, group_chat, group_texts,
    group_batch, group_progress, group_calibrate, group_pull, group_quantize, group_inspect, group_bench;

/* Types that weights can have in memory and in files that are written: F32, F16, BF16, Q8_0, Q4_0. */
bool type_is_writable(dtype type);

/* The options' sampling values as a reply takes them; `stops` stays the settings'. */
reply_params settings_reply_params(const settings *s);

#endif
