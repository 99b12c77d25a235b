/* The forward pass; model.h draws it.  Each step below is one parallel loop over rows, over (row, kv head) or over groups of 16 outputs. */
#include <math.h>
#include <string.h>

#include "model/internal.h"

/* A batch laid out for the loops: row -> its span and position. */
typedef struct batch {
    model *m;
    size_t n_rows;
    const layer_weights *w; /* of the layer at hand */
    size_t layer;
    const model_span *span_of[MODEL_MAX_ROWS];
    size_t position[MODEL_MAX_ROWS];
    size_t n_strips;
    size_t strip_begin[MODEL_MAX_ROWS + 1]; /* strip i is rows [strip_begin[i], strip_begin[i + 1]) of one span */
} batch;

/* Rows that attend together: each piece of K and V is read once for them. */
#define STRIP_ROWS 4

static bool is_quantized(const packed_matrix *w) { return w->type == DTYPE_Q8_0 || w->type == DTYPE_Q4_0; }

/* Several matrices with the same input rows, as one loop over all their groups. */
typedef struct matmul_job {
    matmul_args args[3];
    void (*fn[3])(const matmul_args *, size_t, size_t);
    size_t n;
} matmul_job;

static void (*matmul_for(const kernels *k, dtype type))(const matmul_args *, size_t, size_t) {
    switch (type) {
    case DTYPE_F16:
        return k->matmul_f16;
    case DTYPE_BF16:
        return k->matmul_bf16;
    case DTYPE_Q8_0:
        return k->matmul_q8_0;
    case DTYPE_Q4_0:
        return k->matmul_q4_0;
    default:
        return k->matmul_f32;
    }
}

static void matmul_groups(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const matmul_job *job = ctx;
    size_t first = 0;
    for (size_t i = 0; i < job->n && begin < end; i++) {
        size_t last = first + job->args[i].w->n_groups;
        if (begin < last) {
            size_t stop = end < last ? end : last;
            job->fn[i](&job->args[i], begin - first, stop - first);
            begin = stop;
        }
        first = last;
    }
}

static void job_add(matmul_job *job, const model *m, const packed_matrix *w, const float *bias, const float *x, float *y, size_t y_stride,
                    size_t n, bool accumulate) {
    job->args[job->n] = (matmul_args){w, bias, y, y_stride, x, m->scratch.quant, n, accumulate};
    job->fn[job->n++] = matmul_for(m->kernels, w->type);
}

/* y[n, rows] = x[n, cols] W[rows, cols]^T for each matrix of the job.  About eight chunks a thread: small enough to finish together, large
 * enough that a kernel keeps several groups in flight. */
static void job_run(matmul_job *job, model *m) {
    size_t groups = 0;
    for (size_t i = 0; i < job->n; i++) groups += job->args[i].w->n_groups;
    size_t chunk = groups / ((size_t)pool_threads(m->pool) * 8);
    chunk = chunk < 4 ? 4 : chunk & ~(size_t)3;
    pool_run(m->pool, matmul_groups, job, groups, chunk);
}

static void quantize(const model *m, const packed_matrix *w, const float *x, size_t row) {
    if (!is_quantized(w)) return;
    size_t n = w->n_cols_padded, blocks = n / PACK_COLS;
    const quant_rows *q = &m->scratch.quant;
    m->kernels->quantize_row(q->q + row * n, q->d + row * blocks, q->sum + row * blocks, x, n);
}

/* norm = rms_norm(x) * w, quantised for the matrices that follow. */
static void norm_rows(const batch *b, const float *weight, const packed_matrix *next, size_t begin, size_t end) {
    model *m = b->m;
    for (size_t row = begin; row < end; row++) {
        float *norm = m->scratch.norm + row * m->hidden_stride;
        m->kernels->rms_norm(norm, m->scratch.x + row * m->hidden_stride, weight, m->desc.hidden_size, m->hidden_stride,
                             m->desc.rms_norm_eps);
        quantize(m, next, norm, row);
    }
}

static void attn_norm_rows(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const batch *b = ctx;
    norm_rows(b, b->w->attn_norm, &b->w->q, begin, end);
}

static void ffn_norm_rows(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const batch *b = ctx;
    norm_rows(b, b->w->ffn_norm, &b->w->gate, begin, end);
}

/* K and V of one kv head in a block. */
static void *kv_at(const model *m, void *block, size_t layer, size_t kv_head, bool is_v) {
    size_t part = m->desc.head_dim * KV_BLOCK * dtype_get(m->kv_type)->block_bytes;
    return (uint8_t *)block + ((layer * m->desc.n_kv_heads + kv_head) * 2 + is_v) * part;
}

void model_kv_blank(const model *m, void *block, size_t n) {
    size_t dim = m->desc.head_dim, bytes = dtype_get(m->kv_type)->block_bytes, column = KV_BLOCK * bytes;
    for (size_t l = 0; l < m->desc.n_layers; l++)
        for (size_t h = 0; h < m->desc.n_kv_heads; h++) {
            uint8_t *k = kv_at(m, block, l, h, false), *v = kv_at(m, block, l, h, true);
            for (size_t d = 0; d < dim; d++) memset(k + d * column + n * bytes, 0, (KV_BLOCK - n) * bytes);
            memset(v + n * dim * bytes, 0, (KV_BLOCK - n) * dim * bytes);
        }
}

static void rope_heads(const model *m, float *x, size_t n_heads, const float *norm, size_t row) {
    size_t dim = m->desc.head_dim, half = dim / 2;
    for (size_t h = 0; h < n_heads; h++) {
        float *head = x + h * dim;
        if (norm) m->kernels->rms_norm(head, head, norm, dim, dim, m->desc.rms_norm_eps);
        m->kernels->rope(head, m->scratch.cos + row * half, m->scratch.sin + row * half, dim);
    }
}

static void store_row(const batch *b, size_t row, void *block) {
    model *m = b->m;
    size_t dim = m->desc.head_dim;
    const float *k = m->scratch.k + row * m->kv_stride, *v = m->scratch.v + row * m->kv_stride;
    for (size_t h = 0; h < m->desc.n_kv_heads; h++)
        m->kernels->kv_store(kv_at(m, block, b->layer, h, false), kv_at(m, block, b->layer, h, true), m->kv_type,
                             b->position[row] % KV_BLOCK, k + h * dim, v + h * dim, dim);
}

/* q, k = rope(norm(q), norm(k)); k and v into the sequence's blocks and their mirrors. */
static void rope_and_store_rows(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const batch *b = ctx;
    model *m = b->m;
    for (size_t row = begin; row < end; row++) {
        rope_heads(m, m->scratch.q + row * m->q_stride, m->desc.n_heads, b->w->q_norm, row);
        rope_heads(m, m->scratch.k + row * m->kv_stride, m->desc.n_kv_heads, b->w->k_norm, row);
        const model_span *span = b->span_of[row];
        size_t block = b->position[row] / KV_BLOCK, last = (span->position + span->n_tokens - 1) / KV_BLOCK;
        store_row(b, row, span->blocks[block]);
        for (const model_mirror *mirror = block == last ? span->mirrors : NULL; mirror; mirror = mirror->next)
            store_row(b, row, mirror->block);
    }
}

/* One item is one strip and one kv head. */
static void attend(void *ctx, size_t begin, size_t end, int thread) {
    const batch *b = ctx;
    model *m = b->m;
    size_t dim = m->desc.head_dim, n_kv = m->desc.n_kv_heads, shared = m->desc.n_heads / n_kv;
    const void **k = m->scratch.k_blocks + (size_t)thread * (m->max_blocks + KV_AHEAD),
               **v = m->scratch.v_blocks + (size_t)thread * (m->max_blocks + KV_AHEAD);
    for (size_t item = begin; item < end; item++) {
        size_t strip = item / n_kv, kv_head = item % n_kv, row = b->strip_begin[strip], n_rows = b->strip_begin[strip + 1] - row;
        size_t n_positions = b->position[row] + 1, n_blocks = (n_positions + n_rows - 1 + KV_BLOCK - 1) / KV_BLOCK;
        for (size_t i = 0; i < n_blocks + KV_AHEAD; i++) {
            bool is_next = i >= n_blocks; /* the kernel asks for those of the next item early */
            void *block = b->span_of[row]->blocks[is_next ? (i - n_blocks) % n_blocks : i];
            k[i] = kv_at(m, block, b->layer, (kv_head + is_next) % n_kv, false);
            v[i] = kv_at(m, block, b->layer, (kv_head + is_next) % n_kv, true);
        }
        size_t at = row * m->q_stride + kv_head * shared * dim;
        m->kernels->attention(&(attention_args){.kv_type = m->kv_type,
                                                .head_dim = dim,
                                                .n_rows = n_rows,
                                                .row_stride = m->q_stride,
                                                .n_heads = shared,
                                                .q = m->scratch.q + at,
                                                .out = m->scratch.attn + at,
                                                .k = k,
                                                .v = v,
                                                .n_positions = n_positions,
                                                .scale = 1.0f / sqrtf((float)dim)});
    }
}

static void quantize_attn_rows(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const batch *b = ctx;
    for (size_t row = begin; row < end; row++) quantize(b->m, &b->w->o, b->m->scratch.attn + row * b->m->q_stride, row);
}

static void silu_rows(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const batch *b = ctx;
    model *m = b->m;
    for (size_t row = begin; row < end; row++) {
        float *gate = m->scratch.gate + row * m->ffn_stride;
        m->kernels->silu_mul(gate, gate, m->scratch.up + row * m->ffn_stride, m->desc.intermediate_size, m->ffn_stride);
        quantize(m, &b->w->down, gate, row);
    }
}

static void attention_block(batch *b) {
    model *m = b->m;
    step_scratch *s = &m->scratch;
    const layer_weights *w = b->w;
    pool_run(m->pool, attn_norm_rows, b, b->n_rows, 4);
    matmul_job qkv = {0}, out = {0};
    job_add(&qkv, m, &w->q, w->q_bias, s->norm, s->q, m->q_stride, b->n_rows, false);
    job_add(&qkv, m, &w->k, w->k_bias, s->norm, s->k, m->kv_stride, b->n_rows, false);
    job_add(&qkv, m, &w->v, w->v_bias, s->norm, s->v, m->kv_stride, b->n_rows, false);
    job_run(&qkv, m);
    pool_run(m->pool, rope_and_store_rows, b, b->n_rows, 4);
    pool_run(m->pool, attend, b, b->n_strips * m->desc.n_kv_heads, b->n_rows > b->n_strips ? 1 : 2);
    if (is_quantized(&w->o)) pool_run(m->pool, quantize_attn_rows, b, b->n_rows, 8);
    job_add(&out, m, &w->o, NULL, s->attn, s->x, m->hidden_stride, b->n_rows, true);
    job_run(&out, m);
}

static void ffn_block(batch *b) {
    model *m = b->m;
    step_scratch *s = &m->scratch;
    pool_run(m->pool, ffn_norm_rows, b, b->n_rows, 4);
    matmul_job gate_up = {0}, down = {0};
    job_add(&gate_up, m, &b->w->gate, NULL, s->norm, s->gate, m->ffn_stride, b->n_rows, false);
    job_add(&gate_up, m, &b->w->up, NULL, s->norm, s->up, m->ffn_stride, b->n_rows, false);
    job_run(&gate_up, m);
    pool_run(m->pool, silu_rows, b, b->n_rows, 2);
    job_add(&down, m, &b->w->down, NULL, s->gate, s->x, m->hidden_stride, b->n_rows, true);
    job_run(&down, m);
}

/* Lays the spans out as rows: embeddings, positions, the angles of each position. */
static void batch_init(batch *b, model *m, const model_span *spans, size_t n_spans) {
    size_t half = m->desc.head_dim / 2;
    b->m = m;
    b->n_rows = b->n_strips = 0;
    for (size_t i = 0; i < n_spans; i++)
        for (size_t t = 0; t < spans[i].n_tokens; t++) {
            size_t row = b->n_rows++;
            if (t % STRIP_ROWS == 0) b->strip_begin[b->n_strips++] = row;
            b->span_of[row] = &spans[i];
            b->position[row] = spans[i].position + t;
            m->kernels->unpack_row(m->scratch.x + row * m->hidden_stride, &m->embed, (size_t)spans[i].tokens[t]);
            for (size_t j = 0; j < half; j++) {
                float angle = (float)b->position[row] * m->inv_freq[j];
                m->scratch.cos[row * half + j] = cosf(angle);
                m->scratch.sin[row * half + j] = sinf(angle);
            }
        }
    b->strip_begin[b->n_strips] = b->n_rows;
}

void model_forward(model *m, const model_span *spans, size_t n_spans, float *hidden, model_trace *trace, void *trace_ctx) {
    batch b;
    batch_init(&b, m, spans, n_spans);
    if (trace) trace(trace_ctx, 0, m->scratch.x, m->hidden_stride, b.n_rows);
    for (size_t l = 0; l < m->desc.n_layers; l++) {
        b.layer = l;
        b.w = &m->layers[l];
        attention_block(&b);
        ffn_block(&b);
        if (trace) trace(trace_ctx, l + 1, m->scratch.x, m->hidden_stride, b.n_rows);
    }
    size_t end = 0;
    for (size_t i = 0; i < n_spans; i++) {
        end += spans[i].n_tokens;
        for (size_t row = end - spans[i].n_outputs; row < end; row++, hidden += m->hidden_stride)
            m->kernels->rms_norm(hidden, m->scratch.x + row * m->hidden_stride, m->out_norm, m->desc.hidden_size, m->hidden_stride,
                                 m->desc.rms_norm_eps);
    }
}

static void quantize_hidden(model *m, const float *hidden, size_t n) {
    for (size_t row = 0; row < n; row++) quantize(m, &m->head, hidden + row * m->hidden_stride, row);
}

void model_logits(model *m, const float *hidden, size_t n, float *logits) {
    quantize_hidden(m, hidden, n);
    matmul_job job = {0};
    job_add(&job, m, &m->head, NULL, hidden, logits, m->desc.vocab_size, n, false);
    job_run(&job, m);
}

void model_logits_of(model *m, const float *hidden, size_t n, const int32_t *tokens, size_t n_tokens, float *logits) {
    quantize_hidden(m, hidden, n);
    for (size_t t = 0; t < n_tokens; t++) {
        /* The group of 16 outputs that holds this token, as a matrix of its own. */
        size_t group = (size_t)tokens[t] / PACK_ROWS, lane = (size_t)tokens[t] % PACK_ROWS;
        packed_matrix w = m->head;
        w.data += group * w.group_bytes;
        w.n_groups = 1;
        w.n_rows = PACK_ROWS;
        float y[PACK_ROWS * MODEL_MAX_ROWS];
        matmul_args args = {&w, NULL, y, PACK_ROWS, hidden, m->scratch.quant, n, false};
        matmul_for(m->kernels, w.type)(&args, 0, 1);
        for (size_t row = 0; row < n; row++) logits[row * n_tokens + t] = y[row * PACK_ROWS + lane];
    }
}
