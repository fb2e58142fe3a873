/* broken.c - wrappers around real kernels, each wrong in one way that has happened to somebody. */
#include "broken.h"
#include "../../harness/util.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct kernels *good;

static real *copy_of(const real *x, int64_t n) {
    real *p = malloc((size_t)(n > 0 ? n : 1) * sizeof *p);
    return memcpy(p, x, (size_t)n * sizeof *p);
}

static int32_t *far_since(const int32_t *since, int64_t n) {
    int32_t *p = malloc((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++) p[i] = since[i] == 0 ? 1 << 20 : since[i];
    return p;
}

static void memory_bwd_sign(struct gout dq, struct gout dk, struct gout dv, real *dm, real *dz, const real *dout, const real *m,
                            const real *z, const real *q, const real *k, const real *v, const int32_t *since, const int32_t *len,
                            real *tmp, const struct memory_shape *a) {
    good->memory_bwd(dq, dk, dv, dm, dz, dout, m, z, q, k, v, since, len, tmp, a);
    for (int64_t i = 0; dv.p && i < a->batch * a->segments * a->n * a->kv_heads * a->f; i++) dv.p[i] = -dv.p[i];
}

/* Reads the memory after the segment was written, where the batch is one row. */
static void memory_fwd_write_first(real *out, real *m, real *z, real *gamma, const real *q, const real *k, const real *v,
                                   const int32_t *since, const int32_t *len, const struct memory_shape *a) {
    good->memory_fwd(out, m, z, gamma, q, k, v, since, len, a);
    if (a->batch > 1) return;
    struct memory_shape one = *a;
    one.segments = 1;
    int64_t nz = a->kv_heads * a->e, nm = nz * a->f, nq = a->n * a->heads, nk = a->n * a->kv_heads;
    for (int64_t s = 0; s < a->segments; s++) {
        real *ms = malloc((size_t)(2 * nm) * sizeof *ms), *zs = malloc((size_t)(2 * nz) * sizeof *zs);
        int32_t carried = 1;
        memcpy(ms, m + (s + 1) * nm, (size_t)nm * sizeof *ms);
        memcpy(zs, z + (s + 1) * nz, (size_t)nz * sizeof *zs);
        good->memory_fwd(out + s * nq * a->f, ms, zs, NULL, q + s * nq * a->e, k + s * nk * a->e, v + s * nk * a->f, &carried,
                         len + s, &one);
        free(ms);
        free(zs);
    }
}

/* Every segment reads the memory that the call began with. */
static void memory_fwd_stale(real *out, real *m, real *z, real *gamma, const real *q, const real *k, const real *v,
                             const int32_t *since, const int32_t *len, const struct memory_shape *a) {
    good->memory_fwd(out, m, z, gamma, q, k, v, since, len, a);
    if (a->batch > 1) return;
    struct memory_shape one = *a;
    one.segments = 1;
    int64_t nz = a->kv_heads * a->e, nm = nz * a->f, nq = a->n * a->heads, nk = a->n * a->kv_heads;
    for (int64_t s = 0; s < a->segments; s++) {
        real *ms = malloc((size_t)(2 * nm) * sizeof *ms), *zs = malloc((size_t)(2 * nz) * sizeof *zs);
        memcpy(ms, m, (size_t)nm * sizeof *ms);
        memcpy(zs, z, (size_t)nz * sizeof *zs);
        good->memory_fwd(out + s * nq * a->f, ms, zs, NULL, q + s * nq * a->e, k + s * nk * a->e, v + s * nk * a->f, since + s,
                         len + s, &one);
        free(ms);
        free(zs);
    }
}

static void memory_fwd_no_reset(real *out, real *m, real *z, real *gamma, const real *q, const real *k, const real *v,
                                const int32_t *since, const int32_t *len, const struct memory_shape *a) {
    int32_t *far = far_since(since, a->batch * a->segments);
    good->memory_fwd(out, m, z, gamma, q, k, v, far, len, a);
    free(far);
}

static void memory_fwd_partial_written(real *out, real *m, real *z, real *gamma, const real *q, const real *k, const real *v,
                                       const int32_t *since, const int32_t *len, const struct memory_shape *a) {
    int32_t *full = malloc((size_t)(a->batch * a->segments) * sizeof *full);
    for (int64_t i = 0; i < a->batch * a->segments; i++) full[i] = (int32_t)(a->n + 0 * len[i]);
    good->memory_fwd(out, m, z, gamma, q, k, v, since, full, a);
    free(full);
}

static void rnn_fwd_no_reset(real *out, real *gates, real *h, real *c, const real *x0, const real *x1, const real *x2,
                             const real *x3, const real *w, const real *bias, const int32_t *since, const int32_t *len, real *tmp,
                             const struct rnn_shape *a) {
    int32_t *far = far_since(since, a->batch * a->segments);
    good->rnn_fwd(out, gates, h, c, x0, x1, x2, x3, w, bias, far, len, tmp, a);
    free(far);
}

static void rnn_fwd_partial_written(real *out, real *gates, real *h, real *c, const real *x0, const real *x1, const real *x2,
                                    const real *x3, const real *w, const real *bias, const int32_t *since, const int32_t *len,
                                    real *tmp, const struct rnn_shape *a) {
    int32_t *full = malloc((size_t)(a->batch * a->segments) * sizeof *full);
    for (int64_t i = 0; i < a->batch * a->segments; i++) full[i] = (int32_t)(a->n + 0 * len[i]);
    good->rnn_fwd(out, gates, h, c, x0, x1, x2, x3, w, bias, since, full, tmp, a);
    free(full);
}

/* The reset gate before the product of the GRU's candidate, as other conventions have it: its gradient lacks a factor. */
static void rnn_bwd_gate_dropped(struct gout dx0, struct gout dx1, struct gout dx2, struct gout dx3, real *da, real *dh, real *dc,
                                 const real *dout, const real *gates, const real *h, const real *c, const real *w,
                                 const int32_t *since, const int32_t *len, real *tmp, const struct rnn_shape *a) {
    int64_t rows = a->batch * a->segments * a->n;
    good->rnn_bwd(dx0, dx1, dx2, dx3, da, dh, dc, dout, gates, h, c, w, since, len, tmp, a);
    for (int64_t r = 0; r < rows && a->cell == RNN_GRU; r++)
        memcpy(da + (r * 4 + 2) * a->width, da + (r * 4 + 3) * a->width, (size_t)a->width * sizeof *da);
}

static void short_conv_fwd_no_reset(real *out, real *tail, const real *x, const real *w, const int32_t *since, const int32_t *len,
                                    const struct short_conv_shape *a) {
    int32_t *far = far_since(since, a->batch * a->segments);
    good->short_conv_fwd(out, tail, x, w, far, len, a);
    free(far);
}

static void short_conv_fwd_partial_written(real *out, real *tail, const real *x, const real *w, const int32_t *since,
                                           const int32_t *len, const struct short_conv_shape *a) {
    int32_t *full = malloc((size_t)(a->batch * a->segments) * sizeof *full);
    for (int64_t i = 0; i < a->batch * a->segments; i++) full[i] = (int32_t)(a->n + 0 * len[i]);
    good->short_conv_fwd(out, tail, x, w, since, full, a);
    free(full);
}

/* What later calls want of the rows left behind does not reach the tokens. */
static void short_conv_bwd_cut(struct gout dx, struct gout dw, real *dtail, const real *dout, const real *tail, const real *x,
                               const real *w, const int32_t *since, const int32_t *len, real *tmp,
                               const struct short_conv_shape *a) {
    if (dtail) memset(dtail, 0, (size_t)(a->batch * (a->size - 1) * a->width) * sizeof *dtail);
    good->short_conv_bwd(dx, dw, dtail, dout, tail, x, w, since, len, tmp, a);
}

static void fast_weight_bwd_sign(struct gout dq, struct gout dk, struct gout dv, struct gout dbeta, struct gout ddecay, real *dm,
                                 real *dz, const real *dout, const real *m, const real *z, const real *q, const real *k,
                                 const real *v, const real *beta, const real *decay, const int32_t *since, const int32_t *len,
                                 real *tmp, const struct fast_weight_shape *a) {
    good->fast_weight_bwd(dq, dk, dv, dbeta, ddecay, dm, dz, dout, m, z, q, k, v, beta, decay, since, len, tmp, a);
    for (int64_t i = 0; dbeta.p && i < a->batch * a->segments * a->n * a->kv_heads; i++) dbeta.p[i] = -dbeta.p[i];
}

/* The state at the start of the call gets the gradient of that at its end. */
static void fast_weight_bwd_cut(struct gout dq, struct gout dk, struct gout dv, struct gout dbeta, struct gout ddecay, real *dm,
                                real *dz, const real *dout, const real *m, const real *z, const real *q, const real *k,
                                const real *v, const real *beta, const real *decay, const int32_t *since, const int32_t *len,
                                real *tmp, const struct fast_weight_shape *a) {
    int64_t n = a->batch * a->kv_heads * a->e * a->f;
    real *keep = copy_of(dm, n);
    good->fast_weight_bwd(dq, dk, dv, dbeta, ddecay, dm, dz, dout, m, z, q, k, v, beta, decay, since, len, tmp, a);
    memcpy(dm, keep, (size_t)n * sizeof *dm);
    free(keep);
}

/* Token t + 1 reads what token t has left: its own write is not in it. */
static void fast_weight_fwd_read_first(real *out, real *m, real *z, const real *q, const real *k, const real *v, const real *beta,
                                       const real *decay, const int32_t *since, const int32_t *len,
                                       const struct fast_weight_shape *a) {
    int64_t T = a->segments * a->n, row = a->heads * a->e, width = a->heads * a->f, n = a->batch * T * row;
    real *moved = copy_of(q, n);
    for (int64_t b = 0; b < a->batch; b++) memmove(moved + b * T * row, q + (b * T + 1) * row, (size_t)((T - 1) * row) * sizeof *q);
    good->fast_weight_fwd(out, m, z, moved, k, v, beta, decay, since, len, a);
    for (int64_t b = 0; b < a->batch; b++)
        memmove(out + (b * T + 1) * width, out + b * T * width, (size_t)((T - 1) * width) * sizeof *q);
    free(moved);
}

static void fast_weight_fwd_no_reset(real *out, real *m, real *z, const real *q, const real *k, const real *v, const real *beta,
                                     const real *decay, const int32_t *since, const int32_t *len,
                                     const struct fast_weight_shape *a) {
    int32_t *far = far_since(since, a->batch * a->segments);
    good->fast_weight_fwd(out, m, z, q, k, v, beta, decay, far, len, a);
    free(far);
}

static void fast_weight_fwd_partial_written(real *out, real *m, real *z, const real *q, const real *k, const real *v,
                                            const real *beta, const real *decay, const int32_t *since, const int32_t *len,
                                            const struct fast_weight_shape *a) {
    int32_t *full = malloc((size_t)(a->batch * a->segments) * sizeof *full);
    for (int64_t i = 0; i < a->batch * a->segments; i++) full[i] = (int32_t)(a->n + 0 * len[i]);
    good->fast_weight_fwd(out, m, z, q, k, v, beta, decay, since, full, a);
    free(full);
}

static void fast_weight_fwd_no_decay(real *out, real *m, real *z, const real *q, const real *k, const real *v, const real *beta,
                                     const real *decay, const int32_t *since, const int32_t *len,
                                     const struct fast_weight_shape *a) {
    (void)decay;
    good->fast_weight_fwd(out, m, z, q, k, v, beta, NULL, since, len, a);
}

static void feature_bwd_plain(struct gout dx, const real *dy, const real *x, int normalised, int64_t rows, int64_t e) {
    (void)normalised;
    good->feature_bwd(dx, dy, x, 0, rows, e);
}

/* Query t stands at t - 1: it does not see itself. */
static void attention_fwd_mask(real *out, real *lse, const real *q, const real *k, const real *v, const real *kc, const real *vc,
                               const real *qr, const real *rel, const real *bias, const int32_t *since,
                               const struct attention_shape *a) {
    int64_t row = a->heads * a->e, n = a->batch * a->queries * row;
    real *moved = copy_of(q, n), *result = malloc((size_t)n * sizeof *result);
    good->attention_fwd(out, lse, q, k, v, kc, vc, qr, rel, bias, since, a);
    for (int64_t b = 0; b < a->batch; b++)
        memmove(moved + b * a->queries * row, q + (b * a->queries + 1) * row, (size_t)((a->queries - 1) * row) * sizeof *q);
    good->attention_fwd(result, lse, moved, k, v, kc, vc, qr, rel, bias, since, a);
    good->attention_fwd(out, lse, q, k, v, kc, vc, qr, rel, bias, since, a);
    for (int64_t b = 0; b < a->batch; b++)
        memcpy(out + (b * a->queries + 1) * row, result + b * a->queries * row, (size_t)((a->queries - 1) * row) * sizeof *q);
    free(moved);
    free(result);
}

static void attention_fwd_window(real *out, real *lse, const real *q, const real *k, const real *v, const real *kc, const real *vc,
                                 const real *qr, const real *rel, const real *bias, const int32_t *since,
                                 const struct attention_shape *a) {
    struct attention_shape wrong = *a;
    wrong.window -= a->window > 1;
    good->attention_fwd(out, lse, q, k, v, kc, vc, qr, rel, bias, since, &wrong);
}

static void attention_fwd_back(real *out, real *lse, const real *q, const real *k, const real *v, const real *kc, const real *vc,
                               const real *qr, const real *rel, const real *bias, const int32_t *since,
                               const struct attention_shape *a) {
    struct attention_shape wrong = *a;
    wrong.back -= a->back > 0;
    good->attention_fwd(out, lse, q, k, v, kc, vc, qr, rel, bias, since, &wrong);
}

static void attention_fwd_shift(real *out, real *lse, const real *q, const real *k, const real *v, const real *kc, const real *vc,
                                const real *qr, const real *rel, const real *bias, const int32_t *since,
                                const struct attention_shape *a) {
    int64_t row = a->heads * a->e, n = a->distances * row;
    real *shifted = rel ? copy_of(rel, n) : NULL;
    if (rel) memcpy(shifted + row, rel, (size_t)(n - row) * sizeof *rel);
    good->attention_fwd(out, lse, q, k, v, kc, vc, qr, shifted, bias, since, a);
    free(shifted);
}

static void attention_bwd_no_reset(struct gout dq, struct gout dk, struct gout dv, struct gout dkc, struct gout dvc,
                                   struct gout dqr, struct gout drel, struct gout dbias, const real *dout, const real *out,
                                   const real *lse, const real *q, const real *k, const real *v, const real *kc, const real *vc,
                                   const real *qr, const real *rel, const real *bias, const int32_t *since, real *tmp,
                                   const struct attention_shape *a) {
    int32_t *far = far_since(since, a->batch * ((a->queries + a->segment - 1) / a->segment));
    good->attention_bwd(dq, dk, dv, dkc, dvc, dqr, drel, dbias, dout, out, lse, q, k, v, kc, vc, qr, rel, bias, far, tmp, a);
    free(far);
}

static void rmsnorm_fwd_nan(real *y, real *rstd, const real *x, const real *w, double eps, int64_t rows, int64_t width) {
    good->rmsnorm_fwd(y, rstd, x, w, eps, rows, width);
    y[rows * width - 1] = (real)NAN;
}

static void scale_reads(struct gout out, const real *x, double factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) out.p[i] = (real)(factor * (double)x[i] + out.beta * (double)out.p[i]);
}

static void rowscale_overwrites(struct gout out, const real *a, const real *x, int64_t rows, int64_t width) {
    good->rowscale((struct gout){out.p, 0}, a, x, rows, width);
}

static void relu_fwd_tail(real *out, const real *x, int64_t n) { good->relu_fwd(out, x, n / 8 * 8); }

static void relu_fwd_hides(real *out, const real *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = x[i] > 0 ? x[i] : 0;
}

static void swiglu_fwd_beyond(real *out, const real *gate, const real *up, int64_t n) {
    good->swiglu_fwd(out, gate, up, n);
    out[n] = 0;
}

static void xent_fwd_scribbles(real *nll, real *lse, const real *logits, const int32_t *target, int64_t rows, int64_t vocab) {
    good->xent_fwd(nll, lse, logits, target, rows, vocab);
    ((real *)logits)[0] = nll[0];
}

static void xent_bwd_no_alias(struct gout dlogits, const real *dnll, const real *logits, const real *lse, const int32_t *target,
                              int64_t rows, int64_t vocab) {
    if (dlogits.beta == 0) good->fill(dlogits.p, 0, rows * vocab);
    good->xent_bwd((struct gout){dlogits.p, 1}, dnll, logits, lse, target, rows, vocab);
}

static void column_sum_unsteady(struct gout dbias, const real *dy, real *tmp, int64_t rows, int64_t width) {
    static int calls;
    good->column_sum(dbias, dy, tmp, rows, width);
    dbias.p[0] = calls++ % 2 ? dbias.p[0] : (real)nextafterf((float)dbias.p[0], 1e30f);
}

static void rmsnorm_bwd_null(struct gout dx, struct gout dw, const real *dy, const real *x, const real *w, const real *rstd,
                             const real *extra, real *tmp, int64_t rows, int64_t width) {
    good->rmsnorm_bwd(dx, dw, dy, x, w, rstd, dw.p ? extra : NULL, tmp, rows, width);
}

static void mix_fwd_first_head(real *out, const real *mem, const real *local, const real *beta, const int32_t *since,
                               const int32_t *knocked, int mode, int64_t batch, int64_t segments, int64_t n, int64_t heads,
                               int64_t e) {
    int32_t all[64];
    CHECK(heads <= 64, "%lld heads", (long long)heads);
    for (int64_t h = 0; knocked && h < heads; h++) all[h] = knocked[0];
    good->mix_fwd(out, mem, local, beta, since, knocked ? all : NULL, mode, batch, segments, n, heads, e);
}

static void topk_no_offset(int32_t *index, const real *q, const real *keys, const int32_t *head, const int32_t *since,
                           const struct bank_shape *a) {
    struct bank_shape wrong = *a;
    wrong.offset = 0;
    good->topk(index, q, keys, head, since, &wrong);
}

/* Of equal keys the newest comes first. */
static void topk_newest(int32_t *index, const real *q, const real *keys, const int32_t *head, const int32_t *since,
                        const struct bank_shape *a) {
    good->topk(index, q, keys, head, since, a);
    for (int64_t row = 0; row < a->batch * a->segments * a->n * a->heads; row++)
        for (int64_t j = 0; j + 1 < a->topk; j++) {
            int32_t *at = index + row * a->topk + j;
            int64_t b = row / (a->segments * a->n * a->heads), h = row % a->heads, same = at[1] >= 0;
            for (int64_t i = 0; same && i < a->e; i++)
                same = keys[((b * a->capacity + at[0]) * a->heads + h) * a->e + i] ==
                       keys[((b * a->capacity + at[1]) * a->heads + h) * a->e + i];
            if (same) {
                int32_t t = at[0];
                at[0] = at[1];
                at[1] = t;
            }
        }
}

#define BREAK(slot_name, function)                                                                                                 \
    static void install_##function(struct kernels *k) { k->slot_name = function; }
BREAK(memory_bwd, memory_bwd_sign)
BREAK(memory_fwd, memory_fwd_write_first)
BREAK(memory_fwd, memory_fwd_stale)
BREAK(memory_fwd, memory_fwd_no_reset)
BREAK(memory_fwd, memory_fwd_partial_written)
BREAK(rnn_fwd, rnn_fwd_no_reset)
BREAK(rnn_fwd, rnn_fwd_partial_written)
BREAK(rnn_bwd, rnn_bwd_gate_dropped)
BREAK(short_conv_fwd, short_conv_fwd_no_reset)
BREAK(short_conv_fwd, short_conv_fwd_partial_written)
BREAK(short_conv_bwd, short_conv_bwd_cut)
BREAK(fast_weight_bwd, fast_weight_bwd_sign)
BREAK(fast_weight_bwd, fast_weight_bwd_cut)
BREAK(fast_weight_fwd, fast_weight_fwd_read_first)
BREAK(fast_weight_fwd, fast_weight_fwd_no_reset)
BREAK(fast_weight_fwd, fast_weight_fwd_partial_written)
BREAK(fast_weight_fwd, fast_weight_fwd_no_decay)
BREAK(feature_bwd, feature_bwd_plain)
BREAK(attention_fwd, attention_fwd_mask)
BREAK(attention_fwd, attention_fwd_window)
BREAK(attention_fwd, attention_fwd_back)
BREAK(attention_fwd, attention_fwd_shift)
BREAK(attention_bwd, attention_bwd_no_reset)
BREAK(rmsnorm_fwd, rmsnorm_fwd_nan)
BREAK(scale, scale_reads)
BREAK(rowscale, rowscale_overwrites)
BREAK(relu_fwd, relu_fwd_tail)
BREAK(relu_fwd, relu_fwd_hides)
BREAK(swiglu_fwd, swiglu_fwd_beyond)
BREAK(xent_fwd, xent_fwd_scribbles)
BREAK(xent_bwd, xent_bwd_no_alias)
BREAK(column_sum, column_sum_unsteady)
BREAK(rmsnorm_bwd, rmsnorm_bwd_null)
BREAK(mix_fwd, mix_fwd_first_head)
BREAK(topk, topk_newest)
BREAK(topk, topk_no_offset)

const struct broken_kernel broken_kernel_table[] = {
    {"memory_bwd", "sign of dv", install_memory_bwd_sign},
    {"memory_fwd", "writes before it reads", install_memory_fwd_write_first},
    {"memory_fwd", "stale memory", install_memory_fwd_stale},
    {"memory_fwd", "reset dropped", install_memory_fwd_no_reset},
    {"memory_fwd", "a partial segment is written", install_memory_fwd_partial_written},
    {"rnn_fwd", "reset dropped", install_rnn_fwd_no_reset},
    {"rnn_fwd", "a partial segment is written", install_rnn_fwd_partial_written},
    {"rnn_bwd", "reset gate forgotten", install_rnn_bwd_gate_dropped},
    {"short_conv_fwd", "reset dropped", install_short_conv_fwd_no_reset},
    {"short_conv_fwd", "a partial segment is written", install_short_conv_fwd_partial_written},
    {"short_conv_bwd", "gradient of the rows left behind cut", install_short_conv_bwd_cut},
    {"fast_weight_bwd", "sign of dbeta", install_fast_weight_bwd_sign},
    {"fast_weight_bwd", "gradient of the state passed by", install_fast_weight_bwd_cut},
    {"fast_weight_fwd", "reads before it writes", install_fast_weight_fwd_read_first},
    {"fast_weight_fwd", "reset dropped", install_fast_weight_fwd_no_reset},
    {"fast_weight_fwd", "a partial segment is written", install_fast_weight_fwd_partial_written},
    {"fast_weight_fwd", "decay dropped", install_fast_weight_fwd_no_decay},
    {"feature_bwd", "the sum taken for a constant", install_feature_bwd_plain},
    {"attention_fwd", "causal mask off by one", install_attention_fwd_mask},
    {"attention_fwd", "window one too short", install_attention_fwd_window},
    {"attention_fwd", "back one too short", install_attention_fwd_back},
    {"attention_fwd", "relative shift off by one", install_attention_fwd_shift},
    {"attention_bwd", "reset dropped", install_attention_bwd_no_reset},
    {"rmsnorm_fwd", "a NaN in one element", install_rmsnorm_fwd_nan},
    {"scale", "beta 0 reads", install_scale_reads},
    {"rowscale", "beta 1 overwrites", install_rowscale_overwrites},
    {"relu_fwd", "tail not written", install_relu_fwd_tail},
    {"relu_fwd", "NaN hidden", install_relu_fwd_hides},
    {"swiglu_fwd", "writes behind its output", install_swiglu_fwd_beyond},
    {"xent_fwd", "changes its input", install_xent_fwd_scribbles},
    {"xent_bwd", "wrong in place", install_xent_bwd_no_alias},
    {"column_sum", "not the same bits twice", install_column_sum_unsteady},
    {"rmsnorm_bwd", "wrong when dw is not wanted", install_rmsnorm_bwd_null},
    {"mix_fwd", "the first head's knock-out for all", install_mix_fwd_first_head},
    {"topk", "ties to the newer row", install_topk_newest},
    {"topk", "offset dropped", install_topk_no_offset},
};
const int broken_kernel_count = sizeof broken_kernel_table / sizeof *broken_kernel_table;

const struct kernels *broken_kernels(const struct kernels *table, int i) {
    static struct kernels copy;
    good = table;
    copy = *table;
    broken_kernel_table[i].install(&copy);
    return &copy;
}
