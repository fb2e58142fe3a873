/* ref_fast_weight.c - fast weights token by token, backward by the reverse sweep over the stored states; the features and gates
 * that stand before them. */
#include "ref_private.h"

/* One token: s [E,F] and z [E] (or NULL) from before to after; u [F] is what it writes. */
static void token_write(double *s, double *z, double *u, const double *k, const double *v, const double *beta, const double *decay,
                        int64_t e, int64_t f) {
    for (int64_t i = 0; decay && i < e * f; i++) s[i] *= exp(*decay);
    for (int64_t j = 0; j < f; j++) {
        double read = 0;
        for (int64_t i = 0; beta && i < e; i++) read += s[i * f + j] * k[i];
        u[j] = beta ? *beta * (v[j] - read) : v[j];
    }
    for (int64_t i = 0; i < e; i++) {
        if (z) z[i] += k[i];
        for (int64_t j = 0; j < f; j++) s[i * f + j] += k[i] * u[j];
    }
}

static const double *at_or_null(const double *x, int64_t i) { return x ? x + i : NULL; }

static void fast_weight_fwd(double *out, double *m, double *z, const double *q, const double *k, const double *v,
                            const double *beta, const double *decay, const int32_t *since, const int32_t *len,
                            const struct fast_weight_shape *a) {
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->heads, G = a->kv_heads, E = a->e, F = a->f;
    double *s = calloc((size_t)(E * F + E + F + 1), sizeof *s), *zs = s + E * F, *u = zs + E;
    for (int64_t task = 0; task < B * G; task++)
        for (int64_t b = task / G, g = task % G, seg = 0; seg < S; seg++) {
            int64_t from = (seg * B + b) * G + g, to = ((seg + 1) * B + b) * G + g;
            int reset = since[b * S + seg] == 0, written = !(len[b * S + seg] < N);
            for (int64_t i = 0; i < E * F; i++) m[to * E * F + i] = s[i] = reset ? 0 : m[from * E * F + i];
            for (int64_t i = 0; z && i < E; i++) z[to * E + i] = zs[i] = reset ? 0 : z[from * E + i];
            for (int64_t t = seg * N; t < (seg + 1) * N; t++) {
                int64_t at = (b * T + t) * G + g;
                token_write(s, z ? zs : NULL, u, k + at * E, v + at * F, at_or_null(beta, at), at_or_null(decay, at), E, F);
                for (int64_t h = g * (H / G); h < (g + 1) * (H / G); h++) {
                    const double *query = q + ((b * T + t) * H + h) * E;
                    double den = a->eps;
                    for (int64_t i = 0; z && i < E; i++) den += query[i] * zs[i];
                    for (int64_t j = 0; j < F; j++) {
                        double num = 0;
                        for (int64_t i = 0; i < E; i++) num += query[i] * s[i * F + j];
                        out[((b * T + t) * H + h) * F + j] = z ? num / den : num;
                    }
                }
            }
            for (int64_t i = 0; written && i < E * F; i++) m[to * E * F + i] = s[i];
            for (int64_t i = 0; written && z && i < E; i++) z[to * E + i] = zs[i];
        }
    free(s);
}

static void fast_weight_bwd(struct gout_f64 dq, struct gout_f64 dk, struct gout_f64 dv, struct gout_f64 dbeta,
                            struct gout_f64 ddecay, double *dm, double *dz, const double *dout, const double *m, const double *z,
                            const double *q, const double *k, const double *v, const double *beta, const double *decay,
                            const int32_t *since, const int32_t *len, double *tmp, const struct fast_weight_shape *a) {
    (void)tmp;
    int64_t B = a->batch, S = a->segments, N = a->n, T = S * N, H = a->heads, G = a->kv_heads, E = a->e, F = a->f;
    int64_t per = E * F + E;
    double *states = calloc((size_t)((N + 2) * per + N * F + E + F), sizeof *states), *ds = states + (N + 1) * per;
    double *us = ds + per, *dkey = us + N * F, *du = dkey + E; /* states before each token and after the last, [E,F] and [E] */
    for (int64_t task = 0; task < B * G; task++)
        for (int64_t b = task / G, g = task % G, seg = S - 1; seg >= 0; seg--) {
            int64_t from = (seg * B + b) * G + g;
            int reset = since[b * S + seg] == 0, written = !(len[b * S + seg] < N);
            double *up = dm + task * E * F, *zup = dz ? dz + task * E : NULL, *dzs = ds + E * F;
            for (int64_t i = 0; i < E * F; i++) states[i] = reset ? 0 : m[from * E * F + i];
            for (int64_t i = 0; i < E; i++) states[E * F + i] = reset || !z ? 0 : z[from * E + i];
            for (int64_t t = 0; t < N; t++) {
                int64_t at = (b * T + seg * N + t) * G + g;
                double *next = states + (t + 1) * per;
                memcpy(next, next - per, (size_t)per * sizeof *next);
                token_write(next, z ? next + E * F : NULL, us + t * F, k + at * E, v + at * F, at_or_null(beta, at),
                            at_or_null(decay, at), E, F);
            }
            for (int64_t i = 0; i < E * F; i++) ds[i] = written ? up[i] : 0;
            for (int64_t i = 0; i < E; i++) dzs[i] = written && zup ? zup[i] : 0;
            for (int64_t t = N - 1; t >= 0; t--) {
                int64_t at = (b * T + seg * N + t) * G + g;
                const double *before = states + t * per, *after = before + per, *za = after + E * F, *u = us + t * F;
                const double *key = k + at * E;
                double grow = decay ? exp(decay[at]) : 1, db = 0, dg = 0;
                for (int64_t h = g * (H / G); h < (g + 1) * (H / G); h++) {
                    int64_t qat = (b * T + seg * N + t) * H + h;
                    const double *query = q + qat * E, *dy = dout + qat * F;
                    double den = z ? a->eps : 1, w = 0;
                    for (int64_t i = 0; z && i < E; i++) den += query[i] * za[i];
                    for (int64_t i = 0; z && i < E; i++)
                        for (int64_t j = 0; j < F; j++) w += dy[j] * query[i] * after[i * F + j] / (den * den);
                    for (int64_t i = 0; i < E; i++) {
                        double d = z ? -w * za[i] : 0;
                        for (int64_t j = 0; j < F; j++) {
                            d += after[i * F + j] * dy[j] / den;
                            ds[i * F + j] += query[i] * dy[j] / den;
                        }
                        if (z) dzs[i] -= query[i] * w;
                        ref_put(dq, qat * E + i, d);
                    }
                }
                for (int64_t i = 0; i < E; i++) {
                    dkey[i] = z ? dzs[i] : 0;
                    for (int64_t j = 0; j < F; j++) dkey[i] += ds[i * F + j] * u[j];
                }
                for (int64_t j = 0; j < F; j++) {
                    double read = 0;
                    du[j] = 0;
                    for (int64_t i = 0; i < E; i++) {
                        du[j] += ds[i * F + j] * key[i];
                        read += grow * before[i * F + j] * key[i];
                    }
                    ref_put(dv, at * F + j, beta ? beta[at] * du[j] : du[j]);
                    db += du[j] * (v[at * F + j] - read);
                }
                for (int64_t i = 0; i < E; i++)
                    for (int64_t j = 0; j < F; j++) {
                        if (beta) {
                            dkey[i] -= grow * before[i * F + j] * beta[at] * du[j];
                            ds[i * F + j] -= key[i] * beta[at] * du[j];
                        }
                        dg += ds[i * F + j] * grow * before[i * F + j];
                        ds[i * F + j] *= grow;
                    }
                for (int64_t i = 0; i < E; i++) ref_put(dk, at * E + i, dkey[i]);
                if (beta) ref_put(dbeta, at, db);
                if (decay) ref_put(ddecay, at, dg);
            }
            for (int64_t i = 0; i < E * F; i++) up[i] = reset ? 0 : ds[i] + (written ? 0 : up[i]);
            for (int64_t i = 0; zup && i < E; i++) zup[i] = reset ? 0 : dzs[i] + (written ? 0 : zup[i]);
        }
    free(states);
}

static double feature(double x) { return x > 0 ? x + 1 : exp(x); }

static double sum_of(const double *x, int normalised, int64_t e) {
    double sum = 0;
    for (int64_t i = 0; i < e; i++) sum += feature(x[i]);
    return normalised ? sum : 1;
}

static void feature_fwd(double *y, const double *x, int normalised, int64_t rows, int64_t e) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < e; i++) y[r * e + i] = feature(x[r * e + i]) / sum_of(x + r * e, normalised, e);
}

/* y = f/s: df = (dy - normalised (dy.y)) / s */
static void feature_bwd(struct gout_f64 dx, const double *dy, const double *x, int normalised, int64_t rows, int64_t e) {
    for (int64_t r = 0; r < rows; r++) {
        double sum = sum_of(x + r * e, normalised, e), dot = 0;
        for (int64_t i = 0; normalised && i < e; i++) dot += dy[r * e + i] * feature(x[r * e + i]) / sum;
        for (int64_t i = 0; i < e; i++)
            ref_put(dx, r * e + i, (dy[r * e + i] - dot) / sum * (x[r * e + i] > 0 ? 1 : exp(x[r * e + i])));
    }
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static void sigmoid_fwd(double *y, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = sigmoid(x[i]);
}

static void sigmoid_bwd(struct gout_f64 dx, const double *dy, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) ref_put(dx, i, dy[i] * sigmoid(x[i]) * sigmoid(-x[i]));
}

static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

static void decay_fwd(double *y, const double *x, const double *log_rate, const double *bias, int64_t rows, int64_t heads) {
    for (int64_t i = 0; i < rows * heads; i++) y[i] = -exp(log_rate[i % heads]) * softplus(x[i] + bias[i % heads]);
}

static void decay_bwd(struct gout_f64 dx, struct gout_f64 dlog_rate, struct gout_f64 dbias, const double *dy, const double *x,
                      const double *log_rate, const double *bias, double *tmp, int64_t rows, int64_t heads) {
    (void)tmp;
    ref_start(dlog_rate, heads);
    ref_start(dbias, heads);
    for (int64_t i = 0; i < rows * heads; i++) {
        int64_t h = i % heads;
        double rate = exp(log_rate[h]), in = x[i] + bias[h], d = -rate * dy[i] * sigmoid(in);
        ref_put(dx, i, d);
        ref_sum(dbias, h, d);
        ref_sum(dlog_rate, h, -rate * softplus(in) * dy[i]);
    }
}

void ref_fast_weight(struct kernels_f64 *k) {
    k->fast_weight_fwd = fast_weight_fwd;
    k->fast_weight_bwd = fast_weight_bwd;
    k->feature_fwd = feature_fwd;
    k->feature_bwd = feature_bwd;
    k->sigmoid_fwd = sigmoid_fwd;
    k->sigmoid_bwd = sigmoid_bwd;
    k->decay_fwd = decay_fwd;
    k->decay_bwd = decay_bwd;
}
