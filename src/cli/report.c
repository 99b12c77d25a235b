#include "cli/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/locale.h"

static void print(const char *format, va_list args) {
    fflush(stdout);
    fputs("qaio: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int report_error(const qaio_error *err) {
    if (err->path[0] && err->offset >= 0)
        return report_failure(TR("%s (%s, byte %lld)", "%s（%s，字节 %lld）"), err->message, err->path, (long long)err->offset);
    if (err->path[0]) return report_failure(TR("%s (%s)", "%s（%s）"), err->message, err->path);
    return report_failure("%s", err->message);
}

int report_failure(const char *format, ...) {
    va_list args;
    va_start(args, format);
    print(format, args);
    va_end(args);
    return EXIT_FAILED;
}

int report_usage(const char *format, ...) {
    va_list args;
    va_start(args, format);
    print(format, args);
    va_end(args);
    return EXIT_USAGE;
}

void report_note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    print(format, args);
    va_end(args);
}

int report_output(int status) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (errno == EPIPE) return EXIT_FAILED; /* the reader went away, as `head` does: nothing to say */
    return report_failure(TR("cannot write the output: %s", "无法写出结果：%s"), strerror(errno ? errno : EIO));
}
