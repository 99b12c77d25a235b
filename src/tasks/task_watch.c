#include "tasks/task_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "tasks/task_file.h"

static uint64_t hash_file(int dir, const char *name) {
    struct stat s;
    uint64_t hash = hash_bytes(HASH_BEGIN, name, strlen(name));
    if (fstatat(dir, name, &s, 0)) return hash; /* a link to nothing */
    int64_t what[] = {(int64_t)s.st_dev,          (int64_t)s.st_ino, (int64_t)s.st_size,        s.st_mtim.tv_sec,
                      (int64_t)s.st_mtim.tv_nsec, s.st_ctim.tv_sec,  (int64_t)s.st_ctim.tv_nsec};
    return hash_bytes(hash, what, sizeof what);
}

/* The sum over its files, so that their order does not count; 0 where there is no such folder. */
static uint64_t stamp_of(const char *dir) {
    DIR *d = dir ? opendir(dir) : NULL;
    if (!d) return 0;
    uint64_t stamp = HASH_BEGIN;
    for (const struct dirent *e; (e = readdir(d));)
        if (task_file_is_named(e->d_name)) stamp += hash_file(dirfd(d), e->d_name);
    closedir(d);
    return stamp;
}

void task_watch_init(task_watch *w, const char *dir) {
    w->dir = dir;
    w->known = w->last = stamp_of(dir);
}

bool task_watch_look(task_watch *w) {
    uint64_t now = stamp_of(w->dir), before = w->last;
    w->last = now;
    if (now == w->known || now != before) return false;
    w->known = now;
    return true;
}
