/* f64_golden.c - the engine in double against the golden states of scripts/golden.py: loss, logits, every gradient, all three step
 * modes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "support/golden.h"

static void golden(void **state) { assert_int_equal(golden_check(*state, 1e-6, 1e-6), 0); }

int main(void) {
    struct CMUnitTest tests[64];
    size_t n = 0;
    for (; golden_names[n] && n < sizeof tests / sizeof *tests; n++)
        tests[n] = (struct CMUnitTest){golden_names[n], golden, NULL, NULL, (void *)(uintptr_t)golden_names[n]};
    if (golden_names[n]) return fprintf(stderr, "more than %zu golden states\n", n), 1;
    return _cmocka_run_group_tests("f64_golden", tests, n, NULL, NULL);
}
