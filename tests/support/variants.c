/* variants.c - the table of architectures with options for the property tests. */
#include "variants.h"

#include <stdlib.h>
#include <string.h>

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
    {"rmt", "rmt", "memory_tokens=2", "", CROSS_FULL},
    {"rmt gqa relu", "rmt", "memory_tokens=3", "kv_heads=1 ffn_kind=relu", CROSS_FULL},
    {"rmt cut", "rmt", "memory_tokens=2 bptt=0", "", CROSS_FROZEN},
    {"rnn lstm", "rnn", "cell=lstm", "equal_parameters=no", CROSS_FULL},
    {"rnn lstm equal", "rnn", "cell=lstm forget_bias=0.5", "ffn=60", CROSS_FULL},
    {"rnn gru", "rnn", "cell=gru", "equal_parameters=no ffn_kind=relu", CROSS_FULL},
    {"compressive", "compressive", "reconstruction=0", "", CROSS_FROZEN},
    {"compressive mean gqa", "compressive", "compress=mean cache=8 compressed=3", "kv_heads=1", CROSS_FROZEN},
    {"compressive max", "compressive", "compress=max rate=4 compressed=2", "ffn_kind=relu", CROSS_FROZEN},
    {"autocompressor", "autocompressor", "summary=2 kept=16 cut=100", "", CROSS_FULL},
    {"autocompressor few", "autocompressor", "summary=2 kept=2 cut=100", "kv_heads=1", CROSS_FULL},
    {"autocompressor last", "autocompressor", "summary=2 kept=1 cut=100", "", CROSS_FULL},
    {"autocompressor cut", "autocompressor", "summary=1 kept=3 cut=1", "", CROSS_FROZEN},
    {"linear_attention", "linear_attention", "", "", CROSS_FULL},
    {"linear_attention gqa relu", "linear_attention", "", "kv_heads=1 ffn_kind=relu", CROSS_FULL},
    {"delta_rule sum", "delta_rule", "features=sum", "", CROSS_FULL},
    {"delta_rule l2", "delta_rule", "", "", CROSS_FULL},
    {"delta_rule gated", "delta_rule", "gated=yes", "", CROSS_FULL},
    {"delta_rule gated sum gqa", "delta_rule", "features=sum gated=yes", "kv_heads=1", CROSS_FULL},
    {"delta_rule conv", "delta_rule", "conv_size=4", "", CROSS_FULL},
    {"delta_rule conv long gated sum gqa", "delta_rule", "features=sum gated=yes conv_size=6", "kv_heads=1", CROSS_FULL},
    {"delta_rule conv of one", "delta_rule", "conv_size=1", "", CROSS_FULL},
    {"compressive one row", "compressive", "compress=mean rate=2 compressed=1", "", CROSS_FROZEN},
    {NULL, NULL, NULL, NULL, CROSS_NONE},
};

struct model *variant_model(const struct variant *v, const char *more_shape) {
    char *shape = xprintf("%s %s %s", VARIANT_SHAPE, v->shape, more_shape ? more_shape : "");
    struct model *m = engine_model(v->arch, v->options, shape);
    engine_fill(m);
    free(shape);
    return m;
}

int variant_causality(const struct variant *v, const char *more_shape) {
    static const int documents[] = {1, 0, 0, 1, 1, 0, 0, 0};
    struct model *m = variant_model(v, more_shape);
    int64_t n = m->config.segment, T = 4 * n, V = m->config.vocab, step = n / 2 > 1 ? n / 2 - 1 : 1;
    struct text_batch *x = engine_text(2, 4, n, V, documents, NULL);
    double *base = engine_logits(m, NULL, x, 0, 4, KNOCK_NONE);
    int bad = 0;
    for (int64_t t = 1; t < T; t += step) {
        const char *wrong = NULL;
        int32_t old = x->tokens[t];
        x->tokens[t] = old % (int32_t)(V - 1) + 1;
        double *changed = engine_logits(m, NULL, x, 0, 4, KNOCK_NONE);
        if (!engine_same(changed, base, t * V)) wrong = "changes what is before it";
        if (strcmp(v->arch, "null") && engine_same(changed + t * V, base + t * V, V)) wrong = "changes nothing";
        if (t < 3 * n && !engine_same(changed + 3 * n * V, base + 3 * n * V, n * V)) wrong = "reaches the next document";
        if (!engine_same(changed + T * V, base + T * V, T * V)) wrong = "reaches the other batch row";
        if (wrong) fprintf(stderr, "%s: token %d %s\n", v->name, (int)t, wrong), bad++;
        free(changed);
        x->tokens[t] = old;
    }
    free(base);
    engine_text_free(x);
    model_free(m);
    return bad;
}

double *variant_train(const struct variant *v, const char *more_shape, enum step_mode mode, bool carry, int threads, double *losses,
                      int64_t *elements) {
    struct model *m = variant_model(v, more_shape);
    kernels_cpu_threads(threads);
    engine_longest = 15 * m->config.segment;
    struct trainer *t = engine_trainer(m, mode, carry, 1e-2, 7);
    for (int i = 0; i < 7; i++) {
        struct step_result r;
        struct error e;
        CHECK(!trainer_step(t, &r, &e), "%s: %s", v->name, e.text);
        losses[i] = r.loss;
    }
    double *values = engine_all_values(m);
    *elements = m->elements;
    engine_trainer_free(t);
    model_free(m);
    kernels_cpu_threads(1);
    return values;
}
