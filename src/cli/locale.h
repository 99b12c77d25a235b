/* The language of messages: Chinese or English, chosen once at start.  A message is a pair at its place of use:
 *     report_failure(TR("%zu rows failed", "%zu 行失败"), n);
 * so that both are read, and checked as formats by the compiler, together. */
#ifndef QAIO_CLI_LOCALE_H
#define QAIO_CLI_LOCALE_H

#include <stdbool.h>

#define TR(english, chinese) (locale_is_chinese() ? (chinese) : (english))

/* The first of QAIO_LANG, LC_ALL, LC_MESSAGES, LANG that is set and not empty decides; zh… is Chinese, everything else English. */
void locale_init(void);
bool locale_is_chinese(void);

/* The same decision on given values, each may be NULL. */
bool locale_means_chinese(const char *qaio_lang, const char *lc_all, const char *lc_messages, const char *lang);

#endif
