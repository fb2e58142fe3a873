/* fast_weight.cu - forward of fast weights (linear attention, delta rule, gated delta rule): a block a (batch row, key/value head,
 * FS columns of the state) walks over the chunks of tokens with its part of the state in shared memory. In fp32. */
#include "fast_weight.cuh"

/* Floats of shared memory. */
static size_t forward_room(const struct fast_weight *a) {
    int64_t ld = host_tile_ld(a->e), lds = host_tile_ld(FS), ldc = host_tile_ld(CHUNK), room = round_up(a->e, 16);
    return (size_t)(CHUNK_ROWS + 2 * CHUNK * ld + room * lds + 3 * CHUNK * lds + 2 * CHUNK * ldc + room + CHUNK);
}

/* Segments from .. to. states NULL: out, m, z are written; else only the states at the chunks of segment `from` (see the header).
 */
static __global__ void __launch_bounds__(THREADS)
    fast_weight_scan(real *out, real *m, real *z, real *states, struct fast_weight_inputs in, struct fast_weight a, int64_t from,
                     int64_t to) {
    DYNAMIC_SHARED(shared);
    int64_t ld = tile_ld(a.e), lds = tile_ld(FS), ldc = tile_ld(CHUNK), room = (a.e + 15) / 16 * 16, width = tile_width(a.e);
    struct chunk_rows c = chunk_rows_at(shared);
    real *K = shared + CHUNK_ROWS, *Q = K + CHUNK * ld, *S = Q + CHUNK * ld, *X = S + room * lds, *U = X + CHUNK * lds;
    real *Y = U + CHUNK * lds, *G = Y + CHUNK * lds, *P = G + CHUNK * ldc, *Z = P + CHUNK * ldc, *den = Z + room;
    int64_t j0 = (int64_t)blockIdx.x * FS, columns = least(FS, a.f - j0), g = blockIdx.y, b = blockIdx.z, T = a.segments * a.n;
    int64_t group = a.heads / a.kv_heads, across = tile_width(columns);
    for (int64_t s = from; s < to; s++) {
        int64_t before = (s * a.batch + b) * a.kv_heads + g, after = ((s + 1) * a.batch + b) * a.kv_heads + g;
        bool reset = in.since[b * a.segments + s] == 0, written = in.len[b * a.segments + s] >= a.n;
        __syncthreads();
        tile_load(S, lds, m + before * a.e * a.f + j0, a.f, reset ? 0 : a.e, columns, room, 1);
        for (int64_t i = threadIdx.x; i < a.e; i += THREADS) Z[i] = reset || !z ? 0 : z[before * a.e + i];
        for (int64_t n0 = 0; n0 < a.n; n0 += a.chunk) {
            int64_t rows = least(a.chunk, a.n - n0), t0 = s * a.n + n0, at = (b * T + t0) * a.kv_heads + g;
            load_rows(&a, &c, &in, at, rows);
            if (states) {
                real *to_state = states + ((b * a.kv_heads + g) * (chunks_of(&a) + 1) + n0 / a.chunk) * a.e * (a.f + 1);
                TILE_EACH(row, col, a.e, columns)
                to_state[row * a.f + j0 + col] = S[row * lds + col];
                for (int64_t i = threadIdx.x; j0 == 0 && i < a.e; i += THREADS) to_state[a.e * a.f + i] = Z[i];
            }
            tile_load(K, ld, in.k + at * a.e, a.kv_heads * a.e, rows, a.e, CHUNK, 1);
            real *value = a.delta ? X : U;
            tile_load(value, lds, in.v + at * a.f + j0, a.kv_heads * a.f, rows, columns, CHUNK, 1);
            TILE_EACH(row, col, CHUNK, FS - across) /* columns that no product fills */
            X[row * lds + across + col] = Y[row * lds + across + col] = 0;
            __syncthreads();
            if (a.delta) {
                product_fp32<false, true>(G, ldc, K, ld, K, ld, CHUNK, CHUNK, width, false);
                product_fp32<false, false>(Y, lds, K, ld, S, lds, CHUNK, across, width, false);
                __syncthreads();
                decay_lower(G, &c, rows, false);
                __syncthreads();
                solve_writes(&c, X, U, Y, G, rows);
            }
            for (int64_t h = g * group; h < (g + 1) * group && !states; h++) {
                int64_t query = (b * T + t0) * a.heads + h;
                tile_load(Q, ld, in.q + query * a.e, a.heads * a.e, rows, a.e, CHUNK, 1);
                __syncthreads();
                product_fp32<false, true>(P, ldc, Q, ld, K, ld, CHUNK, CHUNK, width, false);
                product_fp32<false, false>(Y, lds, Q, ld, S, lds, CHUNK, across, width, false);
                __syncthreads();
                decay_lower(P, &c, rows, true);
                scale_rows(Y, Y, c.grown, 1);
                __syncthreads();
                if (!a.delta) { /* q_i . z_i + eps */
                    for (int64_t r = threadIdx.x / 32; r < rows; r += WARPS) {
                        real sum = 0;
                        for (int64_t i = threadIdx.x % 32; i < a.e; i += 32) sum += Q[r * ld + i] * Z[i];
                        for (int64_t j = threadIdx.x % 32; j < CHUNK; j += 32) sum += P[r * ldc + j];
                        sum = warp_sum(sum);
                        if (threadIdx.x % 32 == 0) den[r] = sum + (real)a.eps;
                    }
                }
                product_fp32<false, false>(Y, lds, P, ldc, U, lds, CHUNK, across, CHUNK, true);
                __syncthreads();
                TILE_EACH(r, j, rows, columns) {
                    out[(query + r * a.heads) * a.f + j0 + j] = Y[r * lds + j] / (a.delta ? 1 : den[r]);
                }
                __syncthreads();
            }
            scale_rows(U, U, c.left, 1);
            real all = expf((real)c.sum[rows - 1]);
            TILE_EACH(row, col, room, FS) S[row * lds + col] *= all;
            __syncthreads();
            product_fp32<true, false>(S, lds, K, ld, U, lds, room, across, CHUNK, true);
            for (int64_t i = threadIdx.x; i < a.e; i += THREADS) {
                real sum = Z[i];
                for (int64_t r = 0; r < rows; r++) sum += K[r * ld + i];
                Z[i] = sum;
            }
            __syncthreads();
        }
        if (states) return;
        real *next = m + after * a.e * a.f + j0;
        const real *start = m + before * a.e * a.f + j0;
        TILE_EACH(x, y, a.e, columns) { next[x * a.f + y] = written ? S[x * lds + y] : reset ? 0 : start[x * a.f + y]; }
        for (int64_t i = threadIdx.x; z && j0 == 0 && i < a.e; i += THREADS)
            z[after * a.e + i] = written ? Z[i] : reset ? 0 : z[before * a.e + i];
    }
}

static void scan(real *out, real *m, real *z, real *states, struct fast_weight_inputs in, struct fast_weight a, int64_t from,
                 int64_t to) {
    size_t bytes = forward_room(&a) * sizeof(real);
    LAUNCH(fast_weight_scan, dim3((unsigned)parts(a.f, FS), (unsigned)a.kv_heads, (unsigned)a.batch), THREADS, bytes, out, m, z,
           states, in, a, from, to);
}

void fast_weight_states(real *states, const real *m, const real *z, struct fast_weight_inputs in, struct fast_weight a, int64_t s) {
    scan(NULL, (real *)m, (real *)z, states, in, a, s, s + 1); /* with states it writes neither m nor z */
}

/* A segment a launch: z of a segment is written by the block of the first columns, and read by all of the next. */
static void fast_weight_fwd(real *out, real *m, real *z, const real *q, const real *k, const real *v, const real *beta,
                            const real *decay, const int32_t *since, const int32_t *len, const struct fast_weight_shape *shape) {
    struct fast_weight a = fast_weight_of(shape);
    struct fast_weight_inputs in = {q, k, v, beta, decay, since, len};
    for (int64_t s = 0; s < a.segments; s++) scan(out, m, z, NULL, in, a, s, s + 1);
}

void cuda_fast_weight(struct kernels *k) {
    k->fast_weight_fwd = fast_weight_fwd;
    cuda_fast_weight_bwd(k);
}
