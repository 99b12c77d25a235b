/* Labels of many texts: reads lines, prints a label and its probability for each, as many lines at a time as there are.
 *
 *     cc -o label_lines label_lines.c $(pkg-config --cflags --libs qaio)
 *     ./label_lines sentiment < reviews.txt */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qaio/qaio.h>

enum { MAX_LINES = 4096, MAX_LINE_BYTES = 4096 };

/* Reads up to MAX_LINES lines; the caller frees them. */
static size_t read_lines(char **lines) {
    static char line[MAX_LINE_BYTES];
    size_t n = 0;
    while (n < MAX_LINES && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        lines[n] = malloc(strlen(line) + 1);
        if (!lines[n]) break;
        strcpy(lines[n++], line);
    }
    return n;
}

static void print_answers(const qaio_answers *answers, char *const *lines) {
    const qaio_task *task = qaio_answers_task(answers, 0);
    const int32_t *labels = qaio_answers_labels(answers, 0);
    const double *rows = qaio_answers_probabilities(answers, 0);
    const size_t n_labels = qaio_task_label_count(task);
    size_t i;
    for (i = 0; i < qaio_answers_text_count(answers); i++) {
        qaio_error why;
        if (labels[i] >= 0)
            printf("%s\t%.4f\t%s\n", qaio_task_label_id(task, (size_t)labels[i]), rows[i * n_labels + (size_t)labels[i]], lines[i]);
        else if (qaio_answers_status(answers, 0, i, &why))
            printf("error\t%s\t%s\n", why.message, lines[i]);
        else
            printf("unsure\t\t%s\n", lines[i]);
    }
}

int main(int argc, char **argv) {
    static char *lines[MAX_LINES];
    const char *const tasks[] = {argc > 1 ? argv[1] : "sentiment"};
    qaio_model *model;
    qaio_error err;
    qaio_status status = qaio_model_open(&model, NULL, &err);
    if (!status) {
        size_t n;
        while (!status && (n = read_lines(lines)) > 0) {
            qaio_answers *answers;
            status = qaio_read(&answers, model, tasks, 1, (const char *const *)lines, NULL, n, NULL, &err);
            if (!status) {
                print_answers(answers, lines);
                qaio_answers_free(answers);
            }
            while (n > 0) free(lines[--n]);
        }
        qaio_model_close(model);
    }
    if (status) fprintf(stderr, "%s: %s\n", qaio_status_name(status), err.message);
    return status != QAIO_OK;
}
