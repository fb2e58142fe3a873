/* footprint.h - Table 1 of the Infini-attention paper for any shape: what a text leaves in memory, by formula.
 *
 * The rows are the architectures of the registry. */
#ifndef INFINIBENCH_FOOTPRINT_H
#define INFINIBENCH_FOOTPRINT_H

#include "model.h"

#define FOOTPRINT_ROWS 32
/* One configuration a row: the shape (layers, d, heads, kv_heads, e, segment) and default options. Returns how many. */
int footprint_rows(struct model_config rows[FOOTPRINT_ROWS], const struct model_config *shape);
/* Elements of the formula of Memorizing Transformers at this shape over those of c: a bank of the whole text and a cache of one
 * segment in every layer. NaN where c keeps nothing or a count does not fit. */
double footprint_ratio(const struct model_config *c, int64_t context);

#endif
