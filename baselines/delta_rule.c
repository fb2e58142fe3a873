/* delta_rule.c - fast weights written by the delta rule: Schlag et al. 2021 (arXiv 2102.11174), DeltaNet (Yang et al. 2024, arXiv
 * 2406.06484), Gated DeltaNet (Yang et al. 2025, arXiv 2412.06464).
 *
 * S = exp(g_t) S (gated); u = b_t (v_t - S^T k_t); S = S + k_t u^T; y_t = S^T q_t / sqrt(head size), read after the write;
 * b_t = sigmoid(w_beta x_t), one per head. Only what the matrix does not return already is written, against the matrix as the token
 * before has left it: Infini-attention's delta compares with the matrix at the start of the segment and so differs within the
 * first.
 *
 * What the papers leave open or differ in, and what stands here:
 *   features   `l2` (DeltaNet, default): q and k of each head at length 1, RMSNorm with a learnt weight on each head's output;
 *              `sum` (Schlag): ELU + 1 over its sum, for q and k (Schlag also has DPFP features: not here), no norm, no normaliser
 *              of the read (the authors' best setting).
 *   gated      `yes`: g_t = -exp(log_rate) softplus(w_decay x_t + step_bias) per head, rates from (0, 16], steps from [0.001, 0.1].
 *   conv_size  K > 0 (DeltaNet: 4): each channel of q, k and v is convolved over its last K tokens, then SiLU, before the features;
 *              weights start uniform in +-1/sqrt(K), PyTorch's way, no bias. 0 (default): none, as in Schlag.
 *   left out   the SiLU gate on the output of DeltaNet: no architecture here has one. Strengths above 1 (negative eigenvalues).
 *   positions  none: order is known by causality and by what was overwritten; with `gated` by the decay, with `conv_size` by the
 *              convolution. Without either, training stays long at what the last token alone predicts.
 * S is carried, and the last K - 1 rows of q, k, v before the convolution; they start anew with a document, and the gradient flows
 * through them over all segments of a step (Schlag's code cuts it at each). Query heads of one key/value head share its matrix.
 *
 * Easy to get wrong: keys that are not normalised (S explodes); the difference of running decays masked after the exponential. */
#include "../harness/model.h"

#include <math.h>

enum { FEATURES_L2, FEATURES_SUM }; /* order of the choices below */

static const struct option options[] = {
    {"features", OPTION_CHOICE, "l2", 0, 0, "l2|sum",
     "of q and k: at length 1 (DeltaNet), or ELU + 1 over its sum (Schlag et al.)"},
    {"gated", OPTION_BOOL, "no", 0, 0, NULL, "the matrix decays by a learnt factor before each write (Gated DeltaNet)"},
    {"epsilon", OPTION_REAL, "1e-6", 0, 1, NULL, "added to the squared length of q and k (l2)"},
    {"conv_size", OPTION_INT | OPTION_LATER, "0", 0, 16, NULL,
     "tokens that a convolution before q, k, v sees (DeltaNet: 4); 0: none"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static int features(const struct model_config *c) { return options_choice(&c->options, "features"); }
static bool gated(const struct model_config *c) { return options_bool(&c->options, "gated"); }
static int64_t conv_size(const struct model_config *c) { return options_int(&c->options, "conv_size"); }

/* Channels of q, k and v. */
static int64_t channels(const struct model_config *c) {
    return count_times(count_plus(c->heads, count_times(2, c->kv_heads)), c->e);
}
static const char *const conv_names[] = {"conv_q", "conv_k", "conv_v"}; /* parameters, and the rows that are carried */
static int64_t conv_width(const struct model_config *c, int i) { return (i ? c->kv_heads : c->heads) * c->e; }

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    if (layer < 0) return;
    double in = 1 / sqrt((double)c->d);
    model_param(m, layer, "w_beta", c->kv_heads, c->d, INIT_NORMAL, in, GROUP_WEIGHT);
    if (gated(c)) {
        model_param(m, layer, "w_decay", c->kv_heads, c->d, INIT_NORMAL, in, GROUP_WEIGHT);
        model_param(m, layer, "log_rate", 1, c->kv_heads, INIT_LOG_RATE, 16, GROUP_NORM);
        model_param(m, layer, "step_bias", 1, c->kv_heads, INIT_STEP, 0.1, GROUP_NORM);
    }
    for (int i = 0; conv_size(c) && i < 3; i++) {
        int64_t size = conv_size(c), width = conv_width(c, i);
        model_param(m, layer, conv_names[i], size, width, INIT_UNIFORM, 1 / sqrt((double)size), GROUP_WEIGHT);
        if (size > 1) model_state(m, layer, conv_names[i], STATE_CARRIED, 1, (size - 1) * width, NULL);
    }
    if (features(c) == FEATURES_L2) model_param(m, layer, "head_norm", 1, c->e, INIT_ONE, 0, GROUP_NORM);
    model_state(m, layer, "fast_weight", STATE_CARRIED, 1, c->kv_heads * c->e * c->e, NULL);
}

static struct tensor *featured(struct tape *t, const struct model_config *c, struct tensor *x, int64_t heads) {
    if (features(c) == FEATURES_SUM) return op_feature(t, x, true, c->e);
    return op_headnorm(t, x, NULL, options_real(&c->options, "epsilon"), heads);
}

/* q, k or v (i: 0, 1, 2) of the layer's input. */
static struct tensor *projected(struct forward *f, int layer, struct tensor *h, struct param *w, int i) {
    const struct model_config *c = &f->model->config;
    struct tensor *x = op_linear(f->tape, h, &w->leaf, NULL);
    struct short_conv_shape shape = {f->batch, f->segments, f->n, conv_width(c, i), conv_size(c)};
    if (shape.size == 0) return x;
    int s = shape.size > 1 ? layer_state(f->model, layer, conv_names[i]) : -1;
    return op_short_conv(f->tape, s < 0 ? NULL : &f->out[s], x, &layer_param(f->model, layer, conv_names[i])->leaf,
                         s < 0 ? NULL : f->in[s], f->since, f->len, &shape);
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    const struct layer_params *p = m->layer + layer;
    struct tape *t = f->tape;
    struct tensor *q = featured(t, c, projected(f, layer, in.h, p->wq, 0), c->heads);
    struct tensor *k = featured(t, c, projected(f, layer, in.h, p->wk, 1), c->kv_heads);
    struct tensor *v = projected(f, layer, in.h, p->wv, 2), *decay = NULL;
    struct tensor *beta = op_sigmoid(t, op_linear(t, in.h, &layer_param(m, layer, "w_beta")->leaf, NULL));
    if (gated(c))
        decay = op_decay(t, op_linear(t, in.h, &layer_param(m, layer, "w_decay")->leaf, NULL),
                         &layer_param(m, layer, "log_rate")->leaf, &layer_param(m, layer, "step_bias")->leaf);
    struct fast_weight_shape shape = {.batch = f->batch,
                                      .segments = f->segments,
                                      .n = f->n,
                                      .heads = c->heads,
                                      .kv_heads = c->kv_heads,
                                      .e = c->e,
                                      .f = c->e,
                                      .rule = FAST_WEIGHT_DELTA};
    int s = layer_state(m, layer, "fast_weight");
    struct tensor *y = op_fast_weight(t, &f->out[s], NULL, op_scale(t, q, 1 / sqrt((double)c->e)), k, v, beta, decay, f->in[s],
                                      NULL, f->since, f->len, &shape);
    if (features(c) == FEATURES_L2) y = op_rmsnorm(t, y, &layer_param(m, layer, "head_norm")->leaf, c->norm_eps);
    return op_linear(t, y, &p->wo->leaf, NULL);
}

static double extra_params(const struct model_config *c) {
    double heads = (double)c->kv_heads, d = (double)c->d;
    return heads * d + (gated(c) ? heads * (d + 2) : 0) + (features(c) == FEATURES_L2 ? (double)c->e : 0) +
           (double)conv_size(c) * (double)channels(c);
}

/* S of every layer and key/value head, and the rows before the convolution. */
static int64_t attended(const struct model_config *c, int64_t context) {
    (void)context;
    int64_t rows = conv_size(c) > 1 ? count_times(conv_size(c) - 1, channels(c)) : 0;
    return count_times(c->layers, count_plus(count_times(c->kv_heads, count_times(c->e, c->e)), rows));
}

#define TABLE1                                                                                                                     \
    .length = "N·S", .update = "Incremental", .retrieval = "linear attention", .elements = attended, .tokens = footprint_text
static const struct footprint plain_row = {TABLE1, .model = "Delta rule", .formula = "d_key·d_value·H·l"};
static const struct footprint conv_row = {TABLE1, .model = "Delta rule, convolution over K tokens",
                                          .formula = "(d_key·d_value·H + (K - 1)·d_key·(H_q + 2·H))·l"};
static const struct footprint *footprint(const struct model_config *c) { return conv_size(c) > 1 ? &conv_row : &plain_row; }

static int64_t carried(const struct model_config *c, int64_t context) { return context < c->segment ? 0 : attended(c, context); }

/* Of the recurrence: read, comparison, write; the products with w_beta and w_decay; the convolution. */
static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    (void)before, (void)training;
    double e = (double)c->e, h = (double)c->heads, g = (double)c->kv_heads;
    double conv = 2 * (double)conv_size(c) * e * (h + 2 * g);
    return (2 * e * e * (h + 2 * g) + 2 * (double)c->d * g * (gated(c) ? 2 : 1) + conv) * (double)c->layers;
}

static int64_t reach(const struct model_config *c) { return (void)c, UNBOUNDED; }

const struct baseline baseline_delta_rule = {
    .name = "delta_rule",
    .paper = "Schlag et al. 2021, arXiv 2102.11174; Yang et al. 2024, arXiv 2406.06484",
    .summary = "a fast-weight matrix in which each token corrects what its key returns",
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
