/* check.h - the accuracy regression gate: results of a folder against committed expectations (docs/ci.md).
 *
 * expected.csv has one line a cell. An exact one may differ by a stated bound. A statistical one may differ by what training seeds
 * differ by: its tolerance follows from the spread over the seeds it was measured with, so that all statistical cells together
 * raise a false alarm in CHECK_FALSE_ALARMS of the runs (check_tolerance). Which measurements are cells, and of which kind, stands
 * in rules.csv. */
#ifndef INFINIBENCH_CHECK_H
#define INFINIBENCH_CHECK_H

#include "util.h"

#define CHECK_FALSE_ALARMS 0.01 /* of a whole run, not of a cell */
#define CHECK_EXPECTED_HEADER "row,stage,task,split,condition,metric,context,position,writes,kind,value,spread,df,seeds"
#define CHECK_RULES_HEADER "task,stage,row,condition,position,metric,kind,bound"

struct check_options {
    const char *folder;       /* results of infinibench run */
    const char *against;      /* expected.csv */
    const char *rules;        /* NULL: rules.csv beside it */
    const char *junit, *json; /* NULL: FOLDER/junit.xml, FOLDER/check.json */
    bool partial;             /* what the folder has not run is left out, not missing */
    int64_t seed;             /* of this training seed; -1: all of the folder, their mean */
    bool all;                 /* the table has every cell */
    const char *reason;       /* of check_update; NULL: none */
    bool seed_cells;          /* of check_update: only what the rules call exact for one seed; the rest stays */
};
/* Holds the folder against the expectations: table to out, JUnit XML and JSON on disk. A cell that is not there, one that is not
 * expected, and NaN fail. 0: all pass, 1: some do not, -1: cannot be judged. */
int check_run(const struct check_options *o, FILE *out, struct error *e);
/* Shows old and new, then writes `against` anew, and what changed into history.csv beside it. With at least as many seeds as the
 * file has (2 or more) everything is measured anew, spreads too; with fewer only what left its tolerance, what is new and what is
 * gone. What leaves its tolerance, goes, or widens a tolerance by half needs a reason. 0: written (or nothing to write), 1: refused
 * for want of a reason, -1: cannot be done. */
int check_update(const struct check_options *o, FILE *out, struct error *e);

/* How far the mean of k seeds may lie from a mean of n seeds: Student's t at 1 - CHECK_FALSE_ALARMS / (2 cells), df degrees of
 * freedom, times spread sqrt(1/n + 1/k). Bonferroni: cells of one model are not independent, and this needs no independence. */
double check_tolerance(double spread, double df, int64_t n, int64_t k, int64_t cells);

#endif
