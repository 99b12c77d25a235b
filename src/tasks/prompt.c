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

/* ---- the prompts of the layouts ---- */

void opening_append(str *out, const task *t) {
    str_puts(out, t->opening ? t->opening : t->title_zh);
    if (!t->opening) str_puts(out, "：");
}

static bool can_be_shared(const task *t) { return t->kind == TASK_LABEL && t->layout != LAYOUT_PLAIN; }

/* One line a task: its opening, then what may follow. */
static char *word_analyst(const task_set *set) {
    str text = {0};
    str_puts(&text, "你是一个文本分析师。阅读用户这句话，按项目逐一判断，每个项目只从给出的选项里选一个，不要解释。");
    for (size_t i = 0; i < task_set_size(set); i++) {
        const task *t = task_set_at(set, i);
        if (!can_be_shared(t)) continue;
        str_puts(&text, "\n");
        opening_append(&text, t);
        for (size_t k = 0; k < t->n_labels; k++) str_printf(&text, "%s%s", k ? " / " : "", t->labels[k].text);
    }
    char *copy = text.failed ? NULL : mem_strndup(text.data, text.len);
    str_deinit(&text);
    return copy;
}

/* The system message in a layout that has one; NULL: there is none for this task. */
static const char *system_of(const loaded_tasks *loaded, const task *t, task_layout layout) {
    const task *chat = layout == LAYOUT_PROBE && loaded ? task_set_chat(loaded->set) : NULL;
    switch (layout) {
    case LAYOUT_SHARED:
        return t->analyst || !loaded ? t->analyst : loaded->analyst;
    case LAYOUT_PROBE:
        return chat ? chat->system : NULL;
    default:
        return t->system;
    }
}

static qaio_status render(const resident *r, const loaded_tasks *loaded, const task *t, task_layout layout, const char *text, size_t n,
                          token_list *out, qaio_error *err) {
    if (layout == LAYOUT_PLAIN) return plain_prompt(r, t, text, n, out, err);
    const char *system = system_of(loaded, t, layout);
    if (!system) return error_set(err, QAIO_ERR_ARGUMENT, "task %s has no prompt in the layout %s", t->name, task_layout_name(layout));
    chat_message messages[2] = {
        {.role = "system", .content = system, .content_bytes = strlen(system)},
        {.role = "user", .content = text, .content_bytes = n},
    };
    chat_options options = {.add_generation_prompt = true, .enable_thinking = 0};
    return prompt_of_messages(r, messages, 2, &options, out, err);
}

qaio_status prompt_of_task(const resident *r, const task *t, task_layout layout, const char *text, size_t n, token_list *out,
                           qaio_error *err) {
    bool needs_others = layout == LAYOUT_SHARED || layout == LAYOUT_PROBE;
    return render(r, needs_others ? resident_loaded(r, t) : NULL, t, layout, text, n, out, err);
}

/* ---- what prompts begin with ---- */

/* The tokens that the prompts of two different texts have in common at their beginning: what does not depend on the text. */
static size_t common_prefix(const token_list *a, const token_list *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->ids[n] == b->ids[n]) n++;
    return n;
}

static qaio_status find_prefix(const resident *r, const loaded_tasks *loaded, const task *t, task_layout layout, token_list *out,
                               qaio_error *err) {
    token_list other = {0};
    qaio_status status = render(r, loaded, t, layout, "好", strlen("好"), out, err);
    if (!status) status = render(r, loaded, t, layout, "a", 1, &other, err);
    out->n = common_prefix(out, &other);
    token_list_deinit(&other);
    return status;
}

static qaio_status find_route_prefixes(const resident *r, const loaded_tasks *loaded, const task *t, token_list **out, qaio_error *err) {
    if (t->n_routes == 0) return QAIO_OK;
    if (!(*out = mem_array(t->n_routes, sizeof **out))) return error_memory(err);
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < t->n_routes && !status; i++) {
        task routed = {.kind = TASK_CHAT, .system = t->routes[i].system};
        status = find_prefix(r, loaded, &routed, LAYOUT_OWN, &(*out)[i], err);
    }
    return status;
}

qaio_status loaded_find_prefixes(const resident *r, loaded_tasks *loaded, qaio_error *err) {
    size_t n = task_set_size(loaded->set);
    qaio_status status = QAIO_OK;
    loaded->analyst = word_analyst(loaded->set);
    loaded->prefixes = mem_array(n, sizeof *loaded->prefixes);
    loaded->shared_prefixes = mem_array(n, sizeof *loaded->shared_prefixes);
    loaded->priors = mem_array(n, sizeof *loaded->priors);
    if (!loaded->analyst || !loaded->prefixes || !loaded->shared_prefixes || !loaded->priors) return error_memory(err);
    for (size_t i = 0; i < n && !status; i++) {
        const task *t = task_set_at(loaded->set, i);
        task_layout own = t->layout == LAYOUT_PLAIN ? LAYOUT_PLAIN : LAYOUT_OWN;
        if (own == LAYOUT_PLAIN || t->system) status = find_prefix(r, loaded, t, own, &loaded->prefixes[i], err);
        if (!status && can_be_shared(t)) status = find_prefix(r, loaded, t, LAYOUT_SHARED, &loaded->shared_prefixes[i], err);
        if (!status) status = find_route_prefixes(r, loaded, t, &loaded->route_prefixes[i], err);
    }
    return status;
}

static size_t length_if_beginning(const token_list *prefix, const token_list *prompt) {
    return common_prefix(prefix, prompt) == prefix->n ? prefix->n : 0;
}

size_t task_prefix(const resident *r, const task *t, task_layout layout, const token_list *prompt) {
    const loaded_tasks *loaded = resident_loaded(r, t);
    if (!loaded) return 0;
    if (layout == LAYOUT_PROBE && !(t = task_set_chat(loaded->set))) return 0;
    const token_list *prefixes = layout == LAYOUT_SHARED ? loaded->shared_prefixes : loaded->prefixes;
    return length_if_beginning(&prefixes[task_set_index(loaded->set, t)], prompt);
}

size_t route_prefix(const resident *r, const task *t, const task_route *route, const token_list *prompt) {
    const loaded_tasks *loaded = resident_loaded(r, t);
    return loaded ? length_if_beginning(&loaded->route_prefixes[task_set_index(loaded->set, t)][route - t->routes], prompt) : 0;
}
