/* HTTP by libcurl's easy interface.  Redirects are followed here, not by libcurl, because who gets the token is decided here. */
#include "hub/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"

#define MAX_ERROR_BODY (1 << 20)  /* of an answer that is not the file: read and dropped, so that the connection can be used again */
#define MAX_HEADER     (16 << 10) /* of a header line that we look into */

struct http_client {
    CURL *curl;
    char *endpoint;
    CURLU *origin; /* the endpoint, parsed */
    struct curl_slist *authorization;
    const char *token_variable;
    long first_pause_ms;
    bool ranges_broken; /* the server answered a range with something else: ask for whole files from now on */
    char *next;         /* of the last answer's Link header */
};

/* One request and its answer. */
typedef struct exchange {
    http_client *client;
    http_sink *sink;
    const char *what;
    qaio_error *err;
    qaio_status status;   /* why our callbacks stopped the transfer */
    bool is_begun;        /* the sink knows where the body starts */
    bool bad_range;       /* 206 for something else than we asked for */
    bool has_range;       /* Content-Range was there: */
    uint64_t range_start; /* its first byte */
    uint64_t discarded;
    char detail[CURL_ERROR_SIZE];
} exchange;

/* ---- addresses ---- */

/* Two parsed addresses' part is the same, letter case aside. */
static bool same_part(CURLU *a, CURLU *b, CURLUPart part, unsigned flags) {
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, flags) == CURLUE_OK && curl_url_get(b, part, &y, flags) == CURLUE_OK && strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

static bool same_origin(CURLU *a, CURLU *b) {
    return same_part(a, b, CURLUPART_SCHEME, 0) && same_part(a, b, CURLUPART_HOST, 0) &&
           same_part(a, b, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

static bool has_scheme(CURLU *url, const char *scheme) {
    char *s = NULL;
    bool is_it = curl_url_get(url, CURLUPART_SCHEME, &s, 0) == CURLUE_OK && strcasecmp(s, scheme) == 0;
    curl_free(s);
    return is_it;
}

static bool may_visit(CURLU *origin, CURLU *url) {
    return has_scheme(url, "https") || (has_scheme(url, "http") && has_scheme(origin, "http"));
}

static bool ask_both(const char *endpoint, const char *url, bool (*question)(CURLU *, CURLU *)) {
    CURLU *a = curl_url(), *b = curl_url();
    bool yes = a && b && curl_url_set(a, CURLUPART_URL, endpoint, 0) == CURLUE_OK && curl_url_set(b, CURLUPART_URL, url, 0) == CURLUE_OK &&
               question(a, b);
    curl_url_cleanup(a);
    curl_url_cleanup(b);
    return yes;
}

bool http_may_visit(const char *endpoint, const char *url) { return ask_both(endpoint, url, may_visit); }
bool http_may_send_token(const char *endpoint, const char *url) { return ask_both(endpoint, url, same_origin); }

bool http_link_next(const char *value, const char **address, size_t *address_bytes) {
    for (const char *open = strchr(value, '<'); open; open = strchr(open, '<')) {
        const char *close = strchr(open, '>');
        if (!close) return false;
        size_t n_params = strcspn(close, "<");
        const char *rel = memmem(close, n_params, "rel=", 4);
        if (rel && strncasecmp(rel[4] == '"' ? rel + 5 : rel + 4, "next", 4) == 0) {
            *address = open + 1;
            *address_bytes = (size_t)(close - open - 1);
            return true;
        }
        open = close;
    }
    return false;
}

/* ---- callbacks of libcurl ---- */

static bool is_header(const char *line, size_t n, const char *name) {
    size_t k = strlen(name);
    return n > k && n <= MAX_HEADER && line[k] == ':' && strncasecmp(line, name, k) == 0;
}

/* "bytes 100-199/200" */
static void read_range(exchange *x, const char *value) {
    const char *unit = value + strspn(value, " \t");
    x->has_range = strncasecmp(unit, "bytes ", 6) == 0;
    if (x->has_range) x->range_start = strtoull(unit + 6, NULL, 10);
}

static size_t on_header(char *line, size_t unit, size_t n, void *ctx) {
    exchange *x = ctx;
    n *= unit;
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0) { /* a new answer; the one before was "100 Continue" or the like */
        x->has_range = false;
        mem_free(x->client->next);
        x->client->next = NULL;
    }
    bool is_range = is_header(line, n, "Content-Range");
    if (!is_range && !is_header(line, n, "Link")) return n;
    const char *colon = strchr(line, ':'), *address;
    size_t address_bytes;
    char *value = mem_strndup(colon + 1, n - (size_t)(colon + 1 - line));
    bool has_memory = value != NULL;
    if (value && is_range) {
        read_range(x, value);
    } else if (value && !x->client->next && http_link_next(value, &address, &address_bytes)) {
        x->client->next = mem_strndup(address, address_bytes);
        has_memory = x->client->next != NULL;
    }
    mem_free(value);
    if (has_memory) return n;
    x->status = error_memory(x->err);
    return 0;
}

static long answer_code(const exchange *x) {
    long code = 0;
    curl_easy_getinfo(x->client->curl, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

/* Before the first byte of a body: where does it start, and is it as long as it should be? */
static qaio_status begin(exchange *x) {
    http_sink *sink = x->sink;
    curl_off_t length = -1;
    curl_easy_getinfo(x->client->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    x->is_begun = true;
    if (answer_code(x) == 206) {
        if (sink->position == 0 || !x->has_range || x->range_start != sink->position) {
            x->bad_range = x->client->ranges_broken = true;
            return error_set(x->err, QAIO_ERR_IO, "%s: the server sent another range than was asked for", x->what);
        }
    } else {
        qaio_status status = sink->restart(sink, x->err);
        if (status != QAIO_OK) return status;
        sink->position = 0;
    }
    if (length >= 0 && sink->bytes != HTTP_SIZE_UNKNOWN && sink->position + (uint64_t)length != sink->bytes) {
        return error_set(x->err, QAIO_ERR_FORMAT, "%s: expected %llu bytes, the server announces %llu", x->what,
                         (unsigned long long)sink->bytes, (unsigned long long)(sink->position + (uint64_t)length));
    }
    return QAIO_OK;
}

static qaio_status take(exchange *x, const char *data, size_t n) {
    http_sink *sink = x->sink;
    qaio_status status = x->is_begun ? QAIO_OK : begin(x);
    if (status != QAIO_OK) return status;
    if (sink->bytes != HTTP_SIZE_UNKNOWN && n > sink->bytes - sink->position) {
        return error_set(x->err, QAIO_ERR_FORMAT, "%s: expected %llu bytes, the server sends more", x->what,
                         (unsigned long long)sink->bytes);
    }
    status = sink->write(sink, data, n, x->err);
    if (status != QAIO_OK) return status;
    sink->position += n;
    return QAIO_OK;
}

static size_t on_body(char *data, size_t unit, size_t n, void *ctx) {
    exchange *x = ctx;
    long code = answer_code(x);
    n *= unit;
    if (code != 200 && code != 206) {
        x->discarded += n;
        return x->discarded > MAX_ERROR_BODY ? 0 : n;
    }
    x->status = take(x, data, n);
    return x->status == QAIO_OK ? n : 0;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    exchange *x = ctx;
    (void)a, (void)b, (void)c, (void)d;
    if (x->sink->keep_going(x->sink)) return 0;
    x->status = error_set(x->err, QAIO_ERR_CANCELLED, "%s: stopped", x->what);
    return 1;
}

/* ---- one request ---- */

static qaio_status perform(exchange *x, CURLU *url, CURLcode *code) {
    CURL *curl = x->client->curl;
    char range[32];
    snprintf(range, sizeof range, "%llu-", (unsigned long long)x->sink->position);
    bool is_resuming = x->sink->position > 0 && x->sink->bytes != HTTP_SIZE_UNKNOWN && !x->client->ranges_broken;
    bool is_ours = same_origin(x->client->origin, url);
    curl_easy_setopt(curl, CURLOPT_CURLU, url);
    curl_easy_setopt(curl, CURLOPT_RANGE, is_resuming ? range : NULL);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, is_ours ? x->client->authorization : NULL);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, x->detail);
    *code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL); /* x is the caller's */
    return x->status;
}

/* The status line as a result.  401 is also what a hub says of a repository that does not exist. */
static qaio_status judge_code(const exchange *x, long code, bool *again) {
    const char *what = x->what;
    *again = code == 408 || code == 429 || (code >= 500 && code != 501 && code != 505);
    switch (code) {
    case 401:
    case 403:
        return error_set(x->err, QAIO_ERR_NOT_FOUND, "%s: no such thing at %s, or a token is needed that may read it (%s): HTTP %ld", what,
                         x->client->endpoint, x->client->token_variable, code);
    case 404:
        return error_set(x->err, QAIO_ERR_NOT_FOUND, "%s: not found at %s (HTTP 404)", what, x->client->endpoint);
    case 416:
        return error_set(x->err, QAIO_ERR_FORMAT, "%s: the server's file is shorter than its list says (HTTP 416)", what);
    case 429:
        return error_set(x->err, QAIO_ERR_IO, "%s: the server asks for fewer requests (HTTP 429): try later", what);
    default:
        return error_set(x->err, QAIO_ERR_IO, "%s: the server answered HTTP %ld", what, code);
    }
}

static qaio_status judge_curl(const exchange *x, CURLcode code, bool *again) {
    const char *detail = x->detail[0] ? x->detail : curl_easy_strerror(code);
    switch (code) {
    case CURLE_OK:
        break;
    case CURLE_OUT_OF_MEMORY:
        return error_memory(x->err);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR:
        *again = true;
        break;
    default:
        break;
    }
    return code == CURLE_OK ? QAIO_OK : error_set(x->err, QAIO_ERR_IO, "%s: %s", x->what, detail);
}

/* What became of the last request of an attempt. */
static qaio_status judge(exchange *x, CURLcode curl_code, bool *again) {
    long code = answer_code(x);
    bool is_discard = curl_code == CURLE_WRITE_ERROR && x->discarded > MAX_ERROR_BODY;
    if (curl_code != CURLE_OK && !is_discard) return judge_curl(x, curl_code, again);
    if (code != 200 && code != 206) return judge_code(x, code, again);
    if (!x->is_begun) { /* an empty body */
        qaio_status status = begin(x);
        if (status != QAIO_OK) return status;
    }
    if (x->sink->bytes == HTTP_SIZE_UNKNOWN || x->sink->position == x->sink->bytes) return QAIO_OK;
    *again = true;
    return error_set(x->err, QAIO_ERR_IO, "%s: the connection ended after %llu of %llu bytes", x->what,
                     (unsigned long long)x->sink->position, (unsigned long long)x->sink->bytes);
}

/* Points url to where the answer redirects; false when it does not. */
static bool redirected(const exchange *x, CURLU *url) {
    long code = answer_code(x);
    char *target = NULL;
    if (code != 301 && code != 302 && code != 303 && code != 307 && code != 308) return false;
    curl_easy_getinfo(x->client->curl, CURLINFO_REDIRECT_URL, &target);
    return target && curl_url_set(url, CURLUPART_URL, target, 0) == CURLUE_OK;
}

/* One attempt: the request and its redirects.  *again says whether another attempt may help. */
static qaio_status attempt(exchange *x, const char *address, bool *again) {
    CURLU *url = curl_url();
    if (!url) return error_memory(x->err);
    qaio_status status = QAIO_OK;
    if (curl_url_set(url, CURLUPART_URL, address, 0) != CURLUE_OK) {
        status = error_set(x->err, QAIO_ERR_ARGUMENT, "%s: not an address", x->what);
        goto done;
    }
    for (int hop = 0;; hop++) {
        CURLcode code;
        if (hop > HTTP_MAX_REDIRECTS) {
            status = error_set(x->err, QAIO_ERR_IO, "%s: more than %d redirects", x->what, HTTP_MAX_REDIRECTS);
            goto done;
        }
        if (!may_visit(x->client->origin, url)) {
            status = error_set(x->err, QAIO_ERR_IO, "%s: the server leads to an address that is not HTTPS; refused", x->what);
            goto done;
        }
        x->discarded = 0;
        x->is_begun = false;
        status = perform(x, url, &code);
        if (x->bad_range) *again = true;
        if (status != QAIO_OK) goto done;
        if (code == CURLE_OK && redirected(x, url)) continue;
        status = judge(x, code, again);
        goto done;
    }
done:
    curl_easy_setopt(x->client->curl, CURLOPT_CURLU, NULL);
    curl_url_cleanup(url);
    return status;
}

static qaio_status pause_before_retry(const exchange *x, int failures) {
    curl_off_t retry_after = 0;
    curl_easy_getinfo(x->client->curl, CURLINFO_RETRY_AFTER, &retry_after);
    if (retry_after > HTTP_MAX_PAUSE_S) retry_after = HTTP_MAX_PAUSE_S;
    int64_t ms = x->client->first_pause_ms << (failures - 1);
    if (ms < retry_after * 1000) ms = retry_after * 1000;
    for (; ms > 0; ms -= 50) { /* in slices, to notice a cancel */
        const struct timespec slice = {.tv_nsec = (ms < 50 ? ms : 50) * 1000000};
        if (!x->sink->keep_going(x->sink)) return error_set(x->err, QAIO_ERR_CANCELLED, "%s: stopped", x->what);
        nanosleep(&slice, NULL);
    }
    return QAIO_OK;
}

qaio_status http_get(http_client *c, const char *url, const char *what, http_sink *sink, qaio_error *err) {
    uint64_t best = sink->position;
    for (int failures = 0;;) {
        exchange x = {.client = c, .sink = sink, .what = what, .err = err};
        bool again = false;
        qaio_status status = attempt(&x, url, &again);
        if (status == QAIO_OK || !again) return status;
        bool is_progress = sink->position >= best + HTTP_PROGRESS_BYTES; /* further than ever: a server that restarts makes none */
        if (sink->position > best) best = sink->position;
        failures = is_progress ? 1 : failures + 1;
        if (failures > HTTP_RETRIES) return status;
        status = pause_before_retry(&x, failures);
        if (status != QAIO_OK) return status;
    }
}

/* ---- text ---- */

typedef struct text_sink {
    http_sink base;
    str text;
    size_t max_bytes;
    bool (*keep_going)(void *ctx);
    void *ctx;
} text_sink;

static qaio_status text_restart(http_sink *s, qaio_error *err) {
    (void)err;
    str_clear(&((text_sink *)s)->text);
    return QAIO_OK;
}

static qaio_status text_write(http_sink *s, const char *data, size_t n, qaio_error *err) {
    text_sink *t = (text_sink *)s;
    if (n > t->max_bytes - t->text.len) return error_set(err, QAIO_ERR_LIMIT, "the hub's answer is longer than %zu bytes", t->max_bytes);
    str_append(&t->text, data, n);
    return t->text.failed ? error_memory(err) : QAIO_OK;
}

static bool text_keep_going(http_sink *s) {
    const text_sink *t = (text_sink *)s;
    return t->keep_going(t->ctx);
}

qaio_status http_get_text(http_client *c, const char *url, const char *what, size_t max_bytes, bool (*keep_going)(void *ctx), void *ctx,
                          char **text, size_t *text_bytes, char **next, qaio_error *err) {
    text_sink t = {.base = {.bytes = HTTP_SIZE_UNKNOWN, .restart = text_restart, .write = text_write, .keep_going = text_keep_going},
                   .max_bytes = max_bytes,
                   .keep_going = keep_going,
                   .ctx = ctx};
    qaio_status status = http_get(c, url, what, &t.base, err);
    if (status != QAIO_OK) {
        str_deinit(&t.text);
        return status;
    }
    *text = t.text.data;
    *text_bytes = t.text.len;
    *next = c->next;
    c->next = NULL;
    return QAIO_OK;
}

/* ---- the client ---- */

static void start_curl(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static qaio_status set_endpoint(http_client *c, const char *endpoint, qaio_error *err) {
    size_t n = strlen(endpoint);
    while (n > 0 && endpoint[n - 1] == '/') n--;
    c->endpoint = mem_strndup(endpoint, n);
    c->origin = curl_url();
    if (!c->endpoint || !c->origin) return error_memory(err);
    static const CURLUPart UNWANTED[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT};
    bool is_good = curl_url_set(c->origin, CURLUPART_URL, c->endpoint, 0) == CURLUE_OK && may_visit(c->origin, c->origin);
    for (size_t i = 0; is_good && i < sizeof UNWANTED / sizeof UNWANTED[0]; i++) {
        char *part = NULL;
        is_good = curl_url_get(c->origin, UNWANTED[i], &part, 0) != CURLUE_OK;
        curl_free(part);
    }
    return is_good ? QAIO_OK : error_set(err, QAIO_ERR_ARGUMENT, "the endpoint must be https://host[:port][/path] or http://...");
}

static qaio_status set_token(http_client *c, const char *header, const char *token, qaio_error *err) {
    for (const char *p = token; *p; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == ';') {
            return error_set(err, QAIO_ERR_ARGUMENT, "the token (%s) has a character that no token has", c->token_variable);
        }
    }
    str line = {0};
    str_printf(&line, "%s%s", header, token);
    if (!line.failed) c->authorization = curl_slist_append(NULL, line.data);
    str_deinit(&line);
    return c->authorization ? QAIO_OK : error_memory(err);
}

static void set_options(CURL *curl, long stall_timeout_s) {
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "qaio/" QAIO_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)HTTP_STALL_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, stall_timeout_s);
    const char *bundle = getenv("CURL_CA_BUNDLE"); /* as the curl program does; proxies are libcurl's own doing */
    if (!bundle || !bundle[0]) bundle = getenv("SSL_CERT_FILE");
    if (bundle && bundle[0]) curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
}

qaio_status http_client_new(http_client **out, const http_config *config, qaio_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    http_client *c = mem_zalloc(sizeof *c);
    if (!c) return error_memory(err);
    c->token_variable = config->token_variable;
    c->first_pause_ms = config->first_pause_ms ? config->first_pause_ms : 200;
    c->curl = curl_easy_init();
    qaio_status status = c->curl ? set_endpoint(c, config->endpoint, err) : error_memory(err);
    if (status == QAIO_OK && config->token) status = set_token(c, config->token_header, config->token, err);
    if (status != QAIO_OK) {
        http_client_free(c);
        return status;
    }
    set_options(c->curl, config->stall_timeout_s ? config->stall_timeout_s : HTTP_STALL_TIMEOUT_S);
    *out = c;
    return QAIO_OK;
}

void http_client_free(http_client *c) {
    if (!c) return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->authorization);
    curl_url_cleanup(c->origin);
    mem_free(c->endpoint);
    mem_free(c->next);
    mem_free(c);
}

const char *http_client_endpoint(const http_client *c) { return c->endpoint; }
