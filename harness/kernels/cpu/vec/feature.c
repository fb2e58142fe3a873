/* feature.c - what stands before fast weights: features of keys and queries, the sigmoid of write strengths, log decays. */
#include "loops.h"
#include "vmath.h"

#include <math.h>
#include <string.h>

/* 1 / sum of the features of a row; 1 where rows are not normalised. */
static real row_share(const real *x, int normalised, int64_t e) {
    real sum = 0;
    if (!normalised) return 1;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < e; i++) sum += v_elu1(x[i]);
    return 1 / sum;
}

static void feature_fwd(real *y, const real *x, int normalised, int64_t rows, int64_t e) {
#pragma omp parallel for schedule(static) if (rows * e >= PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++) {
        real share = row_share(x + r * e, normalised, e);
        STORE_EACH(y, 0, r * e, (r + 1) * e, v_elu1(x[i]) * share);
    }
}

/* The slope of a feature is min(feature, 1), written so that NaN stays. */
static real slope(real f) { return f > 1 ? 1 : f; }

static void feature_bwd(struct gout dx, const real *dy, const real *x, int normalised, int64_t rows, int64_t e) {
    if (!dx.p) return;
#pragma omp parallel for schedule(static) if (rows * e >= PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++) {
        real share = row_share(x + r * e, normalised, e), dot = 0;
        if (normalised) {
#pragma omp simd reduction(+ : dot)
            for (int64_t i = r * e; i < (r + 1) * e; i++) dot += dy[i] * v_elu1(x[i]);
            dot *= share;
        }
        STORE_EACH(dx.p, dx.beta, r * e, (r + 1) * e, (dy[i] - dot) * share * slope(v_elu1(x[i])));
    }
}

static void sigmoid_fwd(real *y, const real *x, int64_t n) {
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) y[i] = v_sigmoid(x[i]);
}

static void sigmoid_bwd(struct gout dx, const real *dy, const real *x, int64_t n) {
    if (dx.p) STORE_EACH(dx.p, dx.beta, 0, n, dy[i] * v_sigmoid(x[i]) * (1 - v_sigmoid(x[i])));
}

/* Few elements, one a head and token: the library's functions do. */
static real softplus(real x) { return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x)); }

static void decay_fwd(real *y, const real *x, const real *log_rate, const real *bias, int64_t rows, int64_t heads) {
#pragma omp parallel for schedule(static) if (rows * heads >= PARALLEL_MIN / 16)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) y[r * heads + h] = -expf(log_rate[h]) * softplus(x[r * heads + h] + bias[h]);
}

static void store_sum(struct gout out, const real *tmp, int64_t heads) {
    for (int64_t h = 0; out.p && h < heads; h++) {
        double sum = 0;
        for (int64_t run = 0; run < KERNEL_PARTIALS; run++) sum += (double)tmp[2 * run * heads + h];
        out.p[h] = out.beta ? out.p[h] + (real)sum : (real)sum;
    }
}

static void decay_bwd(struct gout dx, struct gout dlog_rate, struct gout dbias, const real *dy, const real *x, const real *log_rate,
                      const real *bias, real *tmp, int64_t rows, int64_t heads) {
#pragma omp parallel for schedule(static) if (rows * heads >= PARALLEL_MIN / 16)
    for (int64_t run = 0; run < KERNEL_PARTIALS; run++) {
        real *rate_sum = tmp + 2 * run * heads, *bias_sum = rate_sum + heads;
        memset(rate_sum, 0, (size_t)(2 * heads) * sizeof *rate_sum);
        for (int64_t r = run_start(rows, run); r < run_start(rows, run + 1); r++)
            for (int64_t h = 0; h < heads; h++) {
                int64_t at = r * heads + h;
                real rate = expf(log_rate[h]), in = x[at] + bias[h], d = -rate * dy[at] / (1 + expf(-in));
                rate_sum[h] -= rate * softplus(in) * dy[at];
                bias_sum[h] += d;
                if (dx.p) dx.p[at] = dx.beta ? dx.p[at] + d : d;
            }
    }
    store_sum(dlog_rate, tmp, heads);
    store_sum(dbias, tmp + heads, heads);
}

void ISA_FN(cpu_feature)(struct kernels *k) {
    k->feature_fwd = feature_fwd;
    k->feature_bwd = feature_bwd;
    k->sigmoid_fwd = sigmoid_fwd;
    k->sigmoid_bwd = sigmoid_bwd;
    k->decay_fwd = decay_fwd;
    k->decay_bwd = decay_bwd;
}
