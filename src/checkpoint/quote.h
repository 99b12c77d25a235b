/* Text from a file, made fit to stand in an error message: valid UTF-8, one line, short. */
#ifndef QAIO_CHECKPOINT_QUOTE_H
#define QAIO_CHECKPOINT_QUOTE_H

#include <stddef.h>

typedef struct quoted {
    char text[128];
} quoted;

/* s[n] with control characters and ill-formed bytes as '?', cut with "..." where it is long. */
quoted quote(const char *s, size_t n);

/* "[266, 8]" */
quoted quote_shape(const size_t *dims, size_t n_dims);

#endif
