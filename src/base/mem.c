/* Memory, with a switch that makes the nth allocation fail. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_long fail_countdown = -1; /* tests only */

void mem_fail_after(long n) { atomic_store_explicit(&fail_countdown, n, memory_order_relaxed); }

static bool fails_now(void) {
    long left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    while (left > 0 && !atomic_compare_exchange_weak_explicit(&fail_countdown, &left, left - 1, memory_order_relaxed, memory_order_relaxed))
        continue;
    return left == 0;
}

bool size_add(size_t a, size_t b, size_t *out) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

bool size_mul(size_t a, size_t b, size_t *out) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

void *mem_alloc(size_t bytes) { return fails_now() ? NULL : malloc(bytes ? bytes : 1); }

void *mem_zalloc(size_t bytes) { return fails_now() ? NULL : calloc(1, bytes ? bytes : 1); }

void *mem_array(size_t n, size_t item_bytes) {
    size_t bytes;
    return size_mul(n, item_bytes, &bytes) ? mem_zalloc(bytes) : NULL;
}

void *mem_realloc(void *p, size_t n, size_t item_bytes) {
    size_t bytes;
    if (!size_mul(n, item_bytes, &bytes) || fails_now()) return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void *mem_aligned(size_t bytes) {
    size_t rounded;
    if (fails_now() || !size_add(bytes ? bytes : 1, MEM_ALIGNMENT - 1, &rounded)) return NULL;
    rounded &= ~(size_t)(MEM_ALIGNMENT - 1);
    void *p = aligned_alloc(MEM_ALIGNMENT, rounded);
    if (p) memset(p, 0, rounded);
    return p;
}

char *mem_strndup(const char *s, size_t n) {
    if (n == SIZE_MAX) return NULL;
    char *copy = mem_alloc(n + 1);
    if (!copy) return NULL;
    if (n) memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void *mem_pages(size_t bytes) {
    if (fails_now()) return NULL;
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    madvise(p, bytes, MADV_HUGEPAGE); /* a hint: without it the pages are small and the result the same */
    return p;
}

void mem_pages_free(void *p, size_t bytes) {
    if (p) munmap(p, bytes ? bytes : 1);
}

void mem_free(void *p) { free(p); }
