#include "cli/locale.h"

#include <stdlib.h>
#include <string.h>

static bool is_chinese; /* set once, before there are threads */

bool locale_means_chinese(const char *qaio_lang, const char *lc_all, const char *lc_messages, const char *lang) {
    const char *const choices[] = {qaio_lang, lc_all, lc_messages, lang};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (choices[i] && choices[i][0]) return strncmp(choices[i], "zh", 2) == 0 && (!choices[i][2] || strchr("_-.@", choices[i][2]));
    return false;
}

void locale_init(void) { is_chinese = locale_means_chinese(getenv("QAIO_LANG"), getenv("LC_ALL"), getenv("LC_MESSAGES"), getenv("LANG")); }

bool locale_is_chinese(void) { return is_chinese; }
