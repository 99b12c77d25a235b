/* A GGUF image of any content: refused, or a whole model whose tensors can be read. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "checkpoint/checkpoint.h"

#define MAX_READ (1 << 16)

static void read_values(const tensor *t) {
    static float values[MAX_READ];
    if (t && t->n_rows * t->n_cols <= MAX_READ) dtype_dequantize(t->type, values, t->data, t->n_rows * t->n_cols);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    checkpoint *c = NULL;
    qaio_error err = {0};
    if (checkpoint_open_memory(&c, data, n, "fuzz.gguf", &err)) return 0;
    for (tensor_role role = 0; role < TENSOR_ROLES; role++) read_values(checkpoint_tensor(c, role, 0));
    checkpoint_close(c);
    return 0;
}
