/* attention.cu - attention forward: a block a (batch row, query head, tile of queries) walks over the tiles of keys that the
 * queries see and keeps the softmax up to date (largest score and sum so far), so no matrix of queries by keys is ever in memory.
 */
#include "attention.cuh"

static int64_t forward_need(const struct attention *a, bool rel) {
    int64_t ld = host_tile_ld(a->e), lds = host_tile_ld(a->bk);
    int64_t n = 2 * a->bq * ld + 2 * a->bk * ld + a->bq * lds + 3 * a->bq; /* Q O K V S, max sum factor */
    return n + (rel ? a->bq * ld + a->bq * lds + a->bk * ld : 0);          /* QR R D */
}

/* Scores become weights; max, sum and the factor of what was summed before follow. Rows by four lanes each. */
__device__ static inline void softmax_step(const struct attention *a, real *S, real *max, real *sum, real *factor) {
    int64_t lds = tile_ld(a->bk);
    int lane = threadIdx.x % 4;
    for (int64_t r0 = 0; r0 < a->bq; r0 += THREADS / 4) {
        int64_t r = r0 + threadIdx.x / 4;
        bool there = r < a->bq;
        real top = -INFINITY, total = 0, before = there ? max[r] : 0;
        for (int64_t c = lane; there && c < a->bk; c += 4) top = S[r * lds + c] > top ? S[r * lds + c] : top; /* NaN: left alone */
        for (int d = 1; d < 4; d *= 2) {
            real other = __shfl_xor_sync(WHOLE_WARP, top, d);
            top = other > top ? other : top;
        }
        top = before > top ? before : top;
        real shift = top == -INFINITY ? 0 : top; /* a query that has not seen a key yet */
        for (int64_t c = lane; there && c < a->bk; c += 4) {
            real p = expf(S[r * lds + c] - shift);
            S[r * lds + c] = p;
            total += p;
        }
        for (int d = 1; d < 4; d *= 2) total += __shfl_xor_sync(WHOLE_WARP, total, d);
        __syncwarp(); /* all four have read max */
        if (there && lane == 0) {
            real f = expf(before - shift);
            factor[r] = f;
            sum[r] = sum[r] * f + total;
            max[r] = top;
        }
    }
}

static __global__ void __launch_bounds__(THREADS)
    attention_tile(real *out, real *lse, struct attention_inputs in, struct attention a) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(a.bk), width = tile_width(a.e);
    real *Q = shared, *O = Q + a.bq * ld, *K = O + a.bq * ld, *V = K + a.bk * ld, *S = V + a.bk * ld, *max = S + a.bq * lds;
    real *sum = max + a.bq, *factor = sum + a.bq, *QR = factor + a.bq, *R = QR + a.bq * ld, *D = R + a.bq * lds;
    int64_t h = blockIdx.y, b = blockIdx.z, g = h / (a.heads / a.kv_heads);
    struct query_tile q = query_tile_of(&a, blockIdx.x);
    struct window w = window_of(&a, in.since, b, q.s);
    int64_t from = lowest(&a, &w, q.t0), end = highest(&a, &w, q.t0 + q.count - 1) + 1;
    load_queries(Q, &a, in.q, b, h, &q, (real)a.scale);
    if (in.rel) load_queries(QR, &a, in.qr, b, h, &q, (real)a.scale);
    tile_zero(O, a.bq * ld);
    for (int64_t r = threadIdx.x; r < a.bq; r += THREADS) max[r] = -INFINITY, sum[r] = 0;
    while (from < end) {
        struct key_tile x = key_tile_of(&a, &w, from, end);
        __syncthreads();
        load_keys(K, &a, in.k, in.kc, g, &x);
        load_keys(V, &a, in.v, in.vc, g, &x);
        tile_scores(&a, &w, &q, &x, h, S, Q, K, QR, in.rel, in.bias, R, D);
        softmax_step(&a, S, max, sum, factor);
        bool finite = tile_is_finite(V, ld, x.count, a.e);
        TILE_EACH(row, col, a.bq, width) O[row * ld + col] *= factor[row];
        __syncthreads();
        if (finite)
            tile_product<false, false>(a.tf32, O, ld, S, lds, V, ld, a.bq, width, a.bk, true);
        else
            TILE_EACH(r, col, q.count, a.e) {
                int64_t t = q.t0 + r, lo = most(lowest(&a, &w, t) - x.a0, 0), hi = highest(&a, &w, t) - x.a0;
                for (int64_t c = lo; c <= least(hi, x.count - 1); c++) O[r * ld + col] += S[r * lds + c] * V[c * ld + col];
            }
        from = x.a0 + x.count;
    }
    __syncthreads();
    TILE_EACH(r, c, q.count, a.e) { out[((b * a.queries + q.t0 + r) * a.heads + h) * a.e + c] = O[r * ld + c] / sum[r]; }
    for (int64_t r = threadIdx.x; r < q.count; r += THREADS) lse[(b * a.heads + h) * a.queries + q.t0 + r] = max[r] + logf(sum[r]);
}

static void attention_fwd(real *out, real *lse, const real *q, const real *k, const real *v, const real *kc, const real *vc,
                          const real *qr, const real *rel, const real *bias, const int32_t *since,
                          const struct attention_shape *s) {
    size_t bytes;
    struct attention a = attention_tiles(s, forward_need, rel != NULL, "attention_fwd", &bytes);
    struct attention_inputs in = {q, k, v, kc, vc, qr, rel, bias, since};
    dim3 grid((unsigned)(a.segments * a.per_segment), (unsigned)a.heads, (unsigned)a.batch);
    LAUNCH(attention_tile, grid, THREADS, bytes, out, lse, in, a);
}

void cuda_attention(struct kernels *k) {
    k->attention_fwd = attention_fwd;
    cuda_attention_bwd(k);
}
