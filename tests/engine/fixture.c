#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

bool fixture_open(fixture *f, size_t index, dtype type, size_t kv_bytes) {
    const kernels *k;
    model *m;
    if (!golden_open(&f->g, index)) return false;
    assert_int_equal(kernels_select(&k, NULL, NULL), QAIO_OK);
    assert_int_equal(pool_new(&f->p, 2, NULL), QAIO_OK);
    model_options options = {.type = type, .kv_type = DTYPE_NONE, .n_ctx = 256, .kernels = k, .pool = f->p};
    assert_int_equal(model_load(&m, f->g.source, &options, NULL), QAIO_OK);
    f->vocab = model_description(m)->vocab_size;
    assert_int_equal(engine_new(&f->e, m, k, kv_bytes, NULL), QAIO_OK);
    return true;
}

void fixture_close(fixture *f) {
    engine_free(f->e);
    pool_free(f->p);
    golden_close(&f->g);
}
