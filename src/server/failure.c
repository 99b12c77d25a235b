#include "server/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* A message may quote what a client sent and be cut in the middle of a character. */
static void end_on_whole_character(char *text) {
    size_t n = strlen(text), whole = 0;
    uint32_t code_point;
    for (size_t length; whole < n && (length = utf8_decode(text + whole, n - whole, &code_point)) > 0;) whole += length;
    text[whole] = 0;
}

bool failure_set(failure *f, int status, const char *code, const char *param, const char *format, ...) {
    f->status = status;
    f->code = code;
    snprintf(f->param, sizeof f->param, "%s", param);
    va_list args;
    va_start(args, format);
    vsnprintf(f->message, sizeof f->message, format, args);
    va_end(args);
    end_on_whole_character(f->param);
    end_on_whole_character(f->message);
    return false;
}

bool failure_from(failure *f, const qaio_error *err, const char *param) {
    switch (err->status) {
    case QAIO_ERR_NOT_FOUND:
        return failure_set(f, 404, "not_found", param, "%s", err->message);
    case QAIO_ERR_LIMIT:
        return failure_set(f, 400, "context_length_exceeded", param, "%s", err->message);
    case QAIO_ERR_BUSY:
        return failure_set(f, 429, "busy", "", "%s", err->message);
    case QAIO_ERR_ARGUMENT:
    case QAIO_ERR_FORMAT:
        return failure_set(f, 400, "invalid_value", param, "%s", err->message);
    case QAIO_ERR_UNSUPPORTED:
        return failure_set(f, 400, "unsupported", param, "%s", err->message);
    case QAIO_ERR_TIMEOUT:
        return failure_set(f, 503, "timeout", "", "%s", err->message);
    case QAIO_ERR_CANCELLED:
        return failure_set(f, 503, "cancelled", "", "%s", err->message);
    default:
        return failure_set(f, 500, NULL, "", "%s", err->message);
    }
}

bool failure_memory(failure *f) { return failure_set(f, 500, "out_of_memory", "", "out of memory"); }

static const char *type_of_status(int status) {
    return status >= 500   ? "server_error"
           : status == 401 ? "authentication_error"
           : status == 403 ? "permission_error"
           : status == 429 ? "rate_limit_error"
                           : "invalid_request_error";
}

json_t *failure_to_json(const failure *f) {
    return json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", f->message, "type", type_of_status(f->status), "param",
                     f->param[0] ? f->param : NULL, "code", f->code);
}

bool failure_over(failure *f) { return failure_set(f, 503, "cancelled", "", "the client has left, or the server is stopping"); }
