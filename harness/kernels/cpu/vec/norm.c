/* norm.c - RMSNorm (also with the residual sum before it) and the normalisation of heads, forward and backward.
 *
 * Row by row: the second pass over a row finds it in the first-level cache. Gradients of weights are summed over KERNEL_PARTIALS
 * runs of rows and the runs added in order, so their bits do not depend on the number of threads. */
#include "loops.h"
#include <math.h>
#include <string.h>

static real row_dot(const real *a, const real *b, int64_t n) {
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static real inverse_root(real sum, int64_t width, double eps) { return 1 / sqrtf(sum / (real)width + (real)eps); }

static void rmsnorm_fwd(real *y, real *rstd, const real *x, const real *w, double eps, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++) {
        const real *xr = x + r * width;
        real s = inverse_root(row_dot(xr, xr, width), width, eps);
        rstd[r] = s;
        STORE_EACH(y + r * width, 0, 0, width, xr[i] * s * w[i]);
    }
}

static void add_rmsnorm_fwd(real *sum, real *y, real *rstd, const real *a, const real *b, const real *w, double eps, int64_t rows,
                            int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++) {
        const real *ar = a + r * width, *br = b + r * width;
        real *sr = sum + r * width, squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < width; i++) {
            real v = ar[i] + br[i];
            sr[i] = v;
            squares += v * v;
        }
        real s = inverse_root(squares, width, eps);
        rstd[r] = s;
        STORE_EACH(y + r * width, 0, 0, width, sr[i] * s * w[i]);
    }
}

static void rmsnorm_bwd(struct gout dx, struct gout dw, const real *dy, const real *x, const real *w, const real *rstd,
                        const real *extra, real *tmp, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t run = 0; run < KERNEL_PARTIALS; run++) {
        real *sum = tmp + run * width;
        if (dw.p) memset(sum, 0, (size_t)width * sizeof *sum);
        for (int64_t r = run_start(rows, run); r < run_start(rows, run + 1); r++) {
            const real *g = dy + r * width, *xr = x + r * width, *more = extra ? extra + r * width : NULL;
            real s = rstd[r], dot = 0;
#pragma omp simd reduction(+ : dot)
            for (int64_t i = 0; i < width; i++) dot += g[i] * w[i] * xr[i];
            real c = s * s * s * (dot / (real)width);
            if (dw.p) STORE_EACH(sum, 1, 0, width, g[i] * (xr[i] * s));
            if (!dx.p) continue;
            if (more) /* may be dx itself */
                STORE_EACH(dx.p + r * width, dx.beta, 0, width, more[i] + (s * (g[i] * w[i]) - c * xr[i]));
            else
                STORE_EACH(dx.p + r * width, dx.beta, 0, width, s * (g[i] * w[i]) - c * xr[i]);
        }
    }
    if (!dw.p) return;
    for (int64_t run = 1; run < KERNEL_PARTIALS; run++) STORE_EACH(tmp, 1, 0, width, tmp[run * width + i]);
    STORE_EACH(dw.p, dw.beta, 0, width, tmp[i]);
}

static void headnorm_fwd(real *y, real *rinv, const real *x, const real *scale, double eps, int64_t rows, int64_t heads,
                         int64_t e) {
#pragma omp parallel for schedule(static) if (rows * heads * e >= PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            const real *xr = x + (r * heads + h) * e;
            real s = 1 / sqrtf(row_dot(xr, xr, e) + (real)eps), f = scale ? s * scale[h] : s;
            rinv[r * heads + h] = s;
            STORE_EACH(y + (r * heads + h) * e, 0, 0, e, xr[i] * f);
        }
}

static void headnorm_bwd(struct gout dx, struct gout dscale, const real *dy, const real *x, const real *scale, const real *rinv,
                         real *tmp, int64_t rows, int64_t heads, int64_t e) {
#pragma omp parallel for schedule(static) if (rows * heads * e >= PARALLEL_MIN)
    for (int64_t run = 0; run < KERNEL_PARTIALS; run++) {
        real *sum = tmp + run * heads;
        if (dscale.p) memset(sum, 0, (size_t)heads * sizeof *sum);
        for (int64_t r = run_start(rows, run); r < run_start(rows, run + 1); r++)
            for (int64_t h = 0; h < heads; h++) {
                int64_t at = (r * heads + h) * e;
                const real *g = dy + at, *xr = x + at;
                real s = rinv[r * heads + h], dot = row_dot(g, xr, e), f = scale ? s * scale[h] : s, c = f * (s * s) * dot;
                if (dscale.p) sum[h] += s * dot;
                if (dx.p) STORE_EACH(dx.p + at, dx.beta, 0, e, f * g[i] - c * xr[i]);
            }
    }
    if (!dscale.p) return;
    for (int64_t run = 1; run < KERNEL_PARTIALS; run++) STORE_EACH(tmp, 1, 0, heads, tmp[run * heads + i]);
    STORE_EACH(dscale.p, dscale.beta, 0, heads, tmp[i]);
}

void ISA_FN(cpu_norm)(struct kernels *k) {
    k->rmsnorm_fwd = rmsnorm_fwd;
    k->rmsnorm_bwd = rmsnorm_bwd;
    k->add_rmsnorm_fwd = add_rmsnorm_fwd;
    k->headnorm_fwd = headnorm_fwd;
    k->headnorm_bwd = headnorm_bwd;
}
