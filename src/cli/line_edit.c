#include "cli/line_edit.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <utf8proc.h>

#include "cli/interrupt.h"

#define DEFAULT_COLUMNS 80
#define MAX_SEQUENCE    16 /* bytes of an escape sequence that are looked at */

/* Ctrl and a letter, by the letter; and those with a name. */
enum key {
    KEY_A = 1,
    KEY_B = 2,
    KEY_C = 3,
    KEY_D = 4,
    KEY_E = 5,
    KEY_F = 6,
    KEY_H = 8,
    KEY_TAB = 9,
    KEY_NEWLINE = 10,
    KEY_K = 11,
    KEY_RETURN = 13,
    KEY_N = 14,
    KEY_P = 16,
    KEY_U = 21,
    KEY_W = 23,
    KEY_ESCAPE = 27,
    KEY_DELETE = 127,
};

typedef struct editor {
    int in, out;
    const char *prompt;
    const edit_history *history;
    size_t history_at; /* which old line is shown; history->n: the new one */
    str *line;
    size_t cursor; /* byte */
    bool is_pasting;
} editor;

/* ---- characters ---- */

static int width_at(const str *line, size_t at, size_t *length) {
    uint32_t c = 0;
    size_t n = utf8_decode(line->data + at, line->len - at, &c);
    *length = n ? n : 1;
    int width = n ? utf8proc_charwidth((utf8proc_int32_t)c) : 1;
    return width < 0 ? 0 : width;
}

static size_t width_of(const str *line, size_t begin, size_t end) {
    size_t width = 0, length;
    for (; begin < end; begin += length) width += (size_t)width_at(line, begin, &length);
    return width;
}

/* The next place a cursor may stand: behind a character and the marks that belong to it. */
static size_t next_stop(const str *line, size_t at) {
    size_t length;
    if (at >= line->len) return line->len;
    width_at(line, at, &length);
    for (at += length; at < line->len && width_at(line, at, &length) == 0;) at += length;
    return at < line->len ? at : line->len;
}

static size_t previous_stop(const str *line, size_t at) {
    size_t stop = 0;
    for (size_t next = 0; (next = next_stop(line, stop)) < at;) stop = next;
    return at ? stop : 0;
}

/* ---- the screen ---- */

static size_t screen_columns(int out) {
    struct winsize size;
    return ioctl(out, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : DEFAULT_COLUMNS;
}

static void put(int out, const str *text) {
    size_t done = 0;
    while (done < text->len) {
        ssize_t n = write(out, text->data + done, text->len - done);
        if (n < 0 && errno != EINTR) return;
        if (n > 0) done += (size_t)n;
    }
}

static void draw(const editor *e) {
    str prompt = {0}, screen = {0};
    str_puts(&prompt, e->prompt);
    size_t prompt_width = prompt.failed ? 0 : width_of(&prompt, 0, prompt.len), room = screen_columns(e->out) - 1, begin = 0, end, length;
    room = room > prompt_width + 4 ? room - prompt_width : 4;
    size_t before_cursor = width_of(e->line, 0, e->cursor);
    while (before_cursor > room) {
        size_t next = next_stop(e->line, begin);
        before_cursor -= width_of(e->line, begin, next);
        begin = next;
    }
    size_t shown = 0;
    for (end = begin; end < e->line->len; end += length) {
        size_t width = (size_t)width_at(e->line, end, &length);
        if (shown + width > room) break;
        shown += width;
    }
    str_printf(&screen, "\r%s", e->prompt);
    str_append(&screen, e->line->data ? e->line->data + begin : "", end - begin);
    str_printf(&screen, "\033[K\r\033[%zuC", prompt_width + before_cursor);
    if (!screen.failed) put(e->out, &screen);
    str_deinit(&prompt);
    str_deinit(&screen);
}

/* ---- changes ---- */

static void insert(editor *e, const char *bytes, size_t n) {
    str_append(e->line, bytes, n);
    if (e->line->failed) return;
    size_t behind = e->line->len - n - e->cursor;
    memmove(e->line->data + e->cursor + n, e->line->data + e->cursor, behind);
    memcpy(e->line->data + e->cursor, bytes, n);
    e->cursor += n;
}

static void cut(editor *e, size_t begin, size_t end) {
    if (begin >= end) return;
    memmove(e->line->data + begin, e->line->data + end, e->line->len - end);
    e->line->len -= end - begin;
    e->line->data[e->line->len] = '\0';
    e->cursor = begin;
}

static size_t word_begin(const editor *e) {
    size_t at = e->cursor;
    while (at && e->line->data[at - 1] == ' ') at--;
    while (at && e->line->data[at - 1] != ' ') at--;
    return at;
}

static void show_history(editor *e, int step) {
    size_t n = e->history->n;
    if ((step < 0 && e->history_at == 0) || (step > 0 && e->history_at >= n)) return;
    e->history_at = step < 0 ? e->history_at - 1 : e->history_at + 1;
    str_clear(e->line);
    e->cursor = 0;
    if (e->history_at < n) insert(e, e->history->lines[e->history_at], strlen(e->history->lines[e->history_at]));
}

/* ---- keys ---- */

static bool read_byte(const editor *e, char *c) {
    ssize_t n;
    do n = read(e->in, c, 1);
    while (n < 0 && errno == EINTR && !interrupt_count());
    return n == 1;
}

/* More keys have come already, as when text is pasted: what is drawn now would not be seen. */
static bool has_more(const editor *e) {
    struct pollfd ready = {.fd = e->in, .events = POLLIN};
    return poll(&ready, 1, 0) > 0;
}

/* CSI and SS3 sequences; what is not known is left out. */
static void read_escape(editor *e) {
    char sequence[MAX_SEQUENCE + 1] = "", c;
    size_t n = 0;
    if (!read_byte(e, &c) || (c != '[' && c != 'O')) return;
    do {
        if (!read_byte(e, &c)) return;
        if (n < MAX_SEQUENCE) sequence[n++] = c;
    } while (c < 0x40 || c > 0x7E);
    if (strcmp(sequence, "A") == 0) show_history(e, -1);
    if (strcmp(sequence, "B") == 0) show_history(e, 1);
    if (strcmp(sequence, "C") == 0) e->cursor = next_stop(e->line, e->cursor);
    if (strcmp(sequence, "D") == 0) e->cursor = previous_stop(e->line, e->cursor);
    if (strcmp(sequence, "H") == 0 || strcmp(sequence, "1~") == 0 || strcmp(sequence, "7~") == 0) e->cursor = 0;
    if (strcmp(sequence, "F") == 0 || strcmp(sequence, "4~") == 0 || strcmp(sequence, "8~") == 0) e->cursor = e->line->len;
    if (strcmp(sequence, "3~") == 0) cut(e, e->cursor, next_stop(e->line, e->cursor));
    if (strcmp(sequence, "200~") == 0) e->is_pasting = true;
    if (strcmp(sequence, "201~") == 0) e->is_pasting = false;
}

static void read_character(editor *e, char first) {
    char bytes[4] = {first};
    unsigned char lead = (unsigned char)first;
    size_t n = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    for (size_t i = 1; i < n; i++)
        if (!read_byte(e, &bytes[i])) return;
    if (utf8_is_valid(bytes, n)) insert(e, bytes, n);
}

/* A key that moves or changes. */
static void edit_key(editor *e, char c) {
    switch ((unsigned char)c) {
    case KEY_A:
        e->cursor = 0;
        break;
    case KEY_E:
        e->cursor = e->line->len;
        break;
    case KEY_B:
        e->cursor = previous_stop(e->line, e->cursor);
        break;
    case KEY_F:
        e->cursor = next_stop(e->line, e->cursor);
        break;
    case KEY_P:
    case KEY_N:
        show_history(e, c == KEY_P ? -1 : 1);
        break;
    case KEY_K:
        cut(e, e->cursor, e->line->len);
        break;
    case KEY_U:
        cut(e, 0, e->cursor);
        break;
    case KEY_W:
        cut(e, word_begin(e), e->cursor);
        break;
    case KEY_D:
        cut(e, e->cursor, next_stop(e->line, e->cursor));
        break;
    case KEY_H:
    case KEY_DELETE:
        cut(e, previous_stop(e->line, e->cursor), e->cursor);
        break;
    case KEY_ESCAPE:
        read_escape(e);
        break;
    case KEY_TAB:
    case KEY_NEWLINE:
    case KEY_RETURN: /* only pasted ones come here */
        insert(e, " ", 1);
        break;
    default:
        if ((unsigned char)c >= 0x20) read_character(e, c);
    }
}

/* One key; true when the line is done, with *result. */
static bool handle_key(editor *e, char c, edit_result *result) {
    bool is_return = c == KEY_RETURN || c == KEY_NEWLINE;
    if (is_return && !e->is_pasting)
        *result = EDIT_LINE;
    else if (c == KEY_C)
        *result = EDIT_INTERRUPTED;
    else if (c == KEY_D && e->line->len == 0)
        *result = EDIT_END;
    else {
        edit_key(e, c);
        return false;
    }
    return true;
}

edit_result line_edit(int in, int out, const char *prompt, const edit_history *history, str *line) {
    editor e = {.in = in, .out = out, .prompt = prompt, .history = history, .history_at = history->n, .line = line};
    struct termios before, raw;
    edit_result result = EDIT_END;
    char c;
    str_clear(line);
    if (tcgetattr(in, &before) != 0) return EDIT_END;
    raw = before;
    raw.c_iflag &= ~(tcflag_t)(ICRNL | IXON);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(in, TCSADRAIN, &raw);
    dprintf(out, "\033[?2004h");
    do {
        if (!has_more(&e)) draw(&e);
    } while (!line->failed && read_byte(&e, &c) && !handle_key(&e, c, &result));
    e.cursor = line->len;
    draw(&e);
    dprintf(out, "\033[?2004l\r\n");
    tcsetattr(in, TCSADRAIN, &before);
    return result;
}
