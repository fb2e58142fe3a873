/* f64_stream.c - streams beyond feeding: the next token's distribution, forks, snapshots, knock-out, differentiable unrolling; and
 * the n-gram beside them. Feeding in pieces of any size is in f64_oracles.c. */
#include "support/variants.h"
#include "../harness/stream.h"
#include "../tasks/ngram.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define VOCAB 11
#define EACH for (const struct variant *v = variants; v->name; v++)

static const int32_t letters[48] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4,
                                    3, 3, 8, 3, 2, 7, 9, 5, 2, 8, 8, 4, 1, 9, 7, 1, 6, 9, 3, 9, 9, 3, 7, 5};

static struct stream *opened(struct model *m, int64_t rows, int64_t segments) {
    struct error e;
    struct stream *s = stream_open(m, rows, segments, &e);
    if (!s) fail_msg("%s", e.text);
    return s;
}

static void feed(struct stream *s, int64_t rows, int row, const int32_t *tokens, int64_t n, float *nll) {
    const int32_t *t[4] = {NULL};
    int64_t count[4] = {0};
    float *out[4] = {NULL};
    t[row] = tokens;
    count[row] = n;
    out[row] = nll;
    assert_true(rows <= 4);
    stream_score(s, t, count, out);
}

static void same(const char *what, const struct variant *v, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= 2e-6f * (1 + fabsf(b[i]))))
            fail_msg("%s, %s: [%d] %.9g, not %.9g", v->name, what, (int)i, a[i], b[i]);
}

/* The distribution that stream_next gives is the one from which the next token is scored; asking changes nothing. */
static void next_is_what_is_scored(void **state) {
    (void)state;
    EACH {
        struct model *m = variant_model(v, "");
        struct stream *s = opened(m, 2, 3);
        for (int i = 0; i < 14; i++) {
            float next[2 * VOCAB], nll[1];
            stream_next(s, next);
            stream_next(s, next);
            double sum = 0;
            for (int w = 0; w < VOCAB; w++) sum += exp(next[VOCAB + w]);
            float want = (float)(log(sum) - next[VOCAB + letters[i]]);
            feed(s, 2, 1, letters + i, 1, nll);
            same("next", v, nll, &want, 1);
        }
        assert_int_equal(stream_position(s, 0), 0);
        assert_int_equal(stream_position(s, 1), 14);
        assert_int_equal(stream_writes(s, 1), 3);
        stream_close(s);
        model_free(m);
    }
}

/* A fork and a restored snapshot go on as the original does; other rows are not touched. */
static void forks_and_snapshots(void **state) {
    (void)state;
    EACH {
        struct model *m = variant_model(v, "");
        struct stream *s = opened(m, 3, 2);
        float want[48], got[48];
        feed(s, 3, 0, letters, 48, want);
        stream_reset(s, -1);
        feed(s, 3, 2, letters + 20, 9, NULL);
        feed(s, 3, 0, letters, 22, NULL);
        struct snapshot *p = stream_snapshot(s, 0);
        stream_fork(s, 1, 0);
        feed(s, 3, 1, letters + 22, 26, got + 22);
        same("fork", v, got + 22, want + 22, 26);
        feed(s, 3, 0, letters + 22, 26, got + 22);
        same("original", v, got + 22, want + 22, 26);
        stream_restore(s, 2, p); /* over a row that was elsewhere */
        feed(s, 3, 2, letters + 22, 26, got + 22);
        same("restored", v, got + 22, want + 22, 26);
        feed(s, 3, 1, letters, 3, NULL);
        stream_reset(s, 1);
        feed(s, 3, 1, letters, 48, got);
        same("reset", v, got, want, 48);
        snapshot_free(p);
        stream_close(s);
        model_free(m);
    }
}

/* Tokens that nobody asked to score still reach the memory; a knock-out acts only where there is a memory to take out. */
static void unscored_tokens_count(void **state) {
    (void)state;
    EACH {
        struct model *m = variant_model(v, "");
        struct stream *s = opened(m, 1, 4);
        float want[48], got[48];
        feed(s, 1, 0, letters, 48, want);
        stream_reset(s, -1);
        for (int i = 0; i < 41; i++) stream_score(s, (const int32_t *const[]){letters + i}, (const int64_t[]){1}, NULL);
        feed(s, 1, 0, letters + 41, 7, got + 41);
        same("unscored", v, got + 41, want + 41, 7);
        stream_reset(s, -1);
        stream_knock_out(s, KNOCK_OFF);
        feed(s, 1, 0, letters, 48, got);
        bool changed = memcmp(got, want, sizeof want) != 0, memory = !strcmp(v->arch, "infini");
        if (changed && !memory && strcmp(v->arch, "memorizing") != 0)
            fail_msg("%s: the knock-out changed a model without memory", v->name);
        stream_close(s);
        model_free(m);
    }
}

/* Carried states of an unrolled call are those of a stream over the same inputs, in one go and from given states. */
static void unroll(void **state) {
    (void)state;
    EACH {
        struct model *m = variant_model(v, "");
        int64_t n = m->config.segment;
        struct error e;
        struct stream *s = opened(m, 1, 3);
        struct state *scratch = state_create(m, 1, 3, &e);
        assert_non_null(scratch);
        int32_t inputs[64] = {TOKEN_BOS};
        memcpy(inputs + 1, letters, sizeof letters);
        feed(s, 1, 0, letters, 3 * n, NULL);
        struct tape t;
        tape_init(&t, m->k);
        t.record = true;
        tape_dry(&t);
        for (int pass = 0; pass < 2; pass++) {
            tape_reset(&t);
            struct tensor **first = stream_unroll(&t, scratch, inputs, 1, 2, NULL);
            struct tensor **all = stream_unroll(&t, scratch, inputs + 2 * n, 1, 1, first);
            if (pass == 0) {
                assert_int_equal(tape_allocate(&t, &e), 0);
                continue;
            }
            for (int i = 0; i < m->state_count; i++) {
                if (m->states[i].kind != STATE_CARRIED) continue;
                const real *want = stream_state(s)->data[i];
                assert_non_null(all[i]);
                for (int64_t j = 0; j < all[i]->n; j++)
                    if (!(fabs((double)(all[i]->data[j] - want[j])) <= 1e-11 * (1 + fabs((double)want[j]))))
                        fail_msg("%s, %s[%d]: %.15g, not %.15g", v->name, m->states[i].name, (int)j, (double)all[i]->data[j],
                                 (double)want[j]);
            }
        }
        tape_free(&t);
        state_free(scratch);
        stream_close(s);
        model_free(m);
    }
}

/* ---- n-gram ---- */

static void ngram_by_hand(void **state) {
    (void)state;
    /* "1 2 1 2 1 3" over 4 symbols */
    int32_t tokens[] = {1, 2, 1, 2, 1, 3};
    struct text text = {.tokens = tokens, .n = 6};
    struct corpus c = {.texts = &text, .count = 1};
    struct ngram *g = ngram_fit(&c, 4, 3);
    float nll[2];
    /* p(1) = (3 + 3/4) / 9; after BOS 1 was seen once of once: p(1 | BOS) = (1 + p(1)) / 2 */
    double p1 = (3 + 3.0 / 4) / 9, first = (1 + p1) / 2;
    ngram_score(g, (const int32_t[]){1, 3}, 2, nll);
    assert_true(fabs(nll[0] + log(first)) < 1e-6);
    /* p(3) = (1 + 3/4) / 9; p(3 | 1) = (1 + 2 p(3)) / 5; p(3 | BOS 1) = (0 + p(3 | 1)) / 2 */
    double p3 = (1 + 3.0 / 4) / 9, second = (1 + 2 * p3) / 5 / 2;
    assert_true(fabs(nll[1] + log(second)) < 1e-6);
    ngram_free(g);
}

static void ngram_sums_to_one(void **state) {
    (void)state;
    int32_t tokens[48];
    memcpy(tokens, letters, sizeof letters);
    struct text text = {.tokens = tokens, .n = 48};
    struct corpus c = {.texts = &text, .count = 1};
    for (int order = 1; order <= NGRAM_MAX; order++) {
        struct ngram *g = ngram_fit(&c, VOCAB, order);
        for (int a = 1; a < VOCAB; a++)
            for (int b = 1; b < VOCAB; b++) {
                double sum = 0;
                for (int32_t w = 0; w < VOCAB; w++) {
                    float nll[3];
                    ngram_score(g, (const int32_t[]){a, b, w}, 3, nll);
                    sum += exp(-(double)nll[2]);
                }
                assert_true(fabs(sum - 1) < 1e-5);
            }
        ngram_free(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_is_what_is_scored), cmocka_unit_test(forks_and_snapshots),
        cmocka_unit_test(unscored_tokens_count),  cmocka_unit_test(unroll),
        cmocka_unit_test(ngram_by_hand),          cmocka_unit_test(ngram_sums_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
