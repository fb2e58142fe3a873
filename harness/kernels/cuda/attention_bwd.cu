/* attention_bwd.cu - gradients of attention. With p = exp(score - lse), dp = dout . v and delta = dout . out:
 * ds = p (dp - delta); dq = scale ds k; dk = scale ds^T q; dv = p^T dout; of relative scores dqr = scale ds rel.
 *
 * Two kernels compute the weights anew: one has a tile of queries and walks over keys (dq, dqr), the other a tile of keys and walks
 * over queries, the heads of a group in order (dk, dv). So every gradient has one writer and its sum one order. */
#include "attention.cuh"

/* delta [B,H,T] into tmp. */
static __global__ void __launch_bounds__(THREADS)
    attention_delta(real *delta, const real *dout, const real *out, int64_t batch, int64_t queries, int64_t heads, int64_t e) {
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= batch * queries * heads) return;
    int64_t h = row % heads, t = row / heads % queries, b = row / heads / queries;
    real sum = 0;
    for (int64_t i = threadIdx.x % 32; i < e; i += 32) sum += dout[row * e + i] * out[row * e + i];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) delta[(b * heads + h) * queries + t] = sum;
}

/* Scores become weights p; dP becomes ds. */
static __device__ inline void weights_and_ds(const struct attention *a, const struct query_tile *q, int64_t b, int64_t h, real *S,
                                             real *P, const real *lse, const real *delta) {
    int64_t lds = tile_ld(a->bk);
    TILE_EACH(r, col, a->bq, a->bk) {
        int64_t at = r * lds + col, of = (b * a->heads + h) * a->queries + q->t0 + r;
        bool there = r < q->count && S[at] != -INFINITY;
        real p = there ? expf(S[at] - lse[of]) : 0;
        S[at] = p;
        P[at] = there ? p * (P[at] - delta[of]) : 0;
    }
    __syncthreads();
}

static int64_t query_need(const struct attention *a, bool rel) {
    int64_t ld = host_tile_ld(a->e), lds = host_tile_ld(a->bk);
    int64_t n = 3 * a->bq * ld + 2 * a->bk * ld + 2 * a->bq * lds;    /* Q dO dQ K V S P */
    return n + (rel ? 2 * a->bq * ld + a->bq * lds + a->bk * ld : 0); /* QR dQR R D */
}

static __global__ void __launch_bounds__(THREADS)
    attention_queries(struct place dq, struct place dqr, const real *dout, const real *lse, const real *delta,
                      struct attention_inputs in, struct attention a) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(a.bk), width = tile_width(a.e);
    real *Q = shared, *dO = Q + a.bq * ld, *dQ = dO + a.bq * ld, *K = dQ + a.bq * ld, *V = K + a.bk * ld, *S = V + a.bk * ld;
    real *P = S + a.bq * lds, *QR = P + a.bq * lds, *dQR = QR + a.bq * ld, *R = dQR + a.bq * ld, *D = R + a.bq * lds;
    int64_t h = blockIdx.y, b = blockIdx.z, g = h / (a.heads / a.kv_heads);
    struct query_tile q = query_tile_of(&a, blockIdx.x);
    struct window w = window_of(&a, in.since, b, q.s);
    int64_t from = lowest(&a, &w, q.t0), end = highest(&a, &w, q.t0 + q.count - 1) + 1;
    load_queries(Q, &a, in.q, b, h, &q, (real)a.scale);
    load_queries(dO, &a, dout, b, h, &q, 1);
    tile_zero(dQ, a.bq * ld);
    if (in.rel) {
        load_queries(QR, &a, in.qr, b, h, &q, (real)a.scale);
        tile_zero(dQR, a.bq * ld);
    }
    while (from < end) {
        struct key_tile x = key_tile_of(&a, &w, from, end);
        __syncthreads();
        load_keys(K, &a, in.k, in.kc, g, &x);
        load_keys(V, &a, in.v, in.vc, g, &x);
        tile_scores(&a, &w, &q, &x, h, S, Q, K, QR, in.rel, in.bias, R, D);
        tile_product<false, true>(a.tf32, P, lds, dO, ld, V, ld, a.bq, a.bk, width, false);
        __syncthreads();
        weights_and_ds(&a, &q, b, h, S, P, lse, delta);
        tile_product<false, false>(a.tf32, dQ, ld, P, lds, K, ld, a.bq, width, a.bk, true);
        if (in.rel && dqr.p) {
            int64_t first = q.t0 - x.a0 - a.bk + 1;
            for (int64_t d0 = first; d0 < first + a.bq + a.bk; d0 += a.bk) { /* R[i,d] = ds at the key that is d0 + d away */
                __syncthreads();
                load_distances(D, &a, in.rel, h, d0);
                TILE_EACH(r, d, a.bq, a.bk) {
                    int64_t c = q.t0 + r - x.a0 - d0 - d;
                    R[r * lds + d] = c >= 0 && c < a.bk ? P[r * lds + c] : 0;
                }
                __syncthreads();
                tile_product<false, false>(a.tf32, dQR, ld, R, lds, D, ld, a.bq, width, a.bk, true);
            }
        }
        from = x.a0 + x.count;
    }
    __syncthreads();
    int64_t at = ((b * a.queries + q.t0) * a.heads + h) * a.e;
    if (dq.p) tile_put(dq, at, a.heads * a.e, dQ, ld, q.count, a.e, (real)a.scale);
    if (dqr.p) tile_put(dqr, at, a.heads * a.e, dQR, ld, q.count, a.e, (real)a.scale);
}

static int64_t key_need(const struct attention *a, bool rel) {
    int64_t ld = host_tile_ld(a->e), lds = host_tile_ld(a->bk);
    int64_t n = 2 * a->bq * ld + 4 * a->bk * ld + 2 * a->bq * lds; /* Q dO, K V dK dV, S P */
    return n + (rel ? a->bq * ld + a->bq * lds + a->bk * ld : 0);  /* QR R D */
}

/* Tile blockIdx.x of the own keys, or of the cached ones. */
static __global__ void __launch_bounds__(THREADS)
    attention_keys(struct place dk, struct place dv, int64_t own, const real *dout, const real *lse, const real *delta,
                   struct attention_inputs in, struct attention a) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(a.bk), width = tile_width(a.e);
    real *Q = shared, *dO = Q + a.bq * ld, *K = dO + a.bq * ld, *V = K + a.bk * ld, *dK = V + a.bk * ld, *dV = dK + a.bk * ld;
    real *S = dV + a.bk * ld, *P = S + a.bq * lds, *QR = P + a.bq * lds, *R = QR + a.bq * ld, *D = R + a.bq * lds;
    int64_t g = blockIdx.y, b = blockIdx.z, group = a.heads / a.kv_heads, rows = own ? a.queries : a.cache_rows;
    struct key_tile x;
    int64_t row0 = blockIdx.x * a.bk;
    x.own = own;
    x.a0 = own ? row0 : row0 - a.cache;
    x.count = least(a.bk, rows - row0);
    x.row = b * rows + row0;
    load_keys(K, &a, in.k, in.kc, g, &x);
    load_keys(V, &a, in.v, in.vc, g, &x);
    tile_zero(dK, a.bk * ld);
    tile_zero(dV, a.bk * ld);
    for (int64_t h = g * group; h < (g + 1) * group; h++)
        for (int64_t tile = 0; tile < a.segments * a.per_segment; tile++) {
            struct query_tile q = query_tile_of(&a, tile);
            struct window w = window_of(&a, in.since, b, q.s);
            int64_t lo = most(lowest(&a, &w, q.t0), x.a0), hi = least(highest(&a, &w, q.t0 + q.count - 1), x.a0 + x.count - 1);
            if (own)
                lo = most(lo, w.bound);
            else
                hi = least(hi, w.bound - 1);
            if (lo > hi) continue;
            __syncthreads();
            load_queries(Q, &a, in.q, b, h, &q, (real)a.scale);
            load_queries(dO, &a, dout, b, h, &q, 1);
            if (in.rel) load_queries(QR, &a, in.qr, b, h, &q, (real)a.scale);
            tile_scores(&a, &w, &q, &x, h, S, Q, K, QR, in.rel, in.bias, R, D);
            TILE_EACH(row, col, a.bq, a.bk) /* keys of the tile that this segment reads elsewhere */
            if ((x.a0 + col >= w.bound) != (own != 0)) S[row * lds + col] = -INFINITY;
            tile_product<false, true>(a.tf32, P, lds, dO, ld, V, ld, a.bq, a.bk, width, false);
            __syncthreads();
            weights_and_ds(&a, &q, b, h, S, P, lse, delta);
            tile_product<true, false>(a.tf32, dV, ld, S, lds, dO, ld, a.bk, width, a.bq, true);
            tile_product<true, false>(a.tf32, dK, ld, P, lds, Q, ld, a.bk, width, a.bq, true);
        }
    __syncthreads();
    int64_t at = (x.row * a.kv_heads + g) * a.e;
    if (dk.p) tile_put(dk, at, a.kv_heads * a.e, dK, ld, x.count, a.e, 1); /* Q came with the scale */
    if (dv.p) tile_put(dv, at, a.kv_heads * a.e, dV, ld, x.count, a.e, 1);
}

static void attention_bwd(struct gout dq, struct gout dk, struct gout dv, struct gout dkc, struct gout dvc, struct gout dqr,
                          struct gout drel, struct gout dbias, const real *dout, const real *out, const real *lse, const real *q,
                          const real *k, const real *v, const real *kc, const real *vc, const real *qr, const real *rel,
                          const real *bias, const int32_t *since, real *tmp, const struct attention_shape *s) {
    struct attention_inputs in = {q, k, v, kc, vc, qr, rel, bias, since};
    size_t bytes;
    int64_t rows = s->batch * s->queries * s->heads;
    LAUNCH(attention_delta, dim3((unsigned)parts(rows, WARPS)), THREADS, 0, tmp, dout, out, s->batch, s->queries, s->heads, s->e);
    const real *delta = tmp;
    if (dq.p || dqr.p) {
        struct attention a = attention_tiles(s, query_need, rel != NULL, "attention_bwd", &bytes);
        dim3 grid((unsigned)(a.segments * a.per_segment), (unsigned)a.heads, (unsigned)a.batch);
        LAUNCH(attention_queries, grid, THREADS, bytes, place_of(dq), place_of(dqr), dout, lse, delta, in, a);
    }
    struct attention a = attention_tiles(s, key_need, rel != NULL, "attention_bwd", &bytes);
    for (int own = 0; own < 2; own++) {
        struct place pk = place_of(own ? dk : dkc), pv = place_of(own ? dv : dvc);
        dim3 grid((unsigned)parts(own ? s->queries : s->cache_rows, a.bk), (unsigned)a.kv_heads, (unsigned)a.batch);
        if (pk.p || pv.p) LAUNCH(attention_keys, grid, THREADS, bytes, pk, pv, (int64_t)own, dout, lse, delta, in, a);
    }
    if (drel.p || dbias.p)
        cuda_attention_rel(place_of(drel), place_of(dbias), s, dout, lse, q, k, v, kc, vc, qr, rel, bias, since, tmp);
}

void cuda_attention_bwd(struct kernels *k) { k->attention_bwd = attention_bwd; }
