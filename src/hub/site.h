/* The two hubs, and what differs between them: names of variables, addresses.
 *
 *     Hugging Face   list  {endpoint}/api/models/{repo}/tree/{revision}?recursive=true         pages by Link: <...>; rel="next"
 *                    file  {endpoint}/{repo}/resolve/{revision}/{path}                         302 to another host
 *     ModelScope     list  {endpoint}/api/v1/models/{repo}/repo/files?Revision={revision}&Recursive=true
 *                    file  {endpoint}/api/v1/models/{repo}/repo?Revision={revision}&FilePath={path} */
#ifndef QAIO_HUB_SITE_H
#define QAIO_HUB_SITE_H

#include "base/str.h"
#include "hub/hub.h"

typedef struct site {
    const char *title;
    const char *default_endpoint, *endpoint_variable;
    const char *token_variable;
    const char *token_header; /* what goes before the token */
    const char *default_revision;
} site;

const site *site_of(hub_source source);

/* Each appends an address; check out->failed. */
void site_list_url(str *out, hub_source source, const char *endpoint, const char *repo, const char *revision);
void site_file_url(str *out, hub_source source, const char *endpoint, const char *repo, const char *revision, const char *path);

#endif
