/* loss.c - cross-entropy, scalar products, sampling, the search for bad numbers.
 *
 * The scalar product adds doubles over KERNEL_PARTIALS runs in order: the same bits at any thread count. */
#include "loops.h"
#include "vmath.h"

/* The largest element. Lane by lane, because compilers will not reorder comparisons that NaN could make differ. NaN may be missed:
 * it comes back in what the caller computes from the elements themselves. */
#define LANES 64

static real row_max(const real *x, int64_t n) {
    real lane[LANES], best = -INFINITY;
    int64_t i = 0;
    for (int64_t j = 0; j < LANES; j++) lane[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (int64_t j = 0; j < LANES; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    }
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    for (int64_t half = LANES / 2; half > 0; half /= 2) {
#pragma omp simd
        for (int64_t j = 0; j < half; j++) lane[j] = lane[j + half] > lane[j] ? lane[j + half] : lane[j];
    }
    return lane[0] > best ? lane[0] : best;
}

static void xent_fwd(real *nll, real *lse, const real *logits, const int32_t *target, int64_t rows, int64_t vocab) {
#pragma omp parallel for schedule(static) if (rows * vocab >= PARALLEL_MIN / 4)
    for (int64_t r = 0; r < rows; r++) {
        const real *x = logits + r * vocab;
        real max = row_max(x, vocab), sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < vocab; i++) sum += v_exp(x[i] - max);
        lse[r] = max + logf(sum);
        nll[r] = target[r] < 0 ? 0 : lse[r] - x[target[r]];
    }
}

static void xent_bwd(struct gout dlogits, const real *dnll, const real *logits, const real *lse, const int32_t *target,
                     int64_t rows, int64_t vocab) {
    if (!dlogits.p) return;
#pragma omp parallel for schedule(static) if (rows * vocab >= PARALLEL_MIN / 4)
    for (int64_t r = 0; r < rows; r++) {
        const real *x = logits + r * vocab;
        real *d = dlogits.p + r * vocab, scale = dnll[r], of = lse[r];
        if (target[r] >= 0) {
            STORE_EACH(d, dlogits.beta, 0, vocab, scale * v_exp(x[i] - of));
            d[target[r]] -= scale;
        } else if (!dlogits.beta)
            STORE_EACH(d, 0, 0, vocab, 0);
    }
}

static void dot(real *out, const real *a, const real *b, double *tmp, int64_t n) {
#pragma omp parallel for schedule(static) if (n >= PARALLEL_MIN)
    for (int64_t run = 0; run < KERNEL_PARTIALS; run++) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = run_start(n, run); i < run_start(n, run + 1); i++) sum += (double)a[i] * (double)b[i];
        tmp[run] = sum;
    }
    double all = 0;
    for (int run = 0; run < KERNEL_PARTIALS; run++) all += tmp[run];
    *out = (real)all;
}

/* Whether symbol a comes before b: more probable, or equally probable and smaller. */
static int precedes(const real *p, int32_t a, int32_t b) { return p[a] > p[b] || (p[a] == p[b] && a < b); }

/* Puts heap[at] in its place among heap[0 .. n-1], the first in order on top. */
static void sift(int32_t *heap, int64_t at, int64_t n, const real *p) {
    int32_t id = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && precedes(p, heap[child + 1], heap[child])) child++;
        if (!precedes(p, heap[child], id)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = id;
}

/* Argmax; a NaN among the logits wins, so that it does not pass for a number. */
static int32_t largest(const real *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (!(x[i] <= x[best]) && x[best] == x[best]) best = i;
    return (int32_t)best;
}

/* The symbols leave a heap in order of probability until their mass reaches top_p, so only what is kept is sorted; the draw goes
 * through them in that order. */
static int32_t draw(const real *logits, double u, double temperature, double top_p, real *p, int32_t *order, int64_t vocab) {
    real max = row_max(logits, vocab), inverse = (real)(1 / temperature);
    STORE_EACH(p, 0, 0, vocab, v_exp((logits[i] - max) * inverse));
    double total = 0, mass = 0;
    for (int64_t i = 0; i < vocab; i++) total += (double)p[i];
    for (int64_t i = 0; i < vocab; i++) order[i] = (int32_t)i;
    for (int64_t i = vocab / 2 - 1; i >= 0; i--) sift(order, i, vocab, p);
    int64_t left = vocab;
    do { /* what leaves is kept at the end, the first one last */
        int32_t id = order[0];
        left--;
        order[0] = order[left];
        order[left] = id;
        sift(order, 0, left, p);
        mass += (double)p[id];
    } while (left > 0 && mass < top_p * total);
    double until = u * mass, sum = 0;
    for (int64_t i = vocab - 1; i > left; i--) {
        sum += (double)p[order[i]];
        if (until < sum) return order[i];
    }
    return order[left];
}

static void sample(int32_t *id, const real *logits, const real *u, double temperature, double top_p, real *tmp, int32_t *order,
                   int64_t rows, int64_t vocab) {
#pragma omp parallel for schedule(static) if (rows > 1 && rows * vocab >= PARALLEL_MIN / 16)
    for (int64_t r = 0; r < rows; r++) {
        const real *x = logits + r * vocab;
        id[r] = temperature > 0 ? draw(x, (double)u[r], temperature, top_p, tmp + r * vocab, order + r * vocab, vocab)
                                : largest(x, vocab);
    }
}

/* Elements that are tested before anybody looks at the result. */
#define BLOCK 4096

static int64_t first_bad(const real *x, int64_t n) {
    int64_t first = INT64_MAX;
#pragma omp parallel for schedule(static) reduction(min : first) if (n >= PARALLEL_MIN)
    for (int64_t lo = 0; lo < n; lo += BLOCK) {
        if (first < lo) continue; /* this thread has found one before */
        int64_t hi = lo + BLOCK < n ? lo + BLOCK : n;
        uint32_t bad = 0; /* by bits: no flag of the compiler can take the test away */
#pragma omp simd reduction(| : bad)
        for (int64_t i = lo; i < hi; i++) bad |= (v_to_bits(x[i]) & 0x7f800000u) == 0x7f800000u;
        for (int64_t i = lo; bad && i < hi; i++)
            if ((v_to_bits(x[i]) & 0x7f800000u) == 0x7f800000u) {
                first = i;
                break;
            }
    }
    return first == INT64_MAX ? -1 : first;
}

void ISA_FN(cpu_loss)(struct kernels *k) {
    k->xent_fwd = xent_fwd;
    k->xent_bwd = xent_bwd;
    k->dot = dot;
    k->sample = sample;
    k->first_bad = first_bad;
}
