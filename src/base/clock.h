/* Monotonic time. */
#ifndef QAIO_BASE_CLOCK_H
#define QAIO_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_ns(void);
double clock_ms(void); /* the same clock in milliseconds */

#endif
