/* Schemas for property tests, and an independent judge of values: it follows the words of JSON Schema, not our grammar. */
#ifndef QAIO_TESTS_MASK_RANDOM_SCHEMA_H
#define QAIO_TESTS_MASK_RANDOM_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

uint32_t random_below(uint64_t *state, uint32_t n);

/* A new reference; with two $defs that may be recursive. */
json_t *random_schema(uint64_t *state);

bool schema_accepts(const json_t *root, const json_t *schema, const json_t *value);

#endif
