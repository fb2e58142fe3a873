/* ref_short_conv.c - the short convolution, element by element: each segment stands behind the rows that it was left. */
#include "ref_private.h"

/* Row r of the K-1 rows before a segment, then of its own. */
static const double *row_of(const double *tail, const double *x, int64_t b, int64_t s, int64_t r,
                            const struct short_conv_shape *a) {
    int64_t D = a->width, before = a->size - 1;
    if (r < before) return tail + ((s * a->batch + b) * before + r) * D;
    return x + ((b * a->segments + s) * a->n + r - before) * D;
}

static double convolved(const double *tail, const double *x, const double *w, int64_t b, int64_t s, int64_t n, int64_t i,
                        const struct short_conv_shape *a) {
    double sum = 0;
    for (int64_t j = 0; j < a->size; j++) sum += w[j * a->width + i] * row_of(tail, x, b, s, n + j, a)[i];
    return sum;
}

static void short_conv_fwd(double *out, double *tail, const double *x, const double *w, const int32_t *since, const int32_t *len,
                           const struct short_conv_shape *a) {
    int64_t B = a->batch, S = a->segments, N = a->n, D = a->width, before = a->size - 1;
    for (int64_t s = 0; s < S; s++)
        for (int64_t b = 0; b < B; b++) {
            double *read = tail + (s * B + b) * before * D, *left = read + B * before * D;
            for (int64_t i = 0; i < before * D && since[b * S + s] == 0; i++) read[i] = 0;
            for (int64_t n = 0; n < N; n++)
                for (int64_t i = 0; i < D; i++) {
                    double p = convolved(tail, x, w, b, s, n, i, a);
                    out[((b * S + s) * N + n) * D + i] = p / (1 + exp(-p));
                }
            for (int64_t r = 0; r < before; r++)
                for (int64_t i = 0; i < D; i++) left[r * D + i] = row_of(tail, x, b, s, len[b * S + s] < N ? r : N + r, a)[i];
        }
}

static void short_conv_bwd(struct gout_f64 dx, struct gout_f64 dw, double *dtail, const double *dout, const double *tail,
                           const double *x, const double *w, const int32_t *since, const int32_t *len, double *tmp,
                           const struct short_conv_shape *a) {
    (void)tmp;
    int64_t B = a->batch, S = a->segments, N = a->n, D = a->width, K = a->size, before = K - 1;
    double *d = calloc((size_t)((before + N) * D), sizeof *d); /* of the rows that row_of numbers */
    ref_start(dw, K * D);
    for (int64_t b = 0; b < B; b++)
        for (int64_t s = S - 1; s >= 0; s--) {
            memset(d, 0, (size_t)((before + N) * D) * sizeof *d);
            for (int64_t i = 0; i < before * D; i++) d[(len[b * S + s] < N ? 0 : N * D) + i] = dtail[b * before * D + i];
            for (int64_t n = 0; n < N; n++)
                for (int64_t i = 0; i < D; i++) {
                    double p = convolved(tail, x, w, b, s, n, i, a), g = 1 / (1 + exp(-p));
                    double dp = dout[((b * S + s) * N + n) * D + i] * g * (1 + p * (1 - g));
                    for (int64_t j = 0; j < K; j++) {
                        d[(n + j) * D + i] += dp * w[j * D + i];
                        ref_sum(dw, j * D + i, dp * row_of(tail, x, b, s, n + j, a)[i]);
                    }
                }
            for (int64_t i = 0; i < N * D; i++) ref_put(dx, (b * S + s) * N * D + i, d[before * D + i]);
            for (int64_t i = 0; i < before * D; i++) dtail[b * before * D + i] = since[b * S + s] == 0 ? 0 : d[i];
        }
    free(d);
}

void ref_short_conv(struct kernels_f64 *k) {
    k->short_conv_fwd = short_conv_fwd;
    k->short_conv_bwd = short_conv_bwd;
}
