/* f64_gradients.c - gradients of the whole model by central finite differences, signed, along directions in every parameter tensor
 * and over all of them, for every architecture and all three ways of a step, through four segments. Where an architecture cuts the
 * gradient, the loss is differenced with the cached values held (every segment starts from the state of the unchanged model). */
#include "support/variants.h"
#include "ref/ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h> /* after the engine: it has a macro fail() */

#define STEPS                                                                                                                      \
    4 /* of four segments; the last one is differenced, the others only carry their state to it: rings wrap on the way             \
       */
#define SEGMENTS (4 * STEPS)

/* One step from an empty state, or the last of STEPS. */
struct setting {
    struct text_batch *x; /* the whole text */
    int64_t first;        /* segment with which the differenced step begins */
    struct state *start,
        *frozen[SEGMENTS]; /* the state at its beginning; before each of its segments, where caches are constants */
};

/* Two rows: documents that change in the last step; the text before it is one document a row. */
static void set_up(struct setting *u, struct model *m, int carried, enum crossing crossing) {
    static const int last_documents[8] = {0, 0, 0, 1, 0, 1, 0, 0}, last_lens[8] = {4, 4, 3, 4, 4, 4, 4, 2};
    int64_t n = carried ? SEGMENTS : 4;
    int documents[2 * SEGMENTS] = {0}, lens[2 * SEGMENTS];
    struct error e;
    memset(u, 0, sizeof *u);
    for (int64_t i = 0; i < 2 * n; i++) lens[i] = 4;
    for (int64_t i = 0; i < 8; i++) {
        int64_t at = i / 4 * n + n - 4 + i % 4;
        documents[at] = last_documents[i];
        lens[at] = last_lens[i];
    }
    u->x = engine_text(2, n, 4, 11, documents, lens);
    u->first = n - 4;
    struct state *s = state_create(m, 2, 4, &e), *one = state_create(m, 2, 1, &e);
    assert_non_null(s);
    assert_non_null(one);
    for (int64_t i = 0; i < n; i++) {
        if (i >= u->first && crossing == CROSS_FROZEN) {
            assert_non_null(u->frozen[i] = state_create(m, 2, 1, &e));
            for (int64_t b = 0; b < 2; b++) state_copy_row(u->frozen[i], b, one, b);
        }
        free(engine_logits(m, one, u->x, i, 1, KNOCK_NONE));
        if (i < u->first) free(engine_logits(m, s, u->x, i, 1, KNOCK_NONE));
    }
    u->start = s;
    state_free(one);
}

static void tear_down(struct setting *u) {
    for (int i = 0; i < SEGMENTS; i++)
        if (u->frozen[i]) state_free(u->frozen[i]);
    state_free(u->start);
    engine_text_free(u->x);
}

static double loss_from(struct model *m, const struct state *from, const struct text_batch *x, int64_t first, int64_t count) {
    struct error e;
    struct state *copy = state_create(m, 2, count, &e);
    assert_non_null(copy);
    for (int64_t b = 0; b < 2; b++) state_copy_row(copy, b, from, b);
    double loss = engine_loss(m, copy, x, first, count);
    state_free(copy);
    return loss;
}

/* The loss of the step as a function of the parameters in the model. */
static double loss_of(struct model *m, const struct setting *u) {
    double loss = 0;
    if (!u->frozen[u->first]) return loss_from(m, u->start, u->x, u->first, 4);
    for (int64_t i = u->first; i < u->x->segments; i++) loss += loss_from(m, u->frozen[i], u->x, i, 1);
    return loss;
}

/* Gradients of the last step, the state carried to it by the trainer itself. */
static double *gradients(struct model *m, enum step_mode mode, const struct setting *u, double *loss) {
    struct trainer *t = engine_trainer(m, mode, true, 1e-3, 10);
    for (int64_t first = 0; first <= u->first; first += 4) {
        struct text_batch *part = engine_slice(u->x, first, 4);
        struct batch b = engine_batch(part);
        struct call c = {.batch = 2, .segments = 4, .n = 4, .training = true};
        *loss = trainer_gradients(t, &b);
        for (int64_t row = 0; row < 2; row++) state_advance(t->state, &c, row);
        engine_text_free(part);
    }
    engine_trainer_free(t);
    return engine_all_gradients(m);
}

/* Compares the slope along a unit direction within [from, to) of all parameters. */
static int along(const struct variant *v, const char *what, struct model *m, const struct setting *u, double **g,
                 const double *base, int64_t from, int64_t to, int round) {
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
        loss[side] = loss_of(m, u);
    }
    slope = (loss[0] - loss[1]) / (2 * h);
    int bad = 0;
    for (int mode = 0; mode < 3; mode++) {
        double by_gradient = 0, tolerance = 1e-6 * sqrt(norm) + 2e-9;
        for (int64_t i = from; i < to; i++) by_gradient += dir[i] * g[mode][i];
        if (!(fabs(slope - by_gradient) <= tolerance)) {
            print_error("%s, %s, way %d: slope %.10g by differences, %.10g by the gradient, tolerance %.2g\n", v->name, what, mode,
                        slope, by_gradient, tolerance);
            bad = 1;
        }
    }
    free(dir);
    free(moved);
    return bad;
}

static int differences_of(const struct variant *v, int carried) {
    struct model *m = variant_model(v, "");
    struct setting u;
    double gamma[2 * 2 * 16] = {0}, *g[3], *base = engine_all_values(m), loss, by_hand;
    int bad = 0;
    set_up(&u, m, carried, v->crossing);
    by_hand = loss_of(m, &u);
    for (int mode = 0; mode < 3; mode++) {
        g[mode] = gradients(m, (enum step_mode)mode, &u, &loss);
        if (!(fabs(loss - by_hand) <= 1e-12 * by_hand)) {
            print_error("%s, way %d: the loss is %.15g, by hand %.15g\n", v->name, mode, loss, by_hand);
            bad++;
        }
    }
    if (v->crossing == CROSS_GAMMA) { /* one layer, one call: its gammas are all there are */
        ref_gamma = (struct ref_gamma){REF_GAMMA_RECORD, gamma};
        loss_of(m, &u);
        ref_gamma.mode = REF_GAMMA_REPLAY;
    }
    for (int round = 0; round < 4; round++) bad += along(v, "all parameters", m, &u, g, base, 0, m->elements, round);
    int64_t at = 0;
    for (int p = 0; p < m->param_count; at += m->params[p++]->n)
        bad += along(v, m->params[p]->name, m, &u, g, base, at, at + m->params[p]->n, 0);
    ref_gamma.mode = REF_GAMMA_FREE;
    for (int mode = 0; mode < 3; mode++) free(g[mode]);
    tear_down(&u);
    free(base);
    model_free(m);
    return bad;
}

/* In training the full transformer sees the tokens of its step and no others: what came before changes nothing (rotation is
 * relative). */
static int step_alone(const struct variant *v) {
    struct model *m = variant_model(v, "");
    struct setting u;
    double loss;
    int bad = 0;
    set_up(&u, m, 1, CROSS_FULL);
    struct text_batch *x = engine_slice(u.x, u.first, 4);
    for (int64_t i = 0; i < 8; i++)
        if (x->since[i] >= u.first * 4) x->since[i] -= (int32_t)(u.first * 4);
    for (int mode = 0; mode < 3; mode++) {
        double *g = gradients(m, (enum step_mode)mode, &u, &loss), alone = engine_gradients(m, (enum step_mode)mode, x);
        double *h = engine_all_gradients(m);
        if (!(engine_error(g, h, m->elements, 0, NULL) <= 1e-11 && fabs(loss - alone) <= 1e-12)) {
            print_error("%s, way %d: the step depends on what was before it: loss %.15g, alone %.15g\n", v->name, mode, loss,
                        alone);
            bad++;
        }
        free(g);
        free(h);
    }
    engine_text_free(x);
    tear_down(&u);
    model_free(m);
    return bad;
}

static void differences(void **state) {
    const struct variant *v = *state;
    assert_int_equal(differences_of(v, 0), 0);
    /* window = 0: the step alone in training, a window of its length at evaluation */
    assert_int_equal(strstr(v->options, "window=0") ? step_alone(v) : differences_of(v, 1), 0);
}

/* The loss of the last segment alone has a gradient to an earlier segment's token where, and only where, the architecture lets it.
 */
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

/* The size of the gradient of the loss of segment s alone, of the symbol 10, which stands in segment r and nowhere else, or of a
 * parameter. */
static double reached(struct model *m, enum step_mode mode, int s, int r, const char *param) {
    struct text_batch *x = engine_text(2, 4, 4, 11, NULL, NULL);
    for (int64_t i = 0; i < 32; i++) {
        if (x->tokens[i] == 10) x->tokens[i] = 9;
        if (i % 16 / 4 != s) x->targets[i] = -1, x->weights[i] = 0;
    }
    x->tokens[r * 4 + 2] = 10;
    engine_gradients(m, mode, x);
    engine_text_free(x);
    struct param *p = param ? model_find(m, param) : m->embed;
    double *g = engine_download(m, p->grad, p->n), sum = 0;
    for (int64_t i = param ? 0 : 10 * 16; i < (param ? p->n : 11 * 16); i++) sum += fabs(g[i]);
    free(g);
    return sum;
}

/* Memory rows pass the gradient on within a block of segments and not at all beyond it: of K + 1 segments for rmt, of two for
 * autocompressor unless it is told otherwise. The initial memory is learnt from the first block alone. */
static void blocks(void **state) {
    static const struct {
        const char *arch, *options;
        int block;
    } rows[] = {{"rmt", "memory_tokens=2 bptt=0", 1},    {"rmt", "memory_tokens=2 bptt=1", 2},
                {"rmt", "memory_tokens=2 bptt=2", 3},    {"rmt", "memory_tokens=2", 4},
                {"autocompressor", "summary=2", 2},      {"autocompressor", "summary=2 cut=3", 3},
                {"autocompressor", "summary=2 cut=4", 4}};
    int bad = 0;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct model *m = engine_model(rows[i].arch, rows[i].options, VARIANT_SHAPE);
        const char *first = strcmp(rows[i].arch, "rmt") ? NULL : "memory_init";
        engine_fill(m);
        for (int mode = 0; mode < 3; mode++)
            for (int s = 0; s < 4; s++)
                for (int r = first ? -1 : 0; r <= s; r++) { /* -1: the initial memory */
                    double size = reached(m, (enum step_mode)mode, s, r < 0 ? 0 : r, r < 0 ? first : NULL);
                    if ((r < 0 ? 0 : r) / rows[i].block == s / rows[i].block ? size > 1e-9 : size == 0) continue;
                    print_error("%s %s, way %d: the gradient of segment %d to %s of segment %d is %g\n", rows[i].arch,
                                rows[i].options, mode, s, r < 0 ? "the initial memory" : "a token", r < 0 ? 0 : r, size);
                    bad++;
                }
        model_free(m);
    }
    assert_int_equal(bad, 0);
}

/* Memory rows start independently: the authors' code of rmt repeats one random row, and equal rows stay equal where no position
 * tells them apart. */
static void rows_start_apart(void **state) {
    static const char *const rows[][3] = {{"rmt", "memory_tokens=5", "memory_init"},
                                          {"autocompressor", "summary=5", "summary_embed"}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct model *m = engine_model(rows[i][0], rows[i][1], VARIANT_SHAPE);
        struct param *p = model_find(m, rows[i][2]);
        assert_true(p && p->shape[0] == 5 && p->shape[1] == 16);
        double *x = engine_download(m, p->leaf.data, p->n), dot[5][5] = {{0}};
        for (int a = 0; a < 5; a++)
            for (int b = 0; b < 5; b++)
                for (int k = 0; k < 16; k++) dot[a][b] += x[a * 16 + k] * x[b * 16 + k];
        for (int a = 0; a < 5; a++)
            for (int b = 0; b < a; b++) assert_true(fabs(dot[a][b]) < 0.8 * sqrt(dot[a][a] * dot[b][b]));
        free(x);
        model_free(m);
    }
}

int main(void) {
    struct CMUnitTest tests[64] = {cmocka_unit_test(crossing), cmocka_unit_test(blocks), cmocka_unit_test(rows_start_apart)};
    size_t n = 3;
    for (const struct variant *v = variants; v->name; v++)
        tests[n++] = (struct CMUnitTest){v->name, differences, NULL, NULL, (void *)(uintptr_t)v};
    return _cmocka_run_group_tests("f64_gradients", tests, n, NULL, NULL);
}
