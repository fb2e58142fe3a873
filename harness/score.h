/* score.h - judging a foreign model: the files that hold its outputs, and the identity of the cell that they make.
 *
 * The `score` of a task (task.h) calls score_expect with the names of its samples, score_nll for each of them, then score_begin,
 * which opens the results folder and finds out whether these very outputs were judged before, and measures into r->out as its
 * `run` does. Whatever is wrong with the files is said before score_begin: until then nothing is written. */
#ifndef INFINIBENCH_SCORE_H
#define INFINIBENCH_SCORE_H

#include "task.h"

#define FOREIGN "foreign" /* the architecture of such rows in results.csv */

/* A file that was read, for runs/ID.json. */
struct score_file {
    char *sample;
    uint64_t hash; /* XXH3 of its bytes */
    int64_t values;
    bool sized; /* it gives the bytes of each token: another tokenizer than ours */
};
struct score_run {
    const struct task *task;
    const char *place; /* --nll: a folder with SAMPLE.npy for each sample, or the file of the only sample */
    const char *folder, *row;
    const struct tokenizer *tokenizer;
    const struct options *options; /* of the task */
    int64_t segment, seed;         /* tokens of a segment, in which positions are counted */
    bool replace;                  /* the row may be there with other outputs */
    /* what the calls below leave */
    struct score_file *files;
    int file_count;
    uint64_t data; /* hash of what was scored */
    char cell[20], run[40];
    struct results *results; /* open after score_begin */
    struct cell_writer *out; /* NULL after score_begin: the cell is there already */
};
/* Nats of each token of a sample; bytes is NULL where the file does not give them. */
struct score_nll {
    int64_t n;
    double *nats, *bytes;
};

/* Does the task judge foreign outputs? The error lists those that do. */
int score_offered(const struct task *t, struct error *e);
/* Options of the task that say how a model is run and mean nothing here are refused if they were given. keys ends with NULL. */
int score_refuse(const struct score_run *r, const char *const *keys, struct error *e);
/* Is there a file for each sample? A file that belongs to none is named on standard error and left out. */
int score_expect(const struct score_run *r, const char *const *samples, int count, struct error *e);
/* Reads and checks the file of a sample: [n] nats or [n, 2] nats and bytes; finite, not negative, bytes whole numbers. */
int score_nll(struct score_run *r, const char *sample, struct score_nll *out, struct error *e);
void score_nll_free(struct score_nll *n);
char *score_path(const struct score_run *r, const char *sample); /* of a sample's file, for sentences; malloc'd */
/* The identity of the cell, from everything above and the files read. Refuses a row that was trained here, and one that is there
 * with other outputs unless `replace` is set. split: what the measurements will say. */
int score_begin(struct score_run *r, const char *split, uint64_t data, struct error *e);
void score_close(struct score_run *r);

/* Did a later foreign cell of the same row, seed, task and split take the place of that of line i? */
bool score_replaced(const struct result_row *rows, int64_t count, int64_t i);

#endif
