/* cpu.c - the CPU backend put together: core type of the BLAS, instruction set, threads, per-thread scratch, memory, the table, and
 * the two measured limits of the machine (GEMM roof, memory bandwidth).
 *
 * The arithmetic is in gemm.c and vec/. One program has one CPU backend, used from one thread at a time (its kernels make the
 * parallel regions); separate processes share nothing. */
#define _GNU_SOURCE
#include "cpu.h"
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Blocks from this size on come from the system directly: zeroed for free, on huge pages where it gives them. */
#define MAP_BYTES ((size_t)4 << 20)
#define CPU_MAX_THREADS 256
/* Copies from this size on are cut among the threads. */
#define COPY_BYTES ((size_t)1 << 20)

/* ---- the core type of the BLAS ------------------------------------------------------------------------------------------------
 */

/* Tells the program after the re-execution what the library had chosen by itself. */
#define REEXEC_MARK "INFINIBENCH_BLAS_CHOSE"

static int listed(const char *name, const char *const *list) {
    for (; *list; list++)
        if (strcasecmp(name, *list) == 0) return 1;
    return 0;
}

static int has_v3(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
#else
    return 0;
#endif
}

static int has_v4(void) {
#if defined(__x86_64__)
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

/* The core type this machine should run if the library took a lesser one; NULL if its choice is as good or unknown to us. */
static const char *better_core(const char *chosen) {
    static const char *const before_avx2[] = {
        "Katmai",       "Coppermine", "Northwood", "Prescott",    "Banias",     "Dothan",      "Core",   "Core2",
        "Penryn",       "Dunnington", "Nehalem",   "Sandybridge", "Atom",       "Nano",        "Athlon", "Opteron",
        "Opteron_SSE3", "Barcelona",  "Bobcat",    "Bulldozer",   "Piledriver", "Steamroller", NULL};
    static const char *const with_avx2[] = {"Haswell", "Zen", "Excavator", NULL};
    int old = listed(chosen, before_avx2);
    if (has_v4() && (old || listed(chosen, with_avx2))) return "SkylakeX";
    if (has_v3() && old) return "Haswell";
    return NULL;
}

/* The library reads OPENBLAS_CORETYPE when it is loaded, before main, hence the second execution. The variable is set in it, so it
 * returns at once there: there is never a third. */
void cpu_choose_core(char **argv) {
    if (getenv("OPENBLAS_CORETYPE") || getenv("INFINIBENCH_NO_REEXEC")) return;
    if (!strstr(openblas_get_config(), "DYNAMIC_ARCH")) return; /* a library for one core type does not read the variable */
    const char *chosen = openblas_get_corename(), *better = better_core(chosen);
    if (!better) return;
    if (setenv("OPENBLAS_CORETYPE", better, 1) != 0) return;
    setenv(REEXEC_MARK, chosen, 1);
    execv("/proc/self/exe", argv);
    unsetenv("OPENBLAS_CORETYPE"); /* could not: go on with what the library chose, and without traces of the attempt */
    unsetenv(REEXEC_MARK);
}

static void describe_core(char *note, size_t size) {
    const char *core = openblas_get_corename(), *set = getenv("OPENBLAS_CORETYPE"), *was = getenv(REEXEC_MARK);
    const char *better = better_core(core);
    if (set && was)
        snprintf(note, size, "OpenBLAS chose %s; re-executed with OPENBLAS_CORETYPE=%s", was, set);
    else if (set)
        snprintf(note, size, "OPENBLAS_CORETYPE=%s set by the user", set);
    else if (better)
        snprintf(note, size, "OpenBLAS chose %s; OPENBLAS_CORETYPE=%s would suit this machine better", core, better);
    else
        snprintf(note, size, "chosen by OpenBLAS");
}

/* ---- threads and their scratch
 * --------------------------------------------------------------------------------------------------- */

/* The first thread's scratch is static, so that there is a backend even when nothing can be allocated. */
static real first_scratch[CPU_SCRATCH] __attribute__((aligned(64)));
static real *scratch[CPU_MAX_THREADS] = {first_scratch};
static int threads_now = 1;

int cpu_threads(void) { return threads_now; }

/* By the number in the one active team, whatever inactive regions (if-clauses) lie around or within it. */
real *cpu_scratch(void) {
    int id = 0;
    for (int level = omp_get_level(); level > 0; level--) id += omp_get_ancestor_thread_num(level);
    return scratch[id];
}

int kernels_cpu_threads(int threads) {
    static int standard; /* OMP_NUM_THREADS or all cores, asked before we change it */
    if (!standard) standard = omp_get_max_threads();
    if (threads <= 0) threads = standard;
    if (threads > CPU_MAX_THREADS) threads = CPU_MAX_THREADS;
    for (int i = 1; i < threads; i++)
        if (!scratch[i] && !(scratch[i] = aligned_alloc(64, CPU_SCRATCH * sizeof(real)))) threads = i;
    omp_set_dynamic(0);
    omp_set_max_active_levels(1);
    omp_set_num_threads(threads);
    threads_now = threads;
    return threads;
}

/* ---- memory
 * ------------------------------------------------------------------------------------------------------------------------ */

static void *cpu_alloc(size_t bytes) {
    if (bytes >= MAP_BYTES) {
        void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
        madvise(p, bytes, MADV_HUGEPAGE);
#endif
        return p;
    }
    size_t size = bytes ? (bytes + 63) / 64 * 64 : 64;
    void *p = aligned_alloc(64, size);
    if (p) memset(p, 0, size);
    return p;
}

static void cpu_release(void *p, size_t bytes) {
    if (!p) return;
    if (bytes >= MAP_BYTES)
        munmap(p, bytes);
    else
        free(p);
}

static void cpu_move(void *dst, const void *src, size_t bytes) {
    uintptr_t to = (uintptr_t)dst, from = (uintptr_t)src;
    if (bytes < COPY_BYTES || threads_now == 1 || (to < from + bytes && from < to + bytes)) {
        if (bytes) memmove(dst, src, bytes);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int t = 0; t < threads_now; t++) {
        size_t lo = bytes / 64 * (size_t)t / (size_t)threads_now * 64;
        size_t hi = t + 1 < threads_now ? bytes / 64 * (size_t)(t + 1) / (size_t)threads_now * 64 : bytes;
        memcpy((char *)dst + lo, (const char *)src + lo, hi - lo);
    }
}

static void cpu_sync(void) {}

static void cpu_step(void (*body)(void *), void *data) { body(data); }

/* ---- the table
 * --------------------------------------------------------------------------------------------------------------------- */

static struct kernels table;

#define FILL(isa)                                                                                                                  \
    do {                                                                                                                           \
        cpu_elementwise_##isa(&table);                                                                                             \
        cpu_norm_##isa(&table);                                                                                                    \
        cpu_embed_##isa(&table);                                                                                                   \
        cpu_loss_##isa(&table);                                                                                                    \
        cpu_optim_##isa(&table);                                                                                                   \
        cpu_attention_##isa(&table);                                                                                               \
        cpu_memory_##isa(&table);                                                                                                  \
        cpu_rnn_##isa(&table);                                                                                                     \
        cpu_fast_weight_##isa(&table);                                                                                             \
        cpu_feature_##isa(&table);                                                                                                 \
        cpu_short_conv_##isa(&table);                                                                                              \
        cpu_bank_##isa(&table);                                                                                                    \
    } while (0)

/* Fills the table from the best instruction set the processor has, or from a lesser one that INFINIBENCH_ISA=base|v3|v4 asks for
 * (the tests run all of them). */
static const char *fill_table(void) {
    table.name = "cpu";
    table.alloc = cpu_alloc;
    table.release = cpu_release;
    table.upload = cpu_move;
    table.download = cpu_move;
    table.move = cpu_move;
    table.sync = cpu_sync;
    table.step = cpu_step;
    cpu_gemm_init(&table);
#if defined(__x86_64__)
    const char *wish = getenv("INFINIBENCH_ISA");
    int below_v4 = wish && (!strcmp(wish, "v3") || !strcmp(wish, "base")), below_v3 = wish && !strcmp(wish, "base");
    if (has_v4() && !below_v4) {
        FILL(v4);
        return "x86-64-v4";
    }
    if (has_v3() && !below_v3) {
        FILL(v3);
        return "x86-64-v3";
    }
#endif
    FILL(base);
    return "base";
}

static void device_name(char *name, size_t size) {
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown processor");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10) != 0) continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(name, size, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (f) fclose(f);
}

const struct kernels *kernels_cpu(int threads, struct backend_info *info) {
    openblas_set_num_threads(1); /* rows are split among our threads */
    threads = kernels_cpu_threads(threads);
    const char *isa = fill_table();
    if (info) {
        memset(info, 0, sizeof *info);
        snprintf(info->backend, sizeof info->backend, "cpu");
        device_name(info->device, sizeof info->device);
        snprintf(info->library, sizeof info->library, "%s", openblas_get_config());
        snprintf(info->core, sizeof info->core, "%s", openblas_get_corename());
        snprintf(info->isa, sizeof info->isa, "%s", isa);
        info->threads = threads;
        describe_core(info->note, sizeof info->note);
    }
    return &table;
}

/* ---- what the machine can do
 * --------------------------------------------------------------------------------------------------------- */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define ROOF_RUNS 9

double kernels_cpu_roof(void) {
    static const int64_t shapes[][3] = {{2048, 512, 512}, {2048, 704, 704}, {4096, 512, 512}, {4096, 704, 704}}; /* rows, k, n */
    const int64_t rows = 4096, width = 704;
    size_t bytes = (size_t)(rows * width) * sizeof(real), weights = (size_t)(width * width) * sizeof(real);
    real *a = cpu_alloc(bytes), *c = cpu_alloc(bytes), *b = cpu_alloc(weights);
    double best = 0;
    if (!table.gemm) cpu_gemm_init(&table);
    for (int64_t i = 0; a && i < rows * width; i++) a[i] = (real)(i % 17) - 8;
    for (int64_t i = 0; b && i < width * width; i++) b[i] = (real)(i % 13) - 6;
    for (size_t s = 0; a && b && c && s < sizeof shapes / sizeof *shapes; s++) {
        int64_t m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
        double t[ROOF_RUNS];
        table.gemm(c, a, b, 0, 0, 1, 0, m, n, k, k, n, n); /* wakes the threads, touches the pages */
        for (int i = 0; i < ROOF_RUNS; i++) {
            double start = seconds();
            table.gemm(c, a, b, 0, 0, 1, 0, m, n, k, k, n, n);
            t[i] = seconds() - start;
        }
        qsort(t, ROOF_RUNS, sizeof *t, by_value);
        double rate = 2e-9 * (double)m * (double)n * (double)k / t[ROOF_RUNS / 2];
        if (rate > best) best = rate;
    }
    cpu_release(a, bytes);
    cpu_release(b, weights);
    cpu_release(c, bytes);
    return best;
}

double kernels_cpu_bandwidth(void) {
    const int64_t n = ((int64_t)256 << 20) / 3 / (int64_t)sizeof(real) / 64 * 64; /* three vectors, 256 MiB together */
    size_t bytes = (size_t)n * sizeof(real);
    real *a = cpu_alloc(bytes), *b = cpu_alloc(bytes), *c = cpu_alloc(bytes);
    double t[5], rate = 0;
    if (a && b && c) {
        for (int run = -1; run < 5; run++) { /* the first one touches the pages */
            double start = seconds();
#pragma omp parallel for simd schedule(static)
            for (int64_t i = 0; i < n; i++) a[i] = b[i] + (real)0.5 * c[i];
            if (run >= 0) t[run] = seconds() - start;
            if (run < 0) { /* reading pages that were never written would read the one page of zeros */
                memset(b, 1, bytes);
                memset(c, 1, bytes);
            }
        }
        qsort(t, 5, sizeof *t, by_value);
        rate = 3e-9 * (double)bytes / t[2];
    }
    cpu_release(a, bytes);
    cpu_release(b, bytes);
    cpu_release(c, bytes);
    return rate;
}
