/* attention_rel.cu - gradients of the tables that are read by distance: drel [distances,H,E] = scale sum ds qr, dbias [H,distances]
 * = sum ds. A block has a (batch row, head, tile of distances) and walks over the queries; of each tile of queries it computes the
 * two tiles of keys that lie at these distances. Batch rows are added in order afterwards. */
#include "attention.cuh"

static int64_t distance_need(const struct attention *a, bool rel) {
    int64_t ld = host_tile_ld(a->e), lds = host_tile_ld(a->bk);
    int64_t n = 2 * a->bq * ld + 2 * a->bk * ld + 3 * a->bq * lds + a->bk; /* Q dO, K V, S P E, sums of the bias */
    return n + (rel ? a->bq * ld + 2 * a->bk * ld + a->bq * lds : 0);      /* QR D dD R */
}

/* part [B, H, distances, e + 1]: of each batch row, the last column for the bias. */
static __global__ void __launch_bounds__(THREADS)
    attention_distances(real *part, const real *dout, const real *lse, const real *delta, struct attention_inputs in,
                        struct attention a) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(a.bk), width = tile_width(a.e);
    real *Q = shared, *dO = Q + a.bq * ld, *K = dO + a.bq * ld, *V = K + a.bk * ld, *S = V + a.bk * ld, *P = S + a.bq * lds;
    real *E = P + a.bq * lds, *sums = E + a.bq * lds, *QR = sums + a.bk, *D = QR + a.bq * ld, *dD = D + a.bk * ld;
    real *R = dD + a.bk * ld;
    int64_t h = blockIdx.y, b = blockIdx.z, g = h / (a.heads / a.kv_heads), d0 = blockIdx.x * a.bk;
    if (in.rel) tile_zero(dD, a.bk * ld);
    for (int64_t i = threadIdx.x; i < a.bk; i += THREADS) sums[i] = 0;
    for (int64_t tile = 0; tile < a.segments * a.per_segment; tile++) {
        struct query_tile q = query_tile_of(&a, tile);
        struct window w = window_of(&a, in.since, b, q.s);
        /* keys at distances d0 .. d0 + bk - 1 from any of the queries */
        int64_t from = most(lowest(&a, &w, q.t0), q.t0 - d0 - a.bk + 1),
                end = least(highest(&a, &w, q.t0 + q.count - 1), q.t0 + q.count - 1 - d0) + 1;
        if (from >= end) continue;
        __syncthreads();
        load_queries(Q, &a, in.q, b, h, &q, (real)a.scale);
        load_queries(dO, &a, dout, b, h, &q, 1);
        if (in.rel) load_queries(QR, &a, in.qr, b, h, &q, (real)a.scale);
        while (from < end) {
            struct key_tile x = key_tile_of(&a, &w, from, end);
            __syncthreads();
            load_keys(K, &a, in.k, in.kc, g, &x);
            load_keys(V, &a, in.v, in.vc, g, &x);
            tile_scores(&a, &w, &q, &x, h, S, Q, K, QR, in.rel, in.bias, R, D);
            tile_product<false, true>(a.tf32, P, lds, dO, ld, V, ld, a.bq, a.bk, width, false);
            __syncthreads();
            TILE_EACH(r, d, a.bq, a.bk) { /* E[i,d] = ds at the key that is d0 + d away */
                int64_t c = q.t0 + r - x.a0 - d0 - d, of = (b * a.heads + h) * a.queries + q.t0 + r;
                bool there = r < q.count && c >= 0 && c < x.count && S[r * lds + c] != -INFINITY;
                E[r * lds + d] = there ? expf(S[r * lds + c] - lse[of]) * (P[r * lds + c] - delta[of]) : 0;
            }
            __syncthreads();
            if (in.rel) tile_product<true, false>(a.tf32, dD, ld, E, lds, QR, ld, a.bk, width, a.bq, true);
            for (int64_t d = threadIdx.x; d < a.bk; d += THREADS)
                for (int64_t r = 0; r < q.count; r++) sums[d] += E[r * lds + d];
            from = x.a0 + x.count;
        }
    }
    __syncthreads();
    TILE_EACH(d, c, a.bk, a.e + 1) {
        if (d0 + d >= a.distances) continue;
        part[((b * a.heads + h) * a.distances + d0 + d) * (a.e + 1) + c] = c == a.e ? sums[d] : in.rel ? dD[d * ld + c] : 0;
    }
}

void cuda_attention_rel(struct place drel, struct place dbias, const struct attention_shape *s, const real *dout, const real *lse,
                        const real *q, const real *k, const real *v, const real *kc, const real *vc, const real *qr,
                        const real *rel, const real *bias, const int32_t *since, real *tmp) {
    size_t bytes;
    struct attention a = attention_tiles(s, distance_need, rel != NULL, "attention_bwd", &bytes);
    struct attention_inputs in = {q, k, v, kc, vc, qr, rel, bias, since};
    const real *delta = tmp;
    real *part = tmp + a.batch * a.heads * a.queries;
    dim3 grid((unsigned)parts(a.distances, a.bk), (unsigned)a.heads, (unsigned)a.batch);
    LAUNCH(attention_distances, grid, THREADS, bytes, part, dout, lse, delta, in, a);
    int64_t H = a.heads, N = a.distances, E = a.e, B = a.batch;
    if (drel.p)
        map(N * H * E, [=] __device__(int64_t i) {
            int64_t c = i % E, h = i / E % H, d = i / E / H;
            real sum = 0;
            for (int64_t b = 0; b < B; b++) sum += part[((b * H + h) * N + d) * (E + 1) + c];
            put(drel, i, sum);
        });
    if (dbias.p)
        map(H * N, [=] __device__(int64_t i) {
            int64_t h = i / N, d = i % N;
            real sum = 0;
            for (int64_t b = 0; b < B; b++) sum += part[((b * H + h) * N + d) * (E + 1) + E];
            put(dbias, i, sum);
        });
}
