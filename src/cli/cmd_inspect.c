/* qaio inspect: the engine seen from outside.  JSON lines in, JSON lines out, one line per line; what can't be served yields an error. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/json_out.h"
#include "cli/lines.h"
#include "cli/locale.h"
#include "cli/open.h"
#include "cli/report.h"
#include "hub/hub.h"

#define MAX_LINE_BYTES     ((size_t)64 << 20)
#define MAX_TEMPLATE_BYTES ((size_t)1 << 20)

typedef enum needs { NEEDS_TOKENIZER, NEEDS_CHECKPOINT, NEEDS_MODEL, NEEDS_ENGINE } needs;

typedef struct inspect_call {
    const char *name;
    needs needs;
    inspect_fn *serve;
} inspect_call;

static const inspect_call calls[] = {
    {"tokenize", NEEDS_TOKENIZER, inspect_tokenize},
    {"detokenize", NEEDS_TOKENIZER, inspect_detokenize},
    {"template", NEEDS_TOKENIZER, inspect_template},
    {"logits", NEEDS_MODEL, inspect_logits},
    {"score", NEEDS_ENGINE, inspect_score},
    {"generate", NEEDS_ENGINE, inspect_generate},
    {"model", NEEDS_CHECKPOINT, NULL},
};

/* ---- shared with the calls ---- */

json_t *inspect_ids(const int32_t *ids, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n && list; i++)
        if (json_array_append_new(list, json_integer(ids[i]))) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

qaio_status inspect_answer(json_t *answer, int digits, qaio_error *err) {
    if (!answer) return error_memory(err);
    json_print_to(answer, stdout, digits);
    return QAIO_OK;
}

qaio_status inspect_read_ids(const inspect *x, const json_t *list, const char *what, token_list *out, qaio_error *err) {
    if (!json_is_array(list)) return error_set(err, QAIO_ERR_ARGUMENT, "%s must be a list of token ids", what);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t value = json_integer_value(item);
        if (!json_is_integer(item) || value < 0 || (size_t)value >= x->vocab_size)
            return error_set(err, QAIO_ERR_ARGUMENT, "%s[%zu] is no token id; the ids are 0 to %zu", what, i, x->vocab_size - 1);
        int32_t id = (int32_t)value;
        qaio_status status = token_list_append(out, &id, 1, err);
        if (status) return status;
    }
    return QAIO_OK;
}

/* ---- opening ---- */

static qaio_status open_tokenizer(inspect *x, qaio_error *err) {
    char *path;
    qaio_status status = hub_find(&path, x->settings->tokenizer, err);
    if (status) return status;
    status = checkpoint_load_tokenizer(&x->own_words, &x->template, path, err);
    mem_free(path);
    if (status) return status;
    x->owns_template = true;
    x->words = x->own_words;
    x->vocab_size = tokenizer_size(x->words);
    return QAIO_OK;
}

static qaio_status open_source(inspect *x, qaio_error *err) {
    qaio_status status = open_checkpoint_named(&x->source, x->settings->model, err);
    if (status) return status;
    x->words = checkpoint_tokenizer(x->source);
    x->template = *checkpoint_template(x->source);
    x->vocab_size = checkpoint_desc(x->source)->vocab_size;
    return QAIO_OK;
}

static qaio_status open_template(inspect *x, const char *path, qaio_error *err) {
    char *text;
    size_t n;
    chat_template from_file;
    qaio_status status = file_read(&text, &n, path, MAX_TEMPLATE_BYTES, err);
    if (status) return status;
    status = chat_template_init(&from_file, text, n, err);
    mem_free(text);
    if (status) return status;
    if (x->owns_template) chat_template_deinit(&x->template);
    x->template = from_file;
    x->owns_template = true;
    return QAIO_OK;
}

static qaio_status load_model(inspect *x, bool with_engine, qaio_error *err) {
    const settings *s = x->settings;
    qaio_status status = kernels_select(&x->kernels, wanted_cpu(), err);
    if (!status) status = pool_new(&x->pool, (int)s->n_threads, err);
    if (status) return status;
    model_options options = {.type = s->type == DTYPE_NONE ? DTYPE_F32 : s->type,
                             .kv_type = s->kv_type,
                             .n_ctx = s->n_ctx,
                             .kernels = x->kernels,
                             .pool = x->pool};
    status = model_load(&x->model, x->source, &options, err);
    if (status || !with_engine) return status;
    model *moved = x->model;
    x->model = NULL;
    return engine_new(&x->engine, moved, x->kernels, 0, err);
}

static qaio_status inspect_open(inspect *x, const inspect_call *call, qaio_error *err) {
    bool only_tokenizer = call->needs == NEEDS_TOKENIZER && x->settings->tokenizer;
    qaio_status status = only_tokenizer ? open_tokenizer(x, err) : open_source(x, err);
    if (!status && x->settings->template && call->serve == inspect_template) status = open_template(x, x->settings->template, err);
    if (!status && call->needs >= NEEDS_MODEL) status = load_model(x, call->needs == NEEDS_ENGINE, err);
    return status;
}

static void inspect_close(inspect *x) {
    if (x->owns_template) chat_template_deinit(&x->template);
    tokenizer_free(x->own_words);
    engine_free(x->engine);
    model_free(x->model);
    pool_free(x->pool);
    checkpoint_close(x->source);
}

/* ---- serving ---- */

static qaio_status serve_line(inspect *x, const inspect_call *call, const char *line, size_t n, qaio_error *err) {
    json_error_t where;
    json_t *request = json_loadb(line, n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &where);
    if (!request) return error_set(err, QAIO_ERR_FORMAT, "not a JSON object: %s (at byte %d)", where.text, where.position);
    qaio_status status = json_is_object(request) ? call->serve(x, request, err) : error_set(err, QAIO_ERR_FORMAT, "not a JSON object");
    json_decref(request);
    return status;
}

static void print_error(const char *message) { json_print(json_pack("{s:o}", "error", json_text(message, strlen(message)))); }

static int serve_lines(inspect *x, const inspect_call *call) {
    line_reader lines;
    const char *line;
    size_t n;
    line_status got;
    line_reader_init(&lines, STDIN_FILENO, MAX_LINE_BYTES);
    while (!ferror(stdout) && (got = line_next(&lines, true, &line, &n)) != LINE_END) {
        qaio_error err;
        if (got == LINE_TOO_LONG)
            print_error("the line is longer than 64 MiB");
        else if (serve_line(x, call, line, n, &err))
            print_error(err.message);
        fflush(stdout);
    }
    int error = lines.error;
    line_reader_deinit(&lines);
    return error ? report_failure(TR("cannot read standard input: %s", "无法读取标准输入：%s"), strerror(error)) : EXIT_DONE;
}

static int unknown_call(const char *name) {
    const char *names[sizeof calls / sizeof *calls + 1] = {"dequant"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) names[i + 1] = calls[i].name;
    const char *near = nearest_name(name, names, sizeof names / sizeof *names);
    return report_usage(TR("inspect %s: no such call; %s%s%s", "inspect %s：没有这种调用；%s%s%s"), name,
                        near ? TR("did you mean ", "是不是 ") : TR("see `qaio help inspect`", "见 `qaio help inspect`"), near ? near : "",
                        near ? TR("?", "？") : "");
}

int command_inspect(const settings *s) {
    if (s->operands.n != 1) return report_usage("%s", TR("inspect what? see `qaio help inspect`", "检视什么？见 `qaio help inspect`"));
    const char *name = s->operands.items[0];
    if (strcmp(name, "dequant") == 0) {
        if (s->type == DTYPE_NONE) return report_usage("%s", TR("dequant needs --type", "dequant 需要 --type"));
        return inspect_dequant(s->type);
    }
    const inspect_call *call = NULL;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, name) == 0) call = &calls[i];
    if (!call) return unknown_call(name);
    if (check_types(s)) return EXIT_USAGE;
    inspect x = {.settings = s};
    qaio_error err;
    if (inspect_open(&x, call, &err)) {
        inspect_close(&x);
        return report_error(&err);
    }
    if (call->serve == inspect_template && !x.template.is_recognised)
        report_note("%s", TR("this chat template is unknown; plain ChatML is used", "不认识这个对话模板，改用普通 ChatML"));
    int status = call->serve ? serve_lines(&x, call) : inspect_describe(&x);
    inspect_close(&x);
    return status;
}
