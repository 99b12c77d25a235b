#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

const char *path_of(const char *format, ...) {
    static char paths[8][512];
    static size_t next;
    char *path = paths[next++ % N_ITEMS(paths)];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof paths[0], format, args);
    va_end(args);
    return path;
}

char *scratch_new(void) {
    char template[] = "/tmp/qaio-test-XXXXXX";
    assert_non_null(mkdtemp(template));
    return mem_strndup(template, strlen(template));
}

typedef void visit_fn(const char *dir, const char *name, const char *arg);

static void visit(const char *dir, visit_fn *fn, const char *arg) {
    DIR *listing = opendir(dir);
    assert_non_null(listing);
    for (const struct dirent *entry; (entry = readdir(listing));)
        if (entry->d_name[0] != '.') fn(dir, entry->d_name, arg);
    closedir(listing);
}

static void remove_one(const char *dir, const char *name, const char *arg) {
    (void)arg;
    remove(path_of("%s/%s", dir, name));
}

void scratch_remove(char *dir) {
    visit(dir, remove_one, NULL);
    assert_int_equal(rmdir(dir), 0);
    mem_free(dir);
}

uint8_t *read_bytes(const char *path, size_t *n) {
    char *data;
    assert_int_equal(file_read(&data, n, path, 1 << 28, NULL), QAIO_OK);
    return (uint8_t *)data;
}

void write_bytes(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void copy_file(const char *from, const char *to) {
    size_t n;
    uint8_t *data = read_bytes(from, &n);
    write_bytes(to, data, n);
    mem_free(data);
}

static void copy_one(const char *dir, const char *name, const char *to) {
    copy_file(path_of("%s/%s", dir, name), path_of("%s/%s", to, name));
}

void copy_dir(const char *from, const char *to) { visit(from, copy_one, to); }

checkpoint *open_or_fail(const char *path) {
    checkpoint *c = NULL;
    qaio_error err = {0};
    if (checkpoint_open(&c, path, &err)) {
        char text[800];
        error_format(&err, text, sizeof text);
        fail_msg("%s: %s", path, text);
    }
    return c;
}

void assert_clear_error(const qaio_error *err, qaio_status status) {
    assert_int_not_equal(status, QAIO_OK);
    assert_int_not_equal(status, QAIO_ERR_MEMORY);
    assert_int_equal(err->status, status);
    assert_true(strlen(err->message) > 10);
    assert_true(utf8_is_valid(err->message, strlen(err->message)));
    assert_null(strchr(err->message, '\n'));
    assert_true(err->path[0] != '\0');
}

static void assert_same_tokenizer(const tokenizer *a, const tokenizer *b) {
    static const char text[] = "Hello  world, 今天的实验终于成功了!😄 <|im_start|>x<|im_end|>\n\n 123 don't";
    token_list x = {0}, y = {0};
    assert_int_equal(tokenizer_encode(a, text, sizeof text - 1, NULL, 0, &x, NULL), QAIO_OK);
    assert_int_equal(tokenizer_encode(b, text, sizeof text - 1, NULL, 0, &y, NULL), QAIO_OK);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.ids, y.ids, x.n * sizeof *x.ids);
    token_list_deinit(&x);
    token_list_deinit(&y);
    for (int32_t id = 0; id < (int32_t)tokenizer_size(a); id++) {
        str s = {0}, t = {0};
        tokenizer_decode(a, id, false, &s);
        tokenizer_decode(b, id, false, &t);
        assert_int_equal(tokenizer_kind(a, id), tokenizer_kind(b, id));
        assert_int_equal(s.len, t.len);
        if (s.len) assert_memory_equal(s.data, t.data, s.len);
        str_deinit(&s);
        str_deinit(&t);
    }
}

static void assert_same_float(float a, float b) { assert_memory_equal(&a, &b, sizeof a); }

static void assert_same_desc(const model_desc *x, const model_desc *y) {
    assert_int_equal(x->arch, y->arch);
    assert_int_equal(x->hidden_size, y->hidden_size);
    assert_int_equal(x->n_layers, y->n_layers);
    assert_int_equal(x->n_heads, y->n_heads);
    assert_int_equal(x->n_kv_heads, y->n_kv_heads);
    assert_int_equal(x->head_dim, y->head_dim);
    assert_int_equal(x->intermediate_size, y->intermediate_size);
    assert_int_equal(x->vocab_size, y->vocab_size);
    assert_int_equal(x->context_length, y->context_length);
    assert_same_float(x->rms_norm_eps, y->rms_norm_eps);
    assert_same_float(x->rope_theta, y->rope_theta);
    assert_int_equal(x->is_tied, y->is_tied);
    assert_int_equal(x->n_stop_tokens, y->n_stop_tokens);
    assert_memory_equal(x->stop_tokens, y->stop_tokens, sizeof x->stop_tokens);
    assert_int_equal(x->bos_token, y->bos_token);
    assert_int_equal(x->pad_token, y->pad_token);
    assert_same_float(x->temperature, y->temperature);
    assert_same_float(x->top_p, y->top_p);
    assert_same_float(x->repetition_penalty, y->repetition_penalty);
    assert_int_equal(x->top_k, y->top_k);
    assert_int_equal(x->do_sample, y->do_sample);
    assert_string_equal(x->name, y->name);
}

void assert_same_model(const checkpoint *a, const checkpoint *b) {
    assert_same_desc(checkpoint_desc(a), checkpoint_desc(b));
    assert_same_tokenizer(checkpoint_tokenizer(a), checkpoint_tokenizer(b));
    assert_int_equal(checkpoint_template(a)->family, checkpoint_template(b)->family);
    size_t n, m;
    const char *text = checkpoint_template_text(a, &n), *other = checkpoint_template_text(b, &m);
    assert_int_equal(n, m);
    assert_int_equal(text == NULL, other == NULL);
    if (n) assert_memory_equal(text, other, n);
}

float *values_of(const tensor *t) {
    size_t n = t->n_rows * t->n_cols;
    float *values = mem_array(n, sizeof *values);
    assert_non_null(values);
    dtype_dequantize(t->type, values, t->data, n);
    return values;
}
