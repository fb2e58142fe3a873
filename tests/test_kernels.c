/* test_kernels.c - every kernel of the CPU table: against the fp64 reference, its gradients, its manners.
 *   test_kernels              check, gradients, sentinels, and that broken kernels are caught
 *   test_kernels perf [SLOT]  time of every kernel at realistic sizes against the measured roof */
#include "support/broken.h"
#include "support/kernel_cases.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct kernels *cpu;

enum { SHOWN = 12 };

static void rows_of(const struct kernel_row *rows, int count, int (*run)(const struct kernel_case *c, char *why)) {
    int failures = 0;
    for (int i = 0; i < count; i++) {
        char why[WHY] = "";
        struct kernel_case *c = kernel_case_new(&rows[i]);
        if (run(c, why) && ++failures <= SHOWN) print_error("%s\n", why);
        kernel_case_free(c);
    }
    if (failures > 0) fail_msg("%d of %d cases fail", failures, count);
}

static void all_rows(int (*run)(const struct kernel_case *c, char *why)) { rows_of(kernel_row_table, kernel_row_count, run); }

static int check(const struct kernel_case *c, char *why) { return kernel_check(cpu, c, why); }

static int gradient(const struct kernel_case *c, char *why) { return c->flop < 1e6 ? kernel_gradient(c, why) : 0; }

/* Sizes at which threads share the work; those that the plain reference does in moderate time. */
static int large(const struct kernel_case *c, char *why) {
    return c->flop < 1e8 ? kernel_check(cpu, c, why) || kernel_repeats(cpu, c, why) : 0;
}

static int sentinels(const struct kernel_case *c, char *why) { return kernel_sentinels(cpu, c, why); }

/* Every instruction set that the program may choose has kernels of its own; and any thread count has to do. Two threads on two
 * cores that are busy with something else spin for most of the time; three threads, more than there are cores, make OpenMP yield.
 */
static const struct variant {
    const char *isa;
    int threads;
} best = {NULL, 3}, alone = {NULL, 1}, v3 = {"v3", 3}, base = {"base", 1};

static int take(void **state) {
    const struct variant *v = *state;
    if (v->isa) setenv("INFINIBENCH_ISA", v->isa, 1);
    cpu = kernels_cpu(v->threads, NULL);
    return 0;
}

static int put_back(void **state) {
    (void)state;
    unsetenv("INFINIBENCH_ISA");
    cpu = kernels_cpu(1, NULL);
    return 0;
}

static void test_check(void **state) {
    (void)state;
    all_rows(check);
}

static void test_large_sizes(void **state) {
    (void)state;
    rows_of(kernel_perf_table, kernel_perf_count, large);
}

static void test_gradients(void **state) {
    (void)state;
    all_rows(gradient);
}

static void test_sentinels(void **state) {
    (void)state;
    all_rows(sentinels);
}

static void test_all_slots_have_rows(void **state) {
    (void)state;
    for (int i = 0; i < kernel_slot_count; i++) {
        int rows = 0;
        for (int j = 0; j < kernel_row_count; j++) rows += !strcmp(kernel_row_table[j].slot, kernel_slot_table[i].name);
        if (rows == 0) fail_msg("%s has no case", kernel_slot_table[i].name);
    }
    void *const *slot = (void *const *)cpu;
    for (size_t i = 0; i < sizeof *cpu / sizeof *slot; i++)
        if (!slot[i]) fail_msg("slot %zu of the CPU table is empty", i);
}

static void test_broken_kernels_are_caught(void **state) {
    (void)state;
    for (int i = 0; i < broken_kernel_count; i++) {
        const struct kernels *bad = broken_kernels(cpu, i);
        int caught = 0;
        for (int j = 0; j < kernel_row_count && !caught; j++) {
            if (strcmp(kernel_row_table[j].slot, broken_kernel_table[i].slot)) continue;
            char why[WHY];
            struct kernel_case *c = kernel_case_new(&kernel_row_table[j]);
            caught = kernel_check(bad, c, why) || kernel_sentinels(bad, c, why);
            kernel_case_free(c);
        }
        if (!caught) fail_msg("not caught: %s, %s", broken_kernel_table[i].slot, broken_kernel_table[i].how);
    }
}

static void test_memory_slots(void **state) {
    (void)state;
    unsigned char host[1000], back[1000];
    unsigned char *a = cpu->alloc(2000);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % 64, 0);
    for (int i = 0; i < 1000; i++) host[i] = (unsigned char)(i * 7);
    cpu->download(back, a + 1000, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(back[i], 0);
    cpu->upload(a, host, 1000);
    cpu->move(a + 3, a, 1000);
    cpu->sync();
    cpu->download(back, a + 3, 1000);
    assert_memory_equal(back, host, 1000);
    cpu->release(a, 2000);
}

static int perf(const char *only) {
    double roof = kernels_cpu_roof(), bandwidth = kernels_cpu_bandwidth();
    printf("roof %.1f GFLOP/s, memory %.1f GB/s\n", roof, bandwidth);
    printf("%-16s %-46s %10s %9s %7s %8s %11s\n", "kernel", "shape", "us", "GFLOP/s", "% roof", "GB/s", "% bandwidth");
    for (int i = 0; i < kernel_perf_count; i++) {
        if (only && strcmp(only, kernel_perf_table[i].slot)) continue;
        struct kernel_case *c = kernel_case_new(&kernel_perf_table[i]);
        double t = kernel_seconds(cpu, c, 0.1), flops = c->flop / t * 1e-9, bytes = c->bytes / t * 1e-9;
        printf("%-16s %-46s %10.1f ", c->slot->name, c->label, t * 1e6);
        if (c->flop > 0)
            printf("%9.1f %7.1f ", flops, 100 * flops / roof);
        else
            printf("%9s %7s ", "-", "-");
        printf("%8.2f %11.1f\n", bytes, 100 * bytes / bandwidth);
        fflush(stdout);
        kernel_case_free(c);
    }
    return 0;
}

int main(int argc, char **argv) {
    struct backend_info info;
    cpu_choose_core(argv);
    cpu = kernels_cpu(0, &info);
    if (!cpu) {
        fprintf(stderr, "there is no CPU backend\n");
        return 1;
    }
    if (argc > 1 && !strcmp(argv[1], "perf")) return perf(argc > 2 ? argv[2] : NULL);
#define WITH(test, variant)                                                                                                        \
    { #test " (" #variant ")", test, take, put_back, (void *)&variant }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_slots_have_rows),
        cmocka_unit_test(test_memory_slots),
        cmocka_unit_test(test_gradients),
        WITH(test_check, best),
        WITH(test_check, alone),
        WITH(test_check, v3),
        WITH(test_check, base),
        WITH(test_large_sizes, best),
        WITH(test_sentinels, best),
        WITH(test_sentinels, v3),
        WITH(test_sentinels, base),
        cmocka_unit_test(test_broken_kernels_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
