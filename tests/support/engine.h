/* engine.h - the whole engine in the hands of a test: small models whose parameters come from a formula, batches, one call or one
 * step, and comparisons that name the tensor and the index. Values are exchanged in double, whatever `real` is. */
#ifndef INFINIBENCH_TEST_ENGINE_H
#define INFINIBENCH_TEST_ENGINE_H

#include "../../harness/train.h"

/* u(name, i) in [-1, 1): 53 bits of splitmix64(fnv1a64(name) + i). scripts/golden.py has the same formula. */
double formula_uniform(const char *name, int64_t i);
double formula_value(const char *param, int64_t i); /* offset + scale u, by the last part of the name */

/* The backend of all models from here on; NULL: the CPU's, on one thread. */
extern const struct kernels *engine_kernels;

/* options, shape: "key=value key=value"; the shape starts from preset nano. Prints the reason and aborts where it
 * cannot be built. */
struct model *engine_model(const char *arch, const char *options, const char *shape);
void engine_fill(struct model *m);                                           /* parameters by the formula */
double *engine_download(const struct model *m, const real *data, int64_t n); /* malloc'd */
void engine_upload(const struct model *m, real *data, const double *values, int64_t n);

/* A document layout of B rows x S segments of n tokens. */
struct text_batch {
    int64_t batch, segments, n;
    int32_t *tokens, *targets, *since, *len;
    float *weights; /* sum 1 */
};
/* Rows by the formula, token at document position 0 is BOS. documents[b*S+s]: 1 = a document starts with this segment (the first of
 * a row always does); NULL: one document a row. lens[b*S+s] or NULL (all n). */
struct text_batch *engine_text(int64_t batch, int64_t segments, int64_t n, int64_t vocab, const int *documents, const int *lens);
struct text_batch *engine_slice(const struct text_batch *b, int64_t first, int64_t segments); /* a copy of those segments */
void engine_text_free(struct text_batch *b);
struct batch engine_batch(const struct text_batch *b);

/* Logits [B,S*n,V] of segments [first, first + segments) of the text, from the state (NULL: a fresh empty one). The state moves on.
 */
double *engine_logits(struct model *m, struct state *s, const struct text_batch *b, int64_t first, int64_t segments,
                      enum knock_out knock_out);
/* knocked [layers,heads], or NULL: enum knock_out of each head. */
double *engine_logits_heads(struct model *m, struct state *s, const struct text_batch *b, int64_t first, int64_t segments,
                            const int32_t *knocked);
/* Mean weighted nll of those segments' scored tokens (weights as in b), by hand from engine_logits. */
double engine_loss(struct model *m, struct state *s, const struct text_batch *b, int64_t first, int64_t segments);

/* A trainer over the formula's documents (lengths vary, seeded). */
struct trainer *engine_trainer(struct model *m, enum step_mode mode, bool carry, double lr, int64_t steps);
void engine_trainer_free(struct trainer *t); /* with its source */
/* The loss; gradients are then in the model. */
double engine_gradients(struct model *m, enum step_mode mode, const struct text_batch *b);
/* All gradients (values) one after another as doubles, malloc'd, m->elements of them. */
double *engine_all_gradients(struct model *m);
double *engine_all_values(struct model *m);
void engine_set_values(struct model *m, const double *v);

/* Largest |a - b| relative to the largest |b| (plus floor); NaN or Inf anywhere gives INFINITY. at: index of the worst. */
double engine_error(const double *a, const double *b, int64_t n, double floor, int64_t *at);
int engine_same(const double *a, const double *b, int64_t n); /* equal bits of value (0 == -0 is not asked for) */

/* Seen by the source of engine_trainer: longest document in tokens. */
extern int64_t engine_longest;

#endif
