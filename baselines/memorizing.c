/* memorizing.c - Memorizing Transformer (Wu et al. 2022, arXiv 2203.08913).
 *
 * Every layer attends locally to its segment and to a detached cache of the keys and values of the `cache` positions before it,
 * with a T5 relative bias by distance. One layer also retrieves: exact top-k keys of a bank that holds the last `memory` positions
 * of the document, per head, softmax over the hits without bias, mixed by a gate per head: V = g V_m + (1 - g) V_local. Queries and
 * keys are L2-normalised per head (against old keys going stale) and the logits take a learnt scale per head.
 *
 * Read before append; the bank never holds the current segment, while the previous one is in both cache and bank, as in the paper's
 * code. No gradient enters bank or cache; the search is not differentiated; softmax over the hits gives queries, scale and gate
 * theirs.
 *
 * Open points: the bias is added after the scale (the authors' code scales both; the scale is positive, so this is the same
 * family); scale starts at sqrt(E), which gives the logits of unnormalised attention at initialisation (the code's 1 starts nearly
 * uniform); scale and bias learn at the rate of the gates (gate_rate times the others', as the paper's gates are alone in needing);
 * self-attention includes the position itself (the code's shift excludes it); empty bank: V_m = 0, (1 - g) kept as in the
 * code. */
#include "../harness/faults.h"
#include "../harness/model.h"

#include <math.h>
#include <stdlib.h>

static const struct option options[] = {
    {"memory", OPTION_INT, "8192", 1, 1e8, NULL, "positions that the bank holds (FIFO per document)"},
    {"topk", OPTION_INT, "32", 1, 4096, NULL, "retrieved keys per query and head"},
    {"layer", OPTION_INT, "-1", -1, 1000, NULL, "the retrieving layer, from 0; -1: floor(0.75 layers) - 1, the 9th of 12"},
    {"cache", OPTION_INT, "0", 0, 1e7, NULL, "cached positions per layer; 0: one segment"},
    {"scale_init", OPTION_REAL, "0", 0, 1e3, NULL, "initial logit scale; 0: sqrt(head size)"},
    {"gate_init", OPTION_REAL, "0", -100, 100, NULL, "initial gate parameter"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};
#define BUCKETS 32
#define MAX_DISTANCE 128
#define EPSILON 1e-6 /* of the L2 norms, as in the authors' code */

static int64_t cache(const struct model_config *c) {
    int64_t m = options_int(&c->options, "cache");
    return m ? m : c->segment;
}

static int64_t knn_layer(const struct model_config *c) {
    int64_t l = options_int(&c->options, "layer");
    if (l >= 0) return l;
    l = c->layers * 3 / 4 - 1;
    return l < 0 ? 0 : l;
}

static int check(const struct model_config *c, struct error *e) {
    if (c->heads != c->kv_heads)
        return fail(e, "architecture memorizing: each head searches keys of its own; set kv_heads = heads = %lld, not %lld",
                    (long long)c->heads, (long long)c->kv_heads);
    if (knn_layer(c) >= c->layers)
        return fail(e, "architecture memorizing: layer = %lld, but the last layer is %lld", (long long)knn_layer(c),
                    (long long)c->layers - 1);
    return 0;
}

/* T5's unidirectional buckets: half of them exact, the others logarithmic up to MAX_DISTANCE. */
static int64_t bucket(int64_t distance) {
    int64_t exact = BUCKETS / 2;
    if (distance < exact) return distance;
    int64_t b = exact + (int64_t)(log((double)distance / (double)exact) / log((double)MAX_DISTANCE / (double)exact) *
                                  (double)(BUCKETS - exact));
    return b < BUCKETS - 1 ? b : BUCKETS - 1;
}

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    int64_t width = c->heads * c->e;
    if (layer < 0) {
        int64_t rows = cache(c) + c->segment;
        double *one = m->k ? xcalloc((size_t)(rows * BUCKETS), sizeof *one) : NULL; /* a plan computes nothing */
        for (int64_t i = 0; one && i < rows; i++) one[i * BUCKETS + bucket(i)] = 1;
        model_constant(m, "buckets", one, rows, BUCKETS);
        free(one);
        return;
    }
    double scale = options_real(&c->options, "scale_init"), gate = options_real(&c->options, "gate_init");
    model_param(m, layer, "qk_scale", 1, c->heads, INIT_ONE, scale > 0 ? scale : sqrt((double)c->e), GROUP_GATE);
    model_param(m, layer, "rel_bias", c->heads, BUCKETS, INIT_ZERO, 0, GROUP_GATE);
    model_state(m, layer, "cache_keys", STATE_RING, cache(c), width, NULL);
    model_state(m, layer, "cache_values", STATE_RING, cache(c), width, NULL);
    if (layer != knn_layer(c)) return;
    model_param(m, layer, "memory_gate", 1, c->heads, gate != 0 ? INIT_ONE : INIT_ZERO, gate, GROUP_GATE);
    model_state(m, layer, "bank_keys", STATE_RING, options_int(&c->options, "memory"), width, NULL);
    model_state(m, layer, "bank_values", STATE_RING, options_int(&c->options, "memory"), width, NULL);
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    const struct layer_params *p = m->layer + layer;
    struct tape *t = f->tape;
    int64_t back = cache(c), rows = f->segments * f->n, offset = f->first * f->n, old = back + rows - f->n, width = c->heads * c->e;
    struct tensor *q =
        op_headnorm(t, op_linear(t, in.h, &p->wq->leaf, NULL), &layer_param(m, layer, "qk_scale")->leaf, EPSILON, c->heads);
    struct tensor *k = op_headnorm(t, op_linear(t, in.h, &p->wk->leaf, NULL), NULL, EPSILON, c->heads);
    struct tensor *v = op_linear(t, in.h, &p->wv->leaf, NULL), *kept[2] = {k, v}, *cached[2];
    for (int i = 0; i < 2; i++) {
        int ring = layer_state(m, layer, i ? "cache_values" : "cache_keys");
        op_ring_write(t, f->ring[ring], kept[i], f->head, offset, f->batch, rows, f->capacity[ring]);
        cached[i] = op_ring_read(t, f->ring[ring], f->head, offset - back, f->batch, old, f->capacity[ring], width);
    }
    struct tensor *buckets = constant_leaf(f, "buckets");
    buckets->n = (buckets->shape[0] = back + f->n) * BUCKETS;
    struct tensor *bias = op_linear(t, &layer_param(m, layer, "rel_bias")->leaf, buckets, NULL);
    struct attention_shape shape = {.batch = f->batch,
                                    .queries = rows,
                                    .heads = c->heads,
                                    .kv_heads = c->heads,
                                    .e = c->e,
                                    .segment = f->n,
                                    .back = back,
                                    .cache = back,
                                    .cache_rows = old,
                                    .own_from_segment = 1,
                                    .scale = 1,
                                    .distances = back + f->n};
    struct tensor *a = op_attention(t, q, k, v, cached[0], cached[1], NULL, NULL, bias, f->since, &shape);
    if (layer == knn_layer(c)) {
        int bk = layer_state(m, layer, "bank_keys"), bv = layer_state(m, layer, "bank_values");
        /* In-call segments are appended first: what a query may see is bounded by `since` and its own segment's start. */
        op_ring_write(t, f->ring[bk], k, f->head, offset, f->batch, rows, f->capacity[bk]);
        op_ring_write(t, f->ring[bv], v, f->head, offset, f->batch, rows, f->capacity[bv]);
        struct bank_shape bank = {.batch = f->batch,
                                  .segments = f->segments,
                                  .n = f->n,
                                  .heads = c->heads,
                                  .e = c->e,
                                  .capacity = f->capacity[bk],
                                  .visible = options_int(&c->options, "memory"),
                                  .topk = options_int(&c->options, "topk"),
                                  .offset = offset - (FAULT(knn_segment) ? f->n : 0)};
        struct tensor *hits = op_retrieve(t, q, f->ring[bk], f->ring[bv], f->head, f->since, &bank);
        const int32_t *knocked = f->knocked ? f->knocked + layer * c->heads : NULL;
        a = op_mix(t, hits, a, &layer_param(m, layer, "memory_gate")->leaf, f->since, knocked, MIX_GATED, f->batch, f->segments,
                   f->n, c->heads);
    }
    return op_linear(t, a, &p->wo->leaf, NULL);
}

static double extra_params(const struct model_config *c) {
    return (double)(c->heads * (1 + BUCKETS)) + (double)c->heads / (double)c->layers;
}

/* Keys and values of `near` positions in every layer and of `far` ones in the bank. */
static int64_t kv_elements(const struct model_config *c, int64_t near, int64_t far) {
    return count_times(count_times(count_times(2, c->kv_heads), c->e), count_plus(count_times(c->layers, near), far));
}
/* Table 1 counts a bank of the whole text; the 183M of its Table 2 are that bank (65,000) and the caches of all layers. */
static int64_t table_elements(const struct model_config *c, int64_t context) { return kv_elements(c, cache(c), context); }

#define TABLE1                                                                                                                     \
    .model = "Memorizing Transformers", .length = "N·S", .update = "None", .retrieval = "kNN + dot-product attention",             \
    .elements = table_elements, .tokens = footprint_text
static const struct footprint table1 = {TABLE1, .formula = "(d_key + d_value)·H·(N·S + N·l)"};
static const struct footprint other_cache = {TABLE1, .formula = "(d_key + d_value)·H·(N·S + cache·l)"};
static const struct footprint *footprint(const struct model_config *c) { return cache(c) == c->segment ? &table1 : &other_cache; }

static int64_t carried(const struct model_config *c, int64_t context) {
    int64_t m = options_int(&c->options, "memory");
    return kv_elements(c, context < cache(c) ? context : cache(c), context < m ? context : m);
}

/* The bank holds no row of the segment of the query. */
static int64_t attended(const struct model_config *c, int64_t context) {
    int64_t m = options_int(&c->options, "memory"), near = cache(c) + c->segment;
    int64_t before = context < c->segment ? 0 : context - c->segment;
    return kv_elements(c, context < near ? context : near, before < m ? before : m);
}

static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    (void)training;
    double e = (double)c->e, h = (double)c->heads, n = (double)c->segment;
    double m = (double)options_int(&c->options, "memory"), k = (double)options_int(&c->options, "topk"), b = (double)before;
    double near = b < (double)cache(c) ? b : (double)cache(c), bank = b < m ? b : m;
    return 4 * e * h * (double)c->layers * ((n + 1) / 2 + near) + 2 * e * h * bank + 4 * e * h * (bank < k ? bank : k);
}

/* A bank row depends on what its own layer saw, through the caches below it. */
static int64_t reach(const struct model_config *c) {
    int64_t n = c->segment, near = (cache(c) + n - 1) / n * n, far = (options_int(&c->options, "memory") + n - 1) / n * n;
    return n - 1 + (c->layers - 1) * near + (far > near ? far : near); /* every layer looks back from the start of a segment */
}

const struct baseline baseline_memorizing = {
    .name = "memorizing",
    .paper = "Wu et al. 2022, arXiv 2203.08913",
    .summary = "a bank of old keys and values searched by exact top-k in one layer",
    .options = options,
    .version = 1,
    .check = check,
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
