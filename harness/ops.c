/* ops.c - the differentiable operations: each calls its kernels forward and records the node whose backward calls them back.
 * Nothing here allocates outside the tape's arenas, and nothing branches on values. Those that scan a sequence with a carried state
 * are in ops_sequence.c. */
#include "ops_private.h"

#include <string.h>

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
