/* ref_elementwise.c - products, elementwise kernels, feed-forward, embedding and position. */
#include "ref_private.h"

static void gemm(double *c, const double *a, const double *b, int ta, int tb, double alpha, double beta, int64_t m, int64_t n,
                 int64_t k, int64_t lda, int64_t ldb, int64_t ldc) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++) sum += (ta ? a[l * lda + i] : a[i * lda + l]) * (tb ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = alpha * sum + (beta != 0 ? beta * c[i * ldc + j] : 0);
        }
}

static void gemm_batched(double *c, const double *a, const double *b, int ta, int tb, double alpha, double beta, int64_t m,
                         int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc, int64_t sc, int64_t sa, int64_t sb,
                         int64_t batch) {
    for (int64_t i = 0; i < batch; i++) gemm(c + i * sc, a + i * sa, b + i * sb, ta, tb, alpha, beta, m, n, k, lda, ldb, ldc);
}

static void fill(double *x, double value, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = value;
}

static void add(double *out, const double *a, const double *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static void scale(struct gout_f64 out, const double *x, double factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) ref_put(out, i, factor * x[i]);
}

static void axpby(double *out, const double *a, const double *x, const double *b, const double *y, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++) out[r * width + i] = a[r] * x[r * width + i] + b[r] * y[r * width + i];
}

static void rowscale(struct gout_f64 out, const double *a, const double *x, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++) ref_put(out, r * width + i, a[r] * x[r * width + i]);
}

static void add_bias(double *out, const double *x, const double *bias, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++) out[r * width + i] = x[r * width + i] + bias[i];
}

static void column_sum(struct gout_f64 dbias, const double *dy, double *tmp, int64_t rows, int64_t width) {
    (void)tmp;
    for (int64_t i = 0; i < width; i++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++) sum += dy[r * width + i];
        ref_put(dbias, i, sum);
    }
}

static void reset_rows(double *out, const double *x, const double *init, const int32_t *since, int64_t stride, int64_t batch,
                       int64_t width) {
    for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < width; i++) out[b * width + i] = since[b * stride] == 0 ? (init ? init[i] : 0) : x[b * width + i];
}

static void reset_rows_bwd(struct gout_f64 dx, struct gout_f64 dinit, const double *dy, const int32_t *since, int64_t stride,
                           int64_t batch, int64_t width) {
    for (int64_t i = 0; i < width; i++) {
        double sum = 0;
        for (int64_t b = 0; b < batch; b++)
            if (since[b * stride] == 0) sum += dy[b * width + i];
        for (int64_t b = 0; b < batch; b++) ref_put(dx, b * width + i, since[b * stride] == 0 ? 0 : dy[b * width + i]);
        ref_put(dinit, i, sum);
    }
}

static void swiglu_fwd(double *out, const double *gate, const double *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
}

/* silu = x s(x), silu' = s + x s (1 - s) */
static void swiglu_bwd(struct gout_f64 dgate, struct gout_f64 dup, const double *dout, const double *gate, const double *up,
                       int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double s = 1 / (1 + exp(-gate[i])), g = gate[i], u = up[i], d = dout[i];
        ref_put(dgate, i, d * u * (s + g * s * (1 - s)));
        ref_put(dup, i, d * g * s);
    }
}

static void relu_fwd(double *out, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = !(x[i] <= 0) ? x[i] : 0;
}

static void relu_bwd(struct gout_f64 dx, const double *dout, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) ref_put(dx, i, !(x[i] <= 0) ? dout[i] : 0);
}

static void embed_fwd(double *out, const double *table, const int32_t *ids, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++) out[r * width + i] = table[ids[r] * width + i];
}

static void embed_bwd(struct gout_f64 dtable, const double *dout, const int32_t *ids, int64_t rows, int64_t vocab, int64_t width) {
    ref_start(dtable, vocab * width);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++) ref_sum(dtable, ids[r] * width + i, dout[r * width + i]);
}

static void rope_table(double *cs, const int32_t *pos, double base, int64_t rows, int64_t e) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < e / 2; i++) {
            double angle = pos[r] * pow(base, -2.0 * (double)i / (double)e);
            cs[r * e + i] = cos(angle);
            cs[r * e + e / 2 + i] = sin(angle);
        }
}

static void rope(struct gout_f64 out, const double *x, const double *cs, int inverse, int64_t rows, int64_t heads, int64_t e) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < e / 2; i++) {
                int64_t at = (r * heads + h) * e;
                double c = cs[r * e + i], s = inverse ? -cs[r * e + e / 2 + i] : cs[r * e + e / 2 + i];
                double x0 = x[at + i], x1 = x[at + e / 2 + i];
                ref_put(out, at + i, x0 * c - x1 * s);
                ref_put(out, at + e / 2 + i, x0 * s + x1 * c);
            }
}

void ref_elementwise(struct kernels_f64 *k) {
    k->gemm = gemm;
    k->gemm_batched = gemm_batched;
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
    k->embed_fwd = embed_fwd;
    k->embed_bwd = embed_bwd;
    k->rope_table = rope_table;
    k->rope = rope;
}
