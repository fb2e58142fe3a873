/* norm.cu - RMSNorm, with and without the residual sum, and the L2 normalisation of heads. A block or a warp a row; the gradients
 * of weights in a second pass over runs of rows. */
#include "device.cuh"

static void rmsnorm_fwd(real *y, real *rstd, const real *x, const real *w, double eps, int64_t rows, int64_t width) {
    each_row(rows, [=] __device__(int64_t r) {
        const real *row = x + r * width;
        real sum = 0;
        for (int64_t i = threadIdx.x; i < width; i += THREADS) sum += row[i] * row[i];
        real s = (real)(1 / sqrt(block_sum(sum) / (double)width + eps));
        for (int64_t i = threadIdx.x; i < width; i += THREADS) y[r * width + i] = row[i] * s * w[i];
        if (threadIdx.x == 0) rstd[r] = s;
    });
}

static void add_rmsnorm_fwd(real *sum, real *y, real *rstd, const real *a, const real *b, const real *w, double eps, int64_t rows,
                            int64_t width) {
    each_row(rows, [=] __device__(int64_t r) {
        real *row = sum + r * width, squares = 0;
        for (int64_t i = threadIdx.x; i < width; i += THREADS) {
            real v = a[r * width + i] + b[r * width + i];
            row[i] = v;
            squares += v * v;
        }
        real s = (real)(1 / sqrt(block_sum(squares) / (double)width + eps));
        for (int64_t i = threadIdx.x; i < width; i += THREADS) y[r * width + i] = row[i] * s * w[i];
        if (threadIdx.x == 0) rstd[r] = s;
    });
}

/* tmp [KERNEL_PARTIALS, width] = what each run of rows adds to dw. */
static __global__ void __launch_bounds__(THREADS)
    rmsnorm_runs(real *tmp, const real *dy, const real *x, const real *rstd, int64_t rows, int64_t width) {
    int64_t run = (rows + KERNEL_PARTIALS - 1) / KERNEL_PARTIALS, from = blockIdx.y * run, to = least(from + run, rows);
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= width) return;
    real sum = 0;
    for (int64_t r = from; r < to; r++) sum += dy[r * width + i] * x[r * width + i] * rstd[r];
    tmp[blockIdx.y * width + i] = sum;
}

static void rmsnorm_bwd(struct gout dx, struct gout dw, const real *dy, const real *x, const real *w, const real *rstd,
                        const real *extra, real *tmp, int64_t rows, int64_t width) {
    struct place px = place_of(dx), pw = place_of(dw);
    if (pw.p) {
        LAUNCH(rmsnorm_runs, dim3((unsigned)parts(width, THREADS), KERNEL_PARTIALS), THREADS, 0, tmp, dy, x, rstd, rows, width);
        map(width, [=] __device__(int64_t i) {
            real sum = 0;
            for (int64_t p = 0; p < KERNEL_PARTIALS; p++) sum += tmp[p * width + i];
            put(pw, i, sum);
        });
    }
    if (!px.p) return;
    each_row(rows, [=] __device__(int64_t r) {
        const real *d = dy + r * width, *row = x + r * width;
        real dot = 0, s = rstd[r];
        for (int64_t i = threadIdx.x; i < width; i += THREADS) dot += d[i] * w[i] * row[i];
        real mean = (real)(block_sum(dot) / (double)width);
        for (int64_t i = threadIdx.x; i < width; i += THREADS)
            put(px, r * width + i, s * (d[i] * w[i] - row[i] * s * s * mean) + (extra ? extra[r * width + i] : 0));
    });
}

/* A warp a (row, head). */
static __global__ void __launch_bounds__(THREADS) headnorm_rows(struct place y, real *rinv, const real *x, const real *scale,
                                                                double eps, int64_t rows, int64_t heads, int64_t e) {
    int lane = threadIdx.x % 32;
    for (int64_t r = (int64_t)blockIdx.x * (THREADS / 32) + threadIdx.x / 32; r < rows * heads;
         r += (int64_t)gridDim.x * (THREADS / 32)) {
        const real *row = x + r * e;
        real sum = 0;
        for (int64_t i = lane; i < e; i += 32) sum += row[i] * row[i];
        real s = 1 / sqrtf(warp_sum(sum) + (real)eps), by = s * (scale ? scale[r % heads] : 1);
        for (int64_t i = lane; i < e; i += 32) put(y, r * e + i, row[i] * by);
        if (lane == 0) rinv[r] = s;
    }
}

static __global__ void __launch_bounds__(THREADS)
    headnorm_rows_bwd(struct place dx, const real *dy, const real *x, const real *scale, const real *rinv, int64_t rows,
                      int64_t heads, int64_t e) {
    int lane = threadIdx.x % 32;
    for (int64_t r = (int64_t)blockIdx.x * (THREADS / 32) + threadIdx.x / 32; r < rows * heads;
         r += (int64_t)gridDim.x * (THREADS / 32)) {
        const real *row = x + r * e, *d = dy + r * e;
        real dot = 0, s = rinv[r], by = s * (scale ? scale[r % heads] : 1);
        for (int64_t i = lane; i < e; i += 32) dot += d[i] * row[i];
        dot = warp_sum(dot);
        for (int64_t i = lane; i < e; i += 32) put(dx, r * e + i, by * (d[i] - row[i] * s * s * dot));
    }
}

/* tmp [KERNEL_PARTIALS, heads]: a block a (head, run of rows). */
static __global__ void __launch_bounds__(THREADS)
    headnorm_runs(real *tmp, const real *dy, const real *x, const real *rinv, int64_t rows, int64_t heads, int64_t e) {
    int64_t run = (rows + KERNEL_PARTIALS - 1) / KERNEL_PARTIALS, from = blockIdx.y * run, to = least(from + run, rows);
    int64_t h = blockIdx.x;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < (to - from) * e; i += THREADS) {
        int64_t r = (from + i / e) * heads + h, at = r * e + i % e;
        sum += (double)(rinv[r] * dy[at] * x[at]);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) tmp[blockIdx.y * heads + h] = (real)sum;
}

static dim3 warp_grid(int64_t rows) {
    int64_t blocks = parts(rows, THREADS / 32);
    return dim3((unsigned)(blocks < 8192 ? blocks : 8192));
}

static void headnorm_fwd(real *y, real *rinv, const real *x, const real *scale, double eps, int64_t rows, int64_t heads,
                         int64_t e) {
    struct place to = {y, 0};
    LAUNCH(headnorm_rows, warp_grid(rows * heads), THREADS, 0, to, rinv, x, scale, eps, rows, heads, e);
}

static void headnorm_bwd(struct gout dx, struct gout dscale, const real *dy, const real *x, const real *scale, const real *rinv,
                         real *tmp, int64_t rows, int64_t heads, int64_t e) {
    struct place px = place_of(dx), ps = place_of(dscale);
    if (ps.p) {
        LAUNCH(headnorm_runs, dim3((unsigned)heads, KERNEL_PARTIALS), THREADS, 0, tmp, dy, x, rinv, rows, heads, e);
        map(heads, [=] __device__(int64_t h) {
            real sum = 0;
            for (int64_t p = 0; p < KERNEL_PARTIALS; p++) sum += tmp[p * heads + h];
            put(ps, h, sum);
        });
    }
    if (px.p) LAUNCH(headnorm_rows_bwd, warp_grid(rows * heads), THREADS, 0, px, dy, x, scale, rinv, rows, heads, e);
}

void cuda_norm(struct kernels *k) {
    k->rmsnorm_fwd = rmsnorm_fwd;
    k->rmsnorm_bwd = rmsnorm_bwd;
    k->add_rmsnorm_fwd = add_rmsnorm_fwd;
    k->headnorm_fwd = headnorm_fwd;
    k->headnorm_bwd = headnorm_bwd;
}
