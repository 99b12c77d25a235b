/* libyaml's events, gathered into a tree without recursion. */
#include "tasks/yaml_tree.h"

#include <string.h>

#include <yaml.h>

#include "base/mem.h"
#include "base/str.h"

#define PATH_SHOWN_BYTES 200 /* of a longer path its end, so that the line behind it always fits the error */

qaio_status yaml_tree_error(qaio_error *err, qaio_status status, const char *path, size_t line, const char *format, ...) {
    if (!err) return status;
    char message[sizeof err->message], where[sizeof err->path];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    size_t n = strlen(path);
    const char *shown = n > PATH_SHOWN_BYTES ? path + n - PATH_SHOWN_BYTES : path;
    while (((unsigned char)*shown & 0xC0) == 0x80) shown++;
    snprintf(where, sizeof where, "%s%s:%zu", shown == path ? "" : "...", shown, line);
    return error_at(err, status, where, -1, "%s", message);
}

typedef struct builder {
    yaml_tree tree;
    size_t capacity;
    size_t parents[YAML_MAX_DEPTH];    /* the open lists and maps */
    size_t last_child[YAML_MAX_DEPTH]; /* of each, 0: none yet */
    size_t depth;
    const char *path;
    qaio_error *err;
} builder;

static qaio_status add_item(builder *b, yaml_kind kind, size_t line, const char *text, size_t n) {
    yaml_tree *t = &b->tree;
    if (t->n_items == YAML_MAX_NODES)
        return yaml_tree_error(b->err, QAIO_ERR_LIMIT, b->path, line, "more than %d values in one file", YAML_MAX_NODES);
    if (t->n_items == b->capacity) {
        size_t capacity = b->capacity ? b->capacity * 2 : 64;
        yaml_item *items = mem_realloc(t->items, capacity, sizeof *items);
        if (!items) return error_memory(b->err);
        t->items = items;
        b->capacity = capacity;
    }
    yaml_item item = {.kind = kind, .line = line};
    if (kind == YAML_TEXT && !(item.text = mem_strndup(text, n))) return error_memory(b->err);
    item.n = n;
    size_t index = t->n_items++;
    t->items[index] = item;
    if (b->depth) {
        size_t *last = &b->last_child[b->depth - 1];
        if (*last)
            t->items[*last].next = index;
        else
            t->items[b->parents[b->depth - 1]].first = index;
        *last = index;
    }
    return QAIO_OK;
}

static qaio_status open_container(builder *b, yaml_kind kind, size_t line) {
    if (b->depth == YAML_MAX_DEPTH)
        return yaml_tree_error(b->err, QAIO_ERR_LIMIT, b->path, line, "nested deeper than %d levels", YAML_MAX_DEPTH);
    qaio_status status = add_item(b, kind, line, NULL, 0);
    if (status) return status;
    b->parents[b->depth] = b->tree.n_items - 1;
    b->last_child[b->depth] = 0;
    b->depth++;
    return QAIO_OK;
}

static qaio_status refuse_extras(const builder *b, const yaml_char_t *anchor, const yaml_char_t *tag, size_t line) {
    if (anchor) return yaml_tree_error(b->err, QAIO_ERR_FORMAT, b->path, line, "anchors (&%.40s) are not allowed", (const char *)anchor);
    if (tag) return yaml_tree_error(b->err, QAIO_ERR_FORMAT, b->path, line, "tags (!...) are not allowed");
    return QAIO_OK;
}

static qaio_status add_event(builder *b, const yaml_event_t *e) {
    size_t line = e->start_mark.line + 1;
    qaio_status status = QAIO_OK;
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        status = refuse_extras(b, e->data.scalar.anchor, e->data.scalar.tag, line);
        if (status) return status;
        return add_item(b, YAML_TEXT, line, (const char *)e->data.scalar.value, e->data.scalar.length);
    case YAML_SEQUENCE_START_EVENT:
        status = refuse_extras(b, e->data.sequence_start.anchor, e->data.sequence_start.tag, line);
        return status ? status : open_container(b, YAML_LIST, line);
    case YAML_MAPPING_START_EVENT:
        status = refuse_extras(b, e->data.mapping_start.anchor, e->data.mapping_start.tag, line);
        return status ? status : open_container(b, YAML_MAP, line);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return QAIO_OK;
    case YAML_ALIAS_EVENT:
        return yaml_tree_error(b->err, QAIO_ERR_FORMAT, b->path, line, "aliases (*%.40s) are not allowed",
                               (const char *)e->data.alias.anchor);
    case YAML_DOCUMENT_START_EVENT:
        if (b->tree.n_items == 0) return QAIO_OK;
        return yaml_tree_error(b->err, QAIO_ERR_FORMAT, b->path, line, "a second document; one file is one task");
    default:
        return QAIO_OK;
    }
}

static size_t count_lines(const char *text, size_t n) {
    size_t lines = n > 0;
    for (size_t i = 0; i + 1 < n; i++) lines += text[i] == '\n' || (text[i] == '\r' && text[i + 1] != '\n');
    return lines;
}

/* libyaml counts a line after the last one, and where the bytes are no UTF-8 it knows only the byte. */
static qaio_status parser_error(const builder *b, const yaml_parser_t *p, const char *text, size_t n) {
    if (p->error == YAML_MEMORY_ERROR) return error_memory(b->err);
    size_t line = p->problem_mark.line + 1, n_lines = count_lines(text, n);
    if (p->error == YAML_READER_ERROR) line = count_lines(text, p->problem_offset < n ? p->problem_offset + 1 : n);
    if (line > n_lines) line = n_lines;
    return yaml_tree_error(b->err, QAIO_ERR_FORMAT, b->path, line, "not valid YAML: %s%s%s", p->context ? p->context : "",
                           p->context ? ", " : "", p->problem ? p->problem : "malformed");
}

qaio_status yaml_tree_open(yaml_tree *out, const char *path, const char *text, size_t n, qaio_error *err) {
    builder b = {.path = path, .err = err};
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3, n -= 3; /* the mark that some editors put in front of UTF-8 */
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return error_memory(err);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    qaio_status status = QAIO_OK;
    for (bool at_end = false; !status && !at_end;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = parser_error(&b, &parser, text, n);
            break;
        }
        at_end = event.type == YAML_STREAM_END_EVENT;
        status = add_event(&b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (!status && b.tree.n_items == 0) status = yaml_tree_error(err, QAIO_ERR_FORMAT, path, 1, "the file is empty");
    if (status) {
        yaml_tree_close(&b.tree);
        return status;
    }
    *out = b.tree;
    return QAIO_OK;
}

void yaml_tree_close(yaml_tree *tree) {
    for (size_t i = 0; i < tree->n_items; i++) mem_free(tree->items[i].text);
    mem_free(tree->items);
    *tree = (yaml_tree){0};
}
