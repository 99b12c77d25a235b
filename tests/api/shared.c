#include "shared.h"

#include <stdlib.h>

qaio_model *shared;

int open_shared(void **state) {
    (void)state;
    setenv("QAIO_HOME", "/nonexistent", 1); /* no calibrations of the user's own */
    qaio_options options;
    qaio_options_init(&options, sizeof options);
    options.threads = 2;
    return qaio_model_open(&shared, &options, NULL) != QAIO_OK;
}

int close_shared(void **state) {
    (void)state;
    qaio_model_close(shared);
    return 0;
}
