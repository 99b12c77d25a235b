/* JSON on stdout, one object a line. */
#ifndef QAIO_CLI_JSON_OUT_H
#define QAIO_CLI_JSON_OUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/str.h"

#define JSON_DIGITS 15 /* of real numbers, as over HTTP: 0.9 stays 0.9 */

/* Any bytes as a JSON string: ill-formed UTF-8 becomes U+FFFD.  NULL when out of memory. */
json_t *json_text(const char *text, size_t n);

/* Appends value without a line end and takes the reference; NULL counts as a failed append. */
void json_line_append(str *out, json_t *value, int digits);

/* Prints value as one line and takes the reference; NULL (out of memory) prints an error object.  -1 when it could not be printed. */
int json_print(json_t *value);
/* The same to any stream, with this many digits for real numbers. */
int json_print_to(json_t *value, FILE *out, int digits);

#endif
