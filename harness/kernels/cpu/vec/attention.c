/* attention.c - attention forward: causal segment attention over own and cached keys, tile by tile, with the softmax kept up to
 * date as the keys go by (maximum and sum so far), so no number of keys is too many. The gradient is in attention_bwd.c.
 *
 * Work is shared by (batch row, query head, tile of queries); a tile is computed by one thread in a fixed order, so the bits do not
 * depend on the number of threads. */
#include "attention_tile.h"

/* Running softmax of a tile; lanes are queries. */
struct running {
    real *max, *sum, *alpha; /* [BQ] */
    real *o;                 /* [BQ,E] not yet divided by sum */
};

/* max and alpha = exp(old max - new max) from the scores of a tile of keys; then scores become weights, sum grows. */
static void softmax_step(const struct query_tile *q, const struct key_tile *x, struct running *w) {
    real *restrict max = w->max, *restrict sum = w->sum, *restrict alpha = w->alpha, shift[BQ];
    for (int64_t i = 0; i < q->lanes; i++) alpha[i] = max[i];
    for (int64_t a = x->a0, end; a < x->a1; a = end) {
        int64_t from, to;
        end = min64(a + MR, x->a1);
        lane_range(q, a, end, &from, &to);
        for (int64_t j = from; j < to; j += LANES)
            for (int64_t r = a; r < end; r++) {
                const real *s = q->s + (r - x->a0) * BQ;
                /* a NaN score leaves the maximum alone and comes out of exp as NaN */
#pragma omp simd
                for (int64_t i = j; i < j + LANES; i++) max[i] = s[i] > max[i] ? s[i] : max[i];
            }
    }
#pragma omp simd
    for (int64_t i = 0; i < q->lanes; i++) {
        shift[i] = max[i] == -INFINITY ? 0 : max[i]; /* lanes that have not seen a key yet */
        alpha[i] = v_exp(alpha[i] - shift[i]);
        sum[i] *= alpha[i];
    }
    for (int64_t a = x->a0, end; a < x->a1; a = end) {
        int64_t from, to;
        end = min64(a + MR, x->a1);
        lane_range(q, a, end, &from, &to);
        for (int64_t j = from; j < to; j += LANES)
            for (int64_t r = a; r < end; r++) {
                real *restrict s = q->s + (r - x->a0) * BQ;
#pragma omp simd
                for (int64_t i = j; i < j + LANES; i++) {
                    real p = v_exp(s[i] - shift[i]);
                    s[i] = p;
                    sum[i] += p;
                }
            }
    }
}

/* o = alpha o + P V. Of a tile that is not whole, each block of queries takes the keys that one of its queries sees; the weights of
 * the others are 0, and where a value is not finite (0 times NaN) blocks shrink to single queries. */
static void weigh_values(const struct query_tile *q, const struct key_tile *x, struct running *w) {
    int64_t E = q->a->e, n = q->t1 - q->t0;
    for (int64_t i = 0; x->a0 > q->lo && i < n; i++)
#pragma omp simd
        for (int64_t e = 0; e < E; e++) w->o[i * E + e] *= w->alpha[i];
    if (x->whole) {
        tile_tn(w->o, E, q->s, BQ, x->v, x->ld, n, E, x->a1 - x->a0, 1);
        return;
    }
    int64_t step = tile_finite(x->v, x->ld, x->a1 - x->a0, E) ? MR : 1;
    for (int64_t i = 0; i < n; i += step) {
        int64_t m = min64(step, n - i);
        int64_t from = max64(visible_from(q, q->t0 + i), x->a0), to = min64(visible_to(q, q->t0 + i + m - 1), x->a1);
        if (from < to)
            tile_tn(w->o + i * E, E, q->s + (from - x->a0) * BQ + i, BQ, x->v + (from - x->a0) * x->ld, x->ld, m, E, to - from, 1);
    }
}

static void forward_tile(real *out, real *lse, const real *qs, const real *qr, const int32_t *since, struct query_tile *q) {
    const struct attention_shape *a = q->a;
    int64_t E = a->e, n = q->t1 - q->t0, ld = a->heads * E, at = (q->b * a->queries + q->t0) * ld + q->h * E;
    real *qt = cpu_scratch(), *qrt = qt + E * BQ, *o = qrt + E * BQ;
    real max[BQ], sum[BQ], alpha[BQ];
    struct running w = {max, sum, alpha, o};
    q->s = o + E * BQ;
    q->ring = q->s + BK * BQ;
    q->qt = qt;
    q->qrt = qrt;
    query_tile_init(q, since);
    tile_transpose(qt, BQ, qs + at, ld, n, E, (real)a->scale);
    if (q->rel) tile_transpose(qrt, BQ, qr + at, ld, n, E, (real)a->scale);
    for (int64_t i = 0; i < BQ; i++) {
        max[i] = -INFINITY;
        sum[i] = 0;
    }
    for (int64_t i = 0; i < n * E; i++) o[i] = 0;
    for (int64_t pos = q->lo; pos < q->hi;) {
        struct key_tile x = key_tile_at(q, pos);
        tile_scores(q, &x);
        softmax_step(q, &x, &w);
        weigh_values(q, &x, &w);
        pos = x.a1;
    }
    for (int64_t i = 0; i < n; i++) {
        real r = 1 / sum[i], *to = out + at + i * ld;
#pragma omp simd
        for (int64_t e = 0; e < E; e++) to[e] = o[i * E + e] * r;
        lse[(q->b * a->heads + q->h) * a->queries + q->t0 + i] = max[i] + logf(sum[i]);
    }
}

static void attention_fwd(real *out, real *lse, const real *q, const real *k, const real *v, const real *kc, const real *vc,
                          const real *qr, const real *rel, const real *bias, const int32_t *since,
                          const struct attention_shape *a) {
    int64_t length = tile_length(a), n = min64(a->segment, a->queries), per_segment = n > 0 ? (n + length - 1) / length : 0;
    int64_t tiles = per_segment * tile_segments(a), tasks = a->batch * a->heads * tiles;
    int64_t products = a->batch * a->heads * a->queries * a->e * (a->cache + n); /* so few in decoding that threads cost more */
    scratch_holds(3 * a->e * BQ + (BK + RING) * BQ, CPU_SCRATCH, "attention_fwd");
#pragma omp parallel for schedule(dynamic, 1) if (tasks > 1 && products > 100000)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t tile = task % tiles, h = task / tiles % a->heads, p = tile / per_segment * a->segment;
        struct query_tile x = {.a = a, .k = k, .v = v, .kc = kc, .vc = vc, .b = task / tiles / a->heads, .h = h};
        x.g = h / (a->heads / a->kv_heads);
        x.rel = rel ? rel + h * a->e : NULL;
        x.bias = bias ? bias + h * a->distances : NULL;
        x.t0 = p + tile % per_segment * length;
        x.t1 = min64(x.t0 + length, p + n);
        forward_tile(out, lse, q, qr, since, &x);
    }
}

void ISA_FN(cpu_attention)(struct kernels *k) {
    k->attention_fwd = attention_fwd;
    ISA_FN(cpu_attention_bwd)(k);
}
