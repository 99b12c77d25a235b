/* Task files: any bytes are a task or an error, and an error is one line of valid UTF-8. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tasks/task_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    task t;
    qaio_error err = {0};
    if (task_parse(&t, "t.yaml", (const char *)data, size, &err) == QAIO_OK) {
        if (t.kind == TASK_LABEL && t.n_labels < 2) abort();
        task_deinit(&t);
        return 0;
    }
    if (!err.message[0] || strchr(err.message, '\n') || !utf8_is_valid(err.message, strlen(err.message))) abort();
    return 0;
}
