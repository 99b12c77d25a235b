/* POST /v1/completions: a raw text goes on, without a chat template. */
#include "server/completion.h"
#include "server/internal.h"

#define MAX_LOGPROBS 5

static json_t *choice(const char *text, size_t n) { return json_pack("{s:s%}", "text", text, n); }

static json_t *chunk_choice(const char *text, size_t n, bool is_first) {
    (void)is_first;
    return choice(text ? text : "", n);
}

static json_t *logprobs_new(void) {
    return json_pack("{s:[], s:[], s:[], s:[]}", "tokens", "token_logprobs", "top_logprobs", "text_offset");
}

/* {token: logprob, ...}; two tokens that look the same (parts of a character) keep the likelier one. */
static json_t *top_object(const tokenizer *t, const token_event *e, int n_top) {
    json_t *top = json_object();
    for (int i = 0; top && i < n_top; i++) {
        json_t *text = token_text(t, e->top_tokens[i]);
        if (text && !json_object_get(top, json_string_value(text)))
            json_object_set_new(top, json_string_value(text), logprob_to_json(e->top_logprobs[i]));
        json_decref(text);
    }
    return top;
}

static size_t count_characters(const json_t *text) {
    const char *s = json_string_value(text);
    size_t n = 0;
    for (size_t i = 0; i < json_string_length(text); i++) n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

static bool logprobs_add(json_t *logprobs, const tokenizer *t, const token_event *e, int n_top, size_t *offset) {
    json_t *text = token_text(t, e->token);
    if (!text) return false;
    size_t at = *offset;
    *offset += count_characters(text);
    return json_array_append_new(json_object_get(logprobs, "tokens"), text) == 0 &&
           json_array_append_new(json_object_get(logprobs, "token_logprobs"), logprob_to_json(e->logprob)) == 0 &&
           json_array_append_new(json_object_get(logprobs, "top_logprobs"), top_object(t, e, n_top)) == 0 &&
           json_array_append_new(json_object_get(logprobs, "text_offset"), json_integer((json_int_t)at)) == 0;
}

static const wire completion_wire = {
    .id_prefix = "cmpl-",
    .object = "text_completion",
    .chunk_object = "text_completion",
    .choice = choice,
    .chunk_choice = chunk_choice,
    .logprobs_new = logprobs_new,
    .logprobs_add = logprobs_add,
};

static bool parse_prompt(completion_request *out, const json_t *root, failure *f) {
    const json_t *prompt = field_given(root, "prompt");
    if (!prompt) return failure_set(f, 400, "missing", "prompt", "prompt is missing");
    if (json_is_array(prompt)) {
        if (json_array_size(prompt) != 1 || !json_is_string(json_array_get(prompt, 0)))
            return failure_set(f, 400, "unsupported", "prompt", "one prompt a request, as a string: no lists of prompts or of tokens");
        prompt = json_array_get(prompt, 0);
    }
    if (!json_is_string(prompt))
        return failure_set(f, 400, "invalid_type", "prompt", "prompt must be a string, not a %s", json_kind(prompt));
    out->prompt = json_string_value(prompt);
    out->prompt_bytes = json_string_length(prompt);
    if (out->prompt_bytes == 0) return failure_set(f, 400, "invalid_value", "prompt", "the prompt is empty");
    return true;
}

bool completion_request_parse(completion_request *out, const json_t *root, const char *model_name, failure *f) {
    *out = (completion_request){0};
    json_int_t n_top = -1;
    if (!model_check(root, model_name, f) || !generation_parse(&out->generation, root, f) ||
        !response_format_parse(&out->generation, root, f) || !field_integer(root, "logprobs", 0, MAX_LOGPROBS, &n_top, f) ||
        !parse_prompt(out, root, f))
        return false;
    out->generation.params.n_top = (int)n_top;
    return true;
}

void completion_request_deinit(completion_request *r) { generation_deinit(&r->generation); }

void handle_completions(exchange *x) {
    failure f;
    qaio_error err;
    reply *p = NULL;
    json_t *root = request_parse(x->body.data, x->body.len, &f);
    completion_request request = {0};
    if (root && completion_request_parse(&request, root, resident_model_name(x->resident), &f) &&
        reply_start_raw(&p, x->resident, request.prompt, request.prompt_bytes, &request.generation.params, &err))
        failure_from(&f, &err, "prompt");
    if (p)
        completion_answer(x, &completion_wire, p, &request.generation);
    else
        answer_failure(x, &f);
    completion_request_deinit(&request);
    json_decref(root);
}
