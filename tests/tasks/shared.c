#include "shared.h"

#include <stdlib.h>

resident *shared;

int open_shared(void **state) {
    (void)state;
    setenv("QAIO_HOME", "/nonexistent", 1); /* no calibrations of the user's own */
    resident_options options = {.type = DTYPE_NONE, .kv_type = DTYPE_NONE, .n_threads = 2};
    return resident_open(&shared, &options, NULL) != QAIO_OK;
}

int close_shared(void **state) {
    (void)state;
    resident_close(shared);
    return 0;
}
