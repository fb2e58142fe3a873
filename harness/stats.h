/* stats.h - intervals. All random draws are seeded; equal seeds give equal bits. */
#ifndef INFINIBENCH_STATS_H
#define INFINIBENCH_STATS_H

#include "util.h"

struct interval {
    double value, standard_error, low, high;
    int64_t n;
    double df;     /* degrees of freedom where low and high come from Student's t; 0: from percentiles or the normal */
    int64_t seeds; /* training seeds whose spread is in the interval; 0 or 1: it is not */
};
struct interval wilson(int64_t successes, int64_t n); /* 95 % */
/* The same for a share p that need not be a whole number of successes: the mean of several runs over the same n trials. */
struct interval wilson_share(double p, int64_t n);
/* Ratio of sums sum(value)/sum(weight) with a percentile bootstrap (10,000 resamples) over the n documents, 95 %. */
struct interval bootstrap_ratio(const double *value, const double *weight, int64_t n, uint64_t seed);
/* A - B of two such ratios over the same documents, paired: both are resampled together. */
struct interval bootstrap_paired(const double *va, const double *wa, const double *vb, const double *wb, int64_t n, uint64_t seed);
/* Means of several measures of the same n >= 1 documents, values [n][columns]: out[c] of column c, percentile bootstrap as above,
 * all columns resampled together. derived (or NULL): a measure that is a function of the means, into out[columns]. */
void bootstrap_means(struct interval *out, const double *values, int64_t n, int columns, double (*derived)(const double *means),
                     uint64_t seed);
/* A ratio of sums, or with vb and wb the difference of two, of several training seeds over the same n documents: arrays [seeds][n].
 * Documents and seeds are crossed and both are a sample: the squared standard error is that of the paired bootstrap over documents
 * (seeds together) plus the variance of the per-seed values over seeds, the interval Student's t with Satterthwaite's degrees of
 * freedom (Satterthwaite 1946, eq. 17). One seed: the bootstrap alone. */
struct interval interval_crossed(const double *va, const double *wa, const double *vb, const double *wb, int64_t seeds, int64_t n,
                                 uint64_t seed);
/* A - B of two shares of successes over the same n trials, of which only_a succeeded with A alone and only_b with B alone: the
 * score interval of Tango (1998), 95 %. It has a width also where no trial differs. standard_error: half its width over 1.96. */
struct interval paired_shares(int64_t only_a, int64_t only_b, int64_t n);
/* Quantile of Student's t, df >= 1 (not necessarily whole). */
double t_quantile(double p, double df);
/* Smallest true difference that a test at 5 % with power 80 % would have found, given the standard error (and the degrees of
 * freedom) of the difference. */
double minimum_detectable(const struct interval *difference);
double normal_quantile(double p);
/* Expected share of the commonest among n draws of v equally likely values, exactly; NaN beyond n = 512 (its cost grows as n^3). */
double commonest_share(int64_t n, double v);

#endif
