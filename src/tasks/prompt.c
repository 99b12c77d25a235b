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

static qaio_status pin_prompt(resident *r, const task *t, qaio_error *err) {
    token_list a = {0}, b = {0};
    qaio_status status = prompt_of_task(r, t, "好", strlen("好"), &a, err);
    if (!status) status = prompt_of_task(r, t, "a", 1, &b, err);
    size_t n = common_prefix(&a, &b);
    /* One that leaves no room for a text is not worth keeping; a text will be refused with the reason. */
    if (!status && n > 0 && n < model_context(resident_model(r))) {
        engine_job *job;
        job_params params = {.kind = JOB_SCORE, .prompt = a.ids, .n_prompt = n, .pin = true};
        status = engine_submit(r->engine, &params, &job, err);
        if (!status) status = engine_finish(job, NULL, NULL, err);
    }
    token_list_deinit(&a);
    token_list_deinit(&b);
    return status;
}

qaio_status resident_pin_prompts(resident *r, qaio_error *err) {
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < task_set_size(r->tasks) && !status; i++) {
        const task *t = task_set_at(r->tasks, i);
        if (t->layout == LAYOUT_OWN) status = pin_prompt(r, t, err);
    }
    return status;
}
