/* inspect logits, score, generate, model, dequant. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/inspect.h"
#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/report.h"

#define LOGIT_ROWS         16 /* rows of logits in memory at a time */
#define DEQUANT_BLOCKS     4096
#define SCORE_DIGITS       17
#define DESCRIPTION_DIGITS 7 /* a float32 as it was written: 0.7, not 0.699999988 */

static qaio_status read_prompt(const inspect *x, const json_t *request, size_t n_context, token_list *out, qaio_error *err) {
    qaio_status status = inspect_read_ids(x, json_object_get(request, "ids"), "ids", out, err);
    if (status) return status;
    if (out->n == 0) return error_set(err, QAIO_ERR_ARGUMENT, "ids is empty");
    if (out->n > n_context) return error_set(err, QAIO_ERR_LIMIT, "%zu ids do not fit the context of %zu", out->n, n_context);
    return QAIO_OK;
}

/* ---- logits ---- */

/* Room for one prompt: its KV blocks, hidden states, rows of logits. */
typedef struct pass {
    void **blocks;
    size_t n_blocks;
    float *hidden, *logits;
} pass;

static void pass_deinit(pass *p) {
    for (size_t i = 0; i < p->n_blocks; i++) mem_free(p->blocks[i]);
    mem_free(p->blocks);
    mem_free(p->hidden);
    mem_free(p->logits);
}

static qaio_status pass_init(pass *p, const model *m, size_t n_tokens, qaio_error *err) {
    size_t n_blocks = (n_tokens + KV_BLOCK - 1) / KV_BLOCK;
    p->blocks = mem_array(n_blocks, sizeof *p->blocks);
    p->hidden = mem_aligned(MODEL_MAX_ROWS * model_hidden_stride(m) * sizeof *p->hidden);
    p->logits = mem_aligned(LOGIT_ROWS * model_description(m)->vocab_size * sizeof *p->logits);
    if (!p->blocks || !p->hidden || !p->logits) return error_memory(err);
    for (; p->n_blocks < n_blocks; p->n_blocks++)
        if (!(p->blocks[p->n_blocks] = mem_aligned(model_kv_block_bytes(m)))) return error_memory(err);
    return QAIO_OK;
}

static void print_row(const float *logits, size_t n) {
    putchar('[');
    for (size_t i = 0; i < n; i++) {
        if (i) putchar(',');
        if (isfinite(logits[i]))
            printf("%.9g", (double)logits[i]);
        else
            fputs("null", stdout);
    }
    putchar(']');
}

static void print_rows(model *m, const pass *p, size_t n_rows, bool is_first) {
    size_t vocab_size = model_description(m)->vocab_size;
    for (size_t row = 0; row < n_rows; row += LOGIT_ROWS) {
        size_t n = n_rows - row < LOGIT_ROWS ? n_rows - row : LOGIT_ROWS;
        model_logits(m, p->hidden + row * model_hidden_stride(m), n, p->logits);
        for (size_t i = 0; i < n; i++) {
            if (!is_first || row + i > 0) putchar(',');
            print_row(p->logits + i * vocab_size, vocab_size);
        }
    }
}

static void print_logits(model *m, const pass *p, const token_list *ids, bool all) {
    fputs("{\"logits\":[", stdout);
    for (size_t at = 0; at < ids->n && !ferror(stdout); at += MODEL_MAX_ROWS) {
        size_t n = ids->n - at < MODEL_MAX_ROWS ? ids->n - at : MODEL_MAX_ROWS;
        size_t n_outputs = all ? n : at + n == ids->n;
        model_span span = {.tokens = ids->ids + at, .n_tokens = n, .position = at, .blocks = p->blocks, .n_outputs = n_outputs};
        model_forward(m, &span, 1, p->hidden, NULL, NULL);
        print_rows(m, p, n_outputs, at == 0 || !all);
    }
    fputs("]}\n", stdout);
}

qaio_status inspect_logits(inspect *x, const json_t *request, qaio_error *err) {
    const json_t *positions = json_object_get(request, "positions");
    const char *which = positions ? json_string_value(positions) : "last";
    if (!which || (strcmp(which, "all") != 0 && strcmp(which, "last") != 0))
        return error_set(err, QAIO_ERR_ARGUMENT, "\"positions\" must be \"all\" or \"last\"");
    token_list ids = {0};
    pass p = {0};
    qaio_status status = read_prompt(x, request, model_context(x->model), &ids, err);
    if (!status) status = pass_init(&p, x->model, ids.n, err);
    if (!status) print_logits(x->model, &p, &ids, strcmp(which, "all") == 0);
    pass_deinit(&p);
    token_list_deinit(&ids);
    return status;
}

/* ---- score ---- */

static qaio_status score_some(inspect *x, const token_list *prompt, const id_list *continuations, size_t n, double *logprobs,
                              qaio_error *err) {
    score_group group = {.continuations = continuations, .n_continuations = n};
    job_params params = {.kind = JOB_SCORE, .prompt = prompt->ids, .n_prompt = prompt->n, .groups = &group, .n_groups = 1};
    engine_job *job;
    job_result result;
    qaio_status status = engine_submit(x->engine, &params, &job, err);
    return status ? status : engine_finish(job, logprobs, &result, err);
}

static qaio_status score_all(inspect *x, const token_list *prompt, const token_list *lists, size_t n, double *logprobs, qaio_error *err) {
    qaio_status status = QAIO_OK;
    for (size_t at = 0; at < n && !status; at += ENGINE_MAX_LABELS) {
        id_list some[ENGINE_MAX_LABELS];
        size_t n_some = n - at < ENGINE_MAX_LABELS ? n - at : ENGINE_MAX_LABELS;
        for (size_t i = 0; i < n_some; i++) some[i] = (id_list){lists[at + i].ids, lists[at + i].n};
        status = score_some(x, prompt, some, n_some, logprobs + at, err);
    }
    return status;
}

static json_t *numbers(const double *values, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, isfinite(values[i]) ? json_real(values[i]) : json_null());
    return list;
}

static qaio_status read_continuations(const inspect *x, const json_t *list, size_t n_left, token_list *out, qaio_error *err) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        char what[48];
        snprintf(what, sizeof what, "continuations[%zu]", i);
        qaio_status status = inspect_read_ids(x, json_array_get(list, i), what, &out[i], err);
        if (status) return status;
        if (out[i].n == 0) return error_set(err, QAIO_ERR_ARGUMENT, "%s is empty", what);
        if (out[i].n - 1 > n_left) return error_set(err, QAIO_ERR_LIMIT, "%s does not fit the context", what);
    }
    return QAIO_OK;
}

qaio_status inspect_score(inspect *x, const json_t *request, qaio_error *err) {
    const json_t *list = json_object_get(request, "continuations");
    if (!json_is_array(list)) return error_set(err, QAIO_ERR_ARGUMENT, "\"continuations\" must be a list of lists of token ids");
    size_t n = json_array_size(list), n_context = model_context(engine_model(x->engine));
    token_list prompt = {0}, *lists = mem_array(n + 1, sizeof *lists);
    double *logprobs = mem_array(n + 1, sizeof *logprobs);
    qaio_status status = lists && logprobs ? read_prompt(x, request, n_context, &prompt, err) : error_memory(err);
    if (!status) status = read_continuations(x, list, n_context - prompt.n, lists, err);
    if (!status) status = score_all(x, &prompt, lists, n, logprobs, err);
    if (!status) status = inspect_answer(json_pack("{s:o}", "logprobs", numbers(logprobs, n)), SCORE_DIGITS, err);
    for (size_t i = 0; i < n && lists; i++) token_list_deinit(&lists[i]);
    mem_free(lists);
    mem_free(logprobs);
    token_list_deinit(&prompt);
    return status;
}

/* ---- generate ---- */

static qaio_status generate(inspect *x, const token_list *prompt, size_t n, token_list *out, qaio_error *err) {
    job_params params = {.kind = JOB_GENERATE,
                         .prompt = prompt->ids,
                         .n_prompt = prompt->n,
                         .sampling = {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
                         .max_new = n,
                         .n_top = -1};
    engine_job *job;
    token_event event;
    job_result result;
    qaio_error finish_error;
    qaio_status status = engine_submit(x->engine, &params, &job, err);
    if (status) return status;
    while (!status && engine_next(job, &event, -1) == NEXT_TOKEN) status = token_list_append(out, &event.token, 1, err);
    qaio_status finish = engine_finish(job, NULL, &result, &finish_error);
    if (!status && finish) *err = finish_error;
    return status ? status : finish;
}

qaio_status inspect_generate(inspect *x, const json_t *request, qaio_error *err) {
    const json_t *count = json_object_get(request, "n");
    size_t n_context = model_context(engine_model(x->engine));
    json_int_t n = json_integer_value(count);
    if (!json_is_integer(count) || n < 0) return error_set(err, QAIO_ERR_ARGUMENT, "\"n\" must be a count of tokens");
    token_list prompt = {0}, ids = {0};
    qaio_status status = read_prompt(x, request, n_context, &prompt, err);
    if (!status && (size_t)n > n_context - prompt.n)
        status =
            error_set(err, QAIO_ERR_LIMIT, "%zu ids and %lld new ones do not fit the context of %zu", prompt.n, (long long)n, n_context);
    if (!status && n > 0) status = generate(x, &prompt, (size_t)n, &ids, err);
    if (!status) status = inspect_answer(json_pack("{s:o}", "ids", inspect_ids(ids.ids, ids.n)), JSON_DIGITS, err);
    token_list_deinit(&prompt);
    token_list_deinit(&ids);
    return status;
}

/* ---- model ---- */

static json_t *number_or_null(double value) { return value >= 0 ? json_real(value) : json_null(); }
static json_t *integer_or_null(json_int_t value) { return value >= 0 ? json_integer(value) : json_null(); }

static json_t *describe_template(const chat_template *t) {
    return json_pack("{s:s, s:b, s:s?}", "family", chat_family_name(t->family), "recognised", t->is_recognised, "default_system",
                     t->default_system);
}

static json_t *describe_tokenizer(const tokenizer *t) {
    json_t *special = json_object();
    str text = {0};
    for (size_t id = 0; id < tokenizer_size(t); id++) {
        token_kind kind = tokenizer_kind(t, (int32_t)id);
        if (kind != TOKEN_SPECIAL && kind != TOKEN_ADDED) continue;
        str_clear(&text);
        tokenizer_decode(t, (int32_t)id, false, &text);
        if (text.data && !text.failed && utf8_is_valid(text.data, text.len))
            json_object_set_new(special, text.data, json_integer((json_int_t)id));
    }
    str_deinit(&text);
    return json_pack("{s:I, s:o}", "size", (json_int_t)tokenizer_size(t), "special", special);
}

int inspect_describe(const inspect *x) {
    const model_desc *d = checkpoint_desc(x->source);
    const dtype_info *type = dtype_get(checkpoint_type(x->source));
    json_t *defaults = json_pack("{s:o, s:o, s:o, s:o}", "temperature", number_or_null(d->temperature), "top_p", number_or_null(d->top_p),
                                 "top_k", integer_or_null(d->top_k), "repetition_penalty", number_or_null(d->repetition_penalty));
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
                  d->name, "architecture", d->arch == ARCH_QWEN2 ? "qwen2" : "qwen3", "format", checkpoint_format(x->source), "bytes",
                  (json_int_t)checkpoint_bytes(x->source), "type", type ? type->name : "", "hidden_size", (json_int_t)d->hidden_size,
                  "n_layers", (json_int_t)d->n_layers, "n_heads", (json_int_t)d->n_heads, "n_kv_heads", (json_int_t)d->n_kv_heads,
                  "head_dim", (json_int_t)d->head_dim, "intermediate_size", (json_int_t)d->intermediate_size, "vocab_size",
                  (json_int_t)d->vocab_size, "context_length", (json_int_t)d->context_length, "rms_norm_eps", (double)d->rms_norm_eps,
                  "rope_theta", (double)d->rope_theta, "is_tied", d->is_tied, "bos_token", integer_or_null(d->bos_token), "pad_token",
                  integer_or_null(d->pad_token), "stop_tokens", inspect_ids(d->stop_tokens, d->n_stop_tokens), "sampling", defaults,
                  "tokenizer", describe_tokenizer(x->words), "template", describe_template(&x->template));
    qaio_error err;
    return inspect_answer(out, DESCRIPTION_DIGITS, &err) ? report_error(&err) : EXIT_DONE;
}

/* ---- dequant ---- */

int inspect_dequant(dtype type) {
    const dtype_info *info = dtype_get(type);
    uint8_t *raw = mem_array(DEQUANT_BLOCKS, info->block_bytes);
    float *values = mem_array(DEQUANT_BLOCKS * info->block_size, sizeof *values);
    int status = raw && values ? EXIT_DONE : report_failure("%s", TR("out of memory", "内存不足"));
    size_t n, rest = 0;
    while (status == EXIT_DONE && !rest && !ferror(stdout) && (n = fread(raw, 1, DEQUANT_BLOCKS * info->block_bytes, stdin)) > 0) {
        size_t n_values = n / info->block_bytes * info->block_size;
        rest = n % info->block_bytes;
        dtype_dequantize(type, values, raw, n_values);
        fwrite(values, sizeof *values, n_values, stdout);
    }
    if (status == EXIT_DONE && ferror(stdin))
        status = report_failure(TR("cannot read standard input: %s", "无法读取标准输入：%s"), strerror(errno));
    if (rest)
        status = report_failure(TR("%zu bytes are left over; a block of %s has %zu", "多出 %zu 字节；%s 的一块是 %zu 字节"), rest,
                                info->name, info->block_bytes);
    mem_free(raw);
    mem_free(values);
    return status;
}
