/* Schemas from outside, and texts that follow them.  Input: a schema, a zero byte, then choices: from each state the automaton goes on with
 * the first byte from the choice on that it lets through.  No state is a dead end, and what ends is JSON. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "mask/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MAX_STEPS 512

/* The byte to go on with; -1: none. */
static int choose(grammar *g, expr state, uint8_t from) {
    for (unsigned i = 0; i < 256; i++)
        if (grammar_next(g, state, (uint8_t)(from + i)) != EXPR_NOTHING) return (uint8_t)(from + i);
    return -1;
}

static void follow(grammar *g, const uint8_t *choices, size_t n) {
    str text = {0};
    expr state = grammar_start(g);
    for (size_t i = 0; i < n && i < MAX_STEPS; i++) {
        int byte = choose(g, state, choices[i]);
        if (grammar_check(g, NULL)) break; /* too many states */
        if (byte < 0) {
            if (!grammar_accepts(g, state)) abort();
            break;
        }
        str_putc(&text, (char)byte);
        state = grammar_next(g, state, (uint8_t)byte);
        if (!grammar_accepts(g, state)) continue;
        json_t *value = json_loadb(text.data, text.len, JSON_DECODE_ANY, NULL);
        if (!value) abort();
        json_decref(value);
    }
    str_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const uint8_t *end = n ? memchr(data, '\0', n) : NULL;
    size_t bytes = end ? (size_t)(end - data) : n;
    json_t *schema = json_loadb((const char *)data, bytes, JSON_DECODE_ANY, NULL);
    grammar *g = NULL;
    qaio_error err;
    if (!schema) return 0;
    if (schema_grammar(&g, schema, &err) == QAIO_OK && end) follow(g, end + 1, n - bytes - 1);
    grammar_free(g);
    json_decref(schema);
    return 0;
}
