/* What went wrong with a request, as OpenAI says it: {"error":{"message","type","param","code"}} and a status. */
#ifndef QAIO_SERVER_FAILURE_H
#define QAIO_SERVER_FAILURE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

typedef struct failure {
    int status;       /* 0: nothing failed */
    const char *code; /* machine-readable, static; NULL: none */
    char param[64];   /* the field concerned, or "" */
    char message[512];
} failure;

/* Fills f and returns false, so that a parser reads   return failure_set(f, 400, NULL, "n", "must be 1"); */
bool failure_set(failure *f, int status, const char *code, const char *param, const char *format, ...) PRINTF_LIKE(5, 6);

/* From an error of the layers below; param: the field it comes from, or "". */
bool failure_from(failure *f, const qaio_error *err, const char *param);

bool failure_memory(failure *f);
bool failure_over(failure *f); /* exchange_is_over */

/* A new reference; NULL when out of memory. */
json_t *failure_to_json(const failure *f);

#endif
