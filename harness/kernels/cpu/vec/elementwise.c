/* elementwise.c - fill, sums, scalings, bias, reset of carried rows, SwiGLU and ReLU.
 *
 * Every kernel is one pass over its data; long vectors are cut into blocks that the threads share. No reductions but column_sum and
 * the gradient of reset_rows, whose order does not depend on the number of threads. */
#include "loops.h"
#include "vmath.h"
#include <string.h>

/* Elements a thread takes at a time: some tens of KiB, so that a block's operands meet in the first-level caches. */
#define BLOCK 4096

static int64_t block_end(int64_t start, int64_t n) { return start + BLOCK < n ? start + BLOCK : n; }

static void fill(real *x, double value, int64_t n) {
    real v = (real)value;
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) x[i] = v;
}

static void add(real *out, const real *a, const real *b, int64_t n) {
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static void scale(struct gout out, const real *x, double factor, int64_t n) {
    if (!out.p) return;
    real f = (real)factor;
#pragma omp parallel for schedule(static) if (n >= PARALLEL_MIN)
    for (int64_t lo = 0; lo < n; lo += BLOCK) STORE_EACH(out.p, out.beta, lo, block_end(lo, n), f * x[i]);
}

static void axpby(real *out, const real *a, const real *x, const real *b, const real *y, int64_t rows, int64_t width) {
    int64_t blocks = (width + BLOCK - 1) / BLOCK; /* few rows may be long (whole memories), so a row is cut, too */
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t t = 0; t < rows * blocks; t++) {
        int64_t r = t / blocks, lo = t % blocks * BLOCK;
        real ar = a[r], br = b[r], *o = out + r * width;
        const real *xr = x + r * width, *yr = y + r * width;
        STORE_EACH(o, 0, lo, block_end(lo, width), ar * xr[i] + br * yr[i]);
    }
}

static void rowscale(struct gout out, const real *a, const real *x, int64_t rows, int64_t width) {
    if (!out.p) return;
    int64_t blocks = (width + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t t = 0; t < rows * blocks; t++) {
        int64_t r = t / blocks, lo = t % blocks * BLOCK;
        real ar = a[r];
        const real *xr = x + r * width;
        STORE_EACH(out.p + r * width, out.beta, lo, block_end(lo, width), ar * xr[i]);
    }
}

static void add_bias(real *out, const real *x, const real *bias, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t r = 0; r < rows; r++) {
        const real *xr = x + r * width;
        STORE_EACH(out + r * width, 0, 0, width, xr[i] + bias[i]);
    }
}

static void column_sum(struct gout dbias, const real *dy, real *tmp, int64_t rows, int64_t width) {
    if (!dbias.p) return;
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t run = 0; run < KERNEL_PARTIALS; run++) {
        real *sum = tmp + run * width;
        int64_t r = run_start(rows, run), end = run_start(rows, run + 1);
        memset(sum, 0, (size_t)width * sizeof *sum);
        for (; r + 4 <= end; r += 4) { /* four rows for every pass over the sums */
            const real *y = dy + r * width;
            STORE_EACH(sum, 1, 0, width, (y[i] + y[width + i]) + (y[2 * width + i] + y[3 * width + i]));
        }
        for (; r < end; r++) STORE_EACH(sum, 1, 0, width, dy[r * width + i]);
    }
    for (int64_t run = 1; run < KERNEL_PARTIALS; run++) STORE_EACH(tmp, 1, 0, width, tmp[run * width + i]);
    STORE_EACH(dbias.p, dbias.beta, 0, width, tmp[i]);
}

static void reset_rows(real *out, const real *x, const real *init, const int32_t *since, int64_t stride, int64_t batch,
                       int64_t width) {
#pragma omp parallel for schedule(static) if (batch * width >= PARALLEL_MIN)
    for (int64_t lo = 0; lo < width; lo += BLOCK) {
        int64_t hi = block_end(lo, width);
        for (int64_t b = 0; b < batch; b++) {
            const real *from = since[b * stride] == 0 ? init : x + b * width;
            if (from)
                memcpy(out + b * width + lo, from + lo, (size_t)(hi - lo) * sizeof *out);
            else
                memset(out + b * width + lo, 0, (size_t)(hi - lo) * sizeof *out);
        }
    }
}

static void reset_rows_bwd(struct gout dx, struct gout dinit, const real *dy, const int32_t *since, int64_t stride, int64_t batch,
                           int64_t width) {
#pragma omp parallel for schedule(static) if (batch * width >= PARALLEL_MIN)
    for (int64_t lo = 0; lo < width; lo += BLOCK) { /* blocks of columns, so that one thread sums all rows of its columns */
        int64_t hi = block_end(lo, width);
        if (dinit.p && !dinit.beta) memset(dinit.p + lo, 0, (size_t)(hi - lo) * sizeof(real));
        for (int64_t b = 0; b < batch; b++) {
            const real *y = dy + b * width;
            int reset = since[b * stride] == 0;
            if (dinit.p && reset) STORE_EACH(dinit.p, 1, lo, hi, y[i]);
            if (!dx.p) continue;
            if (!reset)
                STORE_EACH(dx.p + b * width, dx.beta, lo, hi, y[i]);
            else if (!dx.beta)
                memset(dx.p + b * width + lo, 0, (size_t)(hi - lo) * sizeof(real));
        }
    }
}

static void swiglu_fwd(real *out, const real *gate, const real *up, int64_t n) {
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) out[i] = gate[i] * v_sigmoid(gate[i]) * up[i];
}

/* Both derivatives of a tile are made before either is stored: the outputs may be the memory of the inputs. */
#define TILE 512

static void swiglu_bwd(struct gout dgate, struct gout dup, const real *dout, const real *gate, const real *up, int64_t n) {
#pragma omp parallel for schedule(static) if (n >= PARALLEL_MIN)
    for (int64_t lo = 0; lo < n; lo += TILE) {
        real for_gate[TILE], for_up[TILE];
        int64_t count = n - lo < TILE ? n - lo : TILE;
        const real *d = dout + lo, *g = gate + lo, *u = up + lo;
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            real s = v_sigmoid(g[i]), gs = g[i] * s;
            for_gate[i] = d[i] * u[i] * (s + gs * (1 - s));
            for_up[i] = d[i] * gs;
        }
        if (dgate.p) STORE_EACH(dgate.p + lo, dgate.beta, 0, count, for_gate[i]);
        if (dup.p) STORE_EACH(dup.p + lo, dup.beta, 0, count, for_up[i]);
    }
}

/* Written with <= so that NaN passes. */
static void relu_fwd(real *out, const real *x, int64_t n) {
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) out[i] = x[i] <= 0 ? 0 : x[i];
}

static void relu_bwd(struct gout dx, const real *dout, const real *x, int64_t n) {
    if (!dx.p) return;
#pragma omp parallel for schedule(static) if (n >= PARALLEL_MIN)
    for (int64_t lo = 0; lo < n; lo += BLOCK) STORE_EACH(dx.p, dx.beta, lo, block_end(lo, n), x[i] <= 0 ? 0 : dout[i]);
}

void ISA_FN(cpu_elementwise)(struct kernels *k) {
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
