/* Prefix files: any bytes are refused, but for the file of this very prefix.  The first byte says whether the checksum is made right. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/str.h"
#include "engine/prefix_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    N_IDS = 17,
    N_BLOCKS = 2,
    BLOCK_BYTES = 64,
    TOKENS_AT = 64,
    BLOCKS_AT = TOKENS_AT + 128,
    FILE_BYTES = BLOCKS_AT + N_BLOCKS * BLOCK_BYTES
};

static void check_taken(const uint8_t *file, size_t size, const int32_t *ids, uint8_t blocks[N_BLOCKS][BLOCK_BYTES]) {
    if (size != FILE_BYTES || memcmp(file, "qaioprfx", 8) != 0 || memcmp(file + TOKENS_AT, ids, N_IDS * sizeof *ids) != 0) abort();
    if (memcmp(file + BLOCKS_AT, blocks, N_BLOCKS * BLOCK_BYTES) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t file[4096], blocks[N_BLOCKS][BLOCK_BYTES];
    if (size == 0 || size > sizeof file) return 0;
    bool is_repaired = data[0] & 1;
    memcpy(file, ++data, --size);
    if (is_repaired && size >= PREFIX_FILE_UNIT && size % PREFIX_FILE_UNIT == 0) {
        uint64_t sum = prefix_file_checksum(file, size);
        memcpy(file + PREFIX_FILE_CHECKSUM_AT, &sum, sizeof sum);
    }
    int32_t ids[N_IDS];
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = i;
    prefix_desc d = {.key = 7, .ids = ids, .n_ids = N_IDS, .n_blocks = N_BLOCKS, .block_bytes = BLOCK_BYTES};
    void *out[N_BLOCKS] = {blocks[0], blocks[1]};
    qaio_error err = {0};
    char path[64];
    int fd = memfd_create("prefix", MFD_CLOEXEC);
    if (fd < 0 || write(fd, file, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (prefix_file_read(&d, path, out, &err) == QAIO_OK)
        check_taken(file, size, ids, blocks);
    else if (!err.message[0] || !utf8_is_valid(err.message, strlen(err.message)))
        abort();
    close(fd);
    return 0;
}
