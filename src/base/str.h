/* A growable byte string.  Zero-initialise ({0}) before use.  A failed append sets `failed`, frees nothing and makes later appends no-ops:
 * append freely, check `failed` once. */
#ifndef QAIO_BASE_STR_H
#define QAIO_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct str {
    char *data; /* NUL-terminated once anything was appended; owned */
    size_t len;
    size_t capacity;
    bool failed;
} str;

void str_append(str *s, const char *bytes, size_t n);
void str_puts(str *s, const char *text);
void str_putc(str *s, char c);
void str_printf(str *s, const char *format, ...) PRINTF_LIKE(2, 3);
void str_vprintf(str *s, const char *format, va_list args);
void str_clear(str *s);  /* keeps the capacity */
void str_deinit(str *s); /* back to {0} */

/* UTF-8 (RFC 3629: shortest form, no surrogates, at most U+10FFFF). */
size_t utf8_encode(uint32_t code_point, char out[4]); /* bytes written, 1..4 */
/* Decodes one character at p (n > 0 bytes left): returns its length and sets *code_point; 0 when ill-formed or cut. */
size_t utf8_decode(const char *p, size_t n, uint32_t *code_point);
bool utf8_is_valid(const char *p, size_t n);

#endif
