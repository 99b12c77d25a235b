/* An engine over a golden model. */
#ifndef QAIO_TESTS_ENGINE_FIXTURE_H
#define QAIO_TESTS_ENGINE_FIXTURE_H

#include "../model/golden.h"
#include "engine/engine.h"

typedef struct fixture {
    golden g;
    pool *p;
    engine *e;
    size_t vocab;
} fixture;

/* The golden model of this number, with weights of this type, two threads and a context of 256; false past the last. */
bool fixture_open(fixture *f, size_t index, dtype type, size_t kv_bytes);
void fixture_close(fixture *f);

#endif
