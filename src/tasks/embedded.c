/* The model inside the program. */
#include "embedded_model.h"
#include "tasks/resident.h"

const void *embedded_model(size_t *bytes) {
    *bytes = embedded_model_files[0].bytes;
    return embedded_model_files[0].data;
}
