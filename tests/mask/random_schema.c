#include "random_schema.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

uint32_t random_below(uint64_t *state, uint32_t n) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

/* ---- schemas ---- */

static json_t *part(uint64_t *state, int depth);

static json_t *random_string(uint64_t *state) {
    json_t *s = json_pack("{s:s}", "type", "string");
    uint32_t least = random_below(state, 4);
    if (random_below(state, 2)) json_object_set_new(s, "minLength", json_integer(least));
    if (random_below(state, 2)) json_object_set_new(s, "maxLength", json_integer(least + random_below(state, 5)));
    if (random_below(state, 3) == 0) json_object_set_new(s, "pattern", json_string("^[^b]*$")); /* the judge knows only this one */
    return s;
}

static json_t *random_number(uint64_t *state) {
    json_t *s = json_pack("{s:s}", "type", random_below(state, 2) ? "integer" : "number");
    int least = (int)random_below(state, 300) - 150;
    bool has_least = random_below(state, 2), is_exclusive = random_below(state, 2);
    if (has_least) json_object_set_new(s, is_exclusive ? "exclusiveMinimum" : "minimum", json_integer(least));
    if (random_below(state, 2))
        json_object_set_new(s, random_below(state, 2) ? "exclusiveMaximum" : "maximum",
                            json_integer(least + 2 + (int)random_below(state, 200)));
    bool has_bound = json_object_size(s) > 1;
    if (!has_bound && random_below(state, 2)) json_object_set_new(s, "multipleOf", json_integer(1 + random_below(state, 100)));
    return s;
}

static json_t *random_choice(uint64_t *state) {
    static const char *const values[] = {"\"正面\"", "\"负面\"", "\"a\\\"\\\\\\nb\"", "1", "-2.5", "null", "true", "[1,{}]", "\"正\""};
    json_t *list = json_array();
    for (uint32_t i = 0, n = 1 + random_below(state, 4); i < n; i++)
        json_array_append_new(list, json_loads(values[random_below(state, sizeof values / sizeof *values)], JSON_DECODE_ANY, NULL));
    return json_pack("{s:o}", "enum", list);
}

static json_t *random_array(uint64_t *state, int depth) {
    json_t *s = json_pack("{s:s, s:o}", "type", "array", "items", part(state, depth + 1));
    uint32_t least = random_below(state, 3);
    if (random_below(state, 3) == 0) {
        json_object_set_new(s, "prefixItems", json_pack("[o, o]", part(state, depth + 1), part(state, depth + 1)));
        if (random_below(state, 2)) json_object_set_new(s, "items", json_false());
    }
    if (random_below(state, 2)) json_object_set_new(s, "minItems", json_integer(least));
    if (random_below(state, 2)) json_object_set_new(s, "maxItems", json_integer(least + random_below(state, 3)));
    return s;
}

static json_t *random_object(uint64_t *state, int depth) {
    json_t *properties = json_object(), *required = json_array();
    for (uint32_t i = 0, n = random_below(state, 4); i < n; i++) {
        static const char *const names[] = {"a", "名字", "b \"c\"", "long name"};
        json_object_set_new(properties, names[i], part(state, depth + 1));
        if (random_below(state, 2)) json_array_append_new(required, json_string(names[i]));
    }
    json_t *s = json_pack("{s:s, s:o, s:o}", "type", "object", "properties", properties, "required", required);
    if (random_below(state, 2))
        json_object_set_new(s, "additionalProperties", random_below(state, 2) ? json_false() : json_pack("{s:s}", "type", "integer"));
    return s;
}

static json_t *random_all_of(uint64_t *state, int depth) {
    json_t *other = json_pack("{s:s, s:{s:o}}", "type", "object", "properties", "other", part(state, depth + 1));
    if (random_below(state, 2)) json_object_set_new(other, "required", json_pack("[s]", "other"));
    json_t *one = random_object(state, depth);
    json_object_del(one, "additionalProperties");
    return json_pack("{s:[o, o]}", "allOf", one, other);
}

static json_t *part(uint64_t *state, int depth) {
    switch (random_below(state, depth < 3 ? 13 : 6)) {
    case 0:
        return random_string(state);
    case 1:
        return random_number(state);
    case 2:
        return random_choice(state);
    case 3:
        return json_pack("{s:s}", "type", random_below(state, 2) ? "boolean" : "null");
    case 4:
        return json_pack("{s:s}", "$ref", random_below(state, 2) ? "#/$defs/r" : "#/$defs/s");
    case 5:
        return random_below(state, 4) ? json_pack("{s:[s, s]}", "type", "string", "null") : json_object();
    case 6:
    case 7:
        return random_array(state, depth);
    case 8:
    case 9:
        return random_object(state, depth);
    case 10:
        return json_pack("{s:[o, o, {s:s}]}", "oneOf", random_array(state, depth), random_object(state, depth), "type", "string");
    case 11:
        return random_all_of(state, depth);
    default:
        return json_pack("{s:[o, o]}", "anyOf", part(state, depth + 1), part(state, depth + 1));
    }
}

json_t *random_schema(uint64_t *state) {
    json_t *root = part(state, 0);
    json_object_set_new(root, "$defs", json_pack("{s:o, s:o}", "r", random_object(state, 1), "s", random_array(state, 1)));
    return root;
}

/* ---- the judge ---- */

static bool has_type(const json_t *value, const char *type) {
    static const struct {
        const char *name;
        json_type type;
    } names[] = {{"null", JSON_NULL}, {"string", JSON_STRING}, {"array", JSON_ARRAY}, {"object", JSON_OBJECT}};
    if (strcmp(type, "integer") == 0) return json_is_integer(value);
    if (strcmp(type, "number") == 0) return json_is_number(value);
    if (strcmp(type, "boolean") == 0) return json_is_boolean(value);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, type) == 0) return json_typeof(value) == names[i].type;
    return false;
}

static bool is_one_of(const json_t *list, const json_t *value) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), value)) return true;
    return false;
}

static bool type_allows(const json_t *type, const json_t *value) {
    if (!type) return true;
    if (json_is_string(type)) return has_type(value, json_string_value(type));
    for (size_t i = 0; i < json_array_size(type); i++)
        if (has_type(value, json_string_value(json_array_get(type, i)))) return true;
    return false;
}

static bool count_allows(const json_t *schema, const char *least, const char *most, size_t n) {
    const json_t *min = json_object_get(schema, least), *max = json_object_get(schema, most);
    return (!min || n >= (size_t)json_integer_value(min)) && (!max || n <= (size_t)json_integer_value(max));
}

static size_t n_characters(const json_t *string) {
    const char *text = json_string_value(string);
    size_t n = 0;
    for (size_t i = 0; i < json_string_length(string); i++) n += ((uint8_t)text[i] & 0xC0) != 0x80;
    return n;
}

static bool number_allows(const json_t *schema, const json_t *value) {
    double x = json_number_value(value);
    const json_t *bound;
    if ((bound = json_object_get(schema, "minimum")) && x < json_number_value(bound)) return false;
    if ((bound = json_object_get(schema, "exclusiveMinimum")) && x <= json_number_value(bound)) return false;
    if ((bound = json_object_get(schema, "multipleOf")) && json_integer_value(value) % json_integer_value(bound) != 0) return false;
    if ((bound = json_object_get(schema, "maximum")) && x > json_number_value(bound)) return false;
    return !(bound = json_object_get(schema, "exclusiveMaximum")) || x < json_number_value(bound);
}

static bool object_allows(const json_t *root, const json_t *schema, json_t *value) {
    const json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
    const json_t *additional = json_object_get(schema, "additionalProperties");
    for (size_t i = 0; i < json_array_size(required); i++)
        if (!json_object_get(value, json_string_value(json_array_get(required, i)))) return false;
    const char *name;
    json_t *member;
    json_object_foreach(value, name, member) {
        const json_t *s = json_object_get(properties, name);
        if (!s && json_is_false(additional)) return false;
        if (!s) s = additional;
        if (s && !schema_accepts(root, s, member)) return false;
    }
    return true;
}

static size_t n_accepting(const json_t *root, const json_t *list, const json_t *value) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) n += schema_accepts(root, json_array_get(list, i), value);
    return n;
}

bool schema_accepts(const json_t *root, const json_t *schema, const json_t *value) {
    const json_t *ref = json_object_get(schema, "$ref"), *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf");
    const json_t *all = json_object_get(schema, "allOf");
    if (json_is_boolean(schema)) return json_is_true(schema);
    if (ref) return schema_accepts(root, json_object_get(json_object_get(root, "$defs"), strrchr(json_string_value(ref), '/') + 1), value);
    if (any) return n_accepting(root, any, value) > 0;
    if (one) return n_accepting(root, one, value) == 1;
    if (all) return n_accepting(root, all, value) == json_array_size(all);
    if (json_object_get(schema, "enum") && !is_one_of(json_object_get(schema, "enum"), value)) return false;
    if (!type_allows(json_object_get(schema, "type"), value)) return false;
    if (json_is_string(value))
        return count_allows(schema, "minLength", "maxLength", n_characters(value)) &&
               !(json_object_get(schema, "pattern") && strchr(json_string_value(value), 'b'));
    if (json_is_number(value)) return number_allows(schema, value);
    if (json_is_object(value)) return object_allows(root, schema, (json_t *)(uintptr_t)value);
    if (!json_is_array(value)) return true;
    const json_t *items = json_object_get(schema, "items"), *first = json_object_get(schema, "prefixItems");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *of_item = i < json_array_size(first) ? json_array_get(first, i) : items;
        if (of_item && !schema_accepts(root, of_item, json_array_get(value, i))) return false;
    }
    return count_allows(schema, "minItems", "maxItems", json_array_size(value));
}
