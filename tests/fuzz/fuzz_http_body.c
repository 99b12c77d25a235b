/* The body of every JSON route: the first byte chooses the route, the rest is the body. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "server/analyze.h"
#include "server/completion.h"
#include "server/questions.h"

static task_set *tasks;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    return task_set_open(&tasks, NULL, NULL) != QAIO_OK;
}

static bool parse(uint8_t route, const json_t *root, failure *f) {
    chat_request chat;
    completion_request completion;
    analyze_request analysis;
    task_request task;
    decision_request decision;
    bool is_good;
    switch (route % 6) {
    case 0:
        is_good = chat_request_parse(&chat, root, "m", f);
        chat_request_deinit(&chat);
        return is_good;
    case 1:
        is_good = completion_request_parse(&completion, root, "m", f);
        completion_request_deinit(&completion);
        return is_good;
    case 2:
        is_good = analyze_request_parse(&analysis, root, "m", tasks, f);
        analyze_request_deinit(&analysis);
        return is_good;
    case 3:
        return task_request_parse(&task, root, "m", f);
    default:
        is_good = (route % 6 == 4 ? decisions_request_parse : systemone_request_parse)(&decision, root, "m", f);
        decision_request_deinit(&decision);
        return is_good;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    failure f = {0};
    json_t *root = request_parse((const char *)data + 1, n - 1, &f);
    /* Whatever is refused has a 4xx and can be said as JSON. */
    if (!root || !parse(data[0], root, &f)) {
        json_t *error = failure_to_json(&f);
        if (f.status < 400 || f.status > 499 || !error) abort();
        json_decref(error);
    }
    json_decref(root);
    return 0;
}
