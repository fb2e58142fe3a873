/* ops_sequence.c - operations that scan the tokens of a call with a carried state: compressive memory and its gate, fast weights
 * and what stands before them, the recurrence. As in ops.c nothing allocates outside the tape's arenas, and nothing branches on
 * values. */
#include "faults.h"
#include "ops_private.h"

/* ---- compressive memory ---- */

/* Operations with two carried states: out[1], out[2] (the second may be missing) are the states after the call, in[first ..] those
 * before it. Their kernels turn the gradient of the one into that of the other, in place. */
struct carried_gradients {
    struct gout back[2];
    real *d[2]; /* NULL: there is no such state */
};

static struct carried_gradients carried_begin(struct tape *t, struct node *n, int first) {
    struct carried_gradients c = {.d = {NULL, NULL}};
    for (int i = 0; i < 2; i++) {
        struct tensor *after = n->out[1 + i];
        if (!after) continue;
        const real *arrived = tape_grad(after);
        c.back[i] = tape_grad_out(t, n->in[first + i]);
        c.d[i] = c.back[i].p && !c.back[i].beta ? c.back[i].p : tape_scratch(t, after->n);
        if (arrived)
            RUN(t, move, c.d[i], arrived, (size_t)after->n * sizeof(real));
        else
            RUN(t, fill, c.d[i], 0, after->n);
    }
    return c;
}

static void carried_end(struct tape *t, struct node *n, const struct carried_gradients *c) {
    for (int i = 0; i < 2; i++)
        if (n->out[1 + i] && c->back[i].p && c->back[i].beta) RUN(t, scale, c->back[i], c->d[i], 1.0, n->out[1 + i]->n);
}

/* The gradient of what was read; zeros where only the final state was used. */
static const real *read_gradient(struct tape *t, struct node *n) {
    const real *dout = tape_grad(n->out[0]);
    if (dout) return dout;
    real *zero = tape_scratch(t, n->out[0]->n);
    RUN(t, fill, zero, 0, n->out[0]->n);
    return zero;
}

/* in: q k v m0 z0; out: read, m1, z1; saved: m, z of all segments */
static void memory_back(struct tape *t, struct node *n) {
    const struct memory_shape *s = &n->shape.memory;
    real *tmp = tape_scratch(t, memory_tmp(s));
    struct carried_gradients c = carried_begin(t, n, 3);
    const real *dout = read_gradient(t, n);
    struct gout dq = tape_grad_out(t, n->in[0]), dk = tape_grad_out(t, n->in[1]), dv = tape_grad_out(t, n->in[2]);
    RUN(t, memory_bwd, dq, dk, dv, c.d[0], c.d[1], dout, n->saved[0], n->saved[1], n->in[0]->data, n->in[1]->data, n->in[2]->data,
        n->ints[0], n->ints[1], tmp, s);
    carried_end(t, n, &c);
}

/* The state that rows carry into a call. */
static void enter(struct tape *t, real *to, const struct tensor *from, int64_t batch) {
    int64_t row = from->n / batch, first = FAULT(other_row) ? row : 0; /* the fault: that of the next row */
    RUN(t, move, to, from->data + first, (size_t)(from->n - first) * sizeof(real));
    if (first) RUN(t, move, to + from->n - first, from->data, (size_t)first * sizeof(real));
}

struct tensor *op_memory(struct tape *t, struct tensor **m1, struct tensor **z1, struct tensor **gamma, struct tensor *q,
                         struct tensor *k, struct tensor *v, struct tensor *m0, struct tensor *z0, const int32_t *since,
                         const int32_t *len, const struct memory_shape *s) {
    begin(t);
    int64_t nm = s->batch * s->kv_heads * s->e * s->f, nz = s->batch * s->kv_heads * s->e;
    CHECK(m0->n == nm && z0->n == nz, "the memory has %lld and %lld elements, not %lld and %lld", (long long)m0->n,
          (long long)z0->n, (long long)nm, (long long)nz);
    struct tensor *y = tape_tensor2(t, "memory_read", s->batch * s->segments * s->n, s->heads * s->f);
    real *m = tape_reals(t, NULL, (s->segments + 1) * nm), *z = tape_reals(t, NULL, (s->segments + 1) * nz);
    enter(t, m, m0, s->batch);
    enter(t, z, z0, s->batch);
    real *mean = gamma ? tape_reals(t, NULL, s->batch * s->segments * s->kv_heads) : NULL;
    RUN(t, memory_fwd, y->data, m, z, mean, q->data, k->data, v->data, since, len, s);
    *m1 = tape_leaf(t, "memory", m + s->segments * nm, s->batch, nm / s->batch, false);
    *z1 = tape_leaf(t, "memory_norm", z + s->segments * nz, s->batch, nz / s->batch, false);
    if (gamma) *gamma = tape_leaf(t, "gamma", mean, s->batch * s->segments, s->kv_heads, false);
    struct node *n = RECORD("memory", memory_back, y, q, k, v, m0, z0);
    if (n) {
        n->out[1] = *m1, n->out[2] = *z1;
        (*m1)->needs_grad = (*z1)->needs_grad = true;
        n->saved[0] = m, n->saved[1] = z, n->ints[0] = since, n->ints[1] = len, n->shape.memory = *s;
    }
    return y;
}

/* ---- fast weights ---- */

/* in: q k v beta decay m0 z0; out: read, m1, z1; saved: m, z of all segments */
static void fast_weight_back(struct tape *t, struct node *n) {
    const struct fast_weight_shape *s = &n->shape.fast_weight;
    struct gout d[5];
    real *tmp = tape_scratch(t, fast_weight_tmp(s));
    struct carried_gradients c = carried_begin(t, n, 5);
    const real *dout = read_gradient(t, n);
    for (int i = 0; i < 5; i++) d[i] = tape_grad_out(t, n->in[i]);
    RUN(t, fast_weight_bwd, d[0], d[1], d[2], d[3], d[4], c.d[0], c.d[1], dout, n->saved[0], n->saved[1], n->in[0]->data,
        n->in[1]->data, n->in[2]->data, values(n->in[3]), values(n->in[4]), n->ints[0], n->ints[1], tmp, s);
    carried_end(t, n, &c);
}

struct tensor *op_fast_weight(struct tape *t, struct tensor **m1, struct tensor **z1, struct tensor *q, struct tensor *k,
                              struct tensor *v, struct tensor *beta, struct tensor *decay, struct tensor *m0, struct tensor *z0,
                              const int32_t *since, const int32_t *len, const struct fast_weight_shape *s) {
    begin(t);
    int64_t nm = s->batch * s->kv_heads * s->e * s->f, nz = s->batch * s->kv_heads * s->e;
    CHECK(m0->n == nm && (!z0 || z0->n == nz), "the fast weights have %lld elements, not %lld", (long long)m0->n, (long long)nm);
    CHECK((s->rule == FAST_WEIGHT_SUM) == (z0 != NULL) && (s->rule == FAST_WEIGHT_SUM) == !beta,
          "'%s': the sum has a normaliser, the delta rule a write strength", q->name);
    struct tensor *y = tape_tensor2(t, "fast_weight_read", s->batch * s->segments * s->n, s->heads * s->f);
    real *m = tape_reals(t, NULL, (s->segments + 1) * nm), *z = z0 ? tape_reals(t, NULL, (s->segments + 1) * nz) : NULL;
    RUN(t, move, m, m0->data, (size_t)nm * sizeof(real));
    if (z0) RUN(t, move, z, z0->data, (size_t)nz * sizeof(real));
    RUN(t, fast_weight_fwd, y->data, m, z, q->data, k->data, v->data, values(beta), values(decay), since, len, s);
    *m1 = tape_leaf(t, "fast_weight", m + s->segments * nm, s->batch, nm / s->batch, false);
    if (z0) *z1 = tape_leaf(t, "fast_weight_norm", z + s->segments * nz, s->batch, nz / s->batch, false);
    struct node *n = RECORD("fast_weight", fast_weight_back, y, q, k, v, beta, decay, m0, z0);
    if (n) {
        n->out[1] = *m1, (*m1)->needs_grad = true;
        if (z0) n->out[2] = *z1, (*z1)->needs_grad = true;
        n->saved[0] = m, n->saved[1] = z, n->ints[0] = since, n->ints[1] = len, n->shape.fast_weight = *s;
    }
    return y;
}

/* in: x w tail0; out: y, tail1; saved: tails of all segments */
static void short_conv_back(struct tape *t, struct node *n) {
    const struct short_conv_shape *s = &n->shape.conv;
    real *tmp = tape_scratch(t, short_conv_tmp(s));
    struct carried_gradients c = carried_begin(t, n, 2);
    const real *dout = read_gradient(t, n);
    struct gout dx = tape_grad_out(t, n->in[0]), dw = tape_grad_out(t, n->in[1]);
    RUN(t, short_conv_bwd, dx, dw, c.d[0], dout, n->saved[0], n->in[0]->data, n->in[1]->data, n->ints[0], n->ints[1], tmp, s);
    carried_end(t, n, &c);
}

struct tensor *op_short_conv(struct tape *t, struct tensor **tail1, struct tensor *x, struct tensor *w, struct tensor *tail0,
                             const int32_t *since, const int32_t *len, const struct short_conv_shape *s) {
    begin(t);
    int64_t one = s->batch * (s->size - 1) * s->width;
    CHECK(w->n == s->size * s->width && (tail0 ? tail0->n == one : one == 0), "'%s' does not fit a convolution over %lld tokens",
          w->name, (long long)s->size);
    struct tensor *y = tape_tensor(t, "short_conv", x->rank, x->shape);
    real *tail = tail0 ? tape_reals(t, NULL, (s->segments + 1) * one) : NULL;
    if (tail0) RUN(t, move, tail, tail0->data, (size_t)one * sizeof(real));
    RUN(t, short_conv_fwd, y->data, tail, x->data, w->data, since, len, s);
    if (tail0) *tail1 = tape_leaf(t, tail0->name, tail + s->segments * one, s->batch, one / s->batch, false);
    struct node *n = RECORD("short_conv", short_conv_back, y, x, w, tail0);
    if (n) {
        if (tail0) n->out[1] = *tail1, (*tail1)->needs_grad = true;
        n->saved[0] = tail, n->ints[0] = since, n->ints[1] = len, n->shape.conv = *s;
    }
    return y;
}

static void feature_back(struct tape *t, struct node *n) {
    struct gout dx = tape_grad_out(t, n->in[0]);
    RUN(t, feature_bwd, dx, tape_grad(n->out[0]), n->in[0]->data, n->flag, n->size[0], n->size[1]);
}

struct tensor *op_feature(struct tape *t, struct tensor *x, bool normalised, int64_t e) {
    begin(t);
    struct tensor *y = tape_tensor(t, "features", x->rank, x->shape);
    RUN(t, feature_fwd, y->data, x->data, normalised, x->n / e, e);
    struct node *n = RECORD("feature", feature_back, y, x);
    if (n) n->flag = normalised, n->size[0] = x->n / e, n->size[1] = e;
    return y;
}

static void sigmoid_back(struct tape *t, struct node *n) {
    struct gout dx = tape_grad_out(t, n->in[0]);
    RUN(t, sigmoid_bwd, dx, tape_grad(n->out[0]), n->in[0]->data, n->out[0]->n);
}

struct tensor *op_sigmoid(struct tape *t, struct tensor *x) {
    begin(t);
    struct tensor *y = tape_tensor(t, "sigmoid", x->rank, x->shape);
    RUN(t, sigmoid_fwd, y->data, x->data, x->n);
    RECORD("sigmoid", sigmoid_back, y, x);
    return y;
}

static void decay_back(struct tape *t, struct node *n) {
    int64_t heads = n->in[1]->n;
    real *tmp = tape_scratch(t, 2 * KERNEL_PARTIALS * heads);
    struct gout d[3];
    for (int i = 0; i < 3; i++) d[i] = tape_grad_out(t, n->in[i]);
    RUN(t, decay_bwd, d[0], d[1], d[2], tape_grad(n->out[0]), n->in[0]->data, n->in[1]->data, n->in[2]->data, tmp,
        n->out[0]->n / heads, heads);
}

struct tensor *op_decay(struct tape *t, struct tensor *x, struct tensor *log_rate, struct tensor *bias) {
    begin(t);
    struct tensor *y = tape_tensor(t, "decay", x->rank, x->shape);
    RUN(t, decay_fwd, y->data, x->data, log_rate->data, bias->data, x->n / bias->n, bias->n);
    RECORD("decay", decay_back, y, x, log_rate, bias);
    return y;
}

/* ---- the gate between memory and local attention ---- */

static void mix_back(struct tape *t, struct node *n) {
    int64_t *z = n->size;
    real *tmp = tape_scratch(t, KERNEL_PARTIALS * z[3]);
    struct gout dm = tape_grad_out(t, n->in[0]), dl = tape_grad_out(t, n->in[1]), db = tape_grad_out(t, n->in[2]);
    RUN(t, mix_bwd, dm, dl, db, tape_grad(n->out[0]), n->in[0]->data, n->in[1]->data, n->in[2]->data, n->ints[0], n->flag, tmp,
        z[0], z[1], z[2], z[3], z[4]);
}

struct tensor *op_mix(struct tape *t, struct tensor *mem, struct tensor *local, struct tensor *beta, const int32_t *since,
                      const int32_t *knocked, int mode, int64_t batch, int64_t segments, int64_t n, int64_t heads) {
    CHECK(!knocked || !t->record, "heads are knocked out at evaluation only");
    begin(t);
    int64_t e = mem->n / (batch * segments * n * heads);
    struct tensor *y = tape_tensor2(t, "mix", batch * segments * n, heads * e);
    RUN(t, mix_fwd, y->data, mem->data, local->data, beta->data, since, knocked, mode, batch, segments, n, heads, e);
    struct node *o = RECORD("mix", mix_back, y, mem, local, beta);
    if (o) {
        o->ints[0] = since, o->flag = mode;
        o->size[0] = batch, o->size[1] = segments, o->size[2] = n, o->size[3] = heads, o->size[4] = e;
    }
    return y;
}

/* ---- recurrence ---- */

/* in: x0..x3 w bias h0 c0; out: y, h1, c1; saved: gates, h, c of all tokens */
static void rnn_back(struct tape *t, struct node *n) {
    const struct rnn_shape *s = &n->shape.rnn;
    int64_t tokens = s->batch * s->segments * s->n, H = s->width, state = s->batch * H;
    real *tmp = tape_scratch(t, rnn_tmp(s)), *sums = tape_scratch(t, KERNEL_PARTIALS * 4 * H), *d[2] = {NULL, NULL};
    real *da = tape_scratch(t, tokens * 4 * H);
    struct gout back[2];
    for (int i = 0; i < 2; i++) {
        const real *arrived = tape_grad(n->out[1 + i]);
        back[i] = tape_grad_out(t, n->in[6 + i]);
        if (!n->out[1 + i]) continue;
        d[i] = back[i].p && !back[i].beta ? back[i].p : tape_scratch(t, state);
        if (arrived)
            RUN(t, move, d[i], arrived, (size_t)state * sizeof(real));
        else
            RUN(t, fill, d[i], 0, state);
    }
    const real *dout = tape_grad(n->out[0]);
    if (!dout) { /* only the final state was used */
        real *zero = tape_scratch(t, n->out[0]->n);
        RUN(t, fill, zero, 0, n->out[0]->n);
        dout = zero;
    }
    struct gout dx[4];
    for (int i = 0; i < 4; i++) dx[i] = tape_grad_out(t, n->in[i]);
    struct gout dw = tape_grad_out(t, n->in[4]), db = tape_grad_out(t, n->in[5]);
    RUN(t, rnn_bwd, dx[0], dx[1], dx[2], dx[3], da, d[0], d[1], dout, n->saved[0], n->saved[1], n->saved[2], n->in[4]->data,
        n->ints[0], n->ints[1], tmp, s);
    if (dw.p) RUN(t, gemm, dw.p, da, n->saved[1], 1, 0, 1, dw.beta, rnn_rows(s), H, tokens, 4 * H, H, H);
    if (db.p) RUN(t, column_sum, db, da, sums, tokens, 4 * H);
    for (int i = 0; i < 2; i++)
        if (back[i].p && back[i].beta) RUN(t, scale, back[i], d[i], 1.0, state);
}

struct tensor *op_rnn(struct tape *t, struct tensor **h1, struct tensor **c1, struct tensor *const *x, struct tensor *w,
                      struct tensor *bias, struct tensor *h0, struct tensor *c0, const int32_t *since, const int32_t *len,
                      const struct rnn_shape *s) {
    begin(t);
    int64_t T = s->segments * s->n, state = s->batch * s->width;
    CHECK(w->n == rnn_rows(s) * s->width && bias->n == 4 * s->width && h0->n == state,
          "'%s', '%s', '%s' do not fit a state of %lld", w->name, bias->name, h0->name, (long long)s->width);
    CHECK((c0 != NULL) == (s->cell == RNN_LSTM) && (x[3] != NULL) == (s->cell == RNN_LSTM),
          "LSTM has four gates and a cell, GRU has three gates");
    struct tensor *y = tape_tensor2(t, "recurrence", s->batch * T, s->width);
    real *gates = tape_reals(t, NULL, T * 4 * state), *tmp = tape_scratch(t, rnn_tmp(s));
    real *h = tape_reals(t, NULL, (T + 1) * state), *c = c0 ? tape_reals(t, NULL, (T + 1) * state) : NULL;
    RUN(t, move, h, h0->data, (size_t)state * sizeof(real));
    if (c0) RUN(t, move, c, c0->data, (size_t)state * sizeof(real));
    RUN(t, rnn_fwd, y->data, gates, h, c, x[0]->data, x[1]->data, x[2]->data, x[3] ? x[3]->data : NULL, w->data, bias->data, since,
        len, tmp, s);
    *h1 = tape_leaf(t, h0->name, h + T * state, s->batch, s->width, false);
    if (c0) *c1 = tape_leaf(t, c0->name, c + T * state, s->batch, s->width, false);
    struct node *n = RECORD("rnn", rnn_back, y, x[0], x[1], x[2], x[3], w, bias, h0, c0);
    if (n) {
        n->out[1] = *h1;
        (*h1)->needs_grad = true;
        if (c0) n->out[2] = *c1, (*c1)->needs_grad = true;
        n->saved[0] = gates, n->saved[1] = h, n->saved[2] = c, n->ints[0] = since, n->ints[1] = len, n->shape.rnn = *s;
    }
    return y;
}
