/* The tensors as the files name them. */
#include "checkpoint/tensor_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "checkpoint/quote.h"

qaio_status tensor_list_add(tensor_list *list, const named_tensor *t, const char *name, size_t name_bytes, const char *path,
                            qaio_error *err) {
    if (list->n == MAX_TENSORS) return error_at(err, QAIO_ERR_LIMIT, path, -1, "more than %d tensors", MAX_TENSORS);
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        named_tensor *items = mem_realloc(list->items, capacity, sizeof *items);
        if (!items) return error_memory(err);
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = mem_strndup(name, name_bytes);
    if (!copy) return error_memory(err);
    list->items[list->n] = *t;
    list->items[list->n++].name = copy;
    return QAIO_OK;
}

static int compare_place(const void *a, const void *b) {
    const named_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

void tensor_list_sort_by_place(tensor_list *list, size_t first) {
    if (list->n > first) qsort(list->items + first, list->n - first, sizeof *list->items, compare_place);
}

static int compare_name(const void *a, const void *b) {
    const named_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

qaio_status tensor_list_seal(tensor_list *list, const char *path, qaio_error *err) {
    if (list->n) qsort(list->items, list->n, sizeof *list->items, compare_name);
    for (size_t i = 1; i < list->n; i++) {
        const char *name = list->items[i].name;
        if (strcmp(list->items[i - 1].name, name) == 0)
            return error_at(err, QAIO_ERR_FORMAT, path, -1, "tensor \"%s\" is there twice", quote(name, strlen(name)).text);
    }
    return QAIO_OK;
}

const named_tensor *tensor_list_find(const tensor_list *list, const char *name) {
    const named_tensor key = {.name = (char *)(uintptr_t)name};
    return list->n ? bsearch(&key, list->items, list->n, sizeof *list->items, compare_name) : NULL;
}

void tensor_list_deinit(tensor_list *list) {
    for (size_t i = 0; i < list->n; i++) mem_free(list->items[i].name);
    mem_free(list->items);
    *list = (tensor_list){0};
}
