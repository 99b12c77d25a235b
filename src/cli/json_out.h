/* JSON on stdout, one object a line. */
#ifndef QAIO_CLI_JSON_OUT_H
#define QAIO_CLI_JSON_OUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define JSON_DIGITS 9 /* of real numbers for people and programs; `inspect score` prints 17 */

/* Any bytes as a JSON string: ill-formed UTF-8 becomes U+FFFD.  NULL when out of memory. */
json_t *json_text(const char *text, size_t n);

/* Prints value as one line and takes the reference; NULL (out of memory) prints an error object.  -1 when it could not be printed. */
int json_print(json_t *value);
/* The same to any stream, with this many digits for real numbers. */
int json_print_to(json_t *value, FILE *out, int digits);

#endif
