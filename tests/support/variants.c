/* variants.c - the table of architectures with options for the property tests. */
#include "variants.h"

#include <stdlib.h>

const struct variant variants[] = {
    {"null", "null", "", "", CROSS_NONE},
    {"transformer", "transformer", "window=0", "", CROSS_FULL},
    {"transformer gqa tied", "transformer", "window=0", "kv_heads=1 tied=yes", CROSS_FULL},
    {"transformer window", "transformer", "window=6", "", CROSS_FULL},
    {"transformer disjoint", "transformer", "stride=disjoint", "", CROSS_NONE},
    {"transformer_xl", "transformer_xl", "", "", CROSS_FROZEN},
    {"transformer_xl long", "transformer_xl", "cache=12", "", CROSS_FROZEN},
    {"transformer_xl shared u v", "transformer_xl", "untie=no cache=6", "", CROSS_FROZEN},
    {"memorizing", "memorizing", "memory=8 topk=3", "", CROSS_FROZEN},
    {"memorizing all", "memorizing", "memory=16 topk=16", "layers=1", CROSS_FROZEN},
    {"memorizing second layer", "memorizing", "memory=6 topk=2 layer=1 cache=6", "", CROSS_FROZEN},
    {"infini none", "infini", "update=none", "", CROSS_NONE},
    {"infini linear", "infini", "update=linear", "", CROSS_FULL},
    {"infini linear bypass relu", "infini", "update=linear first_segment=bypass", "ffn_kind=relu", CROSS_FULL},
    {"infini linear gqa", "infini", "update=linear", "kv_heads=1", CROSS_FULL},
    {"infini delta", "infini", "update=delta", "", CROSS_FULL},
    {"infini delta_gamma", "infini", "update=delta_gamma", "layers=1", CROSS_GAMMA},
    {NULL, NULL, NULL, NULL, CROSS_NONE},
};

struct model *variant_model(const struct variant *v, const char *more_shape) {
    char *shape = xprintf("%s %s %s", VARIANT_SHAPE, v->shape, more_shape ? more_shape : "");
    struct model *m = engine_model(v->arch, v->options, shape);
    engine_fill(m);
    free(shape);
    return m;
}
