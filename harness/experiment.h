/* experiment.h - an experiment is a text file; running it is resumable and does nothing twice.
 *
 * `infinibench list keys` prints all keys, shape and training keys too, each with a line of help.
 *
 * [experiment]  title, paper (reference), table (of results/paper), seeds (list: 1, 2, 5-8)
 * [budget]      preset, tokenizer, shape keys (config_set), train_options keys
 * [stage NAME]  source = kjv | task:passkey | "kjv:0.7, task:passkey:0.3" (mixture by documents), limit, any train_options key,
 *               from = STAGE (default: the stage before; the first starts from initialisation), from = init (initialisation
 *               again: a chain of its own beside the stages before), seeds (default: all),
 *               only = ROW, ROW (default: all rows that go through the stage before),
 *               keep = SEEDS (models of these seeds after this stage come with the results, in RESULTS/models; default: none),
 *               batch, segments (shape of the step in this stage, instead of the row's), SECTION.key = value (an option of the task
 *               SECTION of the source, in this stage: a curriculum is a list of short stages)
 * [row NAME]    architecture, its options, any shape or train key that differs, only these; seeds (default: all); start = FILE (a
 *               model that it starts from instead of a random one, of this architecture and these shapes)
 * [task NAME]   task (default NAME), after = STAGE (default: the last), after = init (the model as it is initialised, or as its
 *               start file is), after = none (never measured: the section describes a source, task:NAME), only = ROW, ROW
 *               (default: all rows), seeds (default: all), part_of = NAME (an earlier section with this task and after: the
 *               report shows both as that one, e.g. the long contexts that only one seed is measured on), the task's options
 *
 * Unknown keys, sections, architectures, tasks, presets: an error with file, line, and the nearest known name. */
#ifndef INFINIBENCH_EXPERIMENT_H
#define INFINIBENCH_EXPERIMENT_H

#include "task.h"
#include "train.h"

#define EXPERIMENT_LIMIT 64
#define SEED_LIMIT 32
struct seed_list {
    int64_t seed[SEED_LIMIT];
    int count;
};
#define STAGE_OPTIONS 16
struct stage_option {
    char section[64], key[48], value[OPTION_LENGTH];
};
struct stage_spec {
    char name[40], from[40], source[192];
    int64_t limit;
    struct seed_list seeds;                     /* those of the experiment's seeds that go through this stage */
    struct seed_list keep;                      /* those of them whose models stay with the results */
    uint64_t rows;                              /* bit i: row i goes through it */
    struct options train;                       /* resolved: budget, stage; a row's own keys come on top */
    int64_t batch, segments;                    /* shape of the step; 0: the row's */
    struct stage_option options[STAGE_OPTIONS]; /* of tasks in the source */
    int option_count;
};
struct row_spec {
    char name[64];
    struct model_config config; /* resolved */
    char overrides[16][2][64];  /* train keys of the row */
    int override_count;
    struct seed_list seeds; /* of the experiment's */
    char start[192];        /* the model that it starts from; "": initialised */
    uint64_t start_hash;    /* of that file */
};
struct task_spec {
    char name[40], after[40], part_of[40]; /* part_of: "" or the section that stands in the report in place of this one */
    const struct task *task;
    struct options options;
    struct seed_list seeds; /* of those of its stage */
    uint64_t rows;          /* bit i: measured on row i */
};
struct experiment {
    char *path, name[64], *title, *paper; /* name: file name without folder and ending */
    char table[40];                       /* results/paper/TABLE.csv that the report sets beside ours; "": none */
    char tokenizer[256];
    char *checkpoints; /* folder of the models in training */
    struct seed_list seeds;
    int stage_count, row_count, task_count;
    struct stage_spec stages[EXPERIMENT_LIMIT];
    struct row_spec rows[EXPERIMENT_LIMIT];
    struct task_spec tasks[EXPERIMENT_LIMIT];
};
/* Tokens for which carried and attended elements are stated, where they grow with the context. */
#define STATE_CONTEXT 32768
/* The keys that sections have of their own (not shape, training, architecture and task keys); ends with section NULL. */
struct section_key {
    const char *section, *key, *help;
};
extern const struct section_key experiment_keys[];
/* seeds: a list that stands in place of the file's own, NULL: none. */
struct experiment *experiment_read(const char *path, const char *seeds, struct error *e);
void experiment_free(struct experiment *x);
/* The fully resolved experiment as an ini text (every default written out, but of OPTION_LATER); malloc'd. */
char *experiment_resolved(const struct experiment *x);
/* 16 hexadecimal digits: hash of the resolved row, the stages up to the task's, tokenizer, seed, task, its options, version and
 * data. */
int experiment_cell(char cell[20], const struct experiment *x, const struct row_spec *row, int64_t seed,
                    const struct task_spec *task, struct error *e);

struct run_options {
    const char *only;  /* names of rows, a list, or NULL */
    const char *tasks; /* sections that are measured, a list, and no stage is trained that they do not need; NULL: all */
    int64_t seed;      /* -1: all of the experiment's */
    const char *seeds; /* what experiment_read was given; jobs are given it too */
    int jobs;          /* processes, each with threads/jobs threads */
    bool dry_run;
    const char *out; /* NULL: results/NAME */
    int threads;
    const struct kernels *k;
    const struct backend_info *info;
};
/* Trains what is missing (checkpoints under CHECKPOINTS/EXPERIMENT/ROW-seedN-HASH/STAGE, resumable), measures what is missing. A
 * trained model is taken from its checkpoint, or from the models kept with the results, before it is trained again. */
int experiment_run(const struct experiment *x, const struct run_options *o, struct error *e);
/* One model of an experiment trained and saved: `infinibench train`. seed -1: the row's first. stage NULL: the last that the row
 * goes through; "init": none. */
int experiment_train(const struct experiment *x, const char *row, int64_t seed, const char *stage, const char *out,
                     const struct run_options *o, struct error *e);

#endif
