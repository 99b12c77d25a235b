/* The page: the files of web/, embedded into the program. */
#include <stdio.h>
#include <string.h>

#include "server/internal.h"
#include "web.h"

#define ETAG_BYTES 24

static const struct {
    const char *ending, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".json", "application/json"},
    {".webmanifest", "application/manifest+json"},
    {".txt", "text/plain; charset=utf-8"},
};

static const char *type_of(const char *name) {
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < sizeof types / sizeof *types; i++)
        if (strcmp(ending, types[i].ending) == 0) return types[i].type;
    return "application/octet-stream";
}

static const embedded_file *find(const char *path) {
    if (*path != '/') return NULL;
    const char *name = path[1] ? path + 1 : "index.html";
    for (size_t i = 0; i < web_count; i++)
        if (strcmp(web_files[i].name, name) == 0) return &web_files[i];
    return NULL;
}

bool asset_exists(const char *path) { return find(path) != NULL; }

/* FNV-1a: it tells versions of a file apart, no more. */
static void make_etag(const embedded_file *file, char out[ETAG_BYTES]) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < file->bytes; i++) hash = (hash ^ file->data[i]) * 0x100000001b3u;
    snprintf(out, ETAG_BYTES, "\"%016llx\"", (unsigned long long)hash);
}

void handle_asset(exchange *x) {
    const embedded_file *file = find(x->tail - 1);
    char etag[ETAG_BYTES];
    make_etag(file, etag);
    const char *known = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (known && strstr(known, etag))
        answer_static(x, MHD_HTTP_NOT_MODIFIED, type_of(file->name), "", 0, etag);
    else
        answer_static(x, MHD_HTTP_OK, type_of(file->name), file->data, file->bytes, etag);
}
