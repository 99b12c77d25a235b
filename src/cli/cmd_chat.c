/* qaio chat: a conversation in the terminal.  The mood of each message is read in the pass that begins its reply, and shown before it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/labels.h"
#include "cli/locale.h"
#include "cli/open.h"
#include "cli/prompt.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "tasks/route.h"

#define POLL_MS     50
#define MOOD_TASK   "sentiment"
#define CRISIS_TASK "crisis"

typedef struct conversation {
    chat_message *messages; /* contents owned */
    size_t n, capacity;
} conversation;

typedef struct chat {
    resident *resident;
    prompt *prompt;
    conversation talk;
    const char *system; /* or NULL: the chat task's */
    const task *mood;   /* NULL: not shown */
    const task *crisis; /* NULL: not looked for */
    bool shows_mood, has_colour, has_failed, is_first;
    bool is_leaving; /* the next Ctrl-C at the prompt leaves */
    reply_params params;
} chat;

/* ---- the conversation ---- */

static bool append_message(conversation *c, const char *role, const char *text, size_t n) {
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 16;
        chat_message *messages = mem_realloc(c->messages, capacity, sizeof *messages);
        if (!messages) return false;
        c->messages = messages;
        c->capacity = capacity;
    }
    char *copy = mem_strndup(text, n);
    if (!copy) return false;
    c->messages[c->n++] = (chat_message){.role = role, .content = copy, .content_bytes = n};
    return true;
}

static void drop_last(conversation *c) { mem_free((void *)c->messages[--c->n].content); }

static void clear(chat *c) {
    while (c->talk.n) drop_last(&c->talk);
    if (c->system && !append_message(&c->talk, "system", c->system, strlen(c->system))) c->has_failed = true;
}

/* ---- one turn ---- */

static void show_mood(chat *c, label_read *read) {
    label_answer answer;
    qaio_error err;
    if (!read || label_finish(read, &answer, &err)) return;
    label_print(&answer, c->has_colour);
    putchar('\n');
    fflush(stdout);
}

/* The text that comes before everything else, where the message may be a cry for help. */
static void show_crisis(const chat *c, label_read *read) {
    label_answer answer;
    qaio_error err;
    if (!read || label_finish(read, &answer, &err) || !answer_is_crisis(&answer)) return;
    printf("%s\n", c->crisis->crisis.text);
    fflush(stdout);
}

/* Streams the reply; Ctrl-C ends it early. */
static bool show_reply(chat *c, reply *p, str *text) {
    reply_piece piece;
    reply_step step;
    reply_result result;
    qaio_error err;
    bool is_cancelled = false;
    while ((step = reply_next(p, &piece, POLL_MS)) != REPLY_END) {
        if (interrupt_count() && !is_cancelled) {
            reply_cancel(p);
            is_cancelled = c->is_leaving = true;
        }
        if (step == REPLY_TIMEOUT || is_cancelled) continue;
        str_append(text, piece.text, piece.n);
        terminal_write(stdout, piece.text, piece.n);
        fflush(stdout);
    }
    qaio_status status = reply_finish(p, &result, &err);
    puts(is_cancelled ? " ^C" : "");
    if (status && status != QAIO_ERR_CANCELLED) {
        report_error(&err);
        return false;
    }
    if (!status && result.n_dropped_messages && prompt_is_interactive(c->prompt))
        report_note("%s", TR("the beginning of the conversation no longer fits and was left out", "对话太长，开头部分已略去"));
    return true;
}

static void take_turn(chat *c, const char *line, size_t n) {
    label_read *mood = NULL, *crisis = NULL;
    reply *answer = NULL;
    str text = {0};
    qaio_error err;
    if (!append_message(&c->talk, "user", line, n)) {
        c->has_failed = true;
        return;
    }
    if (!prompt_is_interactive(c->prompt) && !c->is_first) putchar('\n');
    c->is_first = false;
    interrupt_clear();
    resident_hold(c->resident);
    bool reads_mood = c->mood && c->shows_mood && label_start(&mood, c->resident, c->mood, line, n, &err) == QAIO_OK;
    bool reads_crisis = c->crisis && label_start(&crisis, c->resident, c->crisis, line, n, &err) == QAIO_OK;
    qaio_status status = reply_start(&answer, c->resident, c->talk.messages, c->talk.n, &c->params, &err);
    resident_release(c->resident);
    show_mood(c, reads_mood ? mood : NULL);
    show_crisis(c, reads_crisis ? crisis : NULL);
    if (status) report_error(&err);
    bool is_done = !status && show_reply(c, answer, &text);
    c->has_failed |= !is_done;
    /* A turn without a reply is as if it had not been said. */
    if (!is_done || text.len == 0 || text.failed || !append_message(&c->talk, "assistant", text.data, text.len)) drop_last(&c->talk);
    str_deinit(&text);
    interrupt_clear();
}

/* ---- commands ---- */

static void set_mood(chat *c, const char *value) {
    bool is_on = strcmp(value, "on") == 0;
    if (!is_on && strcmp(value, "off") != 0)
        puts(TR("/mood on or /mood off", "/mood on 或 /mood off"));
    else if (is_on && !c->mood)
        puts(TR("there is no task " MOOD_TASK, "没有 " MOOD_TASK " 任务"));
    else
        c->shows_mood = is_on;
}

/* false: leave. */
static bool handle_command(chat *c, const char *line) {
    static const char *const names[] = {"/help", "/clear", "/mood", "/exit"};
    size_t n = strcspn(line, " ");
    const char *value = line + n + strspn(line + n, " ");
    if (strncmp(line, "/exit", n) == 0 && n == 5) return false;
    if (strncmp(line, "/clear", n) == 0 && n == 6) {
        clear(c);
        puts(TR("A new conversation.", "新的对话。"));
    } else if (strncmp(line, "/mood", n) == 0 && n == 5) {
        set_mood(c, value);
    } else if (strncmp(line, "/help", n) == 0 && n == 5) {
        puts(TR("/clear        begin a new conversation\n/mood on|off  show the mood of each message\n/exit         leave (Ctrl-D too)\n"
                "Ctrl-C        stop a reply",
                "/clear        开始新的对话\n/mood on|off  是否显示情绪\n/exit         离开（或 Ctrl-D）\nCtrl-C        停止回复"));
    } else {
        const char *near = nearest_name(line, names, sizeof names / sizeof *names);
        printf(TR("no command %.*s; %s%s%s\n", "没有命令 %.*s；%s%s%s\n"), (int)n, line,
               near ? TR("did you mean ", "是不是 ") : TR("see /help", "见 /help"), near ? near : "", near ? TR("?", "？") : "");
    }
    return true;
}

static void converse(chat *c) {
    const char *line;
    size_t n;
    if (prompt_is_interactive(c->prompt))
        printf(TR("%s · /help lists the commands\n", "%s · 输入 /help 查看命令\n"), resident_model_name(c->resident));
    while (!ferror(stdout)) {
        if (interrupt_count()) return; /* SIGTERM */
        prompt_status got = prompt_read(c->prompt, TR("you> ", "你> "), &line, &n);
        if (got == PROMPT_END) return;
        if (got == PROMPT_INTERRUPTED) {
            if (c->is_leaving) return;
            puts(TR("(again, or Ctrl-D, to leave)", "（再按一次或 Ctrl-D 离开）"));
            c->is_leaving = true;
            continue;
        }
        c->is_leaving = false;
        if (strspn(line, " \t") == n) continue;
        if (line[0] != '/')
            take_turn(c, line, n);
        else if (!handle_command(c, line))
            return;
    }
}

int command_chat(const settings *s) {
    if (s->operands.n)
        return report_usage(
            TR("chat takes no %s; for one text use `qaio run chat TEXT`", "chat 不需要 %s；单条文本用 `qaio run chat 文本`"),
            s->operands.items[0]);
    chat c = {.system = s->system,
              .shows_mood = !s->no_mood,
              .has_colour = terminal_has_colour(stdout),
              .is_first = true,
              .params = settings_reply_params(s)};
    qaio_error err;
    int status = open_resident(&c.resident, s, true);
    if (status) return status;
    if (task_set_find(&c.mood, resident_tasks(c.resident), MOOD_TASK, &err)) c.mood = NULL;
    if (task_set_find(&c.crisis, resident_tasks(c.resident), CRISIS_TASK, &err) || c.crisis->kind != TASK_LABEL) c.crisis = NULL;
    if ((c.prompt = prompt_new())) {
        interrupt_catch();
        clear(&c);
        converse(&c);
    } else {
        status = report_failure("%s", TR("out of memory", "内存不足"));
    }
    while (c.talk.n) drop_last(&c.talk);
    mem_free(c.talk.messages);
    prompt_free(c.prompt);
    resident_close(c.resident);
    return status ? status : c.has_failed ? EXIT_FAILED : EXIT_DONE;
}
