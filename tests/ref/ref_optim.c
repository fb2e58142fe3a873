/* ref_optim.c - norms of gradients and optimisers. */
#include "ref_private.h"

static void sumsq(double *out, const double *x, double *tmp, int64_t n) {
    (void)tmp;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    *out = sum;
}

static void clip(double *hyper, const double *sum, double max_norm) {
    hyper[HYPER_CLIP] = *sum <= max_norm * max_norm || max_norm <= 0 ? 1 : max_norm / sqrt(*sum);
    if (isnan(*sum)) hyper[HYPER_CLIP] = *sum;
}

static void adamw(double *p, double *m, double *v, const double *g, const double *hyper, double rate, double decay, double b1,
                  double b2, double eps, int64_t n) {
    double lr = hyper[HYPER_LR], c1 = hyper[HYPER_C1], c2 = hyper[HYPER_C2];
    for (int64_t i = 0; i < n; i++) {
        double gi = hyper[HYPER_CLIP] * g[i];
        m[i] = b1 * m[i] + (1 - b1) * gi;
        v[i] = b2 * v[i] + (1 - b2) * gi * gi;
        p[i] -= lr * rate * ((m[i] / c1) / (sqrt(v[i] / c2) + eps) + decay * p[i]);
    }
}

static double rms(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum / (double)n);
}

static void adafactor(double *p, double *r, double *c, const double *g, const double *hyper, double rate, double decay, double eps1,
                      double eps2, double clip_rms, int parameter_scale, double *tmp, int64_t rows, int64_t cols) {
    double lr = hyper[HYPER_LR], b2 = hyper[HYPER_ADAFACTOR_B2], clipped = hyper[HYPER_CLIP], mean_r = 0, *u = tmp;
    for (int64_t i = 0; i < rows && rows > 1; i++) {
        double sum = 0;
        for (int64_t j = 0; j < cols; j++) sum += clipped * g[i * cols + j] * clipped * g[i * cols + j] + eps1;
        r[i] = b2 * r[i] + (1 - b2) * sum / (double)cols;
        mean_r += r[i] / (double)rows;
    }
    for (int64_t j = 0; j < cols; j++) {
        double sum = 0;
        for (int64_t i = 0; i < rows; i++) sum += clipped * g[i * cols + j] * clipped * g[i * cols + j] + eps1;
        c[j] = b2 * c[j] + (1 - b2) * sum / (double)rows;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            u[i * cols + j] = clipped * g[i * cols + j] / sqrt(rows > 1 ? r[i] * c[j] / mean_r : c[j]);
    double over = rms(u, rows * cols) / clip_rms, size = rms(p, rows * cols);
    double step = lr * rate * (parameter_scale ? (!(size <= eps2) ? size : eps2) : 1) / (!(over <= 1) ? over : 1);
    for (int64_t i = 0; i < rows * cols; i++) p[i] -= step * u[i] + lr * rate * decay * p[i];
}

void ref_optim(struct kernels_f64 *k) {
    k->sumsq = sumsq;
    k->clip = clip;
    k->adamw = adamw;
    k->adafactor = adafactor;
}
