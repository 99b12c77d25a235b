/* The file list of a hub: the first byte says which hub's. */
#include <stdlib.h>

#include "hub/listing.h"
#include "hub/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    listing l = {0};
    qaio_error err;
    qaio_status status = listing_add_page(&l, data[0] % 2 ? HUB_MODELSCOPE : HUB_HUGGINGFACE, (const char *)data + 1, n - 1, &err);
    if (status == QAIO_OK) status = listing_choose(&l, "owner/name", data[0] & 2 ? "m.gguf" : "", &err);
    for (size_t i = 0; i < l.n; i++) {
        if (!hub_path_is_safe(l.files[i].path) || l.files[i].bytes > LISTING_MAX_FILE_BYTES) abort();
        if (status == QAIO_OK && l.files[i].kind == DIGEST_NONE) abort();
    }
    listing_deinit(&l);
    return 0;
}
