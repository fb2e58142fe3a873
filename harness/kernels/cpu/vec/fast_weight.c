/* fast_weight.c - fast weights (linear attention, delta rule, gated delta rule) in chunks of at most 64 tokens, forward and
 * backward.
 *
 * Within a chunk that starts from the state S, rows being tokens, D_ij = exp(c_i - c_j) for j <= i and 0 above (c the running sum
 * of the log decays), G_i = exp(c_i), L_i = exp(c_last - c_i), all 1 without decays: delta  (I + A) U = diag(beta) (V - diag(G) K
 * S),  A = diag(beta) (D * K K^T) below the diagonal;    sum  U = V O = diag(G) Q S + P U,  P = D * Q K^T;    S' = G_last S +
 * (diag(L) K)^T U The differences c_i - c_j are made in double before the exponential, so that nothing overflows and little
 * cancels. The triangular system is solved by substitution in blocks of rows: no inverse is formed.
 *
 * One thread owns a (batch row, key/value head) for the whole scan and sums in a fixed order: the bits do not depend on the number
 * of threads. The backward starts every segment from its saved state, makes the states at its chunks again, and goes back through
 * them. Chunks do not cross segments. Products are those of tile.h; a head size up to about 350 fits. */
#include "../cpu.h"
#include "tile.h"
#include "vmath.h"
#include <string.h>

#define CHUNK 64
#define BLOCK 16 /* rows of a triangle that are multiplied or solved together */

/* Where (b, g) finds its things. */
struct place {
    const struct fast_weight_shape *a;
    int64_t b, g, ldk, ldv, ldq, ldo, chunk;
};

static struct place place_of(const struct fast_weight_shape *a, int64_t task) {
    int64_t chunk = a->chunk > 0 ? min64(a->chunk, CHUNK) : CHUNK;
    return (struct place){
        a, task / a->kv_heads, task % a->kv_heads, a->kv_heads * a->e, a->kv_heads * a->f, a->heads * a->e, a->heads * a->f, chunk};
}

/* The inputs of a chunk at its first token, and what it is worked out in; ld: its rows rounded up to vectors. beta and decay have
 * stride kv_heads. */
struct chunk {
    const real *k, *v, *beta, *decay;
    int64_t rows, ld;
    real *kt;         /* K^T [E,ld] */
    real *d, *x, *na; /* D, D * K K^T, -A [rows,ld] */
    real *p;          /* P of one head [rows,ld] */
    real *dev, *u;    /* V - diag(G) K S, U [rows,F] */
    real *scaled;     /* rows of keys or values with a factor each */
    real grow[CHUNK], left[CHUNK];
};

static int64_t chunk_room(const struct fast_weight_shape *a) { return CHUNK * (a->e + 4 * CHUNK + 2 * a->f + max64(a->e, a->f)); }

static real *chunk_init(struct chunk *w, const struct fast_weight_shape *a, real *room) {
    w->kt = room;
    w->d = w->kt + CHUNK * a->e;
    w->x = w->d + CHUNK * CHUNK;
    w->na = w->x + CHUNK * CHUNK;
    w->p = w->na + CHUNK * CHUNK;
    w->dev = w->p + CHUNK * CHUNK;
    w->u = w->dev + CHUNK * a->f;
    w->scaled = w->u + CHUNK * a->f;
    return w->scaled + CHUNK * max64(a->e, a->f);
}

static void chunk_at(struct chunk *w, const struct place *o, const real *k, const real *v, const real *beta, const real *decay,
                     int64_t t, int64_t rows) {
    int64_t at = (o->b * o->a->segments * o->a->n + t) * o->a->kv_heads + o->g;
    w->k = k + at * o->a->e;
    w->v = v + at * o->a->f;
    w->beta = beta ? beta + at : NULL;
    w->decay = decay ? decay + at : NULL;
    w->rows = rows;
    w->ld = lanes_up(rows);
}

/* x *= D on and below the diagonal, 0 above, whatever was there. */
static void lower(real *restrict x, const real *d, int64_t rows, int64_t ld) {
    for (int64_t i = 0; i < rows; i++) {
#pragma omp simd
        for (int64_t j = 0; j <= i; j++) x[i * ld + j] *= d[i * ld + j];
        memset(x + i * ld + i + 1, 0, (size_t)(ld - i - 1) * sizeof *x);
    }
}

/* C += L B and C += L^T B with L [rows,rows] lower triangular; blocks above the diagonal are not touched. */
static void lower_nn(real *c, int64_t ldc, const real *l, int64_t ld, const real *b, int64_t ldb, int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; i += BLOCK) {
        int64_t n = min64(BLOCK, rows - i);
        tile_nn(c + i * ldc, ldc, l + i * ld, ld, b, ldb, n, width, i + n, 1);
    }
}

static void lower_tn(real *c, int64_t ldc, const real *l, int64_t ld, const real *b, int64_t ldb, int64_t rows, int64_t width) {
    for (int64_t j = 0; j < rows; j += BLOCK)
        tile_tn(c + j * ldc, ldc, l + j * ld + j, ld, b + j * ldb, ldb, min64(BLOCK, rows - j), width, rows - j, 1);
}

static void add_row(real *to, real factor, const real *from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] += factor * from[i];
}

/* X <- (I - L)^-1 X, and with the transpose; L [rows,rows] strictly lower, X [rows,width]. */
static void solve(real *x, const real *l, int64_t ld, int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; i += BLOCK) {
        int64_t end = min64(i + BLOCK, rows);
        if (i > 0) tile_nn(x + i * width, width, l + i * ld, ld, x, width, end - i, width, i, 1);
        for (int64_t r = i + 1; r < end; r++)
            for (int64_t j = i; j < r; j++) add_row(x + r * width, l[r * ld + j], x + j * width, width);
    }
}

static void solve_transposed(real *x, const real *l, int64_t ld, int64_t rows, int64_t width) {
    for (int64_t i = (rows - 1) / BLOCK * BLOCK; i >= 0; i -= BLOCK) {
        int64_t end = min64(i + BLOCK, rows);
        if (end < rows) tile_tn(x + i * width, width, l + end * ld + i, ld, x + end * width, width, end - i, width, rows - end, 1);
        for (int64_t r = end - 2; r >= i; r--)
            for (int64_t j = r + 1; j < end; j++) add_row(x + r * width, l[j * ld + r], x + j * width, width);
    }
}

static void scale_rows(real *to, int64_t ldt, const real *factor, const real *from, int64_t ldf, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++)
#pragma omp simd
        for (int64_t i = 0; i < width; i++) to[r * ldt + i] = factor[r] * from[r * ldf + i];
}

static void decays(struct chunk *w, int64_t stride) {
    double c[CHUNK], sum = 0;
    for (int64_t i = 0; i < w->rows; i++) c[i] = sum += w->decay ? (double)w->decay[i * stride] : 0;
    for (int64_t i = 0; i < w->rows; i++) {
        real *row = w->d + i * w->ld;
        w->grow[i] = w->left[i] = 1;
        if (w->decay) {
            w->grow[i] = v_exp((real)c[i]);
            w->left[i] = v_exp((real)(sum - c[i]));
#pragma omp simd
            for (int64_t j = 0; j <= i; j++) row[j] = v_exp((real)(c[i] - c[j]));
        } else
            for (int64_t j = 0; j <= i; j++) row[j] = 1;
    }
}

/* All that does not depend on the queries: K^T, D, U, and for the delta rule X, -A and the deviations. */
static void chunk_keys(struct chunk *w, const struct place *o, const real *s) {
    int64_t E = o->a->e, F = o->a->f, rows = w->rows, ld = w->ld, G = o->a->kv_heads;
    tile_transpose(w->kt, ld, w->k, o->ldk, rows, E, 1);
    decays(w, G);
    if (o->a->rule == FAST_WEIGHT_SUM) {
        for (int64_t i = 0; i < rows; i++) memcpy(w->u + i * F, w->v + i * o->ldv, (size_t)F * sizeof *w->u);
        return;
    }
    tile_nn(w->x, ld, w->k, o->ldk, w->kt, ld, rows, ld, E, 0);
    lower(w->x, w->d, rows, ld);
    tile_nn(w->dev, F, w->k, o->ldk, s, F, rows, F, E, 0);
    for (int64_t i = 0; i < rows; i++) {
        real beta = w->beta[i * G];
        for (int64_t j = 0; j < ld; j++) w->na[i * ld + j] = j < i ? -beta * w->x[i * ld + j] : 0;
#pragma omp simd
        for (int64_t j = 0; j < F; j++) {
            w->dev[i * F + j] = w->v[i * o->ldv + j] - w->grow[i] * w->dev[i * F + j];
            w->u[i * F + j] = beta * w->dev[i * F + j];
        }
    }
    solve(w->u, w->na, ld, rows, F);
}

/* P of one query head. */
static void chunk_scores(struct chunk *w, const struct place *o, const real *q) {
    tile_nn(w->p, w->ld, q, o->ldq, w->kt, w->ld, w->rows, w->ld, o->a->e, 0);
    lower(w->p, w->d, w->rows, w->ld);
}

/* 1/(q . z_t + eps) of row i, z_t = z + the keys up to the row. */
static real normaliser(const struct chunk *w, const struct place *o, const real *q, const real *z, int64_t i) {
    real sum = tile_dot(q + i * o->ldq, z, o->a->e) + (real)o->a->eps;
    for (int64_t j = 0; j <= i; j++) sum += w->p[i * w->ld + j];
    return 1 / sum;
}

static void chunk_read(struct chunk *w, const struct place *o, real *out, const real *q, const real *s, const real *z) {
    int64_t E = o->a->e, F = o->a->f;
    chunk_scores(w, o, q);
    tile_nn(out, o->ldo, q, o->ldq, s, F, w->rows, F, E, 0);
    if (w->decay) scale_rows(out, o->ldo, w->grow, out, o->ldo, w->rows, F);
    lower_nn(out, o->ldo, w->p, w->ld, w->u, F, w->rows, F);
    for (int64_t i = 0; o->a->rule == FAST_WEIGHT_SUM && i < w->rows; i++) {
        real inverse = normaliser(w, o, q, z, i);
#pragma omp simd
        for (int64_t j = 0; j < F; j++) out[i * o->ldo + j] *= inverse;
    }
}

/* The state after the chunk, in place. */
static void chunk_write(struct chunk *w, const struct place *o, real *s, real *z) {
    int64_t E = o->a->e, F = o->a->f, last = w->rows - 1;
    const real *u = w->u;
    if (w->decay) {
        for (int64_t i = 0; i < E * F; i++) s[i] *= w->grow[last];
        scale_rows(w->scaled, F, w->left, w->u, F, w->rows, F);
        u = w->scaled;
    }
    tile_tn(s, F, w->k, o->ldk, u, F, E, F, w->rows, 1);
    for (int64_t i = 0; z && i < w->rows; i++) add_row(z, 1, w->k + i * o->ldk, E);
}

static void copy_or_zero(real *to, const real *from, int zero, int64_t n) {
    if (zero)
        memset(to, 0, (size_t)n * sizeof *to);
    else
        memcpy(to, from, (size_t)n * sizeof *to);
}

static void scan_fwd(const struct place *o, real *out, real *m, real *z, const real *q, const real *k, const real *v,
                     const real *beta, const real *decay, const int32_t *since, const int32_t *len) {
    const struct fast_weight_shape *a = o->a;
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->heads, G = a->kv_heads, E = a->e, F = a->f, group = H / G;
    struct chunk w;
    real *open = chunk_init(&w, a, cpu_scratch()), *zopen = open + E * F; /* the state within a partial segment */
    for (int64_t seg = 0; seg < S; seg++) {
        int64_t from = (seg * B + o->b) * G + o->g, to = ((seg + 1) * B + o->b) * G + o->g;
        int reset = since[o->b * S + seg] == 0, written = len[o->b * S + seg] >= N;
        real *s = m + to * E * F, *zs = z ? z + to * E : NULL;
        copy_or_zero(s, m + from * E * F, reset, E * F);
        if (z) copy_or_zero(zs, z + from * E, reset, E);
        if (!written) {
            s = memcpy(open, s, (size_t)(E * F) * sizeof *s);
            if (z) zs = memcpy(zopen, zs, (size_t)E * sizeof *zs);
        }
        for (int64_t t = seg * N; t < (seg + 1) * N; t += o->chunk) {
            chunk_at(&w, o, k, v, beta, decay, t, min64(o->chunk, (seg + 1) * N - t));
            chunk_keys(&w, o, s);
            for (int64_t h = o->g * group; h < (o->g + 1) * group; h++) {
                int64_t at = (o->b * T + t) * H + h;
                chunk_read(&w, o, out + at * F, q + at * E, s, zs);
            }
            chunk_write(&w, o, s, zs);
        }
    }
}

static void fast_weight_fwd(real *out, real *m, real *z, const real *q, const real *k, const real *v, const real *beta,
                            const real *decay, const int32_t *since, const int32_t *len, const struct fast_weight_shape *a) {
    int64_t tasks = a->batch * a->kv_heads;
    scratch_holds(chunk_room(a) + a->e * (a->f + 1), CPU_SCRATCH, "fast_weight_fwd");
#pragma omp parallel for schedule(dynamic, 1) if (tasks > 1)
    for (int64_t task = 0; task < tasks; task++) {
        struct place o = place_of(a, task);
        scan_fwd(&o, out, m, z, q, k, v, beta, decay, since, len);
    }
}

/* ---- backward ---- */

struct back {
    struct gout dq, dk, dv, dbeta, ddecay;
    real *ut, *dp, *du, *dkey, *rows; /* U^T [F,ld], dP [rows,ld], dU [rows,F], dK [rows,E], one more [rows,E] */
    real *st, *dst;                   /* S^T and the transposed gradient of the state after the chunk, [F, lanes_up(E)] */
    real dc[CHUNK];                   /* of the running sums of the log decays */
};

static void put_rows(struct gout g, int64_t at, int64_t ld, const real *from, int64_t rows, int64_t width) {
    for (int64_t r = 0; g.p && r < rows; r++) {
        real *to = g.p + at + r * ld;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) to[i] = g.beta ? to[i] + from[r * width + i] : from[r * width + i];
    }
}

/* From the entries x_ij below the diagonal of P or A, which are linear in D_ij, and their gradients y_ij: x_ij y_ij moves c_i up
 * and c_j down. */
static void triangle_decays(real *restrict dc, const real *x, const real *y, int64_t rows, int64_t ld) {
    for (int64_t i = 1; i < rows; i++) {
        dc[i] += tile_dot(x + i * ld, y + i * ld, i);
#pragma omp simd
        for (int64_t j = 0; j < i; j++) dc[j] -= x[i * ld + j] * y[i * ld + j];
    }
}

/* Through S' = G_last S + (diag(L) K)^T U and z' = z + sum of keys: starts dU and dK, turns ds from after to before. */
static void write_bwd(struct chunk *w, struct back *x, const struct place *o, const real *s, real *ds, const real *dz) {
    int64_t E = o->a->e, F = o->a->f, rows = w->rows, last = rows - 1, lde = lanes_up(E);
    tile_nn(x->du, F, w->k, o->ldk, ds, F, rows, F, E, 0);
    tile_nn(x->dkey, E, w->u, F, x->dst, lde, rows, E, F, 0);
    memset(x->dc, 0, sizeof x->dc);
    if (w->decay) {
        x->dc[last] = w->grow[last] * tile_dot(ds, s, E * F);
        for (int64_t i = 0; i < last; i++) {
            real e = w->left[i] * tile_dot(w->u + i * F, x->du + i * F, F);
            x->dc[last] += e;
            x->dc[i] -= e;
        }
        scale_rows(x->du, F, w->left, x->du, F, rows, F);
        scale_rows(x->dkey, E, w->left, x->dkey, E, rows, E);
        for (int64_t i = 0; i < E * F; i++) ds[i] *= w->grow[last];
    }
    for (int64_t i = 0; dz && i < rows; i++) add_row(x->dkey + i * E, 1, dz, E);
}

/* Through the read of one query head: adds to dU, dK, ds, dz, puts dq. */
static void read_bwd(struct chunk *w, struct back *x, const struct place *o, const real *dout, const real *q, int64_t at,
                     const real *z, real *ds, real *dz) {
    int64_t E = o->a->e, F = o->a->f, rows = w->rows, ld = w->ld, lde = lanes_up(E), ldg = o->ldo;
    real inverse[CHUNK];
    const real *g = dout; /* gradient of the numerator */
    chunk_scores(w, o, q);
    if (o->a->rule == FAST_WEIGHT_SUM) {
        for (int64_t i = 0; i < rows; i++) inverse[i] = normaliser(w, o, q, z, i);
        scale_rows(w->scaled, F, inverse, dout, o->ldo, rows, F);
        g = w->scaled;
        ldg = F;
    }
    tile_nn(x->dp, ld, g, ldg, x->ut, ld, rows, ld, F, 0);
    tile_nn(x->rows, E, g, ldg, x->st, lde, rows, E, F, 0);
    lower_tn(x->du, F, w->p, ld, g, ldg, rows, F);
    if (w->decay) {
        scale_rows(x->rows, E, w->grow, x->rows, E, rows, E);
        for (int64_t i = 0; i < rows; i++) x->dc[i] += tile_dot(q + i * o->ldq, x->rows + i * E, E);
        triangle_decays(x->dc, w->p, x->dp, rows, ld);
        scale_rows(w->scaled, F, w->grow, dout, o->ldo, rows, F);
        g = w->scaled;
        ldg = F;
    }
    tile_tn(ds, F, q, o->ldq, g, ldg, E, F, rows, 1);
    for (int64_t i = 0; o->a->rule == FAST_WEIGHT_SUM && i < rows; i++) { /* dn = -(dy.y)/n; n = q.z + sum of P's row */
        real dot = tile_dot(q + i * o->ldq, x->rows + i * E, E) + tile_dot(w->p + i * ld, x->dp + i * ld, i + 1);
        real dn = -dot * inverse[i];
        for (int64_t j = 0; j <= i; j++) x->dp[i * ld + j] += dn;
        add_row(x->rows + i * E, dn, z, E);
        add_row(dz, dn, q + i * o->ldq, E);
    }
    lower(x->dp, w->d, rows, ld);
    lower_nn(x->rows, E, x->dp, ld, w->k, o->ldk, rows, E);
    lower_tn(x->dkey, E, x->dp, ld, q, o->ldq, rows, E);
    put_rows(x->dq, at, o->ldq, x->rows, rows, E);
}

/* Through (I + A) U = diag(beta) (V - diag(G) K S): dU becomes the gradient of the right side, then that of V. */
static void delta_bwd(struct chunk *w, struct back *x, const struct place *o, int64_t at, real *ds) {
    int64_t E = o->a->e, F = o->a->f, rows = w->rows, ld = w->ld, lde = lanes_up(E), G = o->a->kv_heads;
    solve_transposed(x->du, w->na, ld, rows, F);
    tile_nn(x->dp, ld, x->du, F, x->ut, ld, rows, ld, F, 0); /* -dA */
    if (w->decay) triangle_decays(x->dc, w->na, x->dp, rows, ld);
    for (int64_t i = 0; i < rows; i++) {
        real beta = w->beta[i * G], dbeta = tile_dot(x->du + i * F, w->dev + i * F, F), *row = x->dp + i * ld;
        dbeta -= tile_dot(row, w->x + i * ld, i);
        for (int64_t j = 0; j < ld; j++) row[j] = j < i ? -beta * w->d[i * ld + j] * row[j] : 0;
        if (x->dbeta.p) x->dbeta.p[at + i * G] = x->dbeta.beta ? x->dbeta.p[at + i * G] + dbeta : dbeta;
#pragma omp simd
        for (int64_t j = 0; j < F; j++) {
            x->du[i * F + j] *= beta;
            w->scaled[i * F + j] = -w->grow[i] * x->du[i * F + j];
        }
    }
    lower_nn(x->dkey, E, x->dp, ld, w->k, o->ldk, rows, E);
    lower_tn(x->dkey, E, x->dp, ld, w->k, o->ldk, rows, E);
    tile_nn(x->rows, E, w->scaled, F, x->st, lde, rows, E, F, 0);
    tile_tn(ds, F, w->k, o->ldk, w->scaled, F, E, F, rows, 1);
    for (int64_t i = 0; i < rows; i++) {
        if (w->decay) x->dc[i] += tile_dot(w->k + i * o->ldk, x->rows + i * E, E);
        add_row(x->dkey + i * E, 1, x->rows + i * E, E);
    }
}

/* One chunk from s, z: ds, dz from the gradient of the state after it to that of s, z. */
static void chunk_bwd(struct chunk *w, struct back *x, const struct place *o, const real *dout, const real *q, int64_t t,
                      const real *s, const real *z, real *ds, real *dz) {
    const struct fast_weight_shape *a = o->a;
    int64_t E = a->e, F = a->f, G = a->kv_heads, H = a->heads, T = a->segments * a->n, lde = lanes_up(E), group = H / G;
    int64_t at = (o->b * T + t) * G + o->g;
    tile_transpose(x->st, lde, s, F, E, F, 1);
    tile_transpose(x->dst, lde, ds, F, E, F, 1);
    tile_transpose(x->ut, w->ld, w->u, F, w->rows, F, 1);
    write_bwd(w, x, o, s, ds, dz);
    for (int64_t h = o->g * group; h < (o->g + 1) * group; h++) {
        int64_t row = (o->b * T + t) * H + h;
        read_bwd(w, x, o, dout + row * F, q + row * E, row * E, z, ds, dz);
    }
    if (a->rule == FAST_WEIGHT_DELTA) delta_bwd(w, x, o, at, ds);
    put_rows(x->dv, at * F, o->ldv, x->du, w->rows, F);
    put_rows(x->dk, at * E, o->ldk, x->dkey, w->rows, E);
    double sum = 0; /* a log decay is in the running sums of its token and of all after it */
    for (int64_t i = w->rows - 1; x->ddecay.p && i >= 0; i--) {
        real *to = x->ddecay.p + at + i * G;
        sum += (double)x->dc[i];
        *to = x->ddecay.beta ? *to + (real)sum : (real)sum;
    }
}

static int64_t back_room(const struct fast_weight_shape *a) { return CHUNK * (CHUNK + 2 * a->f + 2 * a->e); }

/* tmp of one owner: the states at the chunks, the gradient within a partial segment, S^T and its gradient transposed. */
static void scan_bwd(const struct place *o, struct back *x, real *dm, real *dz, const real *dout, const real *m, const real *z,
                     const real *q, const real *k, const real *v, const real *beta, const real *decay, const int32_t *since,
                     const int32_t *len, real *tmp) {
    const struct fast_weight_shape *a = o->a;
    int64_t B = a->batch, S = a->segments, N = a->n, G = a->kv_heads, E = a->e, F = a->f, per = E * (F + 1);
    int64_t chunks = (N + o->chunk - 1) / o->chunk;
    struct chunk w;
    x->ut = chunk_init(&w, a, cpu_scratch());
    x->dp = x->ut + CHUNK * F;
    x->du = x->dp + CHUNK * CHUNK;
    x->dkey = x->du + CHUNK * F;
    x->rows = x->dkey + CHUNK * E;
    real *open = tmp + chunks * per, *zopen = open + E * F;
    x->st = open + per;
    x->dst = x->st + F * lanes_up(E);
    for (int64_t seg = S - 1; seg >= 0; seg--) {
        int64_t from = (seg * B + o->b) * G + o->g;
        int reset = since[o->b * S + seg] == 0, written = len[o->b * S + seg] >= N;
        real *ds = written ? dm : memset(open, 0, (size_t)per * sizeof *open), *dzs = written ? dz : zopen;
        copy_or_zero(tmp, m + from * E * F, reset, E * F);
        if (z) copy_or_zero(tmp + E * F, z + from * E, reset, E);
        for (int64_t i = 0; i < chunks; i++) { /* the last one is needed as it is, the others for the state after them */
            real *s = tmp + i * per, *next = s + per;
            chunk_at(&w, o, k, v, beta, decay, seg * N + i * o->chunk, min64(o->chunk, N - i * o->chunk));
            chunk_keys(&w, o, s);
            if (i + 1 == chunks) break;
            memcpy(next, s, (size_t)(z ? per : E * F) * sizeof *next);
            chunk_write(&w, o, next, z ? next + E * F : NULL);
        }
        for (int64_t i = chunks - 1; i >= 0; i--) {
            real *s = tmp + i * per;
            if (i + 1 < chunks) {
                chunk_at(&w, o, k, v, beta, decay, seg * N + i * o->chunk, o->chunk);
                chunk_keys(&w, o, s);
            }
            chunk_bwd(&w, x, o, dout, q, seg * N + i * o->chunk, s, z ? s + E * F : NULL, ds, z ? dzs : NULL);
        }
        if (!written) add_row(dm, 1, open, E * F);
        if (!written && z) add_row(dz, 1, zopen, E);
        if (reset) memset(dm, 0, (size_t)(E * F) * sizeof *dm);
        if (reset && z) memset(dz, 0, (size_t)E * sizeof *dz);
    }
}

static void fast_weight_bwd(struct gout dq, struct gout dk, struct gout dv, struct gout dbeta, struct gout ddecay, real *dm,
                            real *dz, const real *dout, const real *m, const real *z, const real *q, const real *k, const real *v,
                            const real *beta, const real *decay, const int32_t *since, const int32_t *len, real *tmp,
                            const struct fast_weight_shape *a) {
    int64_t tasks = a->batch * a->kv_heads, room = fast_weight_tmp(a) / (tasks > 0 ? tasks : 1);
    scratch_holds(chunk_room(a) + back_room(a), CPU_SCRATCH, "fast_weight_bwd");
#pragma omp parallel for schedule(dynamic, 1) if (tasks > 1)
    for (int64_t task = 0; task < tasks; task++) {
        struct place o = place_of(a, task);
        struct back x = {.dq = dq, .dk = dk, .dv = dv, .dbeta = dbeta, .ddecay = ddecay};
        scan_bwd(&o, &x, dm + task * a->e * a->f, dz ? dz + task * a->e : NULL, dout, m, z, q, k, v, beta, decay, since, len,
                 tmp + task * room);
    }
}

void ISA_FN(cpu_fast_weight)(struct kernels *k) {
    k->fast_weight_fwd = fast_weight_fwd;
    k->fast_weight_bwd = fast_weight_bwd;
}
