/* faults.c - which fault is planted in the test-only binary of make check-power. The list is that of the FAULT(...) in the code. */
#include "harness/faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"delta_sign",  "read_after_write", "other_row",   "gate_frozen", "rope_memory",
                                    "knn_segment", "relative_shift",   "skip_last",   "rate_low",    "rate_high",
                                    "stale_cache", "no_stemming",      "half_tokens", NULL};

static int known(const char *name) {
    int i = 0;
    while (names[i] && strcmp(names[i], name) != 0) i++;
    return names[i] != NULL;
}

/* A misspelt name would plant nothing, and the gate would seem to miss it. */
bool fault_planted(const char *name) {
    const char *planted = getenv("INFINIBENCH_FAULT");
    if (!planted || !*planted) return false;
    if (!known(planted) || !known(name)) {
        fprintf(stderr, "INFINIBENCH_FAULT = %s, FAULT(%s): no such fault in tests/faults.c\n", planted, name);
        exit(2);
    }
    return strcmp(planted, name) == 0;
}
