/* rnn.c - LSTM (Hochreiter and Schmidhuber 1997) and GRU (Cho et al. 2014), the way before attention.
 *
 * The mixer of a layer is a recurrent layer of width heads * head_dim over the tokens, in PyTorch's conventions:
 *   LSTM  i, f, o = s(W x + U h + b), g = tanh(W x + U h + b); c' = f c + i g; h' = o tanh(c')
 *   GRU   r, z = s(W x + U h + b), n = tanh(W x + b + r (U h + b')); h' = (1 - z) n + z h    (r after the product with U)
 * x is the layer's normalised input, h' goes through W_o into the residual stream. h (and c) of each layer are carried from segment
 * to segment with gradient, so a step is backpropagation through all its segments and no further.
 *
 * Parameters: W of the first three gates are W_q, W_k, W_v, which every model of the harness has (LSTM i, f, g; GRU r, z, n); added
 * are the LSTM's fourth gate `w_output_gate`, the recurrent matrices `w_hh` (gates in PyTorch's order i f g o | r z n) and the
 * biases `bias` (i f g o | r, z, b' of n, b of n). The feed-forward width gives up what they need: 5 d^2 a layer (LSTM) or 3 d^2
 * (GRU).
 *
 * Open points: gates have biases, which no other product here has, without weight decay: a forget gate that starts half closed
 * forgets a segment before it has learnt anything. PyTorch's two biases of a gate are one, except in the GRU's n, where they
 * differ. `forget_bias` is added to the forget gate's and not learnt (TensorFlow's way; b itself starts at 0). W_hh starts uniform
 * in
 * +-1/sqrt(width) as in PyTorch. No positions: the order is in the recurrence. State is reset at document starts (classic language
 * models run on through them). Easy to get wrong: a partial segment moves no state; the reset gate before the product with U is
 * another model. */
#include "../harness/model.h"

#include <math.h>

static const struct option options[] = {
    {"cell", OPTION_CHOICE, "lstm", 0, 0, "lstm|gru", "LSTM (state h and c) or GRU (state h)"}, /* order of enum rnn_cell */
    {"forget_bias", OPTION_REAL, "1", -100, 100, NULL, "LSTM: constant in the forget gate, beside its learnt bias"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static bool lstm(const struct model_config *c) { return options_choice(&c->options, "cell") == RNN_LSTM; }
static int64_t width(const struct model_config *c) { return c->heads * c->e; }

static int check(const struct model_config *c, struct error *e) {
    if (c->kv_heads == c->heads) return 0;
    return fail(e,
                "rnn: W_k and W_v are products of gates and as wide as W_q, but kv_heads = %lld and heads = %lld; set them equal",
                (long long)c->kv_heads, (long long)c->heads);
}

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    int64_t H = width(c), gates = lstm(c) ? 4 : 3;
    if (layer < 0) return;
    if (lstm(c)) model_param(m, layer, "w_output_gate", H, c->d, INIT_NORMAL, 1 / sqrt((double)c->d), GROUP_WEIGHT);
    model_param(m, layer, "w_hh", gates * H, H, INIT_UNIFORM, 1 / sqrt((double)H), GROUP_WEIGHT);
    model_param(m, layer, "bias", 4, H, INIT_ZERO, 0, GROUP_NORM);
    model_state(m, layer, "h", STATE_CARRIED, 1, H, NULL);
    if (lstm(c)) model_state(m, layer, "c", STATE_CARRIED, 1, H, NULL);
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    struct model *m = f->model;
    const struct model_config *c = &m->config;
    const struct layer_params *p = m->layer + layer;
    struct tape *t = f->tape;
    struct rnn_shape shape = {.batch = f->batch,
                              .segments = f->segments,
                              .n = f->n,
                              .width = width(c),
                              .cell = options_choice(&c->options, "cell"),
                              .forget = lstm(c) ? options_real(&c->options, "forget_bias") : 0};
    struct tensor *x[4] = {op_linear(t, in.h, &p->wq->leaf, NULL), op_linear(t, in.h, &p->wk->leaf, NULL),
                           op_linear(t, in.h, &p->wv->leaf, NULL),
                           lstm(c) ? op_linear(t, in.h, &layer_param(m, layer, "w_output_gate")->leaf, NULL) : NULL};
    int h = layer_state(m, layer, "h"), cell = lstm(c) ? layer_state(m, layer, "c") : -1;
    struct tensor *c1 = NULL;
    struct tensor *y = op_rnn(t, &f->out[h], &c1, x, &layer_param(m, layer, "w_hh")->leaf, &layer_param(m, layer, "bias")->leaf,
                              f->in[h], lstm(c) ? f->in[cell] : NULL, f->since, f->len, &shape);
    if (lstm(c)) f->out[cell] = c1;
    return op_linear(t, y, &p->wo->leaf, NULL);
}

static double extra_params(const struct model_config *c) {
    int64_t H = width(c);
    return (double)(lstm(c) ? H * c->d + 4 * H * H + 4 * H : 3 * H * H + 4 * H);
}

static int64_t state_size(const struct model_config *c) {
    return count_times(count_times(c->layers, count_times(c->heads, c->e)), lstm(c) ? 2 : 1);
}

static int64_t state_elements(const struct model_config *c, int64_t context) { return (void)context, state_size(c); }
#define TABLE1 .length = "N·S", .update = "Overwritten", .retrieval = "gates", .elements = state_elements, .tokens = footprint_text
static const struct footprint lstm_row = {TABLE1, .model = "LSTM", .formula = "2·d_key·H_q·l"};
static const struct footprint gru_row = {TABLE1, .model = "GRU", .formula = "d_key·H_q·l"};
static const struct footprint *footprint(const struct model_config *c) { return lstm(c) ? &lstm_row : &gru_row; }

static int64_t carried(const struct model_config *c, int64_t context) { return context < c->segment ? 0 : state_size(c); }

static int64_t attended(const struct model_config *c, int64_t context) { return context > 0 ? state_size(c) : 0; }

static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    (void)before, (void)training;
    double H = (double)width(c), d = (double)c->d;
    return (lstm(c) ? 2 * d * H + 8 * H * H : 6 * H * H) * (double)c->layers;
}

static int64_t reach(const struct model_config *c) {
    (void)c;
    return UNBOUNDED;
}

const struct baseline baseline_rnn = {
    .name = "rnn",
    .paper = "Hochreiter and Schmidhuber 1997; Cho et al. 2014, arXiv 1406.1078",
    .summary = "LSTM or GRU in the place of attention",
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
