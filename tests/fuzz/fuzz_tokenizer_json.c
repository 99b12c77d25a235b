/* Any bytes as each of the tokenizer's files: an error or a tokenizer whose lists make the same tokenizer again. */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef qaio_status reader(vocabulary_builder *b, const char *text, size_t n, const char *path, qaio_error *err);

static void check(const tokenizer *t) {
    token_source source;
    tokenizer *again = NULL;
    tokenizer_source(t, &source);
    if (tokenizer_new(&again, &source, "again", NULL) || tokenizer_size(again) != tokenizer_size(t)) abort();
    tokenizer_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static reader *const readers[] = {read_tokenizer_json, read_vocab_json, read_merges_txt, read_tokenizer_config};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        vocabulary_builder b = {0};
        qaio_error err = {0};
        tokenizer *t = NULL;
        qaio_status status = readers[i](&b, (const char *)data, size, "fuzz", &err);
        if (status && !memchr(err.message, '\0', sizeof err.message)) abort();
        if (status && !err.message[0]) abort();
        if (!status && builder_finish(&b, &t, "fuzz", &err) == QAIO_OK) check(t);
        tokenizer_free(t);
        builder_deinit(&b);
    }
    return 0;
}
