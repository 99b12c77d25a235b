/* Ids to text, whole and as a stream. */
#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/unicode.h"

/* A piece in the byte-level alphabet gives its bytes; one that has any other character is its own text. */
static void decode_piece(const char *piece, size_t n, str *out) {
    size_t before = out->len;
    for (size_t i = 0; i < n;) {
        uint32_t letter = 0;
        size_t len = utf8_decode(piece + i, n - i, &letter);
        int byte = len ? letter_to_byte(letter) : -1;
        if (byte < 0) {
            out->len = before;
            str_append(out, piece, n);
            return;
        }
        str_putc(out, (char)byte);
        i += len;
    }
}

void tokenizer_decode(const tokenizer *t, int32_t id, bool skip_special, str *out) {
    token_kind kind = tokenizer_kind(t, id);
    if (kind == TOKEN_UNUSED || (kind == TOKEN_SPECIAL && skip_special)) return;
    if (kind == TOKEN_NORMAL)
        decode_piece(t->pieces.items[id], t->pieces.lengths[id], out);
    else
        str_append(out, t->pieces.items[id], t->pieces.lengths[id]);
}

/* Moves the whole characters of bytes[n] to out; returns how many bytes are left, the beginning of a character. */
static size_t emit(const char *bytes, size_t n, str *out) {
    size_t i = 0;
    while (i < n) {
        uint32_t c;
        bool is_unfinished;
        size_t len = utf8_decode(bytes + i, n - i, &c);
        if (len) {
            str_append(out, bytes + i, len);
        } else {
            len = utf8_ill_formed_part(bytes + i, n - i, &is_unfinished);
            if (is_unfinished) break;
            str_append(out, "\xEF\xBF\xBD", 3);
        }
        i += len;
    }
    return n - i;
}

void detokenizer_push(detokenizer *d, const tokenizer *t, int32_t id, bool skip_special, str *out) {
    str bytes = {0};
    str_append(&bytes, d->pending, d->n_pending);
    tokenizer_decode(t, id, skip_special, &bytes);
    if (bytes.failed) out->failed = true;
    if (!out->failed) {
        size_t left = emit(bytes.data, bytes.len, out);
        memcpy(d->pending, bytes.data + bytes.len - left, left);
        d->n_pending = (uint8_t)left;
    }
    str_deinit(&bytes);
}

void detokenizer_flush(detokenizer *d, str *out) {
    if (d->n_pending) str_append(out, "\xEF\xBF\xBD", 3);
    d->n_pending = 0;
}
