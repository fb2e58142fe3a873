/* kernel_make.c - buffers and forwards of the small kernels. Rows: d[] as the calls in kernel_calls.h say. */
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

/* d: ta tb m n k lda ldb ldc (sc sa sb batch); ld 0: tight. s: alpha beta */
static void gemm_buffers(struct kernel_case *c, int64_t batch) {
    int64_t *d = c->d, m = d[2], n = d[3], k = d[4];
    d[5] += d[0] ? m : k;
    d[6] += d[1] ? k : n;
    d[7] += n;
    int64_t a = (d[0] ? k : m) * d[5], b = (d[1] ? n : k) * d[6], o = m * d[7];
    if (batch > 1 || d[11]) {
        d[8] += o;
        d[9] = d[9] < 0 ? 0 : d[9] + a; /* -1: shared */
        d[10] = d[10] < 0 ? 0 : d[10] + b;
    }
    double *out = case_inout(c, "c", (batch - 1) * d[8] + o, 1, -1);
    for (int64_t i = 0; i < batch && c->s[1] == 0; i++) /* beta 0 never reads c, and the gaps of a leading dimension are nobody's */
        for (int64_t r = 0; r < m; r++)
            for (int64_t j = 0; j < n; j++) out[i * d[8] + r * d[7] + j] = NAN;
    case_in(c, "a", (batch - 1) * d[9] + a, 1);
    case_in(c, "b", (batch - 1) * d[10] + b, 1);
    c->terms = (double)k;
    c->flop = 2.0 * (double)(m * n * k * batch);
}

void make_gemm(struct kernel_case *c) { gemm_buffers(c, 1); }

void make_gemm_batched(struct kernel_case *c) { gemm_buffers(c, c->d[11]); }

void make_fill(struct kernel_case *c) { case_out(c, "x", c->d[0]); }

void make_add(struct kernel_case *c) {
    case_out(c, "out", c->d[0]);
    case_in(c, "a", c->d[0], 1);
    case_in(c, "b", c->d[0], 1);
    case_alias(c, 0, 1);
    case_alias(c, 0, 2);
}

void make_scale(struct kernel_case *c) {
    case_grad(c, "out", c->d[0], -1);
    case_in(c, "x", c->d[0], 1);
}

void make_axpby(struct kernel_case *c) {
    int64_t rows = c->d[0], n = rows * c->d[1];
    case_out(c, "out", n);
    case_in(c, "a", rows, 1);
    case_in(c, "x", n, 1);
    case_in(c, "b", rows, 1);
    case_in(c, "y", n, 1);
    case_alias(c, 0, 2);
    case_alias(c, 0, 4);
}

void make_rowscale(struct kernel_case *c) {
    case_grad(c, "out", c->d[0] * c->d[1], -1);
    case_in(c, "a", c->d[0], 1);
    case_in(c, "x", c->d[0] * c->d[1], 1);
}

void make_add_bias(struct kernel_case *c) {
    case_out(c, "out", c->d[0] * c->d[1]);
    case_in(c, "x", c->d[0] * c->d[1], 1);
    case_in(c, "bias", c->d[1], 1);
}

void make_column_sum(struct kernel_case *c) {
    case_grad(c, "dbias", c->d[1], -1);
    case_in(c, "dy", c->d[0] * c->d[1], 1);
    case_tmp(c, TYPE_REAL, KERNEL_PARTIALS * c->d[1]);
    c->terms = (double)c->d[0];
}

/* d: batch width stride init(0,1) */
static void some_resets(struct kernel_case *c) {
    int32_t *since = case_ints(c, "since", c->d[0] * c->d[2]);
    for (int64_t i = 0; i < c->d[0] * c->d[2]; i++)
        since[i] = (i / c->d[2] + i % c->d[2]) % 2 ? 0 : 7; /* other columns of a row say the opposite */
}

void make_reset_rows(struct kernel_case *c) {
    case_out(c, "out", c->d[0] * c->d[1]);
    case_in(c, "x", c->d[0] * c->d[1], 1);
    case_in(c, "init", c->d[3] ? c->d[1] : 0, 1);
    some_resets(c);
}

void make_reset_rows_bwd(struct kernel_case *c) {
    case_grad(c, "dx", c->d[0] * c->d[1], 4);
    case_grad(c, "dinit", c->d[1], 5);
    case_in(c, "dy", c->d[0] * c->d[1], 1);
    some_resets(c);
    case_in(c, "(x)", c->d[0] * c->d[1], 1); /* not arguments: what the forward had */
    case_in(c, "(init)", c->d[1], 1);
    c->terms = (double)c->d[0];
}

double fwd_reset_rows_bwd(const struct kernel_case *c, void **p, int save) {
    int64_t n = c->d[0] * c->d[1];
    double *y = room(n);
    kernels_ref()->reset_rows(y, p[4], p[5], p[3], c->d[2], c->d[0], c->d[1]);
    double loss = contract(p[2], y, n);
    free(y);
    (void)save;
    return loss;
}

void make_rmsnorm_fwd(struct kernel_case *c) {
    case_out(c, "y", c->d[0] * c->d[1]);
    case_out(c, "rstd", c->d[0]);
    case_in(c, "x", c->d[0] * c->d[1], 1);
    case_in(c, "w", c->d[1], 1);
    c->terms = 4;
}

void make_rmsnorm_bwd(struct kernel_case *c) {
    int64_t n = c->d[0] * c->d[1];
    case_grad(c, "dx", n, 3);
    case_grad(c, "dw", c->d[1], 4);
    case_in(c, "dy", n, 1);
    case_in(c, "x", n, 1);
    case_in(c, "w", c->d[1], 1);
    case_in(c, "rstd", c->d[0], 1);
    case_in(c, "extra", c->d[2] ? n : 0, 1);
    case_tmp(c, TYPE_REAL, KERNEL_PARTIALS * c->d[1]);
    if (c->d[2]) case_alias(c, 0, 6);
    c->buf[0].magnitude = 1; /* at width 1 all cancels */
    c->terms = 8 + (double)(c->d[0] > c->d[1] ? c->d[0] : c->d[1]);
}

/* extra is the gradient of x along another path: the loss has the term extra . x */
double fwd_rmsnorm_bwd(const struct kernel_case *c, void **p, int save) {
    int64_t n = c->d[0] * c->d[1];
    double *y = room(n), *rstd = room(c->d[0]);
    kernels_ref()->rmsnorm_fwd(y, rstd, p[3], p[4], c->s[0], c->d[0], c->d[1]);
    double loss = contract(p[2], y, n) + (p[6] ? contract(p[6], p[3], n) : 0);
    if (save) memcpy(p[5], rstd, (size_t)c->d[0] * sizeof *rstd);
    free(y);
    free(rstd);
    return loss;
}

void make_add_rmsnorm_fwd(struct kernel_case *c) {
    int64_t n = c->d[0] * c->d[1];
    case_out(c, "sum", n);
    case_out(c, "y", n);
    case_out(c, "rstd", c->d[0]);
    case_in(c, "a", n, 1);
    case_in(c, "b", n, 1);
    case_in(c, "w", c->d[1], 1);
    case_alias(c, 0, 3);
    case_alias(c, 0, 4);
    c->terms = 4;
}

/* d: rows heads e scale(0,1) */
void make_headnorm_fwd(struct kernel_case *c) {
    int64_t n = c->d[0] * c->d[1] * c->d[2];
    case_out(c, "y", n);
    case_out(c, "rinv", c->d[0] * c->d[1]);
    case_in(c, "x", n, 1);
    case_in(c, "scale", c->d[3] ? c->d[1] : 0, 1);
    c->terms = 4;
}

void make_headnorm_bwd(struct kernel_case *c) {
    int64_t n = c->d[0] * c->d[1] * c->d[2];
    case_grad(c, "dx", n, 3);
    case_grad(c, "dscale", c->d[3] ? c->d[1] : 0, 4);
    case_in(c, "dy", n, 1);
    case_in(c, "x", n, 1);
    case_in(c, "scale", c->d[3] ? c->d[1] : 0, 1);
    case_in(c, "rinv", c->d[0] * c->d[1], 1);
    case_tmp(c, TYPE_REAL, KERNEL_PARTIALS * c->d[1]);
    c->buf[0].magnitude = 1; /* at size 1 all cancels */
    c->terms = (double)(c->d[0] + c->d[2]);
}

double fwd_headnorm_bwd(const struct kernel_case *c, void **p, int save) {
    int64_t n = c->d[0] * c->d[1] * c->d[2];
    double *y = room(n), *rinv = room(c->d[0] * c->d[1]);
    kernels_ref()->headnorm_fwd(y, rinv, p[3], p[4], c->s[0], c->d[0], c->d[1], c->d[2]);
    double loss = contract(p[2], y, n);
    if (save) memcpy(p[5], rinv, (size_t)(c->d[0] * c->d[1]) * sizeof *rinv);
    free(y);
    free(rinv);
    return loss;
}

/* d: rows vocab width */
static void some_ids(struct kernel_case *c) {
    int32_t *ids = case_ints(c, "ids", c->d[0]);
    for (int64_t r = 0; r < c->d[0]; r++)
        ids[r] = (int32_t)((r % 3 == 2 ? r * r : r / 2) % c->d[1]); /* repeated ids, and the last row of the table */
    ids[c->d[0] - 1] = (int32_t)c->d[1] - 1;
}

void make_embed_fwd(struct kernel_case *c) {
    case_out(c, "out", c->d[0] * c->d[2]);
    case_in(c, "table", c->d[1] * c->d[2], 1);
    some_ids(c);
    c->bytes = 8.0 * (double)(c->d[0] * c->d[2]);
}

void make_embed_bwd(struct kernel_case *c) {
    case_grad(c, "dtable", c->d[1] * c->d[2], 3);
    case_in(c, "dout", c->d[0] * c->d[2], 1);
    some_ids(c);
    case_in(c, "(table)", c->d[1] * c->d[2], 1);
    c->terms = (double)c->d[0];
}

double fwd_embed_bwd(const struct kernel_case *c, void **p, int save) {
    double *y = room(c->d[0] * c->d[2]);
    kernels_ref()->embed_fwd(y, p[3], p[2], c->d[0], c->d[2]);
    double loss = contract(p[1], y, c->d[0] * c->d[2]);
    free(y);
    (void)save;
    return loss;
}

/* d: rows e */
void make_rope_table(struct kernel_case *c) {
    case_out(c, "cs", c->d[0] * c->d[1]);
    int32_t *pos = case_ints(c, "pos", c->d[0]);
    for (int64_t r = 0; r < c->d[0]; r++) pos[r] = r % 5 == 4 ? (int32_t)(2147483647 - r) : (int32_t)(r * 37);
}

/* d: rows heads e inverse. The gradient of a rotation is the other rotation: out = gradient of (x). */
void make_rope(struct kernel_case *c) {
    int64_t n = c->d[0] * c->d[1] * c->d[2];
    case_grad(c, "out", n, 3);
    case_in(c, "x", n, 1);
    double *cs = case_in(c, "cs", c->d[0] * c->d[2], 1);
    for (int64_t r = 0; r < c->d[0]; r++)
        for (int64_t i = 0; i < c->d[2] / 2; i++) {
            double angle = 6.3 * case_uniform(c);
            cs[r * c->d[2] + i] = (float)cos(angle);
            cs[r * c->d[2] + c->d[2] / 2 + i] = (float)sin(angle);
        }
    case_in(c, "(x)", n, 1);
    case_alias(c, 0, 1);
}

double fwd_rope(const struct kernel_case *c, void **p, int save) {
    int64_t n = c->d[0] * c->d[1] * c->d[2];
    double *y = room(n);
    kernels_ref()->rope((struct gout_f64){y, 0}, p[3], p[2], !c->d[3], c->d[0], c->d[1], c->d[2]);
    double loss = contract(p[1], y, n);
    free(y);
    (void)save;
    return loss;
}

void make_swiglu_fwd(struct kernel_case *c) {
    case_out(c, "out", c->d[0]);
    double *gate = case_in(c, "gate", c->d[0], 3);
    case_in(c, "up", c->d[0], 1);
    if (c->d[0] > 9) {
        gate[1] = 0;
        gate[2] = -60;
        gate[3] = 60;
        gate[4] = -95; /* exp(95) is infinite in float: the result must be 0, not NaN */
    }
    c->terms = 9;
}

void make_swiglu_bwd(struct kernel_case *c) {
    case_grad(c, "dgate", c->d[0], 3);
    case_grad(c, "dup", c->d[0], 4);
    case_in(c, "dout", c->d[0], 1);
    double *gate = case_in(c, "gate", c->d[0], 3);
    case_in(c, "up", c->d[0], 1);
    if (c->d[0] > 9) {
        gate[1] = 0;
        gate[2] = -95;
        gate[3] = 95;
    }
    case_alias(c, 0, 3);
    case_alias(c, 1, 4);
    c->alias_all = 1;
    c->terms = 9;
}

double fwd_swiglu_bwd(const struct kernel_case *c, void **p, int save) {
    double *y = room(c->d[0]);
    kernels_ref()->swiglu_fwd(y, p[3], p[4], c->d[0]);
    double loss = contract(p[2], y, c->d[0]);
    free(y);
    (void)save;
    return loss;
}

void make_relu_fwd(struct kernel_case *c) {
    case_out(c, "out", c->d[0]);
    case_in(c, "x", c->d[0], 1)[c->d[0] / 2] = 0;
}

void make_relu_bwd(struct kernel_case *c) {
    case_grad(c, "dx", c->d[0], c->d[1] ? 2 : -1);
    case_in(c, "dout", c->d[0], 1);
    double *x = case_in(c, "x", c->d[0], 1);
    for (int64_t i = 0; i < c->d[0]; i++) /* finite differences keep away from the kink, the check looks at it */
        if (c->d[1] ? fabs(x[i]) < 0.01 : i % 5 == 0) x[i] = c->d[1] ? 0.5 : 0;
}

double fwd_relu_bwd(const struct kernel_case *c, void **p, int save) {
    double *y = room(c->d[0]);
    kernels_ref()->relu_fwd(y, p[2], c->d[0]);
    double loss = contract(p[1], y, c->d[0]);
    free(y);
    (void)save;
    return loss;
}

/* d: rows vocab; s: spread of the logits */
static void some_targets(struct kernel_case *c) {
    int32_t *target = case_ints(c, "target", c->d[0]);
    for (int64_t r = 0; r < c->d[0]; r++) target[r] = r % 4 == 3 ? -1 : (int32_t)((r * 7 + c->d[1] - 1) % c->d[1]);
}

void make_xent_fwd(struct kernel_case *c) {
    case_out(c, "nll", c->d[0]);
    case_out(c, "lse", c->d[0]);
    case_in(c, "logits", c->d[0] * c->d[1], c->s[0]);
    some_targets(c);
    c->terms = 16 + (double)c->d[1] / 256; /* a single running sum has to do where nothing is vectorised */
}

void make_xent_bwd(struct kernel_case *c) {
    case_grad(c, "dlogits", c->d[0] * c->d[1], 2);
    case_in(c, "dnll", c->d[0], 1);
    case_in(c, "logits", c->d[0] * c->d[1], c->s[0]);
    case_in(c, "lse", c->d[0], 1);
    some_targets(c);
    case_alias(c, 0, 2);
    c->terms = 16 * (1 + c->s[0] * c->s[0]);
}

double fwd_xent_bwd(const struct kernel_case *c, void **p, int save) {
    double *nll = room(c->d[0]), *lse = room(c->d[0]);
    kernels_ref()->xent_fwd(nll, lse, p[2], p[4], c->d[0], c->d[1]);
    double loss = contract(p[1], nll, c->d[0]);
    if (save) memcpy(p[3], lse, (size_t)c->d[0] * sizeof *lse);
    free(nll);
    free(lse);
    return loss;
}

void make_dot(struct kernel_case *c) {
    case_out(c, "out", 1);
    case_in(c, "a", c->d[0], 1);
    case_in(c, "b", c->d[0], 1);
    case_tmp(c, TYPE_DOUBLE, KERNEL_PARTIALS);
    c->buf[0].magnitude = sqrt((double)c->d[0]);
}

void make_sumsq(struct kernel_case *c) {
    case_out(c, "out", 1);
    case_in(c, "x", c->d[0], 1);
    case_tmp(c, TYPE_DOUBLE, KERNEL_PARTIALS);
}

/* s: max_norm, sumsq */
void make_clip(struct kernel_case *c) {
    case_inout(c, "hyper", HYPER_COUNT, 1, -1)[HYPER_CLIP] = NAN;
    case_in(c, "sumsq", 1, 1)[0] = (float)c->s[1];
}

static void some_hyper(struct kernel_case *c, double clip) {
    double *h = case_in(c, "hyper", HYPER_COUNT, 1);
    h[HYPER_LR] = (float)0.01;
    h[HYPER_C1] = (float)0.19;
    h[HYPER_C2] = (float)0.0297;
    h[HYPER_ADAFACTOR_B2] = (float)0.585;
    h[HYPER_CLIP] = (float)clip;
}

/* d: n; s: rate decay b1 b2 eps clip */
void make_adamw(struct kernel_case *c) {
    case_inout(c, "p", c->d[0], 1, -1);
    case_inout(c, "m", c->d[0], 0.1, -1);
    double *v = case_inout(c, "v", c->d[0], 0.1, -1);
    for (int64_t i = 0; i < c->d[0]; i++) v[i] = fabs(v[i]);
    double *g = case_in(c, "g", c->d[0], 1);
    if (c->d[0] > 2) g[0] = v[0] = 0; /* sqrt(0) + eps */
    some_hyper(c, c->s[5]);
}

/* d: rows cols parameter_scale; s: rate decay eps1 eps2 clip_rms clip */
void make_adafactor(struct kernel_case *c) {
    int64_t rows = c->d[0], cols = c->d[1];
    case_inout(c, "p", rows * cols, 0.3, -1);
    double *r = case_inout(c, "r", rows, 1, -1), *col = case_inout(c, "c", cols, 1, -1);
    for (int64_t i = 0; i < rows; i++) r[i] = fabs(r[i]) + 0.125;
    for (int64_t i = 0; i < cols; i++) col[i] = fabs(col[i]) + 0.125;
    case_in(c, "g", rows * cols, 1);
    some_hyper(c, c->s[5]);
    case_tmp(c, TYPE_REAL, rows * cols + rows + 2 * KERNEL_PARTIALS);
    c->terms = 9;
}

/* d: rows vocab; s: temperature top_p spread */
void make_sample(struct kernel_case *c) {
    case_buffer(c, "id", ROLE_OUT, TYPE_INT, c->d[0], -1);
    double *x = case_in(c, "logits", c->d[0] * c->d[1], c->s[2]);
    if (c->d[1] > 3) /* ties at the top of the first row */
        x[c->d[1] - 1] = x[1] = x[2] = 8 + (float)c->s[2];
    double *u = case_in(c, "u", c->d[0], 1);
    for (int64_t r = 0; r < c->d[0]; r++) u[r] = (float)(0.999 * case_uniform(c));
    case_tmp(c, TYPE_REAL, c->d[0] * c->d[1]);
    case_tmp(c, TYPE_INT, c->d[0] * c->d[1]);
}

/* d: n, place of the bad element (-1: none), 0 NaN, 1 Inf, 2 -Inf */
void make_first_bad(struct kernel_case *c) {
    case_buffer(c, "index", ROLE_OUT, TYPE_INT, 1, -1);
    double *x = case_in(c, "x", c->d[0], 1);
    if (c->d[0] > 0 && c->d[1] >= 0) {
        x[c->d[0] - 1] = NAN;
        x[c->d[1]] = c->d[2] == 0 ? NAN : c->d[2] == 1 ? INFINITY : -INFINITY;
    }
}
