/* The parts of a GGUF v3 file that is being written (layout: gguf_read.c). */
#ifndef QAIO_CHECKPOINT_GGUF_WRITE_H
#define QAIO_CHECKPOINT_GGUF_WRITE_H

#include "base/str.h"
#include "checkpoint/checkpoint.h"

/* Keys with their values, encoded one after the other; a failed allocation shows in text.failed. */
typedef struct gguf_encoder {
    str text;
    uint64_t n_values;
} gguf_encoder;

void gguf_encode_u32(str *s, uint32_t value);
void gguf_encode_u64(str *s, uint64_t value);
void gguf_encode_string(str *s, const char *text, size_t n);

/* All keys of the checkpoint: general, sizes, sampling, tokenizer, template. */
void gguf_encode_keys(gguf_encoder *e, const checkpoint *c, dtype type);

#endif
