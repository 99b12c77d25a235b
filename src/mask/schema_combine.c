/* Schemas of schemas: oneOf where at most one can hold, which makes it anyOf; allOf of objects, which makes one object of them. */
#include <string.h>

#include "base/mem.h"
#include "mask/schema_internal.h"

#define MAX_LOOKS      8    /* schemas inside each other that a comparison looks into; deeper is "not known" */
#define EQUALITY_LOOKS 1024 /* what comparing two schemas member by member counts as */

/* False: schemas that name each other many times over have cost enough. */
static bool may_look(compiler *c, size_t n) {
    c->n_looks = n > SCHEMA_MAX_LOOKS - c->n_looks ? SCHEMA_MAX_LOOKS : c->n_looks + n;
    return c->n_looks < SCHEMA_MAX_LOOKS;
}

static bool too_many(compiler *c) { return schema_fail(c, QAIO_ERR_LIMIT, "oneOf and allOf have too many parts"); }

/* ---- what a schema allows ---- */

/* Behind references; NULL: not known, or a failure. */
static const json_t *behind(compiler *c, const json_t *schema) {
    for (size_t i = 0; schema && i < MAX_LOOKS && json_object_get(schema, "$ref"); i++) schema = schema_target(c, schema);
    return schema && !json_object_get(schema, "$ref") ? schema : NULL;
}

static size_t n_choices(const json_t *schema) {
    return json_object_get(schema, "const") ? 1 : json_array_size(json_object_get(schema, "enum"));
}

static const json_t *choice_at(const json_t *schema, size_t i) {
    const json_t *single = json_object_get(schema, "const");
    return single ? single : json_array_get(json_object_get(schema, "enum"), i);
}

/* No fewer types than the values have that satisfy it.  1.0 is an integer to JSON Schema: there is one type of numbers. */
static unsigned types_of(compiler *c, const json_t *schema, size_t depth) {
    static const char *const lists[] = {"anyOf", "oneOf"};
    unsigned allowed = ANY_TYPE, types = 0;
    if (depth > MAX_LOOKS || !may_look(c, 1) || !(schema = behind(c, schema)) || !json_is_object(schema)) return ANY_TYPE;
    if (!schema_types(c, schema, &allowed)) return ANY_TYPE;
    for (size_t i = 0; i < n_choices(schema); i++) types |= schema_type_of(choice_at(schema, i));
    for (size_t k = 0; k < 2; k++) {
        const json_t *list = json_object_get(schema, lists[k]);
        for (size_t i = 0; i < json_array_size(list); i++) types |= types_of(c, json_array_get(list, i), depth + 1);
    }
    const json_t *all = json_object_get(schema, "allOf");
    for (size_t i = 0; i < json_array_size(all); i++) allowed &= types_of(c, json_array_get(all, i), depth + 1);
    types = types ? types & allowed : allowed;
    return types & (INTEGER | NUMBER) ? types | INTEGER | NUMBER : types;
}

/* ---- oneOf ---- */

static bool is_same_value(const json_t *a, const json_t *b) {
    if (!json_is_number(a) || !json_is_number(b)) return json_equal(a, b);
    double x = json_number_value(a), y = json_number_value(b);
    return x <= y && x >= y;
}

static bool has_common_choice(const json_t *a, const json_t *b) {
    for (size_t i = 0; i < n_choices(a); i++)
        for (size_t k = 0; k < n_choices(b); k++)
            if (is_same_value(choice_at(a, i), choice_at(b, k))) return true;
    return false;
}

static bool is_apart(compiler *c, const json_t *a, const json_t *b, size_t depth);

/* A member that every object of a has, and that no object of b may have, or only with another value. */
static bool is_told_apart(compiler *c, const json_t *a, const json_t *b, size_t depth) {
    const json_t *required = json_object_get(a, "required"), *of_a = json_object_get(a, "properties"),
                 *of_b = json_object_get(b, "properties");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        const json_t *x = name ? json_object_get(of_a, name) : NULL, *y = name ? json_object_get(of_b, name) : NULL;
        if (name && !y && json_is_false(json_object_get(b, "additionalProperties"))) return true;
        if (x && y && is_apart(c, x, y, depth + 1)) return true;
    }
    return false;
}

/* Whether it is sure that no value satisfies both. */
static bool is_apart(compiler *c, const json_t *a, const json_t *b, size_t depth) {
    if (depth > MAX_LOOKS || !may_look(c, 1) || !(a = behind(c, a)) || !(b = behind(c, b))) return false;
    unsigned common = types_of(c, a, depth) & types_of(c, b, depth);
    if (!common) return true;
    if (n_choices(a) && n_choices(b)) return may_look(c, n_choices(a) * n_choices(b)) && !has_common_choice(a, b);
    return common == OBJECT && (is_told_apart(c, a, b, depth) || is_told_apart(c, b, a, depth));
}

bool schema_is_disjoint(compiler *c, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t k = 0; k < i; k++) {
            c->err->status = QAIO_OK;
            if (is_apart(c, json_array_get(list, i), json_array_get(list, k), 0)) continue;
            if (c->err->status) return false; /* a reference or a type that makes no sense */
            if (c->n_looks == SCHEMA_MAX_LOOKS) return too_many(c);
            return schema_fail(c, QAIO_ERR_UNSUPPORTED,
                               "oneOf is supported where type, const, enum or a required property tells its schemas apart; "
                               "%zu and %zu may hold together",
                               k, i);
        }
    return true;
}

/* ---- allOf ---- */

/* One object from several schemas. */
typedef struct merger {
    compiler *c;
    json_t *merged;                /* owned */
    json_t *properties, *required; /* of it */
    json_t *closed;                /* owned: the properties of each part that allows no others */
} merger;

static bool memory_failed(merger *m) { return error_memory(m->c->err), false; }

static bool add_property(merger *m, const char *name, json_t *schema) {
    json_t *other = json_object_get(m->properties, name);
    bool is_same = other == schema;
    if (!may_look(m->c, other && !is_same ? EQUALITY_LOOKS : 1)) return too_many(m->c);
    if (!other || is_same || json_equal(other, schema)) return json_object_set(m->properties, name, schema) == 0 || memory_failed(m);
    json_t *both = json_pack("{s:[O, O]}", "allOf", other, schema);
    return (both && json_object_set_new(m->properties, name, both) == 0) || memory_failed(m);
}

static bool add_properties(merger *m, json_t *properties) {
    const char *name;
    json_t *value;
    if (!json_is_object(properties)) return schema_fail(m->c, QAIO_ERR_ARGUMENT, "allOf: properties must be an object");
    json_object_foreach(properties, name, value) if (!add_property(m, name, value)) return false;
    return true;
}

static bool add_additional(merger *m, const json_t *part, const json_t *value) {
    json_t *properties = json_object_get(part, "properties");
    if (json_is_true(value)) return true;
    if (!json_is_false(value)) return schema_fail(m->c, QAIO_ERR_UNSUPPORTED, "allOf: additionalProperties must be true or false there");
    return (properties ? json_array_append(m->closed, properties) : json_array_append_new(m->closed, json_object())) == 0 ||
           memory_failed(m);
}

static bool absorb(merger *m, json_t *part, size_t depth);

static bool absorb_list(merger *m, const json_t *list, size_t depth) {
    if (json_array_size(list) == 0) return schema_fail(m->c, QAIO_ERR_ARGUMENT, "allOf must be a list of schemas");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!absorb(m, json_array_get(list, i), depth + 1)) return false;
    return true;
}

static bool absorb_keyword(merger *m, json_t *part, const char *name, json_t *value, size_t depth) {
    if (schema_is_annotation(name)) return true;
    if (strcmp(name, "allOf") == 0) return absorb_list(m, value, depth);
    if (strcmp(name, "properties") == 0) return add_properties(m, value);
    if (strcmp(name, "additionalProperties") == 0) return add_additional(m, part, value);
    if (strcmp(name, "required") == 0)
        return json_is_array(value) ? json_array_extend(m->required, value) == 0 || memory_failed(m)
                                    : schema_fail(m->c, QAIO_ERR_ARGUMENT, "required must be a list of names");
    const char *type = strcmp(name, "type") == 0 ? json_string_value(value) : NULL;
    if (type && strcmp(type, "object") == 0) return true;
    return schema_fail(m->c, QAIO_ERR_UNSUPPORTED,
                       "allOf is supported of objects with properties, required and additionalProperties, not with %.60s", name);
}

static bool absorb(merger *m, json_t *part, size_t depth) {
    const char *name;
    json_t *value;
    if (json_is_true(part)) return true;
    if (!json_is_object(part)) return schema_fail(m->c, QAIO_ERR_ARGUMENT, "allOf: a schema must be an object (or true)");
    if (!may_look(m->c, 1)) return too_many(m->c);
    if (depth > SCHEMA_MAX_DEPTH) return schema_fail(m->c, QAIO_ERR_LIMIT, "allOf is nested more than %d levels deep", SCHEMA_MAX_DEPTH);
    if (json_object_get(part, "$ref")) {
        const json_t *target = schema_target(m->c, part);
        json_object_foreach(part, name, value) if (strcmp(name, "$ref") != 0 && !schema_is_annotation(name)) target = NULL;
        if (!target && !m->c->err->status) return schema_fail(m->c, QAIO_ERR_UNSUPPORTED, "allOf: keywords beside $ref are not supported");
        return target && absorb(m, (json_t *)(uintptr_t)target, depth + 1);
    }
    json_object_foreach(part, name, value) if (!absorb_keyword(m, part, name, value, depth)) return false;
    return true;
}

/* A property that one part does not allow is left out: an object without it satisfies them all, unless it is required. */
static bool close(merger *m) {
    for (size_t i = 0; i < json_array_size(m->closed); i++) {
        const json_t *allowed = json_array_get(m->closed, i);
        const char *name;
        json_t *value;
        void *next;
        json_object_foreach_safe(m->properties, next, name, value) if (!json_object_get(allowed, name))
            json_object_del(m->properties, name);
    }
    return json_array_size(m->closed) == 0 || json_object_set_new(m->merged, "additionalProperties", json_false()) == 0 || memory_failed(m);
}

static bool is_one_alone(const json_t *schema) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, name,
                        value) if (strcmp(name, "allOf") != 0 && !schema_is_annotation(name)) return false;
    return json_array_size(json_object_get(schema, "allOf")) == 1;
}

bool schema_merge(compiler *c, const json_t *schema, json_t **out) {
    merger m = {.c = c};
    if (is_one_alone(schema)) {
        *out = json_incref(json_array_get(json_object_get(schema, "allOf"), 0));
        return true;
    }
    m.closed = json_array();
    m.merged = json_pack("{s:s, s:{}, s:[]}", "type", "object", "properties", "required");
    m.properties = json_object_get(m.merged, "properties");
    m.required = json_object_get(m.merged, "required");
    bool ok = m.closed && m.properties && m.required ? absorb(&m, (json_t *)(uintptr_t)schema, 0) && close(&m) : memory_failed(&m);
    json_decref(m.closed);
    if (ok)
        *out = m.merged;
    else
        json_decref(m.merged);
    return ok;
}
