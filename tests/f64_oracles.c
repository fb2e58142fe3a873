/* f64_oracles.c - properties that every architecture must have, through the public API and in double: causality, no leak between
 * documents and batch rows, a call of S segments = S calls, a stream = a prefill, the three ways of a step, repeatability, reach,
 * symmetry of the heads, sizes. */
#include "support/variants.h"
#include "../harness/stream.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h> /* after the engine: it has a macro fail() */

#define EXPECT(condition, ...)                                                                                                     \
    do {                                                                                                                           \
        if (!(condition)) {                                                                                                        \
            print_error("%s:%d: %s: %s: ", __FILE__, __LINE__, v->name, #condition);                                               \
            print_error(__VA_ARGS__);                                                                                              \
            print_error("\n");                                                                                                     \
            failures++;                                                                                                            \
        }                                                                                                                          \
    } while (0)
#define EACH                                                                                                                       \
    int failures = 0;                                                                                                              \
    (void)state;                                                                                                                   \
    for (const struct variant *v = variants; v->name; v++)
#define DONE assert_int_equal(failures, 0)

static void forwards_only(void **state) {
    EACH failures += variant_causality(v, "");
    DONE;
}

/* The second document of a row, and a row of a batch, are what they are alone. */
static void alone(void **state) {
    static const int documents[] = {1, 0, 1, 0, 1, 0, 0, 0}, lens[] = {4, 3, 4, 4, 4, 4, 4, 2};
    EACH {
        struct model *m = variant_model(v, "");
        struct text_batch *x = engine_text(2, 4, 4, 11, documents, lens), *y = engine_text(1, 2, 4, 11, NULL, NULL);
        memcpy(y->tokens, x->tokens + 8, 8 * sizeof *y->tokens);
        int64_t at;
        double *both = engine_logits(m, NULL, x, 0, 4, KNOCK_NONE), *one = engine_logits(m, NULL, y, 0, 2, KNOCK_NONE);
        EXPECT(engine_error(both + 8 * 11, one, 8 * 11, 1, &at) <= 1e-12, "a document after another differs at %d", (int)at);
        free(one);
        engine_text_free(y);
        y = engine_text(1, 4, 4, 11, NULL, lens + 4);
        memcpy(y->tokens, x->tokens + 16, 16 * sizeof *y->tokens);
        one = engine_logits(m, NULL, y, 0, 4, KNOCK_NONE);
        EXPECT(engine_error(both + 16 * 11, one, 14 * 11, 1, &at) <= 1e-12, "a row beside another differs at %d", (int)at);
        free(one);
        free(both);
        engine_text_free(x);
        engine_text_free(y);
        model_free(m);
    }
    DONE;
}

/* A call of S segments equals S calls of one, over enough segments that rings wrap; so does a call of two and then of three. */
static void calls(void **state) {
    EACH {
        struct model *m = variant_model(v, "segments=7");
        static const int documents[] = {1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0};
        struct text_batch *x = engine_text(2, 7, 4, 11, documents, NULL);
        int64_t row = 28 * 11, at, step[2][8] = {{1, 1, 1, 1, 1, 1, 1, 0}, {2, 3, 2, 0}};
        double *whole = engine_logits(m, NULL, x, 0, 7, KNOCK_NONE);
        for (int way = 0; way < 2; way++) {
            struct error e;
            struct state *s = state_create(m, 2, way ? 3 : 1, &e);
            assert_non_null(s);
            int64_t done = 0;
            for (int i = 0; step[way][i]; done += step[way][i++]) {
                double *part = engine_logits(m, s, x, done, step[way][i], KNOCK_NONE);
                for (int64_t b = 0; b < 2; b++) {
                    int64_t n = step[way][i] * 4 * 11;
                    double error = engine_error(part + b * n, whole + b * row + done * 4 * 11, n, 1, &at);
                    EXPECT(error <= 1e-12, "segments %d.. in calls of %d: error %g at %d of row %d", (int)done, (int)step[way][i],
                           error, (int)at, (int)b);
                }
                free(part);
            }
            state_free(s);
        }
        free(whole);
        engine_text_free(x);
        model_free(m);
    }
    DONE;
}

static void resets(void **state) {
    EACH {
        struct model *m = variant_model(v, "");
        struct error e;
        struct text_batch *x = engine_text(2, 4, 4, 11, NULL, NULL), *y = engine_text(2, 2, 4, 11, NULL, NULL);
        struct state *s = state_create(m, 2, 2, &e);
        assert_non_null(s);
        memcpy(y->tokens + 8, x->tokens + 24, 8 * sizeof *y->tokens); /* row 1 goes on, row 0 begins anew */
        y->since[2] = 8;
        y->since[3] = 12;
        double *whole = engine_logits(m, NULL, x, 0, 4, KNOCK_NONE), *first = engine_logits(m, s, x, 0, 2, KNOCK_NONE);
        EXPECT(s->since[0] == 8 && s->since[1] == 8, "since is %d after 8 tokens", (int)s->since[0]);
        state_reset(s, 0);
        EXPECT(s->since[0] == 0 && s->since[1] == 8, "since is %d, %d after the reset of row 0", (int)s->since[0],
               (int)s->since[1]);
        double *next = engine_logits(m, s, y, 0, 2, KNOCK_NONE);
        int64_t at;
        EXPECT(engine_error(next, whole, 8 * 11, 1, &at) <= 1e-12, "a reset row differs from a fresh one at %d", (int)at);
        EXPECT(engine_error(next + 8 * 11, whole + 24 * 11, 8 * 11, 1, &at) <= 1e-12, "the other row differs at %d", (int)at);
        state_reset(s, -1);
        double *again = engine_logits(m, s, x, 0, 2, KNOCK_NONE);
        EXPECT(engine_same(again, first, 2 * 8 * 11), "a reset state is not a fresh one");
        free(again);
        free(next);
        free(first);
        free(whole);
        state_free(s);
        engine_text_free(x);
        engine_text_free(y);
        model_free(m);
    }
    DONE;
}

/* Feeding in pieces of any size gives what one call gives; rows of different lengths. */
static void streams(void **state) {
    static const int lens[] = {4, 4, 4, 4, 4, 3, 4, 4, 4, 1, 4, 4};
    static const int64_t total[2] = {23, 13};
    EACH {
        struct model *m = variant_model(v, "segments=6");
        struct text_batch *x = engine_text(2, 6, 4, 11, NULL, lens);
        double *whole = engine_logits(m, NULL, x, 0, 6, KNOCK_NONE);
        for (int way = 0; way < 4; way++) {
            struct error e;
            struct stream *s = stream_open(m, 2, way == 0 ? 6 : way == 3 ? 2 : 1, &e);
            assert_non_null(s);
            float *out[2] = {calloc(24 * 11, sizeof(float)), calloc(24 * 11, sizeof(float))};
            int64_t done[2] = {0, 0};
            for (int round = 0; done[0] < total[0] || done[1] < total[1]; round++) {
                const int32_t *tokens[2];
                int64_t n[2];
                float *to[2];
                for (int b = 0; b < 2; b++) {
                    int64_t piece = way == 0 ? 24 : way == 1 ? 1 : 1 + (round * 5 + b * 3) % 7;
                    n[b] = piece < total[b] - done[b] ? piece : total[b] - done[b];
                    tokens[b] = x->targets + b * 24 + done[b];
                    to[b] = out[b] + done[b] * 11;
                }
                stream_logits(s, tokens, n, to);
                for (int b = 0; b < 2; b++) done[b] += n[b];
            }
            for (int b = 0; b < 2; b++) {
                double worst = 0;
                for (int64_t i = 0; i < total[b] * 11; i++) {
                    double d = fabs(out[b][i] - whole[b * 24 * 11 + i]) / (1 + fabs(whole[b * 24 * 11 + i]));
                    if (!(d <= worst)) worst = isfinite(d) ? d : INFINITY;
                }
                EXPECT(worst <= 2e-7, "way %d, row %d: error %g", way, b, worst);
                EXPECT(stream_writes(s, b) == total[b] / 4, "%d writes", (int)stream_writes(s, b));
                free(out[b]);
            }
            stream_close(s);
        }
        free(whole);
        engine_text_free(x);
        model_free(m);
    }
    DONE;
}

/* Gradients of one step: the three ways agree, recomputation to the last bit. */
static void step_modes(void **state) {
    static const int documents[] = {1, 0, 1, 0, 1, 0, 0, 0}, lens[] = {4, 3, 4, 4, 4, 4, 4, 2};
    EACH {
        struct model *m = variant_model(v, "");
        struct text_batch *x = engine_text(2, 4, 4, 11, documents, lens);
        double loss[3], *g[3], by_hand = engine_loss(m, NULL, x, 0, 4);
        int64_t at;
        for (int mode = 0; mode < 3; mode++) {
            loss[mode] = engine_gradients(m, (enum step_mode)mode, x);
            g[mode] = engine_all_gradients(m);
            EXPECT(fabs(loss[mode] - by_hand) <= 1e-12 * by_hand, "loss %.15g in way %d, %.15g by hand", loss[mode], mode, by_hand);
        }
        EXPECT(engine_error(g[0], g[1], m->elements, 0, &at) <= 1e-12, "layer-major differs from segment-major at %d", (int)at);
        EXPECT(loss[1] == loss[2] && engine_same(g[1], g[2], m->elements), "recomputation changes bits");
        for (int mode = 0; mode < 3; mode++) free(g[mode]);
        engine_text_free(x);
        model_free(m);
    }
    DONE;
}

/* Steps that go on from one another: banks and rings wrap several times. */
static void steps_wrap(void **state) {
    EACH {
        for (int carry = 0; carry < 2; carry++) {
            double loss[4][7], *p[4];
            int64_t n = 0;
            static const enum step_mode mode[4] = {STEP_SEGMENT_MAJOR, STEP_RECOMPUTE, STEP_RECOMPUTE, STEP_LAYER_MAJOR};
            for (int i = 0; i < 4; i++) p[i] = variant_train(v, "", mode[i], carry, 1, loss[i], &n);
            EXPECT(engine_same(p[0], p[1], n), "carry %d: recomputation changes bits", carry);
            EXPECT(engine_same(p[2], p[1], n), "carry %d: the same seed gives other bits", carry);
            EXPECT(engine_error(loss[3], loss[0], 7, 1, NULL) <= 1e-9, "carry %d: layer-major goes another way", carry);
            EXPECT(loss[0][6] != loss[0][0], "nothing was learnt");
            for (int i = 0; i < 4; i++) free(p[i]);
        }
    }
    DONE;
}

/* Tokens beyond `reach` change nothing; nor does it matter that they were never read. */
static void reach(void **state) {
    EACH {
        int64_t S = 12, T = S * 4, V = 11;
        struct model *m = variant_model(v, "segments=12");
        int64_t far = m->config.arch->reach(&m->config), t = T - 1, furthest = -1;
        struct text_batch *x = engine_text(1, S, 4, 11, NULL, NULL);
        double *base = engine_logits(m, NULL, x, 0, S, KNOCK_NONE);
        for (int64_t d = 0; d < T; d++) {
            int32_t old = x->tokens[t - d];
            x->tokens[t - d] = old % 10 + 1;
            double *now_ = engine_logits(m, NULL, x, 0, S, KNOCK_NONE);
            if (!engine_same(now_ + t * V, base + t * V, V)) furthest = d;
            free(now_);
            x->tokens[t - d] = old;
        }
        EXPECT(furthest <= far, "a token %d back has influence, reach is %d", (int)furthest, (int)far);
        EXPECT(furthest >= (far < t ? far : t) / 2 || far == 0, "reach is %lld, but only %d back matters", (long long)far,
               (int)furthest);
        if (far < t - 4) {
            int64_t start = (t - far) / 4;
            struct text_batch *y = engine_text(1, S - start, 4, 11, NULL, NULL);
            memcpy(y->tokens, x->tokens + start * 4, (size_t)(T - start * 4) * sizeof *y->tokens);
            double *tail = engine_logits(m, NULL, y, 0, S - start, KNOCK_NONE);
            double error = engine_error(tail + (t - start * 4) * V, base + t * V, V, 1, NULL);
            EXPECT(error <= 1e-11, "the tail alone gives something else, error %g", error);
            free(tail);
            engine_text_free(y);
        }
        free(base);
        engine_text_free(x);
        model_free(m);
    }
    DONE;
}

/* Exchanges the two halves of a matrix's columns, or of the rows of each of its blocks. */
static void swap_halves(struct model *m, struct param *p, int columns, int64_t blocks) {
    if (!p) return;
    int64_t R = p->shape[0], C = p->shape[1], B = R / blocks;
    double *old = engine_download(m, p->leaf.data, p->n), *new = malloc((size_t)p->n * sizeof *new);
    for (int64_t r = 0; r < R; r++)
        for (int64_t c = 0; c < C; c++)
            new[r * C + c] = old[columns ? r * C + (c + C / 2) % C : (r / B * B + (r % B + B / 2) % B) * C + c];
    engine_upload(m, p->leaf.data, new, p->n);
    free(new);
    free(old);
}

/* Fast weights and a convolution know no segments: the same text in others gives the same. */
static void cuts_do_not_matter(void **state) {
    int failures = 0, tried = 0;
    (void)state;
    for (const struct variant *v = variants; v->name; v++) {
        if (!strstr(v->options, "conv_size")) continue;
        tried++;
        double *first = NULL;
        for (int64_t n = 16; n >= 1; n /= 2) {
            char shape[48];
            snprintf(shape, sizeof shape, "segment=%d segments=%d", (int)n, (int)(16 / n));
            struct model *m = variant_model(v, shape);
            struct text_batch *x = engine_text(2, 16 / n, n, 11, NULL, NULL);
            double *logits = engine_logits(m, NULL, x, 0, 16 / n, KNOCK_NONE), *g, loss = engine_gradients(m, STEP_LAYER_MAJOR, x);
            int64_t at, all = 2 * 16 * 11;
            g = engine_all_gradients(m);
            if (!first) {
                first = xcalloc((size_t)(all + m->elements + 1), sizeof *first);
                memcpy(first, logits, (size_t)all * sizeof *first);
                memcpy(first + all, g, (size_t)m->elements * sizeof *first);
                first[all + m->elements] = loss;
            }
            EXPECT(engine_error(logits, first, all, 1, &at) <= 1e-12, "segments of %d: logit %d", (int)n, (int)at);
            EXPECT(engine_error(g, first + all, m->elements, 0, &at) <= 1e-11, "segments of %d: gradient %d", (int)n, (int)at);
            free(logits);
            free(g);
            engine_text_free(x);
            model_free(m);
        }
        free(first);
    }
    assert_true(tried >= 2);
    DONE;
}

/* A convolution whose weights on older tokens are 0 is the one over the token alone. */
static void unit_weights(void **state) {
    (void)state;
    double *logits[2];
    for (int i = 0; i < 2; i++) {
        int64_t size = i ? 5 : 1;
        struct model *m = engine_model("delta_rule", i ? "conv_size=5" : "conv_size=1", VARIANT_SHAPE "equal_parameters=no");
        engine_fill(m);
        static const char *const names[] = {"conv_q", "conv_k", "conv_v"};
        for (int l = 0; l < 2; l++)
            for (int p = 0; p < 3; p++) {
                struct param *w = layer_param(m, l, names[p]);
                double *x = xcalloc((size_t)w->n, sizeof *x);
                for (int64_t j = (size - 1) * w->shape[1]; j < w->n; j++) x[j] = 1;
                engine_upload(m, w->leaf.data, x, w->n);
                free(x);
            }
        struct text_batch *x = engine_text(2, 4, 4, 11, NULL, NULL);
        logits[i] = engine_logits(m, NULL, x, 0, 4, KNOCK_NONE);
        engine_text_free(x);
        model_free(m);
    }
    assert_true(engine_error(logits[1], logits[0], 2 * 16 * 11, 1, NULL) <= 1e-14);
    free(logits[0]);
    free(logits[1]);
}

/* Two heads (of a recurrence: the halves of its state) change places, with all that belongs to them: the output stays. */
static void heads_are_alike(void **state) {
    static const struct {
        const char *name;
        int columns;
    } parts[] = {{"wq", 0},     {"wk", 0},      {"wv", 0},       {"wr", 0},         {"rel_bias", 0}, {"w_output_gate", 0},
                 {"w_beta", 0}, {"w_decay", 0}, {"log_rate", 1}, {"step_bias", 1},  {"w_hh", 0},     {"w_hh", 1},
                 {"conv_q", 1}, {"conv_k", 1},  {"conv_v", 1},   {"bias", 1},       {"wo", 1},       {"u", 1},
                 {"v", 1},      {"beta", 1},    {"qk_scale", 1}, {"memory_gate", 1}};
    EACH {
        struct model *m = variant_model(v, "");
        struct text_batch *x = engine_text(2, 4, 4, 11, NULL, NULL);
        double *base = engine_logits(m, NULL, x, 0, 4, KNOCK_NONE);
        for (int l = -1; l < m->config.layers; l++)
            for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
                char name[64];
                snprintf(name, sizeof name, "layers.%d.%s", l, parts[i].name);
                if (l < 0) snprintf(name, sizeof name, "%s", parts[i].name); /* shared by the layers */
                bool shared =
                    strchr("kv", parts[i].name[strlen(parts[i].name) - 1]) && parts[i].name[1]; /* wk, wv, conv_k, conv_v */
                if (shared && m->config.kv_heads == 1) continue;
                struct param *p = model_find(m, name);
                swap_halves(m, p, parts[i].columns, strcmp(parts[i].name, "w_hh") || !p ? 1 : p->shape[0] / p->shape[1]);
            }
        double *now_ = engine_logits(m, NULL, x, 0, 4, KNOCK_NONE), error = engine_error(now_, base, 2 * 16 * 11, 1, NULL);
        EXPECT(error <= 1e-12, "error %g", error);
        free(now_);
        free(base);
        engine_text_free(x);
        model_free(m);
    }
    DONE;
}

/* Parameters are equal within 1 % (null exempt; a compressor comes on top), and the size of the carried state is the analytic one.
 */
static void sizes(void **state) {
    struct model *one = engine_model("transformer", "", "");
    double elements = (double)one->elements;
    model_free(one);
    EACH {
        struct error e;
        struct model *m = engine_model(v->arch, v->options, "");
        int64_t beside = 0;
        for (int l = 0; l < m->config.layers && !strcmp(v->arch, "compressive"); l++) {
            char name[64];
            snprintf(name, sizeof name, "layers.%d.compress", l);
            struct param *p = model_find(m, name);
            beside += p ? p->n : 0;
        }
        double apart = m->config.arch->apart ? m->config.arch->apart(&m->config) : 0;
        EXPECT((double)beside == apart, "%lld parameters come on top, %g by its own count", (long long)beside, apart);
        double ratio = (double)(m->elements - beside) / elements;
        EXPECT(!strcmp(v->arch, "null") || (ratio > 0.99 && ratio < 1.01), "%g of the parameters of the transformer", ratio);
        struct state *s = state_create(m, 3, 2, &e);
        assert_non_null(s);
        int64_t formula = m->config.arch->carried(&m->config, UNBOUNDED);
        EXPECT(state_carried(s) == formula, "%lld elements in the arena, %lld by the formula", (long long)state_carried(s),
               (long long)formula);
        size_t bytes = 0;
        int64_t without_spare = 0;
        for (int i = 0; i < m->state_count; i++) {
            int64_t spare = m->states[i].kind == STATE_RING ? s->capacity[i] - m->states[i].rows : 0;
            without_spare += (s->capacity[i] - spare) * m->states[i].width;
            bytes += ((size_t)(3 * s->capacity[i] * m->states[i].width) * sizeof(real) + 63) / 64 * 64;
            EXPECT(m->states[i].kind != STATE_RING || (spare >= 2 * 32 && spare < 3 * 32), "%s has %d spare rows",
                   m->states[i].name, (int)spare);
        }
        EXPECT(without_spare == formula && bytes == state_bytes(s), "%zu bytes in the arena, %zu by the capacities", state_bytes(s),
               bytes);
        state_free(s);
        model_free(m);
    }
    DONE;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_only),
        cmocka_unit_test(alone),
        cmocka_unit_test(calls),
        cmocka_unit_test(resets),
        cmocka_unit_test(streams),
        cmocka_unit_test(reach),
        cmocka_unit_test(heads_are_alike),
        cmocka_unit_test(sizes),
        cmocka_unit_test(step_modes),
        cmocka_unit_test(steps_wrap),
        cmocka_unit_test(cuts_do_not_matter),
        cmocka_unit_test(unit_weights),
    };
    return cmocka_run_group_tests_name("f64_oracles", tests, NULL, NULL);
}
