/* ref_norm.c - RMSNorm, with and without the residual sum, and the L2 normalisation of heads. */
#include "ref_private.h"

static void rmsnorm_fwd(double *y, double *rstd, const double *x, const double *w, double eps, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++) sum += x[r * width + i] * x[r * width + i];
        rstd[r] = 1 / sqrt(sum / (double)width + eps);
        for (int64_t i = 0; i < width; i++) y[r * width + i] = x[r * width + i] * rstd[r] * w[i];
    }
}

static void rmsnorm_bwd(struct gout_f64 dx, struct gout_f64 dw, const double *dy, const double *x, const double *w,
                        const double *rstd, const double *extra, double *tmp, int64_t rows, int64_t width) {
    (void)tmp;
    ref_start(dw, width);
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0;
        for (int64_t i = 0; i < width; i++) mean += dy[r * width + i] * w[i] * x[r * width + i] / (double)width;
        for (int64_t i = 0; i < width; i++) {
            int64_t at = r * width + i;
            double d = rstd[r] * (dy[at] * w[i] - x[at] * rstd[r] * rstd[r] * mean);
            ref_sum(dw, i, dy[at] * x[at] * rstd[r]);
            ref_put(dx, at, d + (extra ? extra[at] : 0));
        }
    }
}

static void add_rmsnorm_fwd(double *sum, double *y, double *rstd, const double *a, const double *b, const double *w, double eps,
                            int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows * width; i++) sum[i] = a[i] + b[i];
    rmsnorm_fwd(y, rstd, sum, w, eps, rows, width);
}

static void headnorm_fwd(double *y, double *rinv, const double *x, const double *scale, double eps, int64_t rows, int64_t heads,
                         int64_t e) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = (r * heads + h) * e;
            double sum = 0;
            for (int64_t i = 0; i < e; i++) sum += x[at + i] * x[at + i];
            rinv[r * heads + h] = 1 / sqrt(sum + eps);
            for (int64_t i = 0; i < e; i++) y[at + i] = x[at + i] * rinv[r * heads + h] * (scale ? scale[h] : 1);
        }
}

/* y = s x / sqrt(x.x + eps): dx = s rinv (dy - x rinv^2 (dy.x)), ds = rinv dy.x */
static void headnorm_bwd(struct gout_f64 dx, struct gout_f64 dscale, const double *dy, const double *x, const double *scale,
                         const double *rinv, double *tmp, int64_t rows, int64_t heads, int64_t e) {
    (void)tmp;
    ref_start(dscale, heads);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = (r * heads + h) * e;
            double ri = rinv[r * heads + h], dot = 0;
            for (int64_t i = 0; i < e; i++) dot += dy[at + i] * x[at + i];
            for (int64_t i = 0; i < e; i++)
                ref_put(dx, at + i, (scale ? scale[h] : 1) * ri * (dy[at + i] - x[at + i] * ri * ri * dot));
            ref_sum(dscale, h, ri * dot);
        }
}

void ref_norm(struct kernels_f64 *k) {
    k->rmsnorm_fwd = rmsnorm_fwd;
    k->rmsnorm_bwd = rmsnorm_bwd;
    k->add_rmsnorm_fwd = add_rmsnorm_fwd;
    k->headnorm_fwd = headnorm_fwd;
    k->headnorm_bwd = headnorm_bwd;
}
