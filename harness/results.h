/* results.h - one folder per experiment: results.csv, samples.csv, curves.csv, runs/ID.json, texts/. One process owns a folder
 * (lock). Each of the three may be packed by gzip (samples.csv.gz): it is read as it is, and unpacked when the folder is opened to
 * write.
 */
#ifndef INFINIBENCH_RESULTS_H
#define INFINIBENCH_RESULTS_H

#include "util.h"

#define RESULTS_SCHEMA 1
/* Header of results.csv, fixed:
 * schema,run,experiment,row,architecture,stage,seed,task,task_version,split,condition,metric,unit,context,position,writes,value,n,
 * standard_error,low,high,cell
 * context: tokens; position: text ("1", "2-4", "all"); writes: memory writes between needle and query, -1 = not meant;
 * standard_error, low, high: empty when NaN. */
struct measurement {
    const char *split, *condition; /* condition: sorted key=value pairs joined by ';', "" = none */
    const char *metric, *unit, *position;
    int64_t context, writes, n;
    double value, standard_error, low, high;
};
struct result_row { /* a line of results.csv, read back */
    char run[40], experiment[64], row[64], architecture[40], stage[40], task[40], split[24], condition[128], metric[48], unit[32],
        position[24], cell[20];
    int64_t seed, task_version, context, writes, n;
    double value, standard_error, low, high;
};
#define SAMPLE_NAME 96 /* bytes of a sample's name, its end included */
/* Header of samples.csv: run,row,seed,task,split,condition,metric,sample,position,value,weight,cell
 * value is a sum and weight its denominator (nats and bytes of a document at a position): the ratio of sums is the metric. */
struct sample_row {
    char run[40], row[64], task[40], split[24], condition[128], metric[48], sample[SAMPLE_NAME], position[24], cell[20];
    int64_t seed;
    double value, weight;
};
/* Header of curves.csv: run,row,stage,seed,step,tokens,metric,value,cell (metric: loss, grad_norm, lr, gate.L.H ...) */

struct results; /* an open, locked folder */
/* Creates the folder if needed. Errors: in use by another process (with its pid), another schema, not writable. */
struct results *results_open(const char *folder, struct error *e);
void results_close(struct results *r);
const char *results_folder(const struct results *r);
bool results_has_cell(const struct results *r, const char *cell);
/* A cell is written whole: rows and samples are collected, then appended to samples.csv, curves.csv and at last results.csv, each
 * fsynced; a torn last line of an earlier crash is cut off at open. A failed save is fatal (an error to be passed up to exit). */
struct cell_writer *cell_begin(struct results *r, const char *cell, const char *run, const char *experiment, const char *row,
                               const char *architecture, const char *stage, int64_t seed, const char *task, int task_version);
void cell_measure(struct cell_writer *w, const struct measurement *m);
/* A value that has no interval and is of no number of memory writes: standard_error, low, high NaN, writes -1, whatever m says. */
void cell_value(struct cell_writer *w, const struct measurement *m);
void cell_sample(struct cell_writer *w, const char *split, const char *condition, const char *metric, const char *sample,
                 const char *position, double value, double weight);
void cell_curve(struct cell_writer *w, int64_t step, int64_t tokens, const char *metric, double value);
/* A text that the model said, kept in texts/CELL.jsonl.gz (said.h); context in tokens, sample as in samples.csv. */
void cell_said(struct cell_writer *w, const char *split, const char *condition, int64_t context, const char *sample,
               const char *text);
int cell_commit(struct cell_writer *w, struct error *e); /* also frees */
void cell_drop(struct cell_writer *w);
/* runs/ID.json, atomically; json is a jansson object owned by the caller. */
struct json_t;
int results_save_run(struct results *r, const char *run, struct json_t *json, struct error *e);

/* Reading (also without the lock). Errors name file and line. */
struct result_row *results_read(const char *folder, int64_t *count, struct error *e);
struct sample_row *samples_read(const char *folder, int64_t *count, struct error *e);

#endif
