/* Opening: every golden model has the shapes and values an independent reader found, and the description its files state. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/gguf.h"
#include "checkpoint/gguf_write.h"
#include "checkpoint/roles.h"
#include "support.h"

#define TINY GOLDEN "broken/base"

/* ---- shapes and values ---- */

static void check_values(const tensor *t, const json_t *expected) {
    float *values = values_of(t);
    size_t n = t->n_rows * t->n_cols;
    double sum = 0, size = 1;
    for (size_t i = 0; i < n; i++) {
        sum += (double)values[i] * (double)(i % 97 + 1);
        size += fabs((double)values[i]) * (double)(i % 97 + 1);
    }
    assert_true(fabs((double)values[0] - json_real_value(json_object_get(expected, "first"))) <= 1e-6 * fabs((double)values[0]));
    assert_true(fabs((double)values[n - 1] - json_real_value(json_object_get(expected, "last"))) <= 1e-6 * fabs((double)values[n - 1]));
    assert_true(fabs(sum - json_real_value(json_object_get(expected, "checksum"))) <= 1e-6 * size);
    mem_free(values);
}

static void check_tensor(const checkpoint *c, tensor_naming naming, tensor_role role, size_t layer, const json_t *expected) {
    char name[TENSOR_NAME_BYTES];
    role_name(name, naming, role, layer);
    const json_t *entry = json_object_get(expected, name);
    const tensor *t = checkpoint_tensor(c, role, layer);
    if (!t) {
        assert_null(entry);
        return;
    }
    if (!entry) fail_msg("%s is in no file", name);
    const json_t *shape = json_object_get(entry, "shape");
    assert_int_equal(t->n_rows, json_integer_value(json_array_get(shape, 0)));
    assert_int_equal(t->n_cols, json_array_size(shape) == 2 ? json_integer_value(json_array_get(shape, 1)) : 1);
    assert_string_equal(dtype_get(t->type)->name, json_string_value(json_object_get(entry, "type")));
    assert_int_equal(t->bytes, dtype_bytes(t->type, t->n_rows * t->n_cols));
    check_values(t, entry);
}

static void golden_models_have_the_shapes_and_values_of_an_independent_reader(void **state) {
    (void)state;
    json_t *all = json_load_file(GOLDEN "checkpoint_values.json", 0, NULL);
    const char *name;
    json_t *expected;
    json_object_foreach(all, name, expected) {
        checkpoint *c = open_or_fail(path_of(GOLDEN "%s", name));
        const model_desc *d = checkpoint_desc(c);
        tensor_naming naming = strncmp(name, "gguf/", 5) == 0 ? NAMES_GGUF : NAMES_HF;
        for (tensor_role role = 0; role < TENSOR_ROLES; role++) {
            if (role == TENSOR_HEAD && d->is_tied) continue;
            for (size_t layer = 0; layer < (role < TENSOR_LAYER_ROLES ? d->n_layers : 1); layer++)
                check_tensor(c, naming, role, layer, expected);
        }
        checkpoint_close(c);
    }
    assert_true(json_object_size(all) >= 15);
    json_decref(all);
}

/* ---- descriptions ---- */

static void a_directory_is_described_by_its_files(void **state) {
    (void)state;
    checkpoint *c = open_or_fail(GOLDEN "models/b_qwen2_gqa_untied_bf16");
    const model_desc *d = checkpoint_desc(c);
    assert_int_equal(d->arch, ARCH_QWEN2);
    assert_string_equal(d->name, "b_qwen2_gqa_untied_bf16");
    assert_int_equal(d->hidden_size, 64);
    assert_int_equal(d->n_layers, 2);
    assert_int_equal(d->n_heads, 4);
    assert_int_equal(d->n_kv_heads, 2);
    assert_int_equal(d->head_dim, 16);
    assert_int_equal(d->intermediate_size, 80);
    assert_int_equal(d->vocab_size, 352);
    assert_int_equal(d->context_length, 2048);
    assert_true(d->rope_theta == 1e6f);
    assert_true(d->rms_norm_eps == 1e-6f);
    assert_false(d->is_tied);
    assert_int_equal(d->n_stop_tokens, 2);
    assert_int_equal(d->stop_tokens[0], 342);
    assert_int_equal(d->stop_tokens[1], 340);
    assert_int_equal(d->bos_token, 340);
    assert_int_equal(d->pad_token, 340);
    assert_true(d->temperature == 0.7f && d->top_p == 0.8f && d->repetition_penalty == 1.1f);
    assert_int_equal(d->top_k, 20);
    assert_int_equal(d->do_sample, 1);
    assert_string_equal(checkpoint_format(c), "safetensors");
    assert_int_equal(checkpoint_type(c), DTYPE_BF16);
    checkpoint_close(c);
}

static void a_gguf_file_is_described_by_its_keys(void **state) {
    (void)state;
    checkpoint *c = open_or_fail(GOLDEN "gguf/qwen3_b.K_MIX.gguf");
    const model_desc *d = checkpoint_desc(c);
    assert_int_equal(d->arch, ARCH_QWEN3);
    assert_string_equal(d->name, "golden tiny qwen3");
    assert_int_equal(d->hidden_size, 256);
    assert_int_equal(d->n_layers, 1);
    assert_int_equal(d->head_dim, 64);
    assert_int_equal(d->context_length, 2048);
    assert_int_equal(d->temperature < 0 && d->top_p < 0 && d->top_k < 0 && d->do_sample < 0, 1);
    assert_string_equal(checkpoint_format(c), "gguf v3");
    size_t n = 0;
    const char *text = checkpoint_template_text(c, &n);
    assert_non_null(text);
    assert_int_equal(strlen(text), n);
    checkpoint_close(c);
}

static void shards_make_one_model(void **state) {
    (void)state;
    checkpoint *c = open_or_fail(GOLDEN "models/d_qwen2_headdim24_sharded_bf16");
    assert_string_equal(checkpoint_format(c), "safetensors (6 shards)");
    assert_int_equal(checkpoint_desc(c)->head_dim, 24);
    size_t bytes = 0;
    for (tensor_role role = 0; role < TENSOR_ROLES; role++)
        for (size_t layer = 0; layer < (role < TENSOR_LAYER_ROLES ? checkpoint_desc(c)->n_layers : 1); layer++) {
            const tensor *t = checkpoint_tensor(c, role, layer);
            if (t && !(role == TENSOR_HEAD && checkpoint_desc(c)->is_tied)) bytes += t->bytes;
        }
    assert_int_equal(checkpoint_bytes(c), bytes);
    checkpoint_close(c);
}

static void a_tied_head_is_the_embedding(void **state) {
    (void)state;
    checkpoint *c = open_or_fail(GOLDEN "models/e_qwen3_tied_bf16");
    assert_true(checkpoint_desc(c)->is_tied);
    assert_ptr_equal(checkpoint_tensor(c, TENSOR_HEAD, 0)->data, checkpoint_tensor(c, TENSOR_EMBED, 0)->data);
    assert_null(checkpoint_tensor(c, TENSOR_Q_BIAS, 0));
    assert_non_null(checkpoint_tensor(c, TENSOR_Q_NORM, 0));
    checkpoint_close(c);
}

/* ---- ways to name a model ---- */

static void a_file_a_directory_and_an_image_give_the_same_model(void **state) {
    (void)state;
    char *dir = scratch_new();
    copy_file(GOLDEN "gguf/qwen2_a.Q8_0.gguf", path_of("%s/only.GGUF", dir));
    checkpoint *by_dir = open_or_fail(dir), *by_file = open_or_fail(path_of("%s/only.GGUF", dir)), *by_image = NULL;
    size_t n;
    uint8_t *image = read_bytes(GOLDEN "gguf/qwen2_a.Q8_0.gguf", &n);
    assert_int_equal(checkpoint_open_memory(&by_image, image, n, "embedded", NULL), QAIO_OK);
    assert_same_model(by_dir, by_file);
    assert_same_model(by_dir, by_image);
    checkpoint_close(by_dir);
    checkpoint_close(by_file);
    checkpoint_close(by_image);
    mem_free(image);
    scratch_remove(dir);
}

static void a_safetensors_file_stands_for_its_directory(void **state) {
    (void)state;
    checkpoint *dir = open_or_fail(TINY), *file = open_or_fail(TINY "/model.safetensors");
    assert_int_equal(checkpoint_bytes(dir), checkpoint_bytes(file));
    assert_string_equal(checkpoint_desc(dir)->name, "base");
    assert_string_equal(checkpoint_desc(file)->name, "model");
    checkpoint_close(dir);
    checkpoint_close(file);
}

static void dropped_pages_read_the_same_again(void **state) {
    (void)state;
    checkpoint *c = open_or_fail(TINY "/base.gguf");
    const tensor *t = checkpoint_tensor(c, TENSOR_EMBED, 0);
    void *before = mem_alloc(t->bytes);
    memcpy(before, t->data, t->bytes);
    checkpoint_drop_pages(c);
    assert_memory_equal(before, t->data, t->bytes);
    mem_free(before);
    checkpoint_close(c);
}

static void gguf_version_2_opens(void **state) {
    (void)state;
    size_t n;
    uint8_t *image = read_bytes(TINY "/base.gguf", &n);
    image[4] = 2;
    checkpoint *c = NULL;
    assert_int_equal(checkpoint_open_memory(&c, image, n, "v2", NULL), QAIO_OK);
    assert_string_equal(checkpoint_format(c), "gguf v2");
    checkpoint_close(c);
    mem_free(image);
}

/* The tiny GGUF with one more key in front, an array `depth` deep around one u8; inserted in multiples of the alignment. */
static uint8_t *with_nested_array(size_t depth, size_t *n) {
    str key = {0};
    char name[64] = "extra.";
    size_t value_bytes = 4 + depth * 12 + 1, name_bytes = 6;
    while ((8 + name_bytes + value_bytes) % 32) name[name_bytes++] = 'x';
    gguf_encode_string(&key, name, name_bytes);
    gguf_encode_u32(&key, GGUF_ARRAY);
    for (size_t i = 1; i <= depth; i++) {
        gguf_encode_u32(&key, i == depth ? GGUF_U8 : GGUF_ARRAY);
        gguf_encode_u64(&key, 1);
    }
    str_putc(&key, 7);
    uint8_t *image = read_bytes(TINY "/base.gguf", n);
    image = mem_realloc(image, *n + key.len, 1);
    memmove(image + 24 + key.len, image + 24, *n - 24);
    memcpy(image + 24, key.data, key.len);
    image[16]++;
    *n += key.len;
    str_deinit(&key);
    return image;
}

static void nested_arrays_of_unknown_keys_are_stepped_over(void **state) {
    (void)state;
    for (size_t depth = 1; depth < 40; depth++) {
        size_t n;
        uint8_t *image = with_nested_array(depth, &n);
        checkpoint *c = NULL;
        qaio_error err = {0};
        qaio_status status = checkpoint_open_memory(&c, image, n, "nested", &err);
        if (depth <= 4)
            assert_int_equal(status, QAIO_OK);
        else
            assert_non_null(strstr(err.message, "nested too deep"));
        checkpoint_close(c);
        mem_free(image);
    }
}

static void a_tokenizer_loads_without_weights(void **state) {
    (void)state;
    char *dir = scratch_new();
    copy_file(TINY "/tokenizer.json", path_of("%s/tokenizer.json", dir));
    copy_file(TINY "/tokenizer_config.json", path_of("%s/tokenizer_config.json", dir));
    const char *paths[] = {dir, TINY, TINY "/base.gguf"};
    for (size_t i = 0; i < N_ITEMS(paths); i++) {
        tokenizer *t = NULL;
        chat_template template;
        assert_int_equal(checkpoint_load_tokenizer(&t, &template, paths[i], NULL), QAIO_OK);
        assert_true(tokenizer_special(t, "<|im_end|>") > 0);
        tokenizer_free(t);
        chat_template_deinit(&template);
    }
    scratch_remove(dir);
}

/* ---- refusals ---- */

static void refuse(const char *path, qaio_status expected, const char *says) {
    checkpoint *c = NULL;
    qaio_error err = {0};
    qaio_status status = checkpoint_open(&c, path, &err);
    if (status != expected || !strstr(err.message, says)) fail_msg("%s: %s: %s", path, qaio_status_name(status), err.message);
    assert_clear_error(&err, status);
    assert_null(c);
}

static void what_is_no_model_is_refused_by_name(void **state) {
    (void)state;
    refuse(GOLDEN "models/h_qwen35_text_bf16", QAIO_ERR_UNSUPPORTED, "qwen3_5");
    refuse("/no/such/model", QAIO_ERR_NOT_FOUND, "");
    refuse("/dev/null", QAIO_ERR_IO, "regular file");
    refuse(TINY "/config.json", QAIO_ERR_FORMAT, "GGUF");
    char *dir = scratch_new();
    refuse(dir, QAIO_ERR_NOT_FOUND, "no weights in this folder");
    copy_file(TINY "/base.gguf", path_of("%s/a.gguf", dir));
    copy_file(TINY "/base.gguf", path_of("%s/b.gguf", dir));
    refuse(dir, QAIO_ERR_ARGUMENT, "several GGUF");
    scratch_remove(dir);
}

static void a_tokenizer_with_more_ids_than_the_embedding_has_rows_is_refused(void **state) {
    (void)state;
    char *dir = scratch_new();
    copy_dir(TINY, dir);
    copy_file(GOLDEN "models/b_qwen2_gqa_untied_bf16/tokenizer.json", path_of("%s/tokenizer.json", dir));
    refuse(dir, QAIO_ERR_FORMAT, "the embedding only 266 rows");
    scratch_remove(dir);
}

/* A head that config.json asks for is not silently replaced by the embedding. */
static void a_missing_head_is_refused(void **state) {
    (void)state;
    char *dir = scratch_new();
    copy_dir(GOLDEN "models/a_qwen2_mha_tied_f32", dir);
    size_t n;
    char *config = (char *)read_bytes(path_of("%s/config.json", dir), &n);
    char *flag = strstr(config, "\"tie_word_embeddings\": true");
    assert_non_null(flag);
    memcpy(flag, "\"tie_word_embeddings\":false", 27);
    write_bytes(path_of("%s/config.json", dir), config, n);
    refuse(dir, QAIO_ERR_FORMAT, "\"lm_head.weight\" is missing");
    mem_free(config);
    scratch_remove(dir);
}

/* Shards lie in the folder of the index, whatever the index says. */
static void an_index_never_leads_out_of_the_folder(void **state) {
    (void)state;
    static const char *const names[] = {"../model.safetensors", "/etc/passwd", "sub/x.safetensors", "..", ".hidden.safetensors", ""};
    char *dir = scratch_new();
    copy_dir(TINY, dir);
    remove(path_of("%s/model.safetensors", dir));
    const char *index = path_of("%s/model.safetensors.index.json", dir);
    for (size_t i = 0; i < N_ITEMS(names); i++) {
        str text = {0};
        str_printf(&text, "{\"weight_map\":{\"model.norm.weight\":\"%s\"}}", names[i]);
        write_bytes(index, text.data, text.len);
        refuse(dir, QAIO_ERR_FORMAT, "not the name of a shard");
        str_deinit(&text);
    }
    scratch_remove(dir);
}

static void an_index_that_contradicts_its_shards_is_refused(void **state) {
    (void)state;
    static const char text[] = "{\"weight_map\":{\"model.norm.weight\":\"one.safetensors\",\"no.such.weight\":\"one.safetensors\"}}";
    char *dir = scratch_new();
    copy_dir(TINY, dir);
    assert_int_equal(rename(path_of("%s/model.safetensors", dir), path_of("%s/one.safetensors", dir)), 0);
    write_bytes(path_of("%s/model.safetensors.index.json", dir), text, sizeof text - 1);
    refuse(dir, QAIO_ERR_FORMAT, "no.such.weight");
    scratch_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models_have_the_shapes_and_values_of_an_independent_reader),
        cmocka_unit_test(a_directory_is_described_by_its_files),
        cmocka_unit_test(a_gguf_file_is_described_by_its_keys),
        cmocka_unit_test(shards_make_one_model),
        cmocka_unit_test(a_tied_head_is_the_embedding),
        cmocka_unit_test(a_file_a_directory_and_an_image_give_the_same_model),
        cmocka_unit_test(a_safetensors_file_stands_for_its_directory),
        cmocka_unit_test(dropped_pages_read_the_same_again),
        cmocka_unit_test(gguf_version_2_opens),
        cmocka_unit_test(nested_arrays_of_unknown_keys_are_stepped_over),
        cmocka_unit_test(a_tokenizer_loads_without_weights),
        cmocka_unit_test(what_is_no_model_is_refused_by_name),
        cmocka_unit_test(a_tokenizer_with_more_ids_than_the_embedding_has_rows_is_refused),
        cmocka_unit_test(a_missing_head_is_refused),
        cmocka_unit_test(an_index_never_leads_out_of_the_folder),
        cmocka_unit_test(an_index_that_contradicts_its_shards_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
