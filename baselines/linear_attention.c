/* linear_attention.c - linear attention (Katharopoulos et al. 2020, arXiv 2006.16236): attention whose softmax is a product of
 * features, and so a fast-weight matrix that every token writes.
 *
 * f = ELU + 1; S_t = S_{t-1} + f(k_t) v_t^T, z_t = z_{t-1} + f(k_t); y_t = f(q_t)^T S_t / (f(q_t) . z_t + eps). Written before it
 * is read: a token sees itself. S and z are all that is carried; segments only cut the text, the result does not depend on them.
 * The gradient flows through S and z over all segments of a step.
 *
 * Open points: epsilon 1e-6, as the authors' code has it; no factor 1/sqrt(head size) (the normaliser takes it out only for the
 * softmax); no positions (the paper adds them to the embeddings: here no architecture does; order is known by causality alone);
 * S and z start anew with a document. Query heads of one key/value head share its matrix. Easy to get wrong: the read before the
 * write (that is Infini-attention's memory, a segment late); the normaliser forgotten in the backward. */
#include "../harness/model.h"

static const struct option options[] = {
    {"epsilon", OPTION_REAL, "1e-6", 0, 1, NULL, "added to the denominator of the read"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    if (layer < 0) return;
    model_state(m, layer, "fast_weight", STATE_CARRIED, 1, c->kv_heads * c->e * c->e, NULL);
    model_state(m, layer, "fast_weight_norm", STATE_CARRIED, 1, c->kv_heads * c->e, NULL);
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    const struct layer_params *p = m->layer + layer;
    struct tape *t = f->tape;
    struct tensor *q = op_feature(t, op_linear(t, in.h, &p->wq->leaf, NULL), false, c->e);
    struct tensor *k = op_feature(t, op_linear(t, in.h, &p->wk->leaf, NULL), false, c->e);
    struct tensor *v = op_linear(t, in.h, &p->wv->leaf, NULL);
    struct fast_weight_shape shape = {.batch = f->batch,
                                      .segments = f->segments,
                                      .n = f->n,
                                      .heads = c->heads,
                                      .kv_heads = c->kv_heads,
                                      .e = c->e,
                                      .f = c->e,
                                      .rule = FAST_WEIGHT_SUM,
                                      .eps = options_real(&c->options, "epsilon")};
    int s = layer_state(m, layer, "fast_weight"), z = layer_state(m, layer, "fast_weight_norm");
    struct tensor *y = op_fast_weight(t, &f->out[s], &f->out[z], q, k, v, NULL, NULL, f->in[s], f->in[z], f->since, f->len, &shape);
    return op_linear(t, y, &p->wo->leaf, NULL);
}

static double extra_params(const struct model_config *c) { return (void)c, 0; }

/* S and z of every layer and key/value head. */
static int64_t attended(const struct model_config *c, int64_t context) {
    (void)context;
    return count_times(count_times(c->layers, c->kv_heads), count_times(c->e, count_plus(c->e, 1)));
}

static const struct footprint table1 = {.model = "Linear attention",
                                        .formula = "d_key·(d_value + 1)·H·l",
                                        .length = "N·S",
                                        .update = "Incremental",
                                        .retrieval = "linear attention",
                                        .elements = attended,
                                        .tokens = footprint_text};
static const struct footprint *footprint(const struct model_config *c) { return (void)c, &table1; }

static int64_t carried(const struct model_config *c, int64_t context) { return context < c->segment ? 0 : attended(c, context); }

/* Of the recurrence: read and write of a token; chunks cost more products and less time. */
static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    (void)before, (void)training;
    double e = (double)c->e, h = (double)c->heads, g = (double)c->kv_heads;
    return (2 * e * (e + 1) * h + 2 * e * e * g) * (double)c->layers;
}

static int64_t reach(const struct model_config *c) { return (void)c, UNBOUNDED; }

const struct baseline baseline_linear_attention = {
    .name = "linear_attention",
    .paper = "Katharopoulos et al. 2020, arXiv 2006.16236",
    .summary = "a fast-weight matrix that sums all tokens, read with a normaliser",
    .options = options,
    .version = 1,
    .declare = declare,
    .forward = forward,
    .extra_params = extra_params,
    .footprint = footprint,
    .carried = carried,
    .attended = attended,
    .mixing_flops = mixing_flops,
    .reach = reach,
    .layer_major = true,
};
