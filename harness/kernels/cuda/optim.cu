/* optim.cu - the clip factor, AdamW, Adafactor. */
#include "device.cuh"

static void clip(real *hyper, const real *sumsq, double max_norm) {
    map(1, [=] __device__(int64_t) {
        double s = (double)*sumsq;
        hyper[HYPER_CLIP] = s != s ? *sumsq : s <= max_norm * max_norm || max_norm <= 0 ? 1 : (real)(max_norm / sqrt(s));
    });
}

static void adamw(real *p, real *m, real *v, const real *g, const real *hyper, double rate, double decay, double b1, double b2,
                  double eps, int64_t n) {
    map(n, [=] __device__(int64_t i) {
        real lr = hyper[HYPER_LR] * (real)rate, c1 = hyper[HYPER_C1], c2 = hyper[HYPER_C2], gi = hyper[HYPER_CLIP] * g[i];
        real mi = (real)b1 * m[i] + (real)(1 - b1) * gi, vi = (real)b2 * v[i] + (real)(1 - b2) * gi * gi;
        m[i] = mi;
        v[i] = vi;
        p[i] -= lr * ((mi / c1) / (sqrtf(vi / c2) + (real)eps) + (real)decay * p[i]);
    });
}

/* Sums of squares over KERNEL_PARTIALS runs; a block a run. */
static __global__ void __launch_bounds__(THREADS) square_runs(real *out, const real *x, int64_t n) {
    int64_t run = (n + KERNEL_PARTIALS - 1) / KERNEL_PARTIALS, from = blockIdx.x * run, to = least(from + run, n);
    double sum = 0;
    for (int64_t i = from + threadIdx.x; i < to; i += THREADS) sum += (double)x[i] * (double)x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = (real)sum;
}

__device__ static inline real rms_of(const real *runs, int64_t n) {
    double sum = 0;
    for (int i = 0; i < KERNEL_PARTIALS; i++) sum += (double)runs[i];
    return (real)sqrt(sum / (double)n);
}

static __global__ void __launch_bounds__(THREADS) mean_of_rows(real *mean, const real *r, int64_t rows) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < rows; i += THREADS) sum += (double)r[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *mean = (real)(sum / (double)rows);
}

/* tmp: u [rows, cols] (before that, where there are rows enough, column sums of runs of rows), [rows] of which the first holds the
 * mean of r, two lots of partial sums. */
static void adafactor(real *p, real *r, real *c, const real *g, const real *hyper, double rate, double decay, double eps1,
                      double eps2, double clip_rms, int parameter_scale, real *tmp, int64_t rows, int64_t cols) {
    int64_t n = rows * cols, runs = rows < KERNEL_PARTIALS ? rows : KERNEL_PARTIALS, run = parts(rows, runs),
            scaled = parameter_scale;
    real *u = tmp, *mean = tmp + n, *u_runs = mean + rows, *p_runs = u_runs + KERNEL_PARTIALS;
    if (rows > 1)
        each_row(rows, [=] __device__(int64_t i) {
            real clipped = hyper[HYPER_CLIP], b2 = hyper[HYPER_ADAFACTOR_B2], sum = 0;
            for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
                real x = clipped * g[i * cols + j];
                sum += x * x + (real)eps1;
            }
            double all = block_sum(sum);
            if (threadIdx.x == 0) r[i] = b2 * r[i] + (1 - b2) * (real)(all / (double)cols);
        });
    map(runs * cols, [=] __device__(int64_t at) {
        int64_t from = at / cols * run, to = least(from + run, rows), j = at % cols;
        real clipped = hyper[HYPER_CLIP], sum = 0;
        for (int64_t i = from; i < to; i++) {
            real x = clipped * g[i * cols + j];
            sum += x * x + (real)eps1;
        }
        u[at] = sum;
    });
    map(cols, [=] __device__(int64_t j) {
        real sum = 0, b2 = hyper[HYPER_ADAFACTOR_B2];
        for (int64_t i = 0; i < runs; i++) sum += u[i * cols + j];
        c[j] = b2 * c[j] + (1 - b2) * sum / (real)rows;
    });
    if (rows > 1) LAUNCH(mean_of_rows, dim3(1), THREADS, 0, mean, r, rows);
    map(n, [=] __device__(int64_t at) {
        int64_t i = at / cols, j = at % cols;
        u[at] = hyper[HYPER_CLIP] * g[at] / sqrtf(rows > 1 ? r[i] / *mean * c[j] : c[j]); /* r c would underflow where both are eps1 */
    });
    LAUNCH(square_runs, dim3(KERNEL_PARTIALS), THREADS, 0, u_runs, u, n);
    LAUNCH(square_runs, dim3(KERNEL_PARTIALS), THREADS, 0, p_runs, p, n);
    map(1, [=] __device__(int64_t) {
        real over = rms_of(u_runs, n) / (real)clip_rms, size = rms_of(p_runs, n);
        *mean = hyper[HYPER_LR] * (real)rate * (scaled ? most_or_nan(size, (real)eps2) : 1) / most_or_nan(over, 1);
    });
    map(n, [=] __device__(int64_t i) { p[i] -= *mean * u[i] + hyper[HYPER_LR] * (real)(rate * decay) * p[i]; });
}

void cuda_optim(struct kernels *k) {
    k->clip = clip;
    k->adamw = adamw;
    k->adafactor = adafactor;
}
