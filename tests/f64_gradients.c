/* f64_gradients.c - gradients of the whole model by central finite differences, signed, along directions in every parameter tensor and
 * over all of them, for every architecture and all three ways of a step, through four segments. Where an architecture cuts the
 * gradient, the loss is differenced with the cached values held (every segment starts from the state of the unchanged model). */
#include "support/variants.h"
#include "ref/ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h> /* after the engine: it has a macro fail() */

static const int documents[] = {1, 0, 0, 0, 1, 0, 1, 0}, lens[] = {4, 4, 4, 2, 4, 3, 4, 4};

/* The loss as a function of the parameters in the model. frozen[s]: state before segment s, or NULL: one call from an empty state. */
static double loss_of(struct model *m, struct state **frozen, const struct text_batch *x) {
    if (!frozen) return engine_loss(m, NULL, x, 0, x->segments);
    double loss = 0;
    for (int64_t s = 0; s < x->segments; s++) {
        struct error e;
        struct state *copy = state_create(m, x->batch, 1, &e);
        assert_non_null(copy);
        for (int64_t b = 0; b < x->batch; b++) state_copy_row(copy, b, frozen[s], b);
        loss += engine_loss(m, copy, x, s, 1);
        state_free(copy);
    }
    return loss;
}

static struct state **freeze(struct model *m, const struct text_batch *x) {
    struct state **frozen = xcalloc((size_t)x->segments + 1, sizeof *frozen), *s;
    struct error e;
    assert_non_null(s = state_create(m, x->batch, 1, &e));
    for (int64_t i = 0; i < x->segments; i++) {
        assert_non_null(frozen[i] = state_create(m, x->batch, 1, &e));
        for (int64_t b = 0; b < x->batch; b++) state_copy_row(frozen[i], b, s, b);
        free(engine_logits(m, s, x, i, 1, KNOCK_NONE));
    }
    state_free(s);
    return frozen;
}

/* Compares the slope along a unit direction within [from, to) of all parameters. */
static int along(const struct variant *v, const char *what, struct model *m, struct state **frozen, const struct text_batch *x,
                 double **g, const double *base, int64_t from, int64_t to, int round) {
    double h = 2e-5, size = 0, norm = 0, slope, loss[2];
    double *dir = xcalloc((size_t)m->elements, sizeof *dir), *moved = xcalloc((size_t)m->elements, sizeof *moved);
    for (int64_t i = from; i < to; i++) {
        dir[i] = formula_uniform("direction", i + round * m->elements);
        size += dir[i] * dir[i];
        norm += g[0][i] * g[0][i];
    }
    for (int64_t i = from; i < to; i++) dir[i] /= sqrt(size);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < m->elements; i++) moved[i] = base[i] + (side ? -h : h) * dir[i];
        engine_set_values(m, moved);
        loss[side] = loss_of(m, frozen, x);
    }
    slope = (loss[0] - loss[1]) / (2 * h);
    int bad = 0;
    for (int mode = 0; mode < 3; mode++) {
        double by_gradient = 0, tolerance = 1e-6 * sqrt(norm) + 2e-9;
        for (int64_t i = from; i < to; i++) by_gradient += dir[i] * g[mode][i];
        if (!(fabs(slope - by_gradient) <= tolerance)) {
            print_error("%s, %s, way %d: slope %.10g by differences, %.10g by the gradient, tolerance %.2g\n", v->name, what, mode, slope,
                        by_gradient, tolerance);
            bad = 1;
        }
    }
    free(dir);
    free(moved);
    return bad;
}

static void differences(void **state) {
    const struct variant *v = *state;
    struct model *m = variant_model(v, "");
    struct text_batch *x = engine_text(2, 4, 4, 11, documents, lens);
    struct state **frozen = v->crossing == CROSS_FROZEN ? freeze(m, x) : NULL;
    double gamma[2 * 2 * 16] = {0}, *g[3], *base = engine_all_values(m);
    int bad = 0;
    for (int mode = 0; mode < 3; mode++) {
        engine_gradients(m, (enum step_mode)mode, x);
        g[mode] = engine_all_gradients(m);
    }
    if (v->crossing == CROSS_GAMMA) { /* one layer, one call: its gammas are all there are */
        ref_gamma = (struct ref_gamma){REF_GAMMA_RECORD, gamma};
        loss_of(m, NULL, x);
        ref_gamma.mode = REF_GAMMA_REPLAY;
    }
    for (int round = 0; round < 4; round++) bad += along(v, "all parameters", m, frozen, x, g, base, 0, m->elements, round);
    int64_t at = 0;
    for (int p = 0; p < m->param_count; at += m->params[p++]->n)
        bad += along(v, m->params[p]->name, m, frozen, x, g, base, at, at + m->params[p]->n, 0);
    ref_gamma.mode = REF_GAMMA_FREE;
    for (int mode = 0; mode < 3; mode++) free(g[mode]);
    for (int64_t s = 0; frozen && s < x->segments; s++) state_free(frozen[s]);
    free(frozen);
    free(base);
    engine_text_free(x);
    model_free(m);
    assert_int_equal(bad, 0);
}

/* The loss of the last segment alone has a gradient to an earlier segment's token where, and only where, the architecture lets it. */
static void crossing(void **state) {
    int bad = 0;
    (void)state;
    for (const struct variant *v = variants; v->name; v++) {
        struct model *m = variant_model(v, "");
        if (!m->embed || m->embed == m->head) {
            model_free(m);
            continue;
        }
        for (int place = 0; place < 2; place++) {
            int64_t position = place ? 10 : 2; /* one or three segments back */
            if (!place && strstr(v->options, "window=6")) continue;
            struct text_batch *x = engine_text(2, 4, 4, 11, NULL, NULL);
            for (int64_t i = 0; i < 32; i++) {
                if (x->tokens[i] == 10) x->tokens[i] = 9;
                if (i % 16 < 12) x->targets[i] = -1, x->weights[i] = 0;
            }
            x->tokens[position] = 10;
            for (int mode = 0; mode < 3; mode++) {
                engine_gradients(m, (enum step_mode)mode, x);
                double *g = engine_download(m, m->embed->grad, m->embed->n), sum = 0;
                for (int64_t i = 0; i < 16; i++) sum += fabs(g[10 * 16 + i]);
                int flows = v->crossing == CROSS_FULL || v->crossing == CROSS_GAMMA;
                if (!(flows ? sum > 1e-6 : sum == 0)) {
                    print_error("%s, way %d: the gradient to token %d is %g\n", v->name, mode, (int)position, sum);
                    bad++;
                }
                free(g);
            }
            engine_text_free(x);
        }
        model_free(m);
    }
    assert_int_equal(bad, 0);
}

int main(void) {
    struct CMUnitTest tests[32] = {cmocka_unit_test(crossing)};
    size_t n = 1;
    for (const struct variant *v = variants; v->name; v++)
        tests[n++] = (struct CMUnitTest){v->name, differences, NULL, NULL, (void *)(uintptr_t)v};
    return _cmocka_run_group_tests("f64_gradients", tests, n, NULL, NULL);
}
