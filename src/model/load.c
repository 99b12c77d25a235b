/* Loading: the checkpoint's tensors become packed matrices in one area of memory, vectors become float32.  Large models are packed once:
 * the area is kept in a file and mapped at the next start. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/internal.h"
#include "model/pack_cache.h"

/* Where a matrix of the checkpoint goes. */
typedef struct matrix_slot {
    tensor_role role;
    size_t offset; /* of the packed_matrix in layer_weights */
} matrix_slot;

static const matrix_slot layer_matrices[] = {
    {TENSOR_Q, offsetof(layer_weights, q)},       {TENSOR_K, offsetof(layer_weights, k)},       {TENSOR_V, offsetof(layer_weights, v)},
    {TENSOR_O, offsetof(layer_weights, o)},       {TENSOR_GATE, offsetof(layer_weights, gate)}, {TENSOR_UP, offsetof(layer_weights, up)},
    {TENSOR_DOWN, offsetof(layer_weights, down)},
};

static const matrix_slot layer_vectors[] = {
    {TENSOR_ATTN_NORM, offsetof(layer_weights, attn_norm)}, {TENSOR_FFN_NORM, offsetof(layer_weights, ffn_norm)},
    {TENSOR_Q_BIAS, offsetof(layer_weights, q_bias)},       {TENSOR_K_BIAS, offsetof(layer_weights, k_bias)},
    {TENSOR_V_BIAS, offsetof(layer_weights, v_bias)},       {TENSOR_Q_NORM, offsetof(layer_weights, q_norm)},
    {TENSOR_K_NORM, offsetof(layer_weights, k_norm)},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static packed_matrix *matrix_of(layer_weights *l, const matrix_slot *slot) { return (packed_matrix *)(void *)((char *)l + slot->offset); }

static float **vector_of(layer_weights *l, const matrix_slot *slot) { return (float **)(void *)((char *)l + slot->offset); }

/* The type a stored matrix is packed as. */
static dtype pack_type(dtype wanted, dtype stored) {
    if (wanted != DTYPE_NONE) return wanted;
    return stored == DTYPE_Q4_0 ? DTYPE_Q4_0 : DTYPE_Q8_0;
}

static qaio_status plan_matrix(model *m, packed_matrix *out, const tensor *t, dtype wanted, qaio_error *err) {
    size_t bytes;
    dtype type = pack_type(wanted, t->type);
    if (!packed_init(out, type, t->n_rows, t->n_cols, &bytes) || !size_add(m->weight_bytes, bytes, &m->weight_bytes)) {
        const dtype_info *info = dtype_get(type);
        return error_set(err, QAIO_ERR_ARGUMENT, "weights cannot be kept as %s in memory", info ? info->name : "this type");
    }
    return QAIO_OK;
}

typedef struct pack_job {
    packed_matrix *m;
    const tensor *t;
    float *rows; /* [n_threads, n_cols_padded] */
} pack_job;

static void pack_groups(void *ctx, size_t begin, size_t end, int thread) {
    const pack_job *job = ctx;
    float *row = job->rows + (size_t)thread * job->m->n_cols_padded;
    for (size_t g = begin; g < end; g++) packed_fill_group(job->m, g, job->t->data, job->t->type, row);
}

/* Takes the next part of m->weights and fills it, unless it came filled. */
static qaio_status fill_matrix(model *m, packed_matrix *matrix, const tensor *t, size_t *used, qaio_error *err) {
    matrix->data = m->weights + *used;
    *used += matrix->n_groups * matrix->group_bytes;
    if (m->is_mapped) return QAIO_OK;
    pack_job job = {matrix, t, mem_array((size_t)pool_threads(m->pool) * matrix->n_cols_padded, sizeof(float))};
    if (!job.rows) return error_memory(err);
    pool_run(m->pool, pack_groups, &job, matrix->n_groups, 16);
    mem_free(job.rows);
    return QAIO_OK;
}

static qaio_status load_vector(float **out, const tensor *t, qaio_error *err) {
    if (!t) return QAIO_OK;
    float *v = mem_aligned(t->n_rows * sizeof *v);
    if (!v) return error_memory(err);
    dtype_dequantize(t->type, v, t->data, t->n_rows);
    *out = v;
    return QAIO_OK;
}

static qaio_status plan_weights(model *m, const checkpoint *c, dtype type, qaio_error *err) {
    qaio_status status = plan_matrix(m, &m->embed, checkpoint_tensor(c, TENSOR_EMBED, 0), type, err);
    if (!status && !m->desc.is_tied) status = plan_matrix(m, &m->head, checkpoint_tensor(c, TENSOR_HEAD, 0), type, err);
    for (size_t l = 0; l < m->desc.n_layers; l++)
        for (size_t i = 0; i < COUNT(layer_matrices) && !status; i++)
            status =
                plan_matrix(m, matrix_of(&m->layers[l], &layer_matrices[i]), checkpoint_tensor(c, layer_matrices[i].role, l), type, err);
    m->type = m->layers[0].q.type;
    return status;
}

/* Drops the source's pages after each layer, so that the weights are hardly ever in memory twice. */
static qaio_status fill_weights(model *m, const checkpoint *c, qaio_error *err) {
    size_t used = 0;
    qaio_status status = fill_matrix(m, &m->embed, checkpoint_tensor(c, TENSOR_EMBED, 0), &used, err);
    if (m->desc.is_tied)
        m->head = m->embed;
    else if (!status)
        status = fill_matrix(m, &m->head, checkpoint_tensor(c, TENSOR_HEAD, 0), &used, err);
    for (size_t l = 0; l < m->desc.n_layers && !status; l++) {
        checkpoint_drop_pages(c);
        for (size_t i = 0; i < COUNT(layer_matrices) && !status; i++)
            status =
                fill_matrix(m, matrix_of(&m->layers[l], &layer_matrices[i]), checkpoint_tensor(c, layer_matrices[i].role, l), &used, err);
    }
    return status;
}

static qaio_status load_vectors(model *m, const checkpoint *c, qaio_error *err) {
    qaio_status status = load_vector(&m->out_norm, checkpoint_tensor(c, TENSOR_OUT_NORM, 0), err);
    for (size_t l = 0; l < m->desc.n_layers; l++)
        for (size_t i = 0; i < COUNT(layer_vectors) && !status; i++)
            status = load_vector(vector_of(&m->layers[l], &layer_vectors[i]), checkpoint_tensor(c, layer_vectors[i].role, l), err);
    return status;
}

/* What the packed bytes depend on: the files, and how each matrix is packed. */
static uint64_t pack_key(const model *m, const checkpoint *c) {
    uint64_t key = checkpoint_stamp(c);
    for (size_t l = 0; l < m->desc.n_layers; l++)
        for (size_t i = 0; i < COUNT(layer_matrices); i++) {
            const packed_matrix *w = matrix_of(&m->layers[l], &layer_matrices[i]);
            const uint64_t shape[] = {(uint64_t)w->type, w->n_rows, w->n_cols};
            key = hash_bytes(key, shape, sizeof shape);
        }
    const uint64_t ends[] = {(uint64_t)m->embed.type, m->desc.is_tied, m->weight_bytes};
    return hash_bytes(key, ends, sizeof ends);
}

static qaio_status load_weights(model *m, const checkpoint *c, const model_options *options, qaio_error *err) {
    qaio_status status = plan_weights(m, c, options->type, err);
    if (status) return status;
    m->stamp = checkpoint_stamp(c) ? pack_key(m, c) : 0;
    bool is_cached = options->pack_dir && m->stamp && m->weight_bytes >= PACK_CACHE_MIN_BYTES;
    if (is_cached) m->weights = pack_cache_map(options->pack_dir, m->desc.name, m->type, m->stamp, m->weight_bytes);
    m->is_mapped = m->weights != NULL;
    if (!m->weights && !(m->weights = mem_pages(m->weight_bytes))) return error_memory(err);
    status = fill_weights(m, c, err);
    if (!status) status = load_vectors(m, c, err);
    if (status) return status;
    checkpoint_drop_pages(c);
    if (is_cached && !m->is_mapped && options->keeps_packed)
        m->writer = pack_writer_start(options->pack_dir, m->desc.name, m->type, m->stamp, m->weights, m->weight_bytes);
    return QAIO_OK;
}

static size_t padded(size_t n) { return (n + PACK_COLS - 1) / PACK_COLS * PACK_COLS; }

static float *scratch_rows(size_t stride) { return mem_aligned(MODEL_MAX_ROWS * stride * sizeof(float)); }

static qaio_status scratch_init(model *m, qaio_error *err) {
    step_scratch *s = &m->scratch;
    size_t widest = m->hidden_stride;
    if (m->q_stride > widest) widest = m->q_stride;
    if (m->ffn_stride > widest) widest = m->ffn_stride;
    size_t pointers = (size_t)pool_threads(m->pool) * (m->max_blocks + KV_AHEAD);
    s->x = scratch_rows(m->hidden_stride);
    s->norm = scratch_rows(m->hidden_stride);
    s->q = scratch_rows(m->q_stride);
    s->k = scratch_rows(m->kv_stride);
    s->v = scratch_rows(m->kv_stride);
    s->attn = scratch_rows(m->q_stride);
    s->gate = scratch_rows(m->ffn_stride);
    s->up = scratch_rows(m->ffn_stride);
    s->cos = scratch_rows(m->desc.head_dim / 2);
    s->sin = scratch_rows(m->desc.head_dim / 2);
    s->quant.q = mem_aligned(MODEL_MAX_ROWS * widest);
    s->quant.d = scratch_rows(widest / PACK_COLS);
    s->quant.sum = mem_aligned(MODEL_MAX_ROWS * (widest / PACK_COLS) * sizeof(int32_t));
    s->k_blocks = mem_array(pointers, sizeof *s->k_blocks);
    s->v_blocks = mem_array(pointers, sizeof *s->v_blocks);
    bool ok = s->x && s->norm && s->q && s->k && s->v && s->attn && s->gate && s->up && s->cos && s->sin && s->quant.q && s->quant.d &&
              s->quant.sum && s->k_blocks && s->v_blocks;
    return ok ? QAIO_OK : error_memory(err);
}

static void scratch_deinit(step_scratch *s) {
    void *all[] = {s->x,
                   s->norm,
                   s->q,
                   s->k,
                   s->v,
                   s->attn,
                   s->gate,
                   s->up,
                   s->cos,
                   s->sin,
                   s->quant.q,
                   s->quant.d,
                   s->quant.sum,
                   (void *)s->k_blocks,
                   (void *)s->v_blocks};
    for (size_t i = 0; i < COUNT(all); i++) mem_free(all[i]);
}

/* inv_freq[i] = theta^(-2i/head_dim) in float32, as transformers computes it. */
static qaio_status rope_init(model *m, qaio_error *err) {
    size_t half = m->desc.head_dim / 2;
    if (!(m->inv_freq = mem_array(half, sizeof *m->inv_freq))) return error_memory(err);
    for (size_t i = 0; i < half; i++) {
        float exponent = (float)(2 * i) / (float)m->desc.head_dim;
        m->inv_freq[i] = 1.0f / (float)pow((double)m->desc.rope_theta, (double)exponent);
    }
    return QAIO_OK;
}

qaio_status model_load(model **out, const checkpoint *source, const model_options *options, qaio_error *err) {
    model *m = mem_zalloc(sizeof *m);
    if (!m) return error_memory(err);
    const model_desc *d = checkpoint_desc(source);
    m->desc = *d;
    m->kernels = options->kernels;
    m->pool = options->pool;
    m->n_ctx = options->n_ctx && options->n_ctx < d->context_length ? options->n_ctx : d->context_length;
    m->max_blocks = (m->n_ctx + KV_BLOCK - 1) / KV_BLOCK;
    m->kv_type = options->kv_type != DTYPE_NONE ? options->kv_type : options->type == DTYPE_F32 ? DTYPE_F32 : DTYPE_F16;
    m->hidden_stride = padded(d->hidden_size);
    m->q_stride = padded(d->n_heads * d->head_dim);
    m->kv_stride = padded(d->n_kv_heads * d->head_dim);
    m->ffn_stride = padded(d->intermediate_size);

    qaio_status status;
    m->layers = mem_array(d->n_layers, sizeof *m->layers);
    if (!m->layers)
        status = error_memory(err);
    else if (!(status = load_weights(m, source, options, err)) && !(status = scratch_init(m, err)))
        status = rope_init(m, err);
    if (status) {
        model_free(m);
        return status;
    }
    *out = m;
    return QAIO_OK;
}

void model_free(model *m) {
    if (!m) return;
    for (size_t l = 0; m->layers && l < m->desc.n_layers; l++)
        for (size_t i = 0; i < COUNT(layer_vectors); i++) mem_free(*vector_of(&m->layers[l], &layer_vectors[i]));
    scratch_deinit(&m->scratch);
    mem_free(m->layers);
    mem_free(m->out_norm);
    mem_free(m->inv_freq);
    pack_writer_stop(m->writer);
    if (m->is_mapped)
        pack_cache_unmap(m->weights, m->weight_bytes);
    else
        mem_pages_free(m->weights, m->weight_bytes);
    mem_free(m);
}

const model_desc *model_description(const model *m) { return &m->desc; }
size_t model_context(const model *m) { return m->n_ctx; }
size_t model_weight_bytes(const model *m) { return m->weight_bytes; }
dtype model_type(const model *m) { return m->type; }
dtype model_kv_type(const model *m) { return m->kv_type; }
uint64_t model_file_stamp(const model *m) { return m->stamp; }
size_t model_hidden_stride(const model *m) { return m->hidden_stride; }

size_t model_kv_block_bytes(const model *m) {
    return m->desc.n_layers * m->desc.n_kv_heads * 2 * m->desc.head_dim * KV_BLOCK * dtype_get(m->kv_type)->block_bytes;
}
