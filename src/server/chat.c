/* POST /v1/chat/completions */
#include "server/completion.h"
#include "server/internal.h"

static json_t *choice(const char *text, size_t n) {
    return json_pack("{s:{s:s, s:s%, s:n}}", "message", "role", "assistant", "content", text, n, "refusal");
}

static json_t *chunk_choice(const char *text, size_t n, bool is_first) {
    if (is_first) return json_pack("{s:{s:s, s:s%}}", "delta", "role", "assistant", "content", text, n);
    return text ? json_pack("{s:{s:s%}}", "delta", "content", text, n) : json_pack("{s:{}}", "delta");
}

static json_t *logprobs_new(void) { return json_pack("{s:[], s:n}", "content", "refusal"); }

static json_t *token_bytes(const tokenizer *t, int32_t token) {
    str raw = {0};
    json_t *list = json_array();
    tokenizer_decode(t, token, false, &raw);
    for (size_t i = 0; i < raw.len; i++) json_array_append_new(list, json_integer((unsigned char)raw.data[i]));
    str_deinit(&raw);
    return list;
}

/* {"token", "logprob", "bytes"} */
static json_t *token_entry(const tokenizer *t, int32_t token, float logprob) {
    return json_pack("{s:o, s:o, s:o}", "token", token_text(t, token), "logprob", logprob_to_json(logprob), "bytes", token_bytes(t, token));
}

static bool logprobs_add(json_t *logprobs, const tokenizer *t, const token_event *e, int n_top, size_t *offset) {
    (void)offset;
    json_t *top = json_array(), *entry = token_entry(t, e->token, e->logprob);
    for (int i = 0; i < n_top; i++) json_array_append_new(top, token_entry(t, e->top_tokens[i], e->top_logprobs[i]));
    if (json_object_set_new(entry, "top_logprobs", top) == 0)
        return json_array_append_new(json_object_get(logprobs, "content"), entry) == 0;
    json_decref(entry);
    return false;
}

static const wire chat_wire = {
    .id_prefix = "chatcmpl-",
    .object = "chat.completion",
    .chunk_object = "chat.completion.chunk",
    .says_role_first = true,
    .choice = choice,
    .chunk_choice = chunk_choice,
    .logprobs_new = logprobs_new,
    .logprobs_add = logprobs_add,
};

static bool parse_logprobs(generation *g, const json_t *root, failure *f) {
    bool is_wanted = false;
    json_int_t n_top = 0;
    if (!field_bool(root, "logprobs", &is_wanted, f) || !field_integer(root, "top_logprobs", 0, ENGINE_MAX_TOP, &n_top, f)) return false;
    if (n_top > 0 && !is_wanted) return failure_set(f, 400, "invalid_value", "top_logprobs", "top_logprobs needs logprobs: true");
    if (is_wanted) g->params.n_top = (int)n_top;
    return true;
}

bool chat_request_parse(chat_request *out, const json_t *root, const char *model_name, failure *f) {
    *out = (chat_request){0};
    if (!model_check(root, model_name, f) || !generation_parse(&out->generation, root, f) || !parse_logprobs(&out->generation, root, f) ||
        !response_format_parse(&out->generation, root, f) || !messages_parse(&out->messages, root, "messages", f))
        return false;
    if (out->messages.n == 0) return failure_set(f, 400, "invalid_value", "messages", "messages must have at least one message");
    return true;
}

void chat_request_deinit(chat_request *r) {
    generation_deinit(&r->generation);
    message_list_deinit(&r->messages);
}

void handle_chat_completions(exchange *x) {
    failure f;
    qaio_error err;
    reply *p = NULL;
    json_t *root = request_parse(x->body.data, x->body.len, &f);
    chat_request request = {0};
    bool is_good = root && chat_request_parse(&request, root, resident_model_name(x->resident), &f);
    if (is_good && reply_start(&p, x->resident, request.messages.items, request.messages.n, &request.generation.params, &err))
        failure_from(&f, &err, "messages");
    if (p)
        completion_answer(x, &chat_wire, p, &request.generation);
    else
        answer_failure(x, &f);
    chat_request_deinit(&request);
    json_decref(root);
}
