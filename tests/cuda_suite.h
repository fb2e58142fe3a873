/* cuda_suite.h - what holds of the CUDA backend on a GPU (test_cuda.c) and on the emulated device (test_cuda_emulated.c): every
 * case of the kernel table against the fp64 reference, steps of training against the CPU, checkpoints across, recorded steps. */
#ifndef INFINIBENCH_CUDA_SUITE_H
#define INFINIBENCH_CUDA_SUITE_H

#include "../harness/checkpoint.h"
#include "../harness/corpus.h"
#include "support/folder.h"
#include "support/kernel_cases.h"
#include "support/variants.h"
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h> /* after the engine: it has a macro fail() */

static const struct kernels *cuda;
static char running[256] = "no case"; /* what a program that is stopped was at */

/* Opens the backend with products in "fp32", "tf32" or "bf16"; aborts where it cannot be had. */
static void products(const char *how) {
    char why[256];
    cuda = kernels_cuda(how, NULL, why, sizeof why);
    CHECK(cuda, "%s", why);
}

/* Products of rounded factors are compared within this many times the rounding of float: half a unit of the last of 10 (TF32) or 7
 * (bf16) bits of mantissa, in both factors. */
#define TF32_FACTOR 8192
#define BF16_FACTOR 65536

static bool has_product(const char *slot) { return !strncmp(slot, "gemm", 4) || !strncmp(slot, "attention", 9); }

/* step > 1: every step-th row, from `first` on. */
static void table_rows(int (*run)(const struct kernel_case *c, char *why), double factor, int first, int step) {
    int failures = 0, count = 0;
    for (int i = first; i < kernel_row_count; i += step) {
        char why[WHY] = "";
        if (factor > 4 && !has_product(kernel_row_table[i].slot)) continue;
        struct kernel_case *c = kernel_case_new(&kernel_row_table[i]);
        if (factor > 4) c->factor = factor;
        snprintf(running, sizeof running, "%s [%s]", kernel_row_table[i].slot, c->label);
        count++;
        if (run(c, why) && ++failures <= 12) print_error("%s\n", why);
        kernel_case_free(c);
    }
    if (failures > 0) fail_msg("%d of %d cases fail", failures, count);
}

static int against_reference(const struct kernel_case *c, char *why) { return kernel_check(cuda, c, why); }
static int manners(const struct kernel_case *c, char *why) { return kernel_sentinels(cuda, c, why); }

static void no_slot_is_empty(void **state) {
    (void)state;
    products("fp32");
    void *const *slot = (void *const *)cuda;
    for (size_t i = 0; i < sizeof *cuda / sizeof *slot; i++)
        if (!slot[i]) fail_msg("slot %zu of the CUDA table is empty", i);
}

static void memory_and_copies(void **state) {
    unsigned char host[1000], back[1000];
    (void)state;
    products("fp32");
    unsigned char *a = cuda->alloc(2000);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % 64, 0);
    cuda->download(back, a + 1000, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(back[i], 0);
    for (int i = 0; i < 1000; i++) host[i] = (unsigned char)(i * 7);
    cuda->upload(a, host, 1000);
    memset(host, 0, sizeof host); /* the buffer is free when the slot returns */
    cuda->move(a + 3, a, 1000);
    cuda->move(a + 1, a + 3, 1000);
    cuda->download(back, a + 1, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(back[i], (unsigned char)(i * 7));
    cuda->release(a, 2000);
}

static int cases_step = 1; /* every so many cases of the table */

static void table_fp32(void **state) {
    (void)state;
    products("fp32");
    table_rows(against_reference, 4, 0, cases_step);
}

static void table_tf32(void **state) {
    (void)state;
    products("tf32");
    table_rows(against_reference, TF32_FACTOR, 0, cases_step);
}

static void table_bf16(void **state) {
    (void)state;
    products("bf16");
    table_rows(against_reference, BF16_FACTOR, 0, cases_step);
}

/* ---- training ---- */

enum { STEPS = 20 };
/* Relative difference of losses after up to 20 steps of two backends in fp32, and of the last parameters; products in TF32 lie
 * within the second. Stated in docs/kernels.md. */
#define STEPS_FP32 2e-3
#define STEPS_TF32 3e-2

static void train_steps(const struct kernels *k, const struct variant *v, enum step_mode mode, double *losses, double **values,
                        int64_t *n) {
    engine_kernels = k;
    struct model *m = variant_model(v, NULL);
    engine_longest = 15 * m->config.segment;
    struct trainer *t = engine_trainer(m, mode, true, 3e-3, STEPS);
    for (int i = 0; i < STEPS; i++) {
        struct step_result r;
        CHECK(!trainer_step(t, &r, &e), "%s: %s", v->name, e.text);
        losses[i] = r.loss;
    }
    *values = engine_all_values(m);
    *n = m->elements;
    engine_trainer_free(t);
    model_free(m);
    engine_kernels = NULL;
}

/* Every architecture: the losses of 20 steps and the parameters after them. */
static void same_training(const char *how, double bound, int first, int step) {
    int bad = 0, at = 0;
    products(how);
    for (const struct variant *v = variants; v->name; v++, at++) {
        if (at % step != first) continue;
        snprintf(running, sizeof running, "training %s", v->name);
        static const enum step_mode modes[] = {STEP_LAYER_MAJOR, STEP_SEGMENT_MAJOR, STEP_RECOMPUTE};
        double ours[STEPS], theirs[STEPS], *p, *q;
        int64_t n;
        train_steps(NULL, v, modes[at % 3], theirs, &q, &n);
        train_steps(cuda, v, modes[at % 3], ours, &p, &n);
        double losses = engine_error(ours, theirs, STEPS, 1e-3, NULL), values = engine_error(p, q, n, 1e-3, NULL);
        if (!(losses <= bound) || !(values <= 10 * bound)) {
            print_error("%s: losses differ by %.3g, parameters by %.3g\n", v->name, losses, values);
            bad++;
        }
        free(p);
        free(q);
    }
    assert_int_equal(bad, 0);
}

/* A trainer over documents that can be resumed in the middle. */
static struct trainer *resumable(struct model *m, struct source **source) {
    static int32_t tokens[3][300];
    static struct text texts[3];
    static struct corpus corpus = {.path = (char *)(uintptr_t) "test", .split = "train", .texts = texts, .count = 3, .hash = 99};
    struct options o;
    struct train_config c;
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 300; j++) tokens[i][j] = 1 + (i * 300 + j * j) % 255;
        texts[i] = (struct text){.tokens = tokens[i], .n = 300 - 37 * i};
    }
    options_init(&o, train_options);
    train_config_from(&c, &o);
    c.warmup = 0;
    *source = corpus_source(&corpus, 4);
    struct trainer *t = trainer_create(m, &c, *source, &e);
    CHECK(t, "%s", e.text);
    return t;
}

/* Steps from .. to on a backend, from a folder if `from` > 0 and into it; the parameters at the end, malloc'd. */
static double *part_of_training(const struct kernels *k, const char *path, int from, int to, double *losses, int64_t *n) {
    struct source *source;
    engine_kernels = k;
    struct model *m = engine_model("infini", "update=delta", VARIANT_SHAPE "vocab=256");
    struct trainer *t = resumable(m, &source);
    if (from) CHECK(training_load(path, t, tokenizer_bytes(), &e) == 0, "%s", e.text);
    for (int i = from; i < to; i++) {
        struct step_result r;
        CHECK(!trainer_step(t, &r, &e), "%s", e.text);
        losses[i] = r.loss;
    }
    CHECK(!training_save(path, t, tokenizer_bytes(), &e), "%s", e.text);
    double *values = engine_all_values(m);
    *n = m->elements;
    trainer_free(t);
    source->free(source);
    model_free(m);
    engine_kernels = NULL;
    return values;
}

/* A training run that changes the backend half way goes on from the checkpoint as if nothing had happened. */
static void checkpoints_pass(void **state) {
    (void)state;
    products("fp32");
    for (int way = 0; way < 2; way++) { /* CPU to CUDA, CUDA to CPU */
        double straight[8], mixed[8];
        char *path = in_folder(way ? "to-cpu" : "to-cuda"), *other = in_folder(way ? "cpu" : "cpu-too");
        int64_t n;
        double *p = part_of_training(NULL, other, 0, 8, straight, &n);
        free(part_of_training(way ? cuda : NULL, path, 0, 4, mixed, &n));
        double *q = part_of_training(way ? NULL : cuda, path, 4, 8, mixed, &n);
        assert_true(engine_error(mixed, straight, 8, 1e-3, NULL) <= STEPS_FP32);
        assert_true(engine_error(q, p, n, 1e-3, NULL) <= 10 * STEPS_FP32);
        free(p);
        free(q);
        free(path);
        free(other);
    }
}

#endif
