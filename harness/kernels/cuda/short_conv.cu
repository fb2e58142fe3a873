/* short_conv.cu - each channel convolved over its last few tokens, with SiLU. What a segment leaves to the next, and its gradient,
 * is a scan over the segments, a thread a channel; the tokens between are all at once. */
#include "device.cuh"

struct conv {
    int64_t batch, segments, n, width, size;
};
static struct conv conv_of(const struct short_conv_shape *s) { return {s->batch, s->segments, s->n, s->width, s->size}; }

/* Channel i of row r of segment s of batch row b: of the K-1 rows before the segment, then of its own. */
__device__ static inline real row_of(const real *tail, const real *x, int64_t b, int64_t s, int64_t r, int64_t i, struct conv a) {
    int64_t before = a.size - 1;
    if (r < before) return tail[((s * a.batch + b) * before + r) * a.width + i];
    return x[((b * a.segments + s) * a.n + r - before) * a.width + i];
}

/* What comes before SiLU, of channel i of a token. */
__device__ static inline real convolved(const real *tail, const real *x, const real *w, int64_t token, int64_t i, struct conv a) {
    int64_t s = token / a.n, b = s / a.segments;
    real sum = 0;
    for (int64_t j = 0; j < a.size; j++) sum += w[j * a.width + i] * row_of(tail, x, b, s % a.segments, token % a.n + j, i, a);
    return sum;
}

static void short_conv_fwd(real *out, real *tail, const real *x, const real *w, const int32_t *since, const int32_t *len,
                           const struct short_conv_shape *shape) {
    struct conv a = conv_of(shape);
    int64_t B = a.batch, S = a.segments, N = a.n, D = a.width, before = a.size - 1;
    if (before)
        map(B * D, [=] __device__(int64_t at) {
            int64_t b = at / D, i = at % D;
            for (int64_t s = 0; s < S; s++) {
                int64_t from = len[b * S + s] < N ? 0 : N;
                for (int64_t r = 0; r < before && since[b * S + s] == 0; r++) tail[((s * B + b) * before + r) * D + i] = 0;
                for (int64_t r = 0; r < before; r++)
                    tail[(((s + 1) * B + b) * before + r) * D + i] = row_of(tail, x, b, s, from + r, i, a);
            }
        });
    map(B * S * N * D, [=] __device__(int64_t at) {
        real p = convolved(tail, x, w, at / D, at % D, a);
        out[at] = p / (1 + expf(-p));
    });
}

/* The gradient of row r of a segment (numbered as by row_of) by the segment's own tokens, whose dp it is. */
__device__ static inline real by_tokens(const real *dp, const real *w, int64_t r, int64_t i, struct conv a) {
    real sum = 0;
    for (int64_t j = 0; j < a.size; j++)
        if (r - j >= 0 && r - j < a.n) sum += w[j * a.width + i] * dp[(r - j) * a.width + i];
    return sum;
}

static void short_conv_bwd(struct gout dx, struct gout dw, real *dtail, const real *dout, const real *tail, const real *x,
                           const real *w, const int32_t *since, const int32_t *len, real *tmp,
                           const struct short_conv_shape *shape) {
    struct conv a = conv_of(shape);
    int64_t B = a.batch, S = a.segments, N = a.n, D = a.width, before = a.size - 1;
    real *dp = tmp, *left = dp + B * S * N * D, *runs = left + B * S * before * D; /* left [S,B,K-1,D]: of tail[1 ..] */
    struct place to = place_of(dx);
    map(B * S * N * D, [=] __device__(int64_t at) {
        real p = convolved(tail, x, w, at / D, at % D, a), g = sigmoid_of(p);
        dp[at] = dout[at] * g * (1 + p * (1 - g));
    });
    if (before)
        map(B * D, [=] __device__(int64_t at) {
            int64_t b = at / D, i = at % D;
            real *d = dtail + b * before * D + i;
            for (int64_t s = S - 1; s >= 0; s--) {
                int64_t here = b * S + s;
                bool partial = len[here] < N;
                real *l = left + (s * B + b) * before * D + i;
                for (int64_t r = 0; r < before; r++) l[r * D] = d[r * D];
                for (int64_t r = 0; r < before; r++) {
                    real passed = partial ? l[r * D] : r >= N ? l[(r - N) * D] : 0;
                    d[r * D] = since[here] == 0 ? 0 : passed + by_tokens(dp + here * N * D, w, r, i, a);
                }
            }
        });
    if (to.p)
        map(B * S * N * D, [=] __device__(int64_t at) {
            int64_t here = at / D / N, n = at / D % N, i = at % D, kept = before + n - N;
            real sum = by_tokens(dp + here * N * D, w, before + n, i, a);
            if (kept >= 0 && !(len[here] < N)) sum += left[((here % S * B + here / S) * before + kept) * D + i];
            put(to, at, sum);
        });
    sum_columns(dw, runs, B * S * N, a.size * D, [=] __device__(int64_t token, int64_t at) {
        int64_t s = token / N, i = at % D;
        return dp[token * D + i] * row_of(tail, x, s / S, s % S, token % N + at / D, i, a);
    });
}

void cuda_short_conv(struct kernels *k) {
    k->short_conv_fwd = short_conv_fwd;
    k->short_conv_bwd = short_conv_bwd;
}
