/* ops.c - the differentiable operations: each calls its kernels forward and records the node whose backward calls them back.
 * Nothing here allocates outside the tape's arenas, and nothing branches on values. */
#include "ops.h"

#include <string.h>

static void begin(struct tape *t) { t->scratch.used = 0; }

static struct node *record(struct tape *t, const char *op, backward_fn backward, struct tensor *out, struct tensor *const *in,
                           int count) {
    if (!tape_wants(t, in, count)) return NULL;
    struct node *n = tape_node(t, op, backward);
    for (int i = 0; i < count; i++) n->in[i] = in[i];
    n->out[0] = out;
    out->needs_grad = true;
    return n;
}
#define RECORD(op, backward, out, ...)                                                                                             \
    record(t, op, backward, out, (struct tensor *[]){__VA_ARGS__},                                                                 \
           (int)(sizeof(struct tensor *[]){__VA_ARGS__} / sizeof(struct tensor *)))

/* ---- products and sums ---- */

static void linear_back(struct tape *t, struct node *n) {
    struct tensor *x = n->in[0], *w = n->in[1];
    const real *dy = tape_grad(n->out[0]);
    int64_t rows = n->size[0], in = n->size[1], out = n->size[2];
    struct gout dw = tape_grad_out(t, w);
    if (dw.p) RUN(t, gemm, dw.p, dy, x->data, 1, 0, 1, dw.beta, out, in, rows, out, in, in);
    struct gout dx = tape_grad_out(t, x);
    if (dx.p) RUN(t, gemm, dx.p, dy, w->data, 0, 0, 1, dx.beta, rows, in, out, out, in, in);
    tape_grad_share(t, n->in[2], n->out[0]);
}

struct tensor *op_linear(struct tape *t, struct tensor *x, struct tensor *w, struct tensor *add) {
    begin(t);
    int64_t out = w->shape[0], in = w->shape[1], rows = x->n / in;
    CHECK(rows * in == x->n, "'%s' has %lld elements, not rows of %lld ('%s')", x->name, (long long)x->n, (long long)in, w->name);
    struct tensor *y = tape_tensor2(t, w->name, rows, out);
    if (add) {
        CHECK(add->n == y->n, "'%s' does not have the shape of the product with '%s'", add->name, w->name);
        RUN(t, move, y->data, add->data, (size_t)y->n * sizeof(real));
    }
    RUN(t, gemm, y->data, x->data, w->data, 0, 1, 1, add ? 1 : 0, rows, out, in, in, in, out);
    struct node *n = RECORD("linear", linear_back, y, x, w, add);
    if (n) n->size[0] = rows, n->size[1] = in, n->size[2] = out;
    return y;
}

static void add_back(struct tape *t, struct node *n) {
    tape_grad_share(t, n->in[0], n->out[0]);
    tape_grad_share(t, n->in[1], n->out[0]);
}

struct tensor *op_add(struct tape *t, struct tensor *a, struct tensor *b) {
    begin(t);
    CHECK(a->n == b->n, "'%s' and '%s' differ in size", a->name, b->name);
    struct tensor *y = tape_tensor(t, "sum", a->rank, a->shape);
    RUN(t, add, y->data, a->data, b->data, a->n);
    RECORD("add", add_back, y, a, b);
    return y;
}

static void add_bias_back(struct tape *t, struct node *n) {
    struct tensor *b = n->in[1];
    struct gout db = tape_grad_out(t, b);
    real *tmp = tape_scratch(t, KERNEL_PARTIALS * b->n);
    if (db.p) RUN(t, column_sum, db, tape_grad(n->out[0]), tmp, n->out[0]->n / b->n, b->n);
    tape_grad_share(t, n->in[0], n->out[0]);
}

struct tensor *op_add_bias(struct tape *t, struct tensor *x, struct tensor *bias) {
    begin(t);
    struct tensor *y = tape_tensor(t, bias->name, x->rank, x->shape);
    RUN(t, add_bias, y->data, x->data, bias->data, x->n / bias->n, bias->n);
    RECORD("add_bias", add_bias_back, y, x, bias);
    return y;
}

static void scale_back(struct tape *t, struct node *n) {
    struct gout dx = tape_grad_out(t, n->in[0]);
    RUN(t, scale, dx, tape_grad(n->out[0]), n->scalar[0], n->out[0]->n);
}

struct tensor *op_scale(struct tape *t, struct tensor *x, double factor) {
    begin(t);
    struct tensor *y = tape_tensor(t, "scaled", x->rank, x->shape);
    RUN(t, scale, (struct gout){y->data, 0}, x->data, factor, x->n);
    struct node *n = RECORD("scale", scale_back, y, x);
    if (n) n->scalar[0] = factor;
    return y;
}

static void axpby_back(struct tape *t, struct node *n) {
    int64_t rows = n->size[0], width = n->out[0]->n / rows;
    for (int i = 0; i < 2; i++) {
        struct gout d = tape_grad_out(t, n->in[i]);
        if (d.p) RUN(t, rowscale, d, n->saved[i], tape_grad(n->out[0]), rows, width);
    }
}

struct tensor *op_axpby(struct tape *t, const real *a, struct tensor *x, const real *b, struct tensor *y, int64_t rows) {
    begin(t);
    CHECK(x->n == y->n && x->n % rows == 0, "'%s' and '%s' cannot be combined in %lld rows", x->name, y->name, (long long)rows);
    struct tensor *z = tape_tensor(t, "combination", x->rank, x->shape);
    RUN(t, axpby, z->data, a, x->data, b, y->data, rows, x->n / rows);
    struct node *n = RECORD("axpby", axpby_back, z, x, y);
    if (n) n->saved[0] = a, n->saved[1] = b, n->size[0] = rows;
    return z;
}

struct tensor *op_detach(struct tape *t, struct tensor *x) {
    struct tensor *y = tape_leaf(t, x->name, x->data, 1, x->n, false);
    y->rank = x->rank;
    memcpy(y->shape, x->shape, sizeof y->shape);
    return y;
}

static void reshape_back(struct tape *t, struct node *n) { tape_grad_share(t, n->in[0], n->out[0]); }

struct tensor *op_reshape(struct tape *t, struct tensor *x, int rank, const int64_t *shape) {
    struct tensor *y = op_detach(t, x);
    y->rank = rank;
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= y->shape[i] = shape[i];
    CHECK(n == x->n, "'%s' has %lld elements, the new shape %lld", x->name, (long long)x->n, (long long)n);
    RECORD("reshape", reshape_back, y, x);
    return y;
}

static void reset_back(struct tape *t, struct node *n) {
    struct gout dx = tape_grad_out(t, n->in[0]), di = tape_grad_out(t, n->in[1]);
    RUN(t, reset_rows_bwd, dx, di, tape_grad(n->out[0]), n->ints[0], n->size[0], n->size[1], n->out[0]->n / n->size[1]);
}

struct tensor *op_reset_rows(struct tape *t, struct tensor *x, struct tensor *init, const int32_t *since, int64_t stride,
                             int64_t batch) {
    begin(t);
    struct tensor *y = tape_tensor(t, x->name, x->rank, x->shape);
    RUN(t, reset_rows, y->data, x->data, init ? init->data : NULL, since, stride, batch, x->n / batch);
    struct node *n = RECORD("reset_rows", reset_back, y, x, init);
    if (n) n->ints[0] = since, n->size[0] = stride, n->size[1] = batch;
    return y;
}

/* One strided copy between [batch, big, width] at row `from` and [batch, rows, width]; add: the target gains the rows. */
static void copy_rows(struct tape *t, real *dst, const real *src, bool into, bool accumulate, int64_t from, int64_t rows,
                      int64_t big, int64_t batch, int64_t width) {
    for (int64_t b = 0; b < batch; b++) {
        real *d = into ? dst + (b * big + from) * width : dst + b * rows * width;
        const real *s = into ? src + b * rows * width : src + (b * big + from) * width;
        RUN(t, scale, (struct gout){d, accumulate}, s, 1.0, rows * width);
    }
}

static void concat_back(struct tape *t, struct node *n) {
    int64_t batch = n->size[0], width = n->size[1], big = n->size[2], from = 0;
    const real *dy = tape_grad(n->out[0]);
    for (int i = 0; i < 9; i++) {
        if (!n->in[i]) continue;
        int64_t rows = n->in[i]->n / (batch * width);
        struct gout d = tape_grad_out(t, n->in[i]);
        if (d.p) copy_rows(t, d.p, dy, false, d.beta, from, rows, big, batch, width);
        from += rows;
    }
}

struct tensor *op_concat_rows(struct tape *t, struct tensor *const *parts, int count, int64_t batch, int64_t width) {
    begin(t);
    CHECK(count <= 9, "%d parts", count);
    int64_t big = 0, from = 0;
    for (int i = 0; i < count; i++) big += parts[i] ? parts[i]->n / (batch * width) : 0;
    struct tensor *y = tape_tensor3(t, "rows", batch, big, width);
    for (int i = 0; i < count; i++) {
        if (!parts[i]) continue;
        int64_t rows = parts[i]->n / (batch * width);
        copy_rows(t, y->data, parts[i]->data, true, false, from, rows, big, batch, width);
        from += rows;
    }
    struct node *n = record(t, "concat_rows", concat_back, y, parts, count);
    if (n) n->size[0] = batch, n->size[1] = width, n->size[2] = big;
    return y;
}

static void slice_back(struct tape *t, struct node *n) {
    int64_t batch = n->size[0], width = n->size[1], big = n->size[2], from = n->size[3], rows = n->size[4];
    struct gout d = tape_grad_out(t, n->in[0]);
    if (!d.beta) RUN(t, fill, d.p, 0, n->in[0]->n);
    copy_rows(t, d.p, tape_grad(n->out[0]), true, true, from, rows, big, batch, width);
}

struct tensor *op_slice_rows(struct tape *t, struct tensor *x, int64_t from, int64_t rows, int64_t batch, int64_t width) {
    begin(t);
    int64_t big = x->n / (batch * width);
    CHECK(from >= 0 && from + rows <= big, "rows %lld..%lld of %lld", (long long)from, (long long)(from + rows), (long long)big);
    struct tensor *y = tape_tensor3(t, x->name, batch, rows, width);
    copy_rows(t, y->data, x->data, false, false, from, rows, big, batch, width);
    struct node *n = RECORD("slice_rows", slice_back, y, x);
    if (n) n->size[0] = batch, n->size[1] = width, n->size[2] = big, n->size[3] = from, n->size[4] = rows;
    return y;
}

/* ---- normalisation ---- */

/* size: rows, width; in: a (b) w; out[0] = norm, out[1] = sum (add_rmsnorm) */
static void rmsnorm_back(struct tape *t, struct node *n) {
    int64_t rows = n->size[0], width = n->size[1];
    struct tensor *x = n->in[0], *w = n->in[1];
    real *tmp = tape_scratch(t, KERNEL_PARTIALS * width);
    struct gout dx = tape_grad_out(t, x), dw = tape_grad_out(t, w);
    RUN(t, rmsnorm_bwd, dx, dw, tape_grad(n->out[0]), x->data, w->data, n->saved[0], NULL, tmp, rows, width);
}

struct tensor *op_rmsnorm(struct tape *t, struct tensor *x, struct tensor *w, double eps) {
    begin(t);
    int64_t width = w->n, rows = x->n / width;
    struct tensor *y = tape_tensor2(t, w->name, rows, width);
    real *rstd = tape_reals(t, NULL, rows);
    RUN(t, rmsnorm_fwd, y->data, rstd, x->data, w->data, eps, rows, width);
    struct node *n = RECORD("rmsnorm", rmsnorm_back, y, x, w);
    if (n) n->size[0] = rows, n->size[1] = width, n->saved[0] = rstd;
    return y;
}

/* The gradient of the sum is what came by the residual path plus what comes back through the norm; both summands get it. It is made
 * in place of the residual gradient when nobody else holds that. */
static void add_rmsnorm_back(struct tape *t, struct node *n) {
    int64_t rows = n->size[0], width = n->size[1];
    struct tensor *y = n->out[0], *sum = n->out[1], *w = n->in[2];
    if (tape_grad(y)) {
        real *tmp = tape_scratch(t, KERNEL_PARTIALS * width);
        struct gout dw = tape_grad_out(t, w);
        struct gout ds = tape_grad_out(t, sum); /* beta 1 where the residual path has brought something */
        RUN(t, rmsnorm_bwd, (struct gout){ds.p, 0}, dw, tape_grad(y), sum->data, w->data, n->saved[0], ds.beta ? ds.p : NULL, tmp,
            rows, width);
    }
    tape_grad_share(t, n->in[0], sum);
    tape_grad_share(t, n->in[1], sum);
}

struct tensor *op_add_rmsnorm(struct tape *t, struct tensor **sum, struct tensor *a, struct tensor *b, struct tensor *w,
                              double eps) {
    begin(t);
    int64_t width = w->n, rows = a->n / width;
    struct tensor *s = tape_tensor2(t, "residual", rows, width), *y = tape_tensor2(t, w->name, rows, width);
    real *rstd = tape_reals(t, NULL, rows);
    RUN(t, add_rmsnorm_fwd, s->data, y->data, rstd, a->data, b->data, w->data, eps, rows, width);
    struct node *n = RECORD("add_rmsnorm", add_rmsnorm_back, y, a, b, w);
    if (n) {
        n->out[1] = s;
        s->needs_grad = true;
        n->size[0] = rows, n->size[1] = width, n->saved[0] = rstd;
    }
    *sum = s;
    return y;
}

static void headnorm_back(struct tape *t, struct node *n) {
    int64_t rows = n->size[0], heads = n->size[1], e = n->size[2];
    struct tensor *x = n->in[0], *scale = n->in[1];
    real *tmp = tape_scratch(t, KERNEL_PARTIALS * heads);
    struct gout dx = tape_grad_out(t, x), ds = tape_grad_out(t, scale);
    RUN(t, headnorm_bwd, dx, ds, tape_grad(n->out[0]), x->data, scale ? scale->data : NULL, n->saved[0], tmp, rows, heads, e);
}

struct tensor *op_headnorm(struct tape *t, struct tensor *x, struct tensor *scale, double eps, int64_t heads) {
    begin(t);
    int64_t width = x->shape[x->rank - 1], rows = x->n / width, e = width / heads;
    struct tensor *y = tape_tensor2(t, "headnorm", rows, width);
    real *rinv = tape_reals(t, NULL, rows * heads);
    RUN(t, headnorm_fwd, y->data, rinv, x->data, scale ? scale->data : NULL, eps, rows, heads, e);
    struct node *n = RECORD("headnorm", headnorm_back, y, x, scale);
    if (n) n->size[0] = rows, n->size[1] = heads, n->size[2] = e, n->saved[0] = rinv;
    return y;
}

/* ---- embedding and position ---- */

static void embed_back(struct tape *t, struct node *n) {
    struct tensor *w = n->in[0];
    struct gout dw = tape_grad_out(t, w);
    RUN(t, embed_bwd, dw, tape_grad(n->out[0]), n->ints[0], n->size[0], w->shape[0], w->shape[1]);
}

struct tensor *op_embed(struct tape *t, struct tensor *table, const int32_t *ids, int64_t rows) {
    begin(t);
    struct tensor *y = tape_tensor2(t, table->name, rows, table->shape[1]);
    RUN(t, embed_fwd, y->data, table->data, ids, rows, table->shape[1]);
    struct node *n = RECORD("embed", embed_back, y, table);
    if (n) n->ints[0] = ids, n->size[0] = rows;
    return y;
}

struct tensor *op_rope_table(struct tape *t, const int32_t *pos, double base, int64_t rows, int64_t e) {
    begin(t);
    struct tensor *y = tape_tensor2(t, "rope_table", rows, e);
    RUN(t, rope_table, y->data, pos, base, rows, e);
    return y;
}

static void rope_back(struct tape *t, struct node *n) {
    struct gout dx = tape_grad_out(t, n->in[0]);
    RUN(t, rope, dx, tape_grad(n->out[0]), n->saved[0], 1, n->size[0], n->size[1], n->size[2]);
}

struct tensor *op_rope(struct tape *t, struct tensor *x, struct tensor *table, int64_t heads) {
    begin(t);
    int64_t e = table->shape[1], rows = x->n / (heads * e);
    CHECK(rows == table->shape[0], "'%s' has %lld rows, the rotation table %lld", x->name, (long long)rows,
          (long long)table->shape[0]);
    struct tensor *y = tape_tensor2(t, "rope", rows, heads * e);
    RUN(t, rope, (struct gout){y->data, 0}, x->data, table->data, 0, rows, heads, e);
    struct node *n = RECORD("rope", rope_back, y, x);
    if (n) n->saved[0] = table->data, n->size[0] = rows, n->size[1] = heads, n->size[2] = e;
    return y;
}

/* ---- feed-forward ---- */

static void swiglu_back(struct tape *t, struct node *n) {
    struct gout dg = tape_grad_out(t, n->in[0]), du = tape_grad_out(t, n->in[1]);
    RUN(t, swiglu_bwd, dg, du, tape_grad(n->out[0]), n->in[0]->data, n->in[1]->data, n->out[0]->n);
}

struct tensor *op_swiglu(struct tape *t, struct tensor *gate, struct tensor *up) {
    begin(t);
    struct tensor *y = tape_tensor(t, "swiglu", gate->rank, gate->shape);
    RUN(t, swiglu_fwd, y->data, gate->data, up->data, y->n);
    RECORD("swiglu", swiglu_back, y, gate, up);
    return y;
}

static void relu_back(struct tape *t, struct node *n) {
    struct gout dx = tape_grad_out(t, n->in[0]);
    RUN(t, relu_bwd, dx, tape_grad(n->out[0]), n->in[0]->data, n->out[0]->n);
}

struct tensor *op_relu(struct tape *t, struct tensor *x) {
    begin(t);
    struct tensor *y = tape_tensor(t, "relu", x->rank, x->shape);
    RUN(t, relu_fwd, y->data, x->data, x->n);
    RECORD("relu", relu_back, y, x);
    return y;
}

/* ---- attention ---- */

static const real *values(const struct tensor *x) { return x ? x->data : NULL; }

static void attention_back(struct tape *t, struct node *n) {
    struct tensor **in = n->in;
    struct gout d[8];
    real *tmp = tape_scratch(t, attention_tmp(&n->shape.attention));
    for (int i = 0; i < 8; i++) d[i] = tape_grad_out(t, in[i]);
    RUN(t, attention_bwd, d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], tape_grad(n->out[0]), n->out[0]->data, n->saved[0],
        in[0]->data, in[1]->data, in[2]->data, values(in[3]), values(in[4]), values(in[5]), values(in[6]), values(in[7]),
        n->ints[0], tmp, &n->shape.attention);
}

struct tensor *op_attention(struct tape *t, struct tensor *q, struct tensor *k, struct tensor *v, struct tensor *kc,
                            struct tensor *vc, struct tensor *qr, struct tensor *rel, struct tensor *bias, const int32_t *since,
                            const struct attention_shape *shape) {
    begin(t);
    int64_t rows = shape->batch * shape->queries;
    struct tensor *y = tape_tensor2(t, "attention", rows, shape->heads * shape->e);
    real *lse = tape_reals(t, NULL, rows * shape->heads);
    RUN(t, attention_fwd, y->data, lse, q->data, k->data, v->data, values(kc), values(vc), values(qr), values(rel), values(bias),
        since, shape);
    struct node *n = RECORD("attention", attention_back, y, q, k, v, kc, vc, qr, rel, bias);
    if (n) n->saved[0] = lse, n->ints[0] = since, n->shape.attention = *shape;
    return y;
}

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

struct tensor *op_memory(struct tape *t, struct tensor **m1, struct tensor **z1, struct tensor *q, struct tensor *k,
                         struct tensor *v, struct tensor *m0, struct tensor *z0, const int32_t *since, const int32_t *len,
                         const struct memory_shape *s) {
    begin(t);
    int64_t nm = s->batch * s->kv_heads * s->e * s->f, nz = s->batch * s->kv_heads * s->e;
    CHECK(m0->n == nm && z0->n == nz, "the memory has %lld and %lld elements, not %lld and %lld", (long long)m0->n,
          (long long)z0->n, (long long)nm, (long long)nz);
    struct tensor *y = tape_tensor2(t, "memory_read", s->batch * s->segments * s->n, s->heads * s->f);
    real *m = tape_reals(t, NULL, (s->segments + 1) * nm), *z = tape_reals(t, NULL, (s->segments + 1) * nz);
    RUN(t, move, m, m0->data, (size_t)nm * sizeof(real));
    RUN(t, move, z, z0->data, (size_t)nz * sizeof(real));
    RUN(t, memory_fwd, y->data, m, z, NULL, q->data, k->data, v->data, since, len, s);
    *m1 = tape_leaf(t, "memory", m + s->segments * nm, s->batch, nm / s->batch, false);
    *z1 = tape_leaf(t, "memory_norm", z + s->segments * nz, s->batch, nz / s->batch, false);
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

/* ---- rings and retrieval ---- */

void op_ring_write(struct tape *t, real *ring, struct tensor *x, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                   int64_t capacity) {
    RUN(t, ring_write, ring, x->data, head, offset, batch, rows, capacity, x->n / (batch * rows));
}

struct tensor *op_ring_read(struct tape *t, const real *ring, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                            int64_t capacity, int64_t width) {
    struct tensor *y = tape_tensor3(t, "ring", batch, rows, width);
    RUN(t, ring_read, y->data, ring, head, offset, batch, rows, capacity, width);
    return y;
}

static void retrieve_back(struct tape *t, struct node *n) {
    struct gout dq = tape_grad_out(t, n->in[0]);
    RUN(t, hits_bwd, dq, tape_grad(n->out[0]), n->saved[0], n->in[0]->data, n->saved[1], n->saved[2], n->ints[0], &n->shape.bank);
}

struct tensor *op_retrieve(struct tape *t, struct tensor *q, const real *keys, const real *vals, const int32_t *head,
                           const int32_t *since, const struct bank_shape *s) {
    begin(t);
    int64_t rows = s->batch * s->segments * s->n, hits = rows * s->heads * s->topk;
    struct tensor *y = tape_tensor2(t, "retrieved", rows, s->heads * s->e);
    int32_t *index = t->keep_mode ? tape_keep(t, (size_t)hits * sizeof *index) : tape_int_buffer(t, hits);
    real *p = tape_reals(t, NULL, hits);
    if (t->keep_mode != 2) RUN(t, topk, index, q->data, keys, head, since, s);
    RUN(t, hits_fwd, y->data, p, q->data, keys, vals, index, s);
    struct node *n = RECORD("retrieve", retrieve_back, y, q);
    if (n) n->saved[0] = p, n->saved[1] = keys, n->saved[2] = vals, n->ints[0] = index, n->shape.bank = *s;
    return y;
}

/* ---- loss ---- */

static void half_sumsq_back(struct tape *t, struct node *n) {
    struct gout d = tape_grad_out(t, n->in[0]);
    if (d.p) RUN(t, rowscale, d, tape_grad(n->out[0]), n->in[0]->data, 1, n->in[0]->n);
}

struct tensor *op_half_sumsq(struct tape *t, struct tensor *x) {
    begin(t);
    struct tensor *y = tape_tensor2(t, "half_sumsq", 1, 1);
    double *tmp = arena_take(&t->scratch, t->dry, KERNEL_PARTIALS * sizeof *tmp);
    real *sum = tape_scratch(t, 1);
    RUN(t, sumsq, sum, x->data, tmp, x->n);
    RUN(t, scale, (struct gout){y->data, 0}, sum, 0.5, 1);
    RECORD("half_sumsq", half_sumsq_back, y, x);
    return y;
}

static void xent_back(struct tape *t, struct node *n) {
    struct gout d = tape_grad_out(t, n->in[0]);
    RUN(t, xent_bwd, d, tape_grad(n->out[0]), n->in[0]->data, n->saved[0], n->ints[0], n->size[0], n->size[1]);
}

struct tensor *op_xent(struct tape *t, struct tensor *logits, const int32_t *target) {
    begin(t);
    int64_t rows = logits->shape[0], vocab = logits->shape[1];
    struct tensor *nll = tape_tensor2(t, "nll", rows, 1);
    real *lse = tape_reals(t, NULL, rows);
    RUN(t, xent_fwd, nll->data, lse, logits->data, target, rows, vocab);
    struct node *n = RECORD("xent", xent_back, nll, logits);
    if (n) n->saved[0] = lse, n->ints[0] = target, n->size[0] = rows, n->size[1] = vocab;
    return nll;
}
