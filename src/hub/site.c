/* Addresses of the two hubs. */
#include "hub/site.h"

#include <ctype.h>
#include <string.h>

static const site SITES[] = {
    [HUB_HUGGINGFACE] = {"Hugging Face", "https://huggingface.co", "HF_ENDPOINT", "HF_TOKEN", "Authorization: Bearer ", "main"},
    [HUB_MODELSCOPE] = {"ModelScope", "https://www.modelscope.cn", "MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN",
                        "Cookie: m_session_id=", "master"},
};

const site *site_of(hub_source source) { return &SITES[source]; }

/* Percent-encodes all but RFC 3986's unreserved characters and those in `keep`. */
static void append_encoded(str *out, const char *text, const char *keep) {
    for (const char *p = text; *p; p++) {
        if (isalnum((unsigned char)*p) || strchr("-._~", *p) || strchr(keep, *p)) {
            str_putc(out, *p);
        } else {
            str_printf(out, "%%%02X", (unsigned)(unsigned char)*p);
        }
    }
}

void site_list_url(str *out, hub_source source, const char *endpoint, const char *repo, const char *revision) {
    if (source == HUB_MODELSCOPE) {
        str_printf(out, "%s/api/v1/models/%s/repo/files?Revision=", endpoint, repo);
        append_encoded(out, revision, "");
        str_puts(out, "&Recursive=true");
    } else {
        str_printf(out, "%s/api/models/%s/tree/", endpoint, repo);
        append_encoded(out, revision, "");
        str_puts(out, "?recursive=true");
    }
}

void site_file_url(str *out, hub_source source, const char *endpoint, const char *repo, const char *revision, const char *path) {
    if (source == HUB_MODELSCOPE) {
        str_printf(out, "%s/api/v1/models/%s/repo?Revision=", endpoint, repo);
        append_encoded(out, revision, "");
        str_puts(out, "&FilePath=");
        append_encoded(out, path, "");
    } else {
        str_printf(out, "%s/%s/resolve/", endpoint, repo);
        append_encoded(out, revision, "");
        str_putc(out, '/');
        append_encoded(out, path, "/");
    }
}
