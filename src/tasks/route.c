/* Which labels lead to which reply. */
#include "tasks/route.h"

#include <string.h>

static bool is_among(const char *name, const task *const *tasks, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(tasks[i]->name, name) == 0) return true;
    return false;
}

size_t route_add_tasks(const task *chat, const task_set *set, const task **tasks, size_t n, size_t most) {
    for (size_t i = 0; i < chat->n_routes; i++)
        for (size_t k = 0; k < chat->routes[i].n_when; k++) {
            const char *name = chat->routes[i].when[k].task;
            const task *t = NULL;
            if (n == most || is_among(name, tasks, n) || task_set_find(&t, set, name, NULL) || t->kind != TASK_LABEL) continue;
            tasks[n++] = t;
        }
    return n;
}

static bool holds(const task_condition *c, const label_answer *answers, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const task *t = answers[i].task;
        if (strcmp(t->name, c->task) == 0) return !answers[i].is_unsure && strcmp(t->labels[answers[i].label].id, c->label) == 0;
    }
    return false;
}

const task_route *route_choose(const task *chat, const label_answer *answers, size_t n) {
    for (size_t i = 0; i < chat->n_routes; i++) {
        const task_route *route = &chat->routes[i];
        bool is_it = true;
        for (size_t k = 0; k < route->n_when && is_it; k++) is_it = holds(&route->when[k], answers, n);
        if (is_it) return route;
    }
    return NULL;
}

bool answer_is_crisis(const label_answer *a) {
    const task_crisis *c = &a->task->crisis;
    return c->text && a->probabilities[c->label_index] >= c->at_least;
}
