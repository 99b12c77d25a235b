/* inspect tokenize, detokenize, template. */
#include <nettle/base64.h>
#include <string.h>

#include "base/mem.h"
#include "cli/inspect.h"
#include "cli/json_out.h"

/* ---- base64 ---- */

static json_t *base64_of(const str *bytes) {
    size_t n = BASE64_ENCODE_RAW_LENGTH(bytes->len);
    char *text = mem_alloc(n + 1);
    if (!text) return NULL;
    base64_encode_raw(text, bytes->len, (const uint8_t *)(bytes->data ? bytes->data : ""));
    json_t *out = json_stringn(text, n);
    mem_free(text);
    return out;
}

static qaio_status read_base64(const json_t *value, char **out, size_t *n, qaio_error *err) {
    struct base64_decode_ctx context;
    size_t length = json_string_length(value), n_bytes = BASE64_DECODE_LENGTH(length);
    char *bytes = mem_alloc(n_bytes + 1);
    if (!bytes) return error_memory(err);
    base64_decode_init(&context);
    if (!base64_decode_update(&context, &n_bytes, (uint8_t *)bytes, length, json_string_value(value)) || !base64_decode_final(&context)) {
        mem_free(bytes);
        return error_set(err, QAIO_ERR_ARGUMENT, "text_b64 is not base64");
    }
    *out = bytes;
    *n = n_bytes;
    return QAIO_OK;
}

/* ---- tokenize, detokenize ---- */

static qaio_status read_text(const json_t *request, char **out, size_t *n, qaio_error *err) {
    const json_t *text = json_object_get(request, "text"), *encoded = json_object_get(request, "text_b64");
    if (json_is_string(encoded)) return read_base64(encoded, out, n, err);
    if (!json_is_string(text)) return error_set(err, QAIO_ERR_ARGUMENT, "\"text\" or \"text_b64\" must be a string");
    *n = json_string_length(text);
    *out = mem_strndup(json_string_value(text), *n);
    return *out ? QAIO_OK : error_memory(err);
}

qaio_status inspect_tokenize(inspect *x, const json_t *request, qaio_error *err) {
    char *text = NULL;
    size_t n = 0;
    token_list ids = {0};
    qaio_status status = read_text(request, &text, &n, err);
    if (status) return status;
    text_span whole = {0, n};
    status = tokenizer_encode(x->words, text, n, &whole, x->settings->plain, &ids, err);
    if (!status) status = inspect_answer(json_pack("{s:o}", "ids", inspect_ids(ids.ids, ids.n)), JSON_DIGITS, err);
    token_list_deinit(&ids);
    mem_free(text);
    return status;
}

qaio_status inspect_detokenize(inspect *x, const json_t *request, qaio_error *err) {
    token_list ids = {0};
    qaio_status status = inspect_read_ids(x, json_object_get(request, "ids"), "ids", &ids, err);
    str bytes = {0}, piece = {0};
    detokenizer stream = {0};
    json_t *pieces = json_array();
    for (size_t i = 0; i < ids.n && !status; i++) {
        tokenizer_decode(x->words, ids.ids[i], false, &bytes);
        str_clear(&piece);
        detokenizer_push(&stream, x->words, ids.ids[i], false, &piece);
        if (json_array_append_new(pieces, json_text(piece.data ? piece.data : "", piece.len))) status = error_memory(err);
    }
    str_clear(&piece);
    detokenizer_flush(&stream, &piece);
    if (!status && (bytes.failed || piece.failed)) status = error_memory(err);
    if (!status)
        status = inspect_answer(json_pack("{s:o, s:O, s:o}", "text_b64", base64_of(&bytes), "pieces", pieces, "flush",
                                          json_text(piece.data ? piece.data : "", piece.len)),
                                JSON_DIGITS, err);
    json_decref(pieces);
    str_deinit(&bytes);
    str_deinit(&piece);
    token_list_deinit(&ids);
    return status;
}

/* ---- template ---- */

/* A conversation read from JSON; strings are borrowed from the request but for those printed here. */
typedef struct conversation {
    chat_message *messages;
    size_t n_messages;
    char **printed; /* owned: JSON texts of arguments and tools */
    size_t n_printed, capacity;
} conversation;

static void conversation_deinit(conversation *c) {
    for (size_t i = 0; i < c->n_messages; i++) mem_free((void *)c->messages[i].tool_calls);
    for (size_t i = 0; i < c->n_printed; i++) mem_free(c->printed[i]);
    mem_free(c->printed);
    mem_free(c->messages);
}

static int append_json(const char *bytes, size_t n, void *out) {
    str_append(out, bytes, n);
    return 0;
}

/* As Python's json.dumps(value, ensure_ascii=False) prints it, which is what templates see. */
static qaio_status print_json(conversation *c, const json_t *value, const char **out, qaio_error *err) {
    str text = {0};
    if (json_dump_callback(value, append_json, &text, JSON_ENCODE_ANY) || text.failed) goto failed;
    if (c->n_printed == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 8;
        char **printed = mem_realloc(c->printed, capacity, sizeof *printed);
        if (!printed) goto failed;
        c->printed = printed;
        c->capacity = capacity;
    }
    *out = c->printed[c->n_printed++] = text.data;
    return QAIO_OK;
failed:
    str_deinit(&text);
    return error_memory(err);
}

static qaio_status read_tool_calls(conversation *c, chat_message *m, const json_t *list, qaio_error *err) {
    size_t n = json_array_size(list);
    chat_tool_call *calls = mem_array(n, sizeof *calls);
    if (!calls) return error_memory(err);
    m->tool_calls = calls;
    for (size_t i = 0; i < n; i++) {
        const json_t *call = json_array_get(list, i), *function = json_object_get(call, "function");
        if (!function) function = call;
        const json_t *arguments = json_object_get(function, "arguments");
        calls[i].name = json_string_value(json_object_get(function, "name"));
        if (!calls[i].name || !arguments) return error_set(err, QAIO_ERR_ARGUMENT, "a tool call needs a name and arguments");
        qaio_status status = QAIO_OK;
        if (json_is_string(arguments))
            calls[i].arguments_json = json_string_value(arguments);
        else
            status = print_json(c, arguments, &calls[i].arguments_json, err);
        if (status) return status;
        m->n_tool_calls++;
    }
    return QAIO_OK;
}

static qaio_status read_message(conversation *c, chat_message *m, const json_t *item, size_t i, qaio_error *err) {
    const json_t *content = json_object_get(item, "content"), *calls = json_object_get(item, "tool_calls");
    m->role = json_string_value(json_object_get(item, "role"));
    if (!m->role) return error_set(err, QAIO_ERR_ARGUMENT, "messages[%zu] has no role", i);
    if (content && !json_is_string(content) && !json_is_null(content))
        return error_set(err, QAIO_ERR_ARGUMENT, "messages[%zu].content must be a string", i);
    m->content = json_string_value(content);
    m->content_bytes = json_string_length(content);
    m->reasoning_content = json_string_value(json_object_get(item, "reasoning_content"));
    return json_is_array(calls) ? read_tool_calls(c, m, calls, err) : QAIO_OK;
}

static qaio_status read_messages(conversation *c, const json_t *list, qaio_error *err) {
    if (!json_is_array(list)) return error_set(err, QAIO_ERR_ARGUMENT, "\"messages\" must be a list");
    size_t n = json_array_size(list);
    if (!(c->messages = mem_array(n ? n : 1, sizeof *c->messages))) return error_memory(err);
    for (size_t i = 0; i < n; i++) {
        c->n_messages = i + 1;
        qaio_status status = read_message(c, &c->messages[i], json_array_get(list, i), i, err);
        if (status) return status;
    }
    return QAIO_OK;
}

static qaio_status read_flag(const json_t *request, const char *key, int *out, qaio_error *err) {
    const json_t *value = json_object_get(request, key);
    if (!value || json_is_null(value)) return QAIO_OK;
    if (!json_is_boolean(value)) return error_set(err, QAIO_ERR_ARGUMENT, "\"%s\" must be true or false", key);
    *out = json_is_true(value);
    return QAIO_OK;
}

static qaio_status read_tools(conversation *c, const json_t *list, const char ***out, size_t *n, qaio_error *err) {
    if (!list || json_is_null(list)) return QAIO_OK;
    if (!json_is_array(list)) return error_set(err, QAIO_ERR_ARGUMENT, "\"tools\" must be a list");
    size_t n_tools = json_array_size(list);
    if (!(*out = mem_array(n_tools ? n_tools : 1, sizeof **out))) return error_memory(err);
    for (size_t i = 0; i < n_tools; i++) {
        qaio_status status = print_json(c, json_array_get(list, i), &(*out)[i], err);
        if (status) return status;
    }
    *n = n_tools;
    return QAIO_OK;
}

static qaio_status print_rendering(const inspect *x, const conversation *c, const chat_options *options, qaio_error *err) {
    str text = {0};
    text_span *literal = NULL;
    size_t n_literal = 0;
    token_list ids = {0};
    qaio_status status = chat_template_render(&x->template, c->messages, c->n_messages, options, &text, &literal, &n_literal, err);
    if (!status && text.failed) status = error_memory(err);
    /* As transformers does it: special tokens inside contents count, unless --plain asks for what qaio itself does. */
    if (!status)
        status = tokenizer_encode(x->words, text.data ? text.data : "", text.len, literal, x->settings->plain ? n_literal : 0, &ids, err);
    if (!status)
        status = inspect_answer(
            json_pack("{s:o, s:o}", "text", json_text(text.data ? text.data : "", text.len), "ids", inspect_ids(ids.ids, ids.n)),
            JSON_DIGITS, err);
    token_list_deinit(&ids);
    mem_free(literal);
    str_deinit(&text);
    return status;
}

qaio_status inspect_template(inspect *x, const json_t *request, qaio_error *err) {
    conversation c = {0};
    int adds_prompt = 0, continues = 0, thinking = -1;
    const char **tools = NULL;
    size_t n_tools = 0;
    qaio_status status = read_messages(&c, json_object_get(request, "messages"), err);
    if (!status) status = read_flag(request, "add_generation_prompt", &adds_prompt, err);
    if (!status) status = read_flag(request, "continue_final_message", &continues, err);
    if (!status) status = read_flag(request, "enable_thinking", &thinking, err);
    if (!status) status = read_tools(&c, json_object_get(request, "tools"), &tools, &n_tools, err);
    if (!status) {
        chat_options options = {.add_generation_prompt = adds_prompt,
                                .continue_final_message = continues,
                                .enable_thinking = thinking,
                                .tools_json = tools,
                                .n_tools = n_tools};
        status = print_rendering(x, &c, &options, err);
    }
    mem_free(tools);
    conversation_deinit(&c);
    return status;
}
