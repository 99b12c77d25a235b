/* Prompts as tokens.  What a user typed is literal: special tokens in it stay plain text, so it can never close its own message. */
#include <string.h>

#include "base/mem.h"
#include "tasks/internal.h"

qaio_status prompt_of_messages(const resident *r, const chat_message *messages, size_t n, const chat_options *options, token_list *out,
                               qaio_error *err) {
    str text = {0};
    text_span *literal = NULL;
    size_t n_literal = 0;
    qaio_status status = chat_template_render(resident_template(r), messages, n, options, &text, &literal, &n_literal, err);
    if (!status && text.failed) status = error_memory(err);
    if (!status) status = tokenizer_encode(resident_tokenizer(r), text.data, text.len, literal, n_literal, out, err);
    mem_free(literal);
    str_deinit(&text);
    return status;
}

static qaio_status plain_prompt(const resident *r, const task *t, const char *text, size_t n, token_list *out, qaio_error *err) {
    str prompt = {0};
    str_puts(&prompt, t->before);
    text_span literal = {prompt.len, prompt.len + n};
    str_append(&prompt, text, n);
    str_puts(&prompt, t->after);
    qaio_status status =
        prompt.failed ? error_memory(err) : tokenizer_encode(resident_tokenizer(r), prompt.data, prompt.len, &literal, 1, out, err);
    str_deinit(&prompt);
    return status;
}

qaio_status prompt_of_task(const resident *r, const task *t, const char *text, size_t n, token_list *out, qaio_error *err) {
    if (t->layout == LAYOUT_PLAIN) return plain_prompt(r, t, text, n, out, err);
    chat_message messages[2] = {
        {.role = "system", .content = t->system, .content_bytes = strlen(t->system)},
        {.role = "user", .content = text, .content_bytes = n},
    };
    chat_options options = {.add_generation_prompt = true, .enable_thinking = 0};
    return prompt_of_messages(r, messages, 2, &options, out, err);
}

/* The tokens that the prompts of two different texts have in common at their beginning: what does not depend on the text. */
static size_t common_prefix(const token_list *a, const token_list *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->ids[n] == b->ids[n]) n++;
    return n;
}

static qaio_status find_prefix(const resident *r, const task *t, token_list *out, qaio_error *err) {
    token_list other = {0};
    qaio_status status = prompt_of_task(r, t, "好", strlen("好"), out, err);
    if (!status) status = prompt_of_task(r, t, "a", 1, &other, err);
    out->n = common_prefix(out, &other);
    token_list_deinit(&other);
    return status;
}

qaio_status loaded_find_prefixes(const resident *r, loaded_tasks *loaded, qaio_error *err) {
    size_t n = task_set_size(loaded->set);
    qaio_status status = QAIO_OK;
    if (!(loaded->prefixes = mem_array(n, sizeof *loaded->prefixes))) return error_memory(err);
    for (size_t i = 0; i < n && !status; i++) status = find_prefix(r, task_set_at(loaded->set, i), &loaded->prefixes[i], err);
    return status;
}

size_t task_prefix(const resident *r, const task *t, const token_list *prompt) {
    const loaded_tasks *loaded = resident_loaded(r, t);
    if (!loaded) return 0;
    const token_list *prefix = &loaded->prefixes[task_set_index(loaded->set, t)];
    return common_prefix(prefix, prompt) == prefix->n ? prefix->n : 0;
}
