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
    int32_t *since = case_ints(c, "since", a->batch * S);
    for (int64_t i = 0; i < a->batch * S; i++) {
        int64_t b = i / S, s = i % S;
        since[i] = (int32_t)(1 + s);
        if ((c->d[8] == START_MIDDLE && s == S / 2 && b != 1) || (c->d[8] == START_FRESH && s == 0)) since[i] = 0;
    }
    int32_t *len = case_ints(c, "len", a->batch * S);
    for (int64_t i = 0; i < a->batch * S; i++)
        len[i] = (int32_t)(c->d[9] == LEN_ALL || (c->d[9] == LEN_LAST && i % S == S - 1 && i / S == 0) ? a->n - 1 : a->n);
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
