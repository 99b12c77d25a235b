/* Answers as JSON. */
#include "tasks/answer.h"

#include <math.h>

#include "tasks/route.h"

/* JSON has no NaN; a broken model's probability becomes null. */
static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *by_label(const task *t, const double *values) {
    json_t *object = json_object();
    for (size_t i = 0; object && i < t->n_labels; i++) {
        if (json_object_set_new(object, t->labels[i].id, number(values[i])) == 0) continue;
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *answer_to_json(const label_answer *a, const char *model_name) {
    const task *t = a->task;
    const task_label *label = &t->labels[a->label];
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:s, s:I, s:o*, s:o*, s:s*}", "task", t->name, "label",
                     a->is_unsure ? "unsure" : label->id, "text", a->is_unsure ? "" : label->text, "emoji",
                     a->is_unsure ? "" : label->emoji, "probability", number(a->probabilities[a->label]), "probabilities",
                     by_label(t, a->probabilities), "raw", by_label(t, a->raw), "calibrated", a->is_calibrated, "model", model_name,
                     "task_version", (json_int_t)t->version, "crisis", t->crisis.text ? json_boolean(answer_is_crisis(a)) : NULL,
                     "label_mass", a->has_mass ? number(a->mass) : NULL, "calibration", a->is_batch_calibrated ? "batch" : NULL);
}

static const char *kind_name(task_kind kind) { return kind == TASK_LABEL ? "label" : kind == TASK_CHAT ? "chat" : "generate"; }

json_t *route_to_json(const task_route *route) {
    if (!route) return json_null();
    json_t *when = json_object();
    for (size_t i = 0; when && i < route->n_when; i++) json_object_set_new(when, route->when[i].task, json_string(route->when[i].label));
    json_t *title = route->title_zh ? json_pack("{s:s, s:s}", "zh", route->title_zh, "en", route->title_en) : json_null();
    return json_pack("{s:s, s:o, s:o}", "id", route->id, "title", title, "when", when);
}

static json_t *constraint_to_json(const task_constraint *c) {
    if (c->kind == CONSTRAINT_KEYWORDS)
        return json_pack("{s:s, s:s, s:I, s:I}", "kind", "keywords", "separator", c->separator, "max_items", (json_int_t)c->max_items,
                         "max_characters", (json_int_t)c->max_characters);
    json_t *values = json_array();
    for (size_t i = 0; values && i < c->n_values; i++) json_array_append_new(values, json_string(c->values[i]));
    return json_pack("{s:s, s:o}", "kind", "one_of", "values", values);
}

json_t *task_to_json(const task *t) {
    json_t *labels = json_array();
    for (size_t i = 0; labels && i < t->n_labels; i++) {
        const task_label *l = &t->labels[i];
        json_array_append_new(labels, json_pack("{s:s, s:s, s:s}", "id", l->id, "text", l->text, "emoji", l->emoji));
    }
    json_t *weak = json_array();
    for (size_t i = 0; weak && i < t->n_weak_with; i++) json_array_append_new(weak, json_string(t->weak_with[i]));
    json_t *routes = t->kind == TASK_CHAT ? json_array() : NULL;
    for (size_t i = 0; routes && i < t->n_routes; i++) json_array_append_new(routes, route_to_json(&t->routes[i]));
    return json_pack("{s:s, s:I, s:{s:s, s:s}, s:s, s:s, s:o, s:o, s:o*, s:o*}", "name", t->name, "version", (json_int_t)t->version,
                     "title", "zh", t->title_zh, "en", t->title_en, "kind", kind_name(t->kind), "layout", task_layout_name(t->layout),
                     "labels", labels, "weak_with", weak, "routes", routes, "constraint",
                     t->constraint.kind == CONSTRAINT_NONE ? NULL : constraint_to_json(&t->constraint));
}

json_t *usage_to_json(size_t n_prompt, size_t n_cached, size_t n_generated) {
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)n_prompt, "completion_tokens", (json_int_t)n_generated,
                     "total_tokens", (json_int_t)(n_prompt + n_generated), "prompt_tokens_details", "cached_tokens", (json_int_t)n_cached);
}
