/* checkpoint_write_gguf: keys and the list of tensors are built in memory, the tensors themselves stream through one small buffer. */
#include "checkpoint/gguf_write.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/gguf.h"
#include "checkpoint/roles.h"

#define CHUNK_ELEMENTS (1 << 16) /* a multiple of every block size */

/* A tensor as it will stand in the file. */
typedef struct gguf_out {
    const tensor *source;
    char name[TENSOR_NAME_BYTES];
    bool is_vector;
    dtype type;
    size_t bytes;
} gguf_out;

/* One entry for each tensor, in the order in which they are written. */
typedef struct plan {
    gguf_out *items;
    size_t n;
} plan;

typedef struct writing {
    FILE *stream;
    const char *path;
    checkpoint_progress *progress;
    void *progress_ctx;
    size_t done_bytes, total_bytes;
    float *values;  /* [CHUNK_ELEMENTS] */
    uint8_t *block; /* CHUNK_ELEMENTS of any type */
    qaio_error *err;
} writing;

static qaio_status put(writing *w, const void *data, size_t n) {
    errno = 0;
    if (fwrite(data, 1, n, w->stream) == n) return QAIO_OK;
    return error_errno(w->err, w->path, "write", errno ? errno : EIO);
}

static qaio_status report(writing *w, size_t n) {
    w->done_bytes += n;
    if (w->progress && !w->progress(w->progress_ctx, w->done_bytes, w->total_bytes))
        return error_set(w->err, QAIO_ERR_CANCELLED, "cancelled while writing %s", w->path);
    return QAIO_OK;
}

static qaio_status pad(writing *w, uint64_t at) {
    static const uint8_t zeros[GGUF_DEFAULT_ALIGNMENT];
    return put(w, zeros, (size_t)(-at % GGUF_DEFAULT_ALIGNMENT));
}

/* A NaN or infinity would poison its whole block, and F16 has room up to 65504 (65520 is the first value that rounds to infinity). */
static bool fits(const float *values, size_t n, dtype type) {
    float limit = type == DTYPE_F32 || type == DTYPE_BF16 ? INFINITY : 65520.0f;
    bool all = true;
    for (size_t i = 0; i < n; i++) all &= fabsf(values[i]) < limit;
    return all;
}

static qaio_status put_converted(writing *w, const gguf_out *t) {
    const dtype_info *from = dtype_get(t->source->type);
    size_t n = t->source->n_rows * t->source->n_cols;
    const uint8_t *in = t->source->data;
    for (size_t at = 0; at < n; at += CHUNK_ELEMENTS) {
        size_t some = n - at < CHUNK_ELEMENTS ? n - at : CHUNK_ELEMENTS;
        size_t bytes = dtype_bytes(t->type, some);
        dtype_dequantize(t->source->type, w->values, in + at / from->block_size * from->block_bytes, some);
        if (!fits(w->values, some, t->type))
            return error_set(w->err, QAIO_ERR_FORMAT,
                             "tensor \"%s\" has a value that is not finite or too large for %s (after element %zu)", t->name,
                             dtype_get(t->type)->name, at);
        dtype_quantize(t->type, w->block, w->values, some);
        qaio_status status = put(w, w->block, bytes);
        if (!status) status = report(w, bytes);
        if (status) return status;
    }
    return QAIO_OK;
}

static qaio_status put_copied(writing *w, const gguf_out *t) {
    const uint8_t *in = t->source->data;
    for (size_t at = 0; at < t->source->bytes; at += CHUNK_ELEMENTS) {
        size_t some = t->source->bytes - at < CHUNK_ELEMENTS ? t->source->bytes - at : CHUNK_ELEMENTS;
        qaio_status status = put(w, in + at, some);
        if (!status) status = report(w, some);
        if (status) return status;
    }
    return QAIO_OK;
}

/* Matrices become `type`, or F16 where their rows are no multiple of the block; vectors stay F32. */
static dtype type_in_file(const tensor *t, bool is_vector, dtype type) {
    if (is_vector) return DTYPE_F32;
    return t->n_cols % dtype_get(type)->block_size ? DTYPE_F16 : type;
}

static void plan_role(plan *p, const checkpoint *c, tensor_role role, size_t layer, dtype type) {
    if (!role_is_used(role, checkpoint_desc(c))) return;
    gguf_out *out = &p->items[p->n++];
    out->source = checkpoint_tensor(c, role, layer);
    out->is_vector = role_is_vector(role);
    out->type = type_in_file(out->source, out->is_vector, type);
    out->bytes = dtype_bytes(out->type, out->source->n_rows * out->source->n_cols);
    role_name(out->name, NAMES_GGUF, role, layer);
}

static qaio_status plan_tensors(plan *p, const checkpoint *c, dtype type, qaio_error *err) {
    const model_desc *d = checkpoint_desc(c);
    p->items = mem_array(roles_count(d), sizeof *p->items);
    if (!p->items) return error_memory(err);
    plan_role(p, c, TENSOR_EMBED, 0, type);
    for (size_t layer = 0; layer < d->n_layers; layer++)
        for (tensor_role role = 0; role < TENSOR_LAYER_ROLES; role++) plan_role(p, c, role, layer, type);
    plan_role(p, c, TENSOR_OUT_NORM, 0, type);
    plan_role(p, c, TENSOR_HEAD, 0, type);
    return QAIO_OK;
}

static uint64_t aligned(uint64_t n) { return n + -n % GGUF_DEFAULT_ALIGNMENT; }

static void encode_tensor_list(str *s, const plan *p) {
    uint64_t offset = 0;
    for (size_t i = 0; i < p->n; i++) {
        const gguf_out *t = &p->items[i];
        gguf_encode_string(s, t->name, strlen(t->name));
        gguf_encode_u32(s, t->is_vector ? 1 : 2);
        if (!t->is_vector) gguf_encode_u64(s, t->source->n_cols);
        gguf_encode_u64(s, t->source->n_rows);
        gguf_encode_u32(s, (uint32_t)t->type);
        gguf_encode_u64(s, offset);
        offset = aligned(offset + t->bytes);
    }
}

/* Everything before the data section. */
static qaio_status encode_head(str *head, const checkpoint *c, const plan *p, dtype type, qaio_error *err) {
    gguf_encoder keys = {0};
    gguf_encode_keys(&keys, c, type);
    str_puts(head, "GGUF");
    gguf_encode_u32(head, GGUF_VERSION);
    gguf_encode_u64(head, p->n);
    gguf_encode_u64(head, keys.n_values);
    if (!keys.text.failed) str_append(head, keys.text.data, keys.text.len);
    encode_tensor_list(head, p);
    bool failed = head->failed || keys.text.failed;
    str_deinit(&keys.text);
    return failed ? error_memory(err) : QAIO_OK;
}

/* The pages of the source are dropped as it goes, so that memory does not grow with the model. */
static qaio_status put_all(writing *w, const checkpoint *c, const str *head, const plan *p) {
    qaio_status status = put(w, head->data, head->len);
    if (!status) status = pad(w, head->len);
    for (size_t i = 0; i < p->n && !status; i++) {
        const gguf_out *t = &p->items[i];
        status = t->type == t->source->type ? put_copied(w, t) : put_converted(w, t);
        if (!status) status = pad(w, t->bytes);
        checkpoint_drop_pages(c);
    }
    return status;
}

static qaio_status write_file(writing *w, const checkpoint *c, const str *head, const plan *p) {
    file_writer file;
    for (size_t i = 0; i < p->n; i++) w->total_bytes += p->items[i].bytes;
    w->values = mem_array(CHUNK_ELEMENTS, sizeof *w->values);
    w->block = mem_array(CHUNK_ELEMENTS, sizeof *w->values);
    if (!w->values || !w->block) return error_memory(w->err);
    qaio_status status = file_writer_open(&file, w->path, w->err);
    if (status) return status;
    w->stream = file.stream;
    status = put_all(w, c, head, p);
    if (!status) return file_writer_commit(&file, w->err);
    file_writer_abort(&file);
    return status;
}

static bool is_writable(dtype type) {
    return type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16 || type == DTYPE_Q8_0 || type == DTYPE_Q4_0;
}

qaio_status checkpoint_write_gguf(const checkpoint *c, const char *path, dtype type, checkpoint_progress *progress, void *ctx,
                                  qaio_error *err) {
    if (!is_writable(type)) return error_set(err, QAIO_ERR_ARGUMENT, "GGUF files are written as f32, f16, bf16, q8_0 or q4_0");
    writing w = {.path = path, .progress = progress, .progress_ctx = ctx, .err = err};
    plan p = {0};
    str head = {0};
    qaio_status status = plan_tensors(&p, c, type, err);
    if (!status) status = encode_head(&head, c, &p, type, err);
    if (!status) status = write_file(&w, c, &head, &p);
    str_deinit(&head);
    mem_free(w.values);
    mem_free(w.block);
    mem_free(p.items);
    return status;
}
