/* Strict JSON with limits, and a reader of one object's members.
 *
 * The reader is sticky: the first thing that is wrong sets `status` and fills the error; later reads change nothing.  So a description is
 * read member by member and checked once at the end. */
#ifndef QAIO_CHECKPOINT_JSON_FILE_H
#define QAIO_CHECKPOINT_JSON_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define JSON_MAX_DEPTH  64
#define JSON_MAX_VALUES (1 << 19) /* of one text: bounds the memory of the parsed tree */

/* Parses text[n], an object (duplicate keys, trailing text, NaN, non-UTF-8 are refused).  `offset` is where the text starts in the file
 * `path`.  The caller owns *out (json_decref). */
qaio_status json_parse(json_t **out, const char *text, size_t n, const char *path, int64_t offset, qaio_error *err);
qaio_status json_read_file(json_t **out, const char *path, size_t max_bytes, qaio_error *err);

typedef struct json_reader {
    const json_t *object;
    const char *path;
    qaio_error *err;
    qaio_status status;
} json_reader;

/* The member, or NULL where it is missing or null. */
const json_t *json_member(const json_reader *r, const char *key);
/* Each returns true and sets *out when the member is there and right; false without an error when it is missing or null. */
bool json_get_integer(json_reader *r, const char *key, int64_t min, int64_t max, int64_t *out);
bool json_get_number(json_reader *r, const char *key, double min, double max, float *out);
bool json_get_bool(json_reader *r, const char *key, bool *out);
bool json_get_string(json_reader *r, const char *key, const char **out); /* borrowed from the tree */
/* The error that a required member is missing. */
void json_missing(json_reader *r, const char *key);
/* Any other error about a member: `"key" <message>`. */
void json_refuse(json_reader *r, qaio_status status, const char *key, const char *message);

#endif
