/* qaio serve: the page and the HTTP interface until SIGINT or SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/locale.h"
#include "cli/memory.h"
#include "cli/open.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "server/server.h"
#include "tasks/task_watch.h"

#define MAX_KEY_FILE_BYTES 4096
#define STOP_DEADLINE_MS   5000

/* The first line of the file; *key owned. */
static int read_key(char **key, const char *path) {
    size_t n;
    qaio_error err;
    if (file_read(key, &n, path, MAX_KEY_FILE_BYTES, &err)) return report_error(&err);
    (*key)[strcspn(*key, "\r\n")] = '\0';
    return (*key)[0] ? EXIT_DONE
                     : report_failure(TR("the key file %s is empty; put the key on its first line", "密钥文件 %s 为空；请把密钥写在第一行"),
                                      path);
}

static void print_start(const settings *s, resident *r, const server *listening, double started_ms) {
    char weights[32], memory[32];
    format_bytes(weights, model_weight_bytes(resident_model(r)));
    format_bytes(memory, memory_resident_bytes());
    printf(TR("qaio %s is ready: %s\n", "qaio %s 已就绪：%s\n"), QAIO_VERSION, server_url(listening));
    printf(TR("  model    %s, %s, %s of weights, context %zu\n", "  模型     %s，%s，权重 %s，上下文 %zu\n"), resident_model_name(r),
           dtype_get(model_type(resident_model(r)))->name, weights, model_context(resident_model(r)));
    printf(TR("  machine  %d threads, %s kernels, %s resident, started in %.0f ms\n",
              "  机器     %d 线程，%s 内核，占用内存 %s，启动 %.0f 毫秒\n"),
           resident_threads(r), resident_kernels(r)->name, memory, clock_ms() - started_ms);
    if (s->insecure && !s->api_key_file)
        printf("%s", TR("  warning  anyone who can reach this address can use it (--insecure)\n",
                        "  警告     能访问此地址的人都能使用（--insecure）\n"));
    printf("%s", TR("Ctrl-C stops it.\n", "按 Ctrl-C 停止。\n"));
    fflush(stdout);
}

static void reload(resident *r, const char *dir) {
    qaio_error err;
    if (resident_reload_tasks(r, &err)) {
        report_error(&err);
        report_note("%s", TR("the tasks stay as they were", "任务保持原样"));
    } else {
        report_note(TR("%zu tasks read anew%s%s", "已重新读取 %zu 个任务%s%s"), task_set_size(resident_tasks(r)),
                    dir ? TR(" from ", "：") : "", dir ? dir : "");
    }
}

/* Until SIGINT or SIGTERM, or SIGHUP where it says that the terminal is gone; elsewhere SIGHUP reads the tasks anew. */
static void wait_for_end(const settings *s, resident *r, const sigset_t *signals, task_watch *files) {
    const struct timespec second = {.tv_sec = 1};
    bool has_terminal = isatty(STDIN_FILENO) || isatty(STDOUT_FILENO);
    for (;;) {
        int number = s->tasks_dir ? sigtimedwait(signals, NULL, &second) : sigwaitinfo(signals, NULL);
        if (number > 0 && (number != SIGHUP || has_terminal)) return;
        if (number == SIGHUP || task_watch_look(files)) reload(r, s->tasks_dir);
    }
}

static int serve(const settings *s, resident *r, const char *key, const sigset_t *signals, task_watch *files, double started_ms) {
    server_options options = server_defaults;
    options.host = s->host;
    options.port = (uint16_t)s->port;
    options.api_key = key;
    options.is_insecure = s->insecure;
    options.allowed_hosts = s->allowed_hosts.items;
    options.n_allowed_hosts = s->allowed_hosts.n;
    options.allowed_origins = s->allowed_origins.items;
    options.n_allowed_origins = s->allowed_origins.n;
    server *listening;
    qaio_error err;
    qaio_status status = server_start(&listening, r, &options, &err);
    if (status) {
        int exit_status = report_error(&err);
        return status == QAIO_ERR_ARGUMENT ? EXIT_USAGE : exit_status;
    }
    print_start(s, r, listening, started_ms);
    wait_for_end(s, r, signals, files);
    printf("%s", TR("\nstopping …\n", "\n正在停止……\n"));
    fflush(stdout);
    server_stop(listening, STOP_DEADLINE_MS);
    return EXIT_DONE;
}

int command_serve(const settings *s) {
    if (s->operands.n)
        return report_usage(TR("serve takes no %s; see `qaio help serve`", "serve 不需要 %s；见 `qaio help serve`"), s->operands.items[0]);
    double started_ms = clock_ms();
    /* Blocked here, before there are threads, so that every thread inherits it and wait_for_end alone gets them. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN); /* a client that went away is an error of its own connection */
    char *key = NULL;
    resident *r = NULL;
    int status = s->api_key_file ? read_key(&key, s->api_key_file) : EXIT_DONE;
    task_watch files;
    task_watch_init(&files, s->tasks_dir);
    if (status == EXIT_DONE) status = open_resident(&r, s, true);
    if (status == EXIT_DONE) status = serve(s, r, key, &signals, &files, started_ms);
    resident_close(r);
    mem_free(key);
    return status;
}
