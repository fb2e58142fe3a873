/* elementwise.cu - kernels without a sum across elements, sums over rows, and the feed-forward's nonlinearities. */
#include "device.cuh"

static void fill(real *x, double value, int64_t n) {
    map(n, [=] __device__(int64_t i) { x[i] = (real)value; });
}

static void add(real *out, const real *a, const real *b, int64_t n) {
    map(n, [=] __device__(int64_t i) { out[i] = a[i] + b[i]; });
}

static void scale(struct gout out, const real *x, double factor, int64_t n) {
    struct place to = place_of(out);
    if (to.p) map(n, [=] __device__(int64_t i) { put(to, i, (real)factor * x[i]); });
}

static void axpby(real *out, const real *a, const real *x, const real *b, const real *y, int64_t rows, int64_t width) {
    map(rows * width, [=] __device__(int64_t i) { out[i] = a[i / width] * x[i] + b[i / width] * y[i]; });
}

static void rowscale(struct gout out, const real *a, const real *x, int64_t rows, int64_t width) {
    struct place to = place_of(out);
    if (to.p) map(rows * width, [=] __device__(int64_t i) { put(to, i, a[i / width] * x[i]); });
}

static void add_bias(real *out, const real *x, const real *bias, int64_t rows, int64_t width) {
    map(rows * width, [=] __device__(int64_t i) { out[i] = x[i] + bias[i % width]; });
}

static void column_sum(struct gout dbias, const real *dy, real *tmp, int64_t rows, int64_t width) {
    sum_columns(dbias, tmp, rows, width, [=] __device__(int64_t r, int64_t i) { return dy[r * width + i]; });
}

static void reset_rows(real *out, const real *x, const real *init, const int32_t *since, int64_t stride, int64_t batch,
                       int64_t width) {
    map(batch * width, [=] __device__(int64_t at) {
        int64_t b = at / width, i = at % width;
        out[at] = since[b * stride] == 0 ? (init ? init[i] : 0) : x[at];
    });
}

static void reset_rows_bwd(struct gout dx, struct gout dinit, const real *dy, const int32_t *since, int64_t stride, int64_t batch,
                           int64_t width) {
    struct place x = place_of(dx), init = place_of(dinit);
    map(width, [=] __device__(int64_t i) {
        real sum = 0;
        for (int64_t b = 0; b < batch; b++) {
            bool reset = since[b * stride] == 0;
            if (reset) sum += dy[b * width + i];
            if (x.p) put(x, b * width + i, reset ? 0 : dy[b * width + i]);
        }
        if (init.p) put(init, i, sum);
    });
}

static void swiglu_fwd(real *out, const real *gate, const real *up, int64_t n) {
    map(n, [=] __device__(int64_t i) { out[i] = gate[i] / (1 + expf(-gate[i])) * up[i]; });
}

static void swiglu_bwd(struct gout dgate, struct gout dup, const real *dout, const real *gate, const real *up, int64_t n) {
    struct place dg = place_of(dgate), du = place_of(dup);
    map(n, [=] __device__(int64_t i) {
        real g = gate[i], u = up[i], d = dout[i], s = sigmoid_of(g);
        if (dg.p) put(dg, i, d * u * (s + g * s * (1 - s)));
        if (du.p) put(du, i, d * g * s);
    });
}

static void relu_fwd(real *out, const real *x, int64_t n) {
    map(n, [=] __device__(int64_t i) { out[i] = !(x[i] <= 0) ? x[i] : 0; });
}

static void relu_bwd(struct gout dx, const real *dout, const real *x, int64_t n) {
    struct place d = place_of(dx);
    if (d.p) map(n, [=] __device__(int64_t i) { put(d, i, !(x[i] <= 0) ? dout[i] : 0); });
}

/* ---- features and gates of fast weights ---- */

/* A warp a row: the sum of its features. */
__device__ static inline real feature_sum(const real *x, int64_t e) {
    real sum = 0;
    for (int64_t i = threadIdx.x % 32; i < e; i += 32) sum += elu1(x[i]);
    return warp_sum(sum);
}

static __global__ void __launch_bounds__(THREADS)
    feature_rows(struct place y, const real *dy, const real *x, int64_t normalised, int64_t rows, int64_t e) {
    int lane = threadIdx.x % 32;
    for (int64_t r = (int64_t)blockIdx.x * (THREADS / 32) + threadIdx.x / 32; r < rows; r += (int64_t)gridDim.x * (THREADS / 32)) {
        const real *row = x + r * e;
        real sum = normalised ? feature_sum(row, e) : 1, dot = 0;
        for (int64_t i = lane; dy && normalised && i < e; i += 32) dot += dy[r * e + i] * elu1(row[i]) / sum;
        if (dy && normalised) dot = warp_sum(dot);
        for (int64_t i = lane; i < e; i += 32)
            put(y, r * e + i, dy ? (dy[r * e + i] - dot) / sum * elu1_slope(row[i]) : elu1(row[i]) / sum);
    }
}

static void features(struct place y, const real *dy, const real *x, int normalised, int64_t rows, int64_t e) {
    int64_t blocks = parts(rows, THREADS / 32);
    if (y.p && rows > 0)
        LAUNCH(feature_rows, dim3((unsigned)least(blocks, 8192)), THREADS, 0, y, dy, x, (int64_t)normalised, rows, e);
}
static void feature_fwd(real *y, const real *x, int normalised, int64_t rows, int64_t e) {
    features({y, 0}, NULL, x, normalised, rows, e);
}
static void feature_bwd(struct gout dx, const real *dy, const real *x, int normalised, int64_t rows, int64_t e) {
    features(place_of(dx), dy, x, normalised, rows, e);
}

static void sigmoid_fwd(real *y, const real *x, int64_t n) {
    map(n, [=] __device__(int64_t i) { y[i] = sigmoid_of(x[i]); });
}
static void sigmoid_bwd(struct gout dx, const real *dy, const real *x, int64_t n) {
    struct place d = place_of(dx);
    if (d.p) map(n, [=] __device__(int64_t i) { put(d, i, dy[i] * sigmoid_of(x[i]) * sigmoid_of(-x[i])); });
}

__device__ static inline real softplus_of(real x) { return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x)); }

static void decay_fwd(real *y, const real *x, const real *log_rate, const real *bias, int64_t rows, int64_t heads) {
    map(rows * heads, [=] __device__(int64_t i) {
        int64_t h = i % heads;
        y[i] = -expf(log_rate[h]) * softplus_of(x[i] + bias[h]);
    });
}

static void decay_bwd(struct gout dx, struct gout dlog_rate, struct gout dbias, const real *dy, const real *x, const real *log_rate,
                      const real *bias, real *tmp, int64_t rows, int64_t heads) {
    struct place d = place_of(dx);
    auto of_input = [=] __device__(int64_t r, int64_t h) {
        return -expf(log_rate[h]) * dy[r * heads + h] * sigmoid_of(x[r * heads + h] + bias[h]);
    };
    sum_columns(dbias, tmp, rows, heads, of_input);
    sum_columns(dlog_rate, tmp, rows, heads, [=] __device__(int64_t r, int64_t h) {
        return -expf(log_rate[h]) * softplus_of(x[r * heads + h] + bias[h]) * dy[r * heads + h];
    });
    if (d.p) map(rows * heads, [=] __device__(int64_t i) { put(d, i, of_input(i / heads, i % heads)); });
}

/* ---- the gate between memory and local attention ---- */

static void mix_fwd(real *out, const real *mem, const real *local, const real *beta, const int32_t *since, const int32_t *knocked,
                    int mode, int64_t batch, int64_t segments, int64_t n, int64_t heads, int64_t e) {
    int64_t bypass = mode == MIX_BYPASS;
    map(batch * segments * n * heads * e, [=] __device__(int64_t at) {
        int64_t h = at / e % heads, segment = at / (e * heads * n);
        int way = knocked ? knocked[h] : KNOCK_NONE;
        real g = sigmoid_of(beta[h]);
        if (way == KNOCK_OFF || (way == KNOCK_NONE && bypass && since[segment] == 0))
            out[at] = local[at];
        else if (way == KNOCK_ZERO)
            out[at] = (1 - g) * local[at];
        else
            out[at] = g * mem[at] + (1 - g) * local[at];
    });
}

/* A block a (run of rows, head): what the run adds to dbeta. */
static __global__ void __launch_bounds__(THREADS)
    mix_beta(real *tmp, const real *dout, const real *mem, const real *local, const int32_t *since, int64_t bypass, int64_t rows,
             int64_t n, int64_t heads, int64_t e) {
    int64_t run = (rows + KERNEL_PARTIALS - 1) / KERNEL_PARTIALS, from = blockIdx.y * run, to = least(from + run, rows);
    int64_t h = blockIdx.x;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < (to - from) * e; i += THREADS) {
        int64_t row = from + i / e, at = (row * heads + h) * e + i % e;
        if (!(bypass && since[row / n] == 0)) sum += (double)((mem[at] - local[at]) * dout[at]);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) tmp[blockIdx.y * heads + h] = (real)sum;
}

static void mix_bwd(struct gout dmem, struct gout dlocal, struct gout dbeta, const real *dout, const real *mem, const real *local,
                    const real *beta, const int32_t *since, int mode, real *tmp, int64_t batch, int64_t segments, int64_t n,
                    int64_t heads, int64_t e) {
    struct place dm = place_of(dmem), dl = place_of(dlocal), db = place_of(dbeta);
    int64_t bypass = mode == MIX_BYPASS, rows = batch * segments * n;
    if (db.p) { /* before dout may be overwritten */
        LAUNCH(mix_beta, dim3((unsigned)heads, KERNEL_PARTIALS), THREADS, 0, tmp, dout, mem, local, since, bypass, rows, n, heads,
               e);
        map(heads, [=] __device__(int64_t h) {
            real sum = 0, g = sigmoid_of(beta[h]);
            for (int64_t p = 0; p < KERNEL_PARTIALS; p++) sum += tmp[p * heads + h];
            put(db, h, g * (1 - g) * sum);
        });
    }
    map(rows * heads * e, [=] __device__(int64_t at) {
        int64_t h = at / e % heads;
        bool passed = bypass && since[at / (e * heads * n)] == 0;
        real g = sigmoid_of(beta[h]), d = dout[at];
        if (dm.p) put(dm, at, passed ? 0 : g * d);
        if (dl.p) put(dl, at, passed ? d : (1 - g) * d);
    });
}

void cuda_elementwise(struct kernels *k) {
    k->fill = fill;
    k->add = add;
    k->scale = scale;
    k->axpby = axpby;
    k->rowscale = rowscale;
    k->add_bias = add_bias;
    k->column_sum = column_sum;
    k->reset_rows = reset_rows;
    k->reset_rows_bwd = reset_rows_bwd;
    k->swiglu_fwd = swiglu_fwd;
    k->swiglu_bwd = swiglu_bwd;
    k->relu_fwd = relu_fwd;
    k->relu_bwd = relu_bwd;
}

void cuda_feature(struct kernels *k) {
    k->feature_fwd = feature_fwd;
    k->feature_bwd = feature_bwd;
    k->sigmoid_fwd = sigmoid_fwd;
    k->sigmoid_bwd = sigmoid_bwd;
    k->decay_fwd = decay_fwd;
    k->decay_bwd = decay_bwd;
    k->mix_fwd = mix_fwd;
    k->mix_bwd = mix_bwd;
}
