/* What schema.c (structure), schema_combine.c (oneOf, allOf) and schema_values.c (scalars) share. */
#ifndef QAIO_MASK_SCHEMA_INTERNAL_H
#define QAIO_MASK_SCHEMA_INTERNAL_H

#include "base/str.h"
#include "mask/json.h"
#include "mask/schema.h"

/* A schema that a $ref names. */
typedef struct named_schema {
    const json_t *schema;
    const char *where; /* the $ref's text */
    rule rule;
} named_schema;

typedef struct compiler {
    grammar *g;
    json_parts json;
    const json_t *root;
    named_schema named[SCHEMA_MAX_RULES];
    size_t n_named;
    size_t n_properties, n_choices, n_looks;
    str path; /* "#/properties/age" */
    qaio_error *err;
} compiler;

/* Sets the error with the place; returns false, for   return schema_fail(c, status, "..."); */
bool schema_fail(compiler *c, qaio_status status, const char *format, ...) PRINTF_LIKE(3, 4);

/* A keyword's whole number from 0 to SCHEMA_MAX_COUNT; absent: *out stays. */
bool schema_count(compiler *c, const json_t *schema, const char *keyword, uint32_t *out);

/* Types as bits.  A number may be an integer: where numbers are allowed, integers are. */
enum schema_type { NULL_TYPE = 1, BOOLEAN = 2, INTEGER = 4, NUMBER = 8, STRING = 16, ARRAY = 32, OBJECT = 64 };
#define ANY_TYPE ~0u

/* The types that `type` allows; absent: ANY_TYPE. */
bool schema_types(compiler *c, const json_t *schema, unsigned *out);
unsigned schema_type_of(const json_t *value);
/* What $ref names; NULL after a failure. */
const json_t *schema_target(compiler *c, const json_t *schema);

bool schema_is_annotation(const char *keyword);

/* Whether no value can satisfy two schemas of the list; false also after a failure, which is set either way. */
bool schema_is_disjoint(compiler *c, const json_t *list);
/* The schema's allOf as one schema; a new reference. */
bool schema_merge(compiler *c, const json_t *schema, json_t **out);

bool schema_string(compiler *c, const json_t *schema, expr *out);
bool schema_number(compiler *c, const json_t *schema, bool is_integer, expr *out);

#endif
