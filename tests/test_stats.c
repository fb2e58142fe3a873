/* test_stats.c - intervals against known values, coverage of the bootstrap on data whose truth is known, bits that repeat. */
#include "harness/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%.17g, expected %.17g within %g", found, expected, tolerance);
}

static void quantiles(void **state) {
    (void)state;
    near(normal_quantile(0.5), 0, 1e-15);
    near(normal_quantile(0.975), 1.9599639845400545, 1e-13);
    near(normal_quantile(0.8), 0.8416212335729143, 1e-13);
    near(normal_quantile(1e-6), -4.753424308822899, 1e-11);
    near(normal_quantile(0.999), 3.090232306167813, 1e-12);
    assert_true(isinf(normal_quantile(1)) && isinf(normal_quantile(0)) && isnan(normal_quantile(-1)) &&
                isnan(normal_quantile(NAN)));
    near(minimum_detectable(&(struct interval){.standard_error = 1}), 2.8015852181129688, 1e-12);
    near(minimum_detectable(&(struct interval){.standard_error = 0.01}), 0.028015852181129688, 1e-14);
    near(minimum_detectable(&(struct interval){.standard_error = 2, .df = 2}), 2 * (4.302652729911275 + 1.0606601717798212), 1e-9);
}

/* Closed forms at 1 and 2 degrees of freedom; tables and scipy.stats.t.ppf beyond. */
static void student(void **state) {
    (void)state;
    near(t_quantile(0.975, 1), 12.706204736174698, 1e-8);
    near(t_quantile(0.975, 2), 4.302652729911275, 1e-9);
    near(t_quantile(0.8, 2), 1.0606601717798212, 1e-10);
    near(t_quantile(0.975, 3), 3.182446305284263, 1e-9);
    near(t_quantile(0.975, 10), 2.2281388519649385, 1e-9);
    near(t_quantile(0.025, 30), -2.042272456301237, 1e-9);
    near(t_quantile(0.975, 1e6), 1.959966, 1e-5);
    near(t_quantile(0.5, 7), 0, 1e-12);
    assert_true(t_quantile(0.975, 2.5) < t_quantile(0.975, 2) && t_quantile(0.975, 2.5) > t_quantile(0.975, 3));
    assert_true(isnan(t_quantile(0.975, 0.5)) && isnan(t_quantile(1, 3)) && isnan(t_quantile(NAN, 3)));
}

/* Coverage where both the documents and the seeds vary: the interval over both holds the truth in 95 % of repetitions, the one over
 * documents alone in far fewer. */
static void seeds_and_documents(void **state) {
    enum { SEEDS = 3, N = 40, REPEATS = 400 };
    static double va[SEEDS * N], vb[SEEDS * N], w[SEEDS * N], sa[N], sb[N], sw[N];
    struct rng r;
    int crossed = 0, alone = 0;
    (void)state;
    rng_seed(&r, 5, 6);
    for (int k = 0; k < REPEATS; k++) {
        memset(sa, 0, sizeof sa), memset(sb, 0, sizeof sb), memset(sw, 0, sizeof sw);
        for (int s = 0; s < SEEDS; s++) {
            double run = 0.01 * rng_normal(&r);
            for (int i = 0; i < N; i++) {
                struct rng document; /* what a document is does not depend on the seed */
                rng_seed(&document, (uint64_t)k, (uint64_t)i);
                double hard = 0.2 * rng_normal(&document), gain = 0.03 + 0.02 * rng_normal(&document);
                int at = s * N + i;
                w[at] = 1000;
                va[at] = 1000 * (2 + hard);
                vb[at] = 1000 * (2 + hard - gain - run);
                sa[i] += va[at], sb[i] += vb[at], sw[i] += w[at];
            }
        }
        struct interval c = interval_crossed(va, w, vb, w, SEEDS, N, 1), b = bootstrap_paired(sa, sw, sb, sw, N, 1);
        near(c.value, b.value, 1e-12);
        assert_true(c.seeds == SEEDS && c.n == N && c.df >= 2 && c.standard_error > b.standard_error);
        crossed += c.low <= 0.03 && c.high >= 0.03;
        alone += b.low <= 0.03 && b.high >= 0.03;
    }
    if (crossed < 0.92 * REPEATS || alone > 0.85 * REPEATS) fail_msg("covered %d and %d of %d", crossed, alone, REPEATS);
    struct interval one = interval_crossed(va, w, vb, w, 1, N, 1), same = bootstrap_paired(va, w, vb, w, N, 1);
    assert_true(one.low == same.low && one.high == same.high && one.df == 0 && one.seeds == 1);
}

/* Known values, as a percentage with one digit. */
static void wilson_known(void **state) {
    static const struct {
        int64_t k, n;
        double low, high;
    } cases[] = {{10, 10, 72.2, 100},   {50, 50, 92.9, 100}, {100, 100, 96.3, 100}, {500, 500, 99.2, 100},
                 {94, 100, 87.5, 97.2}, {0, 10, 0, 27.8},    {1, 2, 9.5, 90.5}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct interval w = wilson(cases[i].k, cases[i].n);
        near(100 * w.low, cases[i].low, 0.05);
        near(100 * w.high, cases[i].high, 0.05);
        near(w.value, (double)cases[i].k / (double)cases[i].n, 0);
        assert_int_equal(w.n, cases[i].n);
    }
    assert_true(wilson(500, 500).high == 1 && wilson(0, 10).low == 0);
    assert_true(isnan(wilson(0, 0).value) && isnan(wilson(0, 0).low));
}

enum { DOCUMENTS = 60 };
struct data {
    double va[DOCUMENTS], vb[DOCUMENTS], w[DOCUMENTS];
};

/* Documents of unequal length whose difficulty is shared by A and B; the ratios are 2 and 2 - gain in the population. */
static void draw(struct data *d, struct rng *r, double gain) {
    for (int i = 0; i < DOCUMENTS; i++) {
        double difficulty = 0.2 * rng_normal(r);
        d->w[i] = 500 + 1500 * rng_uniform(r);
        d->va[i] = d->w[i] * (2 + difficulty + 0.01 * rng_normal(r));
        d->vb[i] = d->w[i] * (2 - gain + difficulty + 0.01 * rng_normal(r));
    }
}

static void coverage(void **state) {
    enum { TRIALS = 200 };
    struct rng r;
    struct data d;
    int single = 0, paired = 0;
    (void)state;
    rng_seed(&r, 7, 1);
    for (int i = 0; i < TRIALS; i++) {
        draw(&d, &r, 0.02);
        struct interval a = bootstrap_ratio(d.va, d.w, DOCUMENTS, 1), p = bootstrap_paired(d.va, d.w, d.vb, d.w, DOCUMENTS, 1);
        single += a.low <= 2 && 2 <= a.high;
        paired += p.low <= 0.02 && 0.02 <= p.high;
        assert_true(a.low < a.value && a.value < a.high && a.n == DOCUMENTS);
    }
    /* 95 % nominal; percentile intervals of 60 documents are a little narrow. Five standard deviations of the count below and
     * above. */
    if (single < 0.86 * TRIALS || single > 0.995 * TRIALS)
        fail_msg("single intervals hold the truth in %d of %d trials", single, TRIALS);
    if (paired < 0.86 * TRIALS || paired > 0.995 * TRIALS)
        fail_msg("paired intervals hold the truth in %d of %d trials", paired, TRIALS);
}

static void paired_is_narrower(void **state) {
    struct rng r;
    struct data d;
    (void)state;
    rng_seed(&r, 8, 1);
    draw(&d, &r, 0.02);
    struct interval a = bootstrap_ratio(d.va, d.w, DOCUMENTS, 1), b = bootstrap_ratio(d.vb, d.w, DOCUMENTS, 2);
    struct interval p = bootstrap_paired(d.va, d.w, d.vb, d.w, DOCUMENTS, 1);
    double apart = hypot(a.standard_error, b.standard_error);
    assert_true(p.standard_error < apart / 5);
    assert_true(p.high - p.low < (a.high - a.low) / 5);
    near(p.value, a.value - b.value, 1e-12);
    assert_true(p.low > 0);
    /* The bootstrap's standard error is that of the ratio estimator (linearised). */
    double sw = 0, s2 = 0;
    for (int i = 0; i < DOCUMENTS; i++) sw += d.w[i];
    for (int i = 0; i < DOCUMENTS; i++) s2 += pow(d.va[i] - a.value * d.w[i], 2);
    near(a.standard_error, sqrt(s2) / sw, 0.05 * a.standard_error);
}

static void same_bits(void **state) {
    struct rng r;
    struct data d;
    (void)state;
    rng_seed(&r, 9, 1);
    draw(&d, &r, 0.02);
    struct interval a = bootstrap_ratio(d.va, d.w, DOCUMENTS, 5), b = bootstrap_ratio(d.va, d.w, DOCUMENTS, 5);
    assert_memory_equal(&a, &b, sizeof a);
    struct interval c = bootstrap_ratio(d.va, d.w, DOCUMENTS, 6);
    assert_true(a.low != c.low && a.value == c.value);
    a = bootstrap_paired(d.va, d.w, d.vb, d.w, DOCUMENTS, 5);
    b = bootstrap_paired(d.va, d.w, d.vb, d.w, DOCUMENTS, 5);
    assert_memory_equal(&a, &b, sizeof a);
}

static void few_documents(void **state) {
    double v[2] = {3, 5}, w[2] = {1, 1}, zero[2] = {0, 0}, half[2] = {0, 2}, bad[2] = {NAN, 1};
    (void)state;
    struct interval one = bootstrap_ratio(v, w, 1, 1);
    assert_true(one.value == 3 && one.n == 1 && isnan(one.low) && isnan(one.high) && isnan(one.standard_error));
    assert_true(isnan(bootstrap_ratio(v, w, 0, 1).value));
    assert_true(isnan(bootstrap_ratio(v, zero, 2, 1).value));
    struct interval gap = bootstrap_ratio(v, half, 2, 1); /* resamples without any weight are left out */
    assert_true(gap.value == 4 && isfinite(gap.low) && isfinite(gap.high));
    struct interval nan = bootstrap_ratio(bad, w, 2, 1);
    assert_true(isnan(nan.value) && isnan(nan.low));
    struct interval equal = bootstrap_paired(v, w, v, w, 2, 1);
    assert_true(equal.value == 0 && equal.low == 0 && equal.high == 0);
}

static double harmonic(const double *mean) { return 2 * mean[0] * mean[1] / (mean[0] + mean[1]); }

/* Several means: each is the ratio with weights of 1, bit for bit; what is derived is resampled with them. */
static void several_means(void **state) {
    enum { N = 37 };
    double rows[N][2], column[2][N], ones[N], sums[N], root = 0;
    struct interval out[3], one[3];
    struct rng r;
    (void)state;
    rng_seed(&r, 10, 1);
    for (int i = 0; i < N; i++) {
        ones[i] = 1;
        for (int c = 0; c < 2; c++) rows[i][c] = column[c][i] = 1 + c + rng_uniform(&r);
    }
    bootstrap_means(out, rows[0], N, 2, harmonic, 5);
    for (int c = 0; c < 2; c++) {
        struct interval same = bootstrap_ratio(column[c], ones, N, 5);
        assert_memory_equal(&out[c], &same, sizeof same);
    }
    near(out[2].value, 2 * out[0].value * out[1].value / (out[0].value + out[1].value), 1e-15);
    /* linearised: the derivatives of the harmonic mean times what each row is off */
    double a = out[0].value, b = out[1].value, s = (a + b) * (a + b);
    for (int i = 0; i < N; i++) sums[i] = 2 * b * b / s * (column[0][i] - a) + 2 * a * a / s * (column[1][i] - b);
    for (int i = 0; i < N; i++) root += sums[i] * sums[i];
    near(out[2].standard_error, sqrt(root) / N, 0.05 * out[2].standard_error);
    near(out[2].high - out[2].low, 2 * 1.96 * out[2].standard_error, 0.05 * (out[2].high - out[2].low));
    bootstrap_means(one, rows[0], 1, 2, harmonic, 5);
    assert_true(one[0].value == rows[0][0] && one[2].value == harmonic(rows[0]) && isnan(one[0].low) && isnan(one[2].high));
}

/* Where no trial differs the ends are known in closed form; otherwise they solve |score| = 1.96. */
static void paired_shares_known(void **state) {
    (void)state;
    double z2 = 1.959963984540054 * 1.959963984540054;
    for (int64_t n = 1; n < 1000; n = 3 * n + 1) { /* no trial differs: n d / (1 - d) = z^2 */
        struct interval i = paired_shares(0, 0, n);
        assert_true(i.value == 0);
        near(i.high, z2 / ((double)n + z2), 1e-9);
        near(i.low, -i.high, 1e-9);
    }
    struct interval one = paired_shares(30, 0, 30), other = paired_shares(0, 30, 30), some = paired_shares(9, 3, 44);
    assert_true(one.value == 1 && one.high > 1 - 1e-9);
    near(one.low, (30 - z2) / (30 + z2), 1e-9); /* all differ one way: n (1 - d) / (1 + d) = z^2 */
    near(other.low, -one.high, 1e-9);
    near(other.high, -one.low, 1e-9);
    near(some.value, 6.0 / 44, 1e-12); /* numerical maximum likelihood in another program */
    near(some.low, -0.0200958, 1e-6);
    near(some.high, 0.2947856, 1e-6);
    assert_true(isnan(paired_shares(0, 0, 0).value));
}

/* Against enumeration of all v^n draws, and for 26 draws of 10 against 200,000 simulated ones (0.2046). */
static void commonest(void **state) {
    static const struct {
        int n, v;
        double share;
    } known[] = {{1, 10, 1}, {2, 10, 0.55}, {5, 2, 0.6875}, {4, 10, 0.3835}, {7, 1, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(fabs(commonest_share(known[i].n, known[i].v) - known[i].share) < 1e-12);
    for (int v = 2; v <= 4; v++) {
        int64_t draws = 1, sum = 0;
        for (int i = 0; i < 6; i++) draws *= v;
        for (int64_t d = 0; d < draws; d++) {
            int count[4] = {0}, most = 0;
            int64_t rest = d;
            for (int i = 0; i < 6; i++, rest /= v) count[rest % v]++;
            for (int i = 0; i < v; i++) most = count[i] > most ? count[i] : most;
            sum += most;
        }
        assert_true(fabs(commonest_share(6, v) - (double)sum / (double)draws / 6) < 1e-12);
    }
    assert_true(fabs(commonest_share(26, 10) - 0.2046) < 1e-3);
    assert_true(fabs(commonest_share(200, 10) - 0.1359) < 1e-3);
    assert_true(fabs(commonest_share(3, 1e15) - 1.0 / 3) < 1e-9);
    assert_true(isnan(commonest_share(0, 10)) && isnan(commonest_share(513, 10)) && isnan(commonest_share(2, NAN)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles),          cmocka_unit_test(student),       cmocka_unit_test(seeds_and_documents),
        cmocka_unit_test(wilson_known),       cmocka_unit_test(coverage),      cmocka_unit_test(same_bits),
        cmocka_unit_test(paired_is_narrower), cmocka_unit_test(few_documents), cmocka_unit_test(paired_shares_known),
        cmocka_unit_test(several_means),      cmocka_unit_test(commonest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
