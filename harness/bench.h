/* bench.h - what bench.c, bench_kernels.c and bench_rouge.c share. */
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
/* ROUGE of the pairs of a JSONL file, NULL: generated ones. threads 0: all. */
int bench_rouge(FILE *csv, const char *jsonl, int threads, struct error *e);

#endif
