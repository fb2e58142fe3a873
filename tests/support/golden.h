/* golden.h - comparison of the engine with the golden states of scripts/golden.py; built in float and in double. */
#ifndef INFINIBENCH_TEST_GOLDEN_H
#define INFINIBENCH_TEST_GOLDEN_H

#include <stdio.h>

/* Compares loss, logits and every gradient of tests/golden/NAME.safetensors in all three step modes. Tolerances are relative to the
 * largest value of the tensor. Prints what is wrong (tensor, index, both values) and returns the number of tensors that are. */
int golden_check(const char *name, double logits_tolerance, double gradient_tolerance);
extern const char *const golden_names[]; /* ends with NULL */

#endif
