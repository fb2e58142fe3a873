/* attention_bwd.c - the gradient of attention. Weights are computed again from lse, nothing of size queries x keys is kept.
 *
 * One thread owns a (batch row, key/value head) with all its query heads, so the gradients of keys and values are summed in place
 * and in a fixed order. Gradients of rel and bias are summed per batch row in tmp (a head belongs to one owner) and then over the
 * batch in order: the bits do not depend on the number of threads. A small batch times few heads leaves threads idle. */
#include "attention_tile.h"
#include <string.h>

struct gradients {
    real *dq, *dk, *dv, *dkc, *dvc, *dqr;
    real *drel, *dbias; /* this batch row's sums, at the query head */
};

/* What a tile needs beside the scores. */
struct backward {
    const real *q, *qr, *dout; /* the tile's first row of this head */
    const real *dot;           /* dout transposed [E,BQ] */
    real *ds, *shift;          /* [BK,BQ] gradient of the scores times scale; ring [RING,BQ] of the same along distances */
    const real *lse, *delta;   /* [BQ]; lse is inf in the lanes beyond the tile, whose weights so become 0 */
    int64_t ld, top;           /* floats from query to query; distances >= top have left the shift ring */
    int exact;                 /* q or dout are not finite: blocks of rows may not touch pairs that are not visible */
    struct gradients to;
};

/* Scores become weights; ds = scale p (dout.v - delta), 0 where invisible; sums the bias gradient on the way. */
static void weights_and_ds(const struct query_tile *q, const struct key_tile *x, const struct backward *w) {
    int64_t E = q->a->e;
    const real *restrict lse = w->lse, *restrict delta = w->delta;
    real scale = (real)q->a->scale;
    if (x->whole) tile_nn(w->ds, BQ, x->v, x->ld, w->dot, BQ, x->a1 - x->a0, q->lanes, E, 0);
    for (int64_t a = x->a0, end; a < x->a1; a = end) {
        int64_t from, to;
        end = min64(a + MR, x->a1);
        lane_range(q, a, end, &from, &to);
        if (!x->whole)
            tile_nn(w->ds + (a - x->a0) * BQ + from, BQ, x->v + (a - x->a0) * x->ld, x->ld, w->dot + from, BQ, end - a, to - from,
                    E, 0);
        for (int64_t r = a; r < end; r++) {
            real *restrict s = q->s + (r - x->a0) * BQ, *restrict ds = w->ds + (r - x->a0) * BQ;
            for (int64_t j = from; j < to; j += LANES)
#pragma omp simd
                for (int64_t i = j; i < j + LANES; i++) {
                    real p = v_exp(s[i] - lse[i]);
                    s[i] = p;
                    ds[i] = p * (ds[i] - delta[i]);
                }
            int64_t first = lane_from(q, r), last = lane_to(q, r);
            for (int64_t i = from; i < first; i++) ds[i] = s[i] = 0;
            for (int64_t i = last; i < to; i++) ds[i] = s[i] = 0;
            if (w->to.dbias) {
                real *restrict sum = w->to.dbias + (q->t0 - r);
#pragma omp simd
                for (int64_t i = first; i < last; i++) sum[i] += ds[i];
            }
            for (int64_t j = from; j < to; j += LANES)
#pragma omp simd
                for (int64_t i = j; i < j + LANES; i++) ds[i] *= scale;
            if (w->shift)
                for (int64_t i = first; i < last; i++) w->shift[((q->t0 - r + i) & (RING - 1)) * BQ + i] = ds[i];
        }
    }
}

/* dv += P^T dout, dk += dS^T q, dq += dS k. */
static void tile_gradients(const struct query_tile *q, const struct key_tile *x, const struct backward *w) {
    int64_t E = q->a->e, n = q->t1 - q->t0, keys = x->a1 - x->a0;
    real *dk = x->own ? w->to.dk : w->to.dkc, *dv = x->own ? w->to.dv : w->to.dvc, *dq = w->to.dq;
    int64_t step = x->whole ? max64(BQ, BK) : w->exact || !tile_finite(x->k, x->ld, keys, E) ? 1 : MR;
    for (int64_t r = 0, m; r < keys; r += m) {
        m = min64(step, keys - r);
        int64_t from = lane_from(q, x->a0 + r), to = lane_to(q, x->a0 + r + m - 1), at = x->at + r * x->ld;
        if (dv) tile_nn(dv + at, x->ld, q->s + r * BQ + from, BQ, w->dout + from * w->ld, w->ld, m, E, to - from, 1);
        if (dk) tile_nn(dk + at, x->ld, w->ds + r * BQ + from, BQ, w->q + from * w->ld, w->ld, m, E, to - from, 1);
    }
    for (int64_t i = 0, m; dq && i < n; i += m) {
        m = min64(step, n - i);
        int64_t from = max64(visible_from(q, q->t0 + i), x->a0), to = min64(visible_to(q, q->t0 + i + m - 1), x->a1);
        if (from < to)
            tile_tn(dq + i * w->ld, w->ld, w->ds + (from - x->a0) * BQ + i, BQ, x->k + (from - x->a0) * x->ld, x->ld, m, E,
                    to - from, 1);
    }
}

/* Distances that keys from a1 on do not reach are complete: dqr += dS rel, drel += dS^T qr along distances; their rows of the ring
 * are then cleared. */
static void flush_distances(const struct query_tile *q, struct backward *w, int64_t a1) {
    int64_t E = q->a->e, n = q->t1 - q->t0, low = a1 < q->hi ? max64(q->t1 - a1, 0) : 0;
    low = (low + MR - 1) & ~(int64_t)(MR - 1);
    for (int64_t d = low, end; d < w->top; d = end) {
        end = min64((d & ~(int64_t)(MR - 1)) + MR, w->top);
        int64_t from = min64(max64(d + q->lo - q->t0, 0), n); /* lanes before see no key at distance d */
        const real *ds = w->shift + (d & (RING - 1)) * BQ;
        if (w->to.drel && from < n)
            tile_nn(w->to.drel + d * w->ld, w->ld, ds + from, BQ, w->qr + from * w->ld, w->ld, end - d, E, n - from, 1);
    }
    for (int64_t d = low, end; d < w->top; d = end) {
        end = min64((d & ~(int64_t)(RING - 1)) + RING, w->top);
        int64_t from = min64(max64(d + q->lo - q->t0, 0), n) / MR * MR;
        real *ds = w->shift + (d & (RING - 1)) * BQ;
        if (w->to.dqr && from < n)
            tile_tn(w->to.dqr + from * w->ld, w->ld, ds + from, BQ, q->rel + d * w->ld, w->ld, n - from, E, end - d, 1);
        memset(ds, 0, (size_t)((end - d) * BQ) * sizeof *ds);
    }
    w->top = min64(w->top, low);
}

/* A gradient with beta 0 starts from 0: `rows` rows of `width` at stride ld. */
static void start_rows(struct gout g, int64_t at, int64_t rows, int64_t width, int64_t ld) {
    if (g.p && g.beta == 0)
        for (int64_t r = 0; r < rows; r++) memset(g.p + at + r * ld, 0, (size_t)width * sizeof *g.p);
}

static void backward_tile(const struct gradients *to, const real *dout, const real *out, const real *lse, const real *qs,
                          const real *qr, const int32_t *since, struct query_tile *q) {
    const struct attention_shape *a = q->a;
    int64_t E = a->e, n = q->t1 - q->t0, ld = a->heads * E, at = (q->b * a->queries + q->t0) * ld + q->h * E;
    real *qt = cpu_scratch(), *qrt = qt + E * BQ, *dot = qrt + E * BQ, *ds = dot + E * BQ, *shift = ds + BK * BQ;
    real lse_of[BQ], delta[BQ];
    struct backward w = {.q = qs + at, .dout = dout + at, .dot = dot, .ds = ds, .lse = lse_of, .delta = delta, .ld = ld, .to = *to};
    q->s = shift + RING * BQ;
    q->ring = q->s + BK * BQ;
    q->qt = qt;
    q->qrt = qrt;
    query_tile_init(q, since);
    if (w.to.dq) w.to.dq += at;
    tile_transpose(qt, BQ, qs + at, ld, n, E, (real)a->scale);
    tile_transpose(dot, BQ, dout + at, ld, n, E, 1);
    w.exact = !(tile_finite(qs + at, ld, n, E) && tile_finite(dout + at, ld, n, E));
    if (q->rel) {
        w.qr = qr + at;
        tile_transpose(qrt, BQ, qr + at, ld, n, E, (real)a->scale);
        if (w.to.dqr) w.to.dqr += at;
        if (w.to.dqr || w.to.drel) {
            w.shift = shift;
            w.top = q->ring_from;
            memset(shift, 0, RING * BQ * sizeof *shift);
        }
    }
    for (int64_t i = 0; i < BQ; i++) {
        lse_of[i] = i < n ? lse[(q->b * a->heads + q->h) * a->queries + q->t0 + i] : INFINITY;
        delta[i] = i < n ? tile_dot(dout + at + i * ld, out + at + i * ld, E) : 0;
    }
    for (int64_t pos = q->lo; pos < q->hi;) {
        struct key_tile x = key_tile_at(q, pos);
        tile_scores(q, &x);
        weights_and_ds(q, &x, &w);
        tile_gradients(q, &x, &w);
        if (w.shift) flush_distances(q, &w, x.a1);
        pos = x.a1;
    }
}

/* out (+)= the sum of `batch` parts, in order. */
static void sum_parts(struct gout out, const real *parts, int64_t batch, int64_t n) {
#pragma omp parallel for schedule(static) if (n * batch > 65536)
    for (int64_t i = 0; i < n; i++) {
        real sum = out.beta ? out.p[i] : 0;
        for (int64_t b = 0; b < batch; b++) sum += parts[b * n + i];
        out.p[i] = sum;
    }
}

static void attention_bwd(struct gout dq, struct gout dk, struct gout dv, struct gout dkc, struct gout dvc, struct gout dqr,
                          struct gout drel, struct gout dbias, const real *dout, const real *out, const real *lse, const real *q,
                          const real *k, const real *v, const real *kc, const real *vc, const real *qr, const real *rel,
                          const real *bias, const int32_t *since, real *tmp, const struct attention_shape *a) {
    int64_t B = a->batch, T = a->queries, H = a->heads, G = a->kv_heads, E = a->e, D = a->distances, group = H / G;
    int64_t length = tile_length(a), segment = min64(a->segment, T);
    real *rel_parts = tmp, *bias_parts = tmp + B * D * H * E;
    int want_rel = rel && drel.p, want_bias = bias && dbias.p;
    scratch_holds(3 * E * BQ + 2 * (BK + RING) * BQ, CPU_SCRATCH, "attention_bwd");
#pragma omp parallel for schedule(dynamic, 1) if (B * G > 1)
    for (int64_t task = 0; task < B * G; task++) {
        int64_t b = task / G, g = task % G, h0 = g * group;
        start_rows(dk, (b * T * G + g) * E, T, E, G * E);
        start_rows(dv, (b * T * G + g) * E, T, E, G * E);
        start_rows(dkc, (b * a->cache_rows * G + g) * E, a->cache_rows, E, G * E);
        start_rows(dvc, (b * a->cache_rows * G + g) * E, a->cache_rows, E, G * E);
        if (want_rel) start_rows((struct gout){rel_parts, 0}, (b * D * H + h0) * E, D, group * E, H * E);
        if (want_bias) start_rows((struct gout){bias_parts, 0}, (b * H + h0) * D, 1, group * D, D);
        for (int64_t p = 0; p < T; p += segment)
            for (int64_t t = p; t < p + segment; t += length)
                for (int64_t h = h0; h < h0 + group; h++) {
                    struct query_tile x = {.a = a, .k = k, .v = v, .kc = kc, .vc = vc, .b = b, .g = g, .h = h};
                    struct gradients to = {dq.p, dk.p, dv.p, dkc.p, dvc.p, dqr.p, NULL, NULL};
                    if (want_rel) to.drel = rel_parts + (b * D * H + h) * E;
                    if (want_bias) to.dbias = bias_parts + (b * H + h) * D;
                    x.rel = rel ? rel + h * E : NULL;
                    x.bias = bias ? bias + h * D : NULL;
                    x.t0 = t;
                    x.t1 = min64(t + length, p + segment);
                    start_rows(dq, ((b * T + t) * H + h) * E, x.t1 - t, E, H * E);
                    start_rows(dqr, ((b * T + t) * H + h) * E, x.t1 - t, E, H * E);
                    backward_tile(&to, dout, out, lse, q, qr, since, &x);
                }
    }
    if (drel.p) sum_parts(drel, rel_parts, rel ? B : 0, D * H * E);
    if (dbias.p) sum_parts(dbias, bias_parts, bias ? B : 0, H * D);
}

void ISA_FN(cpu_attention_bwd)(struct kernels *k) { k->attention_bwd = attention_bwd; }
