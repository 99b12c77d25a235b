/* What labels change about a reply: which prompt of a chat task it follows (route_by), and whether a text of ours comes first (crisis). */
#ifndef QAIO_TASKS_ROUTE_H
#define QAIO_TASKS_ROUTE_H

#include "tasks/resident.h"

/* Appends the label tasks that the chat task's routes look at and that are not among tasks[n] yet; returns the new n, at most `most`. */
size_t route_add_tasks(const task *chat, const task_set *set, const task **tasks, size_t n, size_t most);
/* The first route all of whose conditions hold for the answers; NULL: none, the task's own prompt.  An unsure answer fulfils nothing. */
const task_route *route_choose(const task *chat, const label_answer *answers, size_t n);

/* Whether the answer says that task->crisis.text has to come before everything else. */
bool answer_is_crisis(const label_answer *answer);

#endif
