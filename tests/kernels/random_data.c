#include "random_data.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

uint32_t random_u32(void) {
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static float random_bits(void) {
    uint32_t bits = random_u32();
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float random_float(flavour f) {
    float ordinary = (float)(int32_t)random_u32() * 0x1p-31f;
    if (f == ORDINARY) return ordinary;
    uint32_t kind = random_u32() % 64;
    if (f == NONFINITE && kind == 0) return random_u32() % 2 ? NAN : random_u32() % 2 ? INFINITY : -INFINITY;
    if (kind < 4) return kind % 2 ? 0.0f : -0.0f;
    if (kind < 8) return ordinary * 100.0f; /* the whole range of exp */
    if (kind < 40) return ordinary;
    float any = random_bits();
    return isfinite(any) ? any : ordinary;
}

void random_floats(float *out, size_t n, flavour f) {
    for (size_t i = 0; i < n; i++) out[i] = random_float(f);
}

void *random_rows(dtype type, size_t n_rows, size_t n_cols, flavour f) {
    const dtype_info *info = dtype_get(type);
    size_t n = n_rows * n_cols, bytes = dtype_bytes(type, n);
    uint8_t *out = mem_alloc(bytes);
    if (info->block_size == 1) {
        for (size_t i = 0; i < n; i++) {
            float value = random_float(f);
            dtype_quantize(type, out + i * info->block_bytes, &value, 1);
        }
        return out;
    }
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)random_u32();
    for (size_t block = 0; block < n / info->block_size; block++) {
        uint16_t scale = f32_to_f16(f == ORDINARY ? random_float(ORDINARY) * 0.01f : random_float(f));
        memcpy(out + block * info->block_bytes, &scale, sizeof scale);
    }
    return out;
}

packed_matrix random_matrix(dtype type, size_t n_rows, size_t n_cols, flavour f) {
    packed_matrix m;
    size_t bytes;
    if (!packed_init(&m, type, n_rows, n_cols, &bytes)) return (packed_matrix){0};
    dtype source_type = n_cols % dtype_get(type)->block_size ? DTYPE_F32 : type;
    void *source = random_rows(source_type, n_rows, n_cols, f);
    float *scratch = mem_array(m.n_cols_padded, sizeof *scratch);
    m.data = mem_aligned(bytes);
    for (size_t group = 0; group < m.n_groups; group++) packed_fill_group(&m, group, source, source_type, scratch);
    mem_free(scratch);
    mem_free(source);
    return m;
}
