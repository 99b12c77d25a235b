/* JSON schemas: what their grammars take, what is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "mask/schema.h"

static json_t *parse(const char *text) {
    json_error_t where;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &where);
    if (!value) fail_msg("%s: %s", text, where.text);
    return value;
}

static grammar *grammar_of(const char *schema) {
    json_t *value = schema ? parse(schema) : NULL;
    grammar *g = NULL;
    qaio_error err = {0};
    if (schema_grammar(&g, value, &err)) fail_msg("%s: %s", schema, err.message);
    json_decref(value);
    return g;
}

static bool takes(grammar *g, const char *text) {
    expr state = grammar_start(g);
    for (; *text && state != EXPR_NOTHING; text++) state = grammar_next(g, state, (uint8_t)*text);
    assert_int_equal(grammar_check(g, NULL), QAIO_OK);
    return grammar_accepts(g, state);
}

/* Texts are separated by a bar. */
static void expect(const char *schema, const char *good, const char *bad) {
    grammar *g = grammar_of(schema);
    for (int is_good = 1; is_good >= 0; is_good--) {
        char *list = strdup(is_good ? good : bad), *rest = list, *text;
        while ((text = strsep(&rest, "|")))
            if (takes(g, text) != is_good) fail_msg("%s %s %s", schema, is_good ? "does not take" : "takes", text);
        free(list);
    }
    grammar_free(g);
}

static void scalars_are_as_their_type_says(void **state) {
    (void)state;
    expect("{\"type\": \"string\"}", "\"\"|\"天气\"|\"a\\n\\\"\\u4f60\"|\"\\uFFFF\"",
           "|\"|a|\"\n\"|\"\\x\"|\"\\ud800\"|\"\\u0000\"|\"\xE4\"|\"\xED\xA0\x80\"|1");
    expect("{\"type\": \"integer\"}", "0|-0|7|-12|999999999999999999", "01|1.0|1e3|+1|-|1000000000000000000");
    expect("{\"type\": \"number\"}", "0|-1.5|1e10|2.5E-3|1e+7", ".5|1.|1e|00|1e100");
    expect("{\"type\": \"boolean\"}", "true|false", "null|True|tru");
    expect("{\"type\": \"null\"}", "null", "nul|0");
    expect("{\"type\": [\"integer\", \"null\"]}", "1|null", "\"1\"");
}

static void strings_have_the_length_that_is_asked_for(void **state) {
    (void)state;
    expect("{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}", "\"天气\"|\"天气好\"|\"\\n\\n\"", "\"天\"|\"天气好啊\"|\"\\n\"");
    expect("{\"maxLength\": 1}", "\"\"|\"a\"|\"\\u00e9\"", "\"ab\"|1"); /* speaks of strings, so only they come */
}

static void choices_are_literal(void **state) {
    (void)state;
    expect("{\"enum\": [\"正面\", \"负面\", 1, null, true]}", "\"正面\"|\"负面\"|1|null|true", "\"中性\"|正面|2|false|\"正\"");
    expect("{\"type\": \"string\", \"enum\": [\"a\\\"b\", 1]}", "\"a\\\"b\"", "1");
    expect("{\"const\": {\"a\": [1, 2.5]}}", "{\"a\":[1,2.5]}", "{\"a\": [1,2.5]}|{}");
}

static void objects_have_their_properties_in_order(void **state) {
    (void)state;
    static const char schema[] = "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": \"boolean\"}, "
                                 "\"c\": {\"type\": \"null\"}},"
                                 "\"required\": [\"a\", \"c\"], \"additionalProperties\": false}";
    expect(schema, "{\"a\":1,\"c\":null}|{\"a\": 1, \"b\": true, \"c\": null}|{\n  \"a\": 1,\n  \"c\": null\n}",
           "{}|{\"a\":1}|{\"c\":null,\"a\":1}|{\"a\":1,\"c\":null,}|{\"a\":1,\"b\":true}|{\"a\":1,\"c\":null,\"d\":1}|{\"a\":\"1\",\"c\":"
           "null}|{,\"a\":1,\"c\":null}");
    expect("{\"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": \"null\"}}}",
           "{}|{ }|{\"a\":null}|{\"b\":null}|{\"a\":null,\"b\":null}", "{\"b\":null,\"a\":null}|{,}|{\"a\":null,}|{\"c\":null}");
    expect("{\"type\": \"object\", \"additionalProperties\": false}", "{}", "{\"a\":1}");
    expect("{\"type\": \"object\", \"additionalProperties\": {\"type\": \"integer\"}}", "{}|{\"x\":1}|{\"x\":1,\"y\":2}",
           "{\"x\":true}|{x:1}");
    expect("{\"properties\": {\"a\\\"\\n/\": {}}, \"required\": [\"a\\\"\\n/\"]}", "{\"a\\\"\\n/\": [1, {\"z\": null}]}", "{}|{\"a\":1}");
}

static void arrays_have_the_items_that_are_asked_for(void **state) {
    (void)state;
    expect("{\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"minItems\": 1, \"maxItems\": 3}", "[1]|[1,2]|[ 1, 2, 3 ]|[1,\n 2]",
           "[]|[1,2,3,4]|[1,]|[true]|[1 2]");
    expect("{\"type\": \"array\", \"maxItems\": 0}", "[]", "[1]");
    expect("{\"type\": \"array\"}", "[]|[1,\"a\",null,{\"b\":[]}]", "[,]|{}");
    expect("{\"type\": \"array\", \"items\": {\"type\": \"array\", \"items\": {\"const\": 0}, \"minItems\": 1}}", "[]|[[0],[0,0]]",
           "[[]]|[0]");
}

static void any_of_takes_what_one_of_them_takes(void **state) {
    (void)state;
    expect("{\"anyOf\": [{\"type\": \"string\", \"maxLength\": 1}, {\"const\": \"none\"}, {\"type\": \"object\", \"properties\": {\"a\": "
           "{\"type\": \"null\"}}, \"required\": [\"a\"]},"
           "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}}, \"required\": [\"a\"]}]}",
           "\"x\"|\"none\"|{\"a\":null}|{\"a\":5}", "\"no\"|{\"a\":true}|{}");
}

/* Each may be there or not: 2^60 objects, but only sixty parts. */
static void many_optional_references_are_no_explosion(void **state) {
    (void)state;
    json_t *properties = json_object();
    for (int i = 0; i < 60; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        json_object_set_new(properties, name, json_pack("{s:s}", "$ref", "#/$defs/x"));
    }
    json_t *schema = json_pack("{s:o, s:{s:{s:s}}}", "properties", properties, "$defs", "x", "type", "null");
    grammar *g = NULL;
    assert_int_equal(schema_grammar(&g, schema, NULL), QAIO_OK);
    assert_true(takes(g, "{\"p3\":null,\"p17\":null,\"p59\":null}"));
    assert_false(takes(g, "{\"p3\":null,\"p2\":null}"));
    grammar_free(g);
    json_decref(schema);
}

static void references_may_be_recursive(void **state) {
    (void)state;
    expect("{\"$ref\": \"#/$defs/node\", \"$defs\": {\"node\": {\"type\": \"object\", \"properties\": {\"v\": {\"type\": \"integer\"}, "
           "\"next\": {\"anyOf\": [{\"$ref\": \"#/$defs/node\"}, "
           "{\"type\": \"null\"}]}}, \"required\": [\"v\", \"next\"]}}}",
           "{\"v\":1,\"next\":null}|{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3,\"next\":null}}}",
           "null|{\"v\":1}|{\"v\":1,\"next\":{\"v\":2}}");
    expect("{\"properties\": {\"kids\": {\"type\": \"array\", \"items\": {\"$ref\": \"#\"}}}, \"required\": [\"kids\"]}",
           "{\"kids\":[]}|{\"kids\":[{\"kids\":[]},{\"kids\":[]}]}", "[]|{\"kids\":[1]}");
    expect("{\"properties\": {\"a\": {\"$ref\": \"#/definitions/x~1y~0\"}}, \"required\": [\"a\"], \"definitions\": {\"x/y~\": {\"const\": "
           "1}}}",
           "{\"a\":1}", "{\"a\":2}");
}

static void json_of_any_kind_nests_up_to_the_limit(void **state) {
    (void)state;
    expect(NULL, "{}|{\"a\":{\"b\":[1,-2.5e3,true,false,null,\"x\"]}}|{ \"a\": [] }", "[]|1|{\"a\"}|{\"a\":}|{}x|{\"a\":nul}| {}");
    char nested[256] = "";
    memset(nested, '[', 200);
    grammar *g = grammar_of("{}");
    assert_false(takes(g, nested));
    size_t depth = 0;
    for (expr s = grammar_start(g); (s = grammar_next(g, s, '[')) != EXPR_NOTHING;) depth++;
    assert_int_equal(depth, GRAMMAR_MAX_DEPTH);
    grammar_free(g);
}

static void integers_lie_between_their_bounds(void **state) {
    (void)state;
    expect("{\"type\": \"integer\", \"minimum\": 1, \"maximum\": 5}", "1|3|5", "0|6|10|-1|15|01");
    expect("{\"type\": \"integer\", \"minimum\": -12, \"exclusiveMaximum\": 107}", "-12|-9|-1|0|7|99|100|106", "-13|-20|107|110|200");
    expect("{\"type\": \"integer\", \"exclusiveMinimum\": 2.5, \"maximum\": 1e3}", "3|999|1000", "2|1001|-3");
    expect("{\"type\": \"integer\", \"minimum\": 95}", "95|99|100|123456", "94|9|-95|-100");
    expect("{\"type\": \"integer\", \"maximum\": -3}", "-3|-10", "-2|0|3");
}

static void numbers_lie_between_their_bounds(void **state) {
    (void)state;
    expect("{\"type\": \"number\", \"minimum\": 0, \"maximum\": 1}", "0|1|0.5|1.0|0.999999", "1.1|2|-0.5|1.000001|10");
    expect("{\"type\": \"number\", \"exclusiveMinimum\": 0, \"exclusiveMaximum\": 10}", "0.1|9.999999|5", "0|10|0.0|10.0|-1");
    expect("{\"type\": \"number\", \"minimum\": -2, \"exclusiveMaximum\": 0}", "-2|-2.0|-1.5|-0.1", "0|-2.1|-0|1");
    expect("{\"type\": \"number\", \"minimum\": 20}", "20|20.5|300", "19.9|-20|2");
}

static void patterns_are_found_as_json_schema_finds_them(void **state) {
    (void)state;
    expect("{\"pattern\": \"^[A-Z]{2}-\\\\d+$\"}", "\"AB-1\"|\"ZZ-123\"", "\"A-1\"|\"AB-\"|\"xAB-1\"|\"AB-1x\"");
    expect("{\"pattern\": \"b+\"}", "\"b\"|\"abbc\"|\"天b\"", "\"\"|\"ac\"");
    expect("{\"pattern\": \"^(?:是|否|不(好|行))$|^x\"}", "\"是\"|\"不行\"|\"xyz\"", "\"不\"|\"是否\"|\"yx\"");
    expect("{\"pattern\": \"^[^a-y\\\"\\\\\\\\]\\\\s?.$\"}", "\"z1\"|\"z b\"|\"天天\"|\"z\\t!\"", "\"a1\"|\"\\\"1\"|\"z\\n\"");
    expect("{\"pattern\": \"^\\\"\\\\x41\\\\u5929[\\\\w-]$\"}", "\"\\\"A天_\"|\"\\\"A天-\"", "\"A天_\"");
    expect("{\"pattern\": \"^\\\\D\\\\S\\\\W$\"}", "\"aa!\"", "\"1a!\"|\"a !\"|\"aaa\"");
}

static void formats_are_patterns(void **state) {
    (void)state;
    expect("{\"type\": \"string\", \"format\": \"date\"}", "\"2026-11-24\"|\"2026-01-31\"",
           "\"2026-13-01\"|\"2026-02-30\"|\"2026-04-31\"|\"26-1-1\"");
    expect("{\"type\": \"string\", \"format\": \"date-time\"}", "\"2026-11-24T23:59:00Z\"|\"2026-11-24T01:02:03+08:00\"",
           "\"2026-11-24\"|\"2026-11-24T24:00:00Z\"");
    expect("{\"type\": \"string\", \"format\": \"uuid\"}", "\"123e4567-e89b-12d3-a456-426614174000\"", "\"123\"");
    expect("{\"type\": \"string\", \"format\": \"ipv4\"}", "\"127.0.0.1\"|\"255.255.255.255\"", "\"256.0.0.1\"|\"1.2.3\"|\"01.2.3.4\"");
    expect("{\"type\": \"string\", \"format\": \"email\"}", "\"a.b@example.com\"", "\"a@b\"|\"@example.com\"");
}

static void patterns_have_the_length_that_is_asked_for(void **state) {
    (void)state;
    expect("{\"pattern\": \"^[a-z]+$\", \"maxLength\": 3}", "\"a\"|\"abc\"", "\"\"|\"abcd\"|\"a1\"");
    expect("{\"pattern\": \"^[A-Z]\\\\d*$\", \"minLength\": 3, \"maxLength\": 4}", "\"A12\"|\"A123\"", "\"A1\"|\"A1234\"|\"123\"");
    expect("{\"pattern\": \"^天气\", \"maxLength\": 4}", "\"天气\"|\"天气很好\"|\"天气\\n1\"", "\"天气真的好\"|\"天\"");
    expect("{\"pattern\": \"好$\", \"minLength\": 2}", "\"很好\"|\"abc好\"", "\"好\"|\"好的\"");
    expect("{\"pattern\": \"^[ab]{2,9}$|^c?$\", \"minLength\": 1, \"maxLength\": 3}", "\"aab\"|\"ba\"|\"c\"", "\"\"|\"a\"|\"aaaa\"|\"cc\"");
    expect("{\"pattern\": \"^a+b+$\", \"minLength\": 2}", "\"ab\"|\"aabb\"", "\"a\""); /* the pattern says it itself */
    expect("{\"pattern\": \"^(?:ab|cd)$|^x{1,5}$\", \"maxLength\": 2}", "\"ab\"|\"cd\"|\"x\"|\"xx\"", "\"xxx\"");
    expect("{\"type\": \"string\", \"format\": \"date\", \"maxLength\": 10}", "\"2026-11-24\"", "\"2026-11-241\"");
    expect("{\"pattern\": \"^.{3}$|^\\\"*$\", \"maxLength\": 1}", "\"\\\"\"|\"\"", "\"abc\"|\"\\\"\\\"\"");
}

static void multiples_are_what_they_should_be(void **state) {
    (void)state;
    expect("{\"type\": \"integer\", \"multipleOf\": 7}", "0|7|14|-21|700|999999999999999999", "1|8|-1|07|13|999999999999999993|7.0|");
    expect("{\"type\": \"integer\", \"multipleOf\": 5, \"minimum\": 0}", "0|5|10|1005", "-5|3|12");
    expect("{\"type\": \"integer\", \"multipleOf\": 10, \"exclusiveMaximum\": 0}", "-10|-120", "0|10|-1|-0");
    expect("{\"type\": \"integer\", \"multipleOf\": 4, \"exclusiveMinimum\": -8, \"maximum\": 9}", "-4|0|4|8", "-8|12|9|-5");
    expect("{\"type\": \"number\", \"multipleOf\": 25, \"minimum\": 0.5, \"maximum\": 100.5}", "25|100", "0|125|25.5|1");
    expect("{\"type\": \"integer\", \"multipleOf\": 1}", "0|1|-12|999999999999999999", "01|1000000000000000000");
    expect("{\"type\": \"integer\", \"multipleOf\": 100}", "0|100|-4200", "10|150|1001");
    for (int m = 1; m <= SCHEMA_MAX_DIVISOR; m++) {
        char schema[64], number[16];
        snprintf(schema, sizeof schema, "{\"type\": \"integer\", \"multipleOf\": %d}", m);
        grammar *g = grammar_of(schema);
        for (int i = 0; i < 250; i++) {
            snprintf(number, sizeof number, "%d", i * 7 % 1000);
            assert_int_equal(takes(g, number), i * 7 % 1000 % m == 0);
        }
        grammar_free(g);
    }
}

static void arrays_begin_as_prefix_items_say(void **state) {
    (void)state;
    expect("{\"prefixItems\": [{\"type\": \"integer\"}, {\"const\": \"a\"}]}", "[]|[1]|[1,\"a\"]|[1, \"a\", null, {}]",
           "[\"a\"]|[1,2]|[1,\"a\",]|1");
    expect("{\"prefixItems\": [{\"type\": \"integer\"}, {\"const\": \"a\"}], \"items\": false}", "[]|[1]|[1,\"a\"]", "[1,\"a\",2]");
    expect("{\"prefixItems\": [{\"const\": 1}], \"items\": {\"type\": \"boolean\"}, \"minItems\": 2, \"maxItems\": 3}",
           "[1,true]|[1,true,false]", "[]|[1]|[1,1]|[1,true,true,true]");
    expect("{\"prefixItems\": [{\"const\": 1}, {\"const\": 2}, {\"const\": 3}], \"minItems\": 1, \"maxItems\": 2}", "[1]|[1,2]",
           "[]|[1,2,3]");
    expect("{\"prefixItems\": [{\"const\": 1}, {\"const\": 2}], \"items\": false, \"minItems\": 2}", "[1,2]", "[]|[1]|[1,2,3]");
    expect("{\"items\": false}", "[]", "[1]");
    expect("{\"prefixItems\": [{\"$ref\": \"#\"}, {\"type\": \"null\"}], \"items\": false, \"type\": \"array\"}",
           "[]|[[]]|[[[],null],null]", "[1]|[[],1]");
}

static void one_of_schemas_that_are_told_apart_is_any_of_them(void **state) {
    (void)state;
    expect("{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"string\"}, {\"type\": [\"null\", \"boolean\"]}]}", "1|\"x\"|null|true",
           "1.5|[]");
    expect("{\"oneOf\": [{\"enum\": [1, \"a\"]}, {\"const\": \"b\"}, {\"type\": \"array\"}]}", "1|\"a\"|\"b\"|[]", "2|\"c\"");
    const char *shapes =
        "{\"oneOf\": [{\"$ref\": \"#/$defs/circle\"}, {\"$ref\": \"#/$defs/square\"}], \"discriminator\": {\"propertyName\": \"kind\"},"
        "\"$defs\": {\"circle\": {\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"circle\"}, \"r\": {\"type\": "
        "\"integer\"}},"
        "\"required\": [\"kind\", \"r\"]}, \"square\": {\"type\": \"object\", \"properties\": {\"kind\": {\"enum\": [\"square\", \"box\"]},"
        "\"a\": {\"type\": \"integer\"}}, \"required\": [\"a\", \"kind\"]}}}";
    expect(shapes, "{\"kind\":\"circle\",\"r\":1}|{\"kind\":\"box\",\"a\":2}", "{\"kind\":\"circle\",\"a\":1}|{\"r\":1}");
    expect("{\"oneOf\": [{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"null\"}}, \"required\": [\"a\"]}, {\"type\": "
           "\"object\", \"properties\": "
           "{\"b\": {\"type\": \"null\"}}, \"additionalProperties\": false}]}",
           "{\"a\":null}|{}|{\"b\":null}", "{\"a\":null,\"b\":null}");
    expect("{\"oneOf\": [{\"anyOf\": [{\"type\": \"null\"}, {\"const\": 3}]}, {\"allOf\": [{\"type\": \"object\"}]}]}", "null|3|{}",
           "4|\"\"");
}

static void all_of_objects_are_one(void **state) {
    (void)state;
    expect("{\"allOf\": [{\"properties\": {\"a\": {\"type\": \"integer\"}}, \"required\": [\"a\"]}, {\"$ref\": \"#/$defs/b\"}],"
           "\"$defs\": {\"b\": {\"type\": \"object\", \"properties\": {\"b\": {\"type\": \"null\"}}}}}",
           "{\"a\":1}|{\"a\":1,\"b\":null}", "{}|{\"b\":null}|{\"a\":null}|{\"a\":1,\"c\":1}");
    expect("{\"properties\": {\"a\": {\"const\": 1}}, \"allOf\": [{\"required\": [\"a\", \"b\"]}, {\"allOf\": [{\"properties\": {\"b\": "
           "{\"const\": 2}}}]}]}",
           "{\"a\":1,\"b\":2}", "{\"a\":1}|{}");
    expect("{\"allOf\": [{\"$ref\": \"#/$defs/level\"}], \"description\": \"x\", \"default\": \"low\", \"$defs\": {\"level\": {\"enum\": "
           "[\"low\", \"high\"]}}}",
           "\"low\"|\"high\"", "\"x\"|{}");
    expect("{\"allOf\": [{\"properties\": {\"a\": {}, \"b\": {}}, \"additionalProperties\": false}, {\"properties\": {\"b\": {}, \"c\": "
           "{}}}]}",
           "{}|{\"a\":1,\"b\":2}", "{\"c\":1}");
    expect("{\"allOf\": [{\"properties\": {\"o\": {\"properties\": {\"x\": {\"type\": \"null\"}}, \"required\": [\"x\"]}}}, "
           "{\"properties\": {\"o\": {\"type\": "
           "\"object\", \"properties\": {\"y\": {\"type\": \"null\"}}}}, \"required\": [\"o\"]}]}",
           "{\"o\":{\"x\":null}}|{\"o\":{\"x\":null,\"y\":null}}", "{}|{\"o\":{}}|{\"o\":{\"y\":null}}");
    expect("{\"allOf\": [{\"type\": \"object\"}, {\"additionalProperties\": false}]}", "{}", "{\"a\":1}|1");
}

static void refuse_limit(const json_t *schema, const char *says) {
    grammar *g = NULL;
    qaio_error err = {0};
    assert_int_equal(schema_grammar(&g, schema, &err), QAIO_ERR_LIMIT);
    if (!strstr(err.message, says)) fail_msg("%s", err.message);
}

/* Schemas that name each other would take for ever to be looked through. */
static void combinations_that_grow_without_end_are_refused(void **state) {
    (void)state;
    str text = {0};
    str_puts(&text, "{\"$ref\": \"#/$defs/d0\", \"$defs\": {");
    for (int i = 0; i < 12; i++)
        str_printf(&text, "\"d%d\": {\"allOf\": [{\"$ref\": \"#/$defs/d%d\"}, {\"$ref\": \"#/$defs/d%d\"}, {\"$ref\": \"#/$defs/d%d\"}]},",
                   i, i + 1, i + 1, i + 1);
    str_puts(&text, "\"d12\": {\"type\": \"object\"}}}");
    json_t *schema = parse(text.data);
    grammar *g = NULL;
    qaio_error err = {0};
    assert_int_equal(schema_grammar(&g, schema, &err), QAIO_ERR_LIMIT);
    assert_non_null(strstr(err.message, "too many parts"));
    json_decref(schema);
    str_deinit(&text);
    schema = json_pack("{s:[]}", "oneOf");
    for (int i = 0; i < 400; i++) json_array_append_new(json_object_get(schema, "oneOf"), json_pack("{s:i}", "const", i));
    refuse_limit(schema, "too many parts");
    json_decref(schema);
}

static const struct {
    const char *schema, *says;
    qaio_status status;
} refusals[] = {
    {"{\"type\": \"object\", \"properties\": {\"age\": {\"type\": \"integer\", \"multipleOf\": 0.5}}}",
     "#/properties/age: multipleOf must be a whole number", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"integer\", \"multipleOf\": 0}", "above 0", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"integer\", \"multipleOf\": 101}", "at most 100", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"integer\", \"multipleOf\": 7, \"minimum\": 3}", "one bound that is not 0", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"integer\", \"multipleOf\": 7, \"minimum\": 8, \"maximum\": 13}", "no multiple", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"integer\", \"multipleOf\": 2, \"minimum\": 1, \"maximum\": 10000}", "more than 1024", QAIO_ERR_UNSUPPORTED},
    {"{\"properties\": {\"a/b\": {\"items\": {\"not\": {}}}}}", "#/properties/a~1b/items: the keyword \"not\"", QAIO_ERR_UNSUPPORTED},
    {"{\"anyOf\": [{}, {\"oneOf\": []}]}", "#/anyOf/1: oneOf must be a list", QAIO_ERR_ARGUMENT},
    {"{\"oneOf\": [{\"type\": \"string\"}, {\"const\": \"a\"}]}", "0 and 1 may hold together", QAIO_ERR_UNSUPPORTED},
    {"{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"null\"}, {\"const\": 1.5}]}", "0 and 2 may", QAIO_ERR_UNSUPPORTED},
    {"{\"oneOf\": [{\"enum\": [1, 2]}, {\"enum\": [3, 2.0]}]}", "0 and 1 may", QAIO_ERR_UNSUPPORTED},
    {"{\"oneOf\": [{\"type\": \"string\"}, {\"properties\": {\"a\": {}}}]}", "0 and 1 may", QAIO_ERR_UNSUPPORTED},
    {"{\"oneOf\": [{\"type\": \"object\", \"properties\": {\"k\": {\"const\": 1}}}, {\"type\": \"object\", \"properties\": {\"k\": "
     "{\"const\": "
     "2}}}]}",
     "0 and 1 may", QAIO_ERR_UNSUPPORTED},
    {"{\"oneOf\": [{\"$ref\": \"#/$defs/x\"}, {\"type\": \"null\"}]}", "#/$defs/x", QAIO_ERR_UNSUPPORTED},
    {"{\"allOf\": []}", "allOf must be a list", QAIO_ERR_ARGUMENT},
    {"{\"allOf\": [{\"type\": \"string\"}, {\"minLength\": 1}]}", "not with type", QAIO_ERR_UNSUPPORTED},
    {"{\"allOf\": [{\"type\": \"object\"}, {\"anyOf\": [{}]}]}", "not with anyOf", QAIO_ERR_UNSUPPORTED},
    {"{\"allOf\": [{\"properties\": {\"a\": {\"type\": \"string\"}}}, {\"properties\": {\"a\": {\"maxLength\": 2}}}]}", "#/properties/a",
     QAIO_ERR_UNSUPPORTED},
    {"{\"allOf\": [{\"properties\": {\"a\": {}}, \"additionalProperties\": false}, {\"properties\": {\"b\": {}}, \"required\": [\"b\"]}]}",
     "required names \"b\"", QAIO_ERR_UNSUPPORTED},
    {"{\"allOf\": [{\"$ref\": \"#\"}, {}]}", "levels deep", QAIO_ERR_LIMIT},
    {"{\"allOf\": [{\"$ref\": \"#\"}]}", "", QAIO_ERR_ARGUMENT},
    {"{\"items\": false, \"minItems\": 1}", "items is false", QAIO_ERR_ARGUMENT},
    {"{\"prefixItems\": [], \"type\": \"array\"}", "prefixItems must be", QAIO_ERR_ARGUMENT},
    {"{\"prefixItems\": [{\"not\": {}}]}", "#/prefixItems/0: the keyword \"not\"", QAIO_ERR_UNSUPPORTED},
    {"{\"pattern\": \"^a+b+$\", \"maxLength\": 3}", "more than one part", QAIO_ERR_UNSUPPORTED},
    {"{\"pattern\": \"a\", \"maxLength\": 3}", "more than one part", QAIO_ERR_UNSUPPORTED},
    {"{\"pattern\": \"^(ab)+$\", \"maxLength\": 3}", "more than one part", QAIO_ERR_UNSUPPORTED},
    {"{\"pattern\": \"^abc$\", \"maxLength\": 2}", "as long as that", QAIO_ERR_ARGUMENT},
    {"{\"pattern\": \"^$\", \"minLength\": 1}", "as long as that", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"array\", \"uniqueItems\": true}", "uniqueItems", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"string\", \"format\": \"hostname\"}", "hostname", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"(?=a)\"}", "at byte 1", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"a(\"}", "group", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"pattern\": \"a)\"}", "beginning", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"pattern\": \"[a\"}", "class", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"pattern\": \"[]\"}", "no string", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"pattern\": \"[z-a]\"}", "range", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"pattern\": \"*a\"}", "nothing to repeat", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"pattern\": \"a{2\"}", "count", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"pattern\": \"a{1001}\"}", "count", QAIO_ERR_LIMIT},
    {"{\"type\": \"string\", \"pattern\": \"\\\\b\"}", "escape", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"\\\\\"}", "escape", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"a^b\"}", "^ and $", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"((((((((((((((((((a))))))))))))))))))\"}", "deep", QAIO_ERR_LIMIT},
    {"{\"type\": \"string\", \"pattern\": \"a\", \"format\": \"date\"}", "at a time", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 2}", "minLength", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"minLength\": -1}", "minLength", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"string\", \"maxLength\": 100001}", "maxLength", QAIO_ERR_LIMIT},
    {"{\"type\": \"array\", \"minItems\": 2, \"maxItems\": 1}", "minItems", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"integer\", \"minimum\": 5, \"maximum\": 4}", "between", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"integer\", \"exclusiveMinimum\": 4, \"exclusiveMaximum\": 5}", "between", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"integer\", \"minimum\": 5, \"exclusiveMinimum\": 4}", "beside another", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"number\", \"minimum\": 0.5}", "whole", QAIO_ERR_UNSUPPORTED},
    {"{\"type\": \"integer\", \"minimum\": 1e300}", "beyond", QAIO_ERR_LIMIT},
    {"{\"type\": \"integer\", \"minimum\": \"1\"}", "must be a number", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"text\"}", "type must be", QAIO_ERR_ARGUMENT},
    {"{\"type\": []}", "empty", QAIO_ERR_ARGUMENT},
    {"{\"enum\": []}", "enum", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"integer\", \"enum\": [\"a\"]}", "no value", QAIO_ERR_ARGUMENT},
    {"{\"enum\": [1], \"const\": 1}", "at a time", QAIO_ERR_UNSUPPORTED},
    {"{\"enum\": [1], \"minimum\": 1}", "minimum beside", QAIO_ERR_UNSUPPORTED},
    {"{\"$ref\": \"#/$defs/a\"}", "no place", QAIO_ERR_UNSUPPORTED},
    {"{\"$ref\": \"http://example.com\"}", "no place", QAIO_ERR_UNSUPPORTED},
    {"{\"$ref\": \"#/$defs/a\", \"$defs\": {\"a\": {\"contains\": 1}}}", "#/$defs/a: the keyword \"contains\"", QAIO_ERR_UNSUPPORTED},
    {"{\"$ref\": \"#/$defs/a\", \"type\": \"object\", \"$defs\": {\"a\": {}}}", "type beside", QAIO_ERR_UNSUPPORTED},
    {"{\"properties\": {\"a\": {\"$ref\": \"#\"}}, \"required\": [\"a\"]}", "no text satisfies", QAIO_ERR_ARGUMENT},
    {"{\"$ref\": \"#\"}", "no text satisfies", QAIO_ERR_ARGUMENT},
    {"{\"type\": \"object\", \"required\": [\"a\"]}", "required names \"a\"", QAIO_ERR_UNSUPPORTED},
    {"{\"required\": [1]}", "required", QAIO_ERR_ARGUMENT},
    {"{\"properties\": []}", "properties", QAIO_ERR_ARGUMENT},
    {"{\"anyOf\": {}}", "anyOf", QAIO_ERR_ARGUMENT},
    {"false", "schema", QAIO_ERR_ARGUMENT},
    {"{\"items\": 1}", "#/items: a schema", QAIO_ERR_ARGUMENT},
};

static void what_cannot_be_honoured_is_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        json_t *schema = parse(refusals[i].schema);
        grammar *g = NULL;
        qaio_error err = {0};
        qaio_status status = schema_grammar(&g, schema, &err);
        if (status != refusals[i].status || !strstr(err.message, refusals[i].says))
            fail_msg("%s: %s %s", refusals[i].schema, qaio_status_name(status), err.message);
        json_decref(schema);
    }
}

static void sizes_are_limited_by_name(void **state) {
    (void)state;
    json_t *deep = json_object(), *wide = json_pack("{s:{}}", "properties"), *many = json_pack("{s:[]}", "enum");
    for (int i = 0; i <= SCHEMA_MAX_DEPTH; i++) deep = json_pack("{s:o}", "items", deep);
    for (int i = 0; i <= SCHEMA_MAX_PROPERTIES; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        json_object_set_new(json_object_get(wide, "properties"), name, json_true());
        json_array_append_new(json_object_get(many, "enum"), json_integer(i));
    }
    refuse_limit(deep, "levels deep");
    refuse_limit(wide, "properties");
    refuse_limit(many, "enum and const");
    json_decref(deep);
    json_decref(wide);
    json_decref(many);
}

static void failed_allocations_are_reported(void **state) {
    (void)state;
    json_t *schema = parse("{\"properties\": {\"a\": {\"pattern\": \"^a|b$\"}, \"b\": {\"$ref\": \"#/$defs/x\"}, \"c\": {\"minimum\": 3}}, "
                           "\"required\": [\"a\"],"
                           "\"$defs\": {\"x\": {\"enum\": [1, \"z\"]}}}");
    qaio_status status = QAIO_ERR_MEMORY;
    for (long n = 0; status; n++) {
        grammar *g = NULL;
        qaio_error err = {0};
        mem_fail_after(n);
        status = schema_grammar(&g, schema, &err);
        mem_fail_after(-1);
        if (status) assert_int_equal(status, QAIO_ERR_MEMORY);
        grammar_free(g);
        assert_true(n < 2000);
    }
    json_decref(schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_as_their_type_says),
        cmocka_unit_test(strings_have_the_length_that_is_asked_for),
        cmocka_unit_test(choices_are_literal),
        cmocka_unit_test(objects_have_their_properties_in_order),
        cmocka_unit_test(arrays_have_the_items_that_are_asked_for),
        cmocka_unit_test(any_of_takes_what_one_of_them_takes),
        cmocka_unit_test(many_optional_references_are_no_explosion),
        cmocka_unit_test(references_may_be_recursive),
        cmocka_unit_test(json_of_any_kind_nests_up_to_the_limit),
        cmocka_unit_test(integers_lie_between_their_bounds),
        cmocka_unit_test(numbers_lie_between_their_bounds),
        cmocka_unit_test(patterns_are_found_as_json_schema_finds_them),
        cmocka_unit_test(formats_are_patterns),
        cmocka_unit_test(patterns_have_the_length_that_is_asked_for),
        cmocka_unit_test(multiples_are_what_they_should_be),
        cmocka_unit_test(arrays_begin_as_prefix_items_say),
        cmocka_unit_test(one_of_schemas_that_are_told_apart_is_any_of_them),
        cmocka_unit_test(all_of_objects_are_one),
        cmocka_unit_test(combinations_that_grow_without_end_are_refused),
        cmocka_unit_test(what_cannot_be_honoured_is_refused_by_name),
        cmocka_unit_test(sizes_are_limited_by_name),
        cmocka_unit_test(failed_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
