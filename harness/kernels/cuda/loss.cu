/* loss.cu - cross-entropy, the sum of products, the search for what is not finite. */
#include "device.cuh"

static void xent_fwd(real *nll, real *lse, const real *logits, const int32_t *target, int64_t rows, int64_t vocab) {
    each_row(rows, [=] __device__(int64_t r) {
        const real *x = logits + r * vocab;
        real max = -INFINITY, sum = 0;
        for (int64_t v = threadIdx.x; v < vocab; v += THREADS) max = most_or_nan(max, x[v]);
        max = block_most(max);
        for (int64_t v = threadIdx.x; v < vocab; v += THREADS) sum += expf(x[v] - max);
        real l = max + (real)log(block_sum(sum));
        if (threadIdx.x == 0) {
            lse[r] = l;
            nll[r] = target[r] < 0 ? 0 : l - x[target[r]];
        }
    });
}

static void xent_bwd(struct gout dlogits, const real *dnll, const real *logits, const real *lse, const int32_t *target,
                     int64_t rows, int64_t vocab) {
    struct place to = place_of(dlogits);
    if (!to.p) return;
    map(rows * vocab, [=] __device__(int64_t i) {
        int64_t r = i / vocab, v = i % vocab;
        put(to, i, target[r] < 0 ? 0 : dnll[r] * (expf(logits[i] - lse[r]) - (v == target[r])));
    });
}

/* tmp[p] = the sum of a b over run p; a block a run. */
static __global__ void __launch_bounds__(1024) dot_runs(double *tmp, const real *a, const real *b, int64_t n) {
    int64_t run = (n + KERNEL_PARTIALS - 1) / KERNEL_PARTIALS, from = blockIdx.x * run, to = least(from + run, n);
    double sum = 0;
    for (int64_t i = from + threadIdx.x; i < to; i += blockDim.x) sum += (double)a[i] * (double)b[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) tmp[blockIdx.x] = sum;
}

static void dot(real *out, const real *a, const real *b, double *tmp, int64_t n) {
    LAUNCH(dot_runs, dim3(KERNEL_PARTIALS), n < 1 << 16 ? 64 : 1024, 0, tmp, a, b, n);
    map(1, [=] __device__(int64_t) {
        double sum = 0;
        for (int p = 0; p < KERNEL_PARTIALS; p++) sum += tmp[p];
        *out = (real)sum;
    });
}

static void sumsq(real *out, const real *x, double *tmp, int64_t n) { dot(out, x, x, tmp, n); }

/* By bits: no flag of a compiler can take the test away. */
static int64_t first_bad(const real *x, int64_t n) {
    static long long *cell;
    long long first = INT64_MAX;
    record_refuse("first_bad");
    if (!cell) cuda_check(cudaMalloc((void **)&cell, sizeof *cell), "memory for an index");
    cuda_check(cudaMemcpyAsync(cell, &first, sizeof first, cudaMemcpyHostToDevice, cuda_stream), "first_bad");
    long long *to = cell;
    map(n, [=] __device__(int64_t i) {
        if ((__float_as_uint(x[i]) & 0x7f800000u) == 0x7f800000u) atomicMin(to, (long long)i);
    });
    cuda_check(cudaMemcpyAsync(&first, cell, sizeof first, cudaMemcpyDeviceToHost, cuda_stream), "first_bad");
    cuda_check(cudaStreamSynchronize(cuda_stream), "first_bad");
    return first == INT64_MAX ? -1 : first;
}

void cuda_loss(struct kernels *k) {
    k->xent_fwd = xent_fwd;
    k->xent_bwd = xent_bwd;
    k->dot = dot;
    k->sumsq = sumsq;
    k->first_bad = first_bad;
}
