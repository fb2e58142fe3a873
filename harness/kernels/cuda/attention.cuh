/* attention.cuh - what forward and backward attention share: which keys a query sees, tiles of queries and keys, their scores.
 *
 * A block has a tile of bq queries, all in one segment, and of bk keys, all from one source (own or cached). Both are 64, 32 or 16:
 * the largest for which the tiles fit into shared memory. A query sees one interval of positions, whose ends never fall from one
 * query of a segment to the next. Scores are rows of queries; a pair that is not visible has the weight 0.
 *
 * Relative scores qr_t . rel_{t-a}: a tile needs bq + bk - 1 distances. They are multiplied in runs of bk distances and added along
 * the diagonals. */
#ifndef INFINIBENCH_CUDA_ATTENTION_CUH
#define INFINIBENCH_CUDA_ATTENTION_CUH

#include "tile.cuh"

void cuda_attention_bwd(struct kernels *k); /* attention_bwd.cu */
void cuda_attention_rel(struct place drel, struct place dbias, const struct attention_shape *s, const real *dout, const real *lse,
                        const real *q, const real *k, const real *v, const real *kc, const real *vc, const real *qr,
                        const real *rel, const real *bias, const int32_t *since, real *tmp); /* attention_rel.cu */

/* struct attention_shape as kernels take it, and the sizes of tiles. */
struct attention {
    int64_t batch, queries, heads, kv_heads, e, segment, back, window, cache, cache_rows, own_from_segment, lead, trail, distances,
        lead_step;
    double scale;
    int64_t segments, bq, bk, per_segment; /* tiles of queries in a segment */
    int64_t tf32;
};
struct attention_inputs {
    const real *q, *k, *v, *kc, *vc, *qr, *rel, *bias;
    const int32_t *since;
};

static inline struct attention attention_of(const struct attention_shape *s, int64_t bq, int64_t bk) {
    struct attention a = {s->batch,
                          s->queries,
                          s->heads,
                          s->kv_heads,
                          s->e,
                          s->segment,
                          s->back,
                          s->window,
                          s->cache,
                          s->cache_rows,
                          s->own_from_segment,
                          s->lead,
                          s->trail,
                          s->distances,
                          s->lead_step,
                          s->scale,
                          0,
                          bq,
                          bk,
                          0,
                          0};
    int64_t n = s->segment < s->queries ? s->segment : s->queries;
    a.segments = parts(s->queries, s->segment);
    a.per_segment = parts(n, bq);
    a.tf32 = cuda_products != PRODUCTS_FP32;
    return a;
}

/* The largest tiles whose need() (in floats) fits; queries no more than a segment has. Stops where even the smallest do not. */
static inline struct attention attention_tiles(const struct attention_shape *s,
                                               int64_t (*need)(const struct attention *a, bool rel), bool rel, const char *what,
                                               size_t *bytes) {
    static const int64_t sizes[][2] = {{64, 64}, {32, 64}, {32, 32}, {16, 32}, {16, 16}};
    int64_t n = s->segment < s->queries ? s->segment : s->queries;
    for (int i = 0; i < 5; i++) {
        int64_t bq = sizes[i][0], all = s->queries + s->cache_rows;
        while (bq > 16 && bq / 2 >= n) bq /= 2;
        int64_t bk = sizes[i][1];
        while (bk > 16 && bk / 2 >= all) bk /= 2;
        struct attention a = attention_of(s, bq, bk);
        *bytes = (size_t)need(&a, rel) * sizeof(real);
        if (*bytes <= (size_t)cuda_shared_limit) return a;
    }
    fprintf(stderr, "infinibench: CUDA: %s: heads of %lld need %zu bytes of shared memory, the GPU has %d; use smaller heads\n",
            what, (long long)s->e, *bytes, cuda_shared_limit);
    abort();
}

/* ---- visibility ---- */

struct window {
    int64_t b, s, p, bound, empty, floor; /* segment s starts at p; positions from bound on are own; lead rows that are empty */
};

__device__ static inline struct window window_of(const struct attention *a, const int32_t *since, int64_t b, int64_t s) {
    struct window w;
    int64_t from = since[b * a->segments + s], tokens = a->segment - a->lead - a->trail;
    int64_t filled = a->lead_step ? a->lead_step * (from / tokens) : a->lead;
    w.b = b, w.s = s, w.p = s * a->segment;
    w.bound = a->own_from_segment ? w.p : 0;
    w.empty = filled < a->lead ? a->lead - filled : 0;
    w.floor = most(most(w.p - from, w.p - a->back), -a->cache);
    return w;
}
__device__ static inline int64_t lowest(const struct attention *a, const struct window *w, int64_t t) {
    int64_t lo = w->floor;
    if (a->window > 0) lo = most(lo, t - a->window + 1);
    if (w->empty && t >= w->empty) lo = most(lo, w->empty);
    return lo;
}
__device__ static inline int64_t highest(const struct attention *a, const struct window *w, int64_t t) { /* inclusive */
    if (t < a->lead) return t < w->empty ? w->empty - 1 : a->lead - 1;
    return t >= a->queries - a->trail ? a->queries - 1 : t;
}

/* The queries of tile number `tile` of a batch row. */
struct query_tile {
    int64_t t0, count, s;
};
__device__ static inline struct query_tile query_tile_of(const struct attention *a, int64_t tile) {
    struct query_tile q;
    q.s = tile / a->per_segment;
    q.t0 = q.s * a->segment + tile % a->per_segment * a->bq;
    q.count = least(a->bq, least((q.s + 1) * a->segment, a->queries) - q.t0);
    return q;
}

/* Keys from position a0 on, from one source. */
struct key_tile {
    int64_t a0, count, own, row; /* row: of [batch, rows] in k, v or kc, vc */
};
__device__ static inline struct key_tile key_tile_of(const struct attention *a, const struct window *w, int64_t a0, int64_t end) {
    struct key_tile x;
    x.a0 = a0;
    x.own = a0 >= w->bound;
    x.count = least(a->bk, (x.own ? end : least(end, w->bound)) - a0);
    x.row = x.own ? w->b * a->queries + a0 : w->b * a->cache_rows + a0 + a->cache;
    return x;
}

__device__ static inline void load_queries(real *tile, const struct attention *a, const real *from, int64_t b, int64_t h,
                                           const struct query_tile *q, real factor) {
    tile_load(tile, tile_ld(a->e), from + ((b * a->queries + q->t0) * a->heads + h) * a->e, a->heads * a->e, q->count, a->e, a->bq,
              factor);
}
__device__ static inline void load_keys(real *tile, const struct attention *a, const real *own, const real *cached, int64_t g,
                                        const struct key_tile *x) {
    tile_load(tile, tile_ld(a->e), (x->own ? own : cached) + (x->row * a->kv_heads + g) * a->e, a->kv_heads * a->e, x->count, a->e,
              a->bk, 1);
}

/* ---- scores ---- */

/* Distances d0 .. d0 + bk - 1 of head h. */
__device__ static inline void load_distances(real *tile, const struct attention *a, const real *rel, int64_t h, int64_t d0) {
    int64_t width = tile_width(a->e), ld = tile_ld(a->e);
    TILE_EACH(r, c, a->bk, width) {
        int64_t d = d0 + r;
        tile[r * ld + c] = d >= 0 && d < a->distances && c < a->e ? rel[(d * a->heads + h) * a->e + c] : 0;
    }
}

/* S[i,j] = Q K^T (+ QR rel along the diagonals) (+ bias) for a tile; Q and QR come multiplied by scale; -inf where a pair is not
 * visible. R [bq,bk] and D [bk,e] are room for relative scores. A barrier lies before and after. */
__device__ static inline void tile_scores(const struct attention *a, const struct window *w, const struct query_tile *q,
                                          const struct key_tile *x, int64_t h, real *S, const real *Q, const real *K,
                                          const real *QR, const real *rel, const real *bias, real *R, real *D) {
    int64_t ld = tile_ld(a->e), lds = tile_ld(a->bk), width = tile_width(a->e);
    __syncthreads();
    tile_product<false, true>(a->tf32, S, lds, Q, ld, K, ld, a->bq, a->bk, width, false);
    if (rel) {
        int64_t first = q->t0 - x->a0 - a->bk + 1; /* distance of query 0 and the last key; a multiple of bk on from there */
        for (int64_t d0 = first; d0 < first + a->bq + a->bk; d0 += a->bk) {
            __syncthreads();
            load_distances(D, a, rel, h, d0);
            __syncthreads();
            tile_product<false, true>(a->tf32, R, lds, QR, ld, D, ld, a->bq, a->bk, width, false);
            __syncthreads();
            TILE_EACH(r, c, a->bq, a->bk) {
                int64_t d = q->t0 + r - x->a0 - c - d0;
                if (d >= 0 && d < a->bk) S[r * lds + c] += R[r * lds + d];
            }
        }
    }
    __syncthreads();
    TILE_EACH(r, c, a->bq, a->bk) {
        int64_t t = q->t0 + r, at = x->a0 + c;
        bool seen = r < q->count && c < x->count && at >= lowest(a, w, t) && at <= highest(a, w, t);
        if (!seen)
            S[r * lds + c] = -INFINITY;
        else if (bias)
            S[r * lds + c] += bias[h * a->distances + t - at];
    }
    __syncthreads();
}

/* Whether all rows of a tile are finite: a weight of 0 must not meet a NaN. All threads get the answer. */
__device__ static inline bool tile_is_finite(const real *tile, int64_t ld, int64_t rows, int64_t columns) {
    int bad = 0;
    TILE_EACH(row, col, rows, columns) {
        real v = tile[row * ld + col];
        bad |= !(v - v == 0);
    }
    return !__syncthreads_or(bad);
}

#endif
