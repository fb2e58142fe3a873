/* compressive.c - Compressive Transformer (Rae et al. 2019, arXiv 1911.05507), pre-norm.
 *
 * transformer_xl.c with a second store: each layer carries the last `cache` of its inputs and, before them, `compressed` rows that
 * stand for `rate` older inputs each. The rows that leave the cache after a segment, one segment's worth, become segment / rate
 * rows by f_c; the oldest compressed rows are dropped. Queries see [compressed; cache; segment] with Transformer-XL's relative
 * positions, by the index in that sequence. Keys and values of both stores are computed again with the current weights, so W_k, W_v
 * and the norm get a gradient from them and the stores do not.
 *
 * f_c: conv (kernel = stride = rate, the paper's best), mean or max over `rate` rows. The gradient of the language model does not
 * reach conv; it learns by attention reconstruction, the paper's best: mean over tokens and layers of |attn(h, old) - attn(h,
 * f_c(old))|^2 with content scores alone, everything but conv under stop-gradient. It joins the training loss, never a score. mean
 * and max have nothing to learn and no such loss.
 *
 * Open points: mean instead of sum of squares (Adam does not see the factor `reconstruction`, clipping by the global norm does);
 * conv starts at N(0, 1/fan_in); `cache` is one segment by default and `compressed` the same; valid lengths instead of the authors'
 * zero rows; state reset at document starts. Parameters of conv, rate d^2 a layer, come on top: they are listed, not compensated by
 * the feed-forward width, since the language model's loss does not train them. Easy to get wrong: rows of the document before,
 * which lie in the cache when a document starts, are compressed too but never seen or learnt from. */
#include "../harness/model.h"

#include <math.h>
#include <stdlib.h>

static const char loss_name[] = "reconstruction";

enum { CONV, MEAN, MAX }; /* order of the choices below */

static const struct option options[] = {
    {"cache", OPTION_INT, "0", 0, 1e7, NULL, "cached rows per layer; 0: one segment"},
    {"compressed", OPTION_INT, "0", 0, 1e7, NULL, "compressed rows per layer; 0: as many as cached"},
    {"rate", OPTION_INT, "2", 1, 8, NULL, "rows that one compressed row stands for; divides the segment"},
    {"compress", OPTION_CHOICE, "conv", 0, 0, "conv|mean|max", "how rows become one"},
    {"reconstruction", OPTION_REAL, "1", 0, 1e6, NULL, "weight of the loss that trains conv"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static int64_t or_else(const struct model_config *c, const char *key, int64_t value) {
    int64_t n = options_int(&c->options, key);
    return n ? n : value;
}

static int64_t cache(const struct model_config *c) { return or_else(c, "cache", c->segment); }
static int64_t compressed(const struct model_config *c) { return or_else(c, "compressed", cache(c)); }
static int64_t rate(const struct model_config *c) { return options_int(&c->options, "rate"); }
static int kind(const struct model_config *c) { return options_choice(&c->options, "compress"); }

static int check(const struct model_config *c, struct error *e) {
    if (c->segment % rate(c) == 0) return 0;
    return fail(e, "compressive: rate = %lld does not divide segment = %lld", (long long)rate(c), (long long)c->segment);
}

/* Rows before a segment that a query sees, `before` tokens into the document. */
static int64_t stored(const struct model_config *c, int64_t before) {
    int64_t m = cache(c), old = before > m ? (before - m) / rate(c) : 0;
    return (before < m ? before : m) + (old < compressed(c) ? old : compressed(c));
}

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    int64_t q = c->heads * c->e, rows = cache(c) + compressed(c) + c->segment, half = c->d / 2;
    if (layer < 0) {
        double *r = m->k ? xcalloc((size_t)(rows * c->d), sizeof *r) : NULL; /* a plan computes nothing */
        for (int64_t i = 0; r && i < rows; i++)
            for (int64_t k = 0; k < half; k++) {
                double angle = (double)i * pow(10000, -2.0 * (double)k / (double)c->d);
                r[i * c->d + k] = sin(angle);
                r[i * c->d + half + k] = cos(angle);
            }
        model_constant(m, "sinusoids", r, rows, c->d);
        free(r);
        return;
    }
    model_param(m, layer, "wr", q, c->d, INIT_NORMAL, 1 / sqrt((double)c->d), GROUP_WEIGHT);
    model_param(m, layer, "u", 1, q, INIT_ZERO, 0, GROUP_NORM);
    model_param(m, layer, "v", 1, q, INIT_ZERO, 0, GROUP_NORM);
    if (kind(c) == CONV) {
        int64_t in = rate(c) * c->d;
        model_param(m, layer, "compress", c->d, in, INIT_NORMAL, 1 / sqrt((double)in), GROUP_WEIGHT);
    }
    model_state(m, layer, "cache", STATE_RING, cache(c), c->d, NULL);
    struct state_spec *s = m->states + model_state(m, layer, "compressed", STATE_CARRIED, 1, compressed(c) * c->d, NULL);
    s->step = c->d;
    s->every = rate(c);
    s->after = cache(c);
}

/* f_c of old [B, segment, D]: [B, segment / rate, D]. */
static struct tensor *compress(struct forward *f, int layer, struct tensor *old) {
    const struct model_config *c = &f->model->config;
    struct tape *t = f->tape;
    int64_t k = rate(c), rows = f->batch * f->n / k;
    if (kind(c) == CONV)
        return op_linear(t, op_reshape(t, old, 2, (const int64_t[]){rows, k * c->d}),
                         &layer_param(f->model, layer, "compress")->leaf, NULL);
    struct tensor *y = op_slice_rows(t, old, 0, 1, rows, c->d);
    for (int64_t i = 1; i < k; i++) {
        struct tensor *x = op_slice_rows(t, old, i, 1, rows, c->d);
        if (kind(c) == MAX) x = op_relu(t, op_add(t, x, op_scale(t, y, -1))); /* max(y, x) = y + max(0, x - y) */
        y = op_add(t, y, x);
    }
    return kind(c) == MAX ? y : op_scale(t, y, 1 / (double)k);
}

/* Content attention of the segment's queries to rows [B, segment, D], all of them, with frozen weights. */
static struct tensor *content(struct forward *f, int layer, struct tensor *q, struct tensor *rows, struct param *norm) {
    const struct model_config *c = &f->model->config;
    const struct layer_params *p = f->model->layer + layer;
    struct tape *t = f->tape;
    struct attention_shape all = {.batch = f->batch,
                                  .queries = f->n,
                                  .heads = c->heads,
                                  .kv_heads = c->kv_heads,
                                  .e = c->e,
                                  .segment = f->n,
                                  .own_from_segment = 1,
                                  .trail = f->n, /* rows that see everything */
                                  .scale = 1 / sqrt((double)c->e)};
    struct tensor *h = op_rmsnorm(t, rows, op_detach(t, &norm->leaf), c->norm_eps);
    struct tensor *k = op_linear(t, h, op_detach(t, &p->wk->leaf), NULL), *v = op_linear(t, h, op_detach(t, &p->wv->leaf), NULL);
    return op_attention(t, q, k, v, NULL, NULL, NULL, NULL, NULL, f->since, &all);
}

static void reconstruct(struct forward *f, int layer, struct mixer_input in, struct tensor *old, struct tensor *new) {
    const struct model_config *c = &f->model->config;
    struct tape *t = f->tape;
    struct tensor *repeated[8]; /* a key that stands there rate times weighs as much as once: the softmax is over equal shares */
    int64_t k = rate(c);
    for (int64_t i = 0; i < k; i++) repeated[i] = new;
    struct tensor *rows = op_concat_rows(t, repeated, (int)k, f->batch * f->n / k, c->d);
    struct tensor *q = op_linear(t, op_detach(t, in.h), op_detach(t, &f->model->layer[layer].wq->leaf), NULL);
    struct tensor *want = content(f, layer, q, old, in.norm), *got = content(f, layer, q, rows, in.norm);
    /* Only where rows of this document left the cache. */
    real *one = f->host_reals, *minus = one + f->batch;
    for (int64_t b = 0; b < f->batch && !t->dry; b++) minus[b] = -(one[b] = f->host_len[b] == f->n && f->host_since[b] >= cache(c));
    struct tensor *error = op_axpby(t, tape_reals(t, one, f->batch), got, tape_reals(t, minus, f->batch), want, f->batch);
    struct tensor *loss = op_half_sumsq(t, error);
    double weight = 2 * options_real(&c->options, "reconstruction") / (double)(f->batch * f->n * c->segments * c->layers);
    for (int i = 0; i < f->extras; i++)
        if (f->extra[i].name == loss_name) {
            f->extra[i].node = op_add(t, f->extra[i].node, loss);
            return;
        }
    add_loss(f, loss_name, loss, weight);
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    const struct layer_params *p = m->layer + layer;
    struct tape *t = f->tape;
    int64_t nm = cache(c), ncm = compressed(c), back = nm + ncm, offset = f->first * f->n, B = f->batch;
    int ring = layer_state(m, layer, "cache"), store = layer_state(m, layer, "compressed");
    struct tensor *q = op_linear(t, in.h, &p->wq->leaf, NULL), *k = op_linear(t, in.h, &p->wk->leaf, NULL);
    struct tensor *v = op_linear(t, in.h, &p->wv->leaf, NULL);
    op_ring_write(t, f->ring[ring], in.x, f->head, offset, B, f->n, f->capacity[ring]);
    struct tensor *recent = op_ring_read(t, f->ring[ring], f->head, offset - nm, B, nm, f->capacity[ring], c->d);
    struct tensor *cm = op_detach(t, f->in[store]);
    struct tensor *h = op_rmsnorm(t, op_concat_rows(t, (struct tensor *[]){cm, recent}, 2, B, c->d), &in.norm->leaf, c->norm_eps);
    struct tensor *kc = op_linear(t, h, &p->wk->leaf, NULL), *vc = op_linear(t, h, &p->wv->leaf, NULL);
    struct tensor *r = constant_leaf(f, "sinusoids");
    r->n = (r->shape[0] = back + f->n) * c->d;
    struct tensor *rel = op_linear(t, r, &layer_param(m, layer, "wr")->leaf, NULL);
    struct attention_shape shape = {.batch = B,
                                    .queries = f->n,
                                    .heads = c->heads,
                                    .kv_heads = c->kv_heads,
                                    .e = c->e,
                                    .segment = f->n,
                                    .back = back,
                                    .cache = back,
                                    .cache_rows = back,
                                    .own_from_segment = 1,
                                    .scale = 1 / sqrt((double)c->e),
                                    .distances = back + f->n};
    for (int64_t b = 0; b < B && !t->dry; b++) f->host_ints[b] = (int32_t)stored(c, f->host_since[b]);
    struct tensor *a =
        op_attention(t, op_add_bias(t, q, &layer_param(m, layer, "u")->leaf), k, v, kc, vc,
                     op_add_bias(t, q, &layer_param(m, layer, "v")->leaf), rel, NULL, tape_ints(t, f->host_ints, B), &shape);
    if (f->n == c->segment) { /* as many rows as come into the cache leave it, the oldest first */
        struct tensor *old = op_ring_read(t, f->ring[ring], f->head, offset - nm, B, f->n, f->capacity[ring], c->d);
        struct tensor *new = compress(f, layer, old), *next = op_detach(t, new);
        int64_t add = f->n / rate(c);
        if (add > ncm) next = op_slice_rows(t, next, add - ncm, ncm, B, c->d);
        if (add < ncm)
            next = op_concat_rows(t, (struct tensor *[]){op_slice_rows(t, cm, add, ncm - add, B, c->d), next}, 2, B, c->d);
        f->out[store] = forward_keep(f, next, cm);
        if (f->training && kind(c) == CONV && options_real(&c->options, "reconstruction") > 0) reconstruct(f, layer, in, old, new);
    }
    return op_linear(t, a, &p->wo->leaf, NULL);
}

/* Without conv: see above. */
static double extra_params(const struct model_config *c) {
    double q = (double)(c->heads * c->e);
    return q * (double)c->d + 2 * q;
}

static int64_t table_elements(const struct model_config *c, int64_t context) {
    return (void)context, count_times(count_times(c->d, c->layers), count_plus(compressed(c), cache(c)));
}
static int64_t table_tokens(const struct model_config *c, int64_t context) {
    return (void)context, count_times(count_plus(count_times(compressed(c), rate(c)), cache(c)), c->layers);
}
#define TABLE1                                                                                                                     \
    .model = "Compressive Transformer", .update = "Discarded", .retrieval = "dot-product attention", .elements = table_elements,   \
    .tokens = table_tokens
static const struct footprint table1 = {TABLE1, .formula = "d_model·(c + N)·l", .length = "(c·r + N)·l"};
static const struct footprint other_cache = {TABLE1, .formula = "d_model·(c + cache)·l", .length = "(c·r + cache)·l"};
static const struct footprint *footprint(const struct model_config *c) { return cache(c) == c->segment ? &table1 : &other_cache; }

static int64_t carried(const struct model_config *c, int64_t context) {
    return count_times(count_times(c->layers, c->d), stored(c, context));
}

static int64_t attended(const struct model_config *c, int64_t context) {
    int64_t n = c->segment, own = context < n ? context : n;
    return footprint_kv(c, own + stored(c, context - own));
}

/* Parameters of f_c. */
static double apart(const struct model_config *c) { return kind(c) == CONV ? (double)(c->layers * rate(c) * c->d * c->d) : 0; }

/* As transformer_xl; f_c; while training, the reconstruction: queries, keys and values of old and new rows, two attentions. The
 * caller takes a training step for three forward passes. Here much is frozen and has no backward pass: f_c (one product of two),
 * queries and the attention to old rows (none of two), keys and values of new rows (one), the attention to them (three of four). So
 * what is returned for training is a third of what runs. */
static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    double e = (double)c->e, d = (double)c->d, n = (double)c->segment, h = (double)c->heads, g = (double)c->kv_heads;
    double seen = (double)stored(c, before);
    double flops = 6 * e * h * ((n + 1) / 2 + seen) + 4 * d * e * g * seen / n;
    bool learns = training && kind(c) == CONV && options_real(&c->options, "reconstruction") > 0;
    if (kind(c) == CONV) flops += 2 * d * d * (learns ? 2 : 1) / (training ? 3 : 1);
    if (training) flops += 2 * d * e * h * ((double)(cache(c) + compressed(c)) + n) / (n * (double)c->batch);
    if (learns) flops += (2 * d * e * h + 12 * d * e * g + 14 * e * h * n) / 3;
    return flops * (double)c->layers;
}

/* A layer's oldest row stands for inputs up to this far before its segment, the layer below looks back from there. */
static int64_t reach(const struct model_config *c) {
    int64_t n = c->segment, far = cache(c) + rate(c) * compressed(c), whole = (far + n - 1) / n * n;
    return n - 1 + (c->layers - 1) * whole + far;
}

const struct baseline baseline_compressive = {
    .name = "compressive",
    .paper = "Rae et al. 2019, arXiv 1911.05507",
    .summary = "a cache whose oldest rows are compressed instead of dropped",
    .options = options,
    .version = 1,
    .check = check,
    .declare = declare,
    .forward = forward,
    .extra_params = extra_params,
    .apart = apart,
    .footprint = footprint,
    .carried = carried,
    .attended = attended,
    .mixing_flops = mixing_flops,
    .reach = reach,
};
