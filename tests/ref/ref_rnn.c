/* ref_rnn.c - LSTM and GRU, token by token and element by element. */
#include "ref_private.h"

static double logistic(double x) { return 1 / (1 + exp(-x)); }

/* sum_j w[row, j] h[j] */
static double product(const double *w, const double *h, int64_t row, int64_t width) {
    double sum = 0;
    for (int64_t j = 0; j < width; j++) sum += w[row * width + j] * h[j];
    return sum;
}

static void rnn_fwd(double *out, double *gates, double *h, double *c, const double *x0, const double *x1, const double *x2,
                    const double *x3, const double *w, const double *bias, const int32_t *since, const int32_t *len, double *tmp,
                    const struct rnn_shape *a) {
    (void)tmp;
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->width;
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++) {
            int64_t s = t / N;
            double *read = h + (t * B + b) * H, *write = h + ((t + 1) * B + b) * H;
            double *cell = c ? c + (t * B + b) * H : NULL, *next = c ? c + ((t + 1) * B + b) * H : NULL;
            for (int64_t i = 0; i < H && t == s * N && since[b * S + s] == 0; i++) {
                read[i] = 0;
                if (c) cell[i] = 0;
            }
            for (int64_t i = 0; i < H; i++) {
                int64_t at = (b * T + t) * H + i;
                double p0 = product(w, read, i, H) + bias[i] + x0[at], p1 = product(w, read, H + i, H) + bias[H + i] + x1[at];
                double p2 = product(w, read, 2 * H + i, H) + bias[2 * H + i], *g = gates + (t * B + b) * 4 * H + i;
                g[0] = logistic(p0);
                if (a->cell == RNN_LSTM) {
                    g[H] = logistic(p1 + a->forget);
                    g[2 * H] = tanh(p2 + x2[at]);
                    g[3 * H] = logistic(product(w, read, 3 * H + i, H) + bias[3 * H + i] + x3[at]);
                    next[i] = g[H] * cell[i] + g[0] * g[2 * H];
                    write[i] = g[3 * H] * tanh(next[i]);
                } else {
                    g[H] = logistic(p1);
                    g[2 * H] = tanh(x2[at] + bias[3 * H + i] + g[0] * p2);
                    g[3 * H] = p2;
                    write[i] = (1 - g[H]) * g[2 * H] + g[H] * read[i];
                }
                out[at] = write[i];
            }
            for (int64_t i = 0; i < H && t == s * N + N - 1 && len[b * S + s] < N; i++) {
                write[i] = h[(s * N * B + b) * H + i];
                if (c) next[i] = c[(s * N * B + b) * H + i];
            }
        }
}

/* The gradient of a state that the segment has not written passes the segment by. */
static void aside(double *around, double *up, int partial, int64_t width) {
    for (int64_t i = 0; i < width; i++) {
        around[i] = partial ? up[i] : 0;
        up[i] = partial ? 0 : up[i];
    }
}

static void rnn_bwd(struct gout_f64 dx0, struct gout_f64 dx1, struct gout_f64 dx2, struct gout_f64 dx3, double *da, double *dh,
                    double *dc, const double *dout, const double *gates, const double *h, const double *c, const double *w,
                    const int32_t *since, const int32_t *len, double *tmp, const struct rnn_shape *a) {
    (void)tmp;
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->width;
    double *around = calloc((size_t)(2 * H), sizeof *around), *before = calloc((size_t)H, sizeof *before);
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = T - 1; t >= 0; t--) {
            int64_t s = t / N;
            int partial = len[b * S + s] < N;
            double *up = dh + b * H, *upc = dc ? dc + b * H : NULL, *d = da + (t * B + b) * 4 * H;
            if (t == s * N + N - 1) aside(around, up, partial, H);
            if (t == s * N + N - 1 && dc) aside(around + H, upc, partial, H);
            for (int64_t i = 0; i < H; i++) {
                int64_t at = (b * T + t) * H + i;
                const double *g = gates + (t * B + b) * 4 * H + i;
                double dy = up[i] + dout[at];
                if (a->cell == RNN_LSTM) {
                    double old = c[(t * B + b) * H + i], y = tanh(g[H] * old + g[0] * g[2 * H]);
                    double dcell = upc[i] + dy * g[3 * H] * (1 - y * y);
                    d[i] = dcell * g[2 * H] * g[0] * (1 - g[0]);
                    d[H + i] = dcell * old * g[H] * (1 - g[H]);
                    d[2 * H + i] = dcell * g[0] * (1 - g[2 * H] * g[2 * H]);
                    d[3 * H + i] = dy * y * g[3 * H] * (1 - g[3 * H]);
                    upc[i] = dcell * g[H];
                    before[i] = 0;
                } else {
                    double dn = dy * (1 - g[H]) * (1 - g[2 * H] * g[2 * H]);
                    d[i] = dn * g[3 * H] * g[0] * (1 - g[0]);
                    d[H + i] = dy * (h[(t * B + b) * H + i] - g[2 * H]) * g[H] * (1 - g[H]);
                    d[2 * H + i] = dn * g[0];
                    d[3 * H + i] = dn;
                    before[i] = dy * g[H];
                }
                ref_put(dx0, at, d[i]);
                ref_put(dx1, at, d[H + i]);
                ref_put(dx2, at, a->cell == RNN_LSTM ? d[2 * H + i] : d[3 * H + i]);
                if (a->cell == RNN_LSTM) ref_put(dx3, at, d[3 * H + i]);
            }
            for (int64_t i = 0; i < H; i++) {
                int reset = t == s * N && since[b * S + s] == 0;
                for (int64_t row = 0; row < rnn_rows(a); row++) before[i] += w[row * H + i] * d[row];
                up[i] = before[i] + (t == s * N ? around[i] : 0);
                if (dc && t == s * N) upc[i] += around[H + i];
                if (reset) up[i] = 0;
                if (reset && dc) upc[i] = 0;
            }
        }
    free(around);
    free(before);
}

void ref_rnn(struct kernels_f64 *k) {
    k->rnn_fwd = rnn_fwd;
    k->rnn_bwd = rnn_bwd;
}
