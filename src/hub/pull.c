/* hub_pull: from a name to a model in the cache.
 *
 *     lock <folder>/.lock -> file list -> choose -> space? -> each missing file to <name>.part, verified -> all renamed, config.json last
 *
 * Nothing gets its final name before everything is there and proven, so an interrupted pull never looks like a model, and an interrupted
 * update leaves the old one whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/fetch.h"
#include "hub/http.h"
#include "hub/listing.h"
#include "hub/name.h"
#include "hub/site.h"

#define MAX_PAGES      100
#define MAX_PAGE_BYTES (16 << 20)

typedef struct puller {
    const hub_options *options;
    const char *revision;
    hub_name name;
    char *dir; /* owned */
    http_client *client;
    listing list;
    hub_progress progress;
    uint64_t bytes_before; /* of the files before the current one */
} puller;

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static bool report(void *ctx, uint64_t file_done) {
    puller *p = ctx;
    p->progress.file_done = file_done;
    p->progress.total_done = p->bytes_before + file_done;
    return !p->options->progress || p->options->progress(p->options->ctx, &p->progress);
}

static bool report_unchanged(void *ctx) {
    puller *p = ctx;
    return report(p, p->progress.file_done);
}

static qaio_status open_client(puller *p, qaio_error *err) {
    const site *hub = site_of(p->options->source);
    http_config config = {.endpoint = p->options->endpoint,
                          .token = p->options->token,
                          .token_variable = hub->token_variable,
                          .token_header = hub->token_header};
    if (!config.endpoint) config.endpoint = variable(hub->endpoint_variable);
    if (!config.endpoint) config.endpoint = hub->default_endpoint;
    if (!config.token) config.token = variable(hub->token_variable);
    p->revision = p->options->revision ? p->options->revision : hub->default_revision;
    return http_client_new(&p->client, &config, err);
}

static qaio_status read_listing(puller *p, qaio_error *err) {
    str first = {0};
    char *url = NULL;
    qaio_status status = QAIO_OK;
    site_list_url(&first, p->options->source, http_client_endpoint(p->client), p->name.repo, p->revision);
    if (first.failed) {
        str_deinit(&first);
        return error_memory(err);
    }
    url = first.data; /* moved */
    for (int page = 0; url && status == QAIO_OK; page++) {
        char *text = NULL, *next = NULL;
        size_t text_bytes = 0;
        if (page == MAX_PAGES) {
            status = error_set(err, QAIO_ERR_LIMIT, "the hub's file list has more than %d pages", MAX_PAGES);
            break;
        }
        status = http_get_text(p->client, url, p->name.repo, MAX_PAGE_BYTES, report_unchanged, p, &text, &text_bytes, &next, err);
        if (status == QAIO_OK) status = listing_add_page(&p->list, p->options->source, text, text_bytes, err);
        mem_free(text);
        mem_free(url);
        url = next;
    }
    mem_free(url);
    return status == QAIO_OK ? listing_choose(&p->list, p->name.repo, p->name.file, err) : status;
}

static uint64_t bytes_on_disk(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX;
}

/* "<dir>/<file>" and "<dir>/<file>.part": owned. */
static qaio_status paths_of(const puller *p, const listing_file *file, char **final, char **part, qaio_error *err) {
    str with_suffix = {0};
    str_printf(&with_suffix, "%s/%s.part", p->dir, file->path);
    *final = file_join(p->dir, file->path);
    *part = with_suffix.data;
    if (*final && !with_suffix.failed) return QAIO_OK;
    mem_free(*final);
    str_deinit(&with_suffix);
    *final = *part = NULL;
    return error_memory(err);
}

/* Sets the sizes of the whole work, and says in time when the disk is too small for it. */
static qaio_status check_space(puller *p, qaio_error *err) {
    uint64_t missing = 0; /* no overflow: LISTING_MAX_CHOSEN files of LISTING_MAX_FILE_BYTES */
    for (size_t i = 0; i < p->list.n; i++) {
        const listing_file *file = &p->list.files[i];
        char *final, *part;
        qaio_status status = paths_of(p, file, &final, &part, err);
        if (status != QAIO_OK) return status;
        uint64_t part_bytes = bytes_on_disk(part);
        if (bytes_on_disk(final) != file->bytes) missing += part_bytes > file->bytes ? file->bytes : file->bytes - part_bytes;
        p->progress.total_bytes += file->bytes;
        mem_free(final);
        mem_free(part);
    }
    p->progress.n_files = p->list.n;
    struct statvfs fs;
    if (statvfs(p->dir, &fs) != 0) return QAIO_OK;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (missing <= free_bytes) return QAIO_OK;
    return error_at(err, QAIO_ERR_IO, p->dir, -1, "the disk is too full: %.1f MB are still to come, %.1f MB are free",
                    (double)missing / 1e6, (double)free_bytes / 1e6);
}

static qaio_status make_parent(const char *path, qaio_error *err) {
    char *parent = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    if (!parent) return error_memory(err);
    qaio_status status = file_make_directories(parent, err);
    mem_free(parent);
    return status;
}

/* Makes sure that the file is there under its final name or as a complete part. */
static qaio_status fetch(puller *p, const listing_file *file, qaio_error *err) {
    char *final, *part;
    str url = {0};
    qaio_status status = paths_of(p, file, &final, &part, err);
    if (status != QAIO_OK) return status;
    status = fetch_check(final, file, report, p, err);
    if (status != QAIO_ERR_FORMAT) {
        if (status == QAIO_OK) unlink(part); /* of an update that was taken back */
        goto done;
    }
    site_file_url(&url, p->options->source, http_client_endpoint(p->client), p->name.repo, p->revision, file->path);
    status = url.failed ? error_memory(err) : make_parent(part, err);
    if (status == QAIO_OK) status = fetch_part(p->client, url.data, part, file, report, p, err);
done:
    str_deinit(&url);
    mem_free(final);
    mem_free(part);
    return status;
}

static qaio_status sync_directory(const char *path, qaio_error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_errno(err, path, "open", errno);
    qaio_status status = fsync(fd) == 0 ? QAIO_OK : error_errno(err, path, "sync", errno);
    close(fd);
    return status;
}

/* Gives the complete part its name, if there is one. */
static qaio_status finish(const puller *p, const listing_file *file, qaio_error *err) {
    char *final, *part;
    qaio_status status = paths_of(p, file, &final, &part, err);
    if (status != QAIO_OK) return status;
    if (rename(part, final) == 0) {
        *strrchr(part, '/') = '\0';
        status = sync_directory(part, err);
    } else if (errno != ENOENT || bytes_on_disk(final) != file->bytes) {
        status = error_errno(err, final, "rename", errno);
    }
    mem_free(final);
    mem_free(part);
    return status;
}

static qaio_status fetch_all(puller *p, qaio_error *err) {
    qaio_status status = check_space(p, err);
    for (size_t i = 0; i < p->list.n && status == QAIO_OK; i++) {
        const listing_file *file = &p->list.files[i];
        p->progress.file = file->path;
        p->progress.file_index = i;
        p->progress.file_bytes = file->bytes;
        if (!report(p, 0)) return error_set(err, QAIO_ERR_CANCELLED, "%s: stopped", file->path);
        status = fetch(p, file, err);
        if (status == QAIO_OK && !report(p, file->bytes)) status = error_set(err, QAIO_ERR_CANCELLED, "%s: stopped", file->path);
        p->bytes_before += file->bytes;
    }
    for (size_t i = 0; i < p->list.n && status == QAIO_OK; i++) status = finish(p, &p->list.files[i], err);
    return status;
}

/* Holds the folder against a second puller for as long as the descriptor is open. */
static qaio_status lock_dir(int *fd, const char *dir, const char *repo, qaio_error *err) {
    qaio_status status = file_make_directories(dir, err);
    if (status != QAIO_OK) return status;
    char *path = file_join(dir, ".lock");
    if (!path) return error_memory(err);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (*fd < 0) {
        status = error_errno(err, path, "create", errno);
    } else if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK ? error_set(err, QAIO_ERR_BUSY, "%s is being pulled by another process", repo)
                                      : error_errno(err, path, "lock", errno);
    }
    mem_free(path);
    return status;
}

qaio_status hub_pull(char **path, const char *name, const hub_options *options, qaio_error *err) {
    puller p = {.options = options, .progress = {.file = ""}};
    int lock = -1;
    qaio_status status = hub_name_parse(&p.name, name, err);
    if (status == QAIO_OK) status = hub_repo_dir(&p.dir, p.name.repo, err);
    if (status == QAIO_OK) status = open_client(&p, err);
    if (status == QAIO_OK) status = lock_dir(&lock, p.dir, p.name.repo, err);
    if (status == QAIO_OK) status = read_listing(&p, err);
    if (status == QAIO_OK) status = fetch_all(&p, err);
    if (status == QAIO_OK) {
        bool is_one_file = listing_is_gguf(p.list.files[0].path);
        char *result = is_one_file ? file_join(p.dir, p.list.files[0].path) : mem_strndup(p.dir, strlen(p.dir));
        status = result ? QAIO_OK : error_memory(err);
        if (result) *path = result;
    }
    if (lock >= 0) close(lock);
    listing_deinit(&p.list);
    http_client_free(p.client);
    mem_free(p.dir);
    return status;
}
