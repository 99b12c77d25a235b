/* Every malformed checkpoint of the golden set ends as its manifest says, and without a large allocation. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "support.h"

#define BROKEN GOLDEN "broken/"

static void place_files(const char *dir, const json_t *files) {
    const char *name;
    json_t *source;
    json_object_foreach((json_t *)(uintptr_t)files, name, source) {
        unlink(path_of("%s/%s", dir, name));
        if (json_is_string(source)) copy_file(path_of(BROKEN "%s", json_string_value(source)), path_of("%s/%s", dir, name));
    }
}

/* The order of the manifest's verdicts: a refusal is a clear error that names the file. */
static void check_verdict(const char *name, const char *verdict, const char *path, const char *dir) {
    checkpoint *c = NULL;
    qaio_error err = {0};
    qaio_status status = checkpoint_open(&c, path, &err);
    if (status == QAIO_OK && strcmp(verdict, "must_refuse") == 0) fail_msg("%s was opened", name);
    if (status != QAIO_OK && strcmp(verdict, "must_load") == 0) fail_msg("%s was refused: %s", name, err.message);
    if (status != QAIO_OK) {
        assert_null(c);
        assert_clear_error(&err, status);
        if (strncmp(err.path, dir, strlen(dir)) != 0) fail_msg("%s: the error names \"%s\"", name, err.path);
        print_message("%-36s %s: %s (%lld)\n", name, err.path + strlen(dir), err.message, (long long)err.offset);
    } else {
        assert_non_null(checkpoint_tensor(c, TENSOR_EMBED, 0));
    }
    checkpoint_close(c);
}

static void broken_files_end_as_the_manifest_says(void **state) {
    (void)state;
    json_t *manifest = json_load_file(BROKEN "manifest.json", 0, NULL);
    assert_non_null(manifest);
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(manifest, "cases"), i, entry) {
        const char *name = json_string_value(json_object_get(entry, "case"));
        const json_t *files = json_object_get(entry, "files");
        char *dir = scratch_new();
        copy_dir(BROKEN "base", dir);
        place_files(dir, files);
        const char *path = json_object_get(files, "base.gguf") ? path_of("%s/base.gguf", dir) : dir;
        check_verdict(name, json_string_value(json_object_get(entry, "verdict")), path, dir);
        scratch_remove(dir);
    }
    assert_true(i > 60);
    json_decref(manifest);
}

/* Every prefix of a valid file is refused: nothing is read behind the end. */
static void a_cut_gguf_file_is_refused_at_every_length(void **state) {
    (void)state;
    size_t n;
    uint8_t *whole = read_bytes(BROKEN "base/base.gguf", &n);
    for (size_t length = 0; length < n; length += length < 4096 || length + 64 > n ? 1 : 61) {
        uint8_t *cut = mem_alloc(length); /* of its own size, so that a sanitizer sees a read behind it */
        memcpy(cut, whole, length);
        checkpoint *c = NULL;
        qaio_error err = {0};
        qaio_status status = checkpoint_open_memory(&c, cut, length, "cut.gguf", &err);
        assert_clear_error(&err, status);
        mem_free(cut);
    }
    mem_free(whole);
}

static void a_cut_safetensors_file_is_refused(void **state) {
    (void)state;
    char *dir = scratch_new();
    copy_dir(BROKEN "base", dir);
    size_t n;
    uint8_t *whole = read_bytes(BROKEN "base/model.safetensors", &n);
    for (size_t length = 0; length < n; length += length < 32 || length + 4 > n ? 1 : 173) {
        write_bytes(path_of("%s/model.safetensors", dir), whole, length);
        checkpoint *c = NULL;
        qaio_error err = {0};
        qaio_status status = checkpoint_open(&c, dir, &err);
        assert_clear_error(&err, status);
    }
    mem_free(whole);
    scratch_remove(dir);
}

/* Flipping any byte of the head of a file never does worse than an error. */
static void a_changed_byte_never_crashes(void **state) {
    (void)state;
    size_t n;
    uint8_t *image = read_bytes(BROKEN "base/base.gguf", &n);
    static const uint8_t values[] = {0x00, 0x01, 0x7F, 0x80, 0xFF};
    for (size_t at = 0; at < n && at < 12000; at += at < 1500 ? 1 : 7) {
        uint8_t was = image[at];
        for (size_t i = 0; i < N_ITEMS(values); i++) {
            image[at] = values[i];
            checkpoint *c = NULL;
            qaio_error err = {0};
            qaio_status status = checkpoint_open_memory(&c, image, n, "changed.gguf", &err);
            if (status) assert_clear_error(&err, status);
            checkpoint_close(c);
        }
        image[at] = was;
    }
    mem_free(image);
}

#ifdef __has_feature /* clang */
#define IS_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* gcc */
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

/* 256 MiB of address space are enough for all of this: a size from a file never becomes an allocation.  Sanitizers need more than that,
 * and refuse huge allocations themselves. */
static int limit_memory(void **state) {
    (void)state;
    const struct rlimit limit = {256 << 20, 256 << 20};
    return IS_SANITIZED ? 0 : setrlimit(RLIMIT_AS, &limit);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_end_as_the_manifest_says),
        cmocka_unit_test(a_cut_gguf_file_is_refused_at_every_length),
        cmocka_unit_test(a_cut_safetensors_file_is_refused),
        cmocka_unit_test(a_changed_byte_never_crashes),
    };
    return cmocka_run_group_tests(tests, limit_memory, NULL);
}
