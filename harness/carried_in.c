/* carried_in.c - carried-in states (see carried_in.h): the filler's run and the arithmetic on its states, all by differentiable
 * operations. The multipliers are tensors: nothing here branches on them. */
#include "carried_in.h"
#include "corpus.h"

#include <stdlib.h>

struct carried_in {
    struct model *model;
    struct state *state; /* of one row; what it holds is never read: the filler is a document of its own */
    int64_t rows, step;  /* rows of the step; segments of filler in one call */
    int32_t *tokens;     /* [6 N] BOS, then the filler over and over */
    int32_t since[CARRIED_IN_SEGMENTS], len[CARRIED_IN_SEGMENTS];
    int32_t *goes_on;   /* [B] 1 where f->in is kept */
    real *once, *times; /* [B] factors of s6 and of s6 - s3 */
};

bool carried_in_possible(const struct model *m) {
    for (int i = 0; i < m->state_count; i++)
        if (m->states[i].kind != STATE_CARRIED) return false;
    return m->state_count > 0;
}

struct carried_in *carried_in_create(const struct model *m, const int32_t *filler, int64_t n, struct error *e) {
    int64_t length = m->config.segment;
    for (int64_t i = 0; filler && i < n; i++)
        if (filler[i] < 0 || filler[i] >= m->config.vocab) {
            fail(e, "the source's filler holds token %d, the vocabulary %lld", filler[i], (long long)m->config.vocab);
            return NULL;
        }
    if (filler && n < 1) {
        fail(e, "the source's filler is empty");
        return NULL;
    }
    struct carried_in *c = xcalloc(1, sizeof *c);
    c->rows = m->config.batch;
    c->step = m->config.arch->layer_major ? CARRIED_IN_SEGMENTS / 2 : 1;
    c->tokens = xcalloc((size_t)(CARRIED_IN_SEGMENTS * length), sizeof *c->tokens);
    c->goes_on = xcalloc((size_t)c->rows, sizeof *c->goes_on);
    c->once = xcalloc((size_t)c->rows, sizeof *c->once);
    c->times = xcalloc((size_t)c->rows, sizeof *c->times);
    for (int64_t i = 0; i < CARRIED_IN_SEGMENTS * length; i++) c->tokens[i] = i == 0 ? TOKEN_BOS : filler ? filler[(i - 1) % n] : 0;
    for (int64_t s = 0; s < CARRIED_IN_SEGMENTS; s++) {
        c->since[s] = (int32_t)(s * length);
        c->len[s] = (int32_t)length;
    }
    return c;
}

int carried_in_open(struct carried_in *c, struct model *m, struct error *e) {
    if (c->state) state_free(c->state);
    c->model = m;
    c->state = m ? state_create(m, 1, c->step, e) : NULL;
    return c->state || !m ? 0 : -1;
}

void carried_in_free(struct carried_in *c) {
    if (!c) return;
    if (c->state) state_free(c->state);
    free(c->tokens);
    free(c->goes_on);
    free(c->once);
    free(c->times);
    free(c);
}

size_t carried_in_bytes(const struct model *m) {
    return state_need(m, 1, m->config.arch->layer_major ? CARRIED_IN_SEGMENTS / 2 : 1);
}

/* The carried tensors after 3 and after 6 segments of filler. */
static void run_filler(struct carried_in *c, struct tape *t, struct tensor **half, struct tensor **whole) {
    struct forward f, previous;
    int64_t n = c->model->config.segment;
    for (int64_t first = 0; first < CARRIED_IN_SEGMENTS; first += c->step) {
        struct call call = {.batch = 1,
                            .segments = c->step,
                            .n = n,
                            .tokens = c->tokens + first * n,
                            .since = c->since + first,
                            .len = c->len + first,
                            .training = true};
        forward_begin(&f, t, c->state, &call);
        if (first) forward_chain(&f, &previous);
        model_forward(&f, false);
        previous = f;
        struct tensor **to = first + c->step == CARRIED_IN_SEGMENTS / 2 ? half
                             : first + c->step == CARRIED_IN_SEGMENTS   ? whole
                                                                        : NULL;
        for (int i = 0; to && i < c->model->state_count; i++) {
            CHECK(f.out[i], "'%s' was not written", c->model->states[i].name);
            to[i] = f.out[i];
        }
    }
}

void carried_in_start(struct carried_in *c, struct forward *f, const double *multiplier, const int32_t *since) {
    static const real plus = 1, minus = -1;
    struct tape *t = f->tape;
    int count = c->model->state_count;
    struct tensor **s3 = (struct tensor **)tape_pointers(t, count), **s6 = (struct tensor **)tape_pointers(t, count);
    run_filler(c, t, s3, s6);
    for (int64_t b = 0; b < c->rows && !t->dry; b++) {
        bool given = multiplier && multiplier[b] >= 0;
        c->goes_on[b] = !given && since[b * f->segments] > 0;
        c->once[b] = given;
        c->times[b] = given ? (real)multiplier[b] : 0;
    }
    const int32_t *goes_on = tape_ints(t, c->goes_on, c->rows);
    const real *a = tape_reals(t, &plus, 1), *b = tape_reals(t, &minus, 1);
    struct tensor *once = tape_leaf(t, "carried_in", tape_reals(t, c->once, c->rows), c->rows, 1, false);
    struct tensor *times = tape_leaf(t, "multiplier", tape_reals(t, c->times, c->rows), c->rows, 1, false);
    for (int i = 0; i < count; i++) {
        const int64_t column[2] = {s6[i]->n, 1}; /* the one row of the filler goes to all rows as a product of rank one */
        struct tensor *period = op_axpby(t, a, s6[i], b, s3[i], 1);
        struct tensor *old = op_reset_rows(t, f->in[i], NULL, goes_on, 1, c->rows);
        struct tensor *start = op_linear(t, once, op_reshape(t, s6[i], 2, column), old);
        f->in[i] = op_linear(t, times, op_reshape(t, period, 2, column), start);
    }
}

int32_t carried_in_since(double m, int64_t n) {
    double segments = CARRIED_IN_SEGMENTS + CARRIED_IN_SEGMENTS / 2 * m, most = (double)((1 << 30) / n);
    return (int32_t)((int64_t)(segments < most ? segments : most) * n);
}

double carried_in_flops(const struct model_config *c) {
    double sum = 0, head = 2 * (double)c->d * (double)c->vocab;
    for (int64_t s = 0; s < CARRIED_IN_SEGMENTS; s++) sum += 3 * (double)c->segment * (model_flops(c, s * c->segment, true) - head);
    return sum;
}
