/* Text from a file, made fit to stand in an error message. */
#include "checkpoint/quote.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

quoted quote(const char *s, size_t n) {
    static const char dots[] = "...";
    quoted out;
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t step = utf8_decode(s + i, n - i, &c);
        const char *bytes = s + i;
        if (!step || c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029) bytes = "?";
        size_t width = bytes == s + i ? step : 1;
        if (len + width + sizeof dots > sizeof out.text) {
            memcpy(out.text + len, dots, sizeof dots - 1);
            len += sizeof dots - 1;
            break;
        }
        memcpy(out.text + len, bytes, width);
        len += width;
        i += step ? step : 1;
    }
    out.text[len] = '\0';
    return out;
}

quoted quote_shape(const size_t *dims, size_t n_dims) {
    quoted out = {"["};
    size_t len = 1;
    for (size_t i = 0; i < n_dims && len + 24 < sizeof out.text; i++)
        len += (size_t)snprintf(out.text + len, sizeof out.text - len, "%s%zu", i ? ", " : "", dims[i]);
    snprintf(out.text + len, sizeof out.text - len, "]");
    return out;
}
