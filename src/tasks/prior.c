/* What tasks say about a text without content: kept as long as the tasks are. */
#include <string.h>

#include "base/mem.h"
#include "tasks/label.h"

/* Under the lock; NULL: an ad-hoc task. */
static double **place(const loaded_tasks *loaded, const task *t, task_layout layout) {
    return loaded ? &loaded->priors[task_set_index(loaded->set, t)][layout] : NULL;
}

bool prior_find(resident *r, const task *t, task_layout layout, double *scores) {
    double **at = place(resident_loaded(r, t), t, layout);
    if (!at) return false;
    pthread_mutex_lock(&r->tasks_lock);
    const double *known = *at;
    pthread_mutex_unlock(&r->tasks_lock);
    if (known && scores) memcpy(scores, known, t->n_labels * sizeof *scores);
    return known != NULL;
}

void prior_keep(resident *r, const task *t, task_layout layout, const double *scores) {
    double **at = place(resident_loaded(r, t), t, layout), *copy = at ? mem_array(t->n_labels, sizeof *copy) : NULL;
    if (!copy) return; /* asked again with the next text */
    memcpy(copy, scores, t->n_labels * sizeof *copy);
    pthread_mutex_lock(&r->tasks_lock);
    bool is_first = *at == NULL; /* others came to the same numbers */
    if (is_first) *at = copy;
    pthread_mutex_unlock(&r->tasks_lock);
    if (!is_first) mem_free(copy);
}
