/* test_engine.c - the float engine on its fast kernels, every architecture, at sizes that fill tiles and at sizes that do not:
 * causality and isolation to the last bit, the same bits from recomputation and from a second run, segments in one call or in
 * several, a stream in pieces. What the values are is held to the double engine's goldens in test_golden.c. */
#include "support/variants.h"
#include "../harness/stream.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h> /* after the engine: it has a macro fail() */

/* Segments of 4, and of 36 with wider heads. */
static const char *const shapes[] = {"", "segment=36 d_model=48 head_dim=24 ffn=92"};

static void forwards_only(void **state) {
    int bad = 0;
    (void)state;
    for (const struct variant *v = variants; v->name; v++)
        for (int i = 0; i < 2; i++) bad += variant_causality(v, shapes[i]);
    assert_int_equal(bad, 0);
}

static void steps(void **state) {
    int bad = 0;
    (void)state;
    for (const struct variant *v = variants; v->name; v++)
        for (int i = 0; i < 2; i++) { /* shape; one thread, two threads */
            double loss[4][7], *p[4];
            int64_t n = 0;
            static const enum step_mode mode[4] = {STEP_SEGMENT_MAJOR, STEP_RECOMPUTE, STEP_RECOMPUTE, STEP_LAYER_MAJOR};
            for (int j = 0; j < 4; j++) p[j] = variant_train(v, shapes[i], mode[j], true, 1 + i, loss[j], &n);
            const char *wrong = !engine_same(p[0], p[1], n)                             ? "recomputation changes bits"
                                : !engine_same(p[2], p[1], n)                           ? "the same seed gives other bits"
                                : !(engine_error(loss[3], loss[0], 4, 1, NULL) <= 1e-4) ? "layer-major goes another way"
                                                                                        : NULL;
            if (wrong) {
                print_error("%s, '%s', %d threads: %s\n", v->name, shapes[i], 1 + i, wrong);
                bad++;
            }
            for (int j = 0; j < 4; j++) free(p[j]);
        }
    assert_int_equal(bad, 0);
}

/* One call of four segments, four calls of one, and a stream in uneven pieces. */
static void pieces(void **state) {
    int bad = 0;
    (void)state;
    for (const struct variant *v = variants; v->name; v++)
        for (int i = 0; i < 2; i++) {
            struct model *m = variant_model(v, shapes[i]);
            struct error e;
            int64_t n = m->config.segment, T = 4 * n, V = m->config.vocab, total = T - n / 2, done = 0;
            struct text_batch *x = engine_text(1, 4, n, V, NULL, NULL);
            struct state *s = state_create(m, 1, 1, &e);
            struct stream *stream = stream_open(m, 1, 2, &e);
            assert_non_null(s);
            assert_non_null(stream);
            double *whole = engine_logits(m, NULL, x, 0, 4, KNOCK_NONE), *parts = xcalloc((size_t)(T * V), sizeof *parts);
            float *fed = xcalloc((size_t)(T * V), sizeof *fed);
            for (int64_t j = 0; j < 4; j++) {
                double *part = engine_logits(m, s, x, j, 1, KNOCK_NONE);
                memcpy(parts + j * n * V, part, (size_t)(n * V) * sizeof *part);
                free(part);
            }
            double a = engine_error(parts, whole, T * V, 1, NULL);
            for (int64_t piece = 1; done < total; piece = piece * 3 % 31 + 1) {
                int64_t count = piece < total - done ? piece : total - done;
                stream_logits(stream, (const int32_t *const[]){x->targets + done}, &count, (float *const[]){fed + done * V});
                done += count;
            }
            for (int64_t j = 0; j < total * V; j++) parts[j] = fed[j];
            double b = engine_error(parts, whole, total * V, 1, NULL);
            if (!(a <= 2e-5 && b <= 2e-5)) {
                print_error("%s, '%s': call by call differs by %.3g, the stream by %.3g\n", v->name, shapes[i], a, b);
                bad++;
            }
            free(whole);
            free(parts);
            free(fed);
            stream_close(stream);
            state_free(s);
            engine_text_free(x);
            model_free(m);
        }
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(forwards_only), cmocka_unit_test(steps), cmocka_unit_test(pieces)};
    return cmocka_run_group_tests_name("test_engine", tests, NULL, NULL);
}
