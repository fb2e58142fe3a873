/* carried_in.h - training steps whose rows start from states that no text of affordable length reaches.
 *
 * A source with a filler (source.h) may give documents that start from s6 + m (s6 - s3), s3 and s6 the states after 3 and 6
 * segments of filler. The filler is read in every step, with gradient, so that parameters learn what it leaves in the memory. Only
 * for architectures all of whose state is of kind CARRIED. */
#ifndef INFINIBENCH_CARRIED_IN_H
#define INFINIBENCH_CARRIED_IN_H

#include "model.h"
#include "source.h"

#define CARRIED_IN_SEGMENTS 6 /* of filler; the state half way is s3 */

struct carried_in;
/* The model carries something, and nothing but tensors on which arithmetic means something. */
bool carried_in_possible(const struct model *m);
/* filler NULL: a plan. e: a token outside the vocabulary, no token. */
struct carried_in *carried_in_create(const struct model *m, const int32_t *filler, int64_t n, struct error *e);
/* The state in which the filler runs; again with another view of the model (a plan, then the real one; NULL: none). */
int carried_in_open(struct carried_in *c, struct model *m, struct error *e);
void carried_in_free(struct carried_in *c);
size_t carried_in_bytes(const struct model *m);
/* Runs the filler on the tape of f (the step's first call, begun) and sets f->in: rows with m >= 0 start from s6 + m (s6 - s3),
 * rows with m < 0 from what f->in held, by the same operations for every row. multiplier [B] on the host, NULL: all -1. since: as
 * in the call. */
void carried_in_start(struct carried_in *c, struct forward *f, const double *multiplier, const int32_t *since);
/* Tokens before the document of a row with multiplier m: it has seen something. Whole segments of n. */
int32_t carried_in_since(double m, int64_t n);
/* FLOPs of a step's filler, forward and backward, by formula: all layers, without the product of the head. */
double carried_in_flops(const struct model_config *c);

#endif
