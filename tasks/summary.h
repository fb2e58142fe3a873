/* summary.h - what the tasks summarize and chronicle measure of summaries: ROUGE with intervals, and lengths. */
#ifndef INFINIBENCH_SUMMARY_H
#define INFINIBENCH_SUMMARY_H

#include "harness/task.h"
#include "rouge.h"

#define SUMMARY_UNIT "F1 x 100" /* as the tables of the literature print it */

struct summary_place { /* where measurements go */
    struct cell_writer *out;
    const char *split, *condition;
    int64_t context;
};
/* F1 x 100 of a text, 0-terminated, against references: the largest of each kind. */
int summary_score(struct rouge *r, double f1[ROUGE_KINDS], const char *said, const char *const *references, int count,
                  struct error *e);
/* PREFIXrouge1, PREFIXrouge2 ...: means of the first `kinds` columns of f1 [n][ROUGE_KINDS], and PREFIXoverall, the geometric mean
 * of the means of ROUGE-1, -2 and -L; bootstrap over the n texts, all columns together. */
void summary_rouge(const struct summary_place *p, const char *prefix, const double *f1, int64_t n, int kinds);
/* sum(value) / sum(weight) with bootstrap over the n texts; weight NULL: 1 each. Nothing where there is no weight at all. */
void summary_ratio(const struct summary_place *p, const char *metric, const char *unit, const char *position, int64_t writes,
                   const double *value, const double *weight, int64_t n);
/* Words, as runs of non-white-space. */
double summary_words(const char *text);

#endif
