/* qaio: finds the command, parses its options, runs it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/locale.h"
#include "cli/report.h"

static const command *find_command(const char *name) {
    for (size_t i = 0; i < n_commands; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[32];
    size_t n = 0;
    for (size_t i = 0; i < n_commands && n < sizeof names / sizeof *names; i++) names[n++] = commands[i].name;
    const char *near = nearest_name(name, names, n);
    if (near) return report_usage(TR("no command %s; did you mean qaio %s?", "没有命令 %s；是不是 qaio %s？"), name, near);
    return report_usage(TR("no command %s; `qaio --help` lists them", "没有命令 %s；`qaio --help` 列出全部"), name);
}

static void print_help(FILE *out) {
    fprintf(out, "%s\n\n%sqaio %s\n\n",
            TR("qaio: one resident small Qwen that does every language task", "qaio：一个常驻内存的小 Qwen，做所有语言任务"),
            TR("Usage: ", "用法："), TR("COMMAND [OPTION…]", "命令 [选项…]"));
    for (size_t i = 0; i < n_commands; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, TR(commands[i].summary_en, commands[i].summary_zh));
    fprintf(out, "\n%s\n\n%s\n",
            TR("`qaio help COMMAND` explains one.  Without --model the built-in model is used: no file, no network.",
               "`qaio help 命令` 查看说明。不给 --model 就用内置模型：不需要文件和网络。"),
            TR("First steps:", "第一步："));
    fputs("  qaio serve\n  qaio run sentiment,chat '今天考试没考好,心情很低落。'\n\n", out);
    fprintf(out, "%s\n",
            TR("Exit status: 0 done, 1 failed, 2 wrong usage.  QAIO_LANG=zh or en chooses the language of messages.",
               "退出码：0 成功，1 失败，2 用法错误。QAIO_LANG=zh 或 en 选择消息语言。"));
}

static void print_command_help(const command *c, FILE *out) {
    fprintf(out, "qaio %s%s%s\n\n%sqaio %s%s%s %s\n", c->name, TR(": ", "："), TR(c->summary_en, c->summary_zh), TR("Usage: ", "用法："),
            c->name, c->operands[0] ? " " : "", c->operands, TR("[OPTION…]", "[选项…]"));
    options_help(c->groups, out);
    fprintf(out, "\n%s\n", TR("Examples:", "例子："));
    for (const char *line = c->examples; *line;) {
        size_t n = strcspn(line, "\n");
        fprintf(out, "  %.*s\n", (int)n, line);
        line += n + (line[n] != 0);
    }
}

static int help_command(int argc, char **argv) {
    if (argc == 0) {
        print_help(stdout);
        return report_output(EXIT_DONE);
    }
    const command *c = find_command(argv[0]);
    if (!c) return unknown_command(argv[0]);
    print_command_help(c, stdout);
    return report_output(EXIT_DONE);
}

static int run_command(const command *c, int argc, char **argv) {
    settings s = settings_defaults;
    qaio_error err;
    if (options_parse(c->groups, &s, argc, argv, &s.operands, &err))
        return report_usage(TR("%s (see `qaio help %s`)", "%s（见 `qaio help %s`）"), err.message, c->name);
    int status = EXIT_DONE;
    if (s.help)
        print_command_help(c, stdout);
    else
        status = c->run(&s);
    mem_free((void *)s.operands.items);
    return report_output(status);
}

/* A closed standard stream would give its number to the next file we open, and messages would go into that file.  Standard output becomes
 * something that cannot be written, so that what is lost is reported. */
static bool open_missing_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd) return false;
    return true;
}

int main(int argc, char **argv) {
    if (!open_missing_streams()) return EXIT_FAILED;
    locale_init();
    if (argc < 2) {
        if (!isatty(STDOUT_FILENO))
            return report_usage("%s", TR("no command; `qaio --help` lists them", "没有命令；`qaio --help` 列出全部"));
        return help_command(0, NULL);
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return help_command(strcmp(word, "help") == 0 ? argc - 2 : 0, argv + 2);
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("qaio %s\n", QAIO_VERSION);
        return report_output(EXIT_DONE);
    }
    const command *c = find_command(word);
    return c ? run_command(c, argc - 2, argv + 2) : unknown_command(word);
}
