/* f64_flops.c - FLOP by formula are those that run: the matrix products of a segment counted in the kernel, and beside them what
 * attention, recurrence and fast weights do themselves, counted here pair by pair and state by state. */
#include "support/engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h> /* after the engine: it has a macro fail() */

enum { N = 4, SEGMENTS = 6, BATCH = 2, LAYERS = 2, HEADS = 4, KV_HEADS = 2, E = 4, H = HEADS * E };
#define SHAPE "layers=2 d_model=16 heads=4 head_dim=4 ffn=20 segment=4 segments=6 batch=2 vocab=11 tied=no "

static const struct kernels *counted;
static double products;
static void counting_gemm(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n,
                          int64_t k, int64_t lda, int64_t ldb, int64_t ldc) {
    products += 2 * (double)m * (double)n * (double)k;
    counted->gemm(c, a, b, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc);
}

/* Visible pairs of a block [lead; N tokens; trail]: scores and sums of values, 2 E each. */
static double attention(int lead, int trail) {
    int pairs = 0, tokens = lead + N, all = tokens + trail;
    for (int i = 0; i < all; i++)
        for (int j = 0; j < all; j++) pairs += j <= i || (i < lead && j < lead) || (i >= tokens && j >= tokens);
    return 4. * E * HEADS * pairs / N;
}

/* What the last of six segments of a document takes, a token of it. The document is so long that all room for memory is full: rows
 * that are masked run too and are not counted. */
static void formula_is_what_runs(void **state) {
    (void)state;
    const struct {
        const char *arch, *options, *shape;
        double beside; /* a layer and token */
    } rows[] = {
        {"rmt", "memory_tokens=3", "kv_heads=2", attention(3, 3)},
        {"rmt", "memory_tokens=0", "kv_heads=4 ffn_kind=relu", attention(0, 0)},
        {"autocompressor", "summary=2 kept=3", "kv_heads=2", attention(6, 2)},
        {"autocompressor", "summary=1 kept=1", "kv_heads=4 ffn_kind=relu", attention(1, 1)},
        {"rnn", "cell=lstm", "kv_heads=4 equal_parameters=no", 2. * 4 * H * H},
        {"rnn", "cell=gru", "kv_heads=4 equal_parameters=no", 2. * 3 * H * H},
        {"linear_attention", "", "kv_heads=2", 2. * E * E * KV_HEADS + 2. * E * (E + 1) * HEADS}, /* write; read S and z */
        {"delta_rule", "", "kv_heads=2", 2. * E * E * (2 * KV_HEADS + HEADS)},                    /* compare and write; read */
        {"delta_rule", "features=sum gated=yes", "kv_heads=2", 2. * E * E * (2 * KV_HEADS + HEADS)},
        {"delta_rule", "conv_size=3", "kv_heads=2", 2. * E * (E + 3) * (2 * KV_HEADS + HEADS)} /* and 3 tokens a channel */};
    int bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error e;
        char *shape = xprintf("%s %s", SHAPE, rows[i].shape);
        struct model *m = engine_model(rows[i].arch, rows[i].options, shape);
        struct text_batch *x = engine_text(BATCH, SEGMENTS, N, 11, NULL, NULL);
        struct state *s = state_create(m, BATCH, 1, &e);
        assert_non_null(s);
        struct kernels counting = *(counted = m->k);
        counting.gemm = counting_gemm;
        m->k = &counting;
        for (int64_t segment = 0; segment < SEGMENTS; segment++) {
            products = 0;
            free(engine_logits(m, s, x, segment, 1, KNOCK_NONE));
        }
        m->k = counted;
        double run = products / (BATCH * N) + LAYERS * rows[i].beside;
        double formula = model_flops(&m->config, (SEGMENTS - 1) * N, false);
        if (!(fabs(run - formula) <= 1e-9 * run)) {
            print_error("%s %s: %.1f FLOP a token run, %.1f by formula\n", rows[i].arch, rows[i].options, run, formula);
            bad++;
        }
        state_free(s);
        engine_text_free(x);
        model_free(m);
        free(shape);
    }
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(formula_is_what_runs)};
    return cmocka_run_group_tests_name("f64_flops", tests, NULL, NULL);
}
