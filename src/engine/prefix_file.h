/* One prefix's KV in a file.  Little or big endian as the machine that wrote it, said in the header; a file is for this machine's cache.
 *
 *   0   magic "qaioprfx"
 *   8   u32 version, u32 byte order mark
 *   16  u64 key            what the KV was computed from and how, see prefix_store.h
 *   24  u64 n_tokens, u64 n_blocks, u64 block_bytes
 *   48  u64 checksum       of the whole file, itself as 0
 *   56  u64 0
 *   64  i32 tokens[n_tokens], zeros up to a multiple of 64 bytes
 *       u8  blocks[n_blocks][block_bytes]; positions past the last token are zeros
 *
 * A reader knows what it wants: the header, the tokens and the file's size must be equal to that, so nothing in a file is ever taken as a
 * size or an offset. */
#ifndef QAIO_ENGINE_PREFIX_FILE_H
#define QAIO_ENGINE_PREFIX_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PREFIX_FILE_VERSION    1
#define PREFIX_FILE_UNIT       64 /* block_bytes is a multiple */
#define PREFIX_FILE_MAX_TOKENS ((size_t)1 << 20)

typedef struct prefix_desc {
    uint64_t key;
    const int32_t *ids; /* borrowed */
    size_t n_ids;       /* 1 .. PREFIX_FILE_MAX_TOKENS */
    size_t n_blocks, block_bytes;
} prefix_desc;

/* The size of its file; false when there can be no such file. */
bool prefix_file_bytes(const prefix_desc *d, size_t *bytes);

/* Written beside its place, synced and renamed.  blocks[n_blocks, block_bytes]. */
qaio_status prefix_file_write(const prefix_desc *d, const char *path, const uint8_t *blocks, qaio_error *err);
/* Fills blocks[n_blocks] from a file that is whole and is of this prefix.  Otherwise the blocks may hold anything: QAIO_ERR_NOT_FOUND,
 * QAIO_ERR_FORMAT, QAIO_ERR_IO, QAIO_ERR_MEMORY. */
qaio_status prefix_file_read(const prefix_desc *d, const char *path, void *const *blocks, qaio_error *err);

#define PREFIX_FILE_CHECKSUM_AT 48
/* The checksum of a file's bytes, a multiple of PREFIX_FILE_UNIT, at least one unit. */
uint64_t prefix_file_checksum(const uint8_t *file, size_t bytes);

#endif
