/* fast_weight_bwd.cu - backward of fast weights: a block a (batch row, key/value head) goes through the chunks of a segment in
 * reverse, in each through the columns of the state, FS at a time. The states at the chunks come from fast_weight_states().
 * Everything that is summed over columns and heads has this block as its only writer. */
#include "fast_weight.cuh"

struct fast_weight_gradients {
    struct place q, k, v, beta, decay;
};

static size_t backward_room(const struct fast_weight *a) {
    int64_t ld = host_tile_ld(a->e), lds = host_tile_ld(FS), ldc = host_tile_ld(CHUNK), room = round_up(a->e, 16);
    int64_t group = a->heads / a->kv_heads;
    return (size_t)(CHUNK_ROWS + 4 * CHUNK * ld + 3 * room * lds + 5 * CHUNK * lds + 3 * CHUNK * ldc + 4 * CHUNK +
                    2 * CHUNK * group + 2 * room);
}

/* dc_i += sum_{j<i} x_ij y_ij, dc_j -= the same, of CHUNK x CHUNK tiles; a thread a row, then a thread a column. */
__device__ static inline void decay_gradient(real *dc, const real *x, const real *y, int64_t rows) {
    int64_t ld = tile_ld(CHUNK), i = threadIdx.x;
    if (i < rows) {
        real sum = 0;
        for (int64_t j = 0; j < i; j++) sum += x[i * ld + j] * y[i * ld + j];
        for (int64_t r = i + 1; r < rows; r++) sum -= x[r * ld + i] * y[r * ld + i];
        dc[i] += sum;
    }
}

struct chunk_tiles {              /* of one block; widths: E, FS, CHUNK */
    real *K, *Q, *dK, *dQ;        /* [CHUNK,E] */
    real *S, *dS, *dN;            /* [E,FS] state at the start, its gradient at the end, and at the start */
    real *X, *U, *D, *Y, *dO;     /* [CHUNK,FS] */
    real *G, *P, *H;              /* [CHUNK,CHUNK] */
    real *dc, *dbeta, *row, *end; /* [CHUNK]; end[0]: what belongs to the last token's c */
    real *den, *w;                /* [group,CHUNK] of the sum */
    real *z, *dz;                 /* [E] */
};
__device__ static inline struct chunk_tiles chunk_tiles_at(real *p, const struct fast_weight *a) {
    int64_t ld = tile_ld(a->e), lds = tile_ld(FS), ldc = tile_ld(CHUNK), room = (a->e + 15) / 16 * 16,
            group = a->heads / a->kv_heads;
    struct chunk_tiles t;
    t.K = p, t.Q = t.K + CHUNK * ld, t.dK = t.Q + CHUNK * ld, t.dQ = t.dK + CHUNK * ld;
    t.S = t.dQ + CHUNK * ld, t.dS = t.S + room * lds, t.dN = t.dS + room * lds;
    t.X = t.dN + room * lds, t.U = t.X + CHUNK * lds, t.D = t.U + CHUNK * lds, t.Y = t.D + CHUNK * lds, t.dO = t.Y + CHUNK * lds;
    t.G = t.dO + CHUNK * lds, t.P = t.G + CHUNK * ldc, t.H = t.P + CHUNK * ldc;
    t.dc = t.H + CHUNK * ldc, t.dbeta = t.dc + CHUNK, t.row = t.dbeta + CHUNK, t.end = t.row + CHUNK;
    t.den = t.end + CHUNK, t.w = t.den + CHUNK * group;
    t.z = t.w + CHUNK * group, t.dz = t.z + room;
    return t;
}

/* Q of head h and P[i,j] = exp(c_i - c_j) q_i.k_j, j <= i. Barriers before and after. */
__device__ static inline void load_head(const struct fast_weight *a, const struct chunk_rows *c, const struct chunk_tiles *t,
                                        const real *q, int64_t query, int64_t rows) {
    int64_t ld = tile_ld(a->e);
    __syncthreads();
    tile_load(t->Q, ld, q + query * a->e, a->heads * a->e, rows, a->e, CHUNK, 1);
    __syncthreads();
    product_fp32<false, true>(t->P, tile_ld(CHUNK), t->Q, ld, t->K, ld, CHUNK, CHUNK, tile_width(a->e), false);
    __syncthreads();
    decay_lower(t->P, c, rows, true);
    __syncthreads();
}

/* Of the sum: den_i = q_i.z_i + eps and w_i = (dout_i . out_i) / den_i for one head; out is computed anew, FS columns at a time. */
__device__ static inline void normaliser_gradient(const struct fast_weight *a, const struct chunk_rows *c,
                                                  const struct chunk_tiles *t, const struct fast_weight_inputs *in,
                                                  const real *dout, const real *state, int64_t at, int64_t query, int64_t x,
                                                  int64_t rows) {
    int64_t ld = tile_ld(a->e), lds = tile_ld(FS), ldc = tile_ld(CHUNK), room = (a->e + 15) / 16 * 16;
    real *den = t->den + x * CHUNK, *w = t->w + x * CHUNK;
    load_head(a, c, t, in->q, query, rows);
    for (int64_t r = threadIdx.x / 32; r < CHUNK; r += WARPS) {
        real sum = 0;
        for (int64_t i = threadIdx.x % 32; i < a->e; i += 32) sum += t->Q[r * ld + i] * t->z[i];
        for (int64_t j = threadIdx.x % 32; j < CHUNK; j += 32) sum += t->P[r * ldc + j];
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) den[r] = r < rows ? sum + (real)a->eps : 1, w[r] = 0;
    }
    for (int64_t j0 = 0; j0 < a->f; j0 += FS) {
        int64_t columns = least(FS, a->f - j0), across = tile_width(columns);
        __syncthreads();
        tile_load(t->S, lds, state + j0, a->f, a->e, columns, room, 1);
        tile_load(t->U, lds, in->v + at * a->f + j0, a->kv_heads * a->f, rows, columns, CHUNK, 1);
        tile_load(t->dO, lds, dout + query * a->f + j0, a->heads * a->f, rows, columns, CHUNK, 1);
        __syncthreads();
        product_fp32<false, false>(t->Y, lds, t->Q, ld, t->S, lds, CHUNK, across, tile_width(a->e), false);
        __syncthreads();
        product_fp32<false, false>(t->Y, lds, t->P, ldc, t->U, lds, CHUNK, across, CHUNK, true);
        __syncthreads();
        tile_row_dots(w, t->dO, lds, t->Y, lds, rows, columns, true);
    }
    __syncthreads();
    for (int64_t r = threadIdx.x; r < rows; r += THREADS) w[r] /= den[r] * den[r];
    __syncthreads();
}

/* FS columns of one chunk. first: the first columns, with which goes what belongs to z. */
__device__ static inline void chunk_columns(const struct fast_weight *a, const struct chunk_rows *c, const struct chunk_tiles *t,
                                            const struct fast_weight_inputs *in, const struct fast_weight_gradients *to, real *dm,
                                            const real *dout, const real *state, int64_t b, int64_t g, int64_t t0, int64_t rows,
                                            int64_t j0) {
    int64_t ld = tile_ld(a->e), lds = tile_ld(FS), ldc = tile_ld(CHUNK), room = (a->e + 15) / 16 * 16, width = tile_width(a->e);
    int64_t columns = least(FS, a->f - j0), across = tile_width(columns), T = a->segments * a->n, group = a->heads / a->kv_heads;
    int64_t at = (b * T + t0) * a->kv_heads + g;
    bool first = j0 == 0;
    real all = expf((real)c->sum[rows - 1]);
    __syncthreads();
    tile_load(t->S, lds, state + j0, a->f, a->e, columns, room, 1);
    tile_load(t->dS, lds, dm + j0, a->f, a->e, columns, room, 1);
    tile_load(a->delta ? t->X : t->U, lds, in->v + at * a->f + j0, a->kv_heads * a->f, rows, columns, CHUNK, 1);
    if (across < FS) TILE_EACH(row, col, CHUNK, FS - across) { /* columns that no product fills */
            int64_t here = row * lds + across + col;
            t->X[here] = t->U[here] = t->D[here] = t->Y[here] = t->dO[here] = 0;
        }
    __syncthreads();
    if (a->delta) {
        product_fp32<false, false>(t->Y, lds, t->K, ld, t->S, lds, CHUNK, across, width, false);
        __syncthreads();
        solve_writes(c, t->X, t->U, t->Y, t->G, rows);
    }
    product_fp32<false, false>(t->D, lds, t->K, ld, t->dS, lds, CHUNK, across, width, false);
    TILE_EACH(row, col, room, across)
    t->dN[row * lds + col] = all * t->dS[row * lds + col];
    if (in->decay) {
        double dot = 0;
        TILE_EACH(row, col, a->e, columns)
        dot += (double)(t->S[row * lds + col] * t->dS[row * lds + col]);
        dot = block_sum(dot);
        if (threadIdx.x == 0) t->end[0] += (real)dot * all;
    }
    __syncthreads();
    scale_rows(t->D, t->D, c->left, 1);
    __syncthreads();
    if (in->decay) { /* what token j left in the state faded by c_C - c_j */
        tile_row_dots(t->row, t->D, lds, t->U, lds, rows, columns, false);
        __syncthreads();
        if (threadIdx.x == 0)
            for (int64_t r = 0; r < rows; r++) t->end[0] += t->row[r];
        for (int64_t r = threadIdx.x; r < rows; r += THREADS) t->dc[r] -= t->row[r];
    }
    TILE_EACH(row, col, CHUNK, FS) t->dO[row * lds + col] = c->left[row] * t->U[row * lds + col];
    __syncthreads();
    product_fp32<false, true>(t->dK, ld, t->dO, lds, t->dS, lds, CHUNK, width, across, true); /* writes */
    for (int64_t x = 0; x < group; x++) {                                                     /* reads */
        int64_t query = (b * T + t0) * a->heads + g * group + x;
        load_head(a, c, t, in->q, query, rows);
        tile_load(t->dO, lds, dout + query * a->f + j0, a->heads * a->f, rows, columns, CHUNK, 1);
        __syncthreads();
        if (!a->delta) {
            TILE_EACH(row, col, rows, across) t->dO[row * lds + col] /= t->den[x * CHUNK + row];
            __syncthreads();
        }
        product_fp32<true, false>(t->D, lds, t->P, ldc, t->dO, lds, CHUNK, across, CHUNK, true);
        product_fp32<false, true>(t->H, ldc, t->dO, lds, t->U, lds, CHUNK, CHUNK, across, false);
        __syncthreads();
        if (!a->delta && first) TILE_EACH(row, col, CHUNK, CHUNK) t->H[row * ldc + col] -= t->w[x * CHUNK + row];
        __syncthreads();
        if (in->decay) decay_gradient(t->dc, t->P, t->H, rows);
        __syncthreads();
        decay_lower(t->H, c, rows, true);
        scale_rows(t->dO, t->dO, c->grown, 1);
        __syncthreads();
        product_fp32<false, true>(t->dQ, ld, t->dO, lds, t->S, lds, CHUNK, width, across, false);
        product_fp32<true, false>(t->dN, lds, t->Q, ld, t->dO, lds, room, across, CHUNK, true);
        product_fp32<true, false>(t->dK, ld, t->H, ldc, t->Q, ld, CHUNK, width, CHUNK, true);
        __syncthreads();
        if (in->decay) {
            tile_row_dots(t->row, t->dQ, ld, t->Q, ld, rows, a->e, false);
            __syncthreads();
            for (int64_t r = threadIdx.x; r < rows; r += THREADS) t->dc[r] += t->row[r];
        }
        product_fp32<false, false>(t->dQ, ld, t->H, ldc, t->K, ld, CHUNK, width, CHUNK, true);
        __syncthreads();
        if (!a->delta && first) {
            TILE_EACH(row, col, rows, a->e) t->dQ[row * ld + col] -= t->w[x * CHUNK + row] * t->z[col];
            for (int64_t i = threadIdx.x; i < a->e; i += THREADS)
                for (int64_t r = 0; r < rows; r++) t->dz[i] -= t->w[x * CHUNK + r] * t->Q[r * ld + i];
            __syncthreads();
        }
        struct place q = {to->q.p, first ? to->q.beta : 1};
        if (q.p) tile_put(q, query * a->e, a->heads * a->e, t->dQ, ld, rows, a->e, 1);
    }
    __syncthreads();
    if (a->delta) {
        int64_t column = threadIdx.x % FS, part = threadIdx.x / FS;
        for (int64_t j = rows - 1; j > 0; j--) { /* the gradient of U_j reaches the rows above it through X_j */
            real d = c->beta[j] * t->D[j * lds + column];
            for (int64_t i = part; i < j; i += THREADS / FS) t->D[i * lds + column] -= t->G[j * ldc + i] * d;
            __syncthreads();
        }
        tile_row_dots(t->dbeta, t->D, lds, t->X, lds, rows, columns, true);
        __syncthreads();
        scale_rows(t->D, t->D, c->beta, 1);
        __syncthreads();
        product_fp32<false, true>(t->H, ldc, t->D, lds, t->U, lds, CHUNK, CHUNK, across, false);
        __syncthreads();
        TILE_EACH(row, col, CHUNK, CHUNK) t->H[row * ldc + col] *= -1;
        if (in->decay) tile_row_dots(t->row, t->D, lds, t->Y, lds, rows, columns, false);
        __syncthreads();
        if (in->decay) {
            decay_gradient(t->dc, t->G, t->H, rows);
            for (int64_t r = threadIdx.x; r < rows; r += THREADS) t->dc[r] -= c->grown[r] * t->row[r];
        }
        __syncthreads();
        decay_lower(t->H, c, rows, false);
        scale_rows(t->dO, t->D, c->grown, -1);
        __syncthreads();
        product_fp32<false, false>(t->dK, ld, t->H, ldc, t->K, ld, CHUNK, width, CHUNK, true);
        __syncthreads();
        product_fp32<true, false>(t->dK, ld, t->H, ldc, t->K, ld, CHUNK, width, CHUNK, true);
        product_fp32<true, false>(t->dN, lds, t->K, ld, t->dO, lds, room, across, CHUNK, true);
        __syncthreads();
        product_fp32<false, true>(t->dK, ld, t->dO, lds, t->S, lds, CHUNK, width, across, true);
    }
    if (to->v.p) tile_put(to->v, at * a->f + j0, a->kv_heads * a->f, t->D, lds, rows, columns, 1);
    TILE_EACH(row, col, a->e, columns) dm[row * a->f + j0 + col] = t->dN[row * lds + col];
    __syncthreads();
}

static __global__ void __launch_bounds__(THREADS)
    fast_weight_segment_bwd(struct fast_weight_gradients to, real *dm, real *dz, real *states, const real *dout,
                            struct fast_weight_inputs in, struct fast_weight a, int64_t s) {
    DYNAMIC_SHARED(shared);
    struct chunk_rows c = chunk_rows_at(shared);
    struct chunk_tiles t = chunk_tiles_at(shared + CHUNK_ROWS, &a);
    int64_t ld = tile_ld(a.e), ldc = tile_ld(CHUNK), g = blockIdx.x, b = blockIdx.y, T = a.segments * a.n, chunks = chunks_of(&a);
    int64_t per = a.e * (a.f + 1), group = a.heads / a.kv_heads;
    real *mine = states + (b * a.kv_heads + g) * (chunks + 1) * per, *around = mine + chunks * per;
    bool reset = in.since[b * a.segments + s] == 0, written = in.len[b * a.segments + s] >= a.n;
    dm += (b * a.kv_heads + g) * a.e * a.f;
    if (dz) dz += (b * a.kv_heads + g) * a.e;
    for (int64_t i = threadIdx.x; i < per; i += THREADS) { /* a state that is not written passes its gradient by */
        real *of = i < a.e * a.f ? dm + i : dz ? dz + i - a.e * a.f : NULL;
        around[i] = of && !written ? *of : 0;
        if (of && !written) *of = 0;
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < a.e; i += THREADS) t.dz[i] = dz ? dz[i] : 0;
    for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
        int64_t rows = least(a.chunk, a.n - chunk * a.chunk), t0 = s * a.n + chunk * a.chunk, at = (b * T + t0) * a.kv_heads + g;
        const real *state = mine + chunk * per;
        load_rows(&a, &c, &in, at, rows);
        tile_load(t.K, ld, in.k + at * a.e, a.kv_heads * a.e, rows, a.e, CHUNK, 1);
        tile_zero(t.dK, CHUNK * ld);
        for (int64_t i = threadIdx.x; i < CHUNK; i += THREADS) t.dc[i] = t.dbeta[i] = t.end[i] = 0;
        for (int64_t i = threadIdx.x; i < a.e; i += THREADS) t.z[i] = state[a.e * a.f + i];
        __syncthreads();
        if (a.delta) {
            product_fp32<false, true>(t.G, ldc, t.K, ld, t.K, ld, CHUNK, CHUNK, tile_width(a.e), false);
            __syncthreads();
            decay_lower(t.G, &c, rows, false);
        } else {
            TILE_EACH(row, col, rows, a.e) t.dK[row * ld + col] = t.dz[col];
            for (int64_t x = 0; x < group; x++)
                normaliser_gradient(&a, &c, &t, &in, dout, state, at, (b * T + t0) * a.heads + g * group + x, x, rows);
        }
        for (int64_t j0 = 0; j0 < a.f; j0 += FS) chunk_columns(&a, &c, &t, &in, &to, dm, dout, state, b, g, t0, rows, j0);
        if (to.k.p) tile_put(to.k, at * a.e, a.kv_heads * a.e, t.dK, ld, rows, a.e, 1);
        for (int64_t r = threadIdx.x; to.beta.p && r < rows; r += THREADS) put(to.beta, at + r * a.kv_heads, t.dbeta[r]);
        if (to.decay.p && threadIdx.x == 0) { /* a decay is in the sums c of its token and all after it */
            real sum = t.end[0];
            for (int64_t r = rows - 1; r >= 0; r--) put(to.decay, at + r * a.kv_heads, sum += t.dc[r]);
        }
        __syncthreads();
    }
    for (int64_t i = threadIdx.x; i < per; i += THREADS)
        if (i < a.e * a.f)
            dm[i] = reset ? 0 : dm[i] + around[i];
        else if (dz)
            dz[i - a.e * a.f] = reset ? 0 : t.dz[i - a.e * a.f] + around[i];
}

static void fast_weight_bwd(struct gout dq, struct gout dk, struct gout dv, struct gout dbeta, struct gout ddecay, real *dm,
                            real *dz, const real *dout, const real *m, const real *z, const real *q, const real *k, const real *v,
                            const real *beta, const real *decay, const int32_t *since, const int32_t *len, real *tmp,
                            const struct fast_weight_shape *shape) {
    struct fast_weight a = fast_weight_of(shape);
    struct fast_weight_inputs in = {q, k, v, beta, decay, since, len};
    struct fast_weight_gradients to = {place_of(dq), place_of(dk), place_of(dv), place_of(dbeta), place_of(ddecay)};
    size_t bytes = backward_room(&a) * sizeof(real);
    for (int64_t s = a.segments - 1; s >= 0; s--) {
        fast_weight_states(tmp, m, z, in, a, s);
        LAUNCH(fast_weight_segment_bwd, dim3((unsigned)a.kv_heads, (unsigned)a.batch), THREADS, bytes, to, dm, dz, tmp, dout, in, a,
               s);
    }
}

void cuda_fast_weight_bwd(struct kernels *k) { k->fast_weight_bwd = fast_weight_bwd; }
