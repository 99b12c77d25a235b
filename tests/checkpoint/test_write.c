/* Writing GGUF: what is read back is the model that was written; a write that fails leaves the old file. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/roles.h"
#include "support.h"

static const char *const models[] = {
    GOLDEN "models/a_qwen2_mha_tied_f32", GOLDEN "models/b_qwen2_gqa_untied_bf16",
    GOLDEN "models/c_qwen2_odd_f16",      GOLDEN "models/d_qwen2_headdim24_sharded_bf16",
    GOLDEN "models/e_qwen3_tied_bf16",    GOLDEN "models/f_qwen3_untied_sharded_f16",
    GOLDEN "gguf/qwen2_a.Q5_1.gguf",      GOLDEN "gguf/qwen3_b.K_MIX.gguf",
};
static const dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0};

static void write_or_fail(const checkpoint *c, const char *path, dtype type) {
    qaio_error err = {0};
    if (checkpoint_write_gguf(c, path, type, NULL, NULL, &err)) fail_msg("%s: %s", path, err.message);
}

/* The values are those of the source, rounded once by the type's own rule. */
static void check_tensor(const tensor *from, const tensor *to, bool is_vector, dtype type) {
    assert_int_equal(from->n_rows, to->n_rows);
    assert_int_equal(from->n_cols, to->n_cols);
    dtype expected = is_vector ? DTYPE_F32 : from->n_cols % dtype_get(type)->block_size ? DTYPE_F16 : type;
    assert_int_equal(to->type, expected);
    if (from->type == expected) {
        assert_memory_equal(from->data, to->data, from->bytes);
        return;
    }
    float *values = values_of(from);
    uint8_t *rounded = mem_alloc(to->bytes);
    assert_true(dtype_quantize(expected, rounded, values, from->n_rows * from->n_cols));
    assert_memory_equal(rounded, to->data, to->bytes);
    mem_free(values);
    mem_free(rounded);
}

static void check_tensors(const checkpoint *from, const checkpoint *to, dtype type) {
    for (tensor_role role = 0; role < TENSOR_ROLES; role++)
        for (size_t layer = 0; layer < (role < TENSOR_LAYER_ROLES ? checkpoint_desc(from)->n_layers : 1); layer++) {
            const tensor *t = checkpoint_tensor(from, role, layer), *u = checkpoint_tensor(to, role, layer);
            assert_int_equal(t == NULL, u == NULL);
            if (t) check_tensor(t, u, role_is_vector(role), type);
        }
}

static void every_model_in_every_type_reads_back_the_same(void **state) {
    (void)state;
    char *dir = scratch_new();
    for (size_t i = 0; i < N_ITEMS(models); i++) {
        checkpoint *from = open_or_fail(models[i]);
        for (size_t k = 0; k < N_ITEMS(types); k++) {
            const char *path = path_of("%s/out.gguf", dir);
            write_or_fail(from, path, types[k]);
            checkpoint *to = open_or_fail(path);
            assert_same_model(from, to);
            check_tensors(from, to, types[k]);
            checkpoint_close(to);
        }
        checkpoint_close(from);
    }
    scratch_remove(dir);
}

/* Written twice is written once: nothing is lost or added on the way. */
static void writing_a_written_file_changes_no_byte(void **state) {
    (void)state;
    char *dir = scratch_new();
    checkpoint *from = open_or_fail(models[1]);
    write_or_fail(from, path_of("%s/one.gguf", dir), DTYPE_Q8_0);
    checkpoint *one = open_or_fail(path_of("%s/one.gguf", dir));
    write_or_fail(one, path_of("%s/two.gguf", dir), DTYPE_Q8_0);
    size_t n, m;
    uint8_t *x = read_bytes(path_of("%s/one.gguf", dir), &n), *y = read_bytes(path_of("%s/two.gguf", dir), &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    mem_free(x);
    mem_free(y);
    checkpoint_close(one);
    checkpoint_close(from);
    scratch_remove(dir);
}

/* ---- failures ---- */

typedef struct calls {
    size_t n, last, total, stop_after;
} calls;

static bool count_calls(void *ctx, size_t done_bytes, size_t total_bytes) {
    calls *c = ctx;
    assert_true(done_bytes > c->last && done_bytes <= total_bytes);
    c->last = done_bytes;
    c->total = total_bytes;
    return ++c->n != c->stop_after;
}

static size_t count_files(const char *dir) {
    size_t n = 0;
    FILE *list = popen(path_of("ls -A %s", dir), "r");
    for (int c; (c = fgetc(list)) != EOF;) n += c == '\n';
    pclose(list);
    return n;
}

/* The old file as it was, nothing beside it. */
static void assert_untouched(const char *dir, const char *path) {
    size_t n;
    uint8_t *data = read_bytes(path, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(data, "old", 3);
    mem_free(data);
    assert_int_equal(count_files(dir), 1);
}

static void progress_counts_to_the_end_and_can_cancel(void **state) {
    (void)state;
    char *dir = scratch_new();
    const char *path = path_of("%s/out.gguf", dir);
    write_bytes(path, "old", 3);
    checkpoint *c = open_or_fail(models[0]);
    calls stopped = {.stop_after = 3}, all = {0};
    qaio_error err = {0};
    assert_int_equal(checkpoint_write_gguf(c, path, DTYPE_F16, count_calls, &stopped, &err), QAIO_ERR_CANCELLED);
    assert_int_equal(stopped.n, 3);
    assert_untouched(dir, path);
    assert_int_equal(checkpoint_write_gguf(c, path, DTYPE_F16, count_calls, &all, &err), QAIO_OK);
    assert_int_equal(all.last, all.total);
    checkpoint_close(c);
    scratch_remove(dir);
}

/* RLIMIT_FSIZE fails a write at a given length, as a full disk does. */
static void a_full_disk_keeps_the_old_file(void **state) {
    (void)state;
    char *dir = scratch_new();
    const char *path = path_of("%s/out.gguf", dir);
    write_bytes(path, "old", 3);
    checkpoint *c = open_or_fail(models[0]);
    struct rlimit was;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN);
    static const rlim_t lengths[] = {0, 1, 4096, 100000, 200000};
    for (size_t i = 0; i < N_ITEMS(lengths); i++) {
        const struct rlimit limit = {lengths[i], was.rlim_max};
        qaio_error err = {0};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        qaio_status status = checkpoint_write_gguf(c, path, DTYPE_F32, NULL, NULL, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
        assert_clear_error(&err, status);
        assert_int_equal(status, QAIO_ERR_IO);
        assert_string_equal(err.path, path);
        assert_untouched(dir, path);
    }
    checkpoint_close(c);
    scratch_remove(dir);
}

static void unwritable_places_and_types_are_refused(void **state) {
    (void)state;
    checkpoint *c = open_or_fail(models[0]);
    qaio_error err = {0};
    assert_int_equal(checkpoint_write_gguf(c, "/no/such/dir/out.gguf", DTYPE_F16, NULL, NULL, &err), QAIO_ERR_IO);
    assert_clear_error(&err, QAIO_ERR_IO);
    assert_int_equal(checkpoint_write_gguf(c, "/tmp/never.gguf", DTYPE_Q4_K, NULL, NULL, &err), QAIO_ERR_ARGUMENT);
    assert_int_not_equal(access("/tmp/never.gguf", F_OK), 0);
    checkpoint_close(c);
}

/* One NaN would poison a whole block of 32 weights. */
static void weights_that_are_not_finite_are_not_quantised(void **state) {
    (void)state;
    static const char *const cases[] = {"weight_nan", "weight_inf"};
    for (size_t i = 0; i < N_ITEMS(cases); i++) {
        char *dir = scratch_new();
        copy_dir(GOLDEN "broken/base", dir);
        copy_file(path_of(GOLDEN "broken/safetensors/%s/model.safetensors", cases[i]), path_of("%s/model.safetensors", dir));
        checkpoint *c = open_or_fail(dir);
        qaio_error err = {0};
        assert_int_equal(checkpoint_write_gguf(c, path_of("%s/out.gguf", dir), DTYPE_F32, NULL, NULL, &err), QAIO_ERR_FORMAT);
        assert_non_null(strstr(err.message, "not finite"));
        checkpoint_close(c);
        scratch_remove(dir);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_in_every_type_reads_back_the_same), cmocka_unit_test(writing_a_written_file_changes_no_byte),
        cmocka_unit_test(progress_counts_to_the_end_and_can_cancel),     cmocka_unit_test(a_full_disk_keeps_the_old_file),
        cmocka_unit_test(unwritable_places_and_types_are_refused),       cmocka_unit_test(weights_that_are_not_finite_are_not_quantised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
