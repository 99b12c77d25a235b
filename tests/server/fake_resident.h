/* A resident without a model, so that the server can be tested alone: it reads moods by keyword and replies with fixed words, one every
 * token_ms.  It stands in for resident.c, label.c, reply.c, and for the engine's and the tokenizer's functions that the server calls.
 *
 * Words in the last message steer it: #busy (the queue is full), #broken (the reply fails at its end), #endless (as many words as were
 * asked for), #late (two seconds until the first word), #slow (a minute until a label). */
#ifndef QAIO_TESTS_SERVER_FAKE_RESIDENT_H
#define QAIO_TESTS_SERVER_FAKE_RESIDENT_H

#include "tasks/resident.h"

#define FAKE_MODEL     "fake"
#define FAKE_MAX_BYTES 20000 /* what "fits the context" */

resident *fake_resident_new(int token_ms);
void fake_resident_free(resident *r);

#endif
