/* test_cuda_emulated.c - the CUDA backend's own sources on the emulated device (support/cuda/): arithmetic, barriers, races between
 * warps, shared and device memory that was never written, memory touched from the wrong side. What only a GPU shows is in
 * test_cuda.c.
 *
 * Alone it runs all tests; `-t PATTERN` those whose name fits; `-s FIRST STEP` 20 steps of training of every STEP-th variant of the
 * architectures; `SLOT [N]` the cases of one slot in fp32, and the manners of every N-th case. */
#include "cuda_suite.h"
#include "support/cuda/emulation.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Every 27th case each, under other orders of warps than the whole table had. */
static void other_orders(void **state) {
    (void)state;
    products("fp32");
    for (int i = 0; i < 3; i++) {
        emulated_seed(1000 + (uint64_t)i);
        table_rows(manners, 4, 9 * i, 27);
    }
}

static void training_fp32(void **state) {
    (void)state;
    same_training("fp32", STEPS_FP32, 0, 3);
}

static void training_tf32(void **state) {
    (void)state;
    same_training("tf32", STEPS_TF32, 1, 9);
}

/* After two steps as they are and captured, all kernels of a step come from its graph, but for the look at each state after it. */
static void steps_are_replayed(void **state) {
    (void)state;
    products("fp32");
    engine_kernels = cuda;
    struct model *m = engine_model("infini", "update=linear", VARIANT_SHAPE);
    struct trainer *t = engine_trainer(m, STEP_LAYER_MAJOR, true, 3e-3, 8);
    for (int i = 0; i < 6; i++) {
        struct step_result r;
        int64_t all = emulated_launches(), replayed = emulated_replayed();
        CHECK(!trainer_step(t, &r, &e), "%s", e.text);
        all = emulated_launches() - all;
        replayed = emulated_replayed() - replayed;
        assert_true(all > 100);
        if (i == 0) assert_int_equal(replayed, 0);
        if (i > 0) assert_int_equal(replayed, all - m->state_count);
    }
    engine_trainer_free(t);
    model_free(m);
    engine_kernels = NULL;
}

/* The host cannot read device memory: the emulation would not notice what it is there for otherwise. */
static void device_memory_is_closed(void **state) {
    (void)state;
    products("fp32");
    float *p = cuda->alloc(64);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        _exit(*(volatile float *)p == 0 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    cuda->release(p, 64);
}

static void takes_memory(void *data) { *(void **)data = cuda->alloc(64); }

/* What a GPU refuses while a graph is captured, the second time that a step runs, stops the emulation too. */
static void capture_refuses_memory(void **state) {
    (void)state;
    products("fp32");
    pid_t child = fork();
    if (child == 0) {
        void *p;
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr)) _exit(2);
        cuda->step(takes_memory, &p);
        cuda->step(takes_memory, &p);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* A barrier that is forgotten shows; one that is there is enough. */
static void missing_barriers_show(void **state) {
    (void)state;
    assert_int_equal(emulated_exchange_errors(1), 0);
    assert_true(emulated_exchange_errors(0) > 0);
}

static int one_slot(const char *name, int step) {
    int bad = 0;
    products("fp32");
    for (int i = 0; i < kernel_row_count; i++) {
        char why[WHY] = "";
        if (strcmp(kernel_row_table[i].slot, name)) continue;
        struct kernel_case *c = kernel_case_new(&kernel_row_table[i]);
        if (against_reference(c, why) || (i % step == 0 && manners(c, why))) bad++, printf("%s\n", why);
        kernel_case_free(c);
    }
    printf("%d cases fail\n", bad);
    return bad != 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_slot_is_empty),
                                       cmocka_unit_test(memory_and_copies),
                                       cmocka_unit_test(device_memory_is_closed),
                                       cmocka_unit_test(capture_refuses_memory),
                                       cmocka_unit_test(missing_barriers_show),
                                       cmocka_unit_test(table_fp32),
                                       cmocka_unit_test(table_tf32),
                                       cmocka_unit_test(table_bf16),
                                       cmocka_unit_test(other_orders),
                                       cmocka_unit_test(training_fp32),
                                       cmocka_unit_test(training_tf32),
                                       cmocka_unit_test(checkpoints_pass),
                                       cmocka_unit_test(steps_are_replayed)};
    if (argc > 3 && !strcmp(argv[1], "-s")) {
        bool tf32 = argc > 4 && !strcmp(argv[4], "tf32");
        same_training(tf32 ? "tf32" : "fp32", tf32 ? STEPS_TF32 : STEPS_FP32, atoi(argv[2]), atoi(argv[3]));
        return 0;
    }
    if (argc > 2 && !strcmp(argv[1], "-t"))
        cmocka_set_test_filter(argv[2]);
    else if (argc > 1)
        return one_slot(argv[1], argc > 2 ? atoi(argv[2]) : 1);
    return cmocka_run_group_tests_name("cuda emulated", tests, folder_setup, folder_teardown);
}
