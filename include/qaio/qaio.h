/* qaio: one resident small Qwen that does every language task.  Public C API.
 *
 * The library never prints and never exits.  What can fail returns a qaio_status and, when asked, fills a qaio_error that says what was
 * wrong, where, and what to do.  Out-parameters are untouched on failure. */
#ifndef QAIO_QAIO_H
#define QAIO_QAIO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qaio_status {
    QAIO_OK = 0,
    QAIO_ERR_MEMORY,      /* an allocation failed */
    QAIO_ERR_IO,          /* a file could not be read or written; the network failed */
    QAIO_ERR_FORMAT,      /* a file or a message is malformed */
    QAIO_ERR_UNSUPPORTED, /* well-formed, but not something this build can do */
    QAIO_ERR_ARGUMENT,    /* the caller asked for something that makes no sense */
    QAIO_ERR_NOT_FOUND,   /* no such model, task or file */
    QAIO_ERR_LIMIT,       /* a documented limit was passed (text too long, too many labels ...) */
    QAIO_ERR_BUSY,        /* the queue is full: try again later */
    QAIO_ERR_CANCELLED,   /* the caller cancelled the work */
    QAIO_ERR_TIMEOUT,     /* it was not done in the time that was given */
} qaio_status;

/* Where and why something failed.  Plain storage: copy it, keep it on the stack; nothing to free. */
typedef struct qaio_error {
    qaio_status status;
    int64_t offset;    /* byte offset in `path`, or -1 */
    char path[256];    /* the file concerned, or "" */
    char message[512]; /* UTF-8, one line, no full stop at the end */
} qaio_error;

/* "QAIO_ERR_FORMAT" and so on; never NULL. */
const char *qaio_status_name(qaio_status status);

#ifdef __cplusplus
}
#endif
#endif
