#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/pretokenize.h"

static void *checked(void *p) {
    if (!p) abort();
    return p;
}

static FILE *open_or_die(const char *path, const char *mode) {
    FILE *f = fopen(path, mode);
    if (!f) {
        perror(path);
        abort();
    }
    return f;
}

static void add_piece(golden_vocabulary *v, const char *text, size_t n, token_kind kind) {
    size_t id = v->source.n_tokens++;
    v->pieces[id] = checked(strndup(text, n));
    v->piece_lengths[id] = (uint32_t)n;
    v->kinds[id] = kind;
}

/* Printable bytes first, as the byte-level alphabet was made. */
static void add_bytes(golden_vocabulary *v) {
    for (int is_other = 0; is_other < 2; is_other++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t letter = byte_to_letter((uint8_t)byte);
            char utf8[4];
            if ((letter != (uint32_t)byte) == is_other) add_piece(v, utf8, utf8_encode(letter, utf8), TOKEN_NORMAL);
        }
}

static void add_merges(golden_vocabulary *v, size_t max_merges) {
    FILE *f = open_or_die(GOLDEN "merges.txt", "r");
    char line[2048], piece[2048];
    while (v->source.n_merges < max_merges && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (!*line || strncmp(line, "#version", 8) == 0) continue;
        size_t rank = v->source.n_merges++;
        v->merges[rank] = checked(strdup(line));
        v->merge_lengths[rank] = (uint32_t)strlen(line);
        snprintf(piece, sizeof piece, "%.*s%s", (int)strcspn(line, " "), line, strchr(line, ' ') + 1);
        add_piece(v, piece, strlen(piece), TOKEN_NORMAL);
    }
    fclose(f);
}

void golden_vocabulary_init(golden_vocabulary *v, bool is_qwen3, size_t max_merges) {
    enum { CAPACITY = 160000 };
    *v = (golden_vocabulary){
        .pieces = checked(calloc(CAPACITY, sizeof *v->pieces)),
        .piece_lengths = checked(calloc(CAPACITY, sizeof *v->piece_lengths)),
        .kinds = checked(calloc(CAPACITY, sizeof *v->kinds)),
        .merges = checked(calloc(CAPACITY, sizeof *v->merges)),
        .merge_lengths = checked(calloc(CAPACITY, sizeof *v->merge_lengths)),
    };
    add_bytes(v);
    add_merges(v, max_merges);
    json_t *added = checked(json_load_file(GOLDEN "qwen3_added_tokens.json", 0, NULL)), *token;
    size_t i;
    json_array_foreach(json_object_get(added, "added_tokens"), i, token) {
        const char *text = json_string_value(json_object_get(token, "content"));
        if (i < 3 || is_qwen3)
            add_piece(v, text, strlen(text), json_is_true(json_object_get(token, "special")) ? TOKEN_SPECIAL : TOKEN_ADDED);
    }
    json_decref(added);
    v->source.pieces = (const char *const *)v->pieces;
    v->source.piece_lengths = v->piece_lengths;
    v->source.kinds = v->kinds;
    v->source.merges = (const char *const *)v->merges;
    v->source.merge_lengths = v->merge_lengths;
}

void golden_vocabulary_deinit(golden_vocabulary *v) {
    for (size_t i = 0; i < v->source.n_tokens; i++) free(v->pieces[i]);
    for (size_t i = 0; i < v->source.n_merges; i++) free(v->merges[i]);
    free(v->pieces);
    free(v->piece_lengths);
    free(v->kinds);
    free(v->merges);
    free(v->merge_lengths);
}

tokenizer *golden_tokenizer(bool is_qwen3, pre_tokenizer pre) {
    golden_vocabulary v;
    tokenizer *t = NULL;
    qaio_error err;
    golden_vocabulary_init(&v, is_qwen3, SIZE_MAX);
    v.source.pre = pre;
    if (tokenizer_new(&t, &v.source, "golden", &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    golden_vocabulary_deinit(&v);
    return t;
}

static void write_string(FILE *f, const char *text, size_t n) {
    json_t *s = checked(json_stringn(text, n));
    json_dumpf(s, f, JSON_ENCODE_ANY);
    json_decref(s);
}

static void write_vocab(FILE *f, const token_source *s) {
    const char *separator = "{";
    for (size_t id = 0; id < s->n_tokens; id++) {
        if (s->kinds[id] != TOKEN_NORMAL) continue;
        fputs(separator, f);
        write_string(f, s->pieces[id], s->piece_lengths[id]);
        fprintf(f, ":%zu", id);
        separator = ",";
    }
    fputs("}", f);
}

static void write_merges(FILE *f, const token_source *s, bool is_modern) {
    for (size_t i = 0; i < s->n_merges; i++) {
        fputs(i ? "," : "[", f);
        const char *merge = s->merges[i], *space = memchr(merge, ' ', s->merge_lengths[i]);
        if (is_modern) {
            fputs("[", f);
            write_string(f, merge, (size_t)(space - merge));
            fputs(",", f);
            write_string(f, space + 1, s->merge_lengths[i] - (size_t)(space - merge) - 1);
            fputs("]", f);
        } else {
            write_string(f, merge, s->merge_lengths[i]);
        }
    }
    fputs("]", f);
}

static void write_added(FILE *f, const token_source *s, bool is_list) {
    const char *separator = "";
    for (size_t id = 0; id < s->n_tokens; id++) {
        if (s->kinds[id] == TOKEN_NORMAL) continue;
        fputs(separator, f);
        if (is_list)
            fprintf(f, "{\"id\":%zu,", id);
        else
            fprintf(f, "\"%zu\":{", id);
        fputs("\"content\":", f);
        write_string(f, s->pieces[id], s->piece_lengths[id]);
        fprintf(f, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":%s}",
                s->kinds[id] == TOKEN_SPECIAL ? "true" : "false");
        separator = ",";
    }
}

static FILE *create(const char *dir, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return open_or_die(path, "w");
}

static void write_vocab_and_merges(const token_source *s, const char *dir) {
    FILE *f = create(dir, "vocab.json");
    write_vocab(f, s);
    fclose(f);
    f = create(dir, "merges.txt");
    fputs("#version: 0.2\n", f);
    for (size_t i = 0; i < s->n_merges; i++) fprintf(f, "%.*s\n", (int)s->merge_lengths[i], s->merges[i]);
    fclose(f);
    f = create(dir, "tokenizer_config.json");
    fputs("{\"add_prefix_space\":false,\"added_tokens_decoder\":{", f);
    write_added(f, s, false);
    fputs("}}", f);
    fclose(f);
}

void golden_write(const token_source *s, golden_style style, const char *dir) {
    if (style == GOLDEN_VOCAB_AND_MERGES) {
        write_vocab_and_merges(s, dir);
        return;
    }
    FILE *f = create(dir, "tokenizer.json");
    fputs("{\"version\":\"1.0\",\"truncation\":null,\"added_tokens\":[", f);
    write_added(f, s, true);
    fputs("],\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
          "{\"Regex\":",
          f);
    write_string(f, pretokenize_patterns[s->pre], strlen(pretokenize_patterns[s->pre]));
    fputs("},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
          "\"use_regex\":false}]},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"continuing_subword_prefix\":\"\",\"ignore_merges\":false,"
          "\"vocab\":",
          f);
    write_vocab(f, s);
    fputs(",\"merges\":", f);
    write_merges(f, s, style == GOLDEN_MODERN);
    fputs("}}", f);
    fclose(f);
}

json_t *golden_lines(const char *path) {
    FILE *f = open_or_die(path, "r");
    json_t *lines = checked(json_array());
    for (;;) {
        json_error_t error;
        json_t *line = json_loadf(f, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &error);
        if (!line) break;
        json_array_append_new(lines, line);
    }
    fclose(f);
    if (json_array_size(lines) == 0) abort();
    return lines;
}

str golden_base64(const json_t *value) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    str out = {0};
    uint32_t bits = 0;
    int n_bits = 0;
    str_append(&out, "", 0);
    for (const char *p = json_string_value(value); *p && *p != '='; p++) {
        bits = bits << 6 | (uint32_t)(strchr(alphabet, *p) - alphabet);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        str_putc(&out, (char)(bits >> n_bits));
    }
    return out;
}

str golden_text(const json_t *line) {
    json_t *value = json_object_get(line, "text_b64"), *part;
    if (value) return golden_base64(value);
    str out = {0};
    str_append(&out, "", 0);
    value = json_object_get(line, "text_rep");
    size_t i;
    json_array_foreach(value, i, part) {
        json_t *text = json_array_get(part, 0);
        for (json_int_t n = json_integer_value(json_array_get(part, 1)); n > 0; n--)
            str_append(&out, json_string_value(text), json_string_length(text));
    }
    if (value) return out;
    value = json_object_get(line, "text");
    str_append(&out, json_string_value(value), json_string_length(value));
    return out;
}

bool golden_ids_equal(const json_t *expected, const int32_t *ids, size_t n) {
    if (json_array_size(expected) != n) return false;
    for (size_t i = 0; i < n; i++)
        if (json_integer_value(json_array_get(expected, i)) != ids[i]) return false;
    return true;
}
