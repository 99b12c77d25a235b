/* config.json: what the build would compute wrongly is refused by key, everything else is read as transformers reads it. */
#include <stdio.h>
#include <string.h>

#include "checkpoint/config.h"
#include "checkpoint/json_file.h"
#include "support.h"

#define SIZES                                                                                                                              \
    "\"vocab_size\":100,\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"                   \
    "\"intermediate_size\":64,\"max_position_embeddings\":512,\"rms_norm_eps\":1e-6"
#define QWEN2 "{\"model_type\":\"qwen2\"," SIZES
#define QWEN3 "{\"model_type\":\"qwen3\"," SIZES

static qaio_status parse(model_desc *desc, const char *text, const char *generation, qaio_error *err) {
    json_t *config = NULL, *defaults = NULL;
    qaio_status status = json_parse(&config, text, strlen(text), "config.json", 0, err);
    if (!status && generation) status = json_parse(&defaults, generation, strlen(generation), "generation_config.json", 0, err);
    if (!status) status = config_to_desc(desc, config, "config.json", defaults, "generation_config.json", true, err);
    json_decref(config);
    json_decref(defaults);
    return status;
}

static model_desc accept(const char *text, const char *generation) {
    model_desc desc;
    qaio_error err = {0};
    if (parse(&desc, text, generation, &err)) fail_msg("%s: %s", text, err.message);
    return desc;
}

static void refuse(const char *text, const char *key) {
    model_desc desc;
    qaio_error err = {0};
    qaio_status status = parse(&desc, text, NULL, &err);
    assert_clear_error(&err, status);
    if (!strstr(err.message, key)) fail_msg("%s: \"%s\" does not name %s", text, err.message, key);
}

static void unsupported_variants_are_refused_by_key(void **state) {
    (void)state;
    refuse(QWEN2 ",\"rope_theta\":1e6,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}}", "rope_scaling");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"rope_scaling\":{\"factor\":4}}", "rope_scaling");
    refuse(QWEN3 ",\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":1e6}}", "rope_parameters");
    refuse(QWEN3 ",\"rope_parameters\":{\"rope_theta\":1e6,\"partial_rotary_factor\":0.25}}", "rope_parameters");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"use_sliding_window\":true,\"sliding_window\":128,\"max_window_layers\":0}", "sliding_window");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", "layer_types");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"hidden_act\":\"gelu\"}", "hidden_act");
    refuse(QWEN3 ",\"rope_theta\":1e6,\"attention_bias\":true}", "attention_bias");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"quantization_config\":{\"bits\":4}}", "quantization_config");
    refuse("{\"model_type\":\"llama\"}", "llama");
    refuse("{}", "model_type");
}

static void senseless_values_are_refused_by_key(void **state) {
    (void)state;
    refuse(QWEN2 ",\"rope_theta\":0}", "rope_theta");
    refuse(QWEN2 ",\"rope_theta\":\"1e6\"}", "rope_theta");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"head_dim\":7}", "head_dim");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"head_dim\":512}", "head_dim");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"eos_token_id\":100}", "end token 100");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"eos_token_id\":[1,-2]}", "eos_token_id");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", "eos_token_id");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"tie_word_embeddings\":1}", "tie_word_embeddings");
    refuse(QWEN2 ",\"rope_theta\":1e6,\"rope_theta\":1e6}", "JSON");
    refuse("[1]", "object");
}

static void generation_config_wins_over_config(void **state) {
    (void)state;
    model_desc d = accept(QWEN2 ",\"rope_theta\":1e6,\"eos_token_id\":3,\"bos_token_id\":4,\"pad_token_id\":null}",
                          "{\"eos_token_id\":[7,8,7],\"temperature\":0.5,\"top_k\":0,\"do_sample\":false}");
    assert_int_equal(d.n_stop_tokens, 2);
    assert_int_equal(d.stop_tokens[0], 7);
    assert_int_equal(d.stop_tokens[1], 8);
    assert_int_equal(d.bos_token, 4);
    assert_int_equal(d.pad_token, -1);
    assert_true(d.temperature == 0.5f && d.top_p < 0);
    assert_int_equal(d.top_k, 0);
    assert_int_equal(d.do_sample, 0);
}

static void both_styles_of_rope_are_read(void **state) {
    (void)state;
    assert_true(accept(QWEN2 ",\"rope_theta\":10000.0,\"rope_scaling\":null}", NULL).rope_theta == 1e4f);
    assert_true(accept(QWEN3 ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5e6}}", NULL).rope_theta == 5e6f);
}

static void a_missing_head_size_follows_from_the_heads(void **state) {
    (void)state;
    assert_int_equal(accept(QWEN2 ",\"rope_theta\":1e6}", NULL).head_dim, 8);
    assert_int_equal(accept(QWEN2 ",\"rope_theta\":1e6,\"head_dim\":24}", NULL).head_dim, 24);
}

static void deep_and_long_json_is_refused_before_it_is_parsed(void **state) {
    (void)state;
    static char deep[200002] = "{\"a\":", wide[(JSON_MAX_VALUES + 10) * 2] = "{\"a\":[0";
    memset(deep + 5, '[', 200000 - 5);
    refuse(deep, "nested");
    size_t n = strlen(wide);
    while (n + 2 < sizeof wide) wide[n++] = ',', wide[n++] = '0';
    refuse(wide, "values");
}

static void an_unprintable_name_stays_out_of_the_message(void **state) {
    (void)state;
    model_desc desc;
    qaio_error err = {0};
    assert_int_equal(parse(&desc, "{\"model_type\":\"a\\nb\\u001b[31m\"}", NULL, &err), QAIO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "a?b?[31m"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsupported_variants_are_refused_by_key),      cmocka_unit_test(senseless_values_are_refused_by_key),
        cmocka_unit_test(generation_config_wins_over_config),           cmocka_unit_test(both_styles_of_rope_are_read),
        cmocka_unit_test(a_missing_head_size_follows_from_the_heads),   cmocka_unit_test(deep_and_long_json_is_refused_before_it_is_parsed),
        cmocka_unit_test(an_unprintable_name_stays_out_of_the_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
