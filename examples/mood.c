/* The mood of a message, then a reply to it, both in one pass over the model.
 *
 *     cc -o mood mood.c $(pkg-config --cflags --libs qaio)
 *     ./mood '今天考试没考好,心情很低落。' */
#include <stdio.h>

#include <qaio/qaio.h>

static int show_mood(void *context, const qaio_answers *answers) {
    const int32_t label = qaio_answers_labels(answers, 0)[0];
    (void)context;
    if (label >= 0) {
        const qaio_task *task = qaio_answers_task(answers, 0);
        const double probability = qaio_answers_probabilities(answers, 0)[label];
        printf("%s %s %.1f %%\n", qaio_task_label_emoji(task, (size_t)label), qaio_task_label_text(task, (size_t)label), 100 * probability);
    }
    return 0;
}

static int show_text(void *context, const char *text, size_t bytes) {
    (void)context;
    fwrite(text, 1, bytes, stdout);
    fflush(stdout);
    return 0;
}

static int fail(const qaio_error *err) {
    fprintf(stderr, "%s%s%s\n", err->path, err->path[0] ? ": " : "", err->message);
    return 1;
}

int main(int argc, char **argv) {
    const char *const tasks[] = {"sentiment"};
    qaio_message message = {"user", "今天考试没考好,心情很低落。"};
    qaio_model *model;
    qaio_reply *reply;
    qaio_reply_options options;
    qaio_error err;
    if (argc > 1) message.content = argv[1];
    if (qaio_model_open(&model, NULL, &err)) return fail(&err);
    qaio_reply_options_init(&options, sizeof options);
    options.tasks = tasks;
    options.n_tasks = 1;
    options.on_labels = show_mood;
    options.on_text = show_text;
    if (qaio_chat(&reply, model, &message, 1, &options, &err)) {
        qaio_model_close(model);
        return fail(&err);
    }
    printf("\n(first token after %.0f ms)\n", qaio_reply_first_ms(reply));
    qaio_reply_free(reply);
    qaio_model_close(model);
    return 0;
}
