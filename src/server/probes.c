/* GET /v1/models, /healthz, /readyz, /metrics: what the server is and how it is. */
#include <inttypes.h>
#include <string.h>

#include "server/internal.h"

static json_t *model_object(exchange *x) {
    return json_pack("{s:s, s:s, s:i, s:s}", "id", resident_model_name(x->resident), "object", "model", "created", 0, "owned_by", "qaio");
}

void handle_model_list(exchange *x) { answer_json(x, MHD_HTTP_OK, json_pack("{s:s, s:[o]}", "object", "list", "data", model_object(x))); }

void handle_model_get(exchange *x) {
    const char *name = resident_model_name(x->resident);
    failure f;
    if (strcmp(x->tail, name) == 0) {
        answer_json(x, MHD_HTTP_OK, model_object(x));
    } else {
        failure_set(&f, 404, "model_not_found", "model", "the model \"%.100s\" is not here; this server has \"%s\"", x->tail, name);
        answer_failure(x, &f);
    }
}

void handle_health(exchange *x) { answer_json(x, MHD_HTTP_OK, json_pack("{s:s}", "status", "ok")); }

/* A stopping server refuses every request before it comes here: ready is who answers at all. */
void handle_ready(exchange *x) { answer_json(x, MHD_HTTP_OK, json_pack("{s:s}", "status", "ready")); }

static void gauge(str *out, const char *name, const char *type, const char *help, uint64_t value) {
    str_printf(out, "# HELP qaio_%s %s\n# TYPE qaio_%s %s\nqaio_%s %" PRIu64 "\n", name, help, name, type, name, value);
}

void handle_metrics(exchange *x) {
    metrics *m = &x->server->metrics;
    engine_stats e;
    engine_get_stats(resident_engine(x->resident), &e);
    str out = {0};
    metrics_write_requests(m, &out);
    gauge(&out, "connections", "gauge", "Open connections.", atomic_load(&m->n_connections));
    gauge(&out, "jobs_active", "gauge", "Jobs the engine computes now.", e.n_active);
    gauge(&out, "jobs_queued", "gauge", "Jobs that wait.", e.n_queued);
    gauge(&out, "jobs_total", "counter", "Jobs since the start.", e.n_jobs);
    gauge(&out, "steps_total", "counter", "Passes over the weights.", e.n_steps);
    gauge(&out, "prompt_tokens_total", "counter", "Tokens of prompts, cached ones included.", e.n_prompt_tokens);
    gauge(&out, "cached_tokens_total", "counter", "Tokens of prompts that were not computed again.", e.n_cached_tokens);
    gauge(&out, "cache_evicted_blocks_total", "counter", "KV blocks that the prefix cache gave up.", e.n_evicted_blocks);
    gauge(&out, "prefix_files_read_total", "counter", "Beginnings of prompts that came from the cache directory.", e.n_prefix_files);
    gauge(&out, "generated_tokens_total", "counter", "Tokens of replies.", e.n_generated_tokens);
    gauge(&out, "kv_bytes", "gauge", "Memory of the KV cache in use.", e.kv_bytes_used);
    gauge(&out, "kv_bytes_max", "gauge", "Memory the KV cache may use.", e.kv_bytes_max);
    answer_text(x, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &out);
}
