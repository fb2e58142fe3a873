/* ref_attention.c - attention: for every query the visible keys one after another. */
#include "ref_private.h"

struct key_place {
    int own;     /* in k, v; else in kc, vc */
    int64_t row; /* of [B,rows,G] in there */
};

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t segments_of(const struct attention_shape *a) { return (a->queries + a->segment - 1) / a->segment; }

static int64_t lowest(const struct attention_shape *a, const int32_t *since, int64_t b, int64_t t) {
    int64_t s = t / a->segment, p = s * a->segment;
    int64_t lo = max64(p - since[b * segments_of(a) + s], p - a->back);
    if (a->window > 0) lo = max64(lo, t - a->window + 1);
    int64_t empty = attention_empty(a, since[b * segments_of(a) + s]);
    if (empty && t >= empty) lo = max64(lo, empty);
    return max64(lo, -a->cache);
}

static int64_t highest(const struct attention_shape *a, const int32_t *since, int64_t b, int64_t t) {
    int64_t empty = attention_empty(a, since[b * segments_of(a) + t / a->segment]);
    if (t < a->lead) return t < empty ? empty - 1 : a->lead - 1;
    return t >= a->queries - a->trail ? a->queries - 1 : t;
}

static struct key_place place(const struct attention_shape *a, int64_t b, int64_t t, int64_t pos) {
    int64_t first_own = a->own_from_segment ? t / a->segment * a->segment : 0;
    if (pos >= first_own) return (struct key_place){1, b * a->queries + pos};
    return (struct key_place){0, b * a->cache_rows + pos + a->cache};
}

static double dot_of(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static double score(const struct attention_shape *a, const double *q, const double *k, const double *qr, const double *rel,
                    const double *bias, int64_t h, int64_t distance) {
    double s = dot_of(q, k, a->e);
    if (rel) s += dot_of(qr, rel + (distance * a->heads + h) * a->e, a->e);
    return a->scale * s + (bias ? bias[h * a->distances + distance] : 0);
}

static void attention_fwd(double *out, double *lse, const double *q, const double *k, const double *v, const double *kc,
                          const double *vc, const double *qr, const double *rel, const double *bias, const int32_t *since,
                          const struct attention_shape *a) {
    int64_t T = a->queries, H = a->heads, G = a->kv_heads, E = a->e;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t h = 0; h < H; h++) {
                int64_t at = ((b * T + t) * H + h) * E, g = h / (H / G);
                int64_t lo = lowest(a, since, b, t), hi = highest(a, since, b, t);
                double max = -INFINITY, sum = 0;
                for (int64_t x = lo; x <= hi; x++) {
                    struct key_place w = place(a, b, t, x);
                    double s = score(a, q + at, (w.own ? k : kc) + (w.row * G + g) * E, qr ? qr + at : NULL, rel, bias, h, t - x);
                    max = !(s <= max) ? s : max;
                }
                for (int64_t i = 0; i < E; i++) out[at + i] = 0;
                for (int64_t x = lo; x <= hi; x++) {
                    struct key_place w = place(a, b, t, x);
                    double s = score(a, q + at, (w.own ? k : kc) + (w.row * G + g) * E, qr ? qr + at : NULL, rel, bias, h, t - x);
                    double p = exp(s - max);
                    sum += p;
                    for (int64_t i = 0; i < E; i++) out[at + i] += p * (w.own ? v : vc)[(w.row * G + g) * E + i];
                }
                for (int64_t i = 0; i < E; i++) out[at + i] /= sum;
                lse[(b * H + h) * T + t] = max + log(sum);
            }
}

/* p = exp(score - lse); dv += p dout; ds = p (dout.v - dout.out); dq += scale ds k; dk += scale ds q; drel, dqr likewise; dbias +=
 * ds */
static void attention_bwd(struct gout_f64 dq, struct gout_f64 dk, struct gout_f64 dv, struct gout_f64 dkc, struct gout_f64 dvc,
                          struct gout_f64 dqr, struct gout_f64 drel, struct gout_f64 dbias, const double *dout, const double *out,
                          const double *lse, const double *q, const double *k, const double *v, const double *kc, const double *vc,
                          const double *qr, const double *rel, const double *bias, const int32_t *since, double *tmp,
                          const struct attention_shape *a) {
    (void)tmp;
    int64_t B = a->batch, T = a->queries, H = a->heads, G = a->kv_heads, E = a->e;
    ref_start(dq, B * T * H * E);
    ref_start(dk, B * T * G * E);
    ref_start(dv, B * T * G * E);
    ref_start(dkc, B * a->cache_rows * G * E);
    ref_start(dvc, B * a->cache_rows * G * E);
    ref_start(dqr, B * T * H * E);
    ref_start(drel, a->distances * H * E);
    ref_start(dbias, H * a->distances);
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t h = 0; h < H; h++) {
                int64_t at = ((b * T + t) * H + h) * E, g = h / (H / G);
                double delta = dot_of(dout + at, out + at, E);
                for (int64_t x = lowest(a, since, b, t); x <= highest(a, since, b, t); x++) {
                    struct key_place w = place(a, b, t, x);
                    int64_t kat = (w.row * G + g) * E, rat = ((t - x) * H + h) * E;
                    const double *key = (w.own ? k : kc) + kat, *value = (w.own ? v : vc) + kat;
                    double s = score(a, q + at, key, qr ? qr + at : NULL, rel, bias, h, t - x);
                    double p = exp(s - lse[(b * H + h) * T + t]);
                    double ds = p * (dot_of(dout + at, value, E) - delta);
                    for (int64_t i = 0; i < E; i++) {
                        ref_sum(dq, at + i, a->scale * ds * key[i]);
                        ref_sum(w.own ? dk : dkc, kat + i, a->scale * ds * q[at + i]);
                        ref_sum(w.own ? dv : dvc, kat + i, p * dout[at + i]);
                        if (rel) {
                            ref_sum(dqr, at + i, a->scale * ds * rel[rat + i]);
                            ref_sum(drel, rat + i, a->scale * ds * qr[at + i]);
                        }
                    }
                    if (bias) ref_sum(dbias, h * a->distances + t - x, ds);
                }
            }
}

void ref_attention(struct kernels_f64 *k) {
    k->attention_fwd = attention_fwd;
    k->attention_bwd = attention_bwd;
}
