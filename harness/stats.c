/* stats.c - Wilson intervals and Tango's, the document bootstrap (single, paired, of several means), the smallest difference that
 * could have been seen.
 *
 * The bootstrap resamples documents, never tokens, and recomputes the ratio of sums; percentiles of 10,000 resamples. Several
 * training seeds are a second sample, crossed with the documents. Equal seeds give equal bits. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESAMPLES 10000
#define BOOTSTRAP_STREAM 0x626f6f74u

/* Acklam's rational approximation, then one Halley step: full double precision. */
double normal_quantile(double p) {
    static const double a[6] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                                1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[5] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                                -1.328068155288572e+01};
    static const double c[6] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                                -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[4] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
    if (!(p > 0 && p < 1)) return p == 0 ? -INFINITY : p == 1 ? INFINITY : NAN;
    double x;
    if (p < 0.02425 || p > 1 - 0.02425) {
        double q = sqrt(-2 * log(p < 0.5 ? p : 1 - p));
        x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
            ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
        if (p > 0.5) x = -x;
    } else {
        double q = p - 0.5, r = q * q;
        x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
            (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
    }
    double error = 0.5 * erfc(-x / sqrt(2)) - p, u = error * sqrt(2 * M_PI) * exp(x * x / 2);
    return x - u / (1 + x * u / 2);
}

struct interval wilson_share(double p, int64_t n) {
    struct interval i = {.value = NAN, .standard_error = NAN, .low = NAN, .high = NAN, .n = n};
    if (n == 0) return i;
    double z = normal_quantile(0.975), zz = z * z / (double)n;
    double middle = (p + zz / 2) / (1 + zz), half = z / (1 + zz) * sqrt(p * (1 - p) / (double)n + zz / (4 * (double)n));
    i.value = p;
    i.standard_error = sqrt(p * (1 - p) / (double)n);
    i.low = p <= 0 ? 0 : middle - half;
    i.high = p >= 1 ? 1 : middle + half;
    return i;
}

struct interval wilson(int64_t successes, int64_t n) {
    CHECK(successes >= 0 && successes <= n, "%lld successes of %lld", (long long)successes, (long long)n);
    return wilson_share((double)successes / (double)n, n);
}

/* Tango's score statistic at a true difference d; falls with d. */
static double tango(double b, double c, double n, double d) {
    double linear = (2 * n - b + c) * d - b - c, last = -c * d * (1 - d), root = linear * linear - 8 * n * last;
    double q = ((root > 0 ? sqrt(root) : 0) - linear) / (4 * n), variance = n * (2 * q + d * (1 - d));
    double above = b - c - n * d;
    return variance > 0 ? above / sqrt(variance) : above > 0 ? INFINITY : above < 0 ? -INFINITY : 0;
}

struct interval paired_shares(int64_t only_a, int64_t only_b, int64_t n) {
    struct interval i = {.value = NAN, .standard_error = NAN, .low = NAN, .high = NAN, .n = n};
    CHECK(only_a >= 0 && only_b >= 0 && only_a + only_b <= n, "%lld and %lld of %lld", (long long)only_a, (long long)only_b,
          (long long)n);
    if (n == 0) return i;
    double b = (double)only_a, c = (double)only_b, z = normal_quantile(0.975);
    i.value = (b - c) / (double)n;
    for (int side = 0; side < 2; side++) { /* bisection between the value and the end of the range */
        double inside = i.value, outside = side ? 1 : -1;
        for (int k = 0; k < 60; k++) {
            double middle = (inside + outside) / 2;
            if (fabs(tango(b, c, (double)n, middle)) < z)
                inside = middle;
            else
                outside = middle;
        }
        *(side ? &i.high : &i.low) = inside;
    }
    i.standard_error = (i.high - i.low) / (2 * z);
    return i;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int64_t n, double p) {
    double at = p * (double)(n - 1);
    int64_t i = (int64_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

static double ratio(const double *v, const double *w, int64_t n) {
    double a = 0, b = 0;
    for (int64_t i = 0; i < n; i++) a += v[i], b += w[i];
    return b != 0 ? a / b : NAN;
}

/* Standard error and 95 % percentiles of resampled values; sorts them. */
static void spread(struct interval *out, double *draw, int64_t count) {
    double mean = 0, m2 = 0;
    for (int64_t i = 0; i < count; i++) {
        double step = draw[i] - mean;
        mean += step / (double)(i + 1);
        m2 += step * (draw[i] - mean);
    }
    if (count < 2 || !isfinite(out->value)) return;
    qsort(draw, (size_t)count, sizeof *draw, by_value);
    out->standard_error = sqrt(m2 / (double)(count - 1));
    out->low = quantile(draw, count, 0.025);
    out->high = quantile(draw, count, 0.975);
}

/* vb NULL: the ratio of a alone. */
static struct interval bootstrap(const double *va, const double *wa, const double *vb, const double *wb, int64_t n, uint64_t seed) {
    struct interval out = {.value = NAN, .standard_error = NAN, .low = NAN, .high = NAN, .n = n};
    if (n <= 0) return out;
    out.value = ratio(va, wa, n) - (vb ? ratio(vb, wb, n) : 0);
    if (n < 2) return out; /* one document says nothing about others */
    struct rng r;
    rng_seed(&r, seed, BOOTSTRAP_STREAM);
    double *draw = xcalloc(RESAMPLES, sizeof *draw);
    int64_t good = 0;
    for (int64_t k = 0; k < RESAMPLES; k++) {
        double sva = 0, swa = 0, svb = 0, swb = 0;
        for (int64_t j = 0; j < n; j++) {
            int64_t i = rng_below(&r, n);
            sva += va[i], swa += wa[i];
            if (vb) svb += vb[i], swb += wb[i];
        }
        double x = sva / swa - (vb ? svb / swb : 0);
        if (isfinite(x)) draw[good++] = x; /* not a resample without any weight */
    }
    spread(&out, draw, good);
    free(draw);
    return out;
}

struct interval bootstrap_ratio(const double *value, const double *weight, int64_t n, uint64_t seed) {
    return bootstrap(value, weight, NULL, NULL, n, seed);
}

struct interval bootstrap_paired(const double *va, const double *wa, const double *vb, const double *wb, int64_t n, uint64_t seed) {
    return bootstrap(va, wa, vb, wb, n, seed);
}

void bootstrap_means(struct interval *out, const double *values, int64_t n, int columns, double (*derived)(const double *means),
                     uint64_t seed) {
    int all = columns + (derived != NULL);
    double *mean = xcalloc((size_t)all, sizeof *mean), *draw = xcalloc((size_t)all * RESAMPLES, sizeof *draw);
    struct rng r;
    rng_seed(&r, seed, BOOTSTRAP_STREAM);
    for (int64_t k = -1; k < RESAMPLES; k++) { /* -1: the sample itself */
        memset(mean, 0, (size_t)columns * sizeof *mean);
        for (int64_t j = 0; j < n; j++) {
            const double *row = values + (k < 0 ? j : rng_below(&r, n)) * columns;
            for (int c = 0; c < columns; c++) mean[c] += row[c];
        }
        for (int c = 0; c < columns; c++) mean[c] /= (double)n;
        if (derived) mean[columns] = derived(mean);
        for (int c = 0; c < all; c++) {
            if (k < 0)
                out[c] = (struct interval){.value = mean[c], .standard_error = NAN, .low = NAN, .high = NAN, .n = n};
            else
                draw[c * RESAMPLES + k] = mean[c];
        }
        if (n < 2) break; /* one document says nothing about others */
    }
    for (int c = 0; c < all && n > 1; c++) spread(&out[c], draw + c * RESAMPLES, RESAMPLES);
    free(mean);
    free(draw);
}

/* Student's t with x = sqrt(df) tan(angle): the density in the angle is cos^(df-1) over a constant, smooth up to the quantile. */
static double t_half_mass(double angle, double df) {
    enum { PANELS = 400 };
    double sum = 0, step = angle / PANELS;
    for (int i = 0; i <= PANELS; i++) sum += (i == 0 || i == PANELS ? 1 : i % 2 ? 4 : 2) * exp((df - 1) * log(cos(step * i)));
    return sum * step / 3 * exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(M_PI);
}

double t_quantile(double p, double df) {
    if (!(p > 0 && p < 1) || !(df >= 1)) return NAN;
    if (df > 1e5) return normal_quantile(p);
    double low = 0, high = M_PI / 2, mass = fabs(p - 0.5);
    for (int i = 0; i < 60; i++) { /* the angle by bisection */
        double middle = (low + high) / 2;
        if (t_half_mass(middle, df) < mass)
            low = middle;
        else
            high = middle;
    }
    double x = sqrt(df) * tan((low + high) / 2);
    return p < 0.5 ? -x : x;
}

struct interval interval_crossed(const double *va, const double *wa, const double *vb, const double *wb, int64_t seeds, int64_t n,
                                 uint64_t seed) {
    double *sum = xcalloc((size_t)n * 4, sizeof *sum), mean = 0, squares = 0;
    for (int64_t s = 0; s < seeds; s++) {
        const double *all[4] = {va, wa, vb, wb};
        for (int k = 0; k < (vb ? 4 : 2); k++)
            for (int64_t i = 0; i < n; i++) sum[k * n + i] += all[k][s * n + i];
        double x = ratio(va + s * n, wa + s * n, n) - (vb ? ratio(vb + s * n, wb + s * n, n) : 0), step = x - mean;
        mean += step / (double)(s + 1);
        squares += step * (x - mean);
    }
    struct interval out = bootstrap(sum, sum + n, vb ? sum + 2 * n : NULL, vb ? sum + 3 * n : NULL, n, seed);
    free(sum);
    out.seeds = seeds;
    if (seeds < 2 || !isfinite(out.standard_error)) return out;
    double documents = out.standard_error * out.standard_error, runs = squares / (double)(seeds - 1) / (double)seeds;
    double total = documents + runs;
    out.df = total > 0 ? total * total / (documents * documents / (double)(n - 1) + runs * runs / (double)(seeds - 1)) : 1;
    double half = t_quantile(0.975, out.df) * (out.standard_error = sqrt(total));
    out.low = out.value - half;
    out.high = out.value + half;
    return out;
}

double minimum_detectable(const struct interval *d) {
    double sum = d->df > 0 ? t_quantile(0.975, d->df) + t_quantile(0.8, d->df) : normal_quantile(0.975) + normal_quantile(0.8);
    return sum * d->standard_error;
}

/* x *= y, polynomials to the power n. */
static void polynomial_times(double *x, const double *y, int64_t n) {
    for (int64_t i = n; i >= 0; i--) {
        double sum = 0;
        for (int64_t k = 0; k <= i; k++) sum += x[k] * y[i - k];
        x[i] = sum;
    }
}

/* P(no value more than m times) is the coefficient of x^n in (sum over k <= m of e^-a a^k / k! x^k)^v over that without the bound
 * m, for any a: counts are independent and Poisson given their sum. a = n / v keeps all of it in range. */
double commonest_share(int64_t n, double v) {
    if (n < 1 || n > 512 || !(v >= 1)) return NAN;
    double a = (double)n / v, all = exp((double)n * log((double)n) - (double)n - lgamma((double)n + 1)), expected = 0;
    double *square = xcalloc((size_t)n + 1, sizeof *square), *power = xcalloc((size_t)n + 1, sizeof *power);
    double *copy = xcalloc((size_t)n + 1, sizeof *copy);
    for (int64_t m = 0; m < n; m++) { /* E max = sum over m of P(max > m) */
        for (int64_t k = 0; k <= n; k++) {
            square[k] = k <= m ? exp((double)k * log(a) - a - lgamma((double)k + 1)) : 0;
            power[k] = k == 0;
        }
        for (double left = floor(v); left >= 1; left = floor(left / 2)) {
            if (fmod(left, 2) > 0) polynomial_times(power, square, n);
            memcpy(copy, square, ((size_t)n + 1) * sizeof *copy);
            polynomial_times(square, copy, n);
        }
        expected += 1 - fmin(power[n] / all, 1);
    }
    free(square);
    free(power);
    free(copy);
    return expected / (double)n;
}
