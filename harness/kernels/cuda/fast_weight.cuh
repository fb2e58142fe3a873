/* fast_weight.cuh - what forward and backward of fast weights share: a chunk of tokens in shared memory.
 *
 * Within a chunk, with c_i the sum of its decays up to token i, X_i = v_i - exp(c_i) k_i S - sum_{j<i} G_ij U_j and U_i = beta_i
 * X_i, G_ij = exp(c_i - c_j) k_i.k_j (delta; of the sum U = v); out_i = exp(c_i) q_i S + sum_{j<=i} exp(c_i - c_j) (q_i.k_j) U_j;
 * and the state after it is exp(c_C) S + sum_j exp(c_C - c_j) k_j U_j^T. The columns of S do not mix, so blocks or loops take FS of
 * them. */
#ifndef INFINIBENCH_CUDA_FAST_WEIGHT_CUH
#define INFINIBENCH_CUDA_FAST_WEIGHT_CUH

#include "tile.cuh"

#define CHUNK 32 /* tokens; a power of two of at least 16 */
#define FS 32    /* columns of the state */

void cuda_fast_weight_bwd(struct kernels *k); /* fast_weight_bwd.cu */

struct fast_weight {
    int64_t batch, segments, n, heads, kv_heads, e, f, delta, chunk;
    double eps;
};
struct fast_weight_inputs {
    const real *q, *k, *v, *beta, *decay;
    const int32_t *since, *len;
};
static inline struct fast_weight fast_weight_of(const struct fast_weight_shape *s) {
    int64_t chunk = s->chunk > 0 && s->chunk < CHUNK ? s->chunk : CHUNK;
    return {s->batch, s->segments, s->n, s->heads, s->kv_heads, s->e, s->f, s->rule == FAST_WEIGHT_DELTA, chunk, s->eps};
}
/* States at the starts of the chunks of segment s into states [B,G,chunks+1,E*(F+1)]: E x F, then z. In fast_weight.cu. */
void fast_weight_states(real *states, const real *m, const real *z, struct fast_weight_inputs in, struct fast_weight a, int64_t s);

__host__ __device__ static inline int64_t chunks_of(const struct fast_weight *a) { return (a->n + a->chunk - 1) / a->chunk; }

/* Per token of the chunk at hand. */
struct chunk_rows {
    double *sum;               /* c_i */
    real *grown, *left, *beta; /* exp(c_i), exp(c_C - c_i), beta_i */
};
/* Floats that they take; at the start of shared memory because of the doubles. */
#define CHUNK_ROWS (5 * CHUNK)
__device__ static inline struct chunk_rows chunk_rows_at(real *shared) {
    struct chunk_rows c = {(double *)shared, shared + 2 * CHUNK, shared + 3 * CHUNK, shared + 4 * CHUNK};
    return c;
}

/* Token rows at + r * kv_heads, r < rows. Barriers lie before and after. */
__device__ static inline void load_rows(const struct fast_weight *a, const struct chunk_rows *c,
                                        const struct fast_weight_inputs *in, int64_t at, int64_t rows) {
    __syncthreads();
    if (threadIdx.x == 0) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++) c->sum[r] = sum += in->decay ? (double)in->decay[at + r * a->kv_heads] : 0;
    }
    __syncthreads();
    for (int64_t r = threadIdx.x; r < CHUNK; r += THREADS) {
        c->grown[r] = r < rows ? expf((real)c->sum[r]) : 0;
        c->left[r] = r < rows ? expf((real)(c->sum[rows - 1] - c->sum[r])) : 0;
        c->beta[r] = r < rows && in->beta ? in->beta[at + r * a->kv_heads] : 0;
    }
    __syncthreads();
}

/* x[i,j] *= exp(c_i - c_j) for j < i (j <= i if diagonal), 0 elsewhere. */
__device__ static inline void decay_lower(real *x, const struct chunk_rows *c, int64_t rows, bool diagonal) {
    int64_t ld = tile_ld(CHUNK);
    for (int64_t at = threadIdx.x; at < CHUNK * CHUNK; at += THREADS) {
        int64_t i = at / CHUNK, j = at % CHUNK;
        bool there = i < rows && (j < i || (diagonal && j == i));
        x[i * ld + j] = there ? x[i * ld + j] * expf((real)(c->sum[i] - c->sum[j])) : 0;
    }
}

/* x[r,:] *= factor[r] into y. */
__device__ static inline void scale_rows(real *y, const real *x, const real *factor, real sign) {
    int64_t ld = tile_ld(FS);
    TILE_EACH(row, col, CHUNK, FS) y[row * ld + col] = sign * x[row * ld + col] * factor[row];
}

/* From X = V on: X -= exp(c) Y with Y = K S, then row by row U_j = beta_j X_j and X_i -= G_ij U_j for the rows below. */
__device__ static inline void solve_writes(const struct chunk_rows *c, real *X, real *U, const real *Y, const real *G,
                                           int64_t rows) {
    int64_t ld = tile_ld(FS), ldg = tile_ld(CHUNK), column = threadIdx.x % FS, part = threadIdx.x / FS;
    for (int64_t i = part; i < CHUNK; i += THREADS / FS) {
        X[i * ld + column] -= c->grown[i] * Y[i * ld + column];
        if (i >= rows) U[i * ld + column] = 0;
    }
    __syncthreads();
    for (int64_t j = 0; j < rows; j++) {
        real u = c->beta[j] * X[j * ld + column];
        if (part == 0) U[j * ld + column] = u;
        for (int64_t i = j + 1 + part; i < rows; i += THREADS / FS) X[i * ld + column] -= G[i * ldg + j] * u;
        __syncthreads();
    }
}

#endif
