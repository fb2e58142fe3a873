/* experiment_private.h - what experiment.c and experiment_stage.c (reading), experiment_cell.c (identity), experiment_run.c and
 * experiment_whole.c (running), experiment_job.c (processes), experiment_plan.c and experiment_dry.c (the plan) share. Nobody else
 * includes it. */
#ifndef INFINIBENCH_EXPERIMENT_PRIVATE_H
#define INFINIBENCH_EXPERIMENT_PRIVATE_H

#include "csv_io.h"
#include "experiment.h"
#include "results_files.h"

#include <jansson.h>

#define NO_STAGE "init" /* from = init, after = init: the freshly initialised model */
#define NEVER "none"    /* after = none: the section only describes a training source */
#define SOURCE_PARTS 8

/* One component of a stage's source: a corpus, or a task that generates. */
struct source_part {
    char name[160]; /* corpus name or path; of a task: its section or registry name */
    double weight;  /* normalised to sum 1 */
    const struct task *task;
    struct options options; /* of the task */
};
/* The components of the stage's source, task options as the stage has them. */
int source_parse(const struct experiment *x, const struct stage_spec *stage, struct source_part parts[SOURCE_PARTS], int *count,
                 struct error *e);
const struct stage_spec *stage_find(const struct experiment *x, const char *name); /* NULL: NO_STAGE */
bool seed_listed(const struct seed_list *l, int64_t seed);
/* Whether the row is trained in this stage (NULL: initialisation) with this seed; whether a task is measured on it. */
bool row_trained(const struct experiment *x, const struct row_spec *row, const struct stage_spec *stage, int64_t seed);
bool row_measured(const struct experiment *x, const struct row_spec *row, const struct task_spec *task, int64_t seed);
/* Options of a stage with the row's own keys on top. */
void stage_train_options(struct options *out, const struct row_spec *row, const struct stage_spec *stage);
/* The row's configuration with the shape of the stage's step (NULL: the row's). */
void stage_config(struct model_config *out, const struct row_spec *row, const struct stage_spec *stage);
/* Whether a task of the stage's source gives carried-in states (a filler). Sources that cannot be made here count as having none.
 */
bool stage_carried_in(const struct experiment *x, const struct stage_spec *stage, const struct tokenizer *t);
/* What the stage trains on, with this seed; data (or NULL): an array that gets the name, hash and weight of each part. */
struct source *stage_source(const struct experiment *x, const struct stage_spec *stage, const struct tokenizer *t, int64_t seed,
                            json_t *data, struct error *e);
/* Training corpora are opened once per process and kept. */
/* The name of the corpus that the model was last trained on, walking back through the stages: returns the stage; NULL: none, and
 * the name is that of the text that tasks take then. */
const struct stage_spec *trained_on_name(char name[160], const struct experiment *x, const struct stage_spec *stage);
const struct corpus *stage_corpus(const char *name, int64_t limit, const struct tokenizer *t, struct error *e);
/* Hash of row, seed and the chain of stages up to this one (NULL: the initialised row), 16 digits. */
int chain_hash(char hash[20], const struct experiment *x, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
               struct error *e);
/* Cell of the "training" task of a stage. */
int training_cell(char cell[20], const struct experiment *x, const struct row_spec *row, int64_t seed,
                  const struct stage_spec *stage, struct error *e);
/* Every cell of the experiment as lines "; cell ROW SEED STAGE TASK CELL" for the end of experiment.ini. */
int cell_list(struct text_buffer *b, const struct experiment *x, struct error *e);

#define TRAINING_TASK "training"
#define TRAINING_VERSION 1

/* One (row, seed): trained and measured into r; `have` tells which cells need not be done. */
struct session {
    const struct experiment *x;
    const struct run_options *o;
    struct results *r;             /* NULL: nothing is written there (train, --dry-run) */
    const char *folder;            /* of the results; NULL: train */
    const struct stage_spec *last; /* train: the stage after which the model is saved; NULL: as it is initialised */
    char (*known)[20];             /* sorted: cells that are there in a folder that is only read */
    size_t known_count;
    double roof; /* GFLOP/s, measured on first use; 0: not yet */
    bool (*have)(const struct session *s, const char *cell);
};
/* ---- where models are (experiment_models.c) ---- */
/* CHECKPOINTS/EXPERIMENT/ROW-seedN-HASH/STAGE; NULL and a sentence on failure. */
char *checkpoint_folder(const struct experiment *x, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
                        struct error *e);
/* RESULTS/models/ROW-sN-STAGE.safetensors of a stage that keeps models. */
char *kept_path(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage);
/* Whether it is there and is the model of this chain of stages, not one of before a change. */
bool kept_model(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage);
/* Writes it if the stage keeps the models of this seed, unless it is there. */
int keep_model(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
               const struct model *m, const struct tokenizer *t, struct error *e);
/* A model that is to stay with the results and is not there, but whose checkpoint is here. */
/* The checkpoint that FILE is, is of a whole stage: of its last step, or of a model that was kept, which knows no step. What a kill
 * left in the middle is gone on with, not measured. */
bool whole_stage(const char *file, const struct row_spec *row, const struct stage_spec *stage);
bool unkept(const struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage);

/* ---- what a call asks for (experiment_wanted.c) ---- */
const struct row_spec *find_row(const struct experiment *x, const char *name, struct error *e); /* NULL: there is none */
int find_stage(const struct experiment *x, const char *name, const struct stage_spec **stage, struct error *e);
int find_wanted(const struct experiment *x, const struct run_options *o, struct error *e); /* -1: a name that is not there */
/* Whether the call asks for the row (--only), for the task (--tasks). */
bool row_wanted(const struct run_options *o, const struct row_spec *row);
bool task_wanted(const struct run_options *o, const struct task_spec *task);
/* The same, and whether the row has this seed and the call asks for it (--seed). */
bool pair_wanted(const struct session *s, const struct row_spec *row, int64_t seed);
bool pair_missing(const struct session *s, const struct row_spec *row, int64_t seed, bool *missing, struct error *e);
/* The model after a stage (NULL: initialised), trained as far as it is not; *t: its tokenizer. */
struct model *train_to(struct session *s, const struct row_spec *row, int64_t seed, const struct stage_spec *stage,
                       const struct tokenizer **t, struct error *e);
/* 0, -1: this pair failed, -2: results cannot be saved (fatal). */
int pair_run(struct session *s, const struct row_spec *row, int64_t seed, struct error *e);
int jobs_run(struct session *s, struct error *e);
int jobs_collect(struct results *r, struct error *e); /* takes over what earlier jobs left */

/* ---- what a call will do (experiment_plan.c, experiment_dry.c) ---- */
struct planned {
    const struct row_spec *row;
    int64_t seed;
    const struct stage_spec *stage; /* NULL: initialised */
    const struct task_spec *task;   /* NULL: the training of the stage */
    char cell[20];
    bool there;
    bool asked; /* false: a training that --tasks needs only where its own cells are missing */
};
#define PLAN_NOTES 16
struct plan {
    struct planned *cells; /* by pair */
    int count;
    char *notes[PLAN_NOTES]; /* data that are not here or cannot be read, a sentence each; their cells count as missing */
    int note_count;
};
void plan_make(struct plan *p, const struct session *s);
/* Whether the run would train this stage: something that is missing needs its model, and there is no file of it. */
bool plan_trains(const struct plan *p, const struct session *s, const struct planned *training);
/* Whether the stages that would be trained can draw from their tasks, with the options that each stage gives them: said of all of
 * them before the first is trained. -1: the first that cannot, and why. */
int plan_can_train(const struct plan *p, const struct session *s, struct error *e);
void plan_free(struct plan *p);
/* Prints what the call would do. -1: some of its data are not here. */
int dry_run(const struct session *s, FILE *out, struct error *e);

#endif
