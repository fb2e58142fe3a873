/* transformer.c - the plain decoder with rotary positions and a KV cache.
 *
 * `window = 0`: full attention over the step's S*N tokens in training; at evaluation a sliding window of that trained length (RoPE
 * does not extrapolate, so beyond it this is no upper bound). `window = W > 0`: each token sees the last W positions, itself
 * included; `stride = disjoint`: only its own segment (windows of N that do not overlap: the weakest context, what short-context
 * training does).
 *
 * Keys of earlier segments of the same training step carry a gradient; those of earlier steps come detached from the cache, and
 * only with window > 0. Keys are cached rotated, by position in the document: rotation is relative, so any consistent origin
 * serves.
 *
 * Easy to get wrong: caching unrotated keys and rotating them by their place in the cache. */
#include "../harness/model.h"

static const struct option options[] = {
    {"window", OPTION_INT, "0", 0, 1e9, NULL, "tokens that a token sees, itself included; 0: the trained length S*N"},
    {"stride", OPTION_CHOICE, "sliding", 0, 0, "sliding|disjoint", "disjoint: a token sees its own segment only"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static bool disjoint(const struct model_config *c) { return options_choice(&c->options, "stride") == 1; }

static int64_t window(const struct model_config *c) {
    int64_t w = options_int(&c->options, "window");
    return disjoint(c) ? c->segment : w ? w : c->segment * c->segments;
}

static int check(const struct model_config *c, struct error *e) {
    int64_t w = options_int(&c->options, "window");
    if (disjoint(c) && w && w != c->segment)
        return fail(
            e, "architecture transformer: stride = disjoint has windows of one segment (%lld tokens); leave window out, not %lld",
            (long long)c->segment, (long long)w);
    return 0;
}

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    if (layer < 0 || disjoint(c)) return;
    model_state(m, layer, "keys", STATE_RING, window(c), c->kv_heads * c->e, NULL);
    model_state(m, layer, "values", STATE_RING, window(c), c->kv_heads * c->e, NULL);
    model_state(m, layer, "step_keys", STATE_STEP, 0, 0, NULL);
    model_state(m, layer, "step_values", STATE_STEP, 0, 0, NULL);
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    const struct layer_params *p = m->layer + layer;
    struct tape *t = f->tape;
    int64_t width = c->kv_heads * c->e, rows = f->segments * f->n, offset = f->first * f->n;
    struct tensor *rope = forward_rope(f, true);
    struct tensor *q = op_rope(t, op_linear(t, in.h, &p->wq->leaf, NULL), rope, c->heads);
    struct tensor *k = op_rope(t, op_linear(t, in.h, &p->wk->leaf, NULL), rope, c->kv_heads);
    struct tensor *v = op_linear(t, in.h, &p->wv->leaf, NULL), *kc = NULL, *vc = NULL;
    struct attention_shape shape = {.batch = f->batch,
                                    .queries = rows,
                                    .heads = c->heads,
                                    .kv_heads = c->kv_heads,
                                    .e = c->e,
                                    .segment = f->n,
                                    .own_from_segment = disjoint(c),
                                    .scale = 1 / __builtin_sqrt((double)c->e)};
    if (!disjoint(c)) {
        int sk = layer_state(m, layer, "keys"), sv = layer_state(m, layer, "values");
        int tk = layer_state(m, layer, "step_keys"), tv = layer_state(m, layer, "step_values");
        shape.back = UNBOUNDED;
        shape.window = window(c);
        /* history: detached rows from before the step (and, when nothing is differentiated, from before the call) */
        bool step_history = f->training && f->in[tk];
        int64_t old = f->training && options_int(&c->options, "window") == 0 ? 0 : window(c) - 1;
        if (old > 0) {
            int64_t from = (f->training ? 0 : offset) - old;
            kc = op_ring_read(t, f->ring[sk], f->head, from, f->batch, old, f->capacity[sk], width);
            vc = op_ring_read(t, f->ring[sv], f->head, from, f->batch, old, f->capacity[sv], width);
        }
        if (step_history) {
            kc = op_concat_rows(t, (struct tensor *[]){kc, f->in[tk]}, 2, f->batch, width);
            vc = op_concat_rows(t, (struct tensor *[]){vc, f->in[tv]}, 2, f->batch, width);
        }
        shape.cache = shape.cache_rows = old + (f->training ? offset : 0);
        op_ring_write(t, f->ring[sk], k, f->head, offset, f->batch, rows, f->capacity[sk]);
        op_ring_write(t, f->ring[sv], v, f->head, offset, f->batch, rows, f->capacity[sv]);
        if (f->training && f->segments < c->segments) {
            f->out[tk] = op_concat_rows(t, (struct tensor *[]){f->in[tk], k}, 2, f->batch, width);
            f->out[tv] = op_concat_rows(t, (struct tensor *[]){f->in[tv], v}, 2, f->batch, width);
        }
    }
    struct tensor *a = op_attention(t, q, k, v, kc, vc, NULL, NULL, NULL, f->since, &shape);
    return op_linear(t, a, &p->wo->leaf, NULL);
}

static int64_t window_elements(const struct model_config *c, int64_t context) { return (void)context, footprint_kv(c, window(c)); }
static int64_t window_tokens(const struct model_config *c, int64_t context) {
    return (void)context, count_times(c->layers, window(c) - 1);
}

/* window = 0 stands for full attention, whose cache grows with the text; what is carried here stops at the trained length. */
static const struct footprint full = {.model = "Transformer (KV cache)",
                                      .formula = "(d_key + d_value)·H·N·S·l",
                                      .length = "N·S",
                                      .update = "None",
                                      .retrieval = "dot-product attention",
                                      .elements = footprint_kv,
                                      .tokens = footprint_text};
static const struct footprint windowed = {.model = "Transformer, window W",
                                          .formula = "(d_key + d_value)·H·W·l",
                                          .length = "(W - 1)·l",
                                          .update = "Discarded",
                                          .retrieval = "dot-product attention",
                                          .elements = window_elements,
                                          .tokens = window_tokens};
static const struct footprint *footprint(const struct model_config *c) {
    return disjoint(c) ? &footprint_local : options_int(&c->options, "window") ? &windowed : &full;
}

static int64_t attended(const struct model_config *c, int64_t context) {
    return footprint_kv(c, context < window(c) ? context : window(c));
}

static int64_t carried(const struct model_config *c, int64_t context) { return disjoint(c) ? 0 : attended(c, context); }

/* Pairs of one token, averaged over a segment that has `before` tokens before it; in training with the full window those of the
 * step, which starts without history. */
static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    double pairs = 0;
    int64_t w = window(c), n = c->segment;
    if (disjoint(c)) before = 0;
    if (training && !disjoint(c) && options_int(&c->options, "window") == 0) before %= c->segment * c->segments;
    for (int64_t i = 0; i < n; i++) pairs += (double)(before + i + 1 < w ? before + i + 1 : w);
    return 4 * (double)(c->e * c->heads * c->layers) * pairs / (double)n;
}

static int64_t reach(const struct model_config *c) { return disjoint(c) ? c->segment - 1 : c->layers * (window(c) - 1); }

const struct baseline baseline_transformer = {
    .name = "transformer",
    .paper = "Vaswani et al. 2017; rotary positions, Su et al. 2021",
    .summary = "causal attention over a window of keys and values",
    .options = options,
    .version = 1,
    .check = check,
    .declare = declare,
    .forward = forward,
    .footprint = footprint,
    .carried = carried,
    .attended = attended,
    .mixing_flops = mixing_flops,
    .reach = reach,
    .layer_major = true,
};
