#include "tasks/calibration.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

#define FORMAT_VERSION 1
#define MAX_FILE_BYTES ((size_t)4 << 20) /* a confusion matrix of 256 labels has 65536 numbers, twice */
#define STAMP_BYTES    17

char *calibration_path(const task *t, const char *model_name) {
    char *cache = hub_cache_dir();
    if (!cache) return NULL;
    str path = {0};
    str_printf(&path, "%s/calibration/%s-", cache, t->name);
    for (const char *c = model_name; *c; c++) str_putc(&path, isalnum((unsigned char)*c) || strchr("._-", *c) ? *c : '_');
    str_puts(&path, ".json");
    mem_free(cache);
    if (path.failed) str_deinit(&path);
    return path.data;
}

static void format_stamp(char out[STAMP_BYTES], uint64_t stamp) { snprintf(out, STAMP_BYTES, "%016" PRIx64, stamp); }

/* ---- reading ---- */

/* The text at a key; "" where there is none. */
static const char *text_at(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static qaio_status check_key(const json_t *root, const calibration_key *key, qaio_error *err) {
    const task *t = key->task;
    const json_t *m = json_object_get(root, "model"), *version = json_object_get(root, "task_version");
    char stamp[STAMP_BYTES];
    format_stamp(stamp, key->stamp);
    if (json_integer_value(json_object_get(root, "format")) != FORMAT_VERSION)
        return error_set(err, QAIO_ERR_FORMAT, "no calibration of this version of the program");
    if (strcmp(text_at(root, "task"), t->name) != 0) return error_set(err, QAIO_ERR_FORMAT, "made for another task");
    if (!json_is_integer(version) || json_integer_value(version) < 0 || (uint64_t)json_integer_value(version) != t->version)
        return error_set(err, QAIO_ERR_FORMAT, "made for another version of the task; it is %" PRIu64 " now", t->version);
    if (strcmp(text_at(m, "name"), key->model_name) != 0 || strcmp(text_at(m, "stamp"), stamp) != 0)
        return error_set(err, QAIO_ERR_FORMAT, "made for another model, or the model's file has changed");
    if (strcmp(text_at(m, "weights"), key->weights) != 0)
        return error_set(err, QAIO_ERR_FORMAT, "made for other weights in memory; they are %s now", key->weights);
    return QAIO_OK;
}

static qaio_status take_number(double *out, const json_t *value, double min, double max, const char *name, qaio_error *err) {
    double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || number < min || number > max)
        return error_set(err, QAIO_ERR_FORMAT, "%s is no number from %g to %g", name, min, max);
    *out = number;
    return QAIO_OK;
}

static qaio_status take_values(stored_calibration *out, const json_t *root, const task *t, qaio_error *err) {
    const json_t *biases = json_object_get(root, "biases");
    double rows = 0;
    *out = (stored_calibration){0};
    if (json_object_size(biases) != t->n_labels) return error_set(err, QAIO_ERR_FORMAT, "made for other labels");
    qaio_status status = take_number(&out->values.temperature, json_object_get(root, "temperature"), CALIBRATION_MIN_TEMPERATURE,
                                     CALIBRATION_MAX_TEMPERATURE, "temperature", err);
    for (size_t i = 0; i < t->n_labels && !status; i++) {
        const json_t *bias = json_object_get(biases, t->labels[i].id);
        if (!bias) return error_set(err, QAIO_ERR_FORMAT, "made for other labels: %s is missing", t->labels[i].id);
        status = take_number(&out->values.biases[i], bias, -CALIBRATION_MAX_BIAS, CALIBRATION_MAX_BIAS, "a bias", err);
    }
    if (!status) status = take_number(&rows, json_object_get(root, "rows"), 0, 1e15, "rows", err);
    out->n_rows = (size_t)rows;
    snprintf(out->date, sizeof out->date, "%s", text_at(root, "date"));
    return status;
}

qaio_status calibration_parse(stored_calibration *out, const calibration_key *key, const char *text, size_t n, qaio_error *err) {
    json_error_t where;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    qaio_status status = json_is_object(root) ? check_key(root, key, err) : error_set(err, QAIO_ERR_FORMAT, "no JSON object");
    if (!status) status = take_values(out, root, key->task, err);
    json_decref(root);
    return status;
}

qaio_status calibration_load(stored_calibration *out, const calibration_key *key, const char *path, qaio_error *err) {
    char *text;
    size_t n;
    qaio_status status = file_read(&text, &n, path, MAX_FILE_BYTES, err);
    if (status) return status;
    status = calibration_parse(out, key, text, n, err);
    mem_free(text);
    return status;
}

/* ---- writing ---- */

static json_t *to_json(const calibration_key *key, const stored_calibration *c, const quality *before, const quality *after) {
    const task *t = key->task;
    char stamp[STAMP_BYTES];
    format_stamp(stamp, key->stamp);
    json_t *biases = json_object();
    for (size_t i = 0; i < t->n_labels; i++) json_object_set_new(biases, t->labels[i].id, json_real(c->values.biases[i]));
    return json_pack("{s:i, s:s, s:I, s:{s:s, s:s, s:s}, s:f, s:o, s:I, s:s, s:o, s:o}", "format", FORMAT_VERSION, "task", t->name,
                     "task_version", (json_int_t)t->version, "model", "name", key->model_name, "weights", key->weights, "stamp", stamp,
                     "temperature", c->values.temperature, "biases", biases, "rows", (json_int_t)c->n_rows, "date", c->date, "before",
                     quality_to_json(before), "after", quality_to_json(after));
}

static qaio_status make_folder(const char *path, qaio_error *err) {
    char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    qaio_status status = dir ? file_make_directories(dir, err) : error_memory(err);
    mem_free(dir);
    return status;
}

qaio_status calibration_store(const calibration_key *key, const stored_calibration *c, const quality *before, const quality *after,
                              const char *path, qaio_error *err) {
    file_writer writer;
    json_t *root = to_json(key, c, before, after);
    qaio_status status = root ? make_folder(path, err) : error_memory(err);
    if (!status) status = file_writer_open(&writer, path, err);
    if (!status) {
        bool is_written = json_dumpf(root, writer.stream, JSON_INDENT(1)) == 0 && fputc('\n', writer.stream) != EOF;
        if (is_written)
            status = file_writer_commit(&writer, err);
        else
            status = error_at(err, QAIO_ERR_IO, path, -1, "cannot write the calibration");
        file_writer_abort(&writer);
    }
    json_decref(root);
    return status;
}
