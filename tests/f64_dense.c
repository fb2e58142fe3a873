/* f64_dense.c - every architecture against another formulation of itself: one dense pass over all tokens with an explicit mask, the
 * memory as token sums; the limits of gates and the knock-outs; null against the closed form of a unigram model. */
#include "support/dense.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h> /* after the engine: it has a macro fail() */

struct rule {
    int64_t n, window;      /* segment; 0: none */
    int64_t cache;          /* transformer_xl */
    int64_t memory, k;      /* memorizing */
    int update;             /* enum memory_update */
    int first_bypass;       /* infini */
    const int32_t *knocked; /* [layers,heads] enum knock_out; NULL: none */
    double gate;            /* memorizing: NAN = the parameter, else the gate itself */
};

static const double *query(const struct dense *d, int64_t t, int64_t h) { return d->q + (t * d->H + h) * d->E; }
static const double *key(const struct dense *d, int64_t t, int64_t g) { return d->k + (t * d->G + g) * d->E; }
static double *result(const struct dense *d, int64_t t, int64_t h) { return d->out + (t * d->H + h) * d->E; }

static int knock_of(const struct dense *d, int64_t h) {
    const struct rule *r = d->data;
    return r->knocked ? r->knocked[d->layer * d->H + h] : KNOCK_NONE;
}

static void full_mixer(const struct dense *d) {
    const struct rule *r = d->data;
    double *score = xcalloc((size_t)d->T, sizeof *score);
    for (int64_t t = 0; t < d->T; t++)
        for (int64_t h = 0; h < d->H; h++) {
            int64_t g = h / (d->H / d->G);
            for (int64_t a = 0; a <= t; a++)
                score[a] = !r->window || t - a < r->window
                               ? dense_rope_dot(d, query(d, t, h), key(d, a, g), t - a) / sqrt((double)d->E)
                               : -INFINITY;
            dense_attend(d, result(d, t, h), 1, score, t + 1, g);
        }
    free(score);
}

static double feature(double x) { return x > 0 ? x + 1 : exp(x); }

static double kernel(const struct dense *d, const double *a, const double *b) {
    double sum = 0;
    for (int64_t i = 0; i < d->E; i++) sum += feature(a[i]) * feature(b[i]);
    return sum;
}

/* What each token writes, as sums over the tokens of earlier segments, and how it counts in the normaliser. */
static void written_values(const struct dense *d, const struct rule *r, int64_t g, double *w, double *count) {
    for (int64_t t = 0; t < d->T; t++) {
        int64_t start = t / r->n * r->n;
        double seen = 0;
        memcpy(w + t * d->E, d->v + (t * d->G + g) * d->E, (size_t)d->E * sizeof *w);
        for (int64_t a = 0; a < start; a++) seen += count[a] * kernel(d, key(d, t, g), key(d, a, g));
        for (int64_t a = 0; a < start && r->update != MEMORY_LINEAR; a++)
            for (int64_t i = 0; i < d->E; i++)
                w[t * d->E + i] -= kernel(d, key(d, t, g), key(d, a, g)) * w[a * d->E + i] / (seen + 1e-6);
        count[t] = r->update == MEMORY_DELTA_GAMMA ? fmin(1, fmax(0, 1 - seen / kernel(d, key(d, t, g), key(d, t, g)))) : 1;
    }
}

static void infini_mixer(const struct dense *d) {
    const struct rule *r = d->data;
    double *score = xcalloc((size_t)d->T, sizeof *score), *w = xcalloc((size_t)(d->T * d->E), sizeof *w), *count;
    count = xcalloc((size_t)d->T, sizeof *count);
    double *beta = r->update == MEMORY_NONE ? NULL : dense_param(d, "beta");
    for (int64_t h = 0; h < d->H; h++) {
        int64_t g = h / (d->H / d->G);
        int knock = knock_of(d, h);
        if (beta) written_values(d, r, g, w, count);
        for (int64_t t = 0; t < d->T; t++) {
            int64_t start = t / r->n * r->n;
            bool passed = knock == KNOCK_OFF || (knock == KNOCK_NONE && r->first_bypass && !start);
            double gate = !beta || passed ? 0 : 1 / (1 + exp(-beta[h])), norm = 1e-6;
            for (int64_t a = 0; a <= t; a++)
                score[a] = a < start ? -INFINITY : dense_rope_dot(d, query(d, t, h), key(d, a, g), t - a) / sqrt((double)d->E);
            dense_attend(d, result(d, t, h), 1 - gate, score, t + 1, g);
            for (int64_t a = 0; a < start && beta; a++) norm += count[a] * kernel(d, query(d, t, h), key(d, a, g));
            for (int64_t a = 0; a < start && beta && knock != KNOCK_ZERO; a++)
                for (int64_t i = 0; i < d->E; i++)
                    result(d, t, h)[i] += gate * kernel(d, query(d, t, h), key(d, a, g)) / norm * w[a * d->E + i];
        }
    }
    free(beta);
    free(count);
    free(score);
    free(w);
}

static void xl_mixer(const struct dense *d) {
    const struct rule *r = d->data;
    int64_t D = d->D, HE = d->H * d->E;
    double *wr = dense_param(d, "wr"), *u = dense_param(d, "u"), *v = dense_param(d, "v"),
           *score = xcalloc((size_t)d->T, sizeof *score);
    double *rel = xcalloc((size_t)(d->T * HE), sizeof *rel), *qu = xcalloc((size_t)d->E, sizeof *qu),
           *qv = xcalloc((size_t)d->E, sizeof *qv);
    for (int64_t t = 0; t < d->T; t++)
        for (int64_t o = 0; o < HE; o++)
            for (int64_t i = 0; i < D / 2; i++) {
                double angle = (double)t * pow(10000, -2.0 * (double)i / (double)D);
                rel[t * HE + o] += wr[o * D + i] * sin(angle) + wr[o * D + D / 2 + i] * cos(angle);
            }
    for (int64_t t = 0; t < d->T; t++)
        for (int64_t h = 0; h < d->H; h++) {
            int64_t g = h / (d->H / d->G), lowest = t / r->n * r->n - r->cache;
            for (int64_t i = 0; i < d->E; i++) {
                qu[i] = query(d, t, h)[i] + u[h * d->E + i];
                qv[i] = query(d, t, h)[i] + v[h * d->E + i];
            }
            for (int64_t a = 0; a <= t; a++)
                score[a] = a < lowest ? -INFINITY
                                      : (dense_dot(qu, key(d, a, g), d->E) + dense_dot(qv, rel + (t - a) * HE + h * d->E, d->E)) /
                                            sqrt((double)d->E);
            dense_attend(d, result(d, t, h), 1, score, t + 1, g);
        }
    free(wr);
    free(u);
    free(v);
    free(score);
    free(rel);
    free(qu);
    free(qv);
}

/* T5: the smallest distance of bucket 16 + j is the smallest integer >= 16 * 8^(j/16). */
static int64_t bucket(int64_t distance) {
    if (distance < 16) return distance;
    int64_t j = 0;
    while (j < 15 && (double)distance >= 16 * pow(8, (double)(j + 1) / 16) - 1e-9) j++;
    return 16 + j;
}

static void memorizing_mixer(const struct dense *d) {
    const struct rule *r = d->data;
    int64_t where = (int64_t)floor(0.75 * (double)d->model->config.layers) - 1;
    int has_bank = d->layer == (where < 0 ? 0 : where);
    double *scale = dense_param(d, "qk_scale"), *bias = dense_param(d, "rel_bias"),
           *gate = has_bank ? dense_param(d, "memory_gate") : NULL;
    double *dot = xcalloc((size_t)d->T, sizeof *dot), *score = xcalloc((size_t)d->T, sizeof *score);
    for (int64_t t = 0; t < d->T; t++)
        for (int64_t h = 0; h < d->H; h++) {
            int64_t g = h / (d->H / d->G), start = t / r->n * r->n, visible = 0;
            const double *q = query(d, t, h);
            int knock = knock_of(d, h);
            double mix = !has_bank || knock == KNOCK_OFF ? 0 : isnan(r->gate) ? 1 / (1 + exp(-gate[h])) : r->gate;
            for (int64_t a = 0; a <= t; a++) {
                const double *k = key(d, a, g);
                dot[a] = dense_dot(q, k, d->E) * scale[h] / sqrt(dense_dot(q, q, d->E) + 1e-6) / sqrt(dense_dot(k, k, d->E) + 1e-6);
                score[a] = a < start - r->n ? -INFINITY : dot[a] + bias[h * 32 + bucket(t - a)];
            }
            dense_attend(d, result(d, t, h), 1 - mix, score, t + 1, g);
            for (int64_t a = 0; a < start; a++) {
                int64_t better = 0;
                for (int64_t b = start > r->memory ? start - r->memory : 0; b < start; b++)
                    better += dot[b] > dot[a] || (dot[b] == dot[a] && b < a);
                score[a] = a < start - r->memory || better >= r->k ? -INFINITY : dot[a];
                visible += score[a] > -INFINITY;
            }
            if (visible && has_bank && knock != KNOCK_ZERO) dense_attend(d, result(d, t, h), mix, score, start, g);
        }
    free(scale);
    free(bias);
    free(gate);
    free(dot);
    free(score);
}

/* ---- comparisons ---- */

/* Heads of two layers: none, all off, all zero, one of each kind. */
static const int32_t knocked[][4] = {{0, 0, 0, 0},
                                     {KNOCK_OFF, KNOCK_OFF, KNOCK_OFF, KNOCK_OFF},
                                     {KNOCK_ZERO, KNOCK_ZERO, KNOCK_ZERO, KNOCK_ZERO},
                                     {KNOCK_OFF, 0, 0, KNOCK_ZERO},
                                     {0, KNOCK_ZERO, KNOCK_OFF, 0}};

#define SHAPE "layers=2 d_model=16 heads=2 kv_heads=2 head_dim=8 ffn=20 batch=1 vocab=11 tied=no "

/* Engine against dense, in one call and in calls of one segment; with a partial last segment. */
static void compare(struct model *m, dense_mixer mixer, const struct rule *r, int64_t segments) {
    int64_t n = m->config.segment, V = m->config.vocab, T = segments * n, at, scored = T - 2;
    int *lens = xcalloc((size_t)segments, sizeof *lens);
    for (int64_t s = 0; s < segments; s++) lens[s] = (int)(s + 1 < segments ? n : n - 2);
    struct text_batch *x = engine_text(1, segments, n, V, NULL, lens);
    struct error e;
    struct state *s = state_create(m, 1, 1, &e);
    assert_non_null(s);
    double *want = dense_logits(m, x->tokens, T, mixer, r), *got = engine_logits_heads(m, NULL, x, 0, segments, r->knocked);
    double error = engine_error(got, want, scored * V, 1, &at);
    if (!(error <= 1e-11))
        fail_msg("one call: logits of token %d differ by %g: %.15g, dense %.15g", (int)(at / V), error, got[at], want[at]);
    for (int64_t i = 0; i < segments; i++) {
        double *part = engine_logits_heads(m, s, x, i, 1, r->knocked);
        memcpy(got + i * n * V, part, (size_t)(n * V) * sizeof *part);
        free(part);
    }
    error = engine_error(got, want, scored * V, 1, &at);
    if (!(error <= 1e-11))
        fail_msg("call by call: logits of token %d differ by %g: %.15g, dense %.15g", (int)(at / V), error, got[at], want[at]);
    free(want);
    free(got);
    free(lens);
    state_free(s);
    engine_text_free(x);
}

static struct model *filled(const char *arch, const char *options, const char *shape) {
    char *text = xprintf("%s %s", SHAPE, shape);
    struct model *m = engine_model(arch, options, text);
    engine_fill(m);
    free(text);
    return m;
}

static void transformer(void **state) {
    (void)state;
    struct model *m = filled("transformer", "window=0", "segment=5 segments=4 kv_heads=1");
    compare(m, full_mixer, &(struct rule){.n = 5}, 4);
    model_free(m);
    m = filled("transformer", "window=7", "segment=5 segments=6");
    compare(m, full_mixer, &(struct rule){.n = 5, .window = 7}, 6);
    model_free(m);
    m = filled("transformer", "window=0", "segment=5 segments=2"); /* beyond the trained length: a window of it */
    compare(m, full_mixer, &(struct rule){.n = 5, .window = 10}, 6);
    model_free(m);
}

/* With a cache of one segment, of two and a half, and of everything: full relative attention. */
static void transformer_xl(void **state) {
    (void)state;
    static const int64_t cache[] = {4, 10, 40};
    for (int i = 0; i < 3; i++) {
        char *option = xprintf("cache=%d", (int)cache[i]);
        struct model *m = filled("transformer_xl", option, "segment=4 segments=6");
        compare(m, xl_mixer, &(struct rule){.n = 4, .cache = cache[i]}, 6);
        model_free(m);
        free(option);
    }
}

/* k = all of the memory: dense attention over it; fewer: the best of the last `memory` tokens. Then the gate at its ends. Segments
 * of 80 reach all buckets. */
static void memorizing(void **state) {
    (void)state;
    static const char *const options[] = {"memory=160 topk=160", "memory=100 topk=3"};
    for (int i = 0; i < 2; i++) {
        struct model *m = filled("memorizing", options[i], "segment=80 segments=3");
        struct rule r = {.n = 80, .memory = i ? 100 : 160, .k = i ? 3 : 160, .gate = NAN};
        for (size_t k = 0; k < sizeof knocked / sizeof *knocked; k++) {
            r.knocked = knocked[k];
            compare(m, memorizing_mixer, &r, 3);
        }
        r.knocked = NULL;
        for (int end = 0; end < 2; end++) {
            double gates[2] = {end ? 1e4 : -1e4, end ? 1e4 : -1e4};
            engine_upload(m, model_find(m, "layers.0.memory_gate")->leaf.data, gates, 2);
            r.gate = end;
            compare(m, memorizing_mixer, &r, 3);
        }
        model_free(m);
    }
}

static void infini(void **state) {
    (void)state;
    static const char *const options[] = {"update=none", "update=linear", "update=delta", "update=delta_gamma"};
    for (int u = 0; u < 4; u++)
        for (int gqa = 0; gqa < 2; gqa++) {
            struct model *m = filled("infini", options[u], gqa ? "segment=4 segments=6 kv_heads=1" : "segment=4 segments=6");
            struct rule r = {.n = 4, .update = u};
            for (size_t k = 0; k < sizeof knocked / sizeof *knocked; k++) {
                r.knocked = u == MEMORY_NONE ? NULL : knocked[k];
                compare(m, infini_mixer, &r, 6);
            }
            model_free(m);
        }
    struct model *m = filled("infini", "update=linear first_segment=bypass", "segment=4 segments=6");
    for (size_t k = 0; k < sizeof knocked / sizeof *knocked; k++)
        compare(m, infini_mixer, &(struct rule){.n = 4, .update = MEMORY_LINEAR, .first_bypass = 1, .knocked = knocked[k]}, 6);
    model_free(m);
}

/* update = none is the transformer for which every segment is a document of its own, infini with the gate forced to 0, and a
 * recurrent memory transformer without memory. */
static void local_twins(void **state) {
    (void)state;
    static const int documents[] = {1, 1, 1, 1, 1}, lens[] = {4, 4, 4, 4, 4};
    const char *shape = "segment=4 segments=5 equal_parameters=no";
    struct model *none = filled("infini", "update=none", shape), *linear = filled("infini", "update=linear", shape);
    struct model *full = filled("transformer", "window=0", shape), *bare = filled("rmt", "memory_tokens=0", shape);
    struct text_batch *x = engine_text(1, 5, 4, 11, NULL, lens), *y = engine_text(1, 5, 4, 11, documents, lens);
    memcpy(y->tokens, x->tokens, 20 * sizeof *x->tokens);
    double *a = engine_logits(none, NULL, x, 0, 5, KNOCK_NONE), *b = engine_logits(linear, NULL, x, 0, 5, KNOCK_OFF);
    double *c = engine_logits(full, NULL, y, 0, 5, KNOCK_NONE), *on = engine_logits(linear, NULL, x, 0, 5, KNOCK_NONE);
    assert_true(engine_error(a, b, 20 * 11, 1, NULL) <= 1e-13);
    assert_true(engine_error(a, c, 20 * 11, 1, NULL) <= 1e-12);
    assert_true(engine_error(a, on, 20 * 11, 1, NULL) >= 1e-3);
    double *d = engine_logits(bare, NULL, x, 0, 5, KNOCK_NONE);
    assert_true(engine_error(a, d, 20 * 11, 1, NULL) <= 1e-13);
    free(d);
    free(a);
    free(b);
    free(c);
    free(on);
    engine_text_free(x);
    engine_text_free(y);
    model_free(none);
    model_free(linear);
    model_free(full);
    model_free(bare);
}

/* ---- null ---- */

/* Symbol i of the text: 1 half of the time, 2 a quarter, ... */
static void skewed_next(struct source *s, int64_t row, struct document *d) {
    static int32_t text[31];
    (void)s;
    (void)row;
    for (int i = 0; i < 31; i++) text[i] = 1 + __builtin_ctz((unsigned)(i + 1));
    *d = (struct document){.tokens = text, .n = 31, .carried = -1};
}
static char *no_save(const struct source *s) {
    (void)s;
    return xstrdup("");
}
static void no_free(struct source *s) { (void)s; }

static void null_is_a_unigram(void **state) {
    (void)state;
    struct model *m = engine_model("null", "", "segment=8 segments=4 batch=1 vocab=11");
    static struct source source = {.name = "skewed", .next = skewed_next, .save = no_save, .free = no_free};
    struct options o;
    struct train_config c;
    struct error e;
    struct step_result r = {0};
    double count[11] = {1}, entropy = 0; /* one EOS */
    for (int i = 0; i < 31; i++) count[1 + __builtin_ctz((unsigned)(i + 1))]++;
    for (int i = 0; i < 11; i++) entropy -= count[i] > 0 ? count[i] / 32 * log2(count[i] / 32) : 0;
    options_init(&o, train_options);
    train_config_from(&c, &o);
    c.lr = 0.1;
    c.decay = 0;
    c.warmup = 0;
    c.steps = 600;
    c.carry = false;
    struct trainer *t = trainer_create(m, &c, &source, &e);
    assert_non_null(t);
    for (int64_t i = 0; i < c.steps; i++)
        if (trainer_step(t, &r, &e)) fail_msg("%s", e.text);
    double bits = r.loss / log(2);
    if (!(bits >= entropy - 1e-9 && bits <= entropy + 0.02)) fail_msg("%g bits a symbol, the unigram entropy is %g", bits, entropy);
    trainer_free(t);
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transformer), cmocka_unit_test(transformer_xl), cmocka_unit_test(memorizing),
        cmocka_unit_test(infini),      cmocka_unit_test(local_twins),    cmocka_unit_test(null_is_a_unigram),
    };
    return cmocka_run_group_tests_name("f64_dense", tests, NULL, NULL);
}
