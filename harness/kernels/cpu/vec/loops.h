/* loops.h - what the kernels of vec/ share: when to go parallel, how rows are cut for reductions, how a gradient output is stored.
 */
#ifndef INFINIBENCH_CPU_LOOPS_H
#define INFINIBENCH_CPU_LOOPS_H

#include "../cpu.h"

/* Work of fewer elements than this is done by the calling thread: waking the others would cost more than it saves. */
#define PARALLEL_MIN 16384

/* Length of each of the KERNEL_PARTIALS runs that n rows or elements are cut into, and where run i starts. It depends on n alone,
 * so what is summed by runs has the same bits at any thread count. */
static inline int64_t run_length(int64_t n) { return (n + KERNEL_PARTIALS - 1) / KERNEL_PARTIALS; }
static inline int64_t run_start(int64_t n, int64_t i) {
    int64_t start = i * run_length(n);
    return start < n ? start : n;
}

/* Stores `value`, an expression of i, for lo <= i < hi at p[i]: overwrites without reading (beta 0) or adds (beta 1). */
#define STORE_EACH(p, beta, lo, hi, value)                                                                                         \
    do {                                                                                                                           \
        real *store_ = (p);                                                                                                        \
        int64_t hi_ = (hi);                                                                                                        \
        if (beta) {                                                                                                                \
            _Pragma("omp simd") for (int64_t i = (lo); i < hi_; i++) store_[i] += (value);                                         \
        } else {                                                                                                                   \
            _Pragma("omp simd") for (int64_t i = (lo); i < hi_; i++) store_[i] = (value);                                          \
        }                                                                                                                          \
    } while (0)

#endif
