/* Sampling: candidates go into a heap by logit, and are popped until top-k or top-p is reached: sorting 150,000 logits for the handful that
 * matter would cost more than the model.  With top-p only those enter the heap that can be among its share. */
#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>

#include "base/mem.h"

typedef struct candidate {
    float logit;
    int32_t token;
} candidate;

struct sampler {
    sampling params; /* its biases are ours */
    size_t vocab_size;
    uint64_t state;       /* splitmix64 */
    uint8_t *seen;        /* bit per token */
    int32_t *seen_tokens; /* each once */
    size_t n_seen;
    candidate *candidates; /* [vocab_size] heap, then the chosen ones at its end in descending order */
    double *weights;       /* [vocab_size] of the chosen */
    float *scaled;         /* [vocab_size] (logit - top) / temperature */
};

qaio_status sampling_check(const sampling *s, qaio_error *err) {
    if (!(s->temperature >= 0 && s->temperature <= 5)) return error_set(err, QAIO_ERR_ARGUMENT, "temperature must be between 0 and 5");
    if (!(s->top_p > 0 && s->top_p <= 1)) return error_set(err, QAIO_ERR_ARGUMENT, "top_p must be above 0 and at most 1");
    if (s->top_k < 0) return error_set(err, QAIO_ERR_ARGUMENT, "top_k must not be negative");
    if (!(s->repetition_penalty >= 0.1f && s->repetition_penalty <= 10))
        return error_set(err, QAIO_ERR_ARGUMENT, "repetition_penalty must be between 0.1 and 10");
    if (s->n_biases > SAMPLING_MAX_BIASES)
        return error_set(err, QAIO_ERR_ARGUMENT, "at most %d tokens can have a bias", SAMPLING_MAX_BIASES);
    for (size_t i = 0; i < s->n_biases; i++)
        if (!(fabsf(s->biases[i].bias) <= SAMPLING_MAX_BIAS))
            return error_set(err, QAIO_ERR_ARGUMENT, "a bias must be between -%d and %d", SAMPLING_MAX_BIAS, SAMPLING_MAX_BIAS);
    return QAIO_OK;
}

static qaio_status copy_biases(sampler *s, const sampling *params, qaio_error *err) {
    token_bias *biases = mem_array(params->n_biases, sizeof *biases);
    s->params.biases = biases;
    if (!biases) return error_memory(err);
    for (size_t i = 0; i < params->n_biases; i++) {
        biases[i] = params->biases[i];
        if (biases[i].token < 0 || (size_t)biases[i].token >= s->vocab_size)
            return error_set(err, QAIO_ERR_ARGUMENT, "a bias for token %d, which lies outside the vocabulary of %zu", biases[i].token,
                             s->vocab_size);
    }
    return QAIO_OK;
}

static bool is_greedy(const sampling *p) { return p->temperature == 0 || p->top_k == 1; }

qaio_status sampler_new(sampler **out, const sampling *params, size_t vocab_size, qaio_error *err) {
    qaio_status status = sampling_check(params, err);
    if (status) return status;
    sampler *s = mem_zalloc(sizeof *s);
    if (!s) return error_memory(err);
    s->params = *params;
    s->params.biases = NULL;
    s->vocab_size = vocab_size;
    s->state = params->seed;
    bool ok = true;
    if (params->repetition_penalty != 1)
        ok = (s->seen = mem_zalloc(vocab_size / 8 + 1)) && (s->seen_tokens = mem_array(vocab_size, sizeof *s->seen_tokens));
    if (ok && !is_greedy(params))
        ok = (s->candidates = mem_array(vocab_size, sizeof *s->candidates)) && (s->weights = mem_array(vocab_size, sizeof *s->weights)) &&
             (s->scaled = mem_array(vocab_size, sizeof *s->scaled));
    status = ok ? QAIO_OK : error_memory(err);
    if (!status && params->n_biases) status = copy_biases(s, params, err);
    if (status) {
        sampler_free(s);
        return status;
    }
    *out = s;
    return QAIO_OK;
}

void sampler_free(sampler *s) {
    if (!s) return;
    mem_free((void *)(uintptr_t)s->params.biases);
    mem_free(s->seen);
    mem_free(s->seen_tokens);
    mem_free(s->candidates);
    mem_free(s->weights);
    mem_free(s->scaled);
    mem_free(s);
}

void sampler_saw(sampler *s, int32_t token) {
    if (!s->seen || s->seen[token / 8] >> token % 8 & 1) return;
    s->seen[token / 8] |= (uint8_t)(1u << token % 8);
    s->seen_tokens[s->n_seen++] = token;
}

/* Uniform in [0, 1): splitmix64 (Steele, Lea, Flood 2014), its upper 53 bits. */
static double uniform(sampler *s) {
    uint64_t z = s->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Higher logit first; the lower token among equals. */
static bool before(candidate a, candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.token < b.token); }

static void sift_down(candidate *heap, size_t n, size_t i) {
    candidate c = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], c)) break;
        heap[i] = heap[child];
    }
    heap[i] = c;
}

/* Those whose scaled logit is above `least`. */
static size_t fill_heap(sampler *s, const float *logits, float least) {
    size_t n = 0;
    for (size_t i = 0; i < s->vocab_size; i++)
        if (s->scaled[i] > least) s->candidates[n++] = (candidate){logits[i], (int32_t)i};
    for (size_t i = n / 2; i-- > 0;) sift_down(s->candidates, n, i);
    return n;
}

/* Pops candidates until their weights, exp(scaled logit), reach `share` or there are `limit`; *kept: the sum.  At least one. */
static size_t choose(sampler *s, size_t n, size_t limit, float top, double share, double *kept) {
    size_t chosen = 0;
    *kept = 0;
    do {
        candidate c = s->candidates[0];
        s->candidates[0] = s->candidates[n - chosen - 1];
        s->candidates[n - chosen - 1] = c;
        s->weights[chosen] = exp(((double)c.logit - (double)top) / (double)s->params.temperature);
        *kept += s->weights[chosen++];
        sift_down(s->candidates, n - chosen, 0);
    } while (chosen < limit && *kept < share);
    return chosen;
}

/* One of the chosen, by its weight. */
static int32_t pick(sampler *s, size_t n, size_t chosen, double kept) {
    double at = uniform(s) * kept;
    size_t i = 0;
    while (i + 1 < chosen && at >= s->weights[i]) at -= s->weights[i++];
    return s->candidates[n - i - 1].token;
}

/* transformers applies top-p to what top-k left, so the share is of that. */
static int32_t draw_top_k(sampler *s, const float *logits, float top) {
    size_t n = fill_heap(s, logits, -INFINITY), top_k = (size_t)s->params.top_k, i = 0;
    double kept, sum = 0;
    size_t chosen = choose(s, n, top_k < n ? top_k : n, top, INFINITY, &kept);
    while (i < chosen && sum < (double)s->params.top_p * kept) sum += s->weights[i++];
    return pick(s, n, i, sum);
}

static int32_t draw_top_p(sampler *s, const kernels *k, const float *logits, size_t best) {
    float top = logits[best];
    /* All tokens at or below `least` together weigh less than what top-p leaves out (or, where that is nothing, than a draw can tell). */
    double total = exp(k->log_sum_exp(s->scaled, s->vocab_size)), top_p = (double)s->params.top_p;
    double rest = 1 - top_p > 0x1p-53 ? 1 - top_p : 0x1p-53, least = log(rest * total / (double)s->vocab_size) - 1e-3, kept;
    size_t n = fill_heap(s, logits, (float)least);
    if (n == 0) return (int32_t)best; /* a NaN among the logits */
    if (top_p < 1) {
        size_t chosen = choose(s, n, n, top, top_p * total, &kept);
        return pick(s, n, chosen, kept);
    }
    size_t chosen = choose(s, n, n, top, uniform(s) * total, &kept); /* only down to the drawn one */
    return s->candidates[n - chosen].token;
}

static int32_t draw(sampler *s, const kernels *k, const float *logits) {
    size_t best = k->argmax(logits, s->vocab_size);
    float top = logits[best];
    if (!isfinite(top)) return (int32_t)best; /* every logit is NaN or -inf, or one infinite: a broken model, not a crash */
    for (size_t i = 0; i < s->vocab_size; i++) s->scaled[i] = (logits[i] - top) / s->params.temperature;
    bool has_top_k = s->params.top_k > 0 && (size_t)s->params.top_k < s->vocab_size;
    return has_top_k ? draw_top_k(s, logits, top) : draw_top_p(s, k, logits, best);
}

int32_t sampler_next(sampler *s, const kernels *k, float *logits) {
    float penalty = s->params.repetition_penalty;
    for (size_t i = 0; i < s->params.n_biases; i++) logits[s->params.biases[i].token] += s->params.biases[i].bias;
    for (size_t i = 0; i < s->n_seen; i++) {
        float *l = &logits[s->seen_tokens[i]];
        *l = *l > 0 ? *l / penalty : *l * penalty;
    }
    int32_t token = is_greedy(&s->params) ? (int32_t)k->argmax(logits, s->vocab_size) : draw(s, k, logits);
    sampler_saw(s, token);
    return token;
}
