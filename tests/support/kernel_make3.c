/* kernel_make3.c - buffers and forwards of fast weights and of what stands before them. */
#include "kernel_cases.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double contract(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double *room(int64_t n) { return calloc((size_t)(n > 0 ? n : 1), sizeof(double)); }

/* d: B S N H G E F rule since len chunk decay; s: eps */
enum { START_CARRIED, START_MIDDLE, START_FRESH };
enum { LEN_FULL, LEN_LAST, LEN_ALL };
enum { DECAY_NONE, DECAY_SOME, DECAY_STRONG };

static void fast_weight_shape(struct kernel_case *c) {
    const int64_t *d = c->d;
    c->fast_weight = (struct fast_weight_shape){d[0], d[1], d[2], d[3], d[4], d[5], d[6], (int)d[7], d[10], c->s[0]};
    c->flop = 2 * (double)(d[0] * d[1] * d[2]) * (double)(d[5] * d[6] * (d[3] + d[4] * (d[7] == FAST_WEIGHT_SUM ? 1 : 2)));
    c->terms = (double)(d[1] * d[2] + d[5] + 16);
}

static int sums(const struct kernel_case *c) { return c->fast_weight.rule == FAST_WEIGHT_SUM; }

/* The state before the call in the first rows, NaN in the rows to be written. */
static void fast_weight_state(struct kernel_case *c, enum buffer_role role) {
    const struct fast_weight_shape *a = &c->fast_weight;
    for (int which = 0; which < 2; which++) {
        int64_t per = a->batch * a->kv_heads * a->e * (which ? sums(c) : a->f);
        double *x = case_buffer(c, which ? "z" : "m", role, TYPE_REAL, (a->segments + 1) * per, -1)->f;
        for (int64_t i = 0; i < (a->segments + 1) * per; i++)
            x[i] = i < per ? (float)(which ? 1 + 2 * case_uniform(c) : 0.5 * case_normal(c)) : NAN;
    }
}

/* Rows as features give them: of length 1 for the delta rule, positive for the sum. */
static void features(struct kernel_case *c, const char *name, int64_t rows) {
    int64_t e = c->fast_weight.e;
    double *x = case_in(c, name, rows * e, 1);
    for (int64_t r = 0; r < rows; r++) {
        double norm = sqrt(contract(x + r * e, x + r * e, e));
        for (int64_t i = r * e; i < (r + 1) * e; i++) x[i] = (float)(sums(c) ? 0.05 + fabs(x[i]) : x[i] / norm);
    }
}

static void starts_and_lengths(struct kernel_case *c, int64_t batch, int64_t S, int64_t n, int64_t start, int64_t length) {
    int32_t *since = case_ints(c, "since", batch * S);
    for (int64_t i = 0; i < batch * S; i++) {
        int64_t b = i / S, s = i % S;
        since[i] = (int32_t)(1 + s);
        if ((start == START_MIDDLE && s == S / 2 && b != 1) || (start == START_FRESH && s == 0)) since[i] = 0;
    }
    int32_t *len = case_ints(c, "len", batch * S);
    for (int64_t i = 0; i < batch * S; i++)
        len[i] = (int32_t)(length == LEN_ALL || (length == LEN_LAST && i % S == S - 1 && i / S == 0) ? n - 1 : n);
}

static void fast_weight_inputs(struct kernel_case *c) {
    const struct fast_weight_shape *a = &c->fast_weight;
    int64_t S = a->segments, rows = a->batch * S * a->n, gates = rows * a->kv_heads;
    features(c, "q", rows * a->heads);
    features(c, "k", gates);
    case_in(c, "v", gates * a->f, 1);
    double *beta = case_in(c, "beta", sums(c) ? 0 : gates, 1);
    for (int64_t i = 0; !sums(c) && i < gates; i++) beta[i] = (float)(0.05 + 0.9 * case_uniform(c));
    double *decay = case_in(c, "decay", c->d[11] ? gates : 0, 1);
    for (int64_t i = 0; c->d[11] && i < gates; i++) decay[i] = (float)((c->d[11] == DECAY_STRONG ? -30 : -0.3) * case_uniform(c));
    starts_and_lengths(c, a->batch, S, a->n, c->d[8], c->d[9]);
}

void make_fast_weight_fwd(struct kernel_case *c) {
    fast_weight_shape(c);
    const struct fast_weight_shape *a = &c->fast_weight;
    case_out(c, "out", a->batch * a->segments * a->n * a->heads * a->f);
    fast_weight_state(c, ROLE_INOUT);
    fast_weight_inputs(c);
    c->buf[0].magnitude = 0.1;
}

void make_fast_weight_bwd(struct kernel_case *c) {
    fast_weight_shape(c);
    const struct fast_weight_shape *a = &c->fast_weight;
    int64_t rows = a->batch * a->segments * a->n, state = a->batch * a->kv_heads * a->e;
    case_grad(c, "dq", rows * a->heads * a->e, 10);
    case_grad(c, "dk", rows * a->kv_heads * a->e, 11);
    case_grad(c, "dv", rows * a->kv_heads * a->f, 12);
    case_grad(c, "dbeta", sums(c) ? 0 : rows * a->kv_heads, 13);
    case_grad(c, "ddecay", c->d[11] ? rows * a->kv_heads : 0, 14);
    case_inout(c, "dm", state * a->f, 0.3, 8);
    case_inout(c, "dz", sums(c) ? state : 0, 0.3, 9);
    case_in(c, "dout", rows * a->heads * a->f, 1);
    fast_weight_state(c, ROLE_IN);
    fast_weight_inputs(c);
    case_tmp(c, TYPE_REAL, fast_weight_tmp(a));
    c->flop *= 2;
    c->terms *= 16;
    for (int i = 0; i < 7; i++) c->buf[i].magnitude = 0.1;
}

double fwd_fast_weight_bwd(const struct kernel_case *c, void **p, int save) {
    const struct fast_weight_shape *a = &c->fast_weight;
    int64_t nm = a->batch * a->kv_heads * a->e * a->f, nz = sums(c) ? nm / a->f : 0, S = a->segments;
    int64_t no = a->batch * S * a->n * a->heads * a->f;
    double *out = room(no), *m = room((S + 1) * nm), *z = room((S + 1) * nz);
    memcpy(m, p[8], (size_t)nm * sizeof *m);
    if (nz) memcpy(z, p[9], (size_t)nz * sizeof *z);
    kernels_ref()->fast_weight_fwd(out, m, nz ? z : NULL, p[10], p[11], p[12], p[13], p[14], p[15], p[16], a);
    double loss = contract(p[7], out, no) + contract(p[5], m + S * nm, nm) + (nz ? contract(p[6], z + S * nz, nz) : 0);
    if (save) {
        memcpy(p[8], m, (size_t)((S + 1) * nm) * sizeof *m);
        if (nz) memcpy(p[9], z, (size_t)((S + 1) * nz) * sizeof *z);
    }
    free(out);
    free(m);
    free(z);
    return loss;
}

/* d: rows e normalised */
void make_feature_fwd(struct kernel_case *c) {
    case_out(c, "y", c->d[0] * c->d[1]);
    case_in(c, "x", c->d[0] * c->d[1], 2)[0] = 0;
    c->terms = (double)(c->d[1] + 8);
}

void make_feature_bwd(struct kernel_case *c) {
    int64_t n = c->d[0] * c->d[1];
    case_grad(c, "dx", n, 2);
    case_in(c, "dy", n, 1);
    double *x = case_in(c, "x", n, 2);
    for (int64_t i = 0; i < n; i++) /* the slope has a kink at 0 */
        if (fabs(x[i]) < 0.01) x[i] = 0.5;
    c->buf[0].magnitude = 1; /* at size 1 all cancels */
    c->terms = (double)(c->d[1] + 8);
}

double fwd_feature_bwd(const struct kernel_case *c, void **p, int save) {
    int64_t n = c->d[0] * c->d[1];
    double *y = room(n);
    kernels_ref()->feature_fwd(y, p[2], (int)c->d[2], c->d[0], c->d[1]);
    double loss = contract(p[1], y, n);
    free(y);
    (void)save;
    return loss;
}

/* d: n */
void make_sigmoid_fwd(struct kernel_case *c) {
    case_out(c, "y", c->d[0]);
    double *x = case_in(c, "x", c->d[0], 3);
    if (c->d[0] > 3) {
        x[1] = -95; /* exp(95) is infinite in float: the result must be 0, not NaN */
        x[2] = 95;
    }
    c->terms = 4;
}

void make_sigmoid_bwd(struct kernel_case *c) {
    case_grad(c, "dx", c->d[0], 2);
    case_in(c, "dy", c->d[0], 1);
    double *x = case_in(c, "x", c->d[0], 3);
    if (c->d[0] > 3) {
        x[1] = -95;
        x[2] = 95;
    }
    c->terms = 9;
}

double fwd_sigmoid_bwd(const struct kernel_case *c, void **p, int save) {
    double *y = room(c->d[0]);
    kernels_ref()->sigmoid_fwd(y, p[2], c->d[0]);
    double loss = contract(p[1], y, c->d[0]);
    free(y);
    (void)save;
    return loss;
}

/* d: rows heads */
static void decay_inputs(struct kernel_case *c) {
    double *x = case_in(c, "x", c->d[0] * c->d[1], 3);
    if (c->d[0] > 3) {
        x[1] = -95;
        x[2] = 95;
    }
    case_in(c, "log_rate", c->d[1], 1);
    case_in(c, "bias", c->d[1], 1);
    c->terms = 8;
}

void make_decay_fwd(struct kernel_case *c) {
    case_out(c, "y", c->d[0] * c->d[1]);
    decay_inputs(c);
}

void make_decay_bwd(struct kernel_case *c) {
    case_grad(c, "dx", c->d[0] * c->d[1], 4);
    case_grad(c, "dlog_rate", c->d[1], 5);
    case_grad(c, "dbias", c->d[1], 6);
    case_in(c, "dy", c->d[0] * c->d[1], 1);
    decay_inputs(c);
    case_tmp(c, TYPE_REAL, 2 * KERNEL_PARTIALS * c->d[1]);
    for (int i = 0; i < 3; i++) c->buf[i].magnitude = 1;
    c->terms = (double)(c->d[0] + 8);
}

double fwd_decay_bwd(const struct kernel_case *c, void **p, int save) {
    int64_t n = c->d[0] * c->d[1];
    double *y = room(n);
    kernels_ref()->decay_fwd(y, p[4], p[5], p[6], c->d[0], c->d[1]);
    double loss = contract(p[3], y, n);
    free(y);
    (void)save;
    return loss;
}

/* d: B S N D K since len */
static void short_conv_shape(struct kernel_case *c) {
    const int64_t *d = c->d;
    c->conv = (struct short_conv_shape){d[0], d[1], d[2], d[3], d[4]};
    c->flop = 2 * (double)(d[0] * d[1] * d[2] * d[3] * d[4]);
    c->terms = (double)(d[4] + 8);
}

/* The rows before the call first, NaN in those to be written. */
static void short_conv_tail(struct kernel_case *c, enum buffer_role role) {
    const struct short_conv_shape *a = &c->conv;
    int64_t one = a->batch * (a->size - 1) * a->width, n = (a->segments + 1) * one;
    double *x = case_buffer(c, "tail", role, TYPE_REAL, n, -1)->f;
    for (int64_t i = 0; i < n; i++) x[i] = i < one ? (float)case_normal(c) : NAN;
}

static void short_conv_inputs(struct kernel_case *c) {
    const struct short_conv_shape *a = &c->conv;
    case_in(c, "x", a->batch * a->segments * a->n * a->width, 1);
    case_in(c, "w", a->size * a->width, 1);
    starts_and_lengths(c, a->batch, a->segments, a->n, c->d[5], c->d[6]);
}

void make_short_conv_fwd(struct kernel_case *c) {
    short_conv_shape(c);
    const struct short_conv_shape *a = &c->conv;
    case_out(c, "out", a->batch * a->segments * a->n * a->width);
    short_conv_tail(c, ROLE_INOUT);
    short_conv_inputs(c);
}

void make_short_conv_bwd(struct kernel_case *c) {
    short_conv_shape(c);
    const struct short_conv_shape *a = &c->conv;
    int64_t n = a->batch * a->segments * a->n * a->width;
    case_grad(c, "dx", n, 5);
    case_grad(c, "dw", a->size * a->width, 6);
    case_inout(c, "dtail", a->batch * (a->size - 1) * a->width, 0.5, 4);
    case_in(c, "dout", n, 1);
    short_conv_tail(c, ROLE_IN);
    short_conv_inputs(c);
    case_tmp(c, TYPE_REAL, short_conv_tmp(a));
    for (int i = 0; i < 3; i++) c->buf[i].magnitude = 1;
    c->flop *= 3;
    c->terms += (double)(a->batch * a->segments * a->n);
}

double fwd_short_conv_bwd(const struct kernel_case *c, void **p, int save) {
    const struct short_conv_shape *a = &c->conv;
    int64_t n = a->batch * a->segments * a->n * a->width, one = a->batch * (a->size - 1) * a->width, all = (a->segments + 1) * one;
    double *out = room(n), *tail = room(all);
    if (one) memcpy(tail, p[4], (size_t)one * sizeof *tail);
    kernels_ref()->short_conv_fwd(out, one ? tail : NULL, p[5], p[6], p[7], p[8], a);
    double loss = contract(p[3], out, n) + contract(p[2], tail + a->segments * one, one);
    if (save && one) memcpy(p[4], tail, (size_t)all * sizeof *tail);
    free(out);
    free(tail);
    return loss;
}
