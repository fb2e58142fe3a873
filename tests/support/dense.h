/* dense.h - the decoder once more, over one row of tokens at once, in plain loops with a mixer that a test gives: the other
 * formulation against which the engine's segment-wise forward passes are held. Values only, in double. */
#ifndef INFINIBENCH_TEST_DENSE_H
#define INFINIBENCH_TEST_DENSE_H

#include "engine.h"

struct dense {
    struct model *model;
    int64_t T, H, G, E, D;
    int layer;
    const double *x, *h;     /* [T,D] layer input and its norm */
    const double *q, *k, *v; /* [T,H,E], [T,G,E], [T,G,E] */
    double *out;             /* [T,H,E] */
    const void *data;
};
typedef void (*dense_mixer)(const struct dense *d);

/* Logits [T,V]. */
double *dense_logits(struct model *m, const int32_t *tokens, int64_t T, dense_mixer mixer, const void *data);
/* A parameter of the layer as doubles, malloc'd. */
double *dense_param(const struct dense *d, const char *name);
/* out[E] += weight * sum_a softmax(score)_a v[a, g]; a < n; -INFINITY: not visible. */
void dense_attend(const struct dense *d, double *out, double weight, const double *score, int64_t n, int64_t g);
double dense_dot(const double *a, const double *b, int64_t n);
/* q_t . k_a after the rotation of both by their position, as a function of the distance alone. */
double dense_rope_dot(const struct dense *d, const double *q, const double *k, int64_t distance);

#endif
