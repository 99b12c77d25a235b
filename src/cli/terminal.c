#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/locale.h"

#define BAR_CELLS       24
#define REDRAW_MS       100.0
#define LOG_INTERVAL_MS 5000.0

bool terminal_has_colour(FILE *stream) {
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(stream)) && !(no_colour && no_colour[0]) && !(term && strcmp(term, "dumb") == 0);
}

void terminal_write(FILE *stream, const char *text, size_t n) {
    if (!isatty(fileno(stream))) {
        fwrite(text, 1, n, stream);
        return;
    }
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t length = utf8_decode(text + i, n - i, &c);
        bool is_control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
        if (length && !is_control) fwrite(text + i, 1, length, stream);
        i += length ? length : 1;
    }
}

void progress_init(progress *p, bool in_logs, bool is_silent) {
    bool is_terminal = isatty(STDERR_FILENO);
    *p = (progress){.is_terminal = is_terminal, .is_silent = is_silent || (!is_terminal && !in_logs), .started_ms = clock_ms()};
    p->drawn_ms = is_terminal ? 0 : p->started_ms;
}

bool progress_is_due(const progress *p) {
    return !p->is_silent && clock_ms() - p->drawn_ms >= (p->is_terminal ? REDRAW_MS : LOG_INTERVAL_MS);
}

double progress_seconds(const progress *p) { return (clock_ms() - p->started_ms) / 1000; }

static void draw_bar(double part) {
    int full = (int)(part * BAR_CELLS + 0.5);
    fputs("\r\033[K", stderr);
    for (int i = 0; i < BAR_CELLS; i++) fputs(i < full ? "█" : "░", stderr);
    fputc(' ', stderr);
}

void progress_draw(progress *p, uint64_t done, uint64_t total, const char *what) {
    if (!progress_is_due(p)) return;
    p->drawn_ms = clock_ms();
    double part = total ? (double)done / (double)total : 0, seconds = progress_seconds(p);
    if (part > 1) part = 1;
    if (p->is_terminal && total) draw_bar(part);
    if (p->is_terminal && !total) fputs("\r\033[K", stderr);
    if (total) fprintf(stderr, "%5.1f %%  ", 100 * part);
    fputs(what, stderr);
    if (total && done > p->begun_at && done <= total && seconds > 1) {
        char left[32];
        format_seconds(left, seconds * (double)(total - done) / (double)(done - p->begun_at));
        fprintf(stderr, TR("  %s left", "  剩余 %s"), left);
    }
    if (!p->is_terminal) fputc('\n', stderr);
    fflush(stderr);
    p->is_drawn = true;
}

void progress_end(progress *p) {
    if (p->is_drawn && p->is_terminal) fputs("\r\033[K", stderr);
    p->is_drawn = false;
}

void print_name(const char *text, size_t columns) {
    size_t n = strlen(text), used = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t length = utf8_decode(text + i, n - i, &c);
        used += c >= 0x2E80 ? 2 : 1;
        i += length ? length : 1;
    }
    printf("  %s%*s", text, used < columns ? (int)(columns - used) : 1, "");
}

void format_bytes(char out[32], uint64_t bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(out, 32, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void format_seconds(char out[32], double seconds) {
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, 32, TR("%lu h %lu min", "%lu 小时 %lu 分"), s / 3600, s % 3600 / 60);
    else if (s >= 60)
        snprintf(out, 32, TR("%lu min %lu s", "%lu 分 %lu 秒"), s / 60, s % 60);
    else
        snprintf(out, 32, TR("%.*f s", "%.*f 秒"), seconds < 10 ? 1 : 0, seconds);
}
