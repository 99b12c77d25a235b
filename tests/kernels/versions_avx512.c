/* The AVX-512 sources built on an emulation, as one table of their own. */
#include <string.h>

#include "kernels/isa.h"
#include "versions.h"

const kernels *const *versions_under_test(void) {
    static kernels table;
    static const kernels *versions[2];
    char features[256];
    kernels_cpu_features(features, sizeof features);
    if (!strstr(features, "AVX2") || !strstr(features, "FMA") || !strstr(features, "F16C")) return versions; /* what the emulation uses */
    table = *kernels_ref();
    kernels_add_avx512(&table);
    versions[0] = &table;
    return versions;
}
