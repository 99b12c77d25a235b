/* Structs of other versions, texts, version, cancellers. */
#include "api/internal.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_STRUCT_BYTES 4096 /* more is no size, but a struct that was not initialised */

#define TEXT_OF(n)   #n
#define NUMBER_OF(n) TEXT_OF(n)
#define API_VERSION  NUMBER_OF(QAIO_VERSION_MAJOR) "." NUMBER_OF(QAIO_VERSION_MINOR) "." NUMBER_OF(QAIO_VERSION_PATCH)

_Static_assert(sizeof API_VERSION == sizeof QAIO_VERSION, "qaio.h and CMakeLists.txt name the same version");

const char *qaio_version(void) { return QAIO_VERSION; }

qaio_status take_struct(void *known, size_t known_bytes, size_t first_bytes, const void *given, const char *what, qaio_error *err) {
    size_t size;
    memcpy(&size, given, sizeof size);
    if (size < first_bytes || size > MAX_STRUCT_BYTES)
        return error_set(err, QAIO_ERR_ARGUMENT, "%s: size is %zu; call %s_init first", what, size, what);
    for (size_t i = known_bytes; i < size; i++)
        if (((const char *)given)[i])
            return error_set(err, QAIO_ERR_UNSUPPORTED, "%s: a member is set that version " QAIO_VERSION " does not know", what);
    memcpy(known, given, size < known_bytes ? size : known_bytes);
    return QAIO_OK;
}

qaio_status check_text(const char *text, size_t *bytes, const char *what, qaio_error *err) {
    if (!text && *bytes != 0) return error_null(err, what);
    if (*bytes == API_TERMINATED) *bytes = strlen(text);
    if (*bytes && !utf8_is_valid(text, *bytes)) return error_set(err, QAIO_ERR_ARGUMENT, "%s is not UTF-8", what);
    return QAIO_OK;
}

qaio_status qaio_canceller_new(qaio_canceller **out, qaio_error *err) {
    if (!out) return error_null(err, "out");
    qaio_canceller *c = mem_zalloc(sizeof *c);
    if (!c) return error_memory(err);
    atomic_init(&c->is_cancelled, false);
    *out = c;
    return QAIO_OK;
}

void qaio_canceller_free(qaio_canceller *canceller) { mem_free(canceller); }

void qaio_cancel(qaio_canceller *canceller) {
    if (canceller) atomic_store(&canceller->is_cancelled, true);
}
