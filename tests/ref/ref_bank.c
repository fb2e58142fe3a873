/* ref_bank.c - rings, exact top-k and attention over the hits. */
#include "ref_private.h"

static void ring_write(double *ring, const double *x, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                       int64_t capacity, int64_t width) {
    for (int64_t b = 0; b < batch; b++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < width; i++)
                ring[(b * capacity + ref_mod(head[b] + offset + r, capacity)) * width + i] = x[(b * rows + r) * width + i];
}

static void ring_read(double *out, const double *ring, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                      int64_t capacity, int64_t width) {
    for (int64_t b = 0; b < batch; b++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < width; i++)
                out[(b * rows + r) * width + i] = ring[(b * capacity + ref_mod(head[b] + offset + r, capacity)) * width + i];
}

static double dot_of(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static void topk(int32_t *index, const double *q, const double *keys, const int32_t *head, const int32_t *since,
                 const struct bank_shape *a) {
    int64_t T = a->segments * a->n, H = a->heads, E = a->e, C = a->capacity;
    char *taken = calloc((size_t)(a->visible ? a->visible : 1), 1);
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t h = 0; h < H; h++) {
                int64_t s = t / a->n, n = since[b * a->segments + s], end = head[b] + a->offset + s * a->n;
                n = n < a->visible ? n : a->visible;
                memset(taken, 0, (size_t)n);
                for (int64_t j = 0; j < a->topk; j++) {
                    int64_t best = -1;
                    double most = 0;
                    for (int64_t i = 0; i < n; i++) { /* oldest first, so that a tie keeps the older row */
                        int64_t slot = ref_mod(end - n + i, C);
                        double d = dot_of(q + ((b * T + t) * H + h) * E, keys + ((b * C + slot) * H + h) * E, E);
                        if (!taken[i] && (best < 0 || d > most)) {
                            best = i;
                            most = d;
                        }
                    }
                    if (best >= 0) taken[best] = 1;
                    index[((b * T + t) * H + h) * a->topk + j] = best < 0 ? -1 : (int32_t)ref_mod(end - n + best, C);
                }
            }
    free(taken);
}

static void hits_fwd(double *out, double *p, const double *q, const double *keys, const double *values, const int32_t *index,
                     const struct bank_shape *a) {
    int64_t T = a->segments * a->n, H = a->heads, E = a->e, K = a->topk;
    for (int64_t row = 0; row < a->batch * T * H; row++) {
        int64_t b = row / (T * H), h = row % H;
        const int32_t *slot = index + row * K;
        double *w = p + row * K, max = -INFINITY, sum = 0;
        for (int64_t j = 0; j < K; j++)
            if (slot[j] >= 0) {
                w[j] = dot_of(q + row * E, keys + ((b * a->capacity + slot[j]) * H + h) * E, E);
                max = !(w[j] <= max) ? w[j] : max;
            }
        for (int64_t j = 0; j < K; j++) sum += w[j] = slot[j] >= 0 ? exp(w[j] - max) : 0;
        for (int64_t i = 0; i < E; i++) out[row * E + i] = 0;
        for (int64_t j = 0; j < K; j++)
            if (slot[j] >= 0) {
                w[j] /= sum;
                for (int64_t i = 0; i < E; i++) out[row * E + i] += w[j] * values[((b * a->capacity + slot[j]) * H + h) * E + i];
            }
    }
}

/* dp_j = dout.v_j; ds_j = p_j (dp_j - sum p dp); dq = sum ds_j k_j */
static void hits_bwd(struct gout_f64 dq, const double *dout, const double *p, const double *q, const double *keys,
                     const double *values, const int32_t *index, const struct bank_shape *a) {
    (void)q;
    int64_t T = a->segments * a->n, H = a->heads, E = a->e, K = a->topk;
    ref_start(dq, a->batch * T * H * E);
    for (int64_t row = 0; row < a->batch * T * H; row++) {
        int64_t b = row / (T * H), h = row % H;
        double mean = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < K; j++) {
                int64_t slot = index[row * K + j], at = ((b * a->capacity + slot) * H + h) * E;
                if (slot < 0) continue;
                double dp = dot_of(dout + row * E, values + at, E);
                mean += pass ? 0 : p[row * K + j] * dp;
                for (int64_t i = 0; pass && i < E; i++) ref_sum(dq, row * E + i, p[row * K + j] * (dp - mean) * keys[at + i]);
            }
    }
}

void ref_bank(struct kernels_f64 *k) {
    k->ring_write = ring_write;
    k->ring_read = ring_read;
    k->topk = topk;
    k->hits_fwd = hits_fwd;
    k->hits_bwd = hits_bwd;
}
