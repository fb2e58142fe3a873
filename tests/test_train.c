/* test_train.c - what training promises beside its gradients: a loss that is not finite names its origin, the schedule, groups of
 * parameters, Adafactor on a whole model, planned memory equals what is taken, too little memory is said before it is taken. */
#include "support/engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SHAPE "layers=2 d_model=16 heads=2 kv_heads=2 head_dim=8 ffn=20 segment=8 segments=3 batch=2 vocab=11"

static struct trainer *make(const char *arch, enum step_mode mode, struct model **m) {
    *m = engine_model(arch, "", SHAPE);
    return engine_trainer(*m, mode, true, 1e-2, 40);
}

static void a_nan_is_named(void **state) {
    (void)state;
    engine_longest = 2000; /* documents that outlast the steps below */
    for (int mode = STEP_LAYER_MAJOR; mode <= STEP_RECOMPUTE; mode++) {
        struct model *m;
        struct trainer *t = make("infini", mode, &m);
        struct step_result r;
        struct error e;
        assert_int_equal(trainer_step(t, &r, &e), 0);
        struct param *p = layer_param(m, 1, "w_up");
        double *v = engine_download(m, p->leaf.data, p->n), keep = v[5];
        v[5] = NAN;
        engine_upload(m, p->leaf.data, v, p->n);
        assert_int_equal(trainer_step(t, &r, &e), -1);
        assert_non_null(strstr(e.text, "parameter layers.1.w_up[5]"));
        /* healthy parameters, a poisoned carried state: the first tensor of the forward pass that shows it */
        v[5] = keep;
        engine_upload(m, p->leaf.data, v, p->n);
        int i = layer_state(m, 0, "memory");
        for (int64_t b = 0; b < 2; b++) t->state->data[i][b * m->states[i].width] = NAN;
        /* the next batches go on in the same documents until one of them meets the memory */
        int bad = 0;
        for (int s = 0; s < 8 && !bad; s++) bad = trainer_step(t, &r, &e);
        assert_int_equal(bad, -1);
        assert_non_null(strstr(e.text, "memory_read["));
        assert_non_null(strstr(e.text, "of operation memory (layer 0, head 0, row "));
        assert_non_null(strstr(e.text, ", token 1 of the step)"));
        engine_trainer_free(t);
        free(v);
        model_free(m);
    }
}

/* Gamma of the first layer by hand: from the normaliser that the step begins with, and the keys of the tokens. */
static double gamma_by_hand(struct model *m, const struct batch *b, double *z) {
    enum { D = 16, G = 2, E = 8 };
    struct param *params[] = {model_find(m, "embed"), layer_param(m, 0, "norm1"), layer_param(m, 0, "wk")};
    double *v[3], sum = 0, written = 0;
    for (int i = 0; i < 3; i++) v[i] = engine_download(m, params[i]->leaf.data, params[i]->n);
    for (int64_t row = 0; row < b->rows; row++)
        for (int64_t s = 0; s < b->segments; s++) {
            int64_t cell = row * b->segments + s;
            double added[G * E] = {0}, *norm = z + row * G * E;
            if (!b->since[cell]) memset(norm, 0, sizeof added);
            if (b->len[cell] < b->n) continue;
            for (int64_t i = 0; i < b->n; i++) {
                const double *x = v[0] + (int64_t)b->tokens[cell * b->n + i] * D;
                double square = 0, f[G * E];
                for (int d = 0; d < D; d++) square += x[d] * x[d] / D;
                for (int k = 0; k < G * E; k++) {
                    double y = 0;
                    for (int d = 0; d < D; d++) y += v[2][k * D + d] * v[1][d] * x[d] / sqrt(square + m->config.norm_eps);
                    f[k] = y > 0 ? y + 1 : exp(y);
                }
                for (int g = 0; g < G; g++) {
                    double dot = 0, length = 0;
                    for (int k = g * E; k < (g + 1) * E; k++) dot += f[k] * norm[k], length += f[k] * f[k];
                    double gamma = fmin(fmax(1 - dot / length, 0), 1);
                    if (b->since[cell]) sum += gamma, written++;
                    for (int k = g * E; k < (g + 1) * E; k++) added[k] += gamma * f[k];
                }
            }
            for (int k = 0; k < G * E; k++) norm[k] += added[k];
        }
    for (int i = 0; i < 3; i++) free(v[i]);
    return sum / written;
}

/* The same in every way of a step; none of another update. */
static void gamma_is_logged(void **state) {
    (void)state;
    engine_longest = 2000;
    struct step_result r;
    struct error e;
    struct model *m;
    for (int mode = STEP_LAYER_MAJOR; mode <= STEP_RECOMPUTE; mode++) {
        m = engine_model("infini", "update=delta_gamma", SHAPE " segment=2 vocab=101");
        struct trainer *t = engine_trainer(m, mode, true, 0, 40), *batches = engine_trainer(m, mode, true, 0, 40);
        assert_true(isnan(trainer_gamma(t, 0)));
        /* Features of usual keys all point the same way, and gamma is 0 once a few were written; those of long ones differ. */
        struct param *wk = layer_param(m, 0, "wk");
        double *long_keys = engine_download(m, wk->leaf.data, wk->n);
        for (int64_t i = 0; i < wk->n; i++) long_keys[i] *= 50;
        engine_upload(m, wk->leaf.data, long_keys, wk->n);
        free(long_keys);
        bool between = false;
        for (int step = 0; step < 6; step++) {
            struct batch b;
            int norm = layer_state(m, 0, "memory_norm");
            double *z = engine_download(m, t->state->data[norm], 2 * m->states[norm].width);
            batcher_next(batches->batcher, &b);
            double expected = gamma_by_hand(m, &b, z);
            assert_int_equal(trainer_step(t, &r, &e), 0);
            double gamma = trainer_gamma(t, 0), above = trainer_gamma(t, 1);
            assert_true(isnan(expected) ? isnan(gamma) : fabs(gamma - expected) < 1e-5);
            assert_true(isnan(expected) ? isnan(above) : above >= 0 && above <= 1);
            between = between || (gamma > 1e-4 && gamma < 1);
            free(z);
        }
        assert_true(between);
        engine_trainer_free(batches);
        engine_trainer_free(t);
        model_free(m);
    }
    struct trainer *t = make("infini", STEP_LAYER_MAJOR, &m);
    assert_int_equal(trainer_step(t, &r, &e), 0);
    assert_true(isnan(trainer_gamma(t, 0)));
    engine_trainer_free(t);
    model_free(m);
}

/* One symbol of 101 makes layer 0's values overflow in the first step; whichever segment it first stands in, every way of a step
 * names the tensor. All parameters are finite: the embedding of the symbol has the only first coordinate, wv a very large first
 * column. Where the first step lacks the symbol only the gradient overflows; such symbols are passed over. */
static void an_overflow_is_found_in_any_segment(void **state) {
    (void)state;
    int named[3] = {0};
    engine_longest = 2000;
    for (int mode = STEP_LAYER_MAJOR; mode <= STEP_RECOMPUTE; mode++)
        for (int symbol = 1; symbol <= 100; symbol++) {
            struct model *m = engine_model("infini", "", SHAPE " vocab=101");
            struct trainer *t = engine_trainer(m, mode, true, 1e-4, 100);
            struct param *embed = model_find(m, "embed"), *wv = layer_param(m, 0, "wv");
            double *v = engine_download(m, embed->leaf.data, embed->n), *w = engine_download(m, wv->leaf.data, wv->n);
            struct step_result r;
            struct error e;
            for (int64_t i = 0; i < 101; i++) v[i * 16] = 0;
            for (int i = 0; i < 16; i++) v[symbol * 16 + i] = i == 0 ? 1 : 0;
            for (int64_t i = 0; i < wv->shape[0]; i++) w[i * 16] = 3e38;
            engine_upload(m, embed->leaf.data, v, embed->n);
            engine_upload(m, wv->leaf.data, w, wv->n);
            assert_int_equal(trainer_step(t, &r, &e), -1);
            if (strstr(e.text, "the loss is")) {
                if (!strstr(e.text, "layers.0.wv[")) fail_msg("mode %d, symbol %d: %s", mode, symbol, e.text);
                named[mode]++;
            }
            engine_trainer_free(t);
            free(v);
            free(w);
            model_free(m);
        }
    assert_true(named[STEP_LAYER_MAJOR] > 20); /* 48 tokens: most of these symbols first stand in a later segment */
    assert_int_equal(named[STEP_SEGMENT_MAJOR], named[STEP_LAYER_MAJOR]);
    assert_int_equal(named[STEP_RECOMPUTE], named[STEP_LAYER_MAJOR]);
}

static void schedule(void **state) {
    (void)state;
    struct train_config c = {.lr = 2, .lr_min_ratio = 0.1, .steps = 110, .warmup = 10, .cosine = true};
    assert_true(fabs(schedule_rate(&c, 0) - 0.2) < 1e-12);
    assert_true(fabs(schedule_rate(&c, 9) - 2) < 1e-12);
    assert_true(fabs(schedule_rate(&c, 10) - 2) < 1e-12);
    assert_true(fabs(schedule_rate(&c, 60) - 1.1) < 1e-12);
    assert_true(fabs(schedule_rate(&c, 110) - 0.2) < 1e-12);
    assert_true(fabs(schedule_rate(&c, 500) - 0.2) < 1e-12);
    c.cosine = false;
    assert_true(schedule_rate(&c, 60) == 2);
}

/* With a zero gradient only weight decay moves parameters: weights shrink, norms and gates stay; with a gradient the first AdamW
 * step is lr times the sign, ten times that for gates. */
static void groups(void **state) {
    (void)state;
    struct model *m;
    struct trainer *t = make("infini", STEP_LAYER_MAJOR, &m);
    struct step_result r;
    struct error e;
    t->config.decay = 0;
    t->config.warmup = 0;
    t->config.clip = 0;
    t->config.cosine = false;
    t->config.lr = 1e-3;
    struct param *gate = layer_param(m, 0, "beta"), *w = layer_param(m, 0, "wv"), *norm = layer_param(m, 0, "norm1");
    struct param *all[] = {gate, w, norm};
    double *before[3], *after[3];
    for (int i = 0; i < 3; i++) before[i] = engine_download(m, all[i]->leaf.data, all[i]->n);
    assert_int_equal(trainer_step(t, &r, &e), 0);
    for (int i = 0; i < 3; i++) after[i] = engine_download(m, all[i]->leaf.data, all[i]->n);
    for (int i = 0; i < 3; i++)
        for (int64_t j = 0; j < all[i]->n; j++) {
            double moved = fabs(after[i][j] - before[i][j]), rate = i == 0 ? 1e-2 : 1e-3;
            if (fabs((double)all[i]->grad[j]) > 1e-5) assert_true(fabs(moved - rate) < 0.02 * rate);
        }
    for (int i = 0; i < 3; i++) free(before[i]), before[i] = after[i];
    /* decay alone */
    t->config.decay = 0.5;
    t->config.b1 = 0;
    for (int i = 0; i < m->param_count; i++) {
        int64_t a, b;
        optimizer_sizes(OPTIMIZER_ADAMW, m->params[i], &a, &b);
        m->k->fill(t->m[i], 0, a);
        m->k->fill(t->v[i], 1e12, b); /* the gradient's own step vanishes */
    }
    assert_int_equal(trainer_step(t, &r, &e), 0);
    for (int i = 0; i < 3; i++) {
        after[i] = engine_download(m, all[i]->leaf.data, all[i]->n);
        for (int64_t j = 0; j < all[i]->n; j++) {
            double expected = i == 1 ? before[i][j] * (1 - 1e-3 * 0.5) : before[i][j];
            assert_true(fabs(after[i][j] - expected) <= 1e-6 * (fabs(expected) + 1e-2));
        }
        free(before[i]);
        free(after[i]);
    }
    engine_trainer_free(t);
    model_free(m);
}

static void loss_falls(void **state) {
    (void)state;
    static const char *const archs[] = {"transformer", "transformer_xl", "memorizing", "infini"};
    for (int a = 0; a < 4; a++)
        for (int kind = OPTIMIZER_ADAMW; kind <= OPTIMIZER_ADAFACTOR; kind++) {
            struct model *m = engine_model(archs[a], a == 2 ? "memory=32 topk=4" : "", SHAPE);
            struct trainer *t =
                engine_trainer(m, kind == OPTIMIZER_ADAFACTOR ? STEP_SEGMENT_MAJOR : STEP_LAYER_MAJOR, true, 1e-2, 60);
            t->config.optimizer = (enum optimizer_kind)kind; /* AdamW's room is large enough for both */
            struct step_result r;
            struct error e;
            double early = 0, late = 0;
            for (int s = 0; s < 60; s++) {
                assert_int_equal(trainer_step(t, &r, &e), 0);
                if (s < 10) early += r.loss / 10;
                if (s >= 50) late += r.loss / 10;
            }
            if (!(late < early - 0.02)) fail_msg("%s, optimizer %d: loss %.4f at first, %.4f at last", archs[a], kind, early, late);
            engine_trainer_free(t);
            model_free(m);
        }
}

static void too_large_is_said_before(void **state) {
    (void)state;
    struct model_config c = {.arch = baseline_find("infini", NULL)};
    struct error e;
    options_init(&c.options, c.arch->options);
    assert_int_equal(config_preset(&c, "paper", &e), 0);
    assert_int_equal(config_set(&c, "batch", "100000", "test", &e), 0);
    assert_int_equal(config_finish(&c, &e), 0);
    struct model *plan = model_create(&c, NULL, 1, &e);
    assert_non_null(plan);
    struct options o;
    struct train_config tc;
    options_init(&o, train_options);
    train_config_from(&tc, &o);
    struct trainer *t = trainer_create(plan, &tc, NULL, &e);
    assert_non_null(t);
    assert_true(trainer_bytes(t) > (size_t)1e13); /* ten terabytes and more, none of it taken */
    assert_true(resident() < (uint64_t)2e9);
    trainer_free(t);
    model_free(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nan_is_named),
        cmocka_unit_test(gamma_is_logged),
        cmocka_unit_test(an_overflow_is_found_in_any_segment),
        cmocka_unit_test(schedule),
        cmocka_unit_test(groups),
        cmocka_unit_test(loss_falls),
        cmocka_unit_test(too_large_is_said_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
