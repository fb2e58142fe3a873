/* check_private.h - what check_files.c (the CSV files), check_cells.c (what was measured), check.c (the verdict) and check_update.c
 * share. Nobody else includes it. */
#ifndef INFINIBENCH_CHECK_PRIVATE_H
#define INFINIBENCH_CHECK_PRIVATE_H

#include "check.h"
#include "csv_io.h"

struct check_key { /* which measurement: columns of results.csv */
    char row[64], stage[40], task[40], split[24], condition[128], metric[48], position[24];
    int64_t context, writes;
};
int check_key_order(const void *a,
                    const void *b); /* by row, stage, task, ..., for qsort; a struct that begins with a key will do */
/* Condition, context, position and writes in words; static memory of a few. */
const char *check_place(const struct check_key *k);

enum check_kind { CHECK_EXACT, CHECK_STATISTICAL, CHECK_IGNORED, CHECK_SEED };
extern const char *const check_kinds[]; /* "exact", "statistical", "ignored", "seed" */

struct expectation {
    struct check_key key; /* first: check_key_order */
    enum check_kind kind;
    double value;
    double spread; /* exact: the bound; statistical: standard deviation between seeds */
    double df;     /* statistical: degrees of freedom of the spread */
    int64_t seeds; /* statistical: value is their mean */
};
struct expectations {
    struct expectation *x; /* sorted */
    int count;
};
/* missing: a file that is not there gives none. */
int expectations_read(struct expectations *all, const char *path, bool missing, struct error *e);
int expectations_write(const struct expectations *all, const char *path, struct error *e);
void expectations_free(struct expectations *all);
int64_t expectations_statistical(const struct expectations *all);

struct rule {
    char row[64], stage[40], task[40], condition[128], metric[48], position[24]; /* patterns of the shell */
    enum check_kind kind;
    double bound; /* statistical: so many samples may always change, NaN: none */
};
struct rules {
    struct rule *x;
    int count;
};
/* path NULL: rules.csv in the folder of `against`. A file without a rule is an error: it would let everything pass unseen. */
int rules_read(struct rules *all, const char *path, const char *against, struct error *e);
void rules_free(struct rules *all);

struct cell {                /* a measurement over the seeds of the folder */
    struct check_key key;    /* first: check_key_order */
    const struct rule *rule; /* NULL: none has it */
    int64_t seeds;
    double mean, squares; /* squares: sum of squared deviations from the mean */
    double least, most;   /* NaN where one is */
    double floor;         /* the least tolerance: what the samples that may always change are worth */
    const double *values; /* by seed, ascending */
    const int64_t *seed;
};
struct cells {
    struct cell *x; /* sorted */
    int count;
    struct check_key *skipped; /* measurements `skipped` that no rule ignores */
    int skips;
    double *values;
    int64_t *seed;
};
/* Cells of the folder that a rule takes in, or that are expected. What a rule of kind `seed` has is the same for one seed only:
 * such a cell is there when all is of one seed, exact, at position "seed 21". */
int cells_read(struct cells *all, const struct check_options *o, const struct rules *rules, const struct expectations *expected,
               struct error *e);
void cells_free(struct cells *all);
const struct cell *cells_find(const struct cells *all, const struct check_key *key);
const struct expectation *expectations_find(const struct expectations *all, const struct check_key *key);

struct judgement {
    double measured, difference, tolerance;
    double errors; /* standard errors of the difference; NaN for exact ones */
    bool good;
};
/* c: a cell with the expectation's key. */
struct judgement check_judge(const struct expectation *x, const struct cell *c, int64_t statistical);
/* Whether the expectation or cell is of one seed: not judged where that seed was not run. */
bool check_of_seed(const struct check_key *key);

/* The same measurement in another row. */
bool check_same_family(const struct check_key *a, const struct check_key *b);
/* Spread and degrees of freedom of a statistical cell: the larger of its own and that of its family, pooled; n - 1. */
void check_spread(const struct cells *all, const struct cell *c, struct expectation *x);
/* Says of each seed of the folder which cells would raise an alarm against expectations from the other seeds. */
void check_left_out(const struct cells *all, bool every, FILE *out);
/* 1 and a sentence to e: the folder holds runs of more than one program; 0: it does not; -1: that cannot be read. */
int check_programs(const char *folder, struct error *e);

#endif
