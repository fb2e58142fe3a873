/* train.h - optimiser, schedule, one training step in its three ways, the training loop with checkpoints. */
#ifndef INFINIBENCH_TRAIN_H
#define INFINIBENCH_TRAIN_H

#include "carried_in.h"

struct tokenizer;

enum optimizer_kind { OPTIMIZER_ADAMW, OPTIMIZER_ADAFACTOR };
enum step_mode { STEP_LAYER_MAJOR, STEP_SEGMENT_MAJOR, STEP_RECOMPUTE };

extern const struct option train_options[]; /* every key below, for [budget] and [stage]: name, default, range, help */
struct train_config {
    enum optimizer_kind optimizer;
    double lr, lr_min_ratio, decay, b1, b2, eps, clip, gate_rate;
    int64_t steps, warmup;
    bool cosine;
    bool carry; /* state values go on to the next step (cut for the gradient) */
    enum step_mode mode;
    bool parameter_scale; /* Adafactor */
    bool carried_in;      /* the source has a filler; for plans, which have no source: trainer_create looks at its source itself */
};
void train_config_from(struct train_config *c, const struct options *o);
double schedule_rate(const struct train_config *c, int64_t step); /* step counts from 0 */

struct step_room; /* host copies of a batch by segment, states between recomputed segments */
struct trainer {
    struct model *model;
    struct step_room *room;
    struct train_config config;
    struct tape tape;
    struct state *state;
    struct batcher *batcher;
    struct carried_in *carried_in; /* NULL: every document starts from the empty state */
    struct arena optimizer;
    real *m[PARAM_LIMIT], *v[PARAM_LIMIT];
    real *hyper, *norm2, *loss;
    real *gamma;         /* [L,S,B,G] of the last step's memories, trainer_gamma; where the architecture has compressive memories */
    int64_t step;        /* steps done */
    int64_t tokens;      /* tokens seen (scored) */
    int64_t tokens_read; /* inputs of the steps, scored or not; no padding, no carried-in text */
    double flops, seconds; /* by formula; wall time in steps */
};
/* Elements of trainer->m[i] and v[i]: both p->n for AdamW; rows and columns for Adafactor. */
void optimizer_sizes(enum optimizer_kind kind, const struct param *p, int64_t *m, int64_t *v);
size_t trainer_bytes(const struct trainer *t); /* total of trainer_print_memory */
/* source NULL (or a model that is a plan): measures only, allocates nothing. Plans the step with a dry pass; ask training_fits
 * first. A source with a filler makes carried-in states where the model can have them (carried_in_possible); elsewhere the same
 * documents are trained on from the empty state. */
struct trainer *trainer_create(struct model *m, const struct train_config *c, struct source *s, struct error *e);
/* Whether a model of this configuration can be trained on this machine: parameters, gradients, optimizer, activations and states
 * against free memory, measured by a plan, before anything is taken. The sentence names the bytes. */
int training_fits(const struct model_config *c, const struct train_config *tc, struct error *e);
void trainer_free(struct trainer *t);
/* Bytes by purpose, a line each: parameters, gradients, optimizer, activations, carried state, scratch, total. */
void trainer_print_memory(const struct trainer *t, FILE *out);
struct step_result {
    double loss; /* mean nats per weighted token */
    double grad_norm;
    double lr;
};
/* Mean over heads and segments of the factor that a layer's memory wrote to z with in the last step (infini, update = delta_gamma),
 * where it had been written to before; NAN: there is none. */
double trainer_gamma(const struct trainer *t, int layer);
/* One step. A NaN or Inf loss: -1 with the name of the first tensor that went bad. */
int trainer_step(struct trainer *t, struct step_result *r, struct error *e);
/* Forward and backward only, gradients left in the model (tests); seed is the loss weight. */
double trainer_gradients(struct trainer *t, const struct batch *b);

/* Log line of every `every` steps; NULL: none. Not 0: it cannot be kept, and training ends before a checkpoint counts its step. */
struct train_log {
    int (*line)(void *data, const struct trainer *t, const struct step_result *r, struct error *e);
    void *data;
    int64_t every;
};
/* Trains to config.steps, resuming from and saving to folder (NULL: no checkpoints) every save_every steps (0: only at the end). */
int train(struct trainer *t, const char *folder, int64_t save_every, const struct tokenizer *tok, const struct train_log *log,
          struct error *e);

#endif
