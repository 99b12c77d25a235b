/* A strict JSON scanner that builds no tree: a vocabulary of 150,000 entries is read in one pass over the file's bytes.
 *
 * The scanner is sticky: the first thing that is wrong sets `status` and fills the error with the file and the offset; later calls change
 * nothing and say "no more", so that loops end and the caller checks once. */
#ifndef QAIO_TOKENIZER_JSON_SCAN_H
#define QAIO_TOKENIZER_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

#define JSON_SCAN_MAX_DEPTH 64

/* Bytes borrowed from the file or, where escapes had to be resolved, from the scanner: valid until the scanner's next string. */
typedef struct json_slice {
    const char *data;
    size_t n;
} json_slice;

typedef struct json_scan {
    const char *text; /* borrowed */
    size_t n;
    size_t pos;
    const char *path; /* borrowed; for errors */
    qaio_error *err;
    qaio_status status;
    int depth;
    bool is_opened; /* the next item is the first of its container: no comma before it */
    str unescaped;
} json_scan;

void json_scan_init(json_scan *s, const char *text, size_t n, const char *path, qaio_error *err);
void json_scan_deinit(json_scan *s);

/* The first character of the next value ('{', '[', '"', 't', 'f', 'n', '-' or a digit), or 0 where there is none. */
char json_scan_peek(json_scan *s);
/* for (json_scan_open(s, '{'); json_scan_more(s, '}');) { key = json_scan_key(s); one value; } */
void json_scan_open(json_scan *s, char bracket);
bool json_scan_more(json_scan *s, char bracket);
json_slice json_scan_key(json_scan *s);
json_slice json_scan_string(json_scan *s);
uint32_t json_scan_unsigned(json_scan *s, uint32_t max); /* an integer of 0..max; `max` should have a name */
bool json_scan_bool(json_scan *s);
bool json_scan_null(json_scan *s); /* consumes null and says true, leaves anything else alone */
void json_scan_skip(json_scan *s); /* any value, checked for well-formedness */
void json_scan_end(json_scan *s);  /* nothing but white space may be left */

bool json_slice_is(json_slice slice, const char *text);
void json_scan_refuse(json_scan *s, qaio_status status, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
