/* The subset of YAML that task files need, as a tree that knows its lines: one document of strings, lists and maps.  Refused: anchors and
 * aliases (a few bytes could stand for gigabytes), tags, further documents, deep nesting, more nodes than a task file can need.  Every
 * scalar is a string: `no` is the word "no", `1.0` three characters. */
#ifndef QAIO_TASKS_YAML_TREE_H
#define QAIO_TASKS_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define YAML_MAX_DEPTH 8
#define YAML_MAX_NODES 16384

typedef enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP } yaml_kind;

typedef struct yaml_item {
    yaml_kind kind;
    size_t line; /* from 1 */
    char *text;  /* YAML_TEXT: NUL-terminated, but may hold further NULs; owned by the tree */
    size_t n;
    size_t first; /* lists and maps: index of the first child; of a map: key, value, key, value ...  0: none */
    size_t next;  /* the next child of the same parent, 0: none */
} yaml_item;

typedef struct yaml_tree {
    yaml_item *items; /* items[0] is the root; owned */
    size_t n_items;
} yaml_tree;

/* Parses UTF-8 text.  `path` is only named in errors, as "path:line". */
qaio_status yaml_tree_open(yaml_tree *out, const char *path, const char *text, size_t n, qaio_error *err);
void yaml_tree_close(yaml_tree *tree);

/* Fills err with "path:line" as the place. */
qaio_status yaml_tree_error(qaio_error *err, qaio_status status, const char *path, size_t line, const char *format, ...) PRINTF_LIKE(5, 6);

#endif
