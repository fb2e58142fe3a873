/* gemm.c - matrix products of the CPU backend: C is cut among our OpenMP threads, each calls single-threaded BLAS on its own part.
 *
 * That is faster than the threads of OpenBLAS on narrow products (a few thousand rows by 128 .. 704), and one owner of threads
 * means that a pool never runs inside a pool. A part is a block of C, except in the products of weight gradients (long k, small C),
 * where it is a stretch of k: then every thread reads only its share of both operands, and the partial sums are added in the order
 * of the threads. So the bits depend on the number of threads and on nothing else. Does not pick the library's core type (cpu.c)
 * and does no arithmetic of its own. */
#include "cpu.h"
#include <cblas.h>
#include <omp.h>

/* A product below this many FLOP is over before a second thread has woken up. */
#define GEMM_SERIAL (1 << 20)
/* Parts are cut at multiples of the widest register block of the library's kernels. */
#define GEMM_GRAIN 16
/* The shortest stretch of k that is worth a partial sum. */
#define GEMM_DEPTH 512
/* With more threads the sums would cost more than the cut saves. */
#define GEMM_TEAM 32

void cpu_gemm1(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n, int64_t k,
               int64_t lda, int64_t ldb, int64_t ldc) {
    if (m <= 0 || n <= 0) return;
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, (float)alpha,
                a, (int)lda, b, (int)ldb, (float)beta, c, (int)ldc);
}

/* First of the `size` rows or columns that belong to part `index` of `parts`. */
static int64_t part_start(int64_t size, int64_t index, int64_t parts) {
    int64_t grains = (size + GEMM_GRAIN - 1) / GEMM_GRAIN;
    int64_t start = grains * index / parts * GEMM_GRAIN;
    return start < size ? start : size;
}

/* One of `parts` blocks of rows (by_rows) or columns of C. */
static void gemm_part(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n,
                      int64_t k, int64_t lda, int64_t ldb, int64_t ldc, int by_rows, int64_t index, int64_t parts) {
    int64_t size = by_rows ? m : n;
    int64_t from = part_start(size, index, parts), to = part_start(size, index + 1, parts);
    if (by_rows)
        cpu_gemm1(c + from * ldc, a + from * (ta ? 1 : lda), b, ta, tb, alpha, beta, to - from, n, k, lda, ldb, ldc);
    else
        cpu_gemm1(c + from, a, b + from * (tb ? ldb : 1), ta, tb, alpha, beta, m, to - from, k, lda, ldb, ldc);
}

/* Each thread packs the whole of the operand that is not cut, so the longer side is cut. */
static int cut_rows(int64_t m, int64_t n) { return m >= n; }

/* Whether to cut k: the partial sums have to fit into the scratch, and adding them has to be small beside the product. */
static int cut_depth(int64_t m, int64_t n, int64_t k, int threads) {
    return threads <= GEMM_TEAM && m * n <= CPU_SCRATCH && k >= (int64_t)GEMM_DEPTH * threads && k >= 4 * m && k >= 4 * n;
}

static void gemm_depth(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n,
                       int64_t k, int64_t lda, int64_t ldb, int64_t ldc) {
    real *partial[GEMM_TEAM];
#pragma omp parallel
    {
        int self = omp_get_thread_num(), team = omp_get_num_threads();
        int64_t from = part_start(k, self, team), to = part_start(k, self + 1, team);
        partial[self] = self ? cpu_scratch() : c;
        cpu_gemm1(partial[self], a + from * (ta ? lda : 1), b + from * (tb ? 1 : ldb), ta, tb, alpha, self ? 0 : beta, m, n,
                  to - from, lda, ldb, self ? n : ldc);
#pragma omp barrier
#pragma omp for schedule(static)
        for (int64_t i = 0; i < m; i++)
            for (int t = 1; t < team; t++) {
                real *row = c + i * ldc;
                const real *more = partial[t] + i * n;
#pragma omp simd
                for (int64_t j = 0; j < n; j++) row[j] += more[j];
            }
    }
}

static void gemm(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n, int64_t k,
                 int64_t lda, int64_t ldb, int64_t ldc) {
    int threads = cpu_threads();
    if (threads == 1 || 2 * m * n * k < GEMM_SERIAL) {
        cpu_gemm1(c, a, b, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc);
        return;
    }
    if (cut_depth(m, n, k, threads)) {
        gemm_depth(c, a, b, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc);
        return;
    }
    int by_rows = cut_rows(m, n);
#pragma omp parallel for schedule(static, 1)
    for (int t = 0; t < threads; t++) gemm_part(c, a, b, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc, by_rows, t, threads);
}

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void gemm_batched(real *c, const real *a, const real *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n,
                         int64_t k, int64_t lda, int64_t ldb, int64_t ldc, int64_t sc, int64_t sa, int64_t sb, int64_t batch) {
    if (batch == 1 || (sb == 0 && !ta && sa == m * lda && sc == m * ldc)) { /* the rows of all products follow one another */
        gemm(c, a, b, ta, tb, alpha, beta, m * batch, n, k, lda, ldb, ldc);
        return;
    }
    int threads = cpu_threads();
    int64_t parts = 1; /* of one product, so that every thread gets the same work even when the batch is short */
    if (batch < 4 * threads) parts = threads / common_divisor(batch, threads);
    if (2 * m * n * k < GEMM_SERIAL * parts) parts = 1;
    int by_rows = cut_rows(m, n);
#pragma omp parallel for schedule(static) if (2 * m * n * k * batch >= GEMM_SERIAL)
    for (int64_t i = 0; i < batch * parts; i++) {
        int64_t item = i / parts;
        gemm_part(c + item * sc, a + item * sa, b + item * sb, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc, by_rows, i % parts,
                  parts);
    }
}

void cpu_gemm_init(struct kernels *k) {
    k->gemm = gemm;
    k->gemm_batched = gemm_batched;
}
