#include "cli/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

uint64_t memory_resident_bytes(void) {
    uint64_t size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%" SCNu64 " %" SCNu64, &size, &resident) != 2) resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t read_number(const char *path) {
    uint64_t value = 0;
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    if (fscanf(f, "%" SCNu64, &value) != 1) value = 0; /* "max" */
    fclose(f);
    return value;
}

static uint64_t meminfo(const char *key) {
    char line[128];
    uint64_t kilobytes = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), ": %" SCNu64, &kilobytes) == 1) break;
    if (f) fclose(f);
    return kilobytes * 1024;
}

uint64_t memory_available_bytes(void) {
    uint64_t available = meminfo("MemAvailable"), limit = read_number("/sys/fs/cgroup/memory.max"),
             used = read_number("/sys/fs/cgroup/memory.current");
    if (limit && used < limit && limit - used < available) available = limit - used;
    return available;
}
