/* faults.h - places where a fault can be planted to test the accuracy gate (make check-power, docs/ci.md).
 *
 * In the product FAULT(...) is the constant 0 and nothing of it is left in the program. The test-only binary is built with
 * INFINIBENCH_FAULTS and tests/faults.c; there the environment variable INFINIBENCH_FAULT names the one fault that is planted. */
#ifndef INFINIBENCH_FAULTS_H
#define INFINIBENCH_FAULTS_H

#include <stdbool.h>

#ifdef INFINIBENCH_FAULTS
#define FAULT(name) fault_planted(#name)
#else
#define FAULT(name) 0
#endif
bool fault_planted(const char *name); /* tests/faults.c: not in the product */

#endif
