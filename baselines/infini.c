/* infini.c - Infini-attention (Munkhdalai, Faruqui and Gopal 2024, arXiv 2404.07143).
 *
 * Per head: A = g A_mem + (1 - g) A_dot, g = sigmoid(beta). A_dot is causal attention within the segment; A_mem reads the
 * compressive memory M, z of all earlier segments (eq. 7), which is written after the read (eq. 8; eq. 9 for delta). The gradient
 * flows through M and z over all segments of a step.
 *
 * What the paper leaves open, and what stands here:
 *   scale of A_dot   1/sqrt(head size); the paper prints sqrt(d_model), every implementation uses the head size.
 *   first segment    `first_segment = scaled`: A_mem = 0 and A_dot keeps its (1 - g), eq. 10 to the letter; `bypass`: A_dot alone.
 *   epsilon          1e-6 in the denominator; z = 0 gives A_mem = 0 exactly.
 *   beta             one per head and layer, fp32, starts at `gate_init` = 0 (g = 1/2), learning rate times gate_rate, no weight
 * decay: reproductions failed with gates that a small learning rate could not move. positions        memory queries and keys carry
 * none (the paper says so); local ones are rotated by position in the segment, so that a segment looks the same wherever it stands.
 *   update           linear (eq. 8) | delta (eq. 9, against the memory at the segment's start) | delta_gamma (ARMT's correction of
 * z, clipped to [0,1]; exploratory) | none: the local-only twin, no memory, no gate, A_dot unscaled. A partial last segment is read
 * for and scored but never written. Query heads of one key/value head share its memory.
 *
 * Easy to get wrong: reading after writing (leaks the segment into itself); rotated keys in the memory; z forgotten in the delta.
 */
#include "../harness/faults.h"
#include "../harness/model.h"

enum { NONE, LINEAR, DELTA, DELTA_GAMMA }; /* order of the choices below and of enum memory_update */

static const struct option options[] = {
    {"update", OPTION_CHOICE, "linear", 0, 0, "none|linear|delta|delta_gamma",
     "how the memory is written; none: the local-only twin"},
    {"first_segment", OPTION_CHOICE, "scaled", 0, 0, "scaled|bypass",
     "A_dot of a document's first segment: times (1 - g), or alone"},
    {"gate_init", OPTION_REAL, "0", -100, 100, NULL, "initial beta; 0 starts with half memory, half local"},
    {"epsilon", OPTION_REAL, "1e-6", 0, 1, NULL, "added to the denominator of the memory read"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static int update(const struct model_config *c) { return options_choice(&c->options, "update"); }

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    if (layer < 0 || update(c) == NONE) return;
    double init = options_real(&c->options, "gate_init");
    model_param(m, layer, "beta", 1, c->heads, init != 0 ? INIT_ONE : INIT_ZERO, init, GROUP_GATE);
    model_state(m, layer, "memory", STATE_CARRIED, 1, c->kv_heads * c->e * c->e, NULL);
    model_state(m, layer, "memory_norm", STATE_CARRIED, 1, c->kv_heads * c->e, NULL);
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    const struct layer_params *p = m->layer + layer;
    struct tape *t = f->tape;
    struct tensor *q = op_linear(t, in.h, &p->wq->leaf, NULL), *k = op_linear(t, in.h, &p->wk->leaf, NULL);
    struct tensor *v = op_linear(t, in.h, &p->wv->leaf, NULL), *rope = forward_rope(f, false);
    struct attention_shape local = {.batch = f->batch,
                                    .queries = f->segments * f->n,
                                    .heads = c->heads,
                                    .kv_heads = c->kv_heads,
                                    .e = c->e,
                                    .segment = f->n,
                                    .back = 0,
                                    .own_from_segment = 1,
                                    .scale = 1 / __builtin_sqrt((double)c->e)};
    struct tensor *rotated = op_rope(t, k, rope, c->kv_heads);
    struct tensor *a = op_attention(t, op_rope(t, q, rope, c->heads), rotated, v, NULL, NULL, NULL, NULL, NULL, f->since, &local);
    if (update(c) != NONE) {
        if (f->watch && !f->training) {
            f->watch(f->watch_data, layer, "query", q);
            f->watch(f->watch_data, layer, "key", k);
        }
        struct memory_shape memory = {.batch = f->batch,
                                      .segments = f->segments,
                                      .n = f->n,
                                      .heads = c->heads,
                                      .kv_heads = c->kv_heads,
                                      .e = c->e,
                                      .f = c->e,
                                      .update = update(c),
                                      .eps = options_real(&c->options, "epsilon")};
        int sm = layer_state(m, layer, "memory"), sz = layer_state(m, layer, "memory_norm");
        struct tensor *gamma, **shown = f->watch && f->training && update(c) == DELTA_GAMMA ? &gamma : NULL;
        struct tensor *read = op_memory(t, &f->out[sm], &f->out[sz], shown, q, FAULT(rope_memory) ? rotated : k, v, f->in[sm],
                                        f->in[sz], f->since, f->len, &memory);
        if (shown) f->watch(f->watch_data, layer, "gamma", gamma);
        int mode = options_choice(&c->options, "first_segment") == 1 ? MIX_BYPASS : MIX_GATED;
        const int32_t *knocked = f->knocked ? f->knocked + layer * c->heads : NULL;
        a = op_mix(t, read, a, &layer_param(m, layer, "beta")->leaf, f->since, knocked, mode, f->batch, f->segments, f->n,
                   c->heads);
    }
    return op_linear(t, a, &p->wo->leaf, NULL);
}

static double extra_params(const struct model_config *c) { return update(c) == NONE ? 0 : (double)c->heads; }

static int64_t memory_elements(const struct model_config *c, int64_t context) {
    (void)context;
    return count_times(count_times(c->layers, c->kv_heads), count_times(c->e, count_plus(c->e, 1)));
}

static const struct footprint table1 = {.model = "Infini-Transformers",
                                        .formula = "d_key·(d_value + 1)·H·l",
                                        .length = "N·S",
                                        .update = "Incremental",
                                        .retrieval = "linear attention",
                                        .elements = memory_elements,
                                        .tokens = footprint_text};
static const struct footprint *footprint(const struct model_config *c) { return update(c) == NONE ? &footprint_local : &table1; }

/* The formula, once there was a write. */
static int64_t carried(const struct model_config *c, int64_t context) {
    return update(c) == NONE || context < c->segment ? 0 : memory_elements(c, context);
}

/* The memory as it was before the segment of the query. */
static int64_t attended(const struct model_config *c, int64_t context) {
    int64_t rows = context < c->segment ? context : c->segment;
    return count_plus(carried(c, context - rows), count_times(count_times(2 * c->layers, c->kv_heads), count_times(c->e, rows)));
}

static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    (void)before, (void)training;
    double e = (double)c->e, h = (double)c->heads, g = (double)c->kv_heads;
    double flops = 4 * e * h * ((double)c->segment + 1) / 2;
    if (update(c) >= LINEAR) flops += 2 * e * (e + 1) * h + 2 * e * e * g;
    if (update(c) >= DELTA) flops += 2 * e * (e + 1) * g;
    return flops * (double)c->layers;
}

static int64_t reach(const struct model_config *c) { return update(c) == NONE ? c->segment - 1 : UNBOUNDED; }

const struct baseline baseline_infini = {
    .name = "infini",
    .paper = "Munkhdalai et al. 2024, arXiv 2404.07143",
    .summary = "local attention and a compressive memory, mixed by a learnt gate per head",
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
    .compressive = true,
    .additive = true,
};
