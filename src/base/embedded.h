/* Files inside the program: what cmake/Embed.cmake makes. */
#ifndef QAIO_BASE_EMBEDDED_H
#define QAIO_BASE_EMBEDDED_H

#include <stddef.h>
#include <stdint.h>

/* The assembler lays this out as three 64-bit words. */
typedef struct embedded_file {
    const char *name;
    const uint8_t *data; /* 64-byte aligned, a NUL behind it */
    size_t bytes;
} embedded_file;

_Static_assert(sizeof(embedded_file) == 24, "cmake/Embed.cmake writes three words of 64 bits");

#endif
