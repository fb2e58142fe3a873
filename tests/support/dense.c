/* dense.c - the decoder in plain loops with a pluggable mixer. */
#include "dense.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double dense_dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double *room(int64_t n) { return xcalloc((size_t)n, sizeof(double)); }

/* x w^T */
static double *product(const struct model *m, const struct param *w, const double *x, int64_t T) {
    int64_t out = w->shape[0], in = w->shape[1];
    double *v = engine_download(m, w->leaf.data, w->n), *y = room(T * out);
    for (int64_t t = 0; t < T; t++)
        for (int64_t o = 0; o < out; o++) y[t * out + o] = dense_dot(x + t * in, v + o * in, in);
    free(v);
    return y;
}

static double *normed(const struct model *m, const struct param *w, const double *x, int64_t T) {
    int64_t D = w->n;
    double *v = engine_download(m, w->leaf.data, D), *y = room(T * D);
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = 0; i < D; i++)
            y[t * D + i] = x[t * D + i] / sqrt(dense_dot(x + t * D, x + t * D, D) / (double)D + m->config.norm_eps) * v[i];
    free(v);
    return y;
}

static void add_to(double *x, double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] += y[i];
    free(y);
}

double *dense_param(const struct dense *d, const char *name) {
    struct param *p = layer_param(d->model, d->layer, name);
    return engine_download(d->model, p->leaf.data, p->n);
}

void dense_attend(const struct dense *d, double *out, double weight, const double *score, int64_t n, int64_t g) {
    double max = -INFINITY, sum = 0;
    for (int64_t a = 0; a < n; a++) max = fmax(max, score[a]);
    for (int64_t a = 0; a < n; a++) sum += exp(score[a] - max);
    for (int64_t a = 0; a < n; a++)
        for (int64_t i = 0; i < d->E && score[a] > -INFINITY; i++)
            out[i] += weight * exp(score[a] - max) / sum * d->v[(a * d->G + g) * d->E + i];
}

double dense_rope_dot(const struct dense *d, const double *q, const double *k, int64_t distance) {
    double sum = 0;
    int64_t half = d->E / 2;
    for (int64_t i = 0; i < half; i++) { /* Re(q k* exp(i w distance)) */
        double angle = (double)distance * pow(d->model->config.rope_base, -2.0 * (double)i / (double)d->E);
        double re = q[i] * k[i] + q[half + i] * k[half + i], im = q[half + i] * k[i] - q[i] * k[half + i];
        sum += re * cos(angle) - im * sin(angle);
    }
    return sum;
}

double *dense_logits(struct model *m, const int32_t *tokens, int64_t T, dense_mixer mixer, const void *data) {
    const struct model_config *c = &m->config;
    int64_t D = c->d;
    double *table = engine_download(m, m->embed->leaf.data, m->embed->n), *x = room(T * D);
    for (int64_t t = 0; t < T; t++) memcpy(x + t * D, table + tokens[t] * D, (size_t)D * sizeof *x);
    free(table);
    for (int l = 0; l < c->layers; l++) {
        struct layer_params *p = m->layer + l;
        double *h = normed(m, p->norm1, x, T), *q = product(m, p->wq, h, T), *k = product(m, p->wk, h, T),
               *v = product(m, p->wv, h, T);
        struct dense d = {m, T, c->heads, c->kv_heads, c->e, D, l, x, h, q, k, v, room(T * c->heads * c->e), data};
        mixer(&d);
        add_to(x, product(m, p->wo, d.out, T), T * D);
        free(d.out);
        free(h);
        free(q);
        free(k);
        free(v);
        h = normed(m, p->norm2, x, T);
        double *up = product(m, p->w_up, h, T), *gate = p->w_gate ? product(m, p->w_gate, h, T) : NULL;
        for (int64_t i = 0; i < T * p->w_up->shape[0]; i++) up[i] = gate ? gate[i] / (1 + exp(-gate[i])) * up[i] : fmax(up[i], 0);
        add_to(x, product(m, p->w_down, up, T), T * D);
        free(up);
        free(gate);
        free(h);
    }
    double *h = normed(m, m->final_norm, x, T), *logits = product(m, m->head, h, T);
    free(x);
    free(h);
    return logits;
}
