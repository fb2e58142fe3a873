/* f64_carried.c - steps that start from carried-in states, in double precision: the step is the arithmetic on states that it claims
 * to be, its gradient is that of finite differences through the filler, a linear memory starts as if it had read the filler that
 * long, and rows that start from the empty state keep their bits. */
#include "harness/corpus.h"
#include "support/filler.h"
#include "support/variants.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define VOCAB 11
#define N 4
#define ROWS 4
static const int32_t filler[6] = {3, 1, 7, 2, 9, 5}; /* half of 3 segments: two periods */
#define TEXT (48 * N)                                /* of the text: at most 14 periods of 3 segments after 6 segments */
static int32_t text[TEXT], turned[TEXT];             /* turned: from where it is read the first time */
static const struct variant tried[] = {
    {"linear", "infini", "update=linear", "", CROSS_FULL},
    {"delta", "infini", "update=delta", "", CROSS_FULL},
    {"linear gqa", "infini", "update=linear", "kv_heads=1", CROSS_FULL},
    {"delta bypass", "infini", "update=delta first_segment=bypass", "", CROSS_FULL},
};
#define TRIED ((int)(sizeof tried / sizeof *tried))

/* Two steps of four rows: row 0 starts from m in the second, row 1 goes on from the first, row 2 starts empty in both, row 3
 * starts from m / 2 in the first and goes on in the second. Documents change within the second step. */
struct setting {
    struct text_batch *x[2];
    double carried[2][ROWS];
    struct state *read; /* row 0 starts from this state of the text instead, NULL: from the filler's */
    struct state *more; /* and with it 6 more segments of the text, read with the parameters as they are */
    int64_t segments;   /* of the text in it */
};

static void set_up(struct setting *u, double m) {
    static const int starts[ROWS * 4] = {0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    static const int lens[ROWS * 4] = {4, 3, 4, 4, 4, 4, 4, 2, 4, 2, 4, 4, 4, 4, 4, 4};
    u->x[0] = engine_text(ROWS, 4, N, VOCAB, NULL, NULL);
    u->x[1] = engine_text(ROWS, 4, N, VOCAB, starts, lens);
    const double carried[2][ROWS] = {{-1, -1, -1, m / 2}, {m, -1, -1, -1}};
    memcpy(u->carried, carried, sizeof carried);
    u->read = u->more = NULL;
    for (int row = 1; row < ROWS; row += 2) /* they go on: the text before was one step */
        for (int s = 0; s < 4 && u->x[1]->since[row * 4 + s] == s * N; s++) u->x[1]->since[row * 4 + s] += 4 * N;
}

static void tear_down(struct setting *u) {
    state_free(u->read);
    state_free(u->more);
    engine_text_free(u->x[0]);
    engine_text_free(u->x[1]);
}

/* The state of one row after `segments` segments of filler, read as a document. */
static struct state *after_filler(struct model *m, const int32_t *tokens, int64_t period, int64_t segments) {
    struct error e;
    struct text_batch *x = engine_text(1, segments, N, VOCAB, NULL, NULL);
    struct state *s = state_create(m, 1, segments, &e);
    assert_non_null(s);
    for (int64_t i = 1; i < segments * N; i++) x->tokens[i] = tokens[(i - 1) % period];
    free(engine_logits(m, s, x, 0, segments, KNOCK_NONE));
    engine_text_free(x);
    return s;
}

/* s6 + m (s6 - s3) into a row, by hand. */
static void put_state(struct state *to, int64_t row, double m, const int32_t *tokens, int64_t period) {
    struct state *s3 = after_filler(to->model, tokens, period, 3), *s6 = after_filler(to->model, tokens, period, 6);
    for (int i = 0; i < to->model->state_count; i++) {
        int64_t w = to->model->states[i].width;
        for (int64_t j = 0; j < w; j++)
            to->data[i][row * w + j] = (real)(s6->data[i][j] + m * (double)(s6->data[i][j] - s3->data[i][j]));
    }
    state_free(s3);
    state_free(s6);
}

/* The state after the sample of the text that the trainer takes for row 0, from u->read on. */
static struct state *after_sample(struct model *m, const struct setting *u) {
    struct error e;
    struct text_batch *x = engine_text(1, 6, N, VOCAB, NULL, NULL);
    struct state *s = state_create(m, 1, 6, &e);
    assert_non_null(s);
    state_copy_row(s, 0, u->read, 0);
    for (int64_t i = 0; i < 6 * N; i++) x->tokens[i] = text[(carried_in_sample(0, 0, TEXT) + i) % TEXT];
    for (int64_t j = 0; j < 6; j++) x->since[j] = (int32_t)((u->segments + j) * N);
    free(engine_logits(m, s, x, 0, 6, KNOCK_NONE));
    engine_text_free(x);
    return s;
}

/* Row `row` of step `step` as it has to start. */
static void start_row(struct state *s, const struct setting *u, int step, int64_t row) {
    if (row == 0 && u->read) {
        state_copy_row(s, 0, u->read, 0);
        struct state *more = u->more ? after_sample(s->model, u) : NULL;
        for (int i = 0; more && i < s->model->state_count; i++)
            for (int64_t j = 0; j < s->model->states[i].width; j++)
                s->data[i][j] += (real)((double)u->segments / 6 * (double)(more->data[i][j] - u->more->data[i][j]));
        state_free(more);
    } else
        put_state(s, row, u->carried[step][row], filler, 6);
}

/* The loss of the second step by hand: from states that are computed outside the trainer. */
static double loss_by_hand(struct model *m, const struct setting *u) {
    struct error e;
    struct state *s = state_create(m, ROWS, 4, &e);
    double loss = 0;
    assert_non_null(s);
    for (int step = 0; step < 2; step++) {
        struct text_batch *x = engine_slice(u->x[step], 0, 4);
        for (int64_t row = 0; row < ROWS; row++) {
            if (!(u->carried[step][row] >= 0)) continue;
            start_row(s, u, step, row);
            for (int j = 0; j < 4 && u->x[step]->since[row * 4 + j] == j * N; j++) x->since[row * 4 + j] += 24;
        }
        loss = engine_loss(m, s, x, 0, 4);
        engine_text_free(x);
    }
    state_free(s);
    return loss;
}

static double most; /* of the text */
static struct trainer *open_trainer(struct model *m, enum step_mode mode, bool with_filler, bool with_text) {
    struct options o;
    struct train_config c;
    struct error e;
    options_init(&o, train_options);
    train_config_from(&c, &o);
    c.mode = mode;
    struct source *s = filler_source(15, VOCAB, with_filler ? filler : NULL, 6, (double[]){-1}, 1);
    if (with_text) s->texts[s->text_count++] = (struct carried_text){text, TEXT, most};
    struct trainer *t = trainer_create(m, &c, s, &e);
    if (!t) fail_msg("%s", e.text);
    assert_true((t->carried_in != NULL) == with_filler);
    s->free(s); /* trainer_gradients reads batches of our own */
    return t;
}

/* Loss of the second step; its gradients, malloc'd. */
static double *by_trainer(struct model *m, enum step_mode mode, bool with_filler, struct setting *u, double *loss) {
    struct trainer *t = open_trainer(m, mode, with_filler, u->read != NULL);
    for (int step = 0; step < 2; step++) {
        struct error e;
        struct batch b = engine_batch(u->x[step]);
        int from[ROWS] = {u->read != NULL};
        double carried[ROWS];
        memcpy(carried, u->carried[step], sizeof carried);
        b.carried = carried;
        b.text = from;
        double flops = with_filler ? carried_in_prepare(t->carried_in, 0, &b, &e) : 0; /* each step reads as the first does */
        assert_true(u->read ? flops > 0 : flops == 0);
        if (u->read && step) assert_true(carried[0] == fmin(u->carried[1][0], most ? most : 14)); /* the longest that there is */
        *loss = trainer_gradients(t, &b);
    }
    trainer_free(t);
    return engine_all_gradients(m);
}

/* ---- the step is what it claims to be, and so is its gradient ---- */

/* The gradient by the trainer is that of the second step alone: what it starts from is held, but for the row that starts anew. */
static double held_loss(struct model *m, const struct setting *u, const struct state *start) {
    struct error e;
    struct state *s = state_create(m, ROWS, 4, &e);
    struct text_batch *x = engine_slice(u->x[1], 0, 4);
    assert_non_null(s);
    for (int64_t b = 0; b < ROWS; b++) state_copy_row(s, b, start, b);
    for (int64_t row = 0; row < ROWS; row++) {
        if (!(u->carried[1][row] >= 0)) continue;
        start_row(s, u, 1, row);
        for (int j = 0; j < 4 && u->x[1]->since[row * 4 + j] == j * N; j++) x->since[row * 4 + j] += 24;
    }
    double loss = engine_loss(m, s, x, 0, 4);
    engine_text_free(x);
    state_free(s);
    return loss;
}

static double worst; /* of |slope - gradient| / norm */

static int along(const char *what, struct model *m, const struct setting *u, const struct state *start, double **g,
                 const double *base, int64_t from, int64_t to, int round) {
    double h = 2e-5, size = 0, norm = 0, loss[2];
    double *dir = xcalloc((size_t)m->elements, sizeof *dir), *moved = xcalloc((size_t)m->elements, sizeof *moved);
    for (int64_t i = from; i < to; i++) {
        dir[i] = formula_uniform("carried direction", i + round * m->elements);
        size += dir[i] * dir[i];
        norm += g[0][i] * g[0][i];
    }
    for (int64_t i = from; i < to; i++) dir[i] /= sqrt(size);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < m->elements; i++) moved[i] = base[i] + (side ? -h : h) * dir[i];
        engine_set_values(m, moved);
        loss[side] = held_loss(m, u, start);
    }
    engine_set_values(m, base);
    double slope = (loss[0] - loss[1]) / (2 * h);
    int bad = 0;
    for (int mode = 0; mode < 2; mode++) {
        double by_gradient = 0, tolerance = 1e-6 * sqrt(norm) + 2e-9;
        for (int64_t i = from; i < to; i++) by_gradient += dir[i] * g[mode][i];
        worst = fmax(worst, fabs(slope - by_gradient) / (sqrt(norm) + 2e-3));
        if (!(fabs(slope - by_gradient) <= tolerance)) {
            print_error("%s, way %d: slope %.10g by differences, %.10g by the gradient, tolerance %.2g\n", what, mode, slope,
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
    static const double multipliers[] = {0, 3, 500};
    int bad = 0;
    worst = 0;
    for (int k = 0; k < 6; k++) {
        struct model *m = variant_model(v, "batch=4");
        struct setting u;
        struct error e;
        double *g[2], *base = engine_all_values(m), loss;
        set_up(&u, multipliers[k % 3]);
        most = k == 5 ? 7 : 0;
        u.segments = 6 + 3 * (int64_t)fmin(multipliers[k % 3], most ? most : 14);
        if (k >= 3) {
            u.read = after_filler(m, turned, TEXT, u.segments);
            u.more = after_sample(m, &u);
        }
        double by_hand = loss_by_hand(m, &u);
        for (int mode = 0; mode < 2; mode++) {
            g[mode] = by_trainer(m, (enum step_mode)mode, true, &u, &loss);
            if (!(fabs(loss - by_hand) <= 1e-12 * by_hand)) {
                print_error("%s, m = %g, way %d: the loss is %.15g, by hand %.15g\n", v->name, multipliers[k % 3], mode, loss,
                            by_hand);
                bad++;
            }
        }
        struct state *start = state_create(m, ROWS, 4, &e);
        assert_non_null(start);
        put_state(start, 3, u.carried[0][3], filler, 6);
        struct text_batch *x = engine_slice(u.x[0], 0, 4);
        for (int j = 0; j < 4; j++) x->since[3 * 4 + j] += 24;
        free(engine_logits(m, start, x, 0, 4, KNOCK_NONE));
        engine_text_free(x);
        for (int round = 0; round < 4; round++) bad += along(v->name, m, &u, start, g, base, 0, m->elements, round);
        int64_t at = 0;
        for (int p = 0; p < m->param_count; at += m->params[p++]->n)
            bad += along(m->params[p]->name, m, &u, start, g, base, at, at + m->params[p]->n, 0);
        state_free(start);
        tear_down(&u);
        free(base);
        free(g[0]);
        free(g[1]);
        model_free(m);
    }
    print_message("%s: the largest |difference - gradient| / |gradient| is %.2g\n", v->name, worst);
    assert_int_equal(bad, 0);
}

/* A token that stands in the filler alone gets a gradient exactly where a row starts from the filler's state. */
static void gradient_reaches_the_filler(void **state) {
    (void)state;
    for (int k = 0; k < TRIED; k++)
        for (int given = 0; given < 2; given++) {
            struct model *m = variant_model(&tried[k], "batch=4");
            struct setting u;
            double loss, sum = 0;
            set_up(&u, 3);
            u.carried[1][0] = given ? 3 : -1;
            for (int step = 0; step < 2; step++)
                for (int i = 0; i < ROWS * 16; i++)
                    if (u.x[step]->tokens[i] == 7) u.x[step]->tokens[i] = 8;
            free(by_trainer(m, STEP_LAYER_MAJOR, true, &u, &loss));
            double *g = engine_download(m, m->embed->grad, m->embed->n);
            for (int i = 0; i < 16; i++) sum += fabs(g[7 * 16 + i]);
            if (!(given ? sum > 1e-6 : sum == 0)) fail_msg("%s, given %d: %g", tried[k].name, given, sum);
            free(g);
            tear_down(&u);
            model_free(m);
        }
}

/* ---- against an explicit long run ---- */

static void shut_gates(struct model *m) {
    for (int l = 0; l < m->config.layers; l++) {
        struct param *p = layer_param(m, l, "beta");
        double *v = xcalloc((size_t)p->n, sizeof *v);
        for (int64_t i = 0; i < p->n; i++) v[i] = -60;
        engine_upload(m, p->leaf.data, v, p->n);
        free(v);
    }
}

/* Largest difference of layer l's states between s6 + m (s6 - s3) and reading 6 + 3 m segments, relative to the largest element. */
static double gap(struct model *m, int l, int64_t multiplier, const int32_t *tokens, int64_t period) {
    struct error e;
    struct state *made = state_create(m, 1, 1, &e), *read = after_filler(m, tokens, period, 6 + 3 * multiplier);
    double largest = 0;
    assert_non_null(made);
    put_state(made, 0, (double)multiplier, tokens, period);
    for (int i = 0; i < m->state_count; i++)
        if (m->states[i].layer == l) {
            double *a = engine_download(m, made->data[i], m->states[i].width),
                   *b = engine_download(m, read->data[i], m->states[i].width);
            largest = fmax(largest, engine_error(a, b, m->states[i].width, 0, NULL));
            free(a);
            free(b);
        }
    state_free(made);
    state_free(read);
    return largest;
}

static void equals_a_long_run(void **state) {
    (void)state;
    static const int64_t multipliers[] = {0, 1, 7, 60};
    struct model *m = variant_model(&tried[0], "batch=4"), *shut = variant_model(&tried[0], "batch=4");
    shut_gates(shut);
    for (int k = 0; k < 4; k++) {
        double first = gap(m, 0, multipliers[k], filler, 6), second = gap(m, 1, multipliers[k], filler, 6);
        double local = gap(shut, 1, multipliers[k], filler, 6), other = gap(m, 0, multipliers[k], filler, 5);
        print_message("linear, m = %d: layer 0 %.2g, layer 1 %.2g, with the gates shut %.2g; another period, layer 0 %.2g\n",
                      (int)multipliers[k], first, second, local, other);
        assert_true(first <= 1e-12); /* sums over keys and values of tokens: exactly periodic */
        assert_true(local <= 1e-12); /* the layers above as well, where the memory does not speak */
        assert_true(second <= 0.05); /* otherwise its reads still drift towards the filler's average */
        assert_true(k == 0 ? other <= 1e-12 : other > 1e-4 || multipliers[k] % 5 == 0); /* 12 tokens are no whole periods of 5 */
    }
    /* one layer: the training step is a step after the long document, to the last bit of rounding */
    struct model *one = variant_model(&tried[0], "batch=4 layers=1");
    struct setting u;
    struct error e;
    double loss;
    set_up(&u, 7);
    u.carried[0][3] = -1;
    free(by_trainer(one, STEP_LAYER_MAJOR, true, &u, &loss));
    struct state *s = state_create(one, ROWS, 4, &e), *read = after_filler(one, filler, 6, 27);
    assert_non_null(s);
    free(engine_logits(one, s, u.x[0], 0, 4, KNOCK_NONE));
    struct text_batch *x = engine_slice(u.x[1], 0, 4);
    for (int i = 0; i < one->state_count; i++) memcpy(s->data[i], read->data[i], (size_t)one->states[i].width * sizeof(real));
    for (int j = 0; j < 4 && u.x[1]->since[j] == j * N; j++) x->since[j] += 27 * N;
    double explicit_loss = engine_loss(one, s, x, 0, 4);
    print_message("one layer: loss %.15g by the step, %.15g after 27 segments of filler\n", loss, explicit_loss);
    assert_true(fabs(loss - explicit_loss) <= 1e-12);
    engine_text_free(x);
    state_free(s);
    state_free(read);
    tear_down(&u);
    model_free(one);
    model_free(m);
    model_free(shut);
}

/* One layer and the linear rule, a text of five equal periods of 6 segments: the gradient of a row that starts from its 30 segments
 * is that of reading all of them, by differences, although only 6 are read with gradient. */
static void the_sample_is_the_whole(void **state) {
    (void)state;
    struct model *m = variant_model(&tried[0], "batch=4 layers=1");
    struct setting u;
    int32_t kept[TEXT], kept_turned[TEXT], period[6 * N];
    double loss, *base = engine_all_values(m), size = 0, norm = 0, slope[2], by_gradient = 0;
    memcpy(kept, text, sizeof text);
    memcpy(kept_turned, turned, sizeof turned);
    for (int i = 0; i < 6 * N; i++) period[i] = text[i];
    period[0] = TOKEN_BOS; /* so that the text begins as a document does */
    int64_t time = 0, at = (int64_t)(hash64(&time, sizeof time, 0) % TEXT);
    for (int64_t i = 0; i < TEXT; i++) text[i] = period[(((i - at + 1) % (6 * N)) + 6 * N) % (6 * N)];
    for (int64_t i = 0; i < TEXT; i++) turned[i] = text[(i + at) % TEXT];
    most = 8;
    set_up(&u, 8);
    u.carried[0][3] = -1;
    u.read = after_filler(m, turned, 30 * N, 30);
    double *g = by_trainer(m, STEP_LAYER_MAJOR, true, &u, &loss), *dir = xcalloc((size_t)m->elements, sizeof *dir);
    double *moved = xcalloc((size_t)m->elements, sizeof *moved);
    struct error e;
    struct state *start = state_create(m, ROWS, 4, &e);
    assert_non_null(start);
    free(engine_logits(m, start, u.x[0], 0, 4, KNOCK_NONE));
    for (int64_t i = 0; i < m->elements; i++) {
        dir[i] = formula_uniform("carried whole", i);
        size += dir[i] * dir[i];
        norm += g[i] * g[i];
    }
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < m->elements; i++) moved[i] = base[i] + (side ? -1e-5 : 1e-5) * dir[i] / sqrt(size);
        engine_set_values(m, moved);
        state_free(u.read);
        u.read = after_filler(m, turned, 30 * N, 30);
        slope[side] = held_loss(m, &u, start);
    }
    engine_set_values(m, base);
    for (int64_t i = 0; i < m->elements; i++) by_gradient += dir[i] / sqrt(size) * g[i];
    double by_differences = (slope[0] - slope[1]) / 2e-5;
    print_message("one layer: slope %.12g by reading all of the text, %.12g by the sample\n", by_differences, by_gradient);
    assert_true(fabs(by_differences - by_gradient) <= 1e-6 * sqrt(norm));
    memcpy(text, kept, sizeof text);
    memcpy(turned, kept_turned, sizeof turned);
    state_free(start);
    tear_down(&u);
    free(base);
    free(dir);
    free(moved);
    free(g);
    model_free(m);
}

/* ---- rows that start from the empty state, or go on ---- */

static void other_rows_keep_their_bits(void **state) {
    (void)state;
    for (int k = 0; k < TRIED; k++)
        for (int mode = 0; mode < 2; mode++)
            for (int given = 0; given < 2; given++) {
                struct model *m = variant_model(&tried[k], "batch=4");
                struct setting u;
                double loss[2], *g[2];
                set_up(&u, 3);
                u.carried[0][3] = -1;
                u.carried[1][0] = given ? 500 : -1;
                for (int i = 0; given && i < 16; i++) u.x[1]->weights[i] = 0; /* of the row that starts elsewhere */
                for (int with = 0; with < 2; with++) g[with] = by_trainer(m, (enum step_mode)mode, with, &u, &loss[with]);
                if (loss[0] != loss[1] || !engine_same(g[0], g[1], m->elements))
                    fail_msg("%s, way %d, given %d: loss %.17g and %.17g", tried[k].name, mode, given, loss[0], loss[1]);
                free(g[0]);
                free(g[1]);
                tear_down(&u);
                model_free(m);
            }
}

static int make_text(void **state) {
    (void)state;
    int64_t time = 0;
    uint64_t at = hash64(&time, sizeof time, 0) % TEXT;
    for (int64_t i = 0; i < TEXT; i++) text[i] = 1 + (int32_t)(hash64(&i, sizeof i, 5) % (VOCAB - 1));
    for (int64_t i = 0; i < TEXT; i++) turned[i] = text[(i + (int64_t)at) % TEXT];
    return 0;
}

int main(void) {
    struct CMUnitTest tests[8] = {cmocka_unit_test(gradient_reaches_the_filler), cmocka_unit_test(equals_a_long_run),
                                  cmocka_unit_test(other_rows_keep_their_bits), cmocka_unit_test(the_sample_is_the_whole)};
    size_t n = 4;
    for (int k = 0; k < TRIED; k++)
        tests[n++] = (struct CMUnitTest){tried[k].name, differences, NULL, NULL, (void *)(uintptr_t)&tried[k]};
    return _cmocka_run_group_tests("f64_carried", tests, n, make_text, NULL);
}
