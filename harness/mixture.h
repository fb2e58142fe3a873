/* mixture.h - a source that draws each document from one of several sources by weight. */
#ifndef INFINIBENCH_MIXTURE_H
#define INFINIBENCH_MIXTURE_H

#include "source.h"

/* Owns the parts. weights sum to 1. Deterministic given seed and the order of the calls; the cursor holds the random state and the
 * cursors of the parts. The mixture has the filler of its parts; those that have one must have the same. It has the texts
 * of all its parts, at most CARRIED_TEXTS. */
bool mixture_same_filler(const struct source *a, const struct source *b); /* both have one: the same tokens */
struct source *mixture_source(struct source *const *parts, const double *weights, int count, uint64_t seed);

#endif
