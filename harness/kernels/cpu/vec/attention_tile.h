/* attention_tile.h - what forward and backward attention share: the geometry of a tile of queries against a tile of keys, and its
 * scores. Does no softmax and no gradient.
 *
 * Scores lie transposed: a row of the tile is a key, its lanes are the queries. So keys and values are read by broadcast from
 * where they are, unpacked; only the queries are transposed, once per tile; and softmax, its backward and the masks work along
 * vectors of queries without a sum across a vector.
 *
 * Every query sees one interval of keys, whose ends never fall from one query of a segment to the next; so every key is seen by
 * one interval of lanes. Blocks of MR keys are computed only for the vectors of lanes that see any of them.
 *
 * Relative scores qr_t . rel_d stand in a ring over the distance d: walking the keys upwards, d falls, and each (t, d) that the
 * tile needs is computed once. They are added along the diagonal d = t - a. */
#ifndef INFINIBENCH_CPU_ATTENTION_TILE_H
#define INFINIBENCH_CPU_ATTENTION_TILE_H

#include "../cpu.h"
#include "tile.h"
#include "vmath.h"

void ISA_FN(cpu_attention_bwd)(struct kernels *k); /* attention_bwd.c */

#define BQ 64    /* queries a tile */
#define BK 64    /* keys a tile */
#define RING 256 /* distances in the ring: a power of two >= BQ + BK + MR */

/* One tile of queries of one (batch row, query head), all in one segment. */
struct query_tile {
    const struct attention_shape *a;
    const real *k, *v, *kc, *vc, *rel, *bias; /* rel of head h; bias of head h */
    const real *qt, *qrt;                     /* [E,BQ], times scale */
    real *s;                                  /* [BK,BQ] scores */
    real *ring;                               /* [RING,BQ], slot = distance mod RING */
    int64_t b, g, h;
    int64_t t0, t1, lanes; /* queries; their number rounded up to vectors */
    int64_t floor;         /* lo without the window */
    int64_t empty;         /* lead rows that only each other see */
    int64_t bound;         /* first position that is read from k, v */
    int64_t lo, hi;        /* keys that any query of the tile sees, hi exclusive */
    int64_t ring_from;     /* distances >= ring_from are in the ring */
};

/* A run of keys from one source. */
struct key_tile {
    int64_t a0, a1, ld; /* positions; floats from a key to the next */
    int64_t at;         /* of the first key in k, v or kc, vc (and their gradients) */
    int own, whole;     /* whole: every query of the tile sees every key */
    const real *k, *v;
};

static inline int64_t visible_from(const struct query_tile *q, int64_t t) {
    if (q->empty) return t < q->empty ? 0 : q->empty;
    return q->a->window > 0 ? max64(q->floor, t - q->a->window + 1) : q->floor;
}

static inline int64_t visible_to(const struct query_tile *q, int64_t t) { /* exclusive */
    if (t < q->a->lead) return t < q->empty ? q->empty : q->a->lead;
    return t >= q->a->queries - q->a->trail ? q->a->queries : t + 1;
}

/* First lane that sees the key at position a, and the lane after the last. */
static inline int64_t lane_from(const struct query_tile *q, int64_t a) {
    if (a < q->a->lead) return a < q->empty ? 0 : min64(max64(q->empty - q->t0, 0), q->t1 - q->t0);
    if (q->a->trail > 0) a = min64(a, q->a->queries - q->a->trail);
    return min64(max64(a - q->t0, 0), q->t1 - q->t0);
}

static inline int64_t lane_to(const struct query_tile *q, int64_t a) {
    int64_t to = q->empty && a < q->empty ? min64(q->empty, q->t1) : q->a->window > 0 ? min64(a + q->a->window, q->t1) : q->t1;
    return max64(to - q->t0, 0);
}

static inline int64_t tile_segments(const struct attention_shape *a) { return (a->queries + a->segment - 1) / a->segment; }

/* Tiles of a segment are equal but for rounding to vectors. */
static inline int64_t tile_length(const struct attention_shape *a) {
    int64_t n = min64(a->segment, a->queries), tiles = (n + BQ - 1) / BQ;
    return min64(lanes_up((n + tiles - 1) / tiles), n);
}

static inline void query_tile_init(struct query_tile *q, const int32_t *since) {
    const struct attention_shape *a = q->a;
    int64_t seg = q->t0 / a->segment, p = seg * a->segment;
    q->lanes = lanes_up(q->t1 - q->t0);
    q->floor = max64(max64(p - since[q->b * tile_segments(a) + seg], p - a->back), -a->cache);
    q->empty = attention_empty(a, since[q->b * tile_segments(a) + seg]);
    q->bound = a->own_from_segment ? p : 0;
    q->lo = visible_from(q, q->t0);
    q->hi = visible_to(q, q->t1 - 1);
    q->ring_from = min64(q->t1 - q->lo, a->distances);
}

static inline struct key_tile key_tile_at(const struct query_tile *q, int64_t a0) {
    const struct attention_shape *a = q->a;
    struct key_tile x = {.a0 = a0, .ld = a->kv_heads * a->e, .own = a0 >= q->bound};
    x.a1 = min64(a0 + BK, x.own ? q->hi : min64(q->hi, q->bound));
    x.at = x.own ? ((q->b * a->queries + a0) * a->kv_heads + q->g) * a->e
                 : ((q->b * a->cache_rows + a0 + a->cache) * a->kv_heads + q->g) * a->e;
    x.k = (x.own ? q->k : q->kc) + x.at;
    x.v = (x.own ? q->v : q->vc) + x.at;
    x.whole = lane_from(q, x.a1 - 1) == 0 && lane_to(q, a0) == q->t1 - q->t0;
    return x;
}

/* The vectors of lanes [*from, *to) that see any of the keys [a, b). */
static inline void lane_range(const struct query_tile *q, int64_t a, int64_t b, int64_t *from, int64_t *to) {
    *from = lanes_down(lane_from(q, a));
    *to = lanes_up(lane_to(q, b - 1));
}

/* Fills the ring down to the distances that keys below a1 need. Rows are aligned blocks of MR, so none crosses the ring's end. */
static inline void ring_fill(struct query_tile *q, int64_t a1) {
    int64_t E = q->a->e, ld = q->a->heads * E, low = max64(q->t0 - a1 + 1, 0) & ~(int64_t)(MR - 1);
    for (int64_t d = low, end; d < q->ring_from; d = end) {
        end = min64(d + MR, q->ring_from);
        int64_t from = lanes_down(min64(max64(d + q->lo - q->t0, 0), q->lanes)); /* lanes before see no key at distance d */
        tile_nn(q->ring + (d & (RING - 1)) * BQ + from, BQ, q->rel + d * ld, ld, q->qrt + from, BQ, end - d, q->lanes - from, E, 0);
    }
    q->ring_from = min64(q->ring_from, low);
}

/* Scores of a tile of keys into q->s; in the vectors of lane_range() an invisible pair gets -inf, outside of them nothing is
 * written. */
static inline void tile_scores(struct query_tile *q, const struct key_tile *x) {
    int64_t E = q->a->e;
    if (q->rel) ring_fill(q, x->a1);
    if (x->whole) tile_nn(q->s, BQ, x->k, x->ld, q->qt, BQ, x->a1 - x->a0, q->lanes, E, 0);
    for (int64_t a = x->a0, end; a < x->a1; a = end) {
        int64_t from, to;
        end = min64(a + MR, x->a1);
        lane_range(q, a, end, &from, &to);
        if (!x->whole)
            tile_nn(q->s + (a - x->a0) * BQ + from, BQ, x->k + (a - x->a0) * x->ld, x->ld, q->qt + from, BQ, end - a, to - from, E,
                    0);
        if (x->whole && !q->rel && !q->bias) continue;
        for (int64_t r = a; r < end; r++) {
            real *s = q->s + (r - x->a0) * BQ;
            int64_t first = lane_from(q, r), last = lane_to(q, r), d = q->t0 - r;
            for (int64_t i = from; i < first; i++) s[i] = -INFINITY;
            if (q->rel)
                for (int64_t i = first; i < last; i++) s[i] += q->ring[((d + i) & (RING - 1)) * BQ + i];
            if (q->bias)
#pragma omp simd
                for (int64_t i = first; i < last; i++) s[i] += q->bias[d + i];
            for (int64_t i = last; i < to; i++) s[i] = -INFINITY;
        }
    }
}

#endif
