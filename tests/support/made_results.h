/* made_results.h - made-up cells of results folders, and what a report of one says; for the suites of the reports. */
#ifndef INFINIBENCH_TEST_MADE_RESULTS_H
#define INFINIBENCH_TEST_MADE_RESULTS_H

#include "../../harness/results.h"
#include "../../harness/stats.h"

/* A line of results.csv; unit "", split "generated". */
void put_value(struct cell_writer *w, const char *condition, const char *metric, int64_t context, const char *position,
               int64_t writes, struct interval v);
struct interval plain(double x, int64_t n); /* without an interval */
double capacity(double n, double share);    /* of recall with ten values */
/* Recall of 1, 4 and 16 pairs, kind remember: the first right[k] of 50 samples. way: "", or how the memory is knocked out. */
void fill_recall(struct cell_writer *w, const char *way, const int64_t right[3]);
char *printed(const char *name); /* what the report of FOLDER/name prints */
/* From a heading on, the line that begins with `words` must hold `part`. */
void check_line(const char *text, const char *heading, const char *words, const char *part, int line);

#endif
