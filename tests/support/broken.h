/* broken.h - kernels that are wrong on purpose: the tests have to catch every one of them. */
#ifndef INFINIBENCH_BROKEN_H
#define INFINIBENCH_BROKEN_H

#include "../../harness/kernels/kernels.h"

struct broken_kernel {
    const char *slot, *how;
    void (*install)(struct kernels *k);
};
extern const struct broken_kernel broken_kernel_table[];
extern const int broken_kernel_count;

/* A copy of `good` with broken kernel number i; valid until the next call. */
const struct kernels *broken_kernels(const struct kernels *good, int i);

#endif
