/* memory.cu - the compressive memory of Infini-attention: read, write, and their gradient through the segments. M, z and all
 * products with them are in fp32, whatever matrix products are in.
 *
 * Reads of all segments run together once the states are there; writes go segment by segment, because the delta rule reads what it
 * will change. A write block has FS columns of M for all of E and walks over the tokens, so a sum has one writer and one order. The
 * backward goes through the segments in reverse: tokens (dq, dk, dv, and per token what the state's gradient needs), then the
 * state.
 *
 * A memory whose z is 0 everywhere is empty: its read is exactly 0 and has no gradient, as at a document start. */
#include "tile.cuh"

#define ROWS 64 /* tokens of a tile, or less where a segment has less */
#define FS 32   /* columns of M of a tile */

struct memory {
    int64_t batch, segments, n, heads, kv_heads, e, f, update, rows; /* rows of a tile */
    double eps;
};
static struct memory memory_of(const struct memory_shape *s) {
    return {s->batch, s->segments, s->n, s->heads, s->kv_heads, s->e, s->f, s->update, least(ROWS, round_up(s->n, 16)), s->eps};
}
__device__ static inline int64_t state_of(const struct memory *a, int64_t s, int64_t b, int64_t g) {
    return (s * a->batch + b) * a->kv_heads + g;
}

/* Whether segment s starts with an empty memory. A barrier lies before and after. */
__device__ static inline bool is_empty(const struct memory *a, const real *z, const int32_t *since, int64_t s, int64_t b,
                                       int64_t g) {
    const real *zs = z + state_of(a, s, b, g) * a->e;
    int full = 0;
    if (since[b * a->segments + s] != 0)
        for (int64_t i = threadIdx.x; i < a->e; i += THREADS) full |= !(zs[i] == 0);
    return !__syncthreads_or(full);
}

/* out[r] = rows of x . z + eps, by the warps in turn. */
__device__ static inline void normalisers(real *out, const real *x, int64_t ld, const real *z, double eps, int64_t rows,
                                          int64_t e) {
    int lane = threadIdx.x % 32;
    for (int64_t r = threadIdx.x / 32; r < rows; r += WARPS) {
        real sum = 0;
        for (int64_t i = lane; i < e; i += 32) sum += x[r * ld + i] * z[i];
        sum = warp_sum(sum);
        if (lane == 0) out[r] = sum + (real)eps;
    }
}

/* ---- forward ---- */

/* A block a (tile of tokens, query head, (batch row, segment)). */
static __global__ void __launch_bounds__(THREADS)
    memory_read(real *out, const real *m, const real *z, const real *q, const int32_t *since, struct memory a) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(FS), T = a.segments * a.n;
    real *X = shared, *M = X + a.rows * ld, *Y = M + tile_width(a.e) * lds, *den = Y + a.rows * lds;
    int64_t h = blockIdx.y, s = blockIdx.z % a.segments, b = blockIdx.z / a.segments, g = h / (a.heads / a.kv_heads);
    int64_t t0 = s * a.n + (int64_t)blockIdx.x * a.rows, rows = least(a.rows, (s + 1) * a.n - t0), at = (b * T + t0) * a.heads + h;
    const real *Ms = m + state_of(&a, s, b, g) * a.e * a.f, *zs = z + state_of(&a, s, b, g) * a.e;
    if (is_empty(&a, z, since, s, b, g)) {
        TILE_EACH(row, col, rows, a.f) out[(at + row * a.heads) * a.f + col] = 0;
        return;
    }
    tile_features(X, ld, q + at * a.e, a.heads * a.e, rows, a.e, a.rows);
    __syncthreads();
    normalisers(den, X, ld, zs, a.eps, rows, a.e);
    for (int64_t j0 = 0; j0 < a.f; j0 += FS) {
        int64_t columns = least(FS, a.f - j0);
        __syncthreads();
        tile_load(M, lds, Ms + j0, a.f, a.e, columns, tile_width(a.e), 1);
        __syncthreads();
        product_fp32<false, false>(Y, lds, X, ld, M, lds, a.rows, tile_width(columns), tile_width(a.e), false);
        __syncthreads();
        TILE_EACH(r, c, rows, columns) { out[(at + r * a.heads) * a.f + j0 + c] = Y[r * lds + c] / den[r]; }
    }
}

/* Segment s of a (batch row, key/value head), columns blockIdx.x * FS and on: m[s+1], and with the first columns z[s+1]. */
static __global__ void __launch_bounds__(THREADS)
    memory_write(real *m, real *z, real *gamma_mean, const real *k, const real *v, const int32_t *since, const int32_t *len,
                 struct memory a, int64_t s) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(FS), width = tile_width(a.e), T = a.segments * a.n, room = (a.e + 15) / 16 * 16;
    real *X = shared, *M = X + a.rows * ld, *dM = M + width * lds, *U = dM + room * lds, *Z = U + a.rows * lds, *den = Z + width;
    real *gamma = den + a.rows;
    int64_t j0 = (int64_t)blockIdx.x * FS, columns = least(FS, a.f - j0), g = blockIdx.y, b = blockIdx.z;
    const real *Ms = m + state_of(&a, s, b, g) * a.e * a.f + j0, *zs = z + state_of(&a, s, b, g) * a.e;
    real *next = m + state_of(&a, s + 1, b, g) * a.e * a.f + j0, *znext = z + state_of(&a, s + 1, b, g) * a.e;
    bool empty = is_empty(&a, z, since, s, b, g), reads = !empty && a.update != MEMORY_LINEAR,
         clips = !empty && a.update == MEMORY_DELTA_GAMMA;
    double gammas = 0;
    for (int64_t i = threadIdx.x; i < a.e; i += THREADS) Z[i] = empty ? 0 : zs[i];
    tile_zero(dM, room * lds);
    __syncthreads();
    tile_load(dM, lds, Ms, a.f, empty ? 0 : a.e, columns, room, 1);
    if (reads) tile_load(M, lds, Ms, a.f, a.e, columns, width, 1);
    for (int64_t t0 = s * a.n; t0 < (s + 1) * a.n && len[b * a.segments + s] >= a.n; t0 += a.rows) {
        int64_t rows = least(a.rows, (s + 1) * a.n - t0), at = (b * T + t0) * a.kv_heads + g;
        __syncthreads();
        tile_features(X, ld, k + at * a.e, a.kv_heads * a.e, rows, a.e, a.rows);
        tile_load(U, lds, v + at * a.f + j0, a.kv_heads * a.f, rows, columns, a.rows, 1);
        __syncthreads();
        if (reads) { /* U = V - f(K) M / den */
            normalisers(den, X, ld, zs, a.eps, rows, a.e);
            __syncthreads();
            TILE_EACH(row, col, rows, columns) U[row * lds + col] *= -den[row];
            __syncthreads();
            product_fp32<false, false>(U, lds, X, ld, M, lds, a.rows, tile_width(columns), width, true);
            __syncthreads();
            TILE_EACH(row, col, rows, columns) U[row * lds + col] /= -den[row];
        }
        if (clips) {
            for (int64_t r = threadIdx.x / 32; r < rows; r += WARPS) {
                real dot = 0, norm = 0;
                for (int64_t i = threadIdx.x % 32; i < a.e; i += 32) {
                    real f = X[r * ld + i];
                    dot += f * zs[i];
                    norm += f * f;
                }
                dot = warp_sum(dot);
                norm = warp_sum(norm);
                real x = norm == 0 ? 1 : 1 - dot / norm;
                if (threadIdx.x % 32 == 0) gamma[r] = x < 0 ? 0 : x > 1 ? 1 : x;
            }
        } else
            for (int64_t r = threadIdx.x; r < rows; r += THREADS) gamma[r] = 1;
        __syncthreads();
        product_fp32<true, false>(dM, lds, X, ld, U, lds, room, tile_width(columns), a.rows, true);
        for (int64_t i = threadIdx.x; i < a.e && j0 == 0; i += THREADS) {
            real sum = Z[i];
            for (int64_t r = 0; r < rows; r++) sum += gamma[r] * X[r * ld + i];
            Z[i] = sum;
        }
        for (int64_t r = 0; r < rows; r++) gammas += gamma[r];
    }
    __syncthreads();
    TILE_EACH(row, col, a.e, columns) next[row * a.f + col] = dM[row * lds + col];
    if (j0) return;
    for (int64_t i = threadIdx.x; i < a.e; i += THREADS) znext[i] = Z[i];
    if (gamma_mean && threadIdx.x == 0) gamma_mean[(b * a.segments + s) * a.kv_heads + g] = (real)(gammas / (double)a.n);
}

static void memory_fwd(real *out, real *m, real *z, real *gamma_mean, const real *q, const real *k, const real *v,
                       const int32_t *since, const int32_t *len, const struct memory_shape *shape) {
    struct memory a = memory_of(shape);
    int64_t ld = host_tile_ld(a.e), lds = host_tile_ld(FS), width = round_up(a.e, 8), room = round_up(a.e, 16);
    size_t write = (size_t)(a.rows * ld + (width + room + a.rows) * lds + width + 2 * a.rows) * sizeof(real);
    size_t read = (size_t)(a.rows * ld + (width + a.rows) * lds + a.rows) * sizeof(real);
    for (int64_t s = 0; s < a.segments; s++)
        LAUNCH(memory_write, dim3((unsigned)parts(a.f, FS), (unsigned)a.kv_heads, (unsigned)a.batch), THREADS, write, m, z,
               gamma_mean, k, v, since, len, a, s);
    LAUNCH(memory_read, dim3((unsigned)parts(a.n, a.rows), (unsigned)a.heads, (unsigned)(a.batch * a.segments)), THREADS, read, out,
           (const real *)m, (const real *)z, q, since, a);
}

/* ---- backward ---- */

/* What the state's gradient needs of each token of a segment: rows of F, and two numbers. Of queries dy/den and w = dy.y/den, of
 * keys de/den and w likewise, with de = -dv. */
struct token_notes {
    real *query, *query_w; /* [B,H,N,F], [B,H,N] */
    real *key, *key_w;     /* [B,G,N,F], [B,G,N] */
};

/* Queries and keys of segment s: blockIdx.y < heads a query head, from there a key/value head. */
static __global__ void __launch_bounds__(THREADS)
    memory_tokens(struct place dq, struct place dk, struct place dv, struct token_notes notes, const real *dm, const real *dz,
                  const real *dout, const real *m, const real *z, const real *q, const real *k, const real *v, const int32_t *since,
                  const int32_t *len, struct memory a, int64_t s) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(FS), width = tile_width(a.e), T = a.segments * a.n;
    real *X = shared, *dX = X + a.rows * ld, *M = dX + a.rows * ld, *Up = M + width * lds, *Y = Up + width * lds,
         *dY = Y + a.rows * lds;
    real *V = dY + a.rows * lds, *den = V + a.rows * lds, *w = den + a.rows, *part = w + a.rows;
    bool keys = blockIdx.y >= a.heads;
    int64_t head = keys ? blockIdx.y - a.heads : blockIdx.y, heads = keys ? a.kv_heads : a.heads, b = blockIdx.z;
    int64_t g = keys ? head : head / (a.heads / a.kv_heads), r0 = (int64_t)blockIdx.x * a.rows, rows = least(a.rows, a.n - r0);
    int64_t at = (b * T + s * a.n + r0) * heads + head, note = (b * heads + head) * a.n + r0;
    const real *Ms = m + state_of(&a, s, b, g) * a.e * a.f, *zs = z + state_of(&a, s, b, g) * a.e;
    const real *up = dm + (b * a.kv_heads + g) * a.e * a.f, *zup = dz + (b * a.kv_heads + g) * a.e;
    const real *x = keys ? k : q;
    real *note_row = (keys ? notes.key : notes.query) + note * a.f, *note_w = (keys ? notes.key_w : notes.query_w) + note;
    bool empty = is_empty(&a, z, since, s, b, g), written = len[b * a.segments + s] >= a.n;
    bool reads = !empty && (!keys || (a.update != MEMORY_LINEAR && written));
    struct place dx = keys ? dk : dq;
    tile_features(X, ld, x + at * a.e, heads * a.e, rows, a.e, a.rows);
    tile_zero(dX, a.rows * ld);
    for (int64_t r = threadIdx.x; r < a.rows; r += THREADS) w[r] = 0, den[r] = 1;
    __syncthreads();
    if (reads) normalisers(den, X, ld, zs, a.eps, rows, a.e);
    for (int64_t j0 = 0; j0 < a.f; j0 += FS) {
        int64_t columns = least(FS, a.f - j0), across = tile_width(columns);
        __syncthreads();
        if (reads) tile_load(M, lds, Ms + j0, a.f, a.e, columns, width, 1);
        if (keys) {
            tile_load(Up, lds, up + j0, a.f, written ? a.e : 0, columns, width, 1);
            tile_load(V, lds, v + at * a.f + j0, heads * a.f, rows, columns, a.rows, 1);
        } else
            tile_load(dY, lds, dout + at * a.f + j0, heads * a.f, rows, columns, a.rows, 1);
        __syncthreads();
        if (reads) product_fp32<false, false>(Y, lds, X, ld, M, lds, a.rows, across, width, false);
        if (keys) product_fp32<false, false>(dY, lds, X, ld, Up, lds, a.rows, across, width, false); /* dv = f(k) up */
        __syncthreads();
        if (keys && dv.p) tile_put(dv, at * a.f + j0, heads * a.f, dY, lds, rows, columns, 1);
        TILE_EACH(r, c, a.rows, across) { /* V - R; then dY: the gradient of what was read, over den */
            int64_t here = r * lds + c;
            real y = reads ? Y[here] / den[r] : 0;
            Y[here] = y;
            if (keys) V[here] -= y;
        }
        __syncthreads();
        if (keys && written) product_fp32<false, true>(dX, ld, V, lds, Up, lds, a.rows, width, across, true);
        TILE_EACH(r, c, a.rows, across) {
            int64_t here = r * lds + c;
            dY[here] = reads ? (keys ? -dY[here] : dY[here]) / den[r] : 0;
            if (r < rows && c < columns) note_row[r * a.f + j0 + c] = dY[here];
        }
        __syncthreads();
        if (reads) {
            tile_row_dots(part, dY, lds, Y, lds, rows, columns, false);
            product_fp32<false, true>(dX, ld, dY, lds, M, lds, a.rows, width, across, true);
        }
        __syncthreads();
        for (int64_t r = threadIdx.x; reads && r < rows; r += THREADS) w[r] += part[r];
    }
    __syncthreads();
    for (int64_t r = threadIdx.x; r < rows; r += THREADS) note_w[r] = w[r];
    if (keys && written) { /* the gradient by way of z: gamma, a constant, times that of z */
        bool clips = !empty && a.update == MEMORY_DELTA_GAMMA;
        for (int64_t r = threadIdx.x / 32; r < rows; r += WARPS) {
            real dot = 0, norm = 0;
            for (int64_t i = threadIdx.x % 32; clips && i < a.e; i += 32) {
                dot += X[r * ld + i] * zs[i];
                norm += X[r * ld + i] * X[r * ld + i];
            }
            dot = warp_sum(dot);
            norm = warp_sum(norm);
            real y = !clips || norm == 0 ? 1 : 1 - dot / norm, gamma = y < 0 ? 0 : y > 1 ? 1 : y;
            for (int64_t i = threadIdx.x % 32; i < a.e; i += 32) dX[r * ld + i] += gamma * zup[i];
        }
        __syncthreads();
    }
    if (dx.p) TILE_EACH(r, c, rows, a.e) {
            int64_t from = (at + r * heads) * a.e + c;
            real d = dX[r * ld + c] - (reads ? w[r] * zs[c] : 0);
            put(dx, from, d * elu1_slope(x[from]));
        }
}

/* dm, columns blockIdx.x * FS and on, and with the first ones dz, from after segment s to before it. */
static __global__ void __launch_bounds__(THREADS)
    memory_state_bwd(real *dm, real *dz, struct token_notes notes, const real *z, const real *q, const real *k,
                     const int32_t *since, const int32_t *len, struct memory a, int64_t s) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(FS), T = a.segments * a.n, room = (a.e + 15) / 16 * 16, width = tile_width(a.e);
    real *X = shared, *dM = X + a.rows * ld, *Y = dM + room * lds, *Z = Y + a.rows * lds, *w = Z + width;
    int64_t j0 = (int64_t)blockIdx.x * FS, columns = least(FS, a.f - j0), g = blockIdx.y, b = blockIdx.z,
            group = a.heads / a.kv_heads;
    real *up = dm + (b * a.kv_heads + g) * a.e * a.f + j0, *zup = dz + (b * a.kv_heads + g) * a.e;
    bool reset = since[b * a.segments + s] == 0, empty = is_empty(&a, z, since, s, b, g);
    bool delta = a.update != MEMORY_LINEAR && len[b * a.segments + s] >= a.n;
    if (reset) { /* what came from before the document has no effect */
        TILE_EACH(row, col, a.e, columns) up[row * a.f + col] = 0;
        for (int64_t i = threadIdx.x; j0 == 0 && i < a.e; i += THREADS) zup[i] = 0;
        return;
    }
    if (empty) return;
    tile_load(dM, lds, up, a.f, a.e, columns, room, 1);
    for (int64_t i = threadIdx.x; i < a.e; i += THREADS) Z[i] = zup[i];
    for (int64_t x = 0; x < group + (delta ? 1 : 0); x++) { /* the query heads of the group, then the keys */
        bool keys = x == group;
        int64_t heads = keys ? a.kv_heads : a.heads, head = keys ? g : g * group + x;
        for (int64_t r0 = 0; r0 < a.n; r0 += a.rows) {
            int64_t rows = least(a.rows, a.n - r0), at = (b * T + s * a.n + r0) * heads + head,
                    note = (b * heads + head) * a.n + r0;
            __syncthreads();
            tile_features(X, ld, (keys ? k : q) + at * a.e, heads * a.e, rows, a.e, a.rows);
            tile_load(Y, lds, (keys ? notes.key : notes.query) + note * a.f + j0, a.f, rows, columns, a.rows, 1);
            for (int64_t r = threadIdx.x; r < rows; r += THREADS) w[r] = (keys ? notes.key_w : notes.query_w)[note + r];
            __syncthreads();
            product_fp32<true, false>(dM, lds, X, ld, Y, lds, room, tile_width(columns), a.rows, true);
            for (int64_t i = threadIdx.x; j0 == 0 && i < a.e; i += THREADS) {
                real sum = Z[i];
                for (int64_t r = 0; r < rows; r++) sum -= w[r] * X[r * ld + i];
                Z[i] = sum;
            }
        }
    }
    __syncthreads();
    TILE_EACH(row, col, a.e, columns) up[row * a.f + col] = dM[row * lds + col];
    for (int64_t i = threadIdx.x; j0 == 0 && i < a.e; i += THREADS) zup[i] = Z[i];
}

static void memory_bwd(struct gout dq, struct gout dk, struct gout dv, real *dm, real *dz, const real *dout, const real *m,
                       const real *z, const real *q, const real *k, const real *v, const int32_t *since, const int32_t *len,
                       real *tmp, const struct memory_shape *shape) {
    struct memory a = memory_of(shape);
    int64_t ld = host_tile_ld(a.e), lds = host_tile_ld(FS), width = round_up(a.e, 8), room = round_up(a.e, 16);
    int64_t queries = a.batch * a.heads * a.n, keys = a.batch * a.kv_heads * a.n;
    size_t tokens = (size_t)(2 * a.rows * ld + (2 * width + 3 * a.rows) * lds + 3 * a.rows) * sizeof(real);
    size_t state = (size_t)(a.rows * ld + (room + a.rows) * lds + width + a.rows) * sizeof(real);
    struct token_notes notes;
    notes.query = tmp;
    notes.key = notes.query + queries * a.f;
    notes.query_w = notes.key + keys * a.f;
    notes.key_w = notes.query_w + queries;
    for (int64_t s = a.segments - 1; s >= 0; s--) {
        LAUNCH(memory_tokens, dim3((unsigned)parts(a.n, a.rows), (unsigned)(a.heads + a.kv_heads), (unsigned)a.batch), THREADS,
               tokens, place_of(dq), place_of(dk), place_of(dv), notes, (const real *)dm, (const real *)dz, dout, m, z, q, k, v,
               since, len, a, s);
        LAUNCH(memory_state_bwd, dim3((unsigned)parts(a.f, FS), (unsigned)a.kv_heads, (unsigned)a.batch), THREADS, state, dm, dz,
               notes, z, q, k, since, len, a, s);
    }
}

void cuda_memory(struct kernels *k) {
    k->memory_fwd = memory_fwd;
    k->memory_bwd = memory_bwd;
}
