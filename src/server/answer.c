/* Answers: what a handler says becomes a response of libmicrohttpd. */
#include <string.h>

#include "base/mem.h"
#include "server/internal.h"

#define DIGITS 15 /* of real numbers: 0.9 stays 0.9 */

static const char *header(const exchange *x, const char *name) { return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name); }

/* Lets the pages named in the options read the answer; without these headers a browser keeps it from every other page. */
static void add_cors(const exchange *x, struct MHD_Response *response) {
    const char *origin = header(x, MHD_HTTP_HEADER_ORIGIN);
    if (guard_origin(&x->server->guard, origin, header(x, MHD_HTTP_HEADER_HOST)) != ORIGIN_ALLOWED) return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Vary", "Origin");
    if (!x->route || strcmp(x->route->method, "OPTIONS") != 0) return;
    MHD_add_response_header(response, "Access-Control-Allow-Methods", x->allow);
    MHD_add_response_header(response, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    MHD_add_response_header(response, "Access-Control-Max-Age", "600");
}

void answer_response(exchange *x, unsigned status, const char *content_type, const char *cache, struct MHD_Response *response) {
    x->result = MHD_NO;
    if (!response) return;
    if (content_type) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, cache);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED || status == MHD_HTTP_NO_CONTENT)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, x->allow);
    if (status == MHD_HTTP_UNAUTHORIZED) MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (status == MHD_HTTP_TOO_MANY_REQUESTS) MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (atomic_load(&x->server->is_draining)) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    add_cors(x, response);
    metrics_count(&x->server->metrics, route_index(x->route), status);
    x->result = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
}

void answer_text(exchange *x, unsigned status, const char *content_type, str *text) {
    struct MHD_Response *response = NULL;
    if (!text->failed && text->data) response = MHD_create_response_from_buffer_with_free_callback(text->len, text->data, &mem_free);
    if (!response) str_deinit(text);
    *text = (str){0};
    answer_response(x, status, content_type, "no-store", response);
}

static int append_chunk(const char *bytes, size_t n, void *out) {
    str_append(out, bytes, n);
    return 0;
}

void answer_append_json(str *out, json_t *value) {
    if (!value || json_dump_callback(value, append_chunk, out, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) != 0) out->failed = true;
    json_decref(value);
}

void answer_json(exchange *x, unsigned status, json_t *value) {
    str text = {0};
    answer_append_json(&text, value);
    str_putc(&text, '\n');
    answer_text(x, status, "application/json", &text);
}

void answer_failure(exchange *x, const failure *f) { answer_json(x, (unsigned)f->status, failure_to_json(f)); }

void answer_empty(exchange *x, unsigned status) {
    answer_response(x, status, NULL, "no-store", MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

void answer_nothing(exchange *x) { x->result = MHD_NO; }

/* Nothing but our own files, no inline code, no frames: what a model says can never become a script. */
static const char page_policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
                                  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

void answer_static(exchange *x, unsigned status, const char *content_type, const void *bytes, size_t n, const char *etag) {
    struct MHD_Response *response = MHD_create_response_from_buffer(n, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT);
    if (response) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, etag);
        MHD_add_response_header(response, "Content-Security-Policy", page_policy);
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    answer_response(x, status, content_type, "no-cache", response);
}
