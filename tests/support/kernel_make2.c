/* kernel_make2.c - buffers and forwards of attention, memory, recurrence, banks. */
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

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* d: B T H G E segment back window cache cache_rows own lead trail form(1 rel, 2 bias) since lead_step */
enum { SINCE_FAR, SINCE_MIDDLE, SINCE_VALID, SINCE_ZERO, SINCE_ROWS };

static void attention_shape(struct kernel_case *c) {
    const int64_t *d = c->d;
    struct attention_shape *a = &c->attention;
    *a = (struct attention_shape){d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], (int)d[10], d[11], d[12], 0, 0, 0};
    a->scale = 1 / sqrt((double)a->e);
    a->lead_step = d[15];
    if (d[13]) {
        int64_t far = least(a->queries + a->cache, least(a->segment, a->queries) + least(a->back, 1 << 20));
        a->distances = a->window ? least(far, a->window) : far;
    }
    c->terms = (double)(a->e + 16);
}

static void attention_since(struct kernel_case *c) {
    const struct attention_shape *a = &c->attention;
    int64_t segments = (a->queries + a->segment - 1) / a->segment;
    int32_t *since = case_ints(c, "since", a->batch * segments);
    for (int64_t i = 0; i < a->batch * segments; i++) {
        int64_t b = i / segments, s = i % segments, reset = segments / 2 + (b & 1 ? 1 : 0);
        switch (c->d[14]) {
        case SINCE_FAR:
            since[i] = 1 << 20;
            break;
        case SINCE_MIDDLE:
            since[i] = s < reset ? 1 << 20 : (int32_t)((s - reset) * a->segment);
            break;
        case SINCE_VALID:
            since[i] = (int32_t)(s * a->segment + (b * 5 + 3) % (a->cache + 1));
            break;
        case SINCE_ROWS: /* batch row b is in segment b of its document */
            since[i] = (int32_t)(b * (a->segment - a->lead - a->trail));
            break;
        default:
            since[i] = 0;
        }
    }
}

/* Products only, visible pairs only. */
static void attention_flop(struct kernel_case *c, const int32_t *since) {
    const struct attention_shape *a = &c->attention;
    int64_t segments = (a->queries + a->segment - 1) / a->segment, pairs = 0;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t t = 0; t < a->queries; t++) {
            int64_t s = t / a->segment, before = s * a->segment - a->back, reset = s * a->segment - since[b * segments + s];
            int64_t lo = before > reset ? before : reset, hi = t >= a->queries - a->trail ? a->queries - 1 : t;
            lo = a->window && t - a->window + 1 > lo ? t - a->window + 1 : lo;
            int64_t empty = attention_empty(a, since[b * segments + s]);
            if (t < a->lead) hi = t < empty ? empty - 1 : a->lead - 1;
            if (empty && t >= empty && lo < empty) lo = empty;
            pairs += hi - (lo > -a->cache ? lo : -a->cache) + 1;
        }
    c->flop = (c->d[13] & 1 ? 6.0 : 4.0) * (double)(pairs * a->heads * a->e);
}

static void attention_inputs(struct kernel_case *c) {
    const struct attention_shape *a = &c->attention;
    int64_t nq = a->batch * a->queries * a->heads * a->e, nk = a->batch * a->queries * a->kv_heads * a->e;
    int64_t nc = a->batch * a->cache_rows * a->kv_heads * a->e;
    case_in(c, "q", nq, 1.5);
    case_in(c, "k", nk, 1.5);
    case_in(c, "v", nk, 1);
    case_in(c, "kc", nc, 1.5);
    case_in(c, "vc", nc, 1);
    case_in(c, "qr", c->d[13] & 1 ? nq : 0, 1);
    case_in(c, "rel", c->d[13] & 1 ? a->distances * a->heads * a->e : 0, 1);
    case_in(c, "bias", c->d[13] & 2 ? a->distances * a->heads : 0, 1);
    attention_since(c);
    attention_flop(c, c->buf[c->count - 1].i);
}

void make_attention_fwd(struct kernel_case *c) {
    attention_shape(c);
    const struct attention_shape *a = &c->attention;
    case_out(c, "out", a->batch * a->queries * a->heads * a->e);
    case_out(c, "lse", a->batch * a->queries * a->heads);
    attention_inputs(c);
}

void make_attention_bwd(struct kernel_case *c) {
    attention_shape(c);
    const struct attention_shape *a = &c->attention;
    int64_t nq = a->batch * a->queries * a->heads * a->e, nk = a->batch * a->queries * a->kv_heads * a->e;
    int64_t nc = a->batch * a->cache_rows * a->kv_heads * a->e;
    case_grad(c, "dq", nq, 11);
    case_grad(c, "dk", nk, 12);
    case_grad(c, "dv", nk, 13);
    case_grad(c, "dkc", nc, 14);
    case_grad(c, "dvc", nc, 15);
    case_grad(c, "dqr", c->d[13] & 1 ? nq : 0, 16);
    case_grad(c, "drel", c->d[13] & 1 ? a->distances * a->heads * a->e : 0, 17);
    case_grad(c, "dbias", c->d[13] & 2 ? a->distances * a->heads : 0, 18);
    case_in(c, "dout", nq, 1);
    case_in(c, "out", nq, 1);
    case_in(c, "lse", a->batch * a->queries * a->heads, 1);
    attention_inputs(c);
    case_tmp(c, TYPE_REAL, attention_tmp(a));
    c->flop *= 2.5; /* five products for the forward's two, scores recomputed */
    c->terms *= 4;
    for (int i = 0; i < 8; i++) c->buf[i].magnitude = 1;
}

double fwd_attention_bwd(const struct kernel_case *c, void **p, int save) {
    const struct attention_shape *a = &c->attention;
    int64_t nq = a->batch * a->queries * a->heads * a->e, nl = a->batch * a->queries * a->heads;
    double *out = room(nq), *lse = room(nl);
    kernels_ref()->attention_fwd(out, lse, p[11], p[12], p[13], p[14], p[15], p[16], p[17], p[18], p[19], a);
    double loss = contract(p[8], out, nq);
    if (save) {
        memcpy(p[9], out, (size_t)nq * sizeof *out);
        memcpy(p[10], lse, (size_t)nl * sizeof *lse);
    }
    free(out);
    free(lse);
    return loss;
}

/* d: B S N H G E F update since len thin; s: eps */
enum { MEMORY_CARRIED, MEMORY_MIDDLE, MEMORY_FRESH, MEMORY_EMPTY };
enum { LEN_FULL, LEN_LAST, LEN_ALL };

static void memory_shape(struct kernel_case *c) {
    const int64_t *d = c->d;
    c->memory = (struct memory_shape){d[0], d[1], d[2], d[3], d[4], d[5], d[6], (int)d[7], c->s[0]};
    double tokens = (double)(d[0] * d[1] * d[2]), ef = (double)(d[5] * d[6]);
    c->flop = 2 * tokens * ef * (double)(d[3] + d[4] * (d[7] == MEMORY_LINEAR ? 1 : 2));
    c->terms = (double)(d[1] * d[2] + d[5] + 16);
}

/* The state before the call in the first rows, NaN in the rows to be written. */
static void memory_state(struct kernel_case *c, enum buffer_role role) {
    const struct memory_shape *a = &c->memory;
    int64_t one = a->batch * a->kv_heads, S = a->segments;
    for (int which = 0; which < 2; which++) {
        int64_t per = one * a->e * (which ? 1 : a->f);
        double *x = case_buffer(c, which ? "z" : "m", role, TYPE_REAL, (S + 1) * per, -1)->f;
        for (int64_t i = 0; i < (S + 1) * per; i++) {
            double value = which ? 4 + case_uniform(c) * 8 : 3 * case_normal(c);
            if (c->d[10]) /* a thin memory: gammas of delta_gamma between 0 and 1 */
                value = which ? 0.01 + 0.2 * case_uniform(c) : 0.1 * case_normal(c);
            if (c->d[8] == MEMORY_EMPTY) value = 0;
            x[i] = i < per ? (float)value : NAN;
        }
    }
}

static void segment_ints(struct kernel_case *c, int64_t batch, int64_t S, int64_t n, int64_t starts, int64_t partial) {
    int32_t *since = case_ints(c, "since", batch * S);
    for (int64_t i = 0; i < batch * S; i++) {
        int64_t b = i / S, s = i % S;
        since[i] = (int32_t)(1 + s);
        if ((starts == MEMORY_MIDDLE && s == S / 2 && b != 1) || (starts == MEMORY_FRESH && s == 0)) since[i] = 0;
    }
    int32_t *len = case_ints(c, "len", batch * S);
    for (int64_t i = 0; i < batch * S; i++)
        len[i] = (int32_t)(partial == LEN_ALL || (partial == LEN_LAST && i % S == S - 1 && i / S == 0) ? n - 1 : n);
}

static void memory_ints(struct kernel_case *c) {
    segment_ints(c, c->memory.batch, c->memory.segments, c->memory.n, c->d[8], c->d[9]);
}

static void memory_inputs(struct kernel_case *c) {
    const struct memory_shape *a = &c->memory;
    int64_t rows = a->batch * a->segments * a->n;
    double spread = c->d[10] ? 0.3 : 1;
    case_in(c, "q", rows * a->heads * a->e, spread);
    case_in(c, "k", rows * a->kv_heads * a->e, spread);
    case_in(c, "v", rows * a->kv_heads * a->f, 1);
    memory_ints(c);
}

void make_memory_fwd(struct kernel_case *c) {
    memory_shape(c);
    const struct memory_shape *a = &c->memory;
    case_out(c, "out", a->batch * a->segments * a->n * a->heads * a->f);
    memory_state(c, ROLE_INOUT);
    case_out(c, "gamma_mean", a->update == MEMORY_DELTA ? 0 : a->batch * a->segments * a->kv_heads);
    memory_inputs(c);
    c->buf[0].magnitude = 0.1;
}

void make_memory_bwd(struct kernel_case *c) {
    memory_shape(c);
    const struct memory_shape *a = &c->memory;
    int64_t rows = a->batch * a->segments * a->n, state = a->batch * a->kv_heads * a->e;
    int starts = c->d[8] == MEMORY_EMPTY; /* the gradient of a state that is zero without a reset is nobody's business */
    case_grad(c, "dq", rows * a->heads * a->e, 8);
    case_grad(c, "dk", rows * a->kv_heads * a->e, 9);
    case_grad(c, "dv", rows * a->kv_heads * a->f, 10);
    case_inout(c, "dm", state * a->f, 0.3, starts ? -1 : 6);
    case_inout(c, "dz", state, 0.3, starts ? -1 : 7);
    case_in(c, "dout", rows * a->heads * a->f, 1);
    memory_state(c, ROLE_IN);
    memory_inputs(c);
    case_tmp(c, TYPE_REAL, memory_tmp(a));
    c->flop *= 2;
    c->terms *= 16;
    c->gamma = room(rows * a->kv_heads);
    for (int i = 0; i < 5; i++) c->buf[i].magnitude = 0.1;
}

double fwd_memory_bwd(const struct kernel_case *c, void **p, int save) {
    const struct memory_shape *a = &c->memory;
    int64_t nz = a->batch * a->kv_heads * a->e, nm = nz * a->f, S = a->segments, no = a->batch * S * a->n * a->heads * a->f;
    double *out = room(no), *m = room((S + 1) * nm), *z = room((S + 1) * nz);
    memcpy(m, p[6], (size_t)nm * sizeof *m);
    memcpy(z, p[7], (size_t)nz * sizeof *z);
    ref_gamma = (struct ref_gamma){save ? REF_GAMMA_RECORD : REF_GAMMA_REPLAY, c->gamma};
    kernels_ref()->memory_fwd(out, m, z, NULL, p[8], p[9], p[10], p[11], p[12], a);
    ref_gamma = (struct ref_gamma){REF_GAMMA_FREE, NULL};
    double loss = contract(p[5], out, no) + contract(p[3], m + S * nm, nm) + contract(p[4], z + S * nz, nz);
    if (save) {
        memcpy(p[6], m, (size_t)((S + 1) * nm) * sizeof *m);
        memcpy(p[7], z, (size_t)((S + 1) * nz) * sizeof *z);
    }
    free(out);
    free(m);
    free(z);
    return loss;
}

/* d: B S N H cell since len; s: forget */
static void rnn_shape(struct kernel_case *c) {
    const int64_t *d = c->d;
    c->rnn = (struct rnn_shape){d[0], d[1], d[2], d[3], (int)d[4], c->s[0]};
    c->flop = 2.0 * (double)(d[0] * d[1] * d[2] * d[3] * rnn_rows(&c->rnn));
    c->terms = (double)(d[1] * d[2] + d[3] + 16);
}

/* The state before the call in the first rows, NaN in the rows to be written. */
static void rnn_state(struct kernel_case *c, enum buffer_role role) {
    const struct rnn_shape *a = &c->rnn;
    int64_t one = a->batch * a->width, n = (a->segments * a->n + 1) * one;
    for (int which = 0; which < 2; which++) {
        double *x = case_buffer(c, which ? "c" : "h", role, TYPE_REAL, which && a->cell == RNN_GRU ? 0 : n, -1)->f;
        for (int64_t i = 0; i < c->buf[c->count - 1].n; i++) x[i] = i < one ? (float)(2 * case_uniform(c) - 1) : NAN;
    }
}

static void rnn_inputs(struct kernel_case *c, const char *const names[4]) {
    const struct rnn_shape *a = &c->rnn;
    int64_t n = a->batch * a->segments * a->n * a->width;
    for (int i = 0; i < 4; i++) case_in(c, names[i], i == 3 && a->cell == RNN_GRU ? 0 : n, 1);
}

void make_rnn_fwd(struct kernel_case *c) {
    static const char *const names[] = {"x0", "x1", "x2", "x3"};
    rnn_shape(c);
    const struct rnn_shape *a = &c->rnn;
    int64_t n = a->batch * a->segments * a->n * a->width;
    case_out(c, "out", n);
    case_out(c, "gates", 4 * n);
    rnn_state(c, ROLE_INOUT);
    rnn_inputs(c, names);
    case_in(c, "w", rnn_rows(a) * a->width, 1 / sqrt((double)a->width));
    case_in(c, "bias", 4 * a->width, 1);
    segment_ints(c, a->batch, a->segments, a->n, c->d[5], c->d[6]);
    case_tmp(c, TYPE_REAL, rnn_tmp(a));
}

void make_rnn_bwd(struct kernel_case *c) {
    static const char *const names[] = {"(x0)", "(x1)", "(x2)", "(x3)"};
    rnn_shape(c);
    const struct rnn_shape *a = &c->rnn;
    int64_t one = a->batch * a->width, n = a->segments * a->n * one, lstm = a->cell == RNN_LSTM;
    case_grad(c, "dx0", n, 15);
    case_grad(c, "dx1", n, 16);
    case_grad(c, "dx2", n, 17);
    case_grad(c, "dx3", lstm ? n : 0, 18);
    case_out(c, "da", 4 * n);
    case_inout(c, "dh", one, 0.3, 9);
    case_inout(c, "dc", lstm ? one : 0, 0.3, 10);
    case_in(c, "dout", n, 1);
    case_in(c, "gates", 4 * n, 1);
    rnn_state(c, ROLE_IN);
    case_in(c, "w", rnn_rows(a) * a->width, 1 / sqrt((double)a->width));
    segment_ints(c, a->batch, a->segments, a->n, c->d[5], c->d[6]);
    case_tmp(c, TYPE_REAL, rnn_tmp(a));
    rnn_inputs(c, names); /* not arguments: what the forward had */
    case_in(c, "(bias)", 4 * a->width, 1);
    c->terms *= 4;
    for (int i = 0; i < 7; i++) c->buf[i].magnitude = 0.5;
}

double fwd_rnn_bwd(const struct kernel_case *c, void **p, int save) {
    const struct rnn_shape *a = &c->rnn;
    int64_t one = a->batch * a->width, T = a->segments * a->n, lstm = a->cell == RNN_LSTM;
    double *out = room(T * one), *gates = room(4 * T * one), *h = room((T + 1) * one), *cell = room((T + 1) * one);
    memcpy(h, p[9], (size_t)one * sizeof *h);
    if (lstm) memcpy(cell, p[10], (size_t)one * sizeof *cell);
    kernels_ref()->rnn_fwd(out, gates, h, lstm ? cell : NULL, p[15], p[16], p[17], p[18], p[11], p[19], p[12], p[13], NULL, a);
    double loss = contract(p[7], out, T * one) + contract(p[5], h + T * one, one);
    if (lstm) loss += contract(p[6], cell + T * one, one);
    if (save) {
        memcpy(p[8], gates, (size_t)(4 * T * one) * sizeof *gates);
        memcpy(p[9], h, (size_t)((T + 1) * one) * sizeof *h);
        if (lstm) memcpy(p[10], cell, (size_t)((T + 1) * one) * sizeof *cell);
    }
    free(out);
    free(gates);
    free(h);
    free(cell);
    return loss;
}

/* d: B S N H E, and of the forward how: 0 gated, 1 bypass, all heads 2 off, 3 zero, each third as is, off, zero 4 gated, 5 bypass;
 * of the backward mode */
static void mix_since(struct kernel_case *c) {
    int32_t *since = case_ints(c, "since", c->d[0] * c->d[1]);
    for (int64_t i = 0; i < c->d[0] * c->d[1]; i++) since[i] = i % 2 ? 9 : 0;
}

void make_mix_fwd(struct kernel_case *c) {
    int64_t n = c->d[0] * c->d[1] * c->d[2] * c->d[3] * c->d[4];
    case_out(c, "out", n);
    case_in(c, "mem", n, 1);
    case_in(c, "local", n, 1);
    case_in(c, "beta", c->d[3], 2);
    mix_since(c);
    int32_t *knocked = case_ints(c, "knocked", c->d[3]);
    for (int64_t h = 0; h < c->d[3]; h++) knocked[h] = (int32_t)(c->d[5] < 4 ? c->d[5] - 1 : h % 3);
    c->terms = 4;
}

void make_mix_bwd(struct kernel_case *c) {
    int64_t rows = c->d[0] * c->d[1] * c->d[2], n = rows * c->d[3] * c->d[4];
    case_grad(c, "dmem", n, 4);
    case_grad(c, "dlocal", n, 5);
    case_grad(c, "dbeta", c->d[3], 6);
    case_in(c, "dout", n, 1);
    case_in(c, "mem", n, 1);
    case_in(c, "local", n, 1);
    case_in(c, "beta", c->d[3], 2);
    mix_since(c);
    case_tmp(c, TYPE_REAL, KERNEL_PARTIALS * c->d[3]);
    case_alias(c, 0, 3);
    case_alias(c, 1, 3);
    for (int i = 0; i < 3; i++) c->buf[i].magnitude = 1;
    c->terms = (double)(rows * c->d[4]);
}

double fwd_mix_bwd(const struct kernel_case *c, void **p, int save) {
    int64_t n = c->d[0] * c->d[1] * c->d[2] * c->d[3] * c->d[4];
    double *y = room(n);
    kernels_ref()->mix_fwd(y, p[4], p[5], p[6], p[7], NULL, (int)c->d[5], c->d[0], c->d[1], c->d[2], c->d[3], c->d[4]);
    double loss = contract(p[3], y, n);
    free(y);
    (void)save;
    return loss;
}

/* d: batch rows capacity width offset */
static void ring_head(struct kernel_case *c) {
    int32_t *head = case_ints(c, "head", c->d[0]);
    for (int64_t b = 0; b < c->d[0]; b++) head[b] = (int32_t)(b * 5 + (b & 1 ? 3 * c->d[2] - 1 : 0));
}

void make_ring_write(struct kernel_case *c) {
    case_inout(c, "ring", c->d[0] * c->d[2] * c->d[3], 1, -1);
    case_in(c, "x", c->d[0] * c->d[1] * c->d[3], 1);
    ring_head(c);
    c->bytes = 8.0 * (double)(c->d[0] * c->d[1] * c->d[3]);
}

void make_ring_read(struct kernel_case *c) {
    case_out(c, "out", c->d[0] * c->d[1] * c->d[3]);
    case_in(c, "ring", c->d[0] * c->d[2] * c->d[3], 1);
    ring_head(c);
    c->bytes = 8.0 * (double)(c->d[0] * c->d[1] * c->d[3]);
}

/* d: B S n H E capacity visible topk since integers offset */
enum { BANK_FAR, BANK_FEW, BANK_NONE, BANK_MIXED };

static void bank_shape(struct kernel_case *c) {
    const int64_t *d = c->d;
    c->bank = (struct bank_shape){d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[10]};
}

static double *some_rows(struct kernel_case *c, const char *name, int64_t n) {
    double *x = case_in(c, name, n, 1);
    for (int64_t i = 0; c->d[9] && i < n; i++) /* small integers: products are exact and there are many ties */
        x[i] = (double)((int64_t)(3 * case_uniform(c)) - 1);
    return x;
}

void make_topk(struct kernel_case *c) {
    bank_shape(c);
    const struct bank_shape *a = &c->bank;
    int64_t rows = a->batch * a->segments * a->n * a->heads;
    case_buffer(c, "index", ROLE_OUT, TYPE_INT, rows * a->topk, -1);
    some_rows(c, "q", rows * a->e);
    some_rows(c, "keys", a->batch * a->capacity * a->heads * a->e);
    int32_t *head = case_ints(c, "head", a->batch);
    for (int64_t b = 0; b < a->batch; b++) head[b] = (int32_t)(a->capacity + a->visible + 2 + b * 7);
    int32_t *since = case_ints(c, "since", a->batch * a->segments);
    for (int64_t i = 0; i < a->batch * a->segments; i++) {
        int64_t b = i / a->segments, s = i % a->segments;
        int64_t mixed[] = {s * a->n, a->visible - 1, s == a->segments / 2 ? 0 : a->topk - 1};
        int64_t by[] = {1 << 20, 2, 0, mixed[(b + s) % 3]};
        since[i] = (int32_t)by[c->d[8]];
    }
    c->flop = 2.0 * (double)(rows * a->e * a->visible);
}

static void some_index(struct kernel_case *c) {
    const struct bank_shape *a = &c->bank;
    int64_t rows = a->batch * a->segments * a->n * a->heads;
    int32_t *index = case_ints(c, "index", rows * a->topk);
    for (int64_t r = 0; r < rows; r++) {
        int64_t hits = c->d[8] == BANK_NONE ? 0 : c->d[8] == BANK_FAR ? a->topk : r % (a->topk + 1);
        for (int64_t j = 0; j < a->topk; j++) index[r * a->topk + j] = j < hits ? (int32_t)((r * 3 + j * 5) % a->capacity) : -1;
    }
    c->flop = 4.0 * (double)(rows * a->e * a->topk);
    c->terms = (double)(a->e + a->topk + 16);
}

void make_hits_fwd(struct kernel_case *c) {
    bank_shape(c);
    const struct bank_shape *a = &c->bank;
    int64_t rows = a->batch * a->segments * a->n * a->heads, bank = a->batch * a->capacity * a->heads * a->e;
    case_out(c, "out", rows * a->e);
    case_out(c, "p", rows * a->topk);
    case_in(c, "q", rows * a->e, 1);
    case_in(c, "keys", bank, 1);
    case_in(c, "values", bank, 1);
    some_index(c);
}

void make_hits_bwd(struct kernel_case *c) {
    bank_shape(c);
    const struct bank_shape *a = &c->bank;
    int64_t rows = a->batch * a->segments * a->n * a->heads, bank = a->batch * a->capacity * a->heads * a->e;
    case_grad(c, "dq", rows * a->e, 3);
    case_in(c, "dout", rows * a->e, 1);
    case_in(c, "p", rows * a->topk, 1);
    case_in(c, "q", rows * a->e, 1);
    case_in(c, "keys", bank, 1);
    case_in(c, "values", bank, 1);
    some_index(c);
    c->buf[0].magnitude = 1;
}

double fwd_hits_bwd(const struct kernel_case *c, void **p, int save) {
    const struct bank_shape *a = &c->bank;
    int64_t rows = a->batch * a->segments * a->n * a->heads;
    double *y = room(rows * a->e), *w = room(rows * a->topk);
    kernels_ref()->hits_fwd(y, w, p[3], p[4], p[5], p[6], a);
    double loss = contract(p[1], y, rows * a->e);
    if (save) memcpy(p[2], w, (size_t)(rows * a->topk) * sizeof *w);
    free(y);
    free(w);
    return loss;
}
