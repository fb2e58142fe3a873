/* carried_in.h - training steps whose rows start from states of texts that are far longer than a step.
 *
 * A source with a filler (source.h) may give documents that start from s6 + m (s6 - s3), s3 and s6 the states after 3 and 6
 * segments of filler. The filler is read in every step, with gradient, so that parameters learn what it leaves in the memory. What
 * has no period cannot be extrapolated: a source's texts are really read, without gradient, every CARRIED_IN_EVERY steps with the
 * parameters of that step, and the states at CARRIED_IN_LENGTHS lengths are kept; a document that asks for m starts from the one
 * whose length is nearest to 6 + 3 m segments. That no gradient went into the text would teach nothing about what its keys do to a
 * memory that holds a million of them; so a sample of it stands for all: 6 segments of the text, drawn anew for each row and step,
 * are read with gradient from that state on, and what they add counts as often as they fit into the text, in the gradient alone.
 * For a sum over tokens (the linear rule in the first layer) this is the whole gradient in expectation. Only for architectures all
 * of whose state is of kind CARRIED. */
#ifndef INFINIBENCH_CARRIED_IN_H
#define INFINIBENCH_CARRIED_IN_H

#include "model.h"
#include "source.h"

#define CARRIED_IN_SEGMENTS 6 /* of filler; the state half way is s3 */
#define CARRIED_IN_LENGTHS 32 /* of each text, evenly on a log scale from 6 segments to all of it */
#define CARRIED_IN_EVERY 100  /* steps */

struct carried_in;
/* The model carries something, and nothing but tensors on which arithmetic means something. */
bool carried_in_possible(const struct model *m);
/* source NULL: a plan of one with a filler. e: a token outside the vocabulary, no token, a text of less than 6 segments. */
struct carried_in *carried_in_create(const struct model *m, const struct source *s, struct error *e);
/* The state in which the filler runs; again with another view of the model (a plan, then the real one; NULL: none). */
int carried_in_open(struct carried_in *c, struct model *m, struct error *e);
void carried_in_free(struct carried_in *c);
bool carried_in_filler(const struct carried_in *c); /* there is one: some source's, or a plan's */
size_t carried_in_bytes(const struct model *m);
/* Before a step: reads the texts where it is time to (step, from 0) and replaces the multipliers of rows that start from a text by
 * those of the states that there are. Returns the FLOPs of what is read, samples included, < 0: error. */
double carried_in_prepare(struct carried_in *c, int64_t step, struct batch *b, struct error *e);
/* Where the sample of a row's text begins. */
int64_t carried_in_sample(int64_t step, int64_t row, int64_t n);
/* The states of the texts, a row each, for checkpoints; NULL: no texts. */
struct state *carried_in_states(const struct carried_in *c);
/* Runs the filler on the tape of f (the step's first call, begun) and sets f->in: rows with m >= 0 start from s6 + m (s6 - s3),
 * rows with m < 0 from what f->in held, by the same operations for every row; rows that start from a text from the state that
 * carried_in_prepare chose. b->carried NULL: all -1. since: as in the call. */
void carried_in_start(struct carried_in *c, struct forward *f, const struct batch *b, const int32_t *since);
/* Tokens before the document of a row with multiplier m: it has seen something. Whole segments of n. */
int32_t carried_in_since(double m, int64_t n);
/* FLOPs of a step's filler, forward and backward, by formula: all layers, without the product of the head. */
double carried_in_flops(const struct model_config *c);

#endif
