/* test_kernel_properties.c - what kernels have to be whatever their formulas: the same results by another formulation, written
 * without a look at the reference. Each is demanded of the fp64 reference (tightly) and of the CPU kernels. */
#include "support/kernel_cases.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct kernels *cpu;

static void close_to(const double *got, const double *want, int64_t n, double tolerance, const struct kernel_case *c,
                     const char *what) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
            fail_msg("%s [%s]: element %lld is %.12g, should be %.12g", what, c->label, (long long)i, got[i], want[i]);
}

/* `want` is what result number `buffer` should be. */
static void demand(const struct kernel_case *c, int buffer, const double *want, double tolerance, const char *what) {
    for (int pass = 0; pass < 2; pass++) {
        void *p[CASE_BUFFERS];
        kernel_results(pass ? cpu : NULL, c, p);
        close_to(p[buffer], want, c->buf[buffer].n, pass ? tolerance : 1e-11, c, what);
        for (int i = 0; i < c->count; i++) free(p[i]);
    }
}

static double *room(int64_t n) { return calloc((size_t)(n > 0 ? n : 1), sizeof(double)); }

static double dot_of(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* ---- attention: a dense softmax over a matrix of scores under an explicit mask ---------------------------------------------- */

static int may_see(const struct attention_shape *a, int64_t t, int64_t pos, int64_t since) {
    int64_t start = t - t % a->segment;
    int future = pos > t, both_lead = t < a->lead && pos < a->lead, trails = t >= a->queries - a->trail;
    int64_t empty = attention_empty(a, since);
    if (future && !both_lead && !trails) return 0;
    if (empty && (t < empty) != (pos < empty)) return 0; /* lead rows that hold nothing see only each other */
    if (start - pos > a->back || start - pos > since)    /* too far before the segment; of another document */
        return 0;
    return !a->window || t - pos < a->window;
}

static void dense_attention(const struct kernel_case *c, double *out, double *lse) {
    enum { Q = 2, K, V, KC, VC, QR, REL, BIAS, SINCE };
    const struct attention_shape *a = &c->attention;
    int64_t T = a->queries, H = a->heads, G = a->kv_heads, E = a->e, all = a->cache + T,
            segments = (T + a->segment - 1) / a->segment;
    double *weight = room(all);
    for (int64_t row = 0; row < a->batch * T * H; row++) {
        int64_t h = row % H, t = row / H % T, b = row / H / T, g = h * G / H;
        int64_t start = t - t % a->segment, since = c->buf[SINCE].i[b * segments + t / a->segment];
        const double *q = c->buf[Q].f + row * E;
        double total = 0;
        for (int64_t i = 0; i < E; i++) out[row * E + i] = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < all; j++) {
                int64_t pos = j - a->cache, cached = a->own_from_segment ? pos < start : pos < 0;
                int64_t at = cached ? ((b * a->cache_rows + j) * G + g) * E : ((b * T + pos) * G + g) * E;
                if (!may_see(a, t, pos, since)) continue;
                if (pass) {
                    for (int64_t i = 0; i < E; i++) out[row * E + i] += weight[j] / total * c->buf[cached ? VC : V].f[at + i];
                    continue;
                }
                double s = dot_of(q, c->buf[cached ? KC : K].f + at, E);
                if (c->buf[REL].n) s += dot_of(c->buf[QR].f + row * E, c->buf[REL].f + ((t - pos) * H + h) * E, E);
                s *= a->scale;
                if (c->buf[BIAS].n) s += c->buf[BIAS].f[h * a->distances + t - pos];
                total += weight[j] = exp(s);
            }
        lse[(b * H + h) * T + t] = log(total);
    }
    free(weight);
}

static void test_attention_is_masked_softmax(void **state) {
    (void)state;
    for (int i = 0; i < kernel_row_count; i++) {
        if (strcmp(kernel_row_table[i].slot, "attention_fwd")) continue;
        struct kernel_case *c = kernel_case_new(&kernel_row_table[i]);
        double *out = room(c->buf[0].n), *lse = room(c->buf[1].n);
        dense_attention(c, out, lse);
        demand(c, 0, out, 2e-5, "dense attention");
        demand(c, 1, lse, 1e-5, "lse of dense attention");
        free(out);
        free(lse);
        kernel_case_free(c);
    }
}

/* Transformer-XL computes (q + v) r for all distances from the largest down, puts a column of zeros before it, reads the matrix as
 * one of another width and drops its first row. What it does for visible pairs must be what indexing by distance does. */
static void test_relative_shift(void **state) {
    (void)state;
    static const struct kernel_row rows[] = {
        {"attention_fwd", {2, 7, 2, 2, 8, 7, 5, 0, 5, 5, 1, 0, 0, 1, 0}, {0}},
        {"attention_fwd", {1, 6, 3, 3, 4, 6, 6, 0, 6, 6, 1, 0, 0, 1, 0}, {0}},
        {"attention_fwd", {1, 9, 2, 2, 8, 9, 0, 0, 0, 0, 1, 0, 0, 1, 0}, {0}},
        {"attention_fwd", {2, 1, 2, 2, 8, 1, 11, 0, 11, 11, 1, 0, 0, 1, 0}, {0}},
        {"attention_fwd", {1, 65, 2, 2, 16, 65, 33, 0, 33, 33, 1, 0, 0, 1, 0}, {0}},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct kernel_case *c = kernel_case_new(&rows[r]);
        const struct attention_shape *a = &c->attention;
        int64_t N = a->queries, M = a->cache, L = M + N, H = a->heads, E = a->e;
        double *out = room(c->buf[0].n), *padded = room(N * (L + 1)), *w = room(L);
        assert_int_equal(a->distances, L);
        for (int64_t b = 0; b < a->batch; b++)
            for (int64_t h = 0; h < H; h++) {
                for (int64_t i = 0; i < N; i++)
                    for (int64_t col = 0; col < L; col++)
                        padded[i * (L + 1) + 1 + col] =
                            dot_of(c->buf[7].f + ((b * N + i) * H + h) * E, c->buf[8].f + ((L - 1 - col) * H + h) * E, E);
                const double *shifted = padded + N; /* as [L+1, N] without its first row, as [N, L] */
                for (int64_t i = 0; i < N; i++) {
                    const double *q = c->buf[2].f + ((b * N + i) * H + h) * E;
                    double total = 0, *o = out + ((b * N + i) * H + h) * E;
                    for (int64_t j = 0; j <= M + i; j++) {
                        const double *k =
                            j < M ? c->buf[5].f + ((b * M + j) * H + h) * E : c->buf[3].f + ((b * N + j - M) * H + h) * E;
                        total += w[j] = exp(a->scale * (dot_of(q, k, E) + shifted[i * L + j]));
                    }
                    for (int64_t j = 0; j <= M + i; j++) {
                        const double *v =
                            j < M ? c->buf[6].f + ((b * M + j) * H + h) * E : c->buf[4].f + ((b * N + j - M) * H + h) * E;
                        for (int64_t e = 0; e < E; e++) o[e] += w[j] / total * v[e];
                    }
                }
            }
        demand(c, 0, out, 2e-5, "relative shift");
        free(out);
        free(padded);
        free(w);
        kernel_case_free(c);
    }
}

/* ---- memory: normalised linear attention over the tokens of earlier segments ------------------------------------------------ */

static double elu1(double x) { return x > 0 ? 1 + x : exp(x); }

static void test_linear_memory_is_linear_attention(void **state) {
    (void)state;
    enum { OUT, M, Z, GAMMA, Q, K, V, SINCE, LEN };
    for (int r = 0; r < kernel_row_count; r++) {
        if (strcmp(kernel_row_table[r].slot, "memory_fwd") || kernel_row_table[r].d[7] != MEMORY_LINEAR) continue;
        struct kernel_case *c = kernel_case_new(&kernel_row_table[r]);
        const struct memory_shape *a = &c->memory;
        int64_t S = a->segments, N = a->n, T = S * N, H = a->heads, G = a->kv_heads, E = a->e, F = a->f;
        double *out = room(c->buf[OUT].n);
        for (int64_t row = 0; row < a->batch * T * H; row++) {
            int64_t h = row % H, t = row / H % T, b = row / H / T, g = h * G / H, first = t / N;
            const int32_t *since = c->buf[SINCE].i + b * S, *len = c->buf[LEN].i + b * S;
            const double *q = c->buf[Q].f + row * E;
            double *o = out + row * F, mass = 0;
            while (first > 0 && since[first] != 0) first--;
            if (since[first] != 0) /* what the call began with is still there */
                for (int64_t e = 0; e < E; e++) {
                    mass += elu1(q[e]) * c->buf[Z].f[(b * G + g) * E + e];
                    for (int64_t f = 0; f < F; f++) o[f] += elu1(q[e]) * c->buf[M].f[((b * G + g) * E + e) * F + f];
                }
            for (int64_t u = first * N; u < t / N * N; u++) {
                double w = 0;
                if (len[u / N] < N) continue;
                for (int64_t e = 0; e < E; e++) w += elu1(q[e]) * elu1(c->buf[K].f[((b * T + u) * G + g) * E + e]);
                mass += w;
                for (int64_t f = 0; f < F; f++) o[f] += w * c->buf[V].f[((b * T + u) * G + g) * F + f];
            }
            for (int64_t f = 0; f < F; f++) o[f] = mass > 0 ? o[f] / (mass + a->eps) : 0;
        }
        demand(c, OUT, out, 2e-5, "explicit linear attention");
        if (c->d[8] == 2 || c->d[8] == 3) { /* exactly 0 while there is nothing to read */
            void *p[CASE_BUFFERS];
            kernel_results(cpu, c, p);
            for (int64_t i = 0; i < N * H * F; i++) assert_true(((double *)p[OUT])[i] == 0);
            for (int i = 0; i < c->count; i++) free(p[i]);
        }
        free(out);
        kernel_case_free(c);
    }
}

/* The delta rule writes nothing for a key whose value the memory already returns. */
static void test_delta_writes_only_news(void **state) {
    (void)state;
    enum { E = 8, F = 5 };
    struct memory_shape shape = {1, 2, 1, 1, 1, E, F, MEMORY_DELTA, 0};
    real q[2 * E], k[2 * E], v[2 * F], out[2 * F], m[3 * E * F] = {0}, z[3 * E] = {0};
    int32_t since[2] = {0, 1}, len[2] = {1, 1};
    for (int i = 0; i < E; i++) q[i] = q[E + i] = k[i] = k[E + i] = (real)(0.3 * i - 1);
    for (int i = 0; i < F; i++) v[i] = v[F + i] = (real)(i * i - 3);
    cpu->memory_fwd(out, m, z, NULL, q, k, v, since, len, &shape);
    for (int i = 0; i < F; i++) assert_true(fabs((double)out[F + i] - (double)v[i]) < 1e-5);
    for (int i = 0; i < E * F; i++) assert_true(fabs((double)m[2 * E * F + i] - (double)m[E * F + i]) < 2e-5);
    for (int i = 0; i < E; i++) assert_true(fabs((double)z[2 * E + i] - 2 * (double)z[E + i]) < 1e-5);
}

/* ---- fast weights ---------------------------------------------------------------------------------------------------------- */

enum { FW_OUT, FW_M, FW_Z, FW_Q, FW_K, FW_V, FW_BETA, FW_DECAY, FW_SINCE, FW_LEN };

/* The sum in its parallel form: y = (f(Q) f(K)^T below and on the diagonal) V over the row sums, from the carried state on. */
static void test_sum_is_linear_attention(void **state) {
    (void)state;
    for (int r = 0; r < kernel_row_count; r++) {
        if (strcmp(kernel_row_table[r].slot, "fast_weight_fwd") || kernel_row_table[r].d[7] != FAST_WEIGHT_SUM) continue;
        struct kernel_case *c = kernel_case_new(&kernel_row_table[r]);
        const struct fast_weight_shape *a = &c->fast_weight;
        int64_t S = a->segments, N = a->n, T = S * N, H = a->heads, G = a->kv_heads, E = a->e, F = a->f;
        double *out = room(c->buf[FW_OUT].n);
        for (int64_t row = 0; row < a->batch * T * H; row++) {
            int64_t h = row % H, t = row / H % T, b = row / H / T, g = h * G / H, first = t / N;
            const int32_t *since = c->buf[FW_SINCE].i + b * S, *len = c->buf[FW_LEN].i + b * S;
            const double *q = c->buf[FW_Q].f + row * E;
            double *o = out + row * F, mass = a->eps;
            while (first > 0 && since[first] != 0) first--;
            if (since[first] != 0) /* what the call began with is still there */
                for (int64_t e = 0; e < E; e++) {
                    mass += q[e] * c->buf[FW_Z].f[(b * G + g) * E + e];
                    for (int64_t f = 0; f < F; f++) o[f] += q[e] * c->buf[FW_M].f[((b * G + g) * E + e) * F + f];
                }
            for (int64_t u = first * N; u <= t; u++) {
                if (len[u / N] < N && u / N != t / N) continue; /* an open segment is seen by its own tokens only */
                double w = dot_of(q, c->buf[FW_K].f + ((b * T + u) * G + g) * E, E);
                mass += w;
                for (int64_t f = 0; f < F; f++) o[f] += w * c->buf[FW_V].f[((b * T + u) * G + g) * F + f];
            }
            for (int64_t f = 0; f < F; f++) o[f] /= mass;
        }
        demand(c, FW_OUT, out, 2e-5, "parallel form of linear attention");
        free(out);
        kernel_case_free(c);
    }
}

/* The same tokens with log decays of 0, in other chunks, with other strengths: the state after the call. */
static void delta_state(double *after, const struct kernel_case *c, double strength, int zero_decay, int64_t chunk, double *out) {
    struct kernel_case other = *c;
    double *beta = room(c->buf[FW_BETA].n), *decay = room(c->buf[FW_BETA].n);
    void *p[CASE_BUFFERS];
    for (int64_t i = 0; i < c->buf[FW_BETA].n; i++) beta[i] = strength < 0 ? c->buf[FW_BETA].f[i] : strength;
    other.buf[FW_BETA].f = beta;
    if (zero_decay) {
        other.buf[FW_DECAY].n = c->buf[FW_BETA].n;
        other.buf[FW_DECAY].f = decay;
    }
    other.fast_weight.chunk = chunk;
    kernel_results(cpu, &other, p);
    int64_t per = c->buf[FW_M].n / (c->fast_weight.segments + 1);
    memcpy(after, (double *)p[FW_M] + c->fast_weight.segments * per, (size_t)per * sizeof *after);
    if (out) memcpy(out, p[FW_OUT], (size_t)c->buf[FW_OUT].n * sizeof *out);
    for (int i = 0; i < c->count; i++) free(p[i]);
    free(beta);
    free(decay);
}

static void test_delta_rule_limits(void **state) {
    (void)state;
    const struct kernel_row row = {"fast_weight_fwd", {2, 2, 83, 4, 2, 16, 8, FAST_WEIGHT_DELTA, 0, 0, 0, 0}, {0}};
    struct kernel_case *c = kernel_case_new(&row);
    int64_t per = c->buf[FW_M].n / 3, n = c->buf[FW_OUT].n;
    double *plain = room(per), *other = room(per), *out = room(n), *same = room(n);
    delta_state(plain, c, -1, 0, 0, out);
    delta_state(other, c, 0, 0, 0, NULL);
    for (int64_t i = 0; i < per; i++) assert_true(other[i] == c->buf[FW_M].f[i]); /* strength 0 writes nothing */
    delta_state(other, c, -1, 1, 0, same);
    close_to(other, plain, per, 1e-5, c, "gated with log decay 0");
    close_to(same, out, n, 1e-5, c, "read of gated with log decay 0");
    static const int64_t chunks[] = {1, 16, 32, 63};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        delta_state(other, c, -1, 0, chunks[i], same);
        close_to(other, plain, per, 1e-5, c, "state in other chunks");
        close_to(same, out, n, 1e-5, c, "read in other chunks");
    }
    void *all[] = {plain, other, out, same};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    kernel_case_free(c);
}

/* The rows that a token can see one after another: the carried ones, those of its document, none of an open segment but its own. */
static void test_short_conv_is_a_convolution(void **state) {
    (void)state;
    enum { OUT, TAIL, X, W, SINCE, LEN };
    static const struct kernel_row rows[] = {{"short_conv_fwd", {2, 5, 3, 7, 4, 1, 1}, {0}},
                                             {"short_conv_fwd", {3, 6, 2, 5, 8, 1, 1}, {0}},
                                             {"short_conv_fwd", {2, 4, 9, 6, 2, 0, 2}, {0}},
                                             {"short_conv_fwd", {2, 2, 4, 130, 1, 2, 0}, {0}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kernel_case *c = kernel_case_new(&rows[i]);
        const struct short_conv_shape *a = &c->conv;
        int64_t D = a->width, K = a->size, n = 0;
        double *out = room(c->buf[OUT].n), *zero = room(D);
        const double **seen = calloc((size_t)((a->segments * (a->n + K) + K)), sizeof *seen);
        for (int64_t b = 0; b < a->batch; b++) {
            for (n = 0; n < K - 1; n++) seen[n] = c->buf[TAIL].f + (b * (K - 1) + n) * D;
            for (int64_t at = b * a->segments; at < (b + 1) * a->segments; at++) {
                for (int64_t j = 0; j < K - 1 && c->buf[SINCE].i[at] == 0; j++) seen[n++] = zero;
                for (int64_t t = at * a->n; t < (at + 1) * a->n; t++) {
                    seen[n++] = c->buf[X].f + t * D;
                    for (int64_t d = 0; d < D; d++) {
                        double p = 0;
                        for (int64_t back = 0; back < K; back++) p += c->buf[W].f[(K - 1 - back) * D + d] * seen[n - 1 - back][d];
                        out[t * D + d] = p / (1 + exp(-p));
                    }
                }
                if (c->buf[LEN].i[at] < a->n) n -= a->n;
            }
        }
        demand(c, OUT, out, 2e-6, "direct convolution");
        free(out);
        free(zero);
        free(seen);
        kernel_case_free(c);
    }
}

/* Orthonormal keys with strength 1: every value comes back exactly, and a key that comes again overwrites. */
static void test_delta_rule_recalls(void **state) {
    (void)state;
    enum { E = 24, F = 5, T = 2 * E };
    struct fast_weight_shape shape = {1, 1, T, 1, 1, E, F, FAST_WEIGHT_DELTA, 7, 0};
    static real q[T * E], k[T * E], v[T * F], out[T * F], m[2 * E * F], beta[T];
    int32_t since = 0, len = T;
    for (int t = 0; t < T; t++) { /* a rotation of the unit vectors by cosines (DCT), twice in another order */
        int r = t < E ? t : (5 * t) % E;
        for (int i = 0; i < E; i++) k[t * E + i] = (real)(sqrt((r ? 2.0 : 1.0) / E) * cos(3.14159265358979 * (i + 0.5) * r / E));
        for (int i = 0; i < F; i++) v[t * F + i] = (real)((t * 7 + i * 3) % 11 - 5);
        beta[t] = 1;
    }
    memcpy(q, k, sizeof q);
    cpu->fast_weight_fwd(out, m, NULL, q, k, v, beta, NULL, &since, &len, &shape);
    for (int i = 0; i < T * F; i++) assert_true(fabs((double)out[i] - (double)v[i]) < 1e-4);
    for (int t = E; t < T; t++) /* the second values are what the end holds */
        for (int j = 0; j < F; j++) {
            double read = 0;
            for (int i = 0; i < E; i++) read += (double)k[t * E + i] * (double)m[E * F + i * F + j];
            assert_true(fabs(read - (double)v[t * F + j]) < 1e-4);
        }
}

/* Infini-attention with segments of one token: its linear memory holds what linear attention holds and reads it one token earlier;
 * its delta, which compares with the segment's start, is another rule than the delta rule already within the first segment. */
static void test_infini_memory_beside_fast_weights(void **state) {
    (void)state;
    enum { E = 8, F = 5, T = 6 };
    struct memory_shape memory = {1, T, 1, 1, 1, E, F, MEMORY_LINEAR, 0};
    struct fast_weight_shape sum = {1, T, 1, 1, 1, E, F, FAST_WEIGHT_SUM, 0, 0};
    real k[T * E], f[T * E], v[T * F], m[2][(T + 1) * E * F], z[2][(T + 1) * E], out[2][T * F], beta[T];
    int32_t since[T], len[T];
    memset(m, 0, sizeof m);
    memset(z, 0, sizeof z);
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < E; i++) k[t * E + i] = (real)sin(i + 2.5 * t);
        for (int i = 0; i < F; i++) v[t * F + i] = (real)cos(3.0 * i + t);
        since[t] = t;
        len[t] = 1;
        beta[t] = 1;
    }
    cpu->feature_fwd(f, k, 0, T, E);
    real query[T * E], features[T * E]; /* the same query at every token */
    for (int i = 0; i < T * E; i++) query[i] = k[i % E];
    cpu->feature_fwd(features, query, 0, T, E);
    cpu->memory_fwd(out[0], m[0], z[0], NULL, query, k, v, since, len, &memory);
    cpu->fast_weight_fwd(out[1], m[1], z[1], features, f, v, NULL, NULL, since, len, &sum);
    for (int i = 0; i < (T + 1) * E * F; i++) assert_true(fabs((double)m[0][i] - (double)m[1][i]) < 1e-5);
    for (int i = 0; i < (T + 1) * E; i++) assert_true(fabs((double)z[0][i] - (double)z[1][i]) < 1e-5);
    for (int i = 0; i < (T - 1) * F; i++) assert_true(fabs((double)out[0][F + i] - (double)out[1][i]) < 1e-5);
    memory = (struct memory_shape){1, 1, T, 1, 1, E, F, MEMORY_DELTA, 0};
    sum = (struct fast_weight_shape){1, 1, T, 1, 1, E, F, FAST_WEIGHT_DELTA, 0, 0};
    len[0] = T;
    cpu->feature_fwd(f, k, 1, T, E);
    cpu->memory_fwd(out[0], m[0], z[0], NULL, query, k, v, since, len, &memory);
    cpu->fast_weight_fwd(out[1], m[1], NULL, f, f, v, beta, NULL, since, len, &sum);
    double scale = 0, apart = 0, mixed = 0; /* not even up to a factor */
    for (int i = E * F; i < 2 * E * F; i++) {
        scale += (double)m[0][i] * (double)m[0][i];
        mixed += (double)m[0][i] * (double)m[1][i];
        apart += (double)m[1][i] * (double)m[1][i];
    }
    assert_true(mixed * mixed < 0.99 * scale * apart);
}

/* ---- banks -------------------------------------------------------------------------------------------------------------- */

/* With k at least as large as the bank, top-k and hits are softmax attention over the rows that are visible. */
static void test_all_hits_are_dense_attention(void **state) {
    (void)state;
    static const struct kernel_row rows[] = {
        {"topk", {2, 3, 5, 4, 8, 40, 25, 25, 0, 0}, {0}},     {"topk", {3, 4, 3, 2, 7, 31, 19, 23, 3, 0}, {0}},
        {"topk", {1, 2, 5, 2, 8, 20, 10, 10, 2, 0}, {0}},     {"topk", {2, 2, 5, 2, 8, 20, 10, 4, 1, 0}, {0}},
        {"topk", {2, 2, 3, 2, 8, 37, 19, 19, 0, 0, 12}, {0}},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct kernel_case *c = kernel_case_new(&rows[r]);
        const struct bank_shape *a = &c->bank;
        int64_t T = a->segments * a->n, H = a->heads, E = a->e, nq = c->buf[1].n, nk = c->buf[2].n, np = c->buf[0].n;
        double *values = room(nk), *want = room(nq), *got = room(nq), *p64 = room(np), *w = room(a->visible);
        real *fq = malloc((size_t)nq * sizeof *fq), *fk = malloc((size_t)nk * sizeof *fk), *fv = malloc((size_t)nk * sizeof *fv);
        real *fo = malloc((size_t)nq * sizeof *fo), *fp = malloc((size_t)np * sizeof *fp);
        int32_t *index = malloc((size_t)np * sizeof *index);
        for (int64_t i = 0; i < nk; i++) {
            fv[i] = (real)(values[i] = (float)case_normal(c));
            fk[i] = (real)c->buf[2].f[i];
        }
        for (int64_t i = 0; i < nq; i++) fq[i] = (real)c->buf[1].f[i];
        for (int64_t row = 0; row < a->batch * T * H; row++) {
            int64_t h = row % H, t = row / H % T, b = row / H / T, s = t / a->n;
            int64_t since = c->buf[4].i[b * a->segments + s], n = since < a->visible ? since : a->visible;
            double total = 0;
            for (int64_t i = 0; i < n; i++) {
                int64_t slot = (c->buf[3].i[b] + a->offset + s * a->n - 1 - i) % a->capacity; /* newest first */
                total += w[i] = exp(dot_of(c->buf[1].f + row * E, c->buf[2].f + ((b * a->capacity + slot) * H + h) * E, E));
            }
            for (int64_t i = 0; i < n; i++)
                for (int64_t e = 0; e < E; e++) {
                    int64_t slot = (c->buf[3].i[b] + a->offset + s * a->n - 1 - i) % a->capacity;
                    want[row * E + e] += w[i] / total * values[((b * a->capacity + slot) * H + h) * E + e];
                }
        }
        kernels_ref()->topk(index, c->buf[1].f, c->buf[2].f, c->buf[3].i, c->buf[4].i, a);
        kernels_ref()->hits_fwd(got, p64, c->buf[1].f, c->buf[2].f, values, index, a);
        close_to(got, want, nq, 1e-11, c, "all hits (reference)");
        cpu->topk(index, fq, fk, c->buf[3].i, c->buf[4].i, a);
        cpu->hits_fwd(fo, fp, fq, fk, fv, index, a);
        for (int64_t i = 0; i < nq; i++) got[i] = (double)fo[i];
        close_to(got, want, nq, 2e-5, c, "all hits");
        void *all[] = {values, want, got, p64, w, fq, fk, fv, fo, fp, index};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
        kernel_case_free(c);
    }
}

/* A ring that was written in pieces gives back the last rows, whatever wraps. */
static void test_ring_returns_what_was_written(void **state) {
    (void)state;
    enum { CAP = 7, W = 3 };
    real ring[2 * CAP * W] = {0}, x[2 * 4 * W], out[2 * 5 * W];
    int32_t head[2] = {0, 12};
    for (int step = 0; step < 9; step++) {
        int rows = step % 4 + 1;
        for (int b = 0; b < 2; b++)
            for (int r = 0; r < rows; r++)
                for (int i = 0; i < W; i++) x[(b * rows + r) * W + i] = (real)(head[b] + r + 1000 * b + 100000 * i);
        cpu->ring_write(ring, x, head, 0, 2, rows, CAP, W);
        head[0] += rows;
        head[1] += rows;
    }
    cpu->ring_read(out, ring, head, -5, 2, 5, CAP, W);
    for (int b = 0; b < 2; b++)
        for (int r = 0; r < 5; r++)
            for (int i = 0; i < W; i++) assert_true(out[(b * 5 + r) * W + i] == (real)(head[b] - 5 + r + 1000 * b + 100000 * i));
}

/* ---- rotation ----------------------------------------------------------------------------------------------------------- */

/* Products of rotated vectors depend on the distance alone. */
static void test_rope_is_relative(void **state) {
    (void)state;
    enum { E = 32 };
    real cs[4 * E], x[4 * E], y[4 * E];
    int32_t pos[4] = {5, 17, 1005, 1017};
    for (int i = 0; i < E; i++) {
        x[i] = x[2 * E + i] = (real)sin(i + 1.0);
        x[E + i] = x[3 * E + i] = (real)cos(3.0 * i);
    }
    cpu->rope_table(cs, pos, 10000, 4, E);
    cpu->rope((struct gout){y, 0}, x, cs, 0, 4, 1, E);
    double near = 0, far = 0, norm = 0, plain = 0;
    for (int i = 0; i < E; i++) {
        near += (double)y[i] * (double)y[E + i];
        far += (double)y[2 * E + i] * (double)y[3 * E + i];
        norm += (double)y[i] * (double)y[i];
        plain += (double)x[i] * (double)x[i];
    }
    assert_true(fabs(near - far) < 1e-4);
    assert_true(fabs(norm - plain) < 1e-4);
}

/* ---- optimisers: steps worked out by hand --------------------------------------------------------------------------------- */

static void test_adamw_steps(void **state) {
    (void)state;
    real p = (real)0.5, m = 0, v = 0, g[2] = {(real)0.2, (real)-0.1}, hyper[HYPER_COUNT];
    const double after[2] = {0.4791980198, 0.47297236203}; /* lr 0.01, rate 2, decay 0.1, b1 0.9, b2 0.99, eps 1e-3, clip 0.5 */
    for (int t = 1; t <= 2; t++) {
        hyper[HYPER_LR] = (real)0.01;
        hyper[HYPER_C1] = (real)(1 - pow(0.9, t));
        hyper[HYPER_C2] = (real)(1 - pow(0.99, t));
        hyper[HYPER_CLIP] = (real)0.5;
        cpu->adamw(&p, &m, &v, &g[t - 1], hyper, 2, 0.1, 0.9, 0.99, 1e-3, 1);
        assert_true(fabs((double)p - after[t - 1]) < 1e-6);
    }
    assert_true(fabs((double)m - 0.004) < 1e-8 && fabs((double)v - 0.000124) < 1e-9);
}

static void test_adafactor_steps(void **state) {
    (void)state;
    /* First step (b2 = 0): r = rows' mean squares 2.5, 12.5; c = 5, 10; u = g / sqrt(r c / 7.5), rms 0.98 < 1; rms(p) = 0.79057. */
    real p[4] = {(real)0.5, (real)-0.5, 1, 1}, g[4] = {1, 2, 3, 4}, r[2] = {0}, c[2] = {0}, hyper[HYPER_COUNT] = {0};
    real tmp[4 + 2 + 2 * KERNEL_PARTIALS];
    const double after[4] = {0.493376275643, -0.508160254038, 0.990784161637, 0.991254033308};
    hyper[HYPER_LR] = (real)0.01;
    hyper[HYPER_CLIP] = 1;
    cpu->adafactor(p, r, c, g, hyper, 1, 0.1, 1e-30, 1e-3, 1, 1, tmp, 2, 2);
    for (int i = 0; i < 4; i++) assert_true(fabs((double)p[i] - after[i]) < 1e-6);
    assert_true(r[0] == (real)2.5 && r[1] == (real)12.5 && c[0] == 5 && c[1] == 10);
    /* A vector is not factored: v = 0.5 * 4 + 0.5 * (9, 1) = (6.5, 2.5), u = (3, -1) / sqrt(v), rms 0.945; clipped to 0.5. */
    real w[2] = {1, 2}, vr[1] = {7}, vc[2] = {4, 4}, vg[2] = {3, -1};
    hyper[HYPER_ADAFACTOR_B2] = (real)0.5;
    cpu->adafactor(w, vr, vc, vg, hyper, 1, 0, 1e-30, 1e-3, 0.5, 0, tmp, 1, 2);
    double u0 = 3 / sqrt(6.5), u1 = -1 / sqrt(2.5), over = sqrt((u0 * u0 + u1 * u1) / 2) / 0.5;
    assert_true(fabs((double)w[0] - (1 - 0.01 * u0 / over)) < 1e-6 && fabs((double)w[1] - (2 - 0.01 * u1 / over)) < 1e-6);
    assert_true(vc[0] == (real)6.5 && vc[1] == (real)2.5);
}

/* ---- the same bits at any thread count, where the contract promises it ------------------------------------------------------- */

static void test_thread_count_does_not_matter(void **state) {
    (void)state;
    static const char *const promised[] = {"column_sum", "rmsnorm_bwd", "headnorm_bwd",   "embed_bwd",       "mix_bwd",
                                           "dot",        "sumsq",       "reset_rows_bwd", "fast_weight_fwd", "fast_weight_bwd",
                                           "decay_bwd",  "rnn_fwd",     "rnn_bwd",        "short_conv_fwd",  "short_conv_bwd"};
    for (int i = 0; i < kernel_row_count + kernel_perf_count; i++) {
        const struct kernel_row *row = i < kernel_row_count ? &kernel_row_table[i] : &kernel_perf_table[i - kernel_row_count];
        int wanted = 0;
        for (size_t j = 0; j < sizeof promised / sizeof *promised; j++) wanted |= !strcmp(row->slot, promised[j]);
        if (!wanted) continue;
        struct kernel_case *c = kernel_case_new(row);
        if (c->flop > 4e7) { /* the plain reference would take its time */
            kernel_case_free(c);
            continue;
        }
        void *one[CASE_BUFFERS], *more[CASE_BUFFERS];
        kernels_cpu_threads(1);
        kernel_results(cpu, c, one);
        for (int threads = 2; threads < 6; threads += 1 + (threads == 3)) {
            kernels_cpu_threads(threads);
            kernel_results(cpu, c, more);
            for (int b = 0; b < c->count; b++) {
                if (c->buf[b].n && c->buf[b].type == TYPE_REAL && c->buf[b].role != ROLE_TMP &&
                    memcmp(one[b], more[b], (size_t)c->buf[b].n * sizeof(double)))
                    fail_msg("%s [%s]: %s differs between 1 and %d threads", row->slot, c->label, c->buf[b].name, threads);
                free(more[b]);
            }
        }
        for (int b = 0; b < c->count; b++) free(one[b]);
        kernel_case_free(c);
    }
    kernels_cpu_threads(3);
}

int main(int argc, char **argv) {
    (void)argc;
    cpu_choose_core(argv);
    cpu = kernels_cpu(3, NULL);
    if (!cpu) {
        fprintf(stderr, "there is no CPU backend\n");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_is_masked_softmax),
        cmocka_unit_test(test_relative_shift),
        cmocka_unit_test(test_linear_memory_is_linear_attention),
        cmocka_unit_test(test_delta_writes_only_news),
        cmocka_unit_test(test_sum_is_linear_attention),
        cmocka_unit_test(test_delta_rule_limits),
        cmocka_unit_test(test_delta_rule_recalls),
        cmocka_unit_test(test_short_conv_is_a_convolution),
        cmocka_unit_test(test_infini_memory_beside_fast_weights),
        cmocka_unit_test(test_all_hits_are_dense_attention),
        cmocka_unit_test(test_ring_returns_what_was_written),
        cmocka_unit_test(test_rope_is_relative),
        cmocka_unit_test(test_adamw_steps),
        cmocka_unit_test(test_adafactor_steps),
        cmocka_unit_test(test_thread_count_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
