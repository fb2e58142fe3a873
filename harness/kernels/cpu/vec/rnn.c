/* rnn.c - the recurrence of LSTM and GRU over the tokens of a call, and its gradient.
 *
 * One thread owns some batch rows for the whole scan: no thread waits for another within it. The product with the recurrent matrix
 * is a few rows wide and comes once a token, so the matrix is laid out once a call in panels of two vectors of columns that tile.h
 * reads straight through (BLAS would pack it for every token). Every element is one chain over k, so the bits do not depend on the
 * number of threads. Gradients of the matrix and of the bias: none here, see the slot. */
#include "loops.h"
#include "tile.h"
#include "vmath.h"
#include <string.h>

#define PANEL (2 * LANES)

/* w^T, columns in panels [rows/PANEL, width, PANEL]. */
static void pack_transposed(real *panels, const real *w, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t j = 0; j < rows; j += PANEL)
        tile_transpose(panels + j * width, PANEL, w + j * width, width, min64(PANEL, rows - j), width, 1);
}

/* w itself, columns in panels [width/PANEL, rows, PANEL]. */
static void pack(real *panels, const real *w, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width >= PARALLEL_MIN)
    for (int64_t j = 0; j < width; j += PANEL)
        for (int64_t r = 0; r < rows; r++)
            memcpy(panels + j * rows + r * PANEL, w + r * width + j, (size_t)min64(PANEL, width - j) * sizeof *w);
}

/* y [m,n] (+)= x [m,k] times panels of n columns. */
static void panel_product(real *y, int64_t ldy, const real *x, int64_t ldx, const real *panels, int64_t m, int64_t n, int64_t k,
                          int add) {
    for (int64_t j = 0; j < n; j += PANEL) tile_nn(y + j, ldy, x, ldx, panels + j * k, PANEL, m, min64(PANEL, n - j), k, add);
}

/* One token of one row. g [4,H] holds the products with the state on entry, what is saved on return. */
static void lstm_token(real *restrict out, real *restrict h1, real *restrict c1, real *restrict g, const real *restrict c,
                       const real *const *x, const real *restrict bias, real forget, int64_t H) {
    const real *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
#pragma omp simd
    for (int64_t i = 0; i < H; i++) {
        real in = v_sigmoid(g[i] + x0[i] + bias[i]), keep = v_sigmoid(g[H + i] + x1[i] + (bias[H + i] + forget));
        real what = v_tanh(g[2 * H + i] + x2[i] + bias[2 * H + i]), show = v_sigmoid(g[3 * H + i] + x3[i] + bias[3 * H + i]);
        g[i] = in, g[H + i] = keep, g[2 * H + i] = what, g[3 * H + i] = show;
        c1[i] = keep * c[i] + in * what;
        out[i] = h1[i] = show * v_tanh(c1[i]);
    }
}

static void gru_token(real *restrict out, real *restrict h1, real *restrict g, const real *restrict h, const real *const *x,
                      const real *restrict bias, int64_t H) {
    const real *x0 = x[0], *x1 = x[1], *x2 = x[2];
#pragma omp simd
    for (int64_t i = 0; i < H; i++) {
        real r = v_sigmoid(g[i] + x0[i] + bias[i]), z = v_sigmoid(g[H + i] + x1[i] + bias[H + i]);
        real m = g[2 * H + i] + bias[2 * H + i], n = v_tanh(x2[i] + bias[3 * H + i] + r * m);
        g[i] = r, g[H + i] = z, g[2 * H + i] = n, g[3 * H + i] = m;
        out[i] = h1[i] = (1 - z) * n + z * h[i];
    }
}

/* d: gradient of what stands beside the biases [4,H]; dh, dc: of the state after the token on entry; on return dc is that of the
 * state before it, dh what reaches it beside the matrix. */
static void lstm_token_bwd(real *restrict d, real *restrict dh, real *restrict dc, const real *restrict dout,
                           const real *restrict g, const real *restrict c, int64_t H) {
#pragma omp simd
    for (int64_t i = 0; i < H; i++) {
        real in = g[i], keep = g[H + i], what = g[2 * H + i], show = g[3 * H + i], up = dh[i] + dout[i];
        real shown = v_tanh(keep * c[i] + in * what), dcell = dc[i] + up * show * (1 - shown * shown);
        d[i] = dcell * what * in * (1 - in);
        d[H + i] = dcell * c[i] * keep * (1 - keep);
        d[2 * H + i] = dcell * in * (1 - what * what);
        d[3 * H + i] = up * shown * show * (1 - show);
        dc[i] = dcell * keep;
        dh[i] = 0;
    }
}

static void gru_token_bwd(real *restrict d, real *restrict dh, const real *restrict dout, const real *restrict g,
                          const real *restrict h, int64_t H) {
#pragma omp simd
    for (int64_t i = 0; i < H; i++) {
        real r = g[i], z = g[H + i], n = g[2 * H + i], m = g[3 * H + i], up = dh[i] + dout[i];
        real dn = up * (1 - z) * (1 - n * n);
        d[i] = dn * m * r * (1 - r);
        d[H + i] = up * (h[i] - n) * z * (1 - z);
        d[2 * H + i] = dn * r;
        d[3 * H + i] = dn;
        dh[i] = up * z;
    }
}

/* Batch rows b0 .. b1 through all tokens. */
static void scan_fwd(real *out, real *gates, real *h, real *c, const real *const *x, const real *panels, const real *bias,
                     const int32_t *since, const int32_t *len, const struct rnn_shape *a, int64_t b0, int64_t b1) {
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->width, step = B * H;
    for (int64_t t = 0; t < T; t++) {
        int64_t s = t / N, first = t % N == 0, last = t % N == N - 1;
        for (int64_t b = b0; first && b < b1; b++)
            if (since[b * S + s] == 0) {
                memset(h + t * step + b * H, 0, (size_t)H * sizeof *h);
                if (c) memset(c + t * step + b * H, 0, (size_t)H * sizeof *c);
            }
        panel_product(gates + (t * B + b0) * 4 * H, 4 * H, h + t * step + b0 * H, H, panels, b1 - b0, rnn_rows(a), H, 0);
        for (int64_t b = b0; b < b1; b++) {
            int64_t at = t * step + b * H, in = (b * T + t) * H;
            const real *xs[4] = {x[0] + in, x[1] + in, x[2] + in, x[3] ? x[3] + in : NULL};
            if (a->cell == RNN_LSTM)
                lstm_token(out + in, h + at + step, c + at + step, gates + 4 * at, c + at, xs, bias, (real)a->forget, H);
            else
                gru_token(out + in, h + at + step, gates + 4 * at, h + at, xs, bias, H);
            if (!last || len[b * S + s] >= N) continue;
            memcpy(h + at + step, h + s * N * step + b * H, (size_t)H * sizeof *h); /* a partial segment is not written */
            if (c) memcpy(c + at + step, c + s * N * step + b * H, (size_t)H * sizeof *c);
        }
    }
}

static int64_t owners(const struct rnn_shape *a) {
    int64_t work = a->batch * a->segments * a->n * rnn_rows(a) * a->width;
    return work < PARALLEL_MIN ? 1 : min64(cpu_threads(), a->batch);
}

static void rnn_fwd(real *out, real *gates, real *h, real *c, const real *x0, const real *x1, const real *x2, const real *x3,
                    const real *w, const real *bias, const int32_t *since, const int32_t *len, real *tmp,
                    const struct rnn_shape *a) {
    const real *x[4] = {x0, x1, x2, x3};
    int64_t n = owners(a);
    pack_transposed(tmp, w, rnn_rows(a), a->width);
#pragma omp parallel for schedule(static, 1) if (n > 1)
    for (int64_t i = 0; i < n; i++)
        scan_fwd(out, gates, h, c, x, tmp, bias, since, len, a, a->batch * i / n, a->batch * (i + 1) / n);
}

/* The gradient passes a partial segment by: it waits in skip, from the segment's end to its start. */
static void scan_bwd(const struct gout *dx, real *da, real *const *d, real *const *skip, const real *dout, const real *gates,
                     const real *h, const real *c, const real *panels, const int32_t *since, const int32_t *len,
                     const struct rnn_shape *a, int64_t b0, int64_t b1) {
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->width, step = B * H;
    for (int64_t t = T - 1; t >= 0; t--) {
        int64_t s = t / N, first = t % N == 0, last = t % N == N - 1;
        for (int64_t b = b0; b < b1; b++) {
            int64_t at = t * step + b * H, in = (b * T + t) * H;
            for (int i = 0; last && len[b * S + s] < N && i < 2; i++) {
                if (!d[i]) continue;
                memcpy(skip[i] + b * H, d[i] + b * H, (size_t)H * sizeof *d[i]);
                memset(d[i] + b * H, 0, (size_t)H * sizeof *d[i]);
            }
            if (a->cell == RNN_LSTM)
                lstm_token_bwd(da + 4 * at, d[0] + b * H, d[1] + b * H, dout + in, gates + 4 * at, c + at, H);
            else
                gru_token_bwd(da + 4 * at, d[0] + b * H, dout + in, gates + 4 * at, h + at, H);
            for (int gate = 0; gate < 4; gate++) {
                const real *from = da + 4 * at + (a->cell == RNN_GRU && gate == 2 ? 3 : gate) * H;
                if (dx[gate].p) STORE_EACH(dx[gate].p + in, dx[gate].beta, 0, H, from[i]);
            }
        }
        panel_product(d[0] + b0 * H, H, da + (t * B + b0) * 4 * H, 4 * H, panels, b1 - b0, H, rnn_rows(a), 1);
        for (int64_t b = b0; first && b < b1; b++)
            for (int i = 0; i < 2; i++) {
                real *row = d[i] ? d[i] + b * H : NULL;
                if (row && len[b * S + s] < N)
                    for (int64_t j = 0; j < H; j++) row[j] += skip[i][b * H + j];
                if (row && since[b * S + s] == 0) memset(row, 0, (size_t)H * sizeof *row);
            }
    }
}

static void rnn_bwd(struct gout dx0, struct gout dx1, struct gout dx2, struct gout dx3, real *da, real *dh, real *dc,
                    const real *dout, const real *gates, const real *h, const real *c, const real *w, const int32_t *since,
                    const int32_t *len, real *tmp, const struct rnn_shape *a) {
    const struct gout dx[4] = {dx0, dx1, dx2, a->cell == RNN_LSTM ? dx3 : (struct gout){NULL, 0}};
    real *d[2] = {dh, dc}, *skip[2] = {tmp + 4 * a->width * (a->width + 64), NULL};
    int64_t n = owners(a);
    skip[1] = skip[0] + a->batch * a->width;
    pack(tmp, w, rnn_rows(a), a->width);
#pragma omp parallel for schedule(static, 1) if (n > 1)
    for (int64_t i = 0; i < n; i++)
        scan_bwd(dx, da, d, skip, dout, gates, h, c, tmp, since, len, a, a->batch * i / n, a->batch * (i + 1) / n);
}

void ISA_FN(cpu_rnn)(struct kernels *k) {
    k->rnn_fwd = rnn_fwd;
    k->rnn_bwd = rnn_bwd;
}
