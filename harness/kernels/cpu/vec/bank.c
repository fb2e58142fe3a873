/* bank.c - rings of rows, exact top-k by inner product, and attention over the hits.
 *
 * topk: a run of queries of one head against blocks of the bank from oldest to newest; scores of a block by products, then each
 * query offers those that beat the worst of its best to a heap. No approximation, and no gradient to keys or values (the contract
 * has none). Work is shared by (batch row, head, segment, run).
 *
 * Sums over a row of E elements are chains in one order wherever the row lies, so equal keys tie exactly. */
#include "../cpu.h"
#include "tile.h"
#include "vmath.h"
#include <string.h>

static int64_t modulo(int64_t x, int64_t n) {
    int64_t r = x % n;
    return r < 0 ? r + n : r;
}

static void ring_write(real *ring, const real *x, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                       int64_t capacity, int64_t width) {
#pragma omp parallel for schedule(static) if (batch * rows * width > 65536)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t r = 0, run; r < rows; r += run) {
            int64_t slot = modulo(head[b] + offset + r, capacity);
            run = min64(rows - r, capacity - slot);
            memcpy(ring + (b * capacity + slot) * width, x + (b * rows + r) * width, (size_t)(run * width) * sizeof *x);
        }
}

static void ring_read(real *out, const real *ring, const int32_t *head, int64_t offset, int64_t batch, int64_t rows,
                      int64_t capacity, int64_t width) {
#pragma omp parallel for schedule(static) if (batch * rows * width > 65536)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t r = 0, run; r < rows; r += run) {
            int64_t slot = modulo(head[b] + offset + r, capacity);
            run = min64(rows - r, capacity - slot);
            memcpy(out + (b * rows + r) * width, ring + (b * capacity + slot) * width, (size_t)(run * width) * sizeof *out);
        }
}

#define BLOCK 256 /* keys a block */
#define RUN 128   /* queries a run at most; fewer if topk is so large that their heaps would not fit */

/* The best of one query so far: a heap of ranks with the worst on top. A rank orders (score, age) as one integer: a larger score is
 * better, among equals the older; age is the position in the visible rows, 0 the oldest. NaN ranks as infinity: a broken key is
 * found and shows in what is read, instead of being passed over in silence. */
typedef uint64_t hit;
_Static_assert(sizeof(hit) == 2 * sizeof(real), "heaps lie in scratch of real");

static hit rank_of(real score, int64_t age) {
    uint32_t u = v_to_bits(score != score ? INFINITY : score + 0.0f); /* -0 + 0 = 0: the zeros are equal */
    u = u & 0x80000000u ? ~u : u | 0x80000000u;
    return (uint64_t)u << 32 | (uint32_t)~age;
}

static int64_t age_of(hit x) { return (int64_t)(uint32_t)~x; }

static real score_of(hit x) {
    uint32_t u = (uint32_t)(x >> 32);
    return v_from_bits(u & 0x80000000u ? u & 0x7fffffffu : ~u);
}

static void sift_down(hit *heap, int64_t n, hit x) {
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n) child += heap[child + 1] < heap[child];
        if (heap[child] >= x) break;
        heap[i] = heap[child];
    }
    heap[i] = x;
}

static void offer(hit *heap, int64_t *n, int64_t k, hit x) {
    if (*n == k) {
        if (x > heap[0]) sift_down(heap, k, x);
        return;
    }
    int64_t i = (*n)++;
    for (int64_t up; i > 0 && x < heap[up = (i - 1) / 2]; i = up) heap[i] = heap[up];
    heap[i] = x;
}

/* Best first, in place. */
static void sort_hits(hit *heap, int64_t n) {
    while (n > 1) {
        hit worst = heap[0], last = heap[--n];
        sift_down(heap, n, last);
        heap[n] = worst;
    }
}

/* Offers a block of scores of one query to its heap. Most do not beat the worst hit as it was before the block: those are passed
 * over eight at a time. */
static void offer_scores(hit *heap, int64_t *n, int64_t k, const real *score, int64_t count, int64_t age) {
    if (*n < k) {
        for (int64_t i = 0; i < count; i++) offer(heap, n, k, rank_of(score[i], age + i));
        return;
    }
    uint8_t beats[BLOCK];
    real bar = score_of(heap[0]);
#pragma omp simd
    for (int64_t i = 0; i < BLOCK; i++) beats[i] = !(score[i] <= bar);
    for (int64_t i = 0; i < count; i += 8) {
        uint64_t eight;
        memcpy(&eight, beats + i, sizeof eight);
        if (!eight) continue;
        for (int64_t j = i; j < min64(i + 8, count); j++)
            if (beats[j]) offer(heap, n, k, rank_of(score[j], age + j));
    }
}

/* Queries of one head and one segment, rows apart by ld; visible rows of the bank are counts [end - n, end). */
static void topk_run(int32_t *index, const real *q, const real *keys, int64_t end, int64_t n, int64_t queries,
                     const struct bank_shape *a) {
    int64_t E = a->e, ld = a->heads * E, K = a->topk, count[RUN] = {0};
    real *score = cpu_scratch(), *packed = score + RUN * BLOCK;
    hit *heap = (hit *)(packed + E * BLOCK);
    for (int64_t age = 0, block; age < n; age += block) {
        int64_t slot = modulo(end - n + age, a->capacity);
        block = min64(min64(BLOCK, n - age), a->capacity - slot);
        tile_transpose(packed, BLOCK, keys + slot * ld, ld, block, E, 1);
        tile_nn(score, BLOCK, q, ld, packed, BLOCK, queries, lanes_up(block), E, 0);
        for (int64_t i = 0; i < queries; i++) offer_scores(heap + i * K, &count[i], K, score + i * BLOCK, block, age);
    }
    for (int64_t i = 0; i < queries; i++) {
        int32_t *to = index + i * a->heads * K;
        sort_hits(heap + i * K, count[i]);
        for (int64_t j = 0; j < K; j++) to[j] = j < count[i] ? (int32_t)modulo(end - n + age_of(heap[i * K + j]), a->capacity) : -1;
    }
}

static void topk(int32_t *index, const real *q, const real *keys, const int32_t *head, const int32_t *since,
                 const struct bank_shape *a) {
    int64_t S = a->segments, T = S * a->n, H = a->heads, E = a->e;
    if (a->topk <= 0) return;
    scratch_holds(RUN * BLOCK + E * BLOCK + 2 * a->topk, CPU_SCRATCH, "topk");
    int64_t fit = (CPU_SCRATCH - RUN * BLOCK - E * BLOCK) / (2 * a->topk);
    int64_t run = max64(1, min64(RUN, min64(fit, a->n))), runs = (a->n + run - 1) / run, tasks = a->batch * H * S * runs;
#pragma omp parallel for schedule(dynamic, 1) if (tasks > 1)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t from = task % runs * run, s = task / runs % S, h = task / (runs * S) % H, b = task / (runs * S * H);
        int64_t at = (b * T + s * a->n + from) * H + h, n = min64(min64(since[b * S + s], a->visible), a->capacity);
        topk_run(index + at * a->topk, q + at * E, keys + (b * a->capacity * H + h) * E, head[b] + a->offset + s * a->n, n,
                 min64(run, a->n - from), a);
    }
}

/* Hits of a row: those before the first -1. */
static int64_t hits_of(const int32_t *slot, int64_t k) {
    int64_t n = 0;
    while (n < k && slot[n] >= 0) n++;
    return n;
}

static void hits_fwd(real *out, real *p, const real *q, const real *keys, const real *values, const int32_t *index,
                     const struct bank_shape *a) {
    int64_t T = a->segments * a->n, H = a->heads, E = a->e, K = a->topk, ld = H * E;
#pragma omp parallel for schedule(static) if (a->batch * T * H * K * E > 16384)
    for (int64_t row = 0; row < a->batch * T * H; row++) {
        int64_t bank = (row / (T * H) * a->capacity * H + row % H) * E;
        const int32_t *slot = index + row * K;
        real *restrict w = p + row * K, *restrict o = out + row * E, max = -INFINITY, sum = 0;
        int64_t n = hits_of(slot, K);
        for (int64_t j = 0; j < n; j++) {
            w[j] = tile_dot(q + row * E, keys + bank + slot[j] * ld, E);
            max = w[j] > max ? w[j] : max;
        }
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < n; j++) {
            real x = v_exp(w[j] - max);
            w[j] = x;
            sum += x;
        }
        for (int64_t j = n; j < K; j++) w[j] = 0;
        for (int64_t i = 0; i < E; i++) o[i] = 0;
        for (int64_t j = 0; j < n; j++) {
            const real *v = values + bank + slot[j] * ld;
            real x = w[j] /= sum;
#pragma omp simd
            for (int64_t i = 0; i < E; i++) o[i] += x * v[i];
        }
    }
}

/* dp_j = dout.v_j, ds_j = p_j (dp_j - sum p dp), dq = sum ds_j k_j. sum p dp = dout.out, but out is not an input. */
static void hits_bwd(struct gout dq, const real *dout, const real *p, const real *q, const real *keys, const real *values,
                     const int32_t *index, const struct bank_shape *a) {
    (void)q;
    int64_t T = a->segments * a->n, H = a->heads, E = a->e, K = a->topk, ld = H * E;
    if (!dq.p) return;
    scratch_holds(K, CPU_SCRATCH, "hits_bwd");
#pragma omp parallel for schedule(static) if (a->batch * T * H * K * E > 16384)
    for (int64_t row = 0; row < a->batch * T * H; row++) {
        int64_t bank = (row / (T * H) * a->capacity * H + row % H) * E;
        const int32_t *slot = index + row * K;
        const real *w = p + row * K;
        real *restrict dp = cpu_scratch(), *restrict to = dq.p + row * E, mean = 0;
        int64_t n = hits_of(slot, K);
        for (int64_t j = 0; j < n; j++) {
            dp[j] = tile_dot(dout + row * E, values + bank + slot[j] * ld, E);
            mean += w[j] * dp[j];
        }
        for (int64_t i = 0; !dq.beta && i < E; i++) to[i] = 0;
        for (int64_t j = 0; j < n; j++) {
            const real *k = keys + bank + slot[j] * ld;
            real ds = w[j] * (dp[j] - mean);
#pragma omp simd
            for (int64_t i = 0; i < E; i++) to[i] += ds * k[i];
        }
    }
}

void ISA_FN(cpu_bank)(struct kernels *k) {
    k->ring_write = ring_write;
    k->ring_read = ring_read;
    k->topk = topk;
    k->hits_fwd = hits_fwd;
    k->hits_bwd = hits_bwd;
}
