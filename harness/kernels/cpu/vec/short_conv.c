/* short_conv.c - each channel convolved over its last few tokens, with SiLU, and the gradient.
 *
 * A segment's tokens stand behind the rows that the segments before it have left (`tail`); once those are copied out, all tokens
 * are independent. The gradient of the weights is summed over runs of rows (column_sum's cut); that of the rows left behind goes
 * from the last segment to the first, one thread for a block of a batch row's channels. */
#include "loops.h"
#include "vmath.h"
#include <string.h>

#define BLOCK 128 /* channels at a time: what is summed stays in the first-level cache, and threads share wide rows */

/* Row r of segment s of batch row b: of the K-1 rows before it, then of its own. */
static const real *row_of(const real *tail, const real *x, int64_t b, int64_t s, int64_t r, const struct short_conv_shape *a) {
    int64_t before = a->size - 1;
    if (r < before) return tail + ((s * a->batch + b) * before + r) * a->width;
    return x + ((b * a->segments + s) * a->n + r - before) * a->width;
}

/* What comes before SiLU, of one token's channels lo .. hi, into sum[0 ..]. */
static void convolve(real *restrict sum, const real *tail, const real *x, const real *w, int64_t row, int64_t lo, int64_t hi,
                     const struct short_conv_shape *a) {
    int64_t s = row / a->n, b = s / a->segments;
    for (int64_t j = 0; j < a->size; j++) {
        const real *v = row_of(tail, x, b, s % a->segments, row % a->n + j, a) + lo, *u = w + j * a->width + lo;
        STORE_EACH(sum, j > 0, 0, hi - lo, u[i] * v[i]);
    }
}

/* tail[1 ..]: what each segment leaves. */
static void leave(real *tail, const real *x, const int32_t *since, const int32_t *len, const struct short_conv_shape *a) {
    int64_t S = a->segments, before = a->size - 1;
    size_t row = (size_t)a->width * sizeof *x;
    for (int64_t s = 0; s < S && before; s++)
        for (int64_t b = 0; b < a->batch; b++) {
            real *read = tail + (s * a->batch + b) * before * a->width, *left = read + a->batch * before * a->width;
            int64_t from = len[b * S + s] < a->n ? 0 : a->n;
            if (since[b * S + s] == 0) memset(read, 0, (size_t)before * row);
            for (int64_t r = 0; r < before; r++) memcpy(left + r * a->width, row_of(tail, x, b, s, from + r, a), row);
        }
}

static void short_conv_fwd(real *out, real *tail, const real *x, const real *w, const int32_t *since, const int32_t *len,
                           const struct short_conv_shape *a) {
    int64_t rows = a->batch * a->segments * a->n, D = a->width;
    leave(tail, x, since, len, a);
#pragma omp parallel for schedule(static) if (rows * D >= PARALLEL_MIN / 4)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t lo = 0; lo < D; lo += BLOCK) {
            real sum[BLOCK];
            int64_t hi = lo + BLOCK < D ? lo + BLOCK : D;
            convolve(sum, tail, x, w, r, lo, hi, a);
            STORE_EACH(out + r * D + lo, 0, 0, hi - lo, sum[i] * v_sigmoid(sum[i]));
        }
}

/* dp [rows,D]: the gradient before SiLU; runs [KERNEL_PARTIALS,K,D] (or NULL): those of the weights by runs of rows. */
static void before_silu(real *dp, real *runs, const real *dout, const real *tail, const real *x, const real *w,
                        const struct short_conv_shape *a) {
    int64_t rows = a->batch * a->segments * a->n, D = a->width, K = a->size;
#pragma omp parallel for schedule(static) if (rows * D >= PARALLEL_MIN / 4)
    for (int64_t run = 0; run < KERNEL_PARTIALS; run++) {
        if (runs) memset(runs + run * K * D, 0, (size_t)(K * D) * sizeof *runs);
        for (int64_t r = run_start(rows, run); r < run_start(rows, run + 1); r++)
            for (int64_t lo = 0; lo < D; lo += BLOCK) {
                real sum[BLOCK];
                int64_t hi = lo + BLOCK < D ? lo + BLOCK : D, s = r / a->n;
                convolve(sum, tail, x, w, r, lo, hi, a);
                real *d = dp + r * D + lo;
                const real *up = dout + r * D + lo;
#pragma omp simd
                for (int64_t i = 0; i < hi - lo; i++) {
                    real g = v_sigmoid(sum[i]);
                    d[i] = up[i] * (g + sum[i] * g * (1 - g));
                }
                for (int64_t j = 0; runs && j < K; j++) {
                    const real *v = row_of(tail, x, s / a->segments, s % a->segments, r % a->n + j, a) + lo;
                    STORE_EACH(runs + (run * K + j) * D + lo, 1, 0, hi - lo, d[i] * v[i]);
                }
            }
    }
}

/* The gradient of row r of a segment (numbered as by row_of), from its dp and from what it has left behind (NULL: not there). */
static void of_row(real *d, const real *dp, const real *w, const real *left, int64_t r, int64_t lo, int64_t hi,
                   const struct short_conv_shape *a) {
    int64_t D = a->width;
    memset(d, 0, (size_t)(hi - lo) * sizeof *d);
    if (left) STORE_EACH(d, 0, 0, hi - lo, left[lo + i]);
    for (int64_t j = 0; j < a->size; j++) {
        if (r - j < 0 || r - j >= a->n) continue;
        const real *u = w + j * D + lo, *g = dp + (r - j) * D + lo;
        STORE_EACH(d, 1, 0, hi - lo, u[i] * g[i]);
    }
}

/* Channels lo .. hi of a segment. */
static void segment_bwd(struct gout dx, real *dtail, const real *dp, const real *w, int partial, int reset, int64_t lo, int64_t hi,
                        const struct short_conv_shape *a) {
    int64_t D = a->width, N = a->n, before = a->size - 1;
    real d[BLOCK];
    for (int64_t n = 0; dx.p && n < N; n++) {
        int64_t kept = before + n - N; /* as which of the rows left behind */
        of_row(d, dp, w, kept >= 0 && !partial ? dtail + kept * D : NULL, before + n, lo, hi, a);
        STORE_EACH(dx.p + n * D + lo, dx.beta, 0, hi - lo, d[i]);
    }
    for (int64_t r = before - 1; r >= 0; r--) { /* downwards: rows move up in place */
        int64_t kept = partial ? r : r - N;
        of_row(d, dp, w, kept >= 0 ? dtail + kept * D : NULL, r, lo, hi, a);
        STORE_EACH(dtail + r * D + lo, 0, 0, hi - lo, reset ? 0 : d[i]);
    }
}

static void short_conv_bwd(struct gout dx, struct gout dw, real *dtail, const real *dout, const real *tail, const real *x,
                           const real *w, const int32_t *since, const int32_t *len, real *tmp, const struct short_conv_shape *a) {
    int64_t B = a->batch, S = a->segments, N = a->n, D = a->width, before = a->size - 1, all = a->size * D;
    int64_t blocks = (D + BLOCK - 1) / BLOCK;
    real *runs = tmp + B * S * N * D;
    before_silu(tmp, dw.p ? runs : NULL, dout, tail, x, w, a);
#pragma omp parallel for schedule(static) if (B * S * N * D >= PARALLEL_MIN / 4)
    for (int64_t task = 0; task < B * blocks; task++) {
        int64_t b = task / blocks, lo = task % blocks * BLOCK, hi = lo + BLOCK < D ? lo + BLOCK : D;
        for (int64_t s = S - 1; s >= 0; s--) {
            int64_t i = b * S + s, at = i * N * D;
            struct gout here = {dx.p ? dx.p + at : NULL, dx.beta};
            segment_bwd(here, before ? dtail + b * before * D : NULL, tmp + at, w, len[i] < N, since[i] == 0, lo, hi, a);
        }
    }
    if (!dw.p) return;
    for (int64_t run = 1; run < KERNEL_PARTIALS; run++) STORE_EACH(runs, 1, 0, all, runs[run * all + i]);
    STORE_EACH(dw.p, dw.beta, 0, all, runs[i]);
}

void ISA_FN(cpu_short_conv)(struct kernels *k) {
    k->short_conv_fwd = short_conv_fwd;
    k->short_conv_bwd = short_conv_bwd;
}
