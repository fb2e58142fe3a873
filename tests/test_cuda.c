/* test_cuda.c - the CUDA backend on a GPU. Without one: a line that says so, and success; with CUDA_REQUIRED set (make test-cuda)
 * failure. On a machine without GPUs the same sources run in test_cuda_emulated.c. TEST_EVERY=N runs every N-th case (under
 * compute-sanitizer); `-t PATTERN` the tests whose name fits. */
#include "cuda_suite.h"
#include <signal.h>
#include <stdio.h>

static int every(void) {
    const char *n = getenv("TEST_EVERY");
    return n && atoi(n) > 0 ? atoi(n) : 1;
}

/* Sizes at which many blocks run. */
static void large_sizes(void **state) {
    (void)state;
    products("fp32");
    int failures = 0;
    for (int i = 0; i < kernel_perf_count; i += every()) {
        char why[WHY] = "";
        struct kernel_case *c = kernel_case_new(&kernel_perf_table[i]);
        snprintf(running, sizeof running, "%s [%s]", kernel_perf_table[i].slot, c->label);
        if (c->flop < 1e8 && (kernel_check(cuda, c, why) || kernel_repeats(cuda, c, why)) && ++failures <= 12)
            print_error("%s\n", why);
        kernel_case_free(c);
    }
    assert_int_equal(failures, 0);
}

static void table_manners(void **state) {
    (void)state;
    products("fp32");
    table_rows(manners, 4, 0, every());
}

static void training_fp32(void **state) {
    (void)state;
    same_training("fp32", STEPS_FP32, 0, every());
}

static void training_tf32(void **state) {
    (void)state;
    same_training("tf32", STEPS_TF32, 0, every());
}

/* A call that failed stops the program: in which case? */
static void say_running(int number) {
    (void)number;
    fprintf(stderr, "stopped at %s\n", running);
}

int main(int argc, char **argv) {
    char why[256];
    if (!kernels_cuda("fp32", NULL, why, sizeof why)) {
        const char *required = getenv("CUDA_REQUIRED");
        printf("%s: %s\n", required ? "no GPU tests" : "skipped", why);
        return required != NULL;
    }
    cases_step = every();
    signal(SIGABRT, say_running);
    if (argc > 2 && !strcmp(argv[1], "-t")) cmocka_set_test_filter(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_slot_is_empty), cmocka_unit_test(memory_and_copies),
                                       cmocka_unit_test(table_fp32),       cmocka_unit_test(table_tf32),
                                       cmocka_unit_test(table_bf16),       cmocka_unit_test(large_sizes),
                                       cmocka_unit_test(table_manners),    cmocka_unit_test(training_fp32),
                                       cmocka_unit_test(training_tf32),    cmocka_unit_test(checkpoints_pass)};
    return cmocka_run_group_tests_name("cuda", tests, folder_setup, folder_teardown);
}
