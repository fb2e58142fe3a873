/* task.h - what a task is: one file in tasks/, one `const struct task`, one line in tasks/registry.c. */
#ifndef INFINIBENCH_TASK_H
#define INFINIBENCH_TASK_H

#include "corpus.h"
#include "results.h"
#include "stats.h"
#include "stream.h"

struct metric {
    const char *name, *unit;
    int direction; /* +1 higher is better, -1 lower is better, 0 neither */
};
struct task_run {
    struct model *model;
    const struct tokenizer *tokenizer;
    const struct options *options; /* of the task */
    const struct corpus *train;    /* what the model was trained on, if it was a corpus; NULL */
    uint64_t seed;
    struct cell_writer *out;
};
struct score_run;
struct task {
    const char *name;
    int version;                    /* bumped whenever a number could move */
    const char *summary, *protocol; /* protocol in words: state carried or reset, what is scored, lengths */
    const struct metric *metrics;   /* ends with name NULL */
    const struct option *options;   /* ends with key NULL */
    int (*run)(struct task_run *r, struct error *e);
    /* Training source of the task (NULL: it cannot be trained on). */
    struct source *(*source)(const struct options *o, const struct tokenizer *t, uint64_t seed, struct error *e);
    /* Hash of the data that the task would read, for the cell identity; NULL: none beyond the options. */
    int (*data_hash)(const struct options *o, const struct tokenizer *t, uint64_t *hash, struct error *e);
    /* Judges the outputs of a foreign model (score.h) with the measures of run; NULL: the task offers it not. */
    int (*score)(struct score_run *r, struct error *e);
    bool draws; /* run draws from task_run.seed; most tasks have a seed among their options instead, or draw nothing */
};
extern const struct task *const tasks[]; /* ends with NULL */
const struct task *task_find(const char *name, struct error *e);

#endif
