/* Calibration files: any bytes are a calibration that keeps probabilities probabilities, or an error in one line of valid UTF-8. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tasks/calibration.h"
#include "tasks/calibration_fit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_probabilities(const stored_calibration *stored) {
    static const double raw[][2] = {{0.5, 0.5}, {1, 0}, {1e-300, 1}};
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
        double p[2];
        calibration_apply(&stored->values, 2, raw[i], p);
        if (!(p[0] >= 0 && p[1] >= 0 && fabs(p[0] + p[1] - 1) < 1e-9)) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    task_label labels[] = {{.id = (char[]){"positive"}}, {.id = (char[]){"negative"}}};
    task t = {.name = (char[]){"sentiment"}, .version = 1, .kind = TASK_LABEL, .labels = labels, .n_labels = 2};
    calibration_key key = {&t, "m", "q8_0", 1};
    stored_calibration stored;
    qaio_error err = {0};
    if (calibration_parse(&stored, &key, (const char *)data, size, &err) == QAIO_OK) {
        check_probabilities(&stored);
        return 0;
    }
    if (!err.message[0] || strchr(err.message, '\n') || !utf8_is_valid(err.message, strlen(err.message))) abort();
    return 0;
}
