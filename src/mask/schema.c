/* The structure of a schema: references, choices, objects, arrays.
 *
 *     compile            one schema: which of the forms it has
 *       compile_ref        $ref: a rule, compiled when everything before it is done
 *       compile_any_of     anyOf, oneOf (schema_combine.c: that at most one can hold)
 *       compile_all_of     allOf (schema_combine.c: of objects, as one)
 *       compile_choices    enum, const
 *       compile_types      type, or what the keywords speak of: an expression for each type */
#include "mask/schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "mask/schema_internal.h"

static bool compile(compiler *c, const json_t *schema, size_t depth, expr *out);

/* ---- errors and places ---- */

bool schema_fail(compiler *c, qaio_status status, const char *format, ...) {
    str message = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&message, format, args);
    va_end(args);
    if (message.failed || c->path.failed)
        error_memory(c->err);
    else
        error_set(c->err, status, "%s: %s", c->path.data, message.data);
    str_deinit(&message);
    return false;
}

/* Compiles a part of a schema; errors name it.  name: may hold anything, so the path escapes it as JSON Pointer does (RFC 6901). */
static bool compile_at(compiler *c, const json_t *schema, const char *keyword, const char *name, size_t depth, expr *out) {
    size_t length = c->path.len;
    str_printf(&c->path, "/%s", keyword);
    if (name) str_putc(&c->path, '/');
    for (; name && *name; name++) {
        if (*name == '~' || *name == '/')
            str_puts(&c->path, *name == '~' ? "~0" : "~1");
        else
            str_putc(&c->path, *name);
    }
    if (c->path.failed) return error_memory(c->err), false;
    bool ok = compile(c, schema, depth + 1, out);
    c->path.len = length;
    c->path.data[length] = '\0';
    return ok;
}

static bool compile_nth(compiler *c, const json_t *schema, const char *keyword, size_t i, size_t depth, expr *out) {
    char name[24];
    snprintf(name, sizeof name, "%zu", i);
    return compile_at(c, schema, keyword, name, depth, out);
}

bool schema_count(compiler *c, const json_t *schema, const char *keyword, uint32_t *out) {
    const json_t *value = json_object_get(schema, keyword);
    if (!value) return true;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return schema_fail(c, QAIO_ERR_ARGUMENT, "%s must be a whole number, not negative", keyword);
    if (json_integer_value(value) > SCHEMA_MAX_COUNT)
        return schema_fail(c, QAIO_ERR_LIMIT, "%s is more than %d", keyword, SCHEMA_MAX_COUNT);
    *out = (uint32_t)json_integer_value(value);
    return true;
}

/* ---- keywords ---- */

static const struct {
    const char *name;
    unsigned type;
} types[] = {{"null", NULL_TYPE}, {"boolean", BOOLEAN}, {"integer", INTEGER}, {"number", NUMBER},
             {"string", STRING},  {"array", ARRAY},     {"object", OBJECT}};
enum { N_TYPES = sizeof types / sizeof *types };

enum role { ANNOTATION, FORM, ASSERTION };

/* Every keyword that is understood; assertions with the types that they speak of. */
static const struct {
    const char *name;
    enum role role;
    unsigned types;
} known[] = {
    {"type", FORM, 0},
    {"enum", FORM, 0},
    {"const", FORM, 0},
    {"anyOf", FORM, 0},
    {"oneOf", FORM, 0},
    {"allOf", FORM, 0},
    {"$ref", FORM, 0},
    {"properties", ASSERTION, OBJECT},
    {"required", ASSERTION, OBJECT},
    {"additionalProperties", ASSERTION, OBJECT},
    {"items", ASSERTION, ARRAY},
    {"prefixItems", ASSERTION, ARRAY},
    {"minItems", ASSERTION, ARRAY},
    {"maxItems", ASSERTION, ARRAY},
    {"minLength", ASSERTION, STRING},
    {"maxLength", ASSERTION, STRING},
    {"pattern", ASSERTION, STRING},
    {"format", ASSERTION, STRING},
    {"minimum", ASSERTION, NUMBER},
    {"maximum", ASSERTION, NUMBER},
    {"exclusiveMinimum", ASSERTION, NUMBER},
    {"exclusiveMaximum", ASSERTION, NUMBER},
    {"multipleOf", ASSERTION, NUMBER},
    {"title", ANNOTATION, 0},
    {"description", ANNOTATION, 0},
    {"default", ANNOTATION, 0},
    {"examples", ANNOTATION, 0},
    {"deprecated", ANNOTATION, 0},
    {"discriminator", ANNOTATION, 0}, /* OpenAPI's, beside oneOf */
    {"readOnly", ANNOTATION, 0},
    {"writeOnly", ANNOTATION, 0},
    {"$comment", ANNOTATION, 0},
    {"$schema", ANNOTATION, 0},
    {"$id", ANNOTATION, 0},
    {"$defs", ANNOTATION, 0},
    {"definitions", ANNOTATION, 0},
};
enum { N_KNOWN = sizeof known / sizeof *known };

bool schema_is_annotation(const char *keyword) {
    for (size_t i = 0; i < N_KNOWN; i++)
        if (strcmp(known[i].name, keyword) == 0) return known[i].role == ANNOTATION;
    return false;
}

/* Refuses what is not known; *spoken: the types that assertions speak of; *n_forms and *assertion: what may not stand beside each other. */
static bool check_keywords(compiler *c, json_t *schema, unsigned *spoken, size_t *n_forms, const char **assertion) {
    const char *name;
    json_t *value;
    json_object_foreach(schema, name, value) {
        size_t i = 0;
        while (i < N_KNOWN && strcmp(known[i].name, name) != 0) i++;
        if (i == N_KNOWN) return schema_fail(c, QAIO_ERR_UNSUPPORTED, "the keyword \"%.60s\" is not supported", name);
        *spoken |= known[i].types;
        if (known[i].role == ASSERTION) *assertion = known[i].name;
        if (known[i].role == FORM && strcmp(name, "type") != 0) ++*n_forms;
    }
    return true;
}

/* The types that `type` allows; absent: all. */
bool schema_types(compiler *c, const json_t *schema, unsigned *out) {
    const json_t *value = json_object_get(schema, "type");
    bool is_list = json_is_array(value);
    *out = value ? 0 : ANY_TYPE;
    if (is_list && json_array_size(value) == 0) return schema_fail(c, QAIO_ERR_ARGUMENT, "type is an empty list");
    for (size_t i = 0; i < (is_list ? json_array_size(value) : value != NULL); i++) {
        const char *name = json_string_value(is_list ? json_array_get(value, i) : value);
        size_t k = 0;
        while (name && k < N_TYPES && strcmp(types[k].name, name) != 0) k++;
        if (!name || k == N_TYPES)
            return schema_fail(c, QAIO_ERR_ARGUMENT,
                               "type must be null, boolean, integer, number, string, array, object or a list of these");
        *out |= types[k].type;
    }
    return true;
}

/* ---- references ---- */

/* The next step of a JSON Pointer, unescaped into name; moves *pointer behind it. */
static bool pointer_step(const char **pointer, str *name) {
    const char *p = *pointer;
    if (*p++ != '/') return false;
    str_clear(name);
    for (; *p && *p != '/'; p++) {
        char code = *p == '~' ? p[1] : '\0';
        if (*p == '~' && code != '0' && code != '1') return false;
        str_putc(name, code == '0' ? '~' : code == '1' ? '/' : *p);
        if (code) p++;
    }
    str_puts(name, "");
    *pointer = p;
    return true;
}

static const json_t *resolve(const json_t *root, const char *ref, bool *has_failed) {
    str name = {0};
    const json_t *at = *ref == '#' ? root : NULL;
    const char *p = ref + 1;
    while (at && *p) at = pointer_step(&p, &name) && !name.failed ? json_object_get(at, name.data) : NULL;
    *has_failed = name.failed;
    str_deinit(&name);
    return at;
}

const json_t *schema_target(compiler *c, const json_t *schema) {
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    bool has_failed = false;
    const json_t *target = ref ? resolve(c->root, ref, &has_failed) : NULL;
    if (has_failed)
        error_memory(c->err);
    else if (!target)
        schema_fail(c, QAIO_ERR_UNSUPPORTED, "$ref \"%.60s\" is no place in this schema (\"#\", \"#/$defs/name\")", ref ? ref : "");
    return target;
}

static bool compile_ref(compiler *c, const json_t *schema, expr *out) {
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    const json_t *target = schema_target(c, schema);
    if (!target) return false;
    size_t i = 0;
    while (i < c->n_named && c->named[i].schema != target) i++;
    if (i == SCHEMA_MAX_RULES) return schema_fail(c, QAIO_ERR_LIMIT, "more than %d schemas are named by $ref", SCHEMA_MAX_RULES);
    if (i == c->n_named) c->named[c->n_named++] = (named_schema){target, ref, grammar_rule(c->g)};
    *out = grammar_named(c->g, c->named[i].rule);
    return true;
}

/* Compiling a rule may find new ones. */
static bool compile_named(compiler *c) {
    for (size_t i = 0; i < c->n_named; i++) {
        expr body = EXPR_NOTHING;
        str_clear(&c->path);
        str_puts(&c->path, c->named[i].where);
        if (c->path.failed) return error_memory(c->err), false;
        if (!compile(c, c->named[i].schema, 0, &body)) return false;
        grammar_define(c->g, c->named[i].rule, body);
    }
    return true;
}

/* ---- choices ---- */

/* keyword: anyOf, or oneOf of schemas that have nothing in common. */
static bool compile_any_of(compiler *c, const json_t *schema, const char *keyword, size_t depth, expr *out) {
    const json_t *list = json_object_get(schema, keyword);
    if (json_array_size(list) == 0) return schema_fail(c, QAIO_ERR_ARGUMENT, "%s must be a list of schemas", keyword);
    *out = EXPR_NOTHING;
    for (size_t i = 0; i < json_array_size(list); i++) {
        expr one = EXPR_NOTHING;
        if (!compile_nth(c, json_array_get(list, i), keyword, i, depth, &one)) return false;
        *out = grammar_or(c->g, *out, one);
    }
    return true;
}

unsigned schema_type_of(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return OBJECT;
    case JSON_ARRAY:
        return ARRAY;
    case JSON_STRING:
        return STRING;
    case JSON_INTEGER:
        return INTEGER | NUMBER;
    case JSON_REAL:
        return NUMBER;
    case JSON_NULL:
        return NULL_TYPE;
    default:
        return BOOLEAN;
    }
}

/* The value's own text. */
static bool literal(compiler *c, const json_t *value, expr *out) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text) return error_memory(c->err), false;
    *out = grammar_text(c->g, text, strlen(text));
    free(text);
    return true;
}

static bool compile_choices(compiler *c, const json_t *schema, unsigned allowed, expr *out) {
    const json_t *single = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    if (!single && json_array_size(list) == 0) return schema_fail(c, QAIO_ERR_ARGUMENT, "enum must be a list of values");
    *out = EXPR_NOTHING;
    for (size_t i = 0; i < (single ? 1 : json_array_size(list)); i++) {
        const json_t *value = single ? single : json_array_get(list, i);
        expr one = EXPR_NOTHING;
        if (++c->n_choices > SCHEMA_MAX_CHOICES)
            return schema_fail(c, QAIO_ERR_LIMIT, "more than %d values of enum and const", SCHEMA_MAX_CHOICES);
        if (!(schema_type_of(value) & allowed)) continue;
        if (!literal(c, value, &one)) return false;
        *out = grammar_or(c->g, *out, one);
    }
    return *out != EXPR_NOTHING || grammar_check(c->g, NULL) ||
           schema_fail(c, QAIO_ERR_ARGUMENT, "no value of enum or const has the type that is asked for");
}

/* ---- objects ---- */

static bool is_required(const json_t *schema, const char *name) {
    const json_t *list = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), name) == 0) return true;
    return false;
}

static bool check_required(compiler *c, const json_t *schema) {
    const json_t *list = json_object_get(schema, "required"), *properties = json_object_get(schema, "properties");
    if (list && !json_is_array(list)) return schema_fail(c, QAIO_ERR_ARGUMENT, "required must be a list of names");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *name = json_string_value(entry);
        if (!name || strlen(name) != json_string_length(entry))
            return schema_fail(c, QAIO_ERR_ARGUMENT, "required must be a list of names");
        if (!json_object_get(properties, name))
            return schema_fail(c, QAIO_ERR_UNSUPPORTED, "required names \"%.60s\", which is not among the properties", name);
    }
    return true;
}

static bool compile_property(compiler *c, const char *name, const json_t *schema, size_t depth, expr *out) {
    expr key = EXPR_NOTHING, value = EXPR_NOTHING;
    if (++c->n_properties > SCHEMA_MAX_PROPERTIES) return schema_fail(c, QAIO_ERR_LIMIT, "more than %d properties", SCHEMA_MAX_PROPERTIES);
    if (!compile_at(c, schema, "properties", name, depth, &value)) return false;
    json_t *text = json_string(name);
    bool ok = text ? literal(c, text, &key) : (error_memory(c->err), false);
    json_decref(text);
    *out = json_pair(c->g, &c->json, key, value);
    return ok;
}

/* Properties in the order of the schema; those that are not required may be left out.  From the last to the first, `after` is what may
 * follow when a member stands before, `first` when none does. */
static bool compile_properties(compiler *c, const json_t *schema, json_t *properties, size_t depth, expr *out) {
    grammar *g = c->g;
    size_t n = json_object_size(properties), i = 0;
    struct {
        expr member;
        bool is_required;
    } *list = mem_array(n, sizeof *list);
    if (!list) return error_memory(c->err), false;
    bool ok = true;
    for (void *at = json_object_iter(properties); at && ok; at = json_object_iter_next(properties, at), i++) {
        const char *name = json_object_iter_key(at);
        ok = compile_property(c, name, json_object_iter_value(at), depth, &list[i].member);
        list[i].is_required = is_required(schema, name);
    }
    expr close = grammar_then(g, c->json.gap, grammar_text(g, "}", 1)), comma = grammar_then(g, grammar_text(g, ",", 1), c->json.gap);
    expr after = close, first = close;
    while (ok && i-- > 0) {
        expr member = grammar_then(g, list[i].member, after);
        expr as_first = grammar_then(g, c->json.gap, member), as_next = grammar_then(g, comma, member);
        first = list[i].is_required ? as_first : grammar_or(g, as_first, first);
        after = list[i].is_required ? as_next : grammar_or(g, as_next, after);
    }
    *out = grammar_then(g, grammar_text(g, "{", 1), first);
    mem_free(list);
    return ok;
}

static bool compile_object(compiler *c, const json_t *schema, size_t depth, expr *out) {
    json_t *properties = json_object_get(schema, "properties");
    const json_t *additional = json_object_get(schema, "additionalProperties");
    expr value = c->json.value;
    if (properties && !json_is_object(properties)) return schema_fail(c, QAIO_ERR_ARGUMENT, "properties must be an object");
    if (!check_required(c, schema)) return false;
    if (additional && !json_is_boolean(additional) && !compile_at(c, additional, "additionalProperties", NULL, depth, &value)) return false;
    /* Members that no property describes are left out where there are properties: such an object satisfies the schema as well. */
    if (json_object_size(properties) > 0 || json_is_false(additional)) return compile_properties(c, schema, properties, depth, out);
    *out = json_list(c->g, &c->json, "{}", json_pair(c->g, &c->json, c->json.string, value), 0, GRAMMAR_ANY);
    return true;
}

typedef struct array_shape {
    uint32_t least, most;
    expr item; /* behind prefixItems */
} array_shape;

/* [first, second ..., item, item ...]: from the last of prefixItems to the first, `after` is what may follow when an item stands before. */
static bool compile_tuple(compiler *c, const json_t *list, size_t depth, const array_shape *shape, expr *out) {
    grammar *g = c->g;
    size_t n = json_array_size(list);
    expr close = grammar_then(g, c->json.gap, grammar_text(g, "]", 1)), comma = grammar_then(g, grammar_text(g, ",", 1), c->json.gap);
    expr next = grammar_then(g, comma, shape->item), after = EXPR_NOTHING;
    uint32_t k = (uint32_t)n, most = shape->most, least = shape->least;
    uint32_t left = most == GRAMMAR_ANY ? most : most > k ? most - k : 0;
    if (least <= k || left > 0) after = grammar_then(g, grammar_repeat(g, next, least > k ? least - k : 0, left), close);
    while (k-- > 0) {
        expr item = EXPR_NOTHING;
        if (!compile_nth(c, json_array_get(list, k), "prefixItems", k, depth, &item)) return false;
        expr longer = k < most ? grammar_then(g, item, after) : EXPR_NOTHING;
        expr with_item = grammar_then(g, k ? comma : c->json.gap, longer);
        after = k >= least ? grammar_or(g, with_item, close) : with_item;
    }
    *out = grammar_then(g, grammar_text(g, "[", 1), after);
    return *out != EXPR_NOTHING || grammar_check(g, NULL) || schema_fail(c, QAIO_ERR_ARGUMENT, "no array satisfies it");
}

static bool compile_array(compiler *c, const json_t *schema, size_t depth, expr *out) {
    const json_t *items = json_object_get(schema, "items"), *first = json_object_get(schema, "prefixItems");
    array_shape shape = {.least = 0, .most = GRAMMAR_ANY, .item = c->json.value};
    if (!schema_count(c, schema, "minItems", &shape.least) || !schema_count(c, schema, "maxItems", &shape.most)) return false;
    if (shape.least > shape.most) return schema_fail(c, QAIO_ERR_ARGUMENT, "minItems is more than maxItems");
    if (first && json_array_size(first) == 0) return schema_fail(c, QAIO_ERR_ARGUMENT, "prefixItems must be a list of schemas");
    if (json_is_false(items)) { /* none but the first */
        uint32_t n = (uint32_t)json_array_size(first);
        if (shape.least > n) return schema_fail(c, QAIO_ERR_ARGUMENT, "items is false, and minItems asks for more than there may be");
        if (shape.most > n) shape.most = n;
    } else if (items && !compile_at(c, items, "items", NULL, depth, &shape.item)) {
        return false;
    }
    if (first) return compile_tuple(c, first, depth, &shape, out);
    *out = json_list(c->g, &c->json, "[]", shape.item, shape.least, shape.most);
    return true;
}

/* ---- one schema ---- */

static bool compile_types(compiler *c, const json_t *schema, unsigned allowed, size_t depth, expr *out) {
    grammar *g = c->g;
    expr parts[N_TYPES] = {EXPR_NOTHING};
    if (allowed & NULL_TYPE) parts[0] = grammar_text(g, "null", 4);
    if (allowed & BOOLEAN) parts[1] = grammar_or(g, grammar_text(g, "true", 4), grammar_text(g, "false", 5));
    if ((allowed & (INTEGER | NUMBER)) && !schema_number(c, schema, !(allowed & NUMBER), &parts[2])) return false;
    if ((allowed & STRING) && !schema_string(c, schema, &parts[3])) return false;
    if ((allowed & ARRAY) && !compile_array(c, schema, depth, &parts[4])) return false;
    if ((allowed & OBJECT) && !compile_object(c, schema, depth, &parts[5])) return false;
    *out = grammar_either(g, parts, N_TYPES);
    return true;
}

/* One schema alone is that schema; several are merged. */
static bool compile_all_of(compiler *c, const json_t *schema, size_t depth, expr *out) {
    json_t *merged = NULL;
    if (!schema_merge(c, schema, &merged)) return false;
    bool ok = compile(c, merged, depth + 1, out);
    json_decref(merged);
    return ok;
}

static bool compile(compiler *c, const json_t *schema, size_t depth, expr *out) {
    unsigned allowed = 0, spoken = 0;
    size_t n_forms = 0;
    const char *assertion = NULL;
    if (json_is_true(schema)) return *out = c->json.value, true;
    if (!json_is_object(schema)) return schema_fail(c, QAIO_ERR_ARGUMENT, "a schema must be an object (or true)");
    if (depth > SCHEMA_MAX_DEPTH) return schema_fail(c, QAIO_ERR_LIMIT, "schemas are nested more than %d levels deep", SCHEMA_MAX_DEPTH);
    if (!check_keywords(c, (json_t *)(uintptr_t)schema, &spoken, &n_forms, &assertion) || !schema_types(c, schema, &allowed)) return false;
    if (n_forms > 1)
        return schema_fail(c, QAIO_ERR_UNSUPPORTED, "only one of $ref, anyOf, oneOf, allOf, enum and const can be honoured at a time");
    if (json_object_get(schema, "allOf")) return compile_all_of(c, schema, depth, out);
    if (n_forms && assertion)
        return schema_fail(c, QAIO_ERR_UNSUPPORTED, "%s beside $ref, anyOf, oneOf, enum or const is not supported", assertion);
    bool has_type = allowed != ANY_TYPE;
    if (json_object_get(schema, "enum") || json_object_get(schema, "const")) return compile_choices(c, schema, allowed, out);
    if (n_forms && has_type) return schema_fail(c, QAIO_ERR_UNSUPPORTED, "type beside $ref, anyOf or oneOf is not supported");
    if (json_object_get(schema, "$ref")) return compile_ref(c, schema, out);
    if (json_object_get(schema, "oneOf") && !schema_is_disjoint(c, json_object_get(schema, "oneOf"))) return false;
    if (n_forms) return compile_any_of(c, schema, json_object_get(schema, "oneOf") ? "oneOf" : "anyOf", depth, out);
    if (!has_type && !spoken) return *out = c->json.value, true;
    return compile_types(c, schema, has_type ? allowed : spoken, depth, out);
}

qaio_status schema_grammar(grammar **out, const json_t *schema, qaio_error *err) {
    qaio_error local = {0};
    compiler *c = mem_zalloc(sizeof *c);
    expr start = EXPR_NOTHING;
    qaio_status status = c ? grammar_new(&c->g, &local) : error_memory(&local);
    if (status) goto done;
    c->root = schema;
    c->err = &local;
    json_parts_make(&c->json, c->g);
    str_puts(&c->path, "#");
    if (schema ? !c->path.failed && compile(c, schema, 0, &start) && compile_named(c) : (start = c->json.object, true))
        status = grammar_begin(c->g, start, &local);
    else
        status = c->path.failed ? error_memory(&local) : local.status;
    if (!status) {
        *out = c->g;
        c->g = NULL;
    }
done:
    if (status && err) *err = local;
    if (c) {
        grammar_free(c->g);
        str_deinit(&c->path);
    }
    mem_free(c);
    return status;
}
