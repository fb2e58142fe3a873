/* bench.h - what bench.c and bench_kernels.c share. */
#ifndef INFINIBENCH_BENCH_H
#define INFINIBENCH_BENCH_H

#include "cli.h"

struct bench {
    const struct kernels *k;
    double roof, bandwidth; /* GFLOP/s, GB/s */
    FILE *csv;              /* NULL: none */
};
double bench_median(double *values, int count);
/* The kernels of a training step at the shapes of a preset. */
void bench_kernels(struct bench *b, const struct model_config *c);

#endif
