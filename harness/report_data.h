/* report_data.h - a results folder as reports need it: current cells only, rows in experiment order, documents paired.
 *
 * For report.c, report_tables.c, plot.c and check_cells.c. */
#ifndef INFINIBENCH_REPORT_DATA_H
#define INFINIBENCH_REPORT_DATA_H

#include "csv_io.h"
#include "results_files.h"
#include "stats.h"

#define REPORT_ROWS 64
#define REPORT_SECTIONS 160 /* stages and tasks */
#define REPORT_SEEDS 32
#define POSITIONS 5
extern const char *const position_names[POSITIONS + 1]; /* "1" .. "65+", NULL */

/* A [task] section of the experiment (without experiment.ini: a task after a stage). */
struct report_section {
    char name[40], task[40], stage[40];
    int64_t version;
    int seed_count; /* training seeds that it has results of */
};
struct report_row {
    char name[64], architecture[40], update[24];
};
struct report_setting {
    char section[64], key[64], *value; /* of experiment.ini */
};
struct report_data {
    char *folder, *title, *paper;
    char name[64], tokenizer[32], table[40];
    struct report_setting *settings;
    int setting_count;
    struct report_row rows[REPORT_ROWS];
    struct report_section sections[REPORT_SECTIONS];
    int row_count, section_count, seed_count;
    const char *full; /* what there were more of than there is room for; NULL: nothing */
    int twin, twins;  /* twin: index of the local-only row, -1: none, or several, as in a search over learning rates; how many */
    int64_t seeds[REPORT_SEEDS];
    struct result_row *results;
    struct sample_row *samples;
    struct curve_row *curves;
    int *result_section, *sample_section; /* index per line */
    int64_t result_count, sample_count, curve_count;
    int64_t *blocks, block_count; /* first lines of samples of one section, row and condition; a last one is sample_count */
};
struct report_data *report_load(const char *folder, struct error *e);
void report_data_free(struct report_data *d);
/* The value of a key in a section of experiment.ini ("row infini_linear", "budget"); NULL: not there. */
const char *report_setting(const struct report_data *d, const char *section, const char *key);
/* The learning rate of a row in a stage: its own, else that of the stage; NaN: not known. */
double report_rate(const struct report_data *d, const char *row, const char *stage);
int report_row_index(const struct report_data *d, const char *name); /* -1: none */

/* The result of a metric; seed -1: the first seed that has it. NULL: none. position NULL: "all". */
const struct result_row *report_find(const struct report_data *d, int section, const char *row, int64_t seed, const char *metric,
                                     const char *condition, const char *position);
/* Mean over the seeds; NaN if there is none. */
double report_mean(const struct report_data *d, int section, const char *row, const char *metric, const char *condition,
                   const char *position);
/* The "training" metric of a row in its last stage, mean over seeds. */
double report_training(const struct report_data *d, const char *row, const char *metric);

/* The same after one stage. */
double report_stage(const struct report_data *d, const char *stage, const char *row, const char *metric);

/* report_cost.c: the stages that led to one, backwards from itself; returns how many. */
int report_chain(const struct report_data *d, const char *stage, const char *chain[REPORT_SECTIONS]);
/* A training metric that adds up (tokens_seen, train_flops, wall_seconds) over that chain, mean over the seeds that have the stage.
 */
/* Of the row as experiment.ini describes it: elements of state after STATE_CONTEXT tokens by the formula of the paper's Table 1,
 * and parameters on top of the equal number (struct baseline, apart). NAN: not known. */
void report_shape(const struct report_data *d, const char *row, double *formula, double *apart);
double report_cost(const struct report_data *d, const char *stage, const char *row, const char *metric);

/* What is compared: samples of a row under a condition at one or several positions. */
struct selection {
    const struct report_data *data;
    int section;
    const char *row, *condition, *metric;
    unsigned positions;   /* bit i: position_names[i]; 0: "all" */
    int64_t seed;         /* -1: all */
    const char *position; /* instead of positions: exactly this text; NULL: positions */
    const char *sample;   /* names that begin with this ("L32768-"); NULL: all */
};
/* Ratio of sums with an interval over documents and, where there are several, training seeds (interval_crossed). n = documents. */
struct interval report_ratio(struct selection a);
/* Bits per byte of a row at a position (index into position_names, -1: all): from samples, else as the task wrote it. */
struct interval report_bits(const struct report_data *d, int section, const char *row, int position);
/* a - b over the (document, seed) pairs that both have, paired. */
struct interval report_difference(struct selection a, struct selection b);
/* The same for shares (value a part of weight): with one seed and samples that are right or wrong (value 0 or 1, weight 1) Tango's
 * interval, which has a width also where all samples agree; where all agree otherwise, Tango's of as many samples; never beyond -1
 * and 1. For other values report_difference. */
struct interval report_difference_shares(struct selection a, struct selection b);

#endif
