/* variants.h - the architectures and their options over which the property tests of the engine run. */
#ifndef INFINIBENCH_TEST_VARIANTS_H
#define INFINIBENCH_TEST_VARIANTS_H

#include "engine.h"

/* What happens to the gradient between the segments of a step. */
enum crossing {
    CROSS_FULL,   /* flows: finite differences of the loss are the gradient */
    CROSS_FROZEN, /* cached values are constants: finite differences with the cache held are the gradient */
    CROSS_GAMMA,  /* flows, but the gammas of delta_gamma are constants */
    CROSS_NONE    /* segments do not know each other */
};
struct variant {
    const char *name, *arch, *options, *shape; /* shape comes on top of VARIANT_SHAPE */
    enum crossing crossing;
};
#define VARIANT_SHAPE "layers=2 d_model=16 heads=2 kv_heads=2 head_dim=8 ffn=20 segment=4 segments=4 batch=2 vocab=11 tied=no "
extern const struct variant variants[]; /* ends with name NULL */

struct model *variant_model(const struct variant *v, const char *more_shape); /* filled by the formula */
/* Changes tokens one by one: what is before them, the next document and the other batch row keep their bits, what they are part of
 * changes. 2 rows of 4 segments; prints what is wrong and returns how often. */
int variant_causality(const struct variant *v, const char *more_shape);
/* Parameters after 7 steps, malloc'd; documents of up to 15 segments, so that rings and banks wrap. losses: 7. */
double *variant_train(const struct variant *v, const char *more_shape, enum step_mode mode, bool carry, int threads, double *losses,
                      int64_t *elements);

#endif
