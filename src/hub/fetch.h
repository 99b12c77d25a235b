/* One file of a repository, brought to disk and proven:
 *
 *     <name>.part   what came so far; hashed again at the start of every run, continued, deleted when it is not what the list says
 *     <name>        renamed to by the caller once it is complete */
#ifndef QAIO_HUB_FETCH_H
#define QAIO_HUB_FETCH_H

#include "hub/http.h"
#include "hub/listing.h"

/* Told the bytes that are there; false stops. */
typedef bool fetch_progress(void *ctx, uint64_t bytes);

/* Fetches `url` into part_path until it has the size and digest of `file`, then fsyncs it.  Stopped by `progress` or the network, the part
 * stays.  QAIO_ERR_FORMAT: size or digest differ; the part is gone. */
qaio_status fetch_part(http_client *c, const char *url, const char *part_path, const listing_file *file, fetch_progress *progress,
                       void *ctx, qaio_error *err);

/* Whether what lies at `path` is the file: QAIO_ERR_FORMAT when not. */
qaio_status fetch_check(const char *path, const listing_file *file, fetch_progress *progress, void *ctx, qaio_error *err);

#endif
