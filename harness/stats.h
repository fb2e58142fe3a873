/* stats.h - intervals. All random draws are seeded; equal seeds give equal bits. */
#ifndef INFINIBENCH_STATS_H
#define INFINIBENCH_STATS_H

#include "util.h"

struct interval {
    double value, standard_error, low, high;
    int64_t n;
};
struct interval wilson(int64_t successes, int64_t n); /* 95 % */
/* Ratio of sums sum(value)/sum(weight) with a percentile bootstrap (10,000 resamples) over the n documents, 95 %. */
struct interval bootstrap_ratio(const double *value, const double *weight, int64_t n, uint64_t seed);
/* A - B of two such ratios over the same documents, paired: both are resampled together. */
struct interval bootstrap_paired(const double *va, const double *wa, const double *vb, const double *wb, int64_t n, uint64_t seed);
/* Smallest true difference that a test at 5 % with power 80 % would have found, given the standard error of the difference. */
double minimum_detectable(double standard_error);
double normal_quantile(double p);

#endif
