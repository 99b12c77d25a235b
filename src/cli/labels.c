#include "cli/labels.h"

#include <stdio.h>

#include "cli/locale.h"

#define BAR_CELLS 10

/* Green where sure, yellow where not: colour says how much to trust it, the emoji what it is. */
static const char *colour_of(double probability) { return probability >= 0.8 ? "\033[32m" : probability >= 0.6 ? "\033[33m" : "\033[31m"; }

void label_print(const label_answer *answer, bool has_colour) {
    const task_label *label = &answer->task->labels[answer->label];
    double p = answer->probabilities[answer->label];
    if (answer->is_unsure)
        printf("%s", TR("? unsure", "? 不确定"));
    else
        printf("%s%s%s", label->emoji, label->emoji[0] ? " " : "", label->text);
    printf(" %.1f %%", 100 * p);
    if (!has_colour) return;
    int full = (int)(p * BAR_CELLS + 0.5);
    printf(" %s", colour_of(p));
    for (int i = 0; i < full; i++) fputs("━", stdout);
    fputs("\033[2m", stdout);
    for (int i = full; i < BAR_CELLS; i++) fputs("━", stdout);
    fputs("\033[0m", stdout);
}
