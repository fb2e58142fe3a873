/* test_carried.c - carried-in states in training: what the batcher passes, rows that must not see what was there before, who can
 * have them and who trains without, complaints, costs, and a stop and resume that ends in the same bits. */
#include "harness/checkpoint.h"
#include "harness/mixture.h"
#include "support/engine.h"
#include "support/filler.h"
#include "support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SHAPE "layers=2 d_model=16 heads=2 kv_heads=2 head_dim=8 ffn=20 segment=8 segments=3 batch=2 vocab=11"
#define STEP 24 /* tokens of a row */
static const int32_t filler[5] = {4, 8, 2, 6, 3};
static const double mixed[] = {-1, 0, 3, -1, 6000};

static int32_t text[3 * STEP + 20];

static struct source *made(int64_t n, bool with_filler) { return filler_source(n, 11, with_filler ? filler : NULL, 5, mixed, 5); }
/* Some documents start from what a text left. */
static struct source *made_with_text(int64_t n, bool with_filler) {
    struct source *s = made(n, with_filler);
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) text[i] = 1 + (int32_t)(i * i % 10);
    s->texts[s->text_count++] = (struct carried_text){text, sizeof text / sizeof *text, 0};
    return s;
}

static struct trainer *opened(struct model *m, enum step_mode mode, struct source *s) {
    struct options o;
    struct train_config c;
    options_init(&o, train_options);
    train_config_from(&c, &o);
    c.mode = mode;
    c.steps = 9;
    c.cosine = false;
    return trainer_create(m, &c, s, &e);
}

static void close_all(struct trainer *t, struct source *s) {
    struct model *m = t->model;
    trainer_free(t);
    s->free(s);
    model_free(m);
}

static void the_batcher_passes_them(void **state) {
    (void)state;
    for (int with = 0; with < 2; with++) {
        struct source *s = made(STEP - 1, with);
        struct batcher *b = batcher_create(s, 2, 3, 8);
        struct batch x;
        for (int i = 0; i < 10; i++) {
            batcher_next(b, &x);
            assert_int_equal(x.misplaced, 0);
            for (int row = 0; row < 2; row++) assert_true(x.carried[row] == (with ? mixed[(2 * i + row) % 5] : -1));
        }
        batcher_free(b);
        s->free(s);
    }
    /* two steps a document: the second goes on */
    struct source *s = made(2 * STEP - 1, true);
    struct batcher *b = batcher_create(s, 2, 3, 8);
    struct batch x;
    for (int i = 0; i < 6; i++) {
        batcher_next(b, &x);
        assert_int_equal(x.misplaced, 0);
        for (int row = 0; row < 2; row++) assert_true(x.carried[row] == (i % 2 ? -1 : mixed[(i + row) % 5]));
    }
    batcher_free(b);
    s->free(s);
    /* a part of a mixture that has no filler gives no carried-in documents, whatever it says */
    struct source *parts[2] = {made(STEP - 1, true), filler_source(STEP - 1, 11, NULL, 0, (double[]){1}, 1)};
    s = mixture_source(parts, (double[]){0.5, 0.5}, 2, 1);
    assert_true(s->filler_n == 5 && s->filler[1] == 8);
    b = batcher_create(s, 1, 3, 8);
    int ones = 0, given = 0;
    for (int i = 0; i < 60; i++) {
        batcher_next(b, &x);
        ones += x.carried[0] == 1;
        given += x.carried[0] >= 0;
    }
    assert_true(ones == 0 && given > 10);
    batcher_free(b);
    s->free(s);
    /* texts of the parts one after the other, a document knows which is its own */
    parts[0] = made_with_text(STEP - 1, true), parts[1] = made_with_text(STEP - 1, false);
    parts[1]->texts[0].n -= 7;
    s = mixture_source(parts, (double[]){0.5, 0.5}, 2, 1);
    assert_true(s->text_count == 2 && s->texts[1].n == s->texts[0].n - 7);
    b = batcher_create(s, 1, 3, 8);
    int of[3] = {0};
    for (int i = 0; i < 60; i++) {
        batcher_next(b, &x);
        if (x.carried[0] >= 0)
            of[x.text[0]]++;
        else
            assert_int_equal(x.text[0], 0);
    }
    assert_true(of[0] > 3 && of[1] > 3 && of[2] > 8);
    batcher_free(b);
    s->free(s);
}

static void documents_must_fill_steps(void **state) {
    (void)state;
    struct source *s = made(STEP, true);
    struct trainer *t = opened(engine_model("infini", "", SHAPE), STEP_LAYER_MAJOR, s);
    struct step_result r;
    int result = 0;
    for (int i = 0; i < 4 && !result; i++) result = trainer_step(t, &r, &e);
    assert_int_equal(result, -1);
    assert_says("start within the step");
    assert_says("3 x 8 = 24 tokens");
    close_all(t, s);
}

static void complaints(void **state) {
    (void)state;
    struct source *s = made(STEP - 1, true);
    struct model *m = engine_model("infini", "", SHAPE), *small = engine_model("infini", "", SHAPE " vocab=7");
    assert_null(opened(m, STEP_RECOMPUTE, s));
    assert_says("step_mode = recompute cannot start documents from carried-in states");
    assert_null(opened(small, STEP_LAYER_MAJOR, s));
    assert_says("filler holds token 8, the vocabulary 7");
    s->filler_n = 0;
    assert_null(opened(m, STEP_LAYER_MAJOR, s));
    assert_says("filler is empty");
    s->free(s);
    s = made_with_text(STEP - 1, false);
    s->texts[0].n = 47;
    assert_null(opened(m, STEP_LAYER_MAJOR, s));
    assert_says("text has 47 tokens, states are read from 48 (6 segments) on");
    s->free(s);
    model_free(m);
    model_free(small);
}

/* Architectures without a state of fixed size train on the same documents, to the bit as without a filler. */
static void others_train_without(void **state) {
    (void)state;
    static const char *const archs[][2] = {
        {"null", ""}, {"transformer", ""}, {"transformer_xl", ""}, {"memorizing", "memory=32 topk=4"}, {"infini", "update=none"}};
    for (size_t a = 0; a < sizeof archs / sizeof *archs; a++) {
        double *values[2];
        int64_t n = 0;
        for (int with = 0; with < 2; with++) {
            struct source *s = made(STEP - 1, with);
            struct model *m = engine_model(archs[a][0], archs[a][1], SHAPE);
            struct trainer *t = opened(m, STEP_RECOMPUTE, s); /* nor does recomputation stand in their way */
            struct step_result r;
            assert_non_null(t);
            assert_null(t->carried_in);
            assert_false(carried_in_possible(m));
            for (int i = 0; i < 4; i++) assert_int_equal(trainer_step(t, &r, &e), 0);
            values[with] = engine_all_values(m);
            n = m->elements;
            close_all(t, s);
        }
        assert_true(engine_same(values[0], values[1], n));
        free(values[0]);
        free(values[1]);
    }
}

/* A NaN in what the row carried before does not reach the document that starts from a state of its own, nor one that starts empty.
 */
static void nothing_leaks_in(void **state) {
    (void)state;
    for (int mode = 0; mode < 4; mode++) {
        struct source *s = mode < 2 ? made(STEP - 1, true) : made_with_text(STEP - 1, mode == 3);
        struct model *m = engine_model("infini", mode % 2 ? "update=delta" : "", SHAPE);
        struct trainer *t = opened(m, (enum step_mode)(mode % 2), s);
        struct step_result r;
        assert_non_null(t);
        for (int i = 0; i < 5; i++) {
            for (int k = 0; k < m->state_count; k++)
                for (int64_t j = 0; j < 2 * m->states[k].width; j++) t->state->data[k][j] = NAN;
            if (trainer_step(t, &r, &e)) fail_msg("%s", e.text);
        }
        close_all(t, s);
    }
}

static void bits_without_multipliers(void **state) {
    (void)state;
    static const char *const updates[] = {"update=linear", "update=delta"};
    for (int u = 0; u < 2; u++) {
        double *values[2];
        int64_t n = 0;
        for (int with = 0; with < 2; with++) {
            struct source *s =
                filler_source(40, 11, with ? filler : NULL, 5, (double[]){-1}, 1); /* they go on, they end in a step */
            struct model *m = engine_model("infini", updates[u], SHAPE);
            struct trainer *t = opened(m, STEP_LAYER_MAJOR, s);
            struct step_result r;
            assert_int_equal(t->carried_in != NULL, with);
            for (int i = 0; i < 6; i++) assert_int_equal(trainer_step(t, &r, &e), 0);
            values[with] = engine_all_values(m);
            n = m->elements;
            close_all(t, s);
        }
        assert_true(engine_same(values[0], values[1], n));
        free(values[0]);
        free(values[1]);
    }
}

/* FLOPs of the filler by formula, memory of a plan as of the real trainer, and the multipliers change nothing of either. */
static void costs(void **state) {
    (void)state;
    double flops[2];
    for (int with = 0; with < 2; with++) {
        struct source *s = made(STEP - 1, with);
        struct model *m = engine_model("infini", "", SHAPE);
        struct trainer *t = opened(m, STEP_LAYER_MAJOR, s);
        struct step_result r;
        for (int i = 0; i < 3; i++) assert_int_equal(trainer_step(t, &r, &e), 0);
        flops[with] = t->flops;
        struct train_config c = t->config;
        c.carried_in = with;
        struct model *plan = model_create(&m->config, NULL, 1, &e);
        struct trainer *planned = trainer_create(plan, &c, NULL, &e);
        assert_int_equal(trainer_bytes(planned), trainer_bytes(t));
        trainer_free(planned);
        model_free(plan);
        if (with) {
            double expected =
                3 * 3 * 48 * (model_flops(&m->config, 0, true) - 2. * 16 * 11); /* steps, forward and backward, tokens */
            assert_true(fabs(flops[1] - flops[0] - expected) < 1e-6 * expected);
        }
        close_all(t, s);
    }
}

static uint64_t trained(const char *options, bool with_text, int64_t stop, const char *path) {
    uint64_t result = 0;
    for (int part = stop ? 0 : 1; part < 2; part++) {
        struct model *m = engine_model("infini", options, SHAPE " vocab=256");
        struct source *s = (with_text ? made_with_text : made)(2 * STEP - 1, true); /* stopped in the middle of documents */
        struct trainer *t = opened(m, STEP_LAYER_MAJOR, s);
        t->config.steps = part ? 9 : stop;
        if (train(t, stop ? path : NULL, 0, tokenizer_bytes(), NULL, &e)) fail_msg("%s", e.text);
        double *values = engine_all_values(m);
        result = hash64(values, (size_t)m->elements * sizeof *values, 0);
        for (int i = 0; i < m->state_count; i++)
            result = hash64(t->state->data[i], (size_t)(2 * m->states[i].width) * sizeof(real), result);
        char *cursor = batcher_save(t->batcher);
        result = hash64(cursor, strlen(cursor), result);
        result = hash64(&t->flops, sizeof t->flops, result);
        free(cursor);
        free(values);
        close_all(t, s);
    }
    return result;
}

static void resume(void **state) {
    (void)state;
    static const char *const updates[] = {"update=linear", "update=delta"};
    for (int u = 0; u < 4; u++)
        for (int64_t stop = 3; stop <= 4; stop++) {
            char *path = xprintf("%s/resume-%d-%d", folder, u, (int)stop);
            assert_true(trained(updates[u % 2], u > 1, 0, path) == trained(updates[u % 2], u > 1, stop, path));
            free(path);
        }
    assert_true(trained(updates[0], false, 0, folder) != trained(updates[0], true, 0, folder));
}

int main(void) {
    progress_quiet = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_batcher_passes_them),
        cmocka_unit_test(documents_must_fill_steps),
        cmocka_unit_test(complaints),
        cmocka_unit_test(others_train_without),
        cmocka_unit_test(nothing_leaks_in),
        cmocka_unit_test(bits_without_multipliers),
        cmocka_unit_test(costs),
        cmocka_unit_test(resume),
    };
    return cmocka_run_group_tests_name("carried", tests, folder_setup, folder_teardown);
}
