/* bench_kernels.c - the main kernels at the shapes of a training step, each against the measured roof: products against the GEMM
 * rate, everything else against the memory bandwidth (what stays in the cache can exceed it). FLOP and bytes as kernels_slots.h
 * counts them. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

#define BUFFERS 40
#define REPEATS 15
#define KERNEL_SECONDS 0.15 /* at most this long for one kernel once it has run three times */

/* Everything a case may need; sizes in real elements. */
struct pool {
    const struct kernels *k;
    void *p[BUFFERS];
    size_t bytes[BUFFERS];
    int count;
};

static real *take(struct pool *p, int64_t n, double scale) {
    CHECK(p->count < BUFFERS, "more than %d buffers", BUFFERS);
    size_t bytes = (size_t)n * sizeof(real);
    real *host = xcalloc((size_t)n, sizeof *host), *x = p->k->alloc(bytes);
    CHECK(x, "no memory for %zu bytes", bytes);
    struct rng r;
    rng_seed(&r, 7, (uint64_t)p->count);
    for (int64_t i = 0; i < n; i++) host[i] = (real)(scale * (rng_uniform(&r) - 0.5));
    p->k->upload(x, host, bytes);
    free(host);
    p->p[p->count] = x;
    p->bytes[p->count++] = bytes;
    return x;
}

static int32_t *take_ints(struct pool *p, int64_t n, int32_t base, int32_t step, int32_t modulus) {
    int32_t *host = xcalloc((size_t)n, sizeof *host), *x = p->k->alloc((size_t)n * sizeof *x);
    CHECK(x, "no memory for %lld numbers", (long long)n);
    for (int64_t i = 0; i < n; i++) host[i] = (int32_t)((base + step * i) % modulus);
    p->k->upload(x, host, (size_t)n * sizeof *host);
    free(host);
    p->p[p->count] = x;
    p->bytes[p->count++] = (size_t)n * sizeof *x;
    return x;
}

static void print_case(struct bench *b, const char *name, const char *shape, double seconds, double flop, double bytes) {
    double gflops = flop / seconds / 1e9, gbs = bytes / seconds / 1e9;
    bool product = flop > 0;
    double percent = product ? 100 * gflops / b->roof : 100 * gbs / b->bandwidth;
    printf("  %-22s %-34s %10.1f", name, shape, seconds * 1e6);
    if (product)
        printf(" %9.1f %9s", gflops, "");
    else
        printf(" %9s %9.1f", "", gbs);
    printf(" %7.1f %% of %s\n", percent, product ? "GEMM" : "bandwidth");
    if (b->csv)
        fprintf(b->csv, "kernels,%s,%s,%.3f,%.3f,%.3f,%.2f,%s\n", name, shape, seconds * 1e6, product ? gflops : 0,
                product ? 0 : gbs, percent, product ? "gemm" : "bandwidth");
    fflush(stdout);
}

#define CASE(name, shape, flop, bytes, call)                                                                                       \
    do {                                                                                                                           \
        double times_[REPEATS], start_ = now();                                                                                    \
        int n_ = 0;                                                                                                                \
        call;                                                                                                                      \
        k->sync();                                                                                                                 \
        while (n_ < REPEATS && (n_ < 3 || now() - start_ < KERNEL_SECONDS)) {                                                      \
            double t_ = now();                                                                                                     \
            call;                                                                                                                  \
            k->sync();                                                                                                             \
            times_[n_++] = now() - t_;                                                                                             \
        }                                                                                                                          \
        print_case(b, name, shape, bench_median(times_, n_), flop, bytes);                                                         \
    } while (0)

#define OUT(p) ((struct gout){(p), 0})
#define NONE ((struct gout){NULL, 0})

struct dims { /* of a step */
    int64_t b, s, n, t, r, d, f, h, e, v;
};

static void products(struct bench *b, struct dims z) {
    const struct kernels *k = b->k;
    struct pool p = {.k = k};
    char shape[64];
    real *x = take(&p, z.r * z.f, 1), *y = take(&p, z.r * z.f, 1), *w = take(&p, z.f * z.d, 1);
    struct {
        const char *name;
        int64_t m, n, k;
        int ta, tb;
    } list[] = {{"gemm projection", z.r, z.d, z.d, 0, 1},     {"gemm ffn up", z.r, z.f, z.d, 0, 1},
                {"gemm ffn down", z.r, z.d, z.f, 0, 1},       {"gemm head", z.r, z.v, z.d, 0, 1},
                {"gemm input gradient", z.r, z.d, z.f, 0, 0}, {"gemm weight gradient", z.f, z.d, z.r, 1, 0}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        int64_t m = list[i].m, n = list[i].n, in = list[i].k;
        snprintf(shape, sizeof shape, "%lld x %lld x %lld", (long long)m, (long long)n, (long long)in);
        if (list[i].ta) /* dW = dY^T X */
            CASE(list[i].name, shape, 2.0 * (double)(m * n * in), 0, k->gemm(w, x, y, 1, 0, 1, 0, m, n, in, m, n, n));
        else if (m * n <= z.r * z.f && n * in <= z.f * z.d)
            CASE(list[i].name, shape, 2.0 * (double)(m * n * in), 0,
                 k->gemm(y, x, w, 0, list[i].tb, 1, 0, m, n, in, in, list[i].tb ? in : n, n));
    }
    for (int i = 0; i < p.count; i++) k->release(p.p[i], p.bytes[i]);
}

static void elementwise(struct bench *b, struct dims z) {
    const struct kernels *k = b->k;
    struct pool p = {.k = k};
    int64_t r = z.r, d = z.d, f = z.f;
    double unit = (double)sizeof(real), rd = (double)(r * d) * unit, rf = (double)(r * f) * unit, rv = (double)(r * z.v) * unit;
    char width[64], wide[64], logits_shape[64];
    snprintf(width, sizeof width, "%lld x %lld", (long long)r, (long long)d);
    snprintf(wide, sizeof wide, "%lld x %lld", (long long)r, (long long)f);
    snprintf(logits_shape, sizeof logits_shape, "%lld x %lld", (long long)r, (long long)z.v);
    real *x = take(&p, r * d, 1), *y = take(&p, r * d, 1), *g = take(&p, r * d, 1), *w = take(&p, d, 1), *rstd = take(&p, r, 1);
    real *dw = take(&p, d, 1), *tmp = take(&p, KERNEL_PARTIALS * (d > f ? d : f), 1), *cs = take(&p, r * z.e, 1);
    real *u = take(&p, r * f, 1), *gate = take(&p, r * f, 1), *o = take(&p, r * f, 1), *dg = take(&p, r * f, 1),
         *du = take(&p, r * f, 1);
    real *logits = take(&p, r * z.v, 4), *dl = take(&p, r * z.v, 1), *nll = take(&p, r, 1), *lse = take(&p, r, 1);
    real *table = take(&p, z.v * d, 1), *dt = take(&p, z.v * d, 1), *hyper = take(&p, HYPER_COUNT, 1);
    int32_t *ids = take_ints(&p, r, 3, 7, (int32_t)z.v), *pos = take_ints(&p, r, 0, 1, (int32_t)z.n);
    CASE("rmsnorm_fwd", width, 0, 2 * rd, k->rmsnorm_fwd(y, rstd, x, w, 1e-5, r, d));
    CASE("rmsnorm_bwd", width, 0, 3 * rd, k->rmsnorm_bwd(OUT(g), OUT(dw), y, x, w, rstd, NULL, tmp, r, d));
    CASE("add_rmsnorm_fwd", width, 0, 4 * rd, k->add_rmsnorm_fwd(g, y, rstd, x, g, w, 1e-5, r, d));
    CASE("embed_fwd", width, 0, 2 * rd, k->embed_fwd(y, table, ids, r, d));
    CASE("embed_bwd", width, 0, 2 * rd, k->embed_bwd(OUT(dt), y, ids, r, z.v, d));
    CASE("rope_table", "angles in double", 0, (double)(r * z.e) * unit, k->rope_table(cs, pos, 1e4, r, z.e));
    CASE("rope", width, 0, 2 * rd, k->rope(OUT(y), x, cs, 0, r, z.h, z.e));
    CASE("swiglu_fwd", wide, 0, 3 * rf, k->swiglu_fwd(o, gate, u, r * f));
    CASE("swiglu_bwd", wide, 0, 5 * rf, k->swiglu_bwd(OUT(dg), OUT(du), o, gate, u, r * f));
    CASE("xent_fwd", logits_shape, 0, rv, k->xent_fwd(nll, lse, logits, ids, r, z.v));
    CASE("xent_bwd", logits_shape, 0, 2 * rv, k->xent_bwd(OUT(dl), nll, logits, lse, ids, r, z.v));
    int64_t n = r * f; /* as many elements as one wide activation */
    real one[HYPER_COUNT] = {0};
    one[HYPER_C1] = one[HYPER_C2] = one[HYPER_CLIP] = 1;
    k->upload(hyper, one, sizeof one);
    k->fill(u, 0.01, n);
    CASE("adamw", wide, 0, 7 * rf, k->adamw(o, dg, u, gate, hyper, 1, 0.1, 0.9, 0.95, 1e-8, n));
    for (int i = 0; i < p.count; i++) k->release(p.p[i], p.bytes[i]);
}

static void mixers(struct bench *b, struct dims z) {
    const struct kernels *k = b->k;
    struct pool p = {.k = k};
    int64_t rows = z.r * z.h * z.e, g = z.h;
    double heads = (double)(z.r * z.h), e = (double)z.e;
    char shape[64];
    snprintf(shape, sizeof shape, "B %lld S %lld N %lld H %lld E %lld", (long long)z.b, (long long)z.s, (long long)z.n,
             (long long)z.h, (long long)z.e);
    real *q = take(&p, rows, 1), *key = take(&p, rows, 1), *v = take(&p, rows, 1), *out = take(&p, rows, 1),
         *lse = take(&p, z.r * z.h, 1);
    real *dq = take(&p, rows, 1), *dk = take(&p, rows, 1), *dv = take(&p, rows, 1), *dout = take(&p, rows, 1);
    int32_t *since = take_ints(&p, z.b * z.s, 0, 0, 1), *len = take_ints(&p, z.b * z.s, (int32_t)z.n, 0, (int32_t)z.n + 1);
    int32_t *host = xcalloc((size_t)(z.b * z.s), sizeof *host);
    for (int64_t i = 0; i < z.b * z.s; i++) host[i] = (int32_t)((1000 + i % z.s) * z.n);
    k->upload(since, host, (size_t)(z.b * z.s) * sizeof *host);
    free(host);
    struct attention_shape a = {.batch = z.b, .queries = z.t, .heads = z.h, .kv_heads = g, .e = z.e, .segment = z.n};
    a.scale = 0.17;
    struct attention_shape full = a;
    full.back = UNBOUNDED;
    int64_t need = attention_tmp(&a);
    struct memory_shape m = {.batch = z.b, .segments = z.s, .n = z.n, .heads = z.h, .kv_heads = g, .e = z.e, .f = z.e, .eps = 1e-6};
    if (memory_tmp(&m) * z.b > need) need = memory_tmp(&m) * z.b;
    real *tmp = take(&p, need, 1), *state = take(&p, (z.s + 1) * z.b * g * z.e * z.e, 1),
         *norm = take(&p, (z.s + 1) * z.b * g * z.e, 1);
    real *dm = take(&p, z.b * g * z.e * z.e, 1), *dz = take(&p, z.b * g * z.e, 1), *beta = take(&p, z.h, 1),
         *dbeta = take(&p, z.h, 1);
    k->fill(norm, 1, (z.s + 1) * z.b * g * z.e);
    double local = 4 * e * heads * (double)(z.n + 1) / 2, all = 4 * e * heads * (double)(z.t + 1) / 2;
    CASE("attention_fwd segment", shape, local, 0, k->attention_fwd(out, lse, q, key, v, NULL, NULL, NULL, NULL, NULL, since, &a));
    CASE("attention_bwd segment", shape, 2 * local, 0,
         k->attention_bwd(OUT(dq), OUT(dk), OUT(dv), NONE, NONE, NONE, NONE, NONE, dout, out, lse, q, key, v, NULL, NULL, NULL,
                          NULL, NULL, since, tmp, &a));
    CASE("attention_fwd step", shape, all, 0, k->attention_fwd(out, lse, q, key, v, NULL, NULL, NULL, NULL, NULL, since, &full));
    CASE("attention_bwd step", shape, 2 * all, 0,
         k->attention_bwd(OUT(dq), OUT(dk), OUT(dv), NONE, NONE, NONE, NONE, NONE, dout, out, lse, q, key, v, NULL, NULL, NULL,
                          NULL, NULL, since, tmp, &full));
    static const struct {
        int update;
        const char *forward, *backward;
    } updates[] = {{MEMORY_LINEAR, "memory_fwd linear", "memory_bwd linear"},
                   {MEMORY_DELTA, "memory_fwd delta", "memory_bwd delta"}};
    for (int i = 0; i < 2; i++) {
        m.update = updates[i].update;
        double flop = heads * (2 * e * (e + 1) + 2 * e * e + (i ? 2 * e * (e + 1) : 0));
        CASE(updates[i].forward, shape, flop, 0, k->memory_fwd(out, state, norm, NULL, q, key, v, since, len, &m));
        CASE(updates[i].backward, shape, 2 * flop, 0,
             k->memory_bwd(OUT(dq), OUT(dk), OUT(dv), dm, dz, dout, state, norm, q, key, v, since, len, tmp, &m));
    }
    struct fast_weight_shape fw = {
        .batch = z.b, .segments = z.s, .n = z.n, .heads = z.h, .kv_heads = g, .e = z.e, .f = z.e, .eps = 1e-6};
    real *fq = take(&p, rows, 1), *fk = take(&p, rows, 1), *rinv = take(&p, z.r * z.h, 1), *strength = take(&p, z.r * g, 1);
    real *dstrength = take(&p, z.r * g, 1), *decay = take(&p, z.r * g, 1), *room = take(&p, fast_weight_tmp(&fw), 1);
    k->sigmoid_fwd(strength, strength, z.r * g);
    k->fill(decay, -0.1, z.r * g);
    static const struct {
        int rule, gated;
        const char *forward, *backward;
    } rules[] = {{FAST_WEIGHT_SUM, 0, "fast_weight_fwd sum", "fast_weight_bwd sum"},
                 {FAST_WEIGHT_DELTA, 0, "fast_weight_fwd delta", "fast_weight_bwd delta"},
                 {FAST_WEIGHT_DELTA, 1, "fast_weight_fwd gated", "fast_weight_bwd gated"}};
    for (int i = 0; i < 3; i++) {
        int delta = rules[i].rule == FAST_WEIGHT_DELTA;
        double flop = heads * (4 * e * e + (delta ? 2 * e * e : 2 * e));
        fw.rule = rules[i].rule;
        for (int j = 0; j < 2; j++)
            if (delta)
                k->headnorm_fwd(j ? fk : fq, rinv, j ? key : q, NULL, 1e-6, z.r, z.h, z.e);
            else
                k->feature_fwd(j ? fk : fq, j ? key : q, 0, z.r * z.h, z.e);
        k->fill(state, 0, z.b * g * z.e * z.e);
        CASE(rules[i].forward, shape, flop, 0,
             k->fast_weight_fwd(out, state, delta ? NULL : norm, fq, fk, v, delta ? strength : NULL, rules[i].gated ? decay : NULL,
                                since, len, &fw));
        CASE(rules[i].backward, shape, 2 * flop, 0,
             k->fast_weight_bwd(OUT(dq), OUT(dk), OUT(dv), delta ? OUT(dstrength) : NONE, NONE, dm, delta ? NULL : dz, dout, state,
                                delta ? NULL : norm, fq, fk, v, delta ? strength : NULL, rules[i].gated ? decay : NULL, since, len,
                                room, &fw));
    }
    double bytes = (double)rows * (double)sizeof(real);
    CASE("feature_fwd", shape, 0, 2 * bytes, k->feature_fwd(fq, q, 1, z.r * z.h, z.e));
    CASE("feature_bwd", shape, 0, 3 * bytes, k->feature_bwd(OUT(dq), fq, q, 1, z.r * z.h, z.e));
    struct short_conv_shape conv = {.batch = z.b, .segments = z.s, .n = z.n, .width = z.h * z.e, .size = 4};
    int64_t one = z.b * (conv.size - 1) * conv.width;
    real *tail = take(&p, (z.s + 1) * one, 1), *dtail = take(&p, one, 1), *w = take(&p, conv.size * conv.width, 0.5);
    real *dw = take(&p, conv.size * conv.width, 1), *conv_room = take(&p, short_conv_tmp(&conv), 1);
    CASE("short_conv_fwd 4", shape, 0, 2 * bytes, k->short_conv_fwd(out, tail, q, w, since, len, &conv));
    CASE("short_conv_bwd 4", shape, 0, 3 * bytes,
         k->short_conv_bwd(OUT(dq), OUT(dw), dtail, dout, tail, q, w, since, len, conv_room, &conv));
    CASE("mix_fwd", shape, 0, 3 * bytes, k->mix_fwd(dq, out, v, beta, since, NULL, MIX_GATED, z.b, z.s, z.n, z.h, z.e));
    CASE("mix_bwd", shape, 0, 5 * bytes,
         k->mix_bwd(OUT(dq), OUT(dk), OUT(dbeta), dout, out, v, beta, since, MIX_GATED, tmp, z.b, z.s, z.n, z.h, z.e));
    struct bank_shape bank = {.batch = z.b, .segments = z.s, .n = z.n, .heads = z.h, .e = z.e, .visible = 2048, .topk = 32};
    bank.capacity = (bank.visible + z.t + z.n - 1) / z.n * z.n;
    real *keys = take(&p, z.b * bank.capacity * z.h * z.e, 1), *values = take(&p, z.b * bank.capacity * z.h * z.e, 1);
    real *prob = take(&p, z.r * z.h * bank.topk, 1);
    int32_t *head = take_ints(&p, z.b, (int32_t)(1000 * z.n), 0, INT32_MAX),
            *index = take_ints(&p, z.r * z.h * bank.topk, 0, 1, 2048);
    CASE("topk 32 of 2048", shape, 2 * e * heads * (double)bank.visible, 0, k->topk(index, q, keys, head, since, &bank));
    CASE("hits_fwd", shape, 4 * e * heads * (double)bank.topk, 0, k->hits_fwd(out, prob, q, keys, values, index, &bank));
    CASE("hits_bwd", shape, 6 * e * heads * (double)bank.topk, 0, k->hits_bwd(OUT(dq), dout, prob, q, keys, values, index, &bank));
    for (int i = 0; i < p.count; i++) k->release(p.p[i], p.bytes[i]);
}

static void recurrence(struct bench *b, struct dims z) {
    const struct kernels *k = b->k;
    struct pool p = {.k = k};
    char shape[64];
    int64_t H = z.h * z.e, one = z.b * H, rows = z.r * H;
    struct rnn_shape a = {.batch = z.b, .segments = z.s, .n = z.n, .width = H, .forget = 1};
    snprintf(shape, sizeof shape, "%lldx%lldx%lld, width %lld", (long long)z.b, (long long)z.s, (long long)z.n, (long long)H);
    real *x[4], *dx[4], *out = take(&p, rows, 1), *dout = take(&p, rows, 1), *gates = take(&p, 4 * rows, 1);
    real *da = take(&p, 4 * rows, 1), *h = take(&p, rows + one, 1), *c = take(&p, rows + one, 1), *w = take(&p, 4 * H * H, 0.1);
    real *bias = take(&p, 4 * H, 1), *dh = take(&p, one, 1), *dc = take(&p, one, 1), *tmp = take(&p, rnn_tmp(&a), 1);
    for (int i = 0; i < 4; i++) x[i] = take(&p, rows, 1), dx[i] = take(&p, rows, 1);
    int32_t *since = take_ints(&p, z.b * z.s, (int32_t)z.n, 0, INT32_MAX),
            *len = take_ints(&p, z.b * z.s, (int32_t)z.n, 0, INT32_MAX);
    for (int cell = RNN_LSTM; cell <= RNN_GRU; cell++) {
        a.cell = cell;
        double flop = 2 * (double)(z.r * rnn_rows(&a) * H);
        CASE(cell == RNN_LSTM ? "rnn_fwd lstm" : "rnn_fwd gru", shape, flop, 0,
             k->rnn_fwd(out, gates, h, c, x[0], x[1], x[2], x[3], w, bias, since, len, tmp, &a));
        CASE(cell == RNN_LSTM ? "rnn_bwd lstm" : "rnn_bwd gru", shape, flop, 0,
             k->rnn_bwd(OUT(dx[0]), OUT(dx[1]), OUT(dx[2]), OUT(dx[3]), da, dh, dc, dout, gates, h, c, w, since, len, tmp, &a));
    }
    for (int i = 0; i < p.count; i++) k->release(p.p[i], p.bytes[i]);
}

void bench_kernels(struct bench *b, const struct model_config *c) {
    struct dims z = {
        .b = c->batch, .s = c->segments, .n = c->segment, .d = c->d, .f = c->ffn, .h = c->heads, .e = c->e, .v = c->vocab};
    while (z.b * z.s * z.n < 4096) z.b *= 2; /* rows enough to measure */
    z.t = z.s * z.n;
    z.r = z.b * z.t;
    printf("  %-22s %-34s %10s %9s %9s\n", "kernel", "shape", "us", "GFLOP/s", "GB/s");
    products(b, z);
    elementwise(b, z);
    mixers(b, z);
    recurrence(b, z);
}
