/* config.json and, behind a NUL byte, generation_config.json: refused, or a description whose sizes fit together. */
#undef NDEBUG /* the assertions are what is tested */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "checkpoint/config.h"
#include "checkpoint/json_file.h"

static void check(const model_desc *d) {
    assert(d->n_layers > 0 && d->n_layers <= MODEL_MAX_LAYERS);
    assert(d->n_kv_heads > 0 && d->n_heads % d->n_kv_heads == 0);
    assert(d->head_dim > 0 && d->head_dim % 2 == 0 && d->head_dim <= MODEL_MAX_HEAD_DIM);
    assert(d->rms_norm_eps > 0 && d->rope_theta > 0);
    assert(d->n_stop_tokens <= MODEL_MAX_STOP_TOKENS);
    for (size_t i = 0; i < d->n_stop_tokens; i++) assert(d->stop_tokens[i] >= 0 && (size_t)d->stop_tokens[i] < d->vocab_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *text = (const char *)data, *end = n ? memchr(text, 0, n) : NULL;
    size_t config_bytes = end ? (size_t)(end - text) : n;
    json_t *config = NULL, *generation = NULL;
    model_desc desc;
    qaio_error err = {0};
    qaio_status status = json_parse(&config, text, config_bytes, "config.json", 0, &err);
    if (!status && end) status = json_parse(&generation, end + 1, n - config_bytes - 1, "generation_config.json", 0, &err);
    if (!status && !config_to_desc(&desc, config, "config.json", generation, "generation_config.json", n % 2, &err)) check(&desc);
    json_decref(config);
    json_decref(generation);
    return 0;
}
