/* report_memory.h - what the task memory measured, for its tables and pictures; the paper's own memory numbers. */
#ifndef INFINIBENCH_REPORT_MEMORY_H
#define INFINIBENCH_REPORT_MEMORY_H

#include "footprint.h"
#include "report_data.h"

/* results/paper/memory.csv: Table 1, and where preset and context are given the numbers that Table 2 prints for them. */
enum { P_MODEL, P_FOOTPRINT, P_LENGTH, P_UPDATE, P_RETRIEVAL, P_PRESET, P_CONTEXT, P_SIZE, P_RATIO, P_NOTE, P_COLUMNS };
struct paper_memory {
    char *field[FOOTPRINT_ROWS][P_COLUMNS];
    int64_t context[FOOTPRINT_ROWS]; /* 0: none */
    int count;
};
int paper_memory_read(struct paper_memory *p, struct error *e);
void paper_memory_free(struct paper_memory *p);

#define MEMORY_LIMIT 32
/* Contexts that a section has formulas for, ascending; returns how many. */
int memory_contexts(int64_t out[MEMORY_LIMIT], const struct report_data *d, int section);
/* Names of the shapes that formulas were computed for beside the models' own; returns how many. */
int memory_shapes(const char *out[MEMORY_LIMIT], const struct report_data *d, int section);
/* Mean over the seeds; shape "": the model itself. NaN: not measured. */
double memory_value(const struct report_data *d, int section, int row, const char *shape, const char *metric, int64_t context);
/* The largest that any row has. NaN: none. */
double memory_largest(const struct report_data *d, int section, const char *shape, const char *metric, int64_t context);
/* The row's configuration as experiment.ini has it, or its architecture's defaults; false: the architecture is not in the registry.
 */
bool memory_config(const struct report_data *d, int row, struct model_config *c);

#endif
