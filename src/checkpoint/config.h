/* What transformers writes beside the weights: config.json, generation_config.json, the chat template. */
#ifndef QAIO_CHECKPOINT_CONFIG_H
#define QAIO_CHECKPOINT_CONFIG_H

#include <jansson.h>

#include "checkpoint/desc.h"

#define CONFIG_MAX_BYTES           (1 << 20)
#define TEMPLATE_MAX_BYTES         (1 << 20)
#define TOKENIZER_CONFIG_MAX_BYTES (8 << 20)

/* Fills *desc from the parsed files; generation may be NULL.  Where config.json does not say whether the head is tied, it is when the
 * files have none (has_head). */
qaio_status config_to_desc(model_desc *desc, const json_t *config, const char *config_path, const json_t *generation,
                           const char *generation_path, bool has_head, qaio_error *err);
/* The same from the files of a directory. */
qaio_status config_open(model_desc *desc, const char *dir, bool has_head, qaio_error *err);

/* The template's text (chat_template.jinja, else tokenizer_config.json), owned; *out = NULL where there is none. */
qaio_status config_template(char **out, size_t *n, const char *dir, qaio_error *err);

#endif
