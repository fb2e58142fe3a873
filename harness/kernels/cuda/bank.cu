/* bank.cu - rings, exact top-k over a bank, attention over the hits. */
#include "tile.cuh"

#define TOP_QUERIES 16 /* queries of a head that a block ranks together: two a warp */
#define TOP_KEYS 64

__device__ static inline int64_t slot_of(int64_t count, int64_t capacity) {
    int64_t r = count % capacity;
    return r < 0 ? r + capacity : r;
}

static void ring_write(real *ring, const real *x, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                       int64_t capacity, int64_t width) {
    map(batch * rows * width, [=] __device__(int64_t at) {
        int64_t i = at % width, r = at / width % rows, b = at / (width * rows);
        ring[(b * capacity + slot_of(head[b] + offset + r, capacity)) * width + i] = x[at];
    });
}

static void ring_read(real *out, const real *ring, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                      int64_t capacity, int64_t width) {
    map(batch * rows * width, [=] __device__(int64_t at) {
        int64_t i = at % width, r = at / width % rows, b = at / (width * rows);
        out[at] = ring[(b * capacity + slot_of(head[b] + offset + r, capacity)) * width + i];
    });
}

struct bank {
    int64_t batch, segments, n, heads, e, capacity, visible, topk, offset;
};
static struct bank bank_of(const struct bank_shape *s) {
    return {s->batch, s->segments, s->n, s->heads, s->e, s->capacity, s->visible, s->topk, s->offset};
}

/* Puts a candidate into a list of the best, best first; one that equals another goes behind it (it is younger). A warp together;
 * values and places [k]. The list is full of -inf with place -1 at first. */
__device__ static inline void insert(real *value, int32_t *place, int64_t k, real v, int32_t slot) {
    int lane = threadIdx.x % 32;
    int64_t at = 0; /* how many stay before it */
    for (int64_t i = 0; i < k; i += 32) {
        bool before = i + lane < k && place[i + lane] >= 0 && !(v > value[i + lane]);
        at += __popc(__ballot_sync(WHOLE_WARP, before));
    }
    for (int64_t i = (k - 1) / 32 * 32; i >= 0 && i + 32 > at; i -= 32) { /* from the end, so that nothing is lost */
        int64_t to = i + lane;
        real moved = 0;
        int32_t moved_slot = 0;
        bool moves = to < k && to >= at;
        if (moves && to > at) moved = value[to - 1], moved_slot = place[to - 1];
        __syncwarp();
        if (moves) value[to] = to > at ? moved : v, place[to] = to > at ? moved_slot : slot;
        __syncwarp();
    }
}

static __global__ void __launch_bounds__(THREADS)
    topk_tiles(int32_t *index, const real *q, const real *keys, const int32_t *head, const int32_t *since, struct bank a) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(TOP_KEYS), T = a.segments * a.n;
    real *Q = shared, *K = Q + TOP_QUERIES * ld, *S = K + TOP_KEYS * ld, *value = S + TOP_QUERIES * lds;
    int32_t *place = (int32_t *)(value + TOP_QUERIES * a.topk);
    int64_t tiles = (a.n + TOP_QUERIES - 1) / TOP_QUERIES, s = blockIdx.x / tiles, t0 = s * a.n + blockIdx.x % tiles * TOP_QUERIES;
    int64_t h = blockIdx.y, b = blockIdx.z, queries = least(TOP_QUERIES, (s + 1) * a.n - t0);
    int64_t n = least(since[b * a.segments + s], a.visible), end = head[b] + a.offset + s * a.n;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    tile_load(Q, ld, q + ((b * T + t0) * a.heads + h) * a.e, a.heads * a.e, queries, a.e, TOP_QUERIES, 1);
    for (int64_t i = threadIdx.x; i < TOP_QUERIES * a.topk; i += THREADS) value[i] = -INFINITY, place[i] = -1;
    for (int64_t from = 0; from < n; from += TOP_KEYS) {
        int64_t count = least(TOP_KEYS, n - from), width = tile_width(a.e);
        __syncthreads();
        TILE_EACH(r, c, TOP_KEYS, width) {
            int64_t slot = slot_of(end - n + from + r, a.capacity);
            K[r * ld + c] = r < count && c < a.e ? keys[((b * a.capacity + slot) * a.heads + h) * a.e + c] : 0;
        }
        __syncthreads();
        product_fp32<false, true>(S, lds, Q, ld, K, ld, TOP_QUERIES, TOP_KEYS, width, false);
        __syncthreads();
        for (int64_t i = warp; i < queries; i += WARPS)
            for (int64_t j0 = 0; j0 < count; j0 += 32) {
                bool there = j0 + lane < count;
                real v = there ? S[i * lds + j0 + lane] : 0;
                if (v != v) v = INFINITY; /* as on the CPU: a NaN is found first, not passed over */
                real last = value[(i + 1) * a.topk - 1];
                unsigned open = __ballot_sync(WHOLE_WARP, there && (place[(i + 1) * a.topk - 1] < 0 || v > last));
                while (open) { /* oldest first; the list may have closed for it meanwhile */
                    int j = __ffs((int)open) - 1;
                    open &= open - 1;
                    real w = __shfl_sync(WHOLE_WARP, v, j);
                    if (place[(i + 1) * a.topk - 1] >= 0 && !(w > value[(i + 1) * a.topk - 1])) continue;
                    __syncwarp();
                    insert(value + i * a.topk, place + i * a.topk, a.topk, w,
                           (int32_t)slot_of(end - n + from + j0 + j, a.capacity));
                }
            }
    }
    __syncthreads();
    TILE_EACH(row, col, queries, a.topk)
    index[((b * T + t0 + row) * a.heads + h) * a.topk + col] = place[row * a.topk + col];
}

static void topk(int32_t *index, const real *q, const real *keys, const int32_t *head, const int32_t *since,
                 const struct bank_shape *s) {
    int64_t ld = host_tile_ld(s->e);
    size_t shared = (size_t)((TOP_QUERIES + TOP_KEYS) * ld + TOP_QUERIES * host_tile_ld(TOP_KEYS) + 2 * TOP_QUERIES * s->topk) * 4;
    dim3 grid((unsigned)(s->segments * parts(s->n, TOP_QUERIES)), (unsigned)s->heads, (unsigned)s->batch);
    if (s->topk > 0) LAUNCH(topk_tiles, grid, THREADS, shared, index, q, keys, head, since, bank_of(s));
}

/* A warp a (token, head). */
static __global__ void __launch_bounds__(THREADS)
    hits_rows(real *out, real *p, const real *q, const real *keys, const real *values, const int32_t *index, struct bank a) {
    int64_t T = a.segments * a.n, row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    int lane = threadIdx.x % 32;
    if (row >= a.batch * T * a.heads) return;
    int64_t b = row / (T * a.heads), h = row % a.heads;
    const int32_t *slot = index + row * a.topk;
    real *w = p + row * a.topk, max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < a.topk; j++) {
        real d = 0;
        if (slot[j] >= 0)
            for (int64_t i = lane; i < a.e; i += 32)
                d += q[row * a.e + i] * keys[((b * a.capacity + slot[j]) * a.heads + h) * a.e + i];
        d = warp_sum(d);
        if (slot[j] >= 0) max = most_or_nan(max, d);
        if (lane == 0) w[j] = d;
    }
    __syncwarp();
    for (int64_t j = lane; j < a.topk; j += 32) {
        real x = slot[j] >= 0 ? expf(w[j] - max) : 0;
        w[j] = x;
        sum += x;
    }
    sum = warp_sum(sum);
    for (int64_t j = lane; j < a.topk; j += 32) w[j] = slot[j] >= 0 ? w[j] / sum : 0;
    __syncwarp();
    for (int64_t i = lane; i < a.e; i += 32) {
        real o = 0;
        for (int64_t j = 0; j < a.topk; j++)
            if (slot[j] >= 0) o += w[j] * values[((b * a.capacity + slot[j]) * a.heads + h) * a.e + i];
        out[row * a.e + i] = o;
    }
}

/* dp_j = dout.v_j; ds_j = p_j (dp_j - sum p dp); dq = sum ds_j k_j. In two passes over the hits, so that nothing is kept. */
static __global__ void __launch_bounds__(THREADS) hits_rows_bwd(struct place dq, const real *dout, const real *p, const real *keys,
                                                                const real *values, const int32_t *index, struct bank a) {
    int64_t T = a.segments * a.n, row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    int lane = threadIdx.x % 32;
    if (row >= a.batch * T * a.heads) return;
    int64_t b = row / (T * a.heads), h = row % a.heads;
    real mean = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j < a.topk; j++) {
            int64_t slot = index[row * a.topk + j], at = ((b * a.capacity + slot) * a.heads + h) * a.e;
            if (slot < 0) continue;
            real dp = 0, w = p[row * a.topk + j];
            for (int64_t i = lane; i < a.e; i += 32) dp += dout[row * a.e + i] * values[at + i];
            dp = warp_sum(dp);
            if (!pass) mean += w * dp;
            for (int64_t i = lane; pass && i < a.e; i += 32) dq.p[row * a.e + i] += w * (dp - mean) * keys[at + i];
        }
}

static void hits_fwd(real *out, real *p, const real *q, const real *keys, const real *values, const int32_t *index,
                     const struct bank_shape *s) {
    int64_t rows = s->batch * s->segments * s->n * s->heads;
    if (rows > 0) LAUNCH(hits_rows, dim3((unsigned)parts(rows, WARPS)), THREADS, 0, out, p, q, keys, values, index, bank_of(s));
}

static void hits_bwd(struct gout dq, const real *dout, const real *p, const real *q, const real *keys, const real *values,
                     const int32_t *index, const struct bank_shape *s) {
    int64_t rows = s->batch * s->segments * s->n * s->heads;
    struct place to = place_of(dq);
    (void)q;
    if (!to.p || rows <= 0) return;
    if (!to.beta) map(rows * s->e, [=] __device__(int64_t i) { to.p[i] = 0; });
    LAUNCH(hits_rows_bwd, dim3((unsigned)parts(rows, WARPS)), THREADS, 0, to, dout, p, keys, values, index, bank_of(s));
}

void cuda_bank(struct kernels *k) {
    k->ring_write = ring_write;
    k->ring_read = ring_read;
    k->topk = topk;
    k->hits_fwd = hits_fwd;
    k->hits_bwd = hits_bwd;
}
