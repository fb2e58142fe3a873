/* tile.cuh - products of tiles in shared memory by one block, loading of tiles, and where they lie.
 *
 * Two ways: on tensor cores (mma.m16n8k8 of TF32, sums in fp32), or by multiply-adds in fp32. Attention takes the first unless
 * products are to be fp32; memory, fast weights and top-k always take the second.
 *
 * A tile has rows of `ld` floats, ld a multiple of 4 with ld mod 8 = 4: so the eight rows and four columns that a warp of
 * tensor-core fragments reads from a tile lie in 32 different banks, and rows of four lanes each do not collide. Sizes are rounded
 * up (rows to 16, columns to 8) and what is beyond the matrix is zero. Barriers are the caller's. */
#ifndef INFINIBENCH_CUDA_TILE_CUH
#define INFINIBENCH_CUDA_TILE_CUH

#include "device.cuh"

#define WARPS (THREADS / 32)
/* Every element of rows x columns by one thread: warps take rows, lanes columns. No division, and neighbours are neighbours. */
#define TILE_EACH(r, c, rows, columns)                                                                                             \
    for (int64_t r = threadIdx.x / 32; r < (rows); r += WARPS)                                                                     \
        for (int64_t c = threadIdx.x % 32; c < (columns); c += 32)

/* Columns rounded up to 8, and the length of a row in memory. */
__device__ static inline int64_t tile_width(int64_t columns) { return (columns + 7) / 8 * 8; }
__device__ static inline int64_t tile_ld(int64_t columns) { return tile_width(columns) + 4; }
static inline int64_t host_tile_ld(int64_t columns) { return round_up(columns, 8) + 4; }

__device__ static inline float round_tf32(float x) {
#ifdef EMULATED
    return x; /* emulated_mma rounds */
#else
    unsigned r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return __uint_as_float(r);
#endif
}

/* c += a b of a warp: 16 x 8 += 16 x 8 times 8 x 8. With g = lane / 4, t = lane % 4: a = (g, t), (g + 8, t), (g, t + 4),
 * (g + 8, t + 4); b = (t, g), (t + 4, g); c = (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1). */
__device__ static inline void mma_tf32(float *c, const float *a, const float *b) {
#ifdef EMULATED
    emulated_mma(c, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                   "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#endif
}

/* C[m,n] = op(A) op(B) (+ C if more). A is m x k (k x m if TA), B k x n (n x k if TB). m a multiple of 16, n and k of 8. */
template <bool TA, bool TB>
__device__ static inline void product_tf32(real *C, int64_t ldc, const real *A, int64_t lda, const real *B, int64_t ldb, int64_t m,
                                           int64_t n, int64_t k, bool more) {
    enum { NI = 4 }; /* 16 x 32 of C a warp at a time */
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    int64_t across = (n + 8 * NI - 1) / (8 * NI);
    for (int64_t part = warp; part < m / 16 * across; part += WARPS) {
        int64_t i0 = part / across * 16, j0 = part % across * (8 * NI);
        float c[NI][4];
#pragma unroll
        for (int j = 0; j < NI; j++)
#pragma unroll
            for (int x = 0; x < 4; x++) {
                int64_t col = j0 + 8 * j + 2 * t + x % 2;
                c[j][x] = more && j0 + 8 * j < n ? C[(i0 + g + x / 2 * 8) * ldc + col] : 0;
            }
        for (int64_t l = 0; l < k; l += 8) {
            float a[4], b[2];
#pragma unroll
            for (int x = 0; x < 4; x++) {
                int64_t i = i0 + g + x % 2 * 8, d = l + t + x / 2 * 4;
                a[x] = round_tf32(TA ? A[d * lda + i] : A[i * lda + d]);
            }
#pragma unroll
            for (int j = 0; j < NI; j++) {
                if (j0 + 8 * j < n) {
#pragma unroll
                    for (int x = 0; x < 2; x++) {
                        int64_t d = l + t + 4 * x, col = j0 + 8 * j + g;
                        b[x] = round_tf32(TB ? B[col * ldb + d] : B[d * ldb + col]);
                    }
                    mma_tf32(c[j], a, b);
                }
            }
        }
#pragma unroll
        for (int j = 0; j < NI; j++)
#pragma unroll
            for (int x = 0; x < 4; x++)
                if (j0 + 8 * j < n) C[(i0 + g + x / 2 * 8) * ldc + j0 + 8 * j + 2 * t + x % 2] = c[j][x];
    }
}

/* The same by multiply-adds: a thread has up to 4 x 4 elements, 16 apart. */
template <bool TA, bool TB>
__device__ static inline void product_fp32(real *C, int64_t ldc, const real *A, int64_t lda, const real *B, int64_t ldb, int64_t m,
                                           int64_t n, int64_t k, bool more) {
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (int64_t i0 = 0; i0 < m; i0 += 64)
        for (int64_t j0 = 0; j0 < n; j0 += 64) {
            float c[4][4];
            int rows = (int)least((m - i0) / 16, 4), cols = j0 + tx < n ? (int)least((n - j0 - tx + 15) / 16, 4) : 0;
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    c[i][j] = more && i < rows && j < cols ? C[(i0 + ty + 16 * i) * ldc + j0 + tx + 16 * j] : 0;
            for (int64_t l = 0; l < k; l++) {
                float a[4], b[4];
#pragma unroll
                for (int i = 0; i < 4; i++)
                    /* transposed, rows of C beyond those of A are garbage that nobody reads; they must not come from another array */
                    a[i] = i >= rows || (TA && i0 + ty + 16 * i >= lda) ? 0 : TA ? A[l * lda + i0 + ty + 16 * i] : A[(i0 + ty + 16 * i) * lda + l];
#pragma unroll
                for (int j = 0; j < 4; j++)
                    b[j] = j < cols ? (TB ? B[(j0 + tx + 16 * j) * ldb + l] : B[l * ldb + j0 + tx + 16 * j]) : 0;
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++) c[i][j] = __fmaf_rn(a[i], b[j], c[i][j]);
            }
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    if (i < rows && j < cols) C[(i0 + ty + 16 * i) * ldc + j0 + tx + 16 * j] = c[i][j];
        }
}

template <bool TA, bool TB>
__device__ static inline void tile_product(bool tf32, real *C, int64_t ldc, const real *A, int64_t lda, const real *B, int64_t ldb,
                                           int64_t m, int64_t n, int64_t k, bool more) {
    if (tf32)
        product_tf32<TA, TB>(C, ldc, A, lda, B, ldb, m, n, k, more);
    else
        product_fp32<TA, TB>(C, ldc, A, lda, B, ldb, m, n, k, more);
}

/* rows x columns from memory, times `factor`, into a tile of `room` rows; zeros beyond. */
__device__ static inline void tile_load(real *tile, int64_t ld, const real *from, int64_t from_ld, int64_t rows, int64_t columns,
                                        int64_t room, real factor) {
    int64_t width = tile_width(columns);
    TILE_EACH(r, c, room, width) { tile[r * ld + c] = r < rows && c < columns ? from[r * from_ld + c] * factor : 0; }
}
__device__ static inline void tile_zero(real *tile, int64_t n) {
    for (int64_t i = threadIdx.x; i < n; i += THREADS) tile[i] = 0;
}
/* The same with the features of memory. Beyond the matrix 0, which is no feature. */
__device__ static inline void tile_features(real *tile, int64_t ld, const real *from, int64_t from_ld, int64_t rows,
                                            int64_t columns, int64_t room) {
    int64_t width = tile_width(columns);
    TILE_EACH(r, c, room, width) { tile[r * ld + c] = r < rows && c < columns ? elu1(from[r * from_ld + c]) : 0; }
}
/* rows x columns of a tile to a gradient's place. */
__device__ static inline void tile_put(struct place to, int64_t at, int64_t to_ld, const real *tile, int64_t ld, int64_t rows,
                                       int64_t columns, real factor) {
    TILE_EACH(r, c, rows, columns) { put(to, at + r * to_ld + c, tile[r * ld + c] * factor); }
}

/* Sum over columns of x[r,:] y[r,:] for each of `rows` rows, by the warps in turn; result in out[r]. */
__device__ static inline void tile_row_dots(real *out, const real *x, int64_t ldx, const real *y, int64_t ldy, int64_t rows,
                                            int64_t columns, bool more) {
    int lane = threadIdx.x % 32;
    for (int64_t r = threadIdx.x / 32; r < rows; r += WARPS) {
        real sum = 0;
        for (int64_t c = lane; c < columns; c += 32) sum += x[r * ldx + c] * y[r * ldy + c];
        sum = warp_sum(sum);
        if (lane == 0) out[r] = more ? out[r] + sum : sum;
    }
}

#endif
