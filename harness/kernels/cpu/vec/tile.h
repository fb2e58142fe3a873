/* tile.h - small dense products and transposes on strided fp32 tiles, shared by attention, memory and bank.
 *
 * What it does: C (+)= A B with A read by broadcast and B by rows, straight from where the operands lie: nothing is packed, any
 * size is allowed. Vectors are the vector types of gcc and clang (arithmetic operators, no intrinsics), one width per ISA.
 * What it does not do: block for caches. Keep k * (2 vectors) of B in L1, which the tiles of the callers do; for large products
 * there is BLAS. On 64 x 64 x 32 and the like these run without the packing and call overhead of sgemm.
 *
 * Every element is one chain of multiply-adds over k in ascending order, whatever the position in the tile: equal rows give
 * equal bits. top-k relies on it for ties. */
#ifndef INFINIBENCH_CPU_TILE_H
#define INFINIBENCH_CPU_TILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* LANES floats a vector. MR x 2 vectors are accumulated in registers: 16 of 32 with AVX-512, 8 of 16 elsewhere. MR divides LANES.
 */
#if defined(__AVX512F__)
#define LANES 16
#define MR 8
#elif defined(__AVX__)
#define LANES 8
#define MR 4
#else
#define LANES 4
#define MR 4
#endif

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef float vfu __attribute__((vector_size(LANES * 4), aligned(4), may_alias)); /* in memory, anywhere */

#define TILE_INLINE static inline __attribute__((always_inline))

TILE_INLINE vf vf_load(const float *p) { return *(const vfu *)p; }
TILE_INLINE void vf_store(float *p, vf x) { *(vfu *)p = x; }

/* Kernels have no way to fail; sizes that would overrun the per-thread scratch end the program before they do. */
static inline void scratch_holds(int64_t floats, int64_t room, const char *kernel) {
    if (floats <= room) return;
    fprintf(stderr, "%s: heads or top-k too large for the CPU backend (%lld of %lld floats of scratch)\n", kernel,
            (long long)floats, (long long)room);
    abort();
}

/* Asks for a row that will be read soon; for rows that no hardware prefetcher can guess. */
static inline void row_soon(const float *row, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(row + i);
}

static inline int64_t lanes_down(int64_t n) { return n & ~(int64_t)(LANES - 1); }
static inline int64_t lanes_up(int64_t n) { return lanes_down(n + LANES - 1); }
static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* mr x (nv vectors) of C in registers; mr and nv are constants after inlining, so every loop over them unrolls. */
TILE_INLINE void tile_micro(float *c, int64_t ldc, const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb, int64_t k,
                            int add, const int mr, const int nv) {
    vf acc[MR][2] = {{{0}}};
    if (add) {
#pragma GCC unroll 8
        for (int r = 0; r < mr; r++) {
            acc[r][0] = vf_load(c + r * ldc);
            if (nv > 1) acc[r][1] = vf_load(c + r * ldc + LANES);
        }
    }
    for (int64_t p = 0; p < k; p++) {
        vf b0 = vf_load(b + p * ldb), b1 = b0;
        if (nv > 1) b1 = vf_load(b + p * ldb + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < mr; r++) {
            float x = a[r * rs + p * cs];
            acc[r][0] += x * b0;
            if (nv > 1) acc[r][1] += x * b1;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < mr; r++) {
        vf_store(c + r * ldc, acc[r][0]);
        if (nv > 1) vf_store(c + r * ldc + LANES, acc[r][1]);
    }
}

/* The last columns, fewer than a vector: nothing beyond column w may be read or written. */
TILE_INLINE void tile_tail(float *c, int64_t ldc, const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb, int64_t m,
                           int64_t w, int64_t k, int add) {
    for (int64_t r = 0; r < m; r++) {
        float acc[LANES] = {0};
        for (int64_t j = 0; add && j < w; j++) acc[j] = c[r * ldc + j];
        for (int64_t p = 0; p < k; p++) {
            float x = a[r * rs + p * cs];
            for (int64_t j = 0; j < w; j++) acc[j] += x * b[p * ldb + j];
        }
        for (int64_t j = 0; j < w; j++) c[r * ldc + j] = acc[j];
    }
}

TILE_INLINE void tile_columns(float *c, int64_t ldc, const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb, int64_t m,
                              int64_t k, int add, const int nv) {
    int64_t i = 0;
    for (; i + MR <= m; i += MR) tile_micro(c + i * ldc, ldc, a + i * rs, rs, cs, b, ldb, k, add, MR, nv);
    if (i + MR / 2 <= m) {
        tile_micro(c + i * ldc, ldc, a + i * rs, rs, cs, b, ldb, k, add, MR / 2, nv);
        i += MR / 2;
    }
    for (; i < m; i++) tile_micro(c + i * ldc, ldc, a + i * rs, rs, cs, b, ldb, k, add, 1, nv);
}

TILE_INLINE void tile_any(float *c, int64_t ldc, const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb, int64_t m,
                          int64_t n, int64_t k, int add) {
    int64_t j = 0;
    for (; j + 2 * LANES <= n; j += 2 * LANES) tile_columns(c + j, ldc, a, rs, cs, b + j, ldb, m, k, add, 2);
    if (j + LANES <= n) {
        tile_columns(c + j, ldc, a, rs, cs, b + j, ldb, m, k, add, 1);
        j += LANES;
    }
    if (j < n) tile_tail(c + j, ldc, a, rs, cs, b + j, ldb, m, n - j, k, add);
}

/* C[m,n] (+)= A[m,k] B[k,n]; add 0 overwrites and never reads C. */
static __attribute__((noinline, unused)) void tile_nn(float *c, int64_t ldc, const float *a, int64_t lda, const float *b,
                                                      int64_t ldb, int64_t m, int64_t n, int64_t k, int add) {
    tile_any(c, ldc, a, lda, 1, b, ldb, m, n, k, add);
}

/* C[m,n] (+)= A^T B with A [k,m]. */
static __attribute__((noinline, unused)) void tile_tn(float *c, int64_t ldc, const float *a, int64_t lda, const float *b,
                                                      int64_t ldb, int64_t m, int64_t n, int64_t k, int add) {
    tile_any(c, ldc, a, 1, lda, b, ldb, m, n, k, add);
}

#if LANES == 16
#define INTERLEAVE_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define INTERLEAVE_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define INTERLEAVE_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define INTERLEAVE_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define INTERLEAVE_LOW 0, 4, 1, 5
#define INTERLEAVE_HIGH 2, 6, 3, 7
#endif

/* One LANES x LANES block. Interleaving the two halves of the rows rotates the bits of (row, column) by one place; after
 * log2(LANES) rounds row and column have changed places. */
TILE_INLINE void tile_transpose_block(float *dst, int64_t ldd, const float *src, int64_t lds, float factor) {
    vf x[LANES], y[LANES];
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) x[r] = vf_load(src + r * lds) * factor;
#pragma GCC unroll 4
    for (int round = 1; round < LANES; round *= 2) {
#pragma GCC unroll 16
        for (int r = 0; r < LANES / 2; r++) {
            y[2 * r] = __builtin_shufflevector(x[r], x[r + LANES / 2], INTERLEAVE_LOW);
            y[2 * r + 1] = __builtin_shufflevector(x[r], x[r + LANES / 2], INTERLEAVE_HIGH);
        }
#pragma GCC unroll 16
        for (int r = 0; r < LANES; r++) x[r] = y[r];
    }
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) vf_store(dst + r * ldd, x[r]);
}

/* dst[c,r] = factor * src[r,c] for r < rows, c < cols; the lanes from rows to lanes_up(rows) become 0. */
static __attribute__((noinline, unused)) void tile_transpose(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t rows,
                                                             int64_t cols, float factor) {
    for (int64_t r = 0; r < rows; r += LANES) {
        int64_t c = 0, n = min64(LANES, rows - r);
        if (n == LANES)
            for (; c + LANES <= cols; c += LANES) tile_transpose_block(dst + c * ldd + r, ldd, src + r * lds + c, lds, factor);
        for (; c < cols; c++)
            for (int64_t i = 0; i < LANES; i++) dst[c * ldd + r + i] = i < n ? factor * src[(r + i) * lds + c] : 0.0f;
    }
}

/* Are all of rows x cols finite? x - x is 0 for finite x and NaN otherwise. */
static __attribute__((noinline, unused)) int tile_finite(const float *x, int64_t ld, int64_t rows, int64_t cols) {
    vf bad = {0};
    float sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * ld;
        int64_t c = 0;
        for (; c + LANES <= cols; c += LANES) bad += vf_load(row + c) - vf_load(row + c);
        for (; c < cols; c++) sum += row[c] - row[c];
    }
    for (int i = 0; i < LANES; i++) sum += bad[i];
    return sum == 0;
}

static inline float tile_dot(const float *x, const float *y, int64_t n) {
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = 0; i < n; i++) s += x[i] * y[i];
    return s;
}

#endif
