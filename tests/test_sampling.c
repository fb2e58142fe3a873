/* test_sampling.c - the kernel that draws a token: frequencies against the distribution in closed form, by temperature and top-p.
 */
#include "support/kernel_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct kernels *cpu;

enum { SYMBOLS = 6, DRAWS = 60000 };

static void draw(int32_t *id, const double *probability, double temperature, double top_p) {
    struct kernel_case random = {.random = 12345};
    real *logits = malloc(sizeof(real) * DRAWS * SYMBOLS), *u = malloc(sizeof(real) * DRAWS),
         *tmp = malloc(sizeof(real) * DRAWS * SYMBOLS);
    int32_t *order = malloc(sizeof(int32_t) * DRAWS * SYMBOLS);
    for (int i = 0; i < DRAWS; i++) {
        u[i] = (real)(0.9999999 * case_uniform(&random));
        for (int v = 0; v < SYMBOLS; v++) logits[i * SYMBOLS + v] = (real)(log(probability[v]) + 3);
    }
    u[0] = 0;
    u[1] = (real)0.99999994;
    cpu->sample(id, logits, u, temperature, top_p, tmp, order, DRAWS, SYMBOLS);
    free(logits);
    free(u);
    free(tmp);
    free(order);
}

static void frequencies_are(const double *probability, double temperature, double top_p, const double *expected) {
    int32_t *id = malloc(sizeof(int32_t) * DRAWS);
    double count[SYMBOLS] = {0}, chi2 = 0;
    draw(id, probability, temperature, top_p);
    for (int i = 0; i < DRAWS; i++) {
        assert_true(id[i] >= 0 && id[i] < SYMBOLS);
        count[id[i]]++;
    }
    for (int v = 0; v < SYMBOLS; v++) {
        double e = expected[v] * DRAWS;
        if (e == 0)
            assert_true(count[v] == 0);
        else
            chi2 += (count[v] - e) * (count[v] - e) / e;
    }
    if (!(chi2 < 20.5)) /* 5 degrees of freedom, p = 0.001 */
        fail_msg("temperature %g, top_p %g: chi-square %g", temperature, top_p, chi2);
    free(id);
}

static void test_sampling(void **state) {
    (void)state;
    const double p[SYMBOLS] = {0.05, 0.3, 0.1, 0.4, 0.03, 0.12};
    frequencies_are(p, 1, 1, p);
    frequencies_are(p, 1, 0.39, (double[]){0, 0, 0, 1, 0, 0});
    frequencies_are(p, 1, 0.6, (double[]){0, 3. / 7, 0, 4. / 7, 0, 0});
    frequencies_are(p, 1, 0.81, (double[]){0, 0.30 / 0.82, 0, 0.40 / 0.82, 0, 0.12 / 0.82});
    frequencies_are(p, 1, 1e-9, (double[]){0, 0, 0, 1, 0, 0});
    double square[SYMBOLS], sum = 0;
    for (int v = 0; v < SYMBOLS; v++) sum += square[v] = p[v] * p[v];
    for (int v = 0; v < SYMBOLS; v++) square[v] /= sum;
    frequencies_are(p, 0.5, 1, square);
    const double even[SYMBOLS] = {1. / 6, 1. / 6, 1. / 6, 1. / 6, 1. / 6, 1. / 6};
    frequencies_are(even, 1, 0.49, (double[]){1. / 3, 1. / 3, 1. / 3, 0, 0, 0}); /* ties: smaller id */
    frequencies_are(even, 0, 1, (double[]){1, 0, 0, 0, 0, 0});
    frequencies_are(p, 0, 0.1, (double[]){0, 0, 0, 1, 0, 0});
}

int main(int argc, char **argv) {
    (void)argc;
    cpu_choose_core(argv);
    cpu = kernels_cpu(3, NULL);
    if (!cpu) {
        fprintf(stderr, "there is no CPU backend\n");
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sampling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
