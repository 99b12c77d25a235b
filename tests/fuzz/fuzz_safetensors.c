/* A safetensors image of any content: refused, or a list of tensors that lie inside it. */
#undef NDEBUG /* the assertions are what is tested */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "checkpoint/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    tensor_list list = {0};
    qaio_error err = {0};
    qaio_status status = safetensors_list(&list, data, n, 0, "fuzz.safetensors", &err);
    if (!status) status = tensor_list_seal(&list, "fuzz.safetensors", &err);
    for (size_t i = 0; i < list.n && !status; i++) {
        const named_tensor *t = &list.items[i];
        assert(t->data >= data && t->bytes <= n && t->data + t->bytes <= data + n);
        assert(tensor_list_find(&list, t->name) == t);
    }
    tensor_list_deinit(&list);
    return 0;
}
