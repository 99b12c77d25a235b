/* A request's JSON: parsed within limits, its fields read with their types and ranges checked.
 *
 * A field that is absent or null leaves *out as it was and is fine; one of the wrong type or out of range is a 400 that names it. */
#ifndef QAIO_SERVER_FIELDS_H
#define QAIO_SERVER_FIELDS_H

#include "server/failure.h"

#define REQUEST_MAX_DEPTH  64    /* nested arrays and objects */
#define REQUEST_MAX_VALUES 32768 /* a value of two bytes takes a hundred times its size in memory */

/* The body as an object; a new reference, NULL after filling f (400). */
json_t *request_parse(const char *body, size_t bytes, failure *f);

/* The field, or NULL when it is absent or null. */
json_t *field_given(const json_t *object, const char *name);

bool field_bool(const json_t *object, const char *name, bool *out, failure *f);
bool field_integer(const json_t *object, const char *name, json_int_t min, json_int_t max, json_int_t *out, failure *f);
bool field_number(const json_t *object, const char *name, double min, double max, double *out, failure *f);
/* Borrowed from the object; may hold NUL bytes. */
bool field_string(const json_t *object, const char *name, const char **out, size_t *bytes, failure *f);

/* "string", "list" ...: for messages. */
const char *json_kind(const json_t *value);

/* Whether a JSON string is exactly this text. */
bool json_is_text(const json_t *value, const char *text);

#endif
