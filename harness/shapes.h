/* shapes.h - shapes by name: the presets, and the public models of tasks/data/shapes.csv.
 *
 * For memory footprints: the feed-forward part and the vocabulary of a public model are not known here. */
#ifndef INFINIBENCH_SHAPES_H
#define INFINIBENCH_SHAPES_H

#include "model.h"

struct shape {
    char name[40], source[128];
    struct model_config config; /* without architecture */
    int64_t bytes;              /* of an element */
    int64_t context;            /* tokens that the model was made for; of presets: a training step */
    int64_t parameters;         /* 0: not known */
    bool preset;
};
#define SHAPE_LIMIT 128
/* All of them, presets first; returns how many, -1: error. */
int shapes_read(struct shape *list, struct error *e);
int shape_find(struct shape *out, const char *name, struct error *e);
/* Numbers of at least 1, and heads that kv_heads divides; where: how the sentence begins. */
int shape_check(const struct model_config *c, const char *where, struct error *e);

#endif
