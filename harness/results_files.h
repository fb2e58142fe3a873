/* results_files.h - the headers of the three CSV files, reading curves, and taking over the cells of a job's folder.
 *
 * For experiment_run.c and the report; tasks need results.h only. */
#ifndef INFINIBENCH_RESULTS_FILES_H
#define INFINIBENCH_RESULTS_FILES_H

#include "results.h"

#define RESULTS_HEADER                                                                                                             \
    "schema,run,experiment,row,architecture,stage,seed,task,task_version,split,condition,metric,unit,context,position,writes,"     \
    "value,n,"                                                                                                                     \
    "standard_error,low,high,cell"
#define SAMPLES_HEADER "run,row,seed,task,split,condition,metric,sample,position,value,weight,cell"
#define CURVES_HEADER "run,row,stage,seed,step,tokens,metric,value,cell"

/* FOLDER/commit.tmp, there while a commit runs or after one that did not end: bytes that samples.csv, curves.csv and results.csv
 * had before it. 1; 0: there is none; -1: something else is there (a sentence in e). */
enum results_file { SAMPLES, CURVES, RESULTS, FILES };
int results_journal(const char *folder, int64_t length[FILES], struct error *e);

struct curve_row {
    char run[40], row[64], stage[40], metric[48], cell[20];
    int64_t seed, step, tokens;
    double value;
};
struct curve_row *curves_read(const char *folder, int64_t *count, struct error *e);
/* Cells of `from` that r does not have are appended to r, all in one commit. */
int results_merge(struct results *r, struct results *from, struct error *e);

#endif
