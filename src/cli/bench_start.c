/* From the start of a process to its first answer: this program once more, reading one label, as a script would call it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/bench.h"

#define MAX_ARGUMENTS 20
#define TEXT          "今天的实验终于成功了,太棒了!"

extern char **environ;

typedef struct command_line {
    const char *words[MAX_ARGUMENTS + 1];
    size_t n;
    char context[24], threads[24];
} command_line;

static void add_option(command_line *c, const char *name, const char *value) {
    if (!value) return;
    c->words[c->n++] = name;
    c->words[c->n++] = value;
}

static void build(command_line *c, const settings *s) {
    *c = (command_line){.words = {"qaio", "run", "sentiment", TEXT}, .n = 4};
    snprintf(c->context, sizeof c->context, "%llu", (unsigned long long)s->n_ctx);
    snprintf(c->threads, sizeof c->threads, "%llu", (unsigned long long)s->n_threads);
    add_option(c, "--model", s->model);
    add_option(c, "--type", s->type == DTYPE_NONE ? NULL : dtype_get(s->type)->name);
    add_option(c, "--kv-type", s->kv_type == DTYPE_NONE ? NULL : dtype_get(s->kv_type)->name);
    add_option(c, "--ctx", s->n_ctx ? c->context : NULL);
    add_option(c, "--threads", s->n_threads ? c->threads : NULL);
    add_option(c, "--tasks", s->tasks_dir);
}

static int spawn(pid_t *child, int out, command_line *c) {
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions)) return ENOMEM;
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawn(child, "/proc/self/exe", &actions, NULL, (char *const *)c->words, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* Until its answer begins to come. */
static qaio_status start_once(bench *b, void *ctx, double *ms, bench_work *work) {
    int pipe_ends[2];
    pid_t child;
    char answer[512];
    *work = (bench_work){0};
    if (pipe2(pipe_ends, O_CLOEXEC)) return error_errno(&b->error, NULL, "open a pipe", errno);
    double started_ms = clock_ms();
    int failed = spawn(&child, pipe_ends[1], ctx);
    close(pipe_ends[1]);
    if (failed) {
        close(pipe_ends[0]);
        return error_errno(&b->error, "/proc/self/exe", "start", failed);
    }
    ssize_t n = read(pipe_ends[0], answer, sizeof answer);
    *ms = clock_ms() - started_ms;
    if (n <= 0) kill(child, SIGTERM); /* interrupted */
    close(pipe_ends[0]);
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return n > 0 ? QAIO_OK : error_set(&b->error, QAIO_ERR_IO, "`qaio run` as a process of its own gave no answer");
}

void bench_start(bench *b) {
    command_line c;
    build(&c, b->settings);
    bench_figure figure = {"start to first answer", "start of a process to its first answer", "进程启动到首个结果", 0, false};
    bench_measure(b, &figure, start_once, &c);
}
