/* GGUF files: the parsed image, its keys, and what they mean for us. */
#ifndef QAIO_CHECKPOINT_GGUF_H
#define QAIO_CHECKPOINT_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checkpoint/desc.h"
#include "checkpoint/tensor_list.h"

#define GGUF_VERSION           3
#define GGUF_DEFAULT_ALIGNMENT 32
#define GGUF_MAX_KEYS          65536
#define GGUF_MAX_KEY_BYTES     65535
#define GGUF_MAX_NAME_BYTES    64 /* of a tensor */
#define GGUF_MAX_DIMS          4

typedef enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
} gguf_type;

/* general.file_type, tokenizer.ggml.token_type */
typedef enum gguf_file_type {
    GGUF_FILE_F32 = 0,
    GGUF_FILE_F16 = 1,
    GGUF_FILE_Q4_0 = 2,
    GGUF_FILE_Q8_0 = 7,
    GGUF_FILE_BF16 = 32
} gguf_file_type;
typedef enum gguf_token_type {
    GGUF_TOKEN_NORMAL = 1,
    GGUF_TOKEN_UNKNOWN,
    GGUF_TOKEN_CONTROL,
    GGUF_TOKEN_USER_DEFINED,
    GGUF_TOKEN_UNUSED,
    GGUF_TOKEN_BYTE,
} gguf_token_type;

/* A key and its value, borrowed from the image. */
typedef struct gguf_value {
    const char *key;
    size_t key_bytes;
    gguf_type type, item_type; /* item_type: of an array */
    size_t n;                  /* items of an array, bytes of a string, else 1 */
    const uint8_t *data;       /* the first item: of a string array a length (8 bytes) and its text, one after the other */
} gguf_value;

typedef struct gguf_file {
    const char *path; /* borrowed */
    const uint8_t *data;
    size_t bytes;
    uint32_t version;
    gguf_value *values; /* by key */
    size_t n_values;
    tensor_list tensors; /* sealed */
} gguf_file;

/* Parses the image data[bytes], which stays borrowed as long as *out lives.  Every extent is inside it afterwards. */
qaio_status gguf_parse(gguf_file *out, const uint8_t *data, size_t bytes, const char *path, qaio_error *err);
void gguf_deinit(gguf_file *file);

uint32_t gguf_load_u32(const uint8_t *p);
uint64_t gguf_load_u64(const uint8_t *p);

/* Reading keys, sticky like json_reader: true and *out set when the key is there and right, false without an error when it is missing. */
typedef struct gguf_reader {
    const gguf_file *file;
    qaio_error *err;
    qaio_status status;
} gguf_reader;

const gguf_value *gguf_find(const gguf_file *file, const char *key);
bool gguf_get_integer(gguf_reader *r, const char *key, int64_t min, int64_t max, int64_t *out); /* any integer type */
bool gguf_get_number(gguf_reader *r, const char *key, double min, double max, float *out);      /* F32, F64 */
bool gguf_get_bool(gguf_reader *r, const char *key, bool *out);
bool gguf_get_string(gguf_reader *r, const char *key, const char **out, size_t *n); /* not terminated */
/* NULL where it is missing or not an array of item_type. */
const gguf_value *gguf_get_array(gguf_reader *r, const char *key, gguf_type item_type);
void gguf_missing(gguf_reader *r, const char *key);
void gguf_refuse(gguf_reader *r, qaio_status status, const char *key, const char *message);

/* "qwen2.block_count" for "block_count"; returns out. */
#define GGUF_ARCH_KEY_BYTES 96
const char *gguf_arch_key(char out[GGUF_ARCH_KEY_BYTES], const model_desc *desc, const char *key);

qaio_status gguf_to_desc(model_desc *desc, const gguf_file *file, qaio_error *err);
qaio_status gguf_to_tokenizer(tokenizer **out, const gguf_file *file, qaio_error *err);

#endif
