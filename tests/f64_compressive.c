/* f64_compressive.c - the Compressive Transformer against Transformer-XL, what its stores hold, and which loss reaches what. */
#include "support/engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h> /* after the engine: it has a macro fail() */

#define SHAPE "layers=2 d_model=16 heads=2 kv_heads=2 head_dim=8 ffn=20 segment=4 segments=6 batch=2 vocab=11 tied=no"

static struct model *filled(const char *arch, const char *options) {
    struct model *m = engine_model(arch, options, SHAPE);
    engine_fill(m);
    return m;
}

/* Nothing is lost at rate 1: the two stores together are one cache. */
static void rate_one_is_transformer_xl(void **state) {
    (void)state;
    static const int documents[12] = {1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0};
    static const char *const options[] = {"compress=mean rate=1 cache=4 compressed=8", "compress=max rate=1 cache=8 compressed=4"};
    struct model *xl = filled("transformer_xl", "cache=12"), *shorter = filled("transformer_xl", "cache=8");
    struct text_batch *x = engine_text(2, 6, 4, 11, documents, NULL);
    double *want = engine_logits(xl, NULL, x, 0, 6, KNOCK_NONE), *other = engine_logits(shorter, NULL, x, 0, 6, KNOCK_NONE);
    for (int i = 0; i < 2; i++) {
        struct model *m = filled("compressive", options[i]);
        double *got = engine_logits(m, NULL, x, 0, 6, KNOCK_NONE);
        assert_true(engine_error(got, want, 2 * 24 * 11, 1, NULL) <= 1e-12);
        assert_true(engine_error(got, other, 2 * 24 * 11, 1, NULL) >= 1e-3);
        free(got);
        model_free(m);
    }
    free(want);
    free(other);
    engine_text_free(x);
    model_free(xl);
    model_free(shorter);
}

/* Element i of f_c of the embeddings of `rate` tokens; the first layer's inputs are embeddings. */
static double compressed(const char *how, const double *embed, const double *weight, const int32_t *tokens, int rate, int i) {
    double sum = 0, most = -INFINITY, product = 0;
    for (int j = 0; j < rate; j++) {
        const double *row = embed + tokens[j] * 16;
        sum += row[i] / rate;
        most = fmax(most, row[i]);
        for (int k = 0; weight && k < 16; k++) product += weight[i * rate * 16 + j * 16 + k] * row[k];
    }
    return !strcmp(how, "mean") ? sum : !strcmp(how, "max") ? most : product;
}

/* After six segments with a cache of one and room for six compressed rows, two a segment: those of segments 2, 3, 4; with room for
 * one, less than a segment gives: the newest. */
static void stores_hold_what_they_should(void **state) {
    (void)state;
    static const char *const kinds[] = {"conv", "mean", "max"};
    for (int way = 0; way < 6; way++) {
        int kind = way / 2, room = way % 2 ? 1 : 6;
        char *options = xprintf("compress=%s rate=2 cache=4 compressed=%d", kinds[kind], room);
        struct model *m = filled("compressive", options);
        struct text_batch *x = engine_text(2, 6, 4, 11, NULL, NULL);
        struct error e;
        struct state *s = state_create(m, 2, 1, &e);
        assert_non_null(s);
        free(engine_logits(m, s, x, 0, 6, KNOCK_NONE));
        double *embed = engine_download(m, m->embed->leaf.data, m->embed->n), *weight = NULL;
        struct param *p = model_find(m, "layers.0.compress");
        assert_int_equal(p != NULL, kind == 0);
        if (p) weight = engine_download(m, p->leaf.data, p->n);
        double *held = engine_download(m, s->data[layer_state(m, 0, "compressed")], 2 * room * 16);
        for (int b = 0; b < 2; b++)
            for (int r = 0; r < room; r++)
                for (int i = 0; i < 16; i++) {
                    const int32_t *tokens = x->tokens + b * 24 + 2 * 4 + 2 * (6 - room + r);
                    double want = compressed(kinds[kind], embed, weight, tokens, 2, i);
                    assert_true(fabs(held[(b * room + r) * 16 + i] - want) <= 1e-12);
                }
        free(held);
        free(weight);
        free(embed);
        state_free(s);
        engine_text_free(x);
        model_free(m);
        free(options);
    }
}

/* The gradient of the language model does not reach f_c, that of the reconstruction nothing else. */
static void losses_keep_apart(void **state) {
    (void)state;
    struct model *with = filled("compressive", "rate=2"), *without = filled("compressive", "rate=2 reconstruction=0");
    struct text_batch *x = engine_text(2, 6, 4, 11, NULL, NULL);
    for (int mode = STEP_LAYER_MAJOR; mode <= STEP_RECOMPUTE; mode++) {
        engine_gradients(with, (enum step_mode)mode, x);
        engine_gradients(without, (enum step_mode)mode, x);
        for (int p = 0; p < with->param_count; p++) {
            struct param *q = with->params[p];
            double *a = engine_download(with, q->grad, q->n), *b = engine_download(without, without->params[p]->grad, q->n);
            double size[2] = {0, 0};
            for (int64_t i = 0; i < q->n; i++) size[0] += fabs(a[i]), size[1] += fabs(b[i]);
            if (strstr(q->name, "compress"))
                assert_true(size[0] > 1e-6 && size[1] == 0);
            else
                assert_true(size[0] > 1e-9 && engine_same(a, b, q->n));
            free(a);
            free(b);
        }
    }
    engine_text_free(x);
    model_free(with);
    model_free(without);
}

/* FLOP of the matrix products of a step, counted in the kernel. */
static const struct kernels *counted;
static double products;
static void counting_gemm(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n,
                          int64_t k, int64_t lda, int64_t ldb, int64_t ldc) {
    products += 2 * (double)m * (double)n * (double)k;
    counted->gemm(c, a, b, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc);
}

/* What the reconstruction adds to the FLOP of a step by formula are the products that run for it, and the two attentions: that to
 * the old rows forward (4 E N a token and head), that to the new ones forward and to keys and values (10). */
static void flops_are_those_that_run(void **state) {
    (void)state;
    static const char *const options[] = {"rate=2 reconstruction=0", "rate=2"};
    double run[2], formula[2], attention = 14. * 8 * 2 * 4; /* E, heads, N */
    struct text_batch *x = engine_text(2, 6, 4, 11, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        struct model *m = filled("compressive", options[i]);
        struct kernels counting = *(counted = m->k);
        counting.gemm = counting_gemm;
        m->k = &counting;
        products = 0;
        engine_gradients(m, STEP_SEGMENT_MAJOR, x);
        run[i] = products / (2 * 6 * 4 * 2); /* a token and layer */
        formula[i] = 3 * model_flops(&m->config, 8, true) / 2;
        m->k = counted;
        model_free(m);
    }
    engine_text_free(x);
    assert_true(run[1] > run[0] && fabs(formula[1] - formula[0] - (run[1] - run[0] + attention)) < 1e-9 * formula[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rate_one_is_transformer_xl), cmocka_unit_test(stores_hold_what_they_should),
                                       cmocka_unit_test(losses_keep_apart), cmocka_unit_test(flops_are_those_that_run)};
    return cmocka_run_group_tests_name("f64_compressive", tests, NULL, NULL);
}
