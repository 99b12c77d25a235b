/* Versions whose instructions this CPU may not have, built on emulations of them.  Each is a table of its own on the reference. */
#include <string.h>

#include "kernels/isa.h"
#include "versions.h"

typedef void add_function(kernels *table);

const kernels *const *versions_under_test(void) {
    static add_function *const add[] = {kernels_add_avxvnni, kernels_add_avx512, kernels_add_amx};
    enum { N_VERSIONS = sizeof add / sizeof *add };
    static kernels tables[N_VERSIONS];
    static const kernels *versions[N_VERSIONS + 1];
    char features[256];
    kernels_cpu_features(features, sizeof features);
    if (!strstr(features, "AVX2") || !strstr(features, "FMA") || !strstr(features, "F16C")) return versions; /* what the emulation uses */
    for (size_t i = 0; i < N_VERSIONS; i++) {
        tables[i] = *kernels_ref();
        add[i](&tables[i]);
        versions[i] = &tables[i];
    }
    return versions;
}
