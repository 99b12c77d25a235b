/* Answers as JSON: the same objects on the command line and over HTTP. */
#ifndef QAIO_TASKS_ANSWER_H
#define QAIO_TASKS_ANSWER_H

#include <jansson.h>

#include "tasks/resident.h"

/* {"task","label","text","emoji","probability","probabilities":{id: p},"raw":{id: p},"calibrated","model","task_version"}, "label_mass"
 * when it was asked for, and "calibration": "batch" where the texts of a batch did it; "label" is "unsure" and "text" "" below the task's
 * threshold.  A new reference; NULL when out of memory. */
json_t *answer_to_json(const label_answer *answer, const char *model_name);

/* {"name","version","title":{"zh","en"},"kind","layout","labels":[{"id","text","emoji"}],"weak_with":[model names]}; a chat task also
 * "routes", one that generates "constraint" where it has one: {"kind":"keywords","separator","max_items","max_characters"} or
 * {"kind":"one_of","values"} */
json_t *task_to_json(const task *t);

/* {"id","title":{"zh","en"} or null,"when":{task: label}}, or null for NULL */
json_t *route_to_json(const task_route *route);

/* {"prompt_tokens","completion_tokens","total_tokens","prompt_tokens_details":{"cached_tokens"}} */
json_t *usage_to_json(size_t n_prompt, size_t n_cached, size_t n_generated);

#endif
