/* Wherever an allocation fails, opening and writing return QAIO_ERR_MEMORY and release what they held (the sanitizer builds see leaks). */
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"

#define TINY GOLDEN "broken/base"

typedef qaio_status attempt(const char *path, qaio_error *err);

static qaio_status open_path(const char *path, qaio_error *err) {
    checkpoint *c = NULL;
    qaio_status status = checkpoint_open(&c, path, err);
    assert_int_equal(status == QAIO_OK, c != NULL);
    checkpoint_close(c);
    return status;
}

static qaio_status load_tokenizer(const char *path, qaio_error *err) {
    tokenizer *t = NULL;
    chat_template template;
    qaio_status status = checkpoint_load_tokenizer(&t, &template, path, err);
    assert_int_equal(status == QAIO_OK, t != NULL);
    if (!status) chat_template_deinit(&template);
    tokenizer_free(t);
    return status;
}

static checkpoint *to_write; /* opened while memory was plenty */

static qaio_status write_gguf(const char *path, qaio_error *err) {
    return checkpoint_write_gguf(to_write, path, DTYPE_Q8_0, NULL, NULL, err);
}

/* Fails the first allocation, then the second ... until there were enough. */
static size_t try_all(attempt *fn, const char *path) {
    for (long n = 0;; n++) {
        qaio_error err = {0};
        mem_fail_after(n);
        qaio_status status = fn(path, &err);
        mem_fail_after(-1);
        if (status == QAIO_OK) return (size_t)n;
        if (status != QAIO_ERR_MEMORY || err.status != QAIO_ERR_MEMORY)
            fail_msg("%s, allocation %ld: %s: %s", path, n, qaio_status_name(status), err.message);
    }
}

static void opening_survives_every_failed_allocation(void **state) {
    (void)state;
    assert_true(try_all(open_path, TINY) > 50);
    assert_true(try_all(open_path, TINY "/model.safetensors") > 50);
    assert_true(try_all(open_path, TINY "/base.gguf") > 20);
    assert_true(try_all(open_path, GOLDEN "models/f_qwen3_untied_sharded_f16") > 50);
    assert_true(try_all(open_path, GOLDEN "models/d_qwen2_headdim24_sharded_bf16") > 50);
}

static void loading_a_tokenizer_survives_every_failed_allocation(void **state) {
    (void)state;
    assert_true(try_all(load_tokenizer, TINY) > 10);
    assert_true(try_all(load_tokenizer, TINY "/base.gguf") > 10);
}

static void writing_survives_every_failed_allocation(void **state) {
    (void)state;
    char *dir = scratch_new();
    to_write = open_or_fail(TINY);
    assert_true(try_all(write_gguf, path_of("%s/out.gguf", dir)) > 5);
    checkpoint_close(to_write);
    scratch_remove(dir);
}

/* jansson's allocations fail too. */
static int use_our_memory(void **state) {
    (void)state;
    json_set_alloc_funcs(mem_alloc, mem_free);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_survives_every_failed_allocation),
        cmocka_unit_test(loading_a_tokenizer_survives_every_failed_allocation),
        cmocka_unit_test(writing_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, use_our_memory, NULL);
}
