/* Names of models, and the names of the cache's folders. */
#include "hub/name.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

static const hub_known KNOWN[] = {
    {"qwen1.5-0.5b-chat", "Qwen/Qwen1.5-0.5B-Chat", NULL, 1251000000},
    {"qwen1.5-0.5b-chat-gguf-q8_0", "Qwen/Qwen1.5-0.5B-Chat-GGUF", "qwen1_5-0_5b-chat-q8_0.gguf", 665000000},
    {"qwen1.5-0.5b-chat-gguf-q4_0", "Qwen/Qwen1.5-0.5B-Chat-GGUF", "qwen1_5-0_5b-chat-q4_0.gguf", 395000000},
    {"qwen2.5-0.5b-instruct", "Qwen/Qwen2.5-0.5B-Instruct", NULL, 1000000000},
    {"qwen2.5-0.5b-instruct-gguf-q8_0", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q8_0.gguf", 676000000},
    {"qwen2.5-0.5b-instruct-gguf-q4_0", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q4_0.gguf", 429000000},
    {"qwen3-0.6b", "Qwen/Qwen3-0.6B", NULL, 1519000000},
    {"qwen3-0.6b-gguf-q8_0", "Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf", 639000000},
};
#define N_KNOWN (sizeof KNOWN / sizeof KNOWN[0])

const hub_known *hub_known_models(size_t *n) {
    *n = N_KNOWN;
    return KNOWN;
}

/* One half of a repository id: letters, digits, '-', '_', '.'; neither end '-' or '.'; no "--", no "..". */
static bool id_part_is_valid(const char *s, size_t n) {
    if (n == 0) return false;
    for (size_t i = 0; i < n; i++) {
        bool is_mark = s[i] == '-' || s[i] == '.';
        if (!is_mark && !isalnum((unsigned char)s[i]) && s[i] != '_') return false;
        if (is_mark && (i == 0 || i == n - 1 || s[i - 1] == s[i])) return false;
    }
    return true;
}

static bool repo_is_valid(const char *repo, size_t n) {
    const char *slash = memchr(repo, '/', n);
    if (n > HUB_REPO_MAX || slash == NULL) return false;
    size_t owner_bytes = (size_t)(slash - repo);
    return id_part_is_valid(repo, owner_bytes) && id_part_is_valid(slash + 1, n - owner_bytes - 1);
}

static bool ends_with(const char *s, size_t n, const char *suffix) {
    size_t k = strlen(suffix);
    return n >= k && memcmp(s + n - k, suffix, k) == 0;
}

bool hub_path_is_safe(const char *path) {
    size_t n = strlen(path);
    if (n == 0 || n > HUB_FILE_MAX || !utf8_is_valid(path, n)) return false;
    for (const char *part = path;; part++) {
        size_t part_bytes = strcspn(part, "/");
        if (part_bytes == 0 || part_bytes > 255 - strlen(".part")) return false;
        if (strncmp(part, ".", part_bytes) == 0 || strncmp(part, "..", part_bytes) == 0) return false;
        if (ends_with(part, part_bytes, ".part")) return false;
        for (size_t i = 0; i < part_bytes; i++) {
            unsigned char c = (unsigned char)part[i];
            bool is_c1 = c == 0xc2 && (unsigned char)part[i + 1] < 0xa0; /* U+0080..U+009F: controls too */
            if (c < 0x20 || c == 0x7f || c == '\\' || is_c1) return false;
        }
        part += part_bytes;
        if (*part == '\0') return true;
    }
}

#define NEAR_MAX 64 /* longer names are compared by their first bytes */

/* A part of it, or a few letters off. */
static bool names_are_near(const char *a, const char *b) {
    size_t n = strnlen(a, NEAR_MAX), m = strnlen(b, NEAR_MAX);
    if (n < 3 || m < 3) return false;
    if (strcasestr(a, b) || strcasestr(b, a)) return true;
    /* Levenshtein distance, one row at a time. */
    size_t row[NEAR_MAX + 1];
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j];
            size_t best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[m] <= (n < m ? n : m) / 4;
}

static qaio_status unknown_name(const char *name, qaio_error *err) {
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (!names_are_near(KNOWN[i].name, name)) continue;
        return error_set(err, QAIO_ERR_NOT_FOUND, "\"%.*s\" is no file and no known name; did you mean %s?", HUB_REPO_MAX, name,
                         KNOWN[i].name);
    }
    return error_set(err, QAIO_ERR_NOT_FOUND, "\"%.*s\" is no file, no known name and no repository (owner/name or owner/name:file.gguf)",
                     HUB_REPO_MAX, name);
}

qaio_status hub_name_parse(hub_name *out, const char *name, qaio_error *err) {
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (strcasecmp(name, KNOWN[i].name) != 0) continue;
        snprintf(out->repo, sizeof out->repo, "%s", KNOWN[i].repo);
        snprintf(out->file, sizeof out->file, "%s", KNOWN[i].file ? KNOWN[i].file : "");
        return QAIO_OK;
    }
    size_t repo_bytes = strcspn(name, ":");
    if (!repo_is_valid(name, repo_bytes)) return unknown_name(name, err);
    const char *file = name[repo_bytes] == ':' ? name + repo_bytes + 1 : NULL;
    if (file && (!hub_path_is_safe(file) || !ends_with(file, strlen(file), ".gguf"))) {
        return error_set(err, QAIO_ERR_ARGUMENT, "\"%.*s\" does not name a GGUF file (owner/name:file.gguf)", HUB_REPO_MAX, file);
    }
    snprintf(out->repo, sizeof out->repo, "%.*s", (int)repo_bytes, name);
    snprintf(out->file, sizeof out->file, "%s", file ? file : "");
    return QAIO_OK;
}

char *hub_name_display(const hub_name *name) {
    str text = {0};
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (strcmp(name->repo, KNOWN[i].repo) == 0 && strcmp(name->file, KNOWN[i].file ? KNOWN[i].file : "") == 0) {
            return mem_strndup(KNOWN[i].name, strlen(KNOWN[i].name));
        }
    }
    str_puts(&text, name->repo);
    if (name->file[0]) str_printf(&text, ":%s", name->file);
    if (text.failed) str_deinit(&text);
    return text.data;
}

/* An environment variable that is set to something. */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

char *hub_cache_dir(void) {
    const char *dir = variable("QAIO_HOME");
    if (dir) return mem_strndup(dir, strlen(dir));
    dir = variable("XDG_CACHE_HOME");
    if (dir && dir[0] == '/') return file_join(dir, "qaio"); /* the XDG rules say to ignore a relative one */
    dir = variable("HOME");
    return dir ? file_join(dir, ".cache/qaio") : NULL;
}

qaio_status hub_models_dir(char **out, qaio_error *err) {
    if (!variable("QAIO_HOME") && !variable("XDG_CACHE_HOME") && !variable("HOME")) {
        return error_set(err, QAIO_ERR_NOT_FOUND, "no cache directory is known: set QAIO_HOME or HOME");
    }
    char *cache = hub_cache_dir();
    char *models = cache ? file_join(cache, "models") : NULL;
    mem_free(cache);
    if (!models) return error_memory(err);
    *out = models;
    return QAIO_OK;
}

qaio_status hub_repo_dir(char **out, const char *repo, qaio_error *err) {
    char *models = NULL;
    qaio_status status = hub_models_dir(&models, err);
    if (status != QAIO_OK) return status;
    char folder[HUB_REPO_MAX + 2];
    int owner_bytes = (int)strcspn(repo, "/");
    snprintf(folder, sizeof folder, "%.*s--%s", owner_bytes, repo, repo + owner_bytes + 1);
    char *dir = file_join(models, folder);
    mem_free(models);
    if (!dir) return error_memory(err);
    *out = dir;
    return QAIO_OK;
}

bool hub_repo_from_folder(char repo[HUB_REPO_MAX + 1], const char *folder) {
    const char *dashes = strstr(folder, "--");
    if (!dashes || strlen(folder) - 1 > HUB_REPO_MAX) return false;
    snprintf(repo, HUB_REPO_MAX + 1, "%.*s/%s", (int)(dashes - folder), folder, dashes + 2);
    return repo_is_valid(repo, strlen(repo));
}
