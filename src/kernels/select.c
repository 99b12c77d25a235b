/* Which versions this CPU can run.  CPUID says what the silicon has, XGETBV which registers the operating system saves; a version needs
 * both.  The tables are filled once, each from the next lower one. */
#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#include "kernels/isa.h"
#include "kernels/kernels.h"

enum { MAX_VERSIONS = 5 };

static kernels tables[MAX_VERSIONS];
static const kernels *available[MAX_VERSIONS + 1]; /* ended by NULL */

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* State the operating system must save: bits of XCR0. */
#define XCR0_AVX    0x6u
#define XCR0_AVX512 0xe6u
#define XCR0_AMX    0x60000u

typedef enum feature {
    AVX2,
    FMA,
    F16C,
    AVX_VNNI,
    AVX512F,
    AVX512DQ,
    AVX512BW,
    AVX512VL,
    AVX512_VNNI,
    AVX512_BF16,
    AVX512_FP16,
    AMX_TILE,
    AMX_INT8,
    AMX_BF16,
    N_FEATURES
} feature;

typedef enum cpuid_register { EAX, EBX, ECX, EDX } cpuid_register;

/* Intel SDM volume 2A, CPUID. */
static const struct {
    const char *name;
    uint32_t leaf, subleaf;
    cpuid_register where;
    unsigned bit;
    uint32_t xcr0;
} features[N_FEATURES] = {
    [AVX2] = {"AVX2", 7, 0, EBX, 5, XCR0_AVX},
    [FMA] = {"FMA", 1, 0, ECX, 12, XCR0_AVX},
    [F16C] = {"F16C", 1, 0, ECX, 29, XCR0_AVX},
    [AVX_VNNI] = {"AVX-VNNI", 7, 1, EAX, 4, XCR0_AVX},
    [AVX512F] = {"AVX-512", 7, 0, EBX, 16, XCR0_AVX512},
    [AVX512DQ] = {"DQ", 7, 0, EBX, 17, XCR0_AVX512},
    [AVX512BW] = {"BW", 7, 0, EBX, 30, XCR0_AVX512},
    [AVX512VL] = {"VL", 7, 0, EBX, 31, XCR0_AVX512},
    [AVX512_VNNI] = {"AVX512-VNNI", 7, 0, ECX, 11, XCR0_AVX512},
    [AVX512_BF16] = {"AVX512-BF16", 7, 1, EAX, 5, XCR0_AVX512},
    [AVX512_FP16] = {"AVX512-FP16", 7, 0, EDX, 23, XCR0_AVX512},
    [AMX_TILE] = {"AMX", 7, 0, EDX, 24, XCR0_AMX},
    [AMX_INT8] = {"AMX-INT8", 7, 0, EDX, 25, XCR0_AMX},
    [AMX_BF16] = {"AMX-BF16", 7, 0, EDX, 22, XCR0_AMX},
};

/* The register state the operating system saves; 0 when it cannot be asked. */
static uint32_t saved_state(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a;
}

static bool has(feature f) {
    uint32_t r[4] = {0};
    if (!__get_cpuid_count(features[f].leaf, features[f].subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX])) return false;
    return (r[features[f].where] >> features[f].bit & 1) && (saved_state() & features[f].xcr0) == features[f].xcr0;
}

/* Linux gives the tile registers, 8 KiB more to save for every thread, only to a process that asks. */
static bool may_use_tiles(void) {
#if defined(__linux__)
    const long request_permission = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

static size_t add_versions(size_t n) {
    if (!has(AVX2) || !has(FMA) || !has(F16C)) return n;
    tables[n] = tables[n - 1];
    kernels_add_avx2(&tables[n++]);
    if (has(AVX_VNNI)) {
        tables[n] = tables[n - 1];
        kernels_add_avxvnni(&tables[n++]);
    }
    if (!has(AVX512F) || !has(AVX512DQ) || !has(AVX512BW) || !has(AVX512VL) || !has(AVX512_VNNI)) return n;
    tables[n] = tables[n - 1];
    kernels_add_avx512(&tables[n++]);
    if (!has(AMX_TILE) || !has(AMX_INT8) || !may_use_tiles()) return n;
    tables[n] = tables[n - 1];
    kernels_add_amx(&tables[n++]);
    return n;
}

void kernels_cpu_features(char *out, size_t out_bytes) {
    size_t used = 0;
    if (out_bytes > 0) out[0] = '\0';
    for (int f = 0; f < N_FEATURES && used < out_bytes; f++) {
        if (has((feature)f)) used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", used ? " " : "", features[f].name);
    }
}
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

static size_t add_versions(size_t n) {
    if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP)) return n;
    tables[n] = tables[n - 1];
    kernels_add_neon(&tables[n++]);
    return n;
}

void kernels_cpu_features(char *out, size_t out_bytes) {
    unsigned long has = getauxval(AT_HWCAP), has2 = getauxval(AT_HWCAP2);
    if (out_bytes == 0) return;
    snprintf(out, out_bytes, "NEON%s%s%s", has & HWCAP_ASIMDDP ? " dotprod" : "", has2 & HWCAP2_I8MM ? " i8mm" : "",
             has & HWCAP_SVE ? " SVE" : "");
}
#else
static size_t add_versions(size_t n) { return n; }

void kernels_cpu_features(char *out, size_t out_bytes) {
    if (out_bytes > 0) out[0] = '\0';
}
#endif

static void fill_tables(void) {
    tables[0] = *kernels_ref();
    size_t n = add_versions(1);
    for (size_t i = 0; i < n; i++) available[i] = &tables[i];
}

const kernels *const *kernels_available(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_tables);
    return available;
}

qaio_status kernels_select(const kernels **out, const char *name, qaio_error *err) {
    const kernels *best = NULL;
    char names[128] = "";
    size_t used = 0;
    for (const kernels *const *version = kernels_available(); *version; version++) {
        if (!name || !*name || strcasecmp(name, (*version)->name) == 0) best = *version;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", (*version)->name);
    }
    if (!best) return error_set(err, QAIO_ERR_ARGUMENT, "no kernels \"%s\" on this machine; it has %s", name, names);
    *out = best;
    return QAIO_OK;
}
