/* report_retrieval.h - what the tasks passkey, recall, summarize and chronicle measured where, pooled over training seeds; for
 * their tables and pictures.
 *
 * Both tasks write shares of right answers under a condition, a list of sorted key=value pairs. "Base condition" is that list
 * without the pairs that a table varies: the knock-out, the number of pairs of recall, the control of summarize, the reason of what
 * was skipped. */
#ifndef INFINIBENCH_REPORT_RETRIEVAL_H
#define INFINIBENCH_REPORT_RETRIEVAL_H

#include "report_data.h"

#define RETRIEVAL_LIMIT 128 /* lengths, depths, conditions, writes of one table */
#define CONDITION_SIZE 128
extern const char *const passkey_places[4];     /* start, middle, end, NULL */
extern const char *const knock_out_words[3];    /* "", "memory off", "memory zero" */
extern const char *const knock_out_settings[3]; /* NULL, "knockout=off", "knockout=zero" */

extern const char *const summary_controls[3][2]; /* condition, words: "baseline=lead", "the first words of the text" */

struct values {
    int64_t v[RETRIEVAL_LIMIT];
    int n;
};
void values_add(struct values *x, int64_t v); /* in order, once */
/* Lines of results.csv that agree with all that is set. */
struct probe {
    const struct report_data *d;
    int section;
    const char *row, *condition, *metric, *position; /* NULL: any */
    int64_t context;                                 /* 0: any */
    int64_t writes_low, writes_high;                 /* both -1: lines that are not grouped by writes */
    const struct values *seeds;                      /* only these; NULL: all */
    bool nested; /* lines of one seed are of the same texts (budgets of one narrative), else of different samples */
};
struct pooled {
    struct interval value; /* n: answers of all seeds; 0: not measured */
    int64_t samples;       /* of one seed; nested: of its largest line, so never too many */
    int seeds;
    int64_t seed[REPORT_SEEDS];
    double by_seed[REPORT_SEEDS];
};
/* Training seeds answer the same samples, so none of these errors shrinks with seeds. One line: as the task wrote it. Shares of
 * samples: Wilson with the samples of one seed. Several seeds otherwise: mean, and Student's t from the spread between seeds and
 * the mean error within one. Nested lines of one seed: from their mean error, which is the most that lines of the same texts can
 * have together. Shares end at 0 and 1, and an interval that reaches 0 or 1 goes as far from there as Wilson's of none or all right
 * in so many samples: a bootstrap has no width where all agree, and too little where all but one do. ROUGE ends at 0 and 100. */
struct pooled probe_value(const struct probe *p);

/* key=value put in, in order; NULL setting: a copy. */
void condition_with(char out[CONDITION_SIZE], const char *condition, const char *setting);
/* Without baseline, knockout, pairs and skipped. */
void condition_base(char out[CONDITION_SIZE], const char *condition);
/* The value of a key; "" if it is not there. */
const char *condition_value(const char *condition, const char *key);

/* A table or picture is about one of these: a section under one base condition. */
struct group {
    const struct report_data *d;
    int section, index, count; /* index of count base conditions of the section */
    char condition[CONDITION_SIZE];
};
int groups_of(struct group out[RETRIEVAL_LIMIT], const struct report_data *d, int section);
/* The probe of a row of the group; knock_out 0 .. 2. The condition is kept in room. */
struct probe group_probe(const struct group *g, const char *row, int knock_out, char room[CONDITION_SIZE]);

struct values passkey_lengths(const struct group *g); /* with start, middle or end, measured or skipped; ascending */
/* Depths of a grid, in 0 .. 1 (positions "0.00" .. "1.00"), times 10,000; and the lengths that have one. */
struct values passkey_depths(const struct group *g);
struct values passkey_depth_lengths(const struct group *g);
struct values summary_budgets(const struct group *g); /* tokens read before a summary, measured or skipped; ascending */
bool depth_of(const char *position, double *depth);
struct values recall_pairs(const struct group *g);
/* A metric of a row (NULL: of any) at a number of pairs. */
struct pooled recall_at(const struct group *g, const char *metric, const char *row, int knock_out, int64_t pairs);
/* Share and capacity of a reader that knows which values were read but not with which key, and answers the commonest: a control.
 * NaN where it is not known. */
double recall_commonest(const struct group *g, int64_t pairs, double *capacity);
/* Exact match by memory writes since the needle was read. Many different numbers are put into classes of powers of two. */
struct writes_class {
    int64_t low, high; /* numbers that occur in it */
};
int writes_classes(struct writes_class out[RETRIEVAL_LIMIT], const struct group *g);
/* A row's exact match in a class; *mean: the mean number of writes of its samples. */
struct pooled writes_value(const struct group *g, const char *row, struct writes_class c, double *mean);

/* The training seeds of a row that were measured at the most lengths and positions. Others are not pooled with them: a curve whose
 * points are of different seeds shows the seeds, not the lengths. */
struct values complete_seeds(const struct group *g, const char *row, int knock_out);
/* Has the row (NULL: any) other seeds? */
bool seeds_left_out(const struct group *g, const char *row);

/* Chance of a symbol of a pass key, as the task wrote it; NaN: not known. */
double passkey_chance(const struct group *g);
/* Why a length was not measured; NULL: it was not skipped. */
const char *passkey_skipped(const struct group *g, const char *row, int64_t length);
bool row_has_memory(const struct report_row *r); /* compressive memory: Infini-attention, but not the local-only twin */

/* report_gates.c: rows with a compressive memory that are a grid of initial gates (beta, ascending) and multipliers of their
 * learning rate. row: index + 1, 0: there is none. False: they are no grid. */
#define GATE_GRID 8
struct gate_grid {
    double init[GATE_GRID], rate[GATE_GRID];
    int inits, rates, row[GATE_GRID][GATE_GRID];
};
bool gate_grid(struct gate_grid *g, const struct report_data *d);
struct gate_outcome {
    double exact[3], mean, least, most; /* by place, NaN: not measured; gates of all layers and heads */
    int64_t length, n;                  /* the section's shortest length; samples a place */
};
/* False: the section has no gates or no pass keys of that row. */
bool gate_cell(struct gate_outcome *o, const struct report_data *d, int section, int row);

/* A share as it stands in tables: "98.2 [95.1, 99.4]", in per cent; with its sign where it is a difference. */
const char *show_share(struct interval i);
const char *show_length(int64_t tokens); /* 32K, 1M */
/* "repeated, 1 needle, digits": the base condition in words. */
const char *show_condition(const struct group *g);

#endif
