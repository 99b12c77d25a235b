/* JSON Schema (draft 2020-12, the part that OpenAI's structured outputs know) as a grammar: every text of the grammar is JSON that the
 * schema accepts.  What cannot be honoured is refused by name, never ignored. */
#ifndef QAIO_MASK_SCHEMA_H
#define QAIO_MASK_SCHEMA_H

#include <jansson.h>

#include "mask/grammar.h"

#define SCHEMA_MAX_DEPTH      32     /* schemas inside each other; a $ref begins anew */
#define SCHEMA_MAX_PROPERTIES 1024   /* in the whole schema */
#define SCHEMA_MAX_CHOICES    1024   /* of enum and const, in the whole schema */
#define SCHEMA_MAX_RULES      256    /* schemas that a $ref names */
#define SCHEMA_MAX_COUNT      100000 /* minLength, maxItems ... */
#define SCHEMA_MAX_DIVISOR    100    /* multipleOf */
#define SCHEMA_MAX_LOOKS      65536  /* schemas looked at for oneOf and allOf */

/* A begun grammar of a schema; NULL: of any JSON object.  The schema is borrowed for the call.  QAIO_ERR_UNSUPPORTED: a keyword that cannot
 * be honoured; QAIO_ERR_ARGUMENT: no schema, or nothing satisfies it; QAIO_ERR_LIMIT.  Messages begin with the place, "#/properties/age: ".
 */
qaio_status schema_grammar(grammar **out, const json_t *schema, qaio_error *err);

#endif
