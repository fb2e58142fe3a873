/* transformer_xl.c - Transformer-XL (Dai et al. 2019, arXiv 1901.02860), pre-norm.
 *
 * Each layer carries the last `cache` of its inputs (the residual stream, detached); keys and values of cached rows are computed
 * again with the current weights, so norm, W_k, W_v get a gradient from cached positions and the hidden states do not. score(t,a) =
 * ((q_t + u) . k_a + (q_t + v) . W_kR R_{t-a}) / sqrt(E),  R_d = [sin(d w) | cos(d w)], w_k = 10000^(-2k/d) by index, never by the
 * reshape trick. A query sees its segment up to itself and `cache` positions before the segment (block mask), not beyond its
 * document: valid lengths instead of the zero rows that the TensorFlow code attends to.
 *
 * Open points: u, v per layer (`untie = yes`, as the authors' best configurations; no: shared by all layers, their PyTorch
 * default); cache = segment length by default (the papers' setting); state reset at document starts (the paper runs on through
 * them). */
#include "../harness/faults.h"
#include "../harness/model.h"

#include <math.h>
#include <stdlib.h>

static const struct option options[] = {
    {"cache", OPTION_INT, "0", 0, 1e7, NULL, "cached rows per layer; 0: one segment"},
    {"untie", OPTION_BOOL, "yes", 0, 0, NULL, "u and v for each layer; no: shared"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static int64_t cache(const struct model_config *c) {
    int64_t m = options_int(&c->options, "cache");
    return m ? m : c->segment;
}

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    int64_t q = c->heads * c->e;
    bool untie = options_bool(&c->options, "untie");
    if (layer < 0) {
        int64_t rows = cache(c) + c->segment, half = c->d / 2;
        double *r = m->k ? xcalloc((size_t)(rows * c->d), sizeof *r) : NULL; /* a plan computes nothing */
        for (int64_t i = 0; r && i < rows; i++)
            for (int64_t k = 0; k < half; k++) {
                double angle = (double)(i + FAULT(relative_shift)) * pow(10000, -2.0 * (double)k / (double)c->d);
                r[i * c->d + k] = sin(angle);
                r[i * c->d + half + k] = cos(angle);
            }
        model_constant(m, "sinusoids", r, rows, c->d);
        free(r);
    } else {
        model_param(m, layer, "wr", q, c->d, INIT_NORMAL, 1 / sqrt((double)c->d), GROUP_WEIGHT);
        model_state(m, layer, "cache", STATE_RING, cache(c), c->d, NULL);
    }
    if (untie == (layer >= 0)) {
        model_param(m, layer, "u", 1, q, INIT_ZERO, 0, GROUP_NORM);
        model_param(m, layer, "v", 1, q, INIT_ZERO, 0, GROUP_NORM);
    }
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    const struct layer_params *p = m->layer + layer;
    struct tape *t = f->tape;
    int64_t back = cache(c), rows = f->segments * f->n, offset = f->first * f->n, old = back + rows - f->n;
    int of_uv = options_bool(&c->options, "untie") ? layer : -1, ring = layer_state(m, layer, "cache");
    struct tensor *q = op_linear(t, in.h, &p->wq->leaf, NULL), *k = op_linear(t, in.h, &p->wk->leaf, NULL);
    struct tensor *v = op_linear(t, in.h, &p->wv->leaf, NULL);
    op_ring_write(t, f->ring[ring], in.x, f->head, offset, f->batch, rows, f->capacity[ring]);
    struct tensor *x = op_ring_read(t, f->ring[ring], f->head, offset - back, f->batch, old, f->capacity[ring], c->d);
    struct tensor *h = op_rmsnorm(t, x, &in.norm->leaf, c->norm_eps);
    struct tensor *kc = op_linear(t, h, &p->wk->leaf, NULL), *vc = op_linear(t, h, &p->wv->leaf, NULL);
    struct tensor *r = constant_leaf(f, "sinusoids");
    r->n = (r->shape[0] = back + f->n) * c->d;
    struct tensor *rel = op_linear(t, r, &layer_param(m, layer, "wr")->leaf, NULL);
    struct attention_shape shape = {.batch = f->batch,
                                    .queries = rows,
                                    .heads = c->heads,
                                    .kv_heads = c->kv_heads,
                                    .e = c->e,
                                    .segment = f->n,
                                    .back = back,
                                    .cache = back,
                                    .cache_rows = old,
                                    .own_from_segment = 1,
                                    .scale = 1 / sqrt((double)c->e),
                                    .distances = back + f->n};
    struct tensor *a = op_attention(t, op_add_bias(t, q, &layer_param(m, of_uv, "u")->leaf), k, v, kc, vc,
                                    op_add_bias(t, q, &layer_param(m, of_uv, "v")->leaf), rel, NULL, f->since, &shape);
    return op_linear(t, a, &p->wo->leaf, NULL);
}

static double extra_params(const struct model_config *c) {
    double q = (double)(c->heads * c->e), uv = 2 * q;
    return q * (double)c->d + (options_bool(&c->options, "untie") ? uv : uv / (double)c->layers);
}

/* Keys and values of the cache, as the paper counts; here the layer inputs are carried from which they are computed. */
static int64_t cache_elements(const struct model_config *c, int64_t context) { return (void)context, footprint_kv(c, cache(c)); }
static int64_t cache_tokens(const struct model_config *c, int64_t context) {
    return (void)context, count_times(c->layers, cache(c));
}

#define TABLE1                                                                                                                     \
    .model = "Transformer-XL", .update = "Discarded", .retrieval = "dot-product attention", .elements = cache_elements,            \
    .tokens = cache_tokens
static const struct footprint table1 = {TABLE1, .formula = "(d_key + d_value)·H·N·l", .length = "N·l"};
static const struct footprint other_cache = {TABLE1, .formula = "(d_key + d_value)·H·cache·l", .length = "cache·l"};
static const struct footprint *footprint(const struct model_config *c) { return cache(c) == c->segment ? &table1 : &other_cache; }

static int64_t carried(const struct model_config *c, int64_t context) {
    return count_times(count_times(c->layers, c->d), context < cache(c) ? context : cache(c));
}

static int64_t attended(const struct model_config *c, int64_t context) {
    int64_t reach = cache(c) + c->segment;
    return footprint_kv(c, context < reach ? context : reach);
}

/* Attention with relative scores (6E a pair), keys and values of the cached rows, and W_kR R once a step. */
static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    double e = (double)c->e, d = (double)c->d, n = (double)c->segment;
    double seen = (double)(before < cache(c) ? before : cache(c));
    double flops = 6 * e * (double)c->heads * ((n + 1) / 2 + seen) + 4 * d * e * (double)c->kv_heads * seen / n;
    if (training) flops += 2 * d * e * (double)c->heads * ((double)cache(c) + n) / (n * (double)(c->segments * c->batch));
    return flops * (double)c->layers;
}

/* A layer's oldest row lies `cache` before its segment's start; the layer below looks back from the start of that row's segment. */
static int64_t reach(const struct model_config *c) {
    int64_t n = c->segment, whole = (cache(c) + n - 1) / n * n;
    return n - 1 + (c->layers - 1) * whole + cache(c);
}

const struct baseline baseline_transformer_xl = {
    .name = "transformer_xl",
    .paper = "Dai et al. 2019, arXiv 1901.02860",
    .summary = "a cache of detached layer inputs and relative positions",
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
