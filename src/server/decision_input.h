/* What the model reads, as text: strings, JSON values, lists of parts, lists of messages. */
#ifndef QAIO_SERVER_DECISION_INPUT_H
#define QAIO_SERVER_DECISION_INPUT_H

#include "base/str.h"
#include "server/fields.h"

/* All append; false after filling f, whose param is the given one. */

/* A string as it is, an object or a list as compact JSON. */
bool input_json(str *out, const json_t *value, const char *param, failure *f);
/* A string, or a list of parts that are text or JSON. */
bool input_parts(str *out, const json_t *content, const char *param, failure *f);
/* A string, or a list of messages: one alone is its text, several are a conversation with a line that says who speaks. */
bool input_messages(str *out, const json_t *input, const char *param, failure *f);

#endif
