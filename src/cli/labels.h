/* A label answer as people read it: 😢 负面 97.3 % */
#ifndef QAIO_CLI_LABELS_H
#define QAIO_CLI_LABELS_H

#include <stdbool.h>

#include "tasks/resident.h"

/* "😢 负面  97.3 %", with colour and a small bar on a terminal. */
void label_print(const label_answer *answer, bool has_colour);

#endif
