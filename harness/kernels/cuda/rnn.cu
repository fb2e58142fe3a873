/* rnn.cu - LSTM and GRU: a launch a token, for a token waits for the one before. In the forward a warp makes the gates of one unit
 * for all batch rows; in the backward a block makes 32 units of one batch row, its warps sharing the rows of the matrix. */
#include "device.cuh"

#define UNITS (THREADS / 32)

struct rnn {
    int64_t batch, segments, n, width, gru;
    double forget;
};
static struct rnn rnn_of(const struct rnn_shape *s) {
    return {s->batch, s->segments, s->n, s->width, s->cell == RNN_GRU, s->forget};
}

static __global__ void __launch_bounds__(THREADS)
    rnn_token(real *out, real *gates, real *h, real *c, const real *x0, const real *x1, const real *x2, const real *x3,
              const real *w, const real *bias, struct rnn a, int64_t t) {
    int64_t H = a.width, B = a.batch, T = a.segments * a.n, i = (int64_t)blockIdx.x * UNITS + threadIdx.x / 32;
    int lane = threadIdx.x % 32, rows = a.gru ? 3 : 4;
    if (i >= H) return;
    for (int64_t b = 0; b < B; b++) {
        const real *read = h + (t * B + b) * H;
        real p[4] = {0, 0, 0, 0};
        for (int64_t j = lane; j < H; j += 32)
            for (int r = 0; r < rows; r++) p[r] += w[(r * H + i) * H + j] * read[j];
        for (int r = 0; r < rows; r++) p[r] = warp_sum(p[r]) + bias[r * H + i];
        if (lane) continue;
        int64_t at = (b * T + t) * H + i, next = ((t + 1) * B + b) * H + i;
        real *g = gates + (t * B + b) * 4 * H + i;
        if (!a.gru) {
            real in = sigmoid_of(p[0] + x0[at]), keep = sigmoid_of(p[1] + x1[at] + (real)a.forget);
            real fresh = tanhf(p[2] + x2[at]), show = sigmoid_of(p[3] + x3[at]), cell = keep * c[(t * B + b) * H + i] + in * fresh;
            g[0] = in, g[H] = keep, g[2 * H] = fresh, g[3 * H] = show;
            c[next] = cell;
            h[next] = show * tanhf(cell);
        } else {
            real r = sigmoid_of(p[0] + x0[at]), z = sigmoid_of(p[1] + x1[at]);
            real fresh = tanhf(x2[at] + bias[3 * H + i] + r * p[2]);
            g[0] = r, g[H] = z, g[2 * H] = fresh, g[3 * H] = p[2];
            h[next] = (1 - z) * fresh + z * read[i];
        }
        out[at] = h[next];
    }
}

static void rnn_fwd(real *out, real *gates, real *h, real *c, const real *x0, const real *x1, const real *x2, const real *x3,
                    const real *w, const real *bias, const int32_t *since, const int32_t *len, real *tmp,
                    const struct rnn_shape *shape) {
    (void)tmp;
    struct rnn a = rnn_of(shape);
    int64_t H = a.width, B = a.batch, S = a.segments, N = a.n;
    for (int64_t s = 0; s < S; s++) {
        real *hs = h + s * N * B * H, *cs = c ? c + s * N * B * H : NULL, *he = hs + N * B * H, *ce = c ? cs + N * B * H : NULL;
        map(B * H, [=] __device__(int64_t i) { /* a document starts */
                                               if (since[i / H * S + s] != 0) return;
                                               hs[i] = 0;
                                               if (cs) cs[i] = 0;
        });
        for (int64_t t = s * N; t < (s + 1) * N; t++)
            LAUNCH(rnn_token, dim3((unsigned)parts(H, UNITS)), THREADS, 0, out, gates, h, c, x0, x1, x2, x3, w, bias, a, t);
        map(B * H, [=] __device__(int64_t i) { /* a partial segment leaves what it found */
                                               if (!(len[i / H * S + s] < N)) return;
                                               he[i] = hs[i];
                                               if (cs) ce[i] = cs[i];
        });
    }
}

/* Token t: the gradient of h[t+1] from the token after it (whose da is there, in a segment: first 0), then da of t. up [B,H] holds
 * what reaches the state by other ways and gets the new gradient before the matrix. */
static __global__ void __launch_bounds__(THREADS)
    rnn_token_bwd(struct place dx0, struct place dx1, struct place dx2, struct place dx3, real *da, real *dh, real *dc,
                  const real *dout, const real *gates, const real *h, const real *c, const real *w, struct rnn a, int64_t t,
                  int64_t last) {
    __shared__ real part[UNITS][33];
    int64_t H = a.width, B = a.batch, T = a.segments * a.n, b = blockIdx.y, i = (int64_t)blockIdx.x * 32 + threadIdx.x % 32;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    real sum = 0;
    if (!last && i < H) { /* W^T da of the token after */
        const real *d = da + ((t + 1) * B + b) * 4 * H;
        int64_t rows = (a.gru ? 3 : 4) * H;
        for (int64_t r = warp; r < rows; r += UNITS) sum += w[r * H + i] * d[r];
    }
    part[warp][lane] = sum;
    __syncthreads();
    if (warp || i >= H) return;
    real up = dh[b * H + i];
    for (int x = 0; x < UNITS; x++) up += part[x][lane];
    int64_t at = (b * T + t) * H + i, state = (t * B + b) * H + i;
    const real *g = gates + (t * B + b) * 4 * H + i;
    real *d = da + (t * B + b) * 4 * H + i, dy = up + dout[at];
    if (!a.gru) {
        real old = c[state], y = tanhf(g[H] * old + g[0] * g[2 * H]), dcell = dc[b * H + i] + dy * g[3 * H] * (1 - y * y);
        d[0] = dcell * g[2 * H] * g[0] * (1 - g[0]);
        d[H] = dcell * old * g[H] * (1 - g[H]);
        d[2 * H] = dcell * g[0] * (1 - g[2 * H] * g[2 * H]);
        d[3 * H] = dy * y * g[3 * H] * (1 - g[3 * H]);
        dc[b * H + i] = dcell * g[H];
        dh[b * H + i] = 0;
    } else {
        real fresh = dy * (1 - g[H]) * (1 - g[2 * H] * g[2 * H]);
        d[0] = fresh * g[3 * H] * g[0] * (1 - g[0]);
        d[H] = dy * (h[state] - g[2 * H]) * g[H] * (1 - g[H]);
        d[2 * H] = fresh * g[0];
        d[3 * H] = fresh;
        dh[b * H + i] = dy * g[H];
    }
    if (dx0.p) put(dx0, at, d[0]);
    if (dx1.p) put(dx1, at, d[H]);
    if (dx2.p) put(dx2, at, a.gru ? d[3 * H] : d[2 * H]);
    if (dx3.p && !a.gru) put(dx3, at, d[3 * H]);
}

/* The gradient that leaves a segment at its start: W^T da of the first token is added, and what passed the segment by. */
static __global__ void __launch_bounds__(THREADS) rnn_segment_bwd(real *dh, real *dc, const real *around, const real *da,
                                                                  const real *w, const int32_t *since, struct rnn a, int64_t s) {
    __shared__ real part[UNITS][33];
    int64_t H = a.width, B = a.batch, b = blockIdx.y, i = (int64_t)blockIdx.x * 32 + threadIdx.x % 32, rows = (a.gru ? 3 : 4) * H;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const real *d = da + (s * a.n * B + b) * 4 * H;
    real sum = 0;
    for (int64_t r = warp; i < H && r < rows; r += UNITS) sum += w[r * H + i] * d[r];
    part[warp][lane] = sum;
    __syncthreads();
    if (warp || i >= H) return;
    real up = dh[b * H + i];
    for (int x = 0; x < UNITS; x++) up += part[x][lane];
    bool reset = since[b * a.segments + s] == 0;
    dh[b * H + i] = reset ? 0 : up + around[b * H + i];
    if (dc) dc[b * H + i] = reset ? 0 : dc[b * H + i] + around[(B + b) * H + i];
}

static void rnn_bwd(struct gout dx0, struct gout dx1, struct gout dx2, struct gout dx3, real *da, real *dh, real *dc,
                    const real *dout, const real *gates, const real *h, const real *c, const real *w, const int32_t *since,
                    const int32_t *len, real *tmp, const struct rnn_shape *shape) {
    struct rnn a = rnn_of(shape);
    int64_t H = a.width, B = a.batch, S = a.segments, N = a.n;
    dim3 grid((unsigned)parts(H, 32), (unsigned)B);
    real *around = tmp; /* [2,B,H]: the gradient of a state that a segment has not written passes the segment by */
    for (int64_t s = S - 1; s >= 0; s--) {
        map(B * H, [=] __device__(int64_t i) {
            bool partial = len[i / H * S + s] < N;
            around[i] = partial ? dh[i] : 0;
            if (partial) dh[i] = 0;
            if (!dc) return;
            around[B * H + i] = partial ? dc[i] : 0;
            if (partial) dc[i] = 0;
        });
        for (int64_t t = (s + 1) * N - 1; t >= s * N; t--)
            LAUNCH(rnn_token_bwd, grid, THREADS, 0, place_of(dx0), place_of(dx1), place_of(dx2), place_of(dx3), da, dh, dc, dout,
                   gates, h, c, w, a, t, (int64_t)(t == (s + 1) * N - 1));
        LAUNCH(rnn_segment_bwd, grid, THREADS, 0, dh, dc, (const real *)around, (const real *)da, w, since, a, s);
    }
}

void cuda_rnn(struct kernels *k) {
    k->rnn_fwd = rnn_fwd;
    k->rnn_bwd = rnn_bwd;
}
