/* sample.cu - drawing a symbol from each row of logits: a block a row sorts the symbols by falling logit (ties: smaller id), a
 * thread walks the sorted probabilities. */
#include "device.cuh"

/* Sorts n ids so that better() ones come first: bitonic, with comparators of one direction only, so that n need not be a power of
 * two (what lies beyond n would sort last and never moves). */
__device__ static inline void sort_ids(int32_t *ids, const real *x, int64_t n) {
    int64_t size = 2;
    auto order = [=](int64_t i, int64_t j) {
        if (j >= n) return;
        int32_t a = ids[i], b = ids[j];
        if (x[b] > x[a] || (x[b] == x[a] && b < a)) ids[i] = b, ids[j] = a;
    };
    for (int64_t half = 1; half < n; half *= 2, size *= 2) {
        for (int64_t c = threadIdx.x; c < (n + size - 1) / size * half; c += THREADS) { /* i meets its mirror image in the block */
            int64_t from = c / half * size, i = c % half;
            order(from + i, from + size - 1 - i);
        }
        __syncthreads();
        for (int64_t gap = half / 2; gap > 0; gap /= 2) {
            for (int64_t c = threadIdx.x; c < (n + 2 * gap - 1) / (2 * gap) * gap; c += THREADS) {
                int64_t i = c / gap * 2 * gap + c % gap;
                order(i, i + gap);
            }
            __syncthreads();
        }
    }
}

/* The first symbol at which the running mass exceeds u times the mass of those kept. */
__device__ static inline int32_t draw(const int32_t *ids, const real *p, double u, double top_p, int64_t n) {
    double sum = 0, mass = 0, running = 0;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)p[i];
    while (kept < n && (kept == 0 || mass < top_p * sum)) mass += (double)p[kept++];
    for (int64_t i = 0; i < kept; i++) {
        running += (double)p[i];
        if (running > u * mass) return ids[i];
    }
    return ids[kept - 1];
}

static void sample(int32_t *id, const real *logits, const real *u, double temperature, double top_p, real *tmp, int32_t *order,
                   int64_t rows, int64_t vocab) {
    each_row(rows, [=] __device__(int64_t r) {
        const real *x = logits + r * vocab;
        int32_t *ids = order + r * vocab;
        real *p = tmp + r * vocab;
        for (int64_t i = threadIdx.x; i < vocab; i += THREADS) ids[i] = (int32_t)i;
        __syncthreads();
        sort_ids(ids, x, vocab);
        if (temperature > 0) {
            for (int64_t i = threadIdx.x; i < vocab; i += THREADS)
                p[i] = expf((real)((double)(x[ids[i]] - x[ids[0]]) / temperature));
            __syncthreads();
        }
        if (threadIdx.x == 0) id[r] = temperature > 0 ? draw(ids, p, (double)u[r], top_p, vocab) : ids[0];
    });
}

void cuda_sample(struct kernels *k) { k->sample = sample; }
