/* f64_contract.c - what the baseline contract promises and no architecture of this version uses: memory rows around the tokens of a
 * segment with their mask, a state at model level that starts from a parameter, an auxiliary loss. A small recurrent memory
 * transformer stands in; its gradients through three segments are held against finite differences, in both ways of a step. */
#include "support/engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ROWS 2
static double auxiliary_weight, auxiliary_sum;

static void rows(const struct model_config *c, int64_t *lead, int64_t *trail) { (void)c, *lead = ROWS, *trail = ROWS; }

static void declare(struct model *m, int layer) {
    if (layer >= 0) return;
    int64_t width = ROWS * m->config.d;
    struct param *init = model_param(m, -1, "memory_init", 1, width, INIT_NORMAL, 1, GROUP_NORM);
    model_state(m, -1, "memory", STATE_CARRIED, 1, width, init);
}

static struct tensor *memory(struct forward *f) {
    int i = layer_state(f->model, -1, "memory");
    return op_reset_rows(f->tape, f->in[i], &layer_param(f->model, -1, "memory_init")->leaf, f->since, f->segments, f->batch);
}

static void begin(struct forward *f, struct tensor **lead, struct tensor **trail) {
    *lead = *trail = memory(f); /* read rows, and write rows that start from the same values */
}

static void end(struct forward *f, struct tensor *lead, struct tensor *trail) {
    struct tensor *size = op_scale(f->tape, lead, 0.5);
    add_loss(f, "size", size, auxiliary_weight);
    if (f->tape->record && !f->tape->dry)
        for (int64_t i = 0; i < size->n; i++) auxiliary_sum += auxiliary_weight * (double)size->data[i];
    f->out[layer_state(f->model, -1, "memory")] = forward_keep(f, trail, memory(f));
}

static struct tensor *mixer(struct forward *f, int layer, struct mixer_input in) {
    const struct model_config *c = &f->model->config;
    const struct layer_params *p = f->model->layer + layer;
    struct tape *t = f->tape;
    struct attention_shape shape = {.batch = f->batch,
                                    .queries = f->n,
                                    .heads = c->heads,
                                    .kv_heads = c->kv_heads,
                                    .e = c->e,
                                    .segment = f->n,
                                    .lead = f->lead,
                                    .trail = f->trail,
                                    .scale = 1 / sqrt((double)c->e)};
    struct tensor *q = op_linear(t, in.h, &p->wq->leaf, NULL), *k = op_linear(t, in.h, &p->wk->leaf, NULL);
    struct tensor *v = op_linear(t, in.h, &p->wv->leaf, NULL);
    struct tensor *a = op_attention(t, q, k, v, NULL, NULL, NULL, NULL, NULL, f->since, &shape);
    return op_linear(t, a, &p->wo->leaf, NULL);
}

static int64_t elements(const struct model_config *c, int64_t context) { return (void)context, ROWS * c->d; }
static double flops(const struct model_config *c, int64_t before, bool training) {
    return (void)c, (void)before, (void)training, 1;
}
static int64_t reach(const struct model_config *c) { return (void)c, UNBOUNDED; }

static const struct baseline toy = {.name = "toy",
                                    .paper = "-",
                                    .summary = "a test",
                                    .version = 1,
                                    .declare = declare,
                                    .forward = mixer,
                                    .rows = rows,
                                    .begin = begin,
                                    .end = end,
                                    .carried = elements,
                                    .attended = elements,
                                    .mixing_flops = flops,
                                    .reach = reach};

static struct model *toy_model(void) {
    struct model_config c = {.arch = &toy};
    struct error e;
    static const char *const shape[][2] = {{"layers", "2"},   {"d_model", "8"}, {"heads", "2"},   {"kv_heads", "2"},
                                           {"head_dim", "4"}, {"ffn", "12"},    {"segment", "4"}, {"segments", "3"},
                                           {"batch", "2"},    {"vocab", "7"}};
    assert_int_equal(config_preset(&c, "nano", &e), 0);
    options_init(&c.options, NULL);
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        assert_int_equal(config_set(&c, shape[i][0], shape[i][1], "test", &e), 0);
    assert_int_equal(config_finish(&c, &e), 0);
    struct backend_info info;
    struct model *m = model_create(&c, kernels_cpu(1, &info), 3, &e);
    assert_non_null(m);
    return m;
}

/* One row changes its document after the first segment, the other's first document ends in a partial segment. */
static struct text_batch *text(void) {
    return engine_text(2, 3, 4, 7, (const int[]){1, 1, 0, 1, 0, 1}, (const int[]){4, 4, 4, 4, 3, 4});
}

static double loss_with(struct model *m, enum step_mode mode, const struct text_batch *x) {
    auxiliary_sum = 0;
    double loss = engine_gradients(m, mode, x);
    return loss + auxiliary_sum;
}

static void gradients_cross_segments(void **state) {
    (void)state;
    struct model *m = toy_model();
    struct text_batch *x = text();
    auxiliary_weight = 0.03;
    for (int mode = STEP_SEGMENT_MAJOR; mode <= STEP_RECOMPUTE; mode++) {
        loss_with(m, mode, x);
        double *g = engine_all_gradients(m), *v = engine_all_values(m), *w = xcalloc((size_t)m->elements, sizeof *w);
        for (int direction = 0; direction < 6; direction++) {
            double expected = 0, h = 1e-5, loss[2];
            for (int sign = 0; sign < 2; sign++) {
                for (int64_t i = 0; i < m->elements; i++)
                    w[i] = v[i] + (sign ? -h : h) * formula_uniform("direction", direction * 100000 + i);
                engine_set_values(m, w);
                loss[sign] = loss_with(m, mode, x);
            }
            for (int64_t i = 0; i < m->elements; i++) expected += g[i] * formula_uniform("direction", direction * 100000 + i);
            double found = (loss[0] - loss[1]) / (2 * h);
            if (!(fabs(found - expected) <= 1e-7 * (1 + fabs(expected))))
                fail_msg("direction %d, mode %d: %.12g, gradient says %.12g", direction, mode, found, expected);
        }
        engine_set_values(m, v);
        free(g);
        free(v);
        free(w);
    }
    engine_text_free(x);
    model_free(m);
}

static void both_ways_same_bits_and_no_auxiliary_in_the_score(void **state) {
    (void)state;
    struct model *m = toy_model();
    struct text_batch *x = text();
    auxiliary_weight = 0.03;
    double with = engine_gradients(m, STEP_SEGMENT_MAJOR, x), *a = engine_all_gradients(m);
    double again = engine_gradients(m, STEP_RECOMPUTE, x), *b = engine_all_gradients(m);
    assert_true(with == again);
    assert_true(engine_same(a, b, m->elements));
    auxiliary_weight = 0;
    assert_true(engine_gradients(m, STEP_LAYER_MAJOR, x) ==
                with); /* falls back to segments; the loss does not hold the extra term */
    double *c = engine_all_gradients(m);
    assert_false(engine_same(a, c, m->elements)); /* but the gradient did */
    free(a);
    free(b);
    free(c);
    engine_text_free(x);
    model_free(m);
}

/* A partial segment leaves the state alone, a reset brings back the initial rows: the second document of a row does not depend on
 * what came before it, and memory does reach the next segment. */
static void partial_and_reset(void **state) {
    (void)state;
    struct model *m = toy_model();
    struct text_batch *x = text();
    struct error e;
    struct state *s = state_create(m, 2, 1, &e);
    int64_t width = ROWS * m->config.d;
    free(engine_logits(m, s, x, 0, 1, KNOCK_NONE));
    double *before = engine_download(m, s->data[0], 2 * width);
    free(engine_logits(m, s, x, 1, 1, KNOCK_NONE)); /* row 1: partial */
    double *after = engine_download(m, s->data[0], 2 * width);
    assert_true(engine_same(before + width, after + width, width));
    assert_false(engine_same(before, after, width));
    double *last = engine_logits(m, s, x, 2, 1, KNOCK_NONE); /* row 1: a new document; row 0 goes on */
    x->tokens[1 * 12 + 2] = 1 + x->tokens[1 * 12 + 2] % 6;   /* row 1, first document */
    x->tokens[0 * 12 + 6] = 1 + x->tokens[0 * 12 + 6] % 6;   /* row 0, second document, its first segment */
    struct state *t = state_create(m, 2, 1, &e);
    for (int i = 0; i < 2; i++) free(engine_logits(m, t, x, i, 1, KNOCK_NONE));
    double *changed = engine_logits(m, t, x, 2, 1, KNOCK_NONE);
    int64_t row = 4 * m->config.vocab;
    assert_true(engine_same(last + row, changed + row, row));
    assert_false(engine_same(last, changed, row));
    free(before);
    free(after);
    free(last);
    free(changed);
    state_free(s);
    state_free(t);
    engine_text_free(x);
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_cross_segments),
        cmocka_unit_test(both_ways_same_bits_and_no_auxiliary_in_the_score),
        cmocka_unit_test(partial_and_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
