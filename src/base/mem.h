/* Memory.  All heap memory of the library comes from here, so that tests can make the nth allocation fail. */
#ifndef QAIO_BASE_MEM_H
#define QAIO_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

#define MEM_ALIGNMENT 64 /* of mem_aligned: one cache line, one AVX-512 register */

void *mem_alloc(size_t bytes);                           /* uninitialised; NULL on failure; bytes == 0 gives a valid pointer */
void *mem_zalloc(size_t bytes);                          /* zeroed */
void *mem_array(size_t n, size_t item_bytes);            /* zeroed; NULL also when n * item_bytes overflows */
void *mem_realloc(void *p, size_t n, size_t item_bytes); /* NULL (p untouched) on failure or overflow */
void *mem_aligned(size_t bytes);                         /* 64-byte aligned, zeroed; free with mem_free */
char *mem_strndup(const char *s, size_t n);              /* terminated copy */
void mem_free(void *p);                                  /* takes NULL; for everything above */

/* Whole zeroed pages from the kernel, on huge pages where it gives them; for weights. */
void *mem_pages(size_t bytes);
void mem_pages_free(void *p, size_t bytes);

/* Overflow-safe size arithmetic: false (out untouched) when the result does not fit. */
bool size_add(size_t a, size_t b, size_t *out);
bool size_mul(size_t a, size_t b, size_t *out);

/* Tests only: the nth allocation from now (0 = the next) and all after it fail; negative switches it off.
 * Thread-safe, for all threads together. */
void mem_fail_after(long n);

#endif
