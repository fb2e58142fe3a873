/* rmt.c - Recurrent Memory Transformer (Bulatov et al. 2022, arXiv 2207.06881).
 *
 * m memory rows stand before the tokens of a segment (read) and m after them (write): [mem; x; mem]. Read and write rows see each
 * other within their block; tokens see the read rows and the tokens up to themselves; write rows see everything. The last layer's
 * output at the write rows is the memory of the next segment, at its input: nothing else is carried. The gradient flows through it.
 *
 * Open points: the carried rows are RMS-normalised with a learnt weight, as implementations on pre-norm models take the output
 * after the final norm (the residual stream of a pre-norm model grows with depth, an input embedding may not); the initial memory
 * is learnt, rows drawn independently (the authors' code repeats one random row); rotary positions count all rows of the block,
 * memory rows included, as the authors' later code has it; `bptt = K` cuts the gradient in blocks: it crosses K segment boundaries
 * of a step and not the next (the paper's sliding K-segment window would run every segment K + 1 times). Easy to get wrong: a
 * partial segment writes no memory; the memory starts anew with a document. The 2m rows come on top of the N tokens of a segment
 * (the paper counts its memory within the input length): they are in the FLOP. */
#include "../harness/model.h"

static const struct option options[] = {
    {"memory_tokens", OPTION_INT, "-1", -1, 4096, NULL,
     "rows read and written (m); -1: 100 for a segment of 2,048 (the best of 50, 100, 150 in Infini-attention's Table 2), in "
     "proportion; 0: segments do not know each other"},
    {"bptt", OPTION_INT, "-1", -1, 1e6, NULL, "segment boundaries that the gradient crosses; -1: all of a training step"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static int64_t memory(const struct model_config *c) {
    int64_t m = options_int(&c->options, "memory_tokens");
    return m >= 0 ? m : c->segment / 2048 * 100 + (c->segment % 2048 * 100 + 2047) / 2048;
}

static void rows(const struct model_config *c, int64_t *lead, int64_t *trail) { *lead = *trail = memory(c); }

static void declare(struct model *m, int layer) {
    int64_t d = m->config.d, n = memory(&m->config);
    if (layer >= 0 || !n) return;
    struct param *init = model_param(m, -1, "memory_init", n, d, INIT_NORMAL, 1, GROUP_NORM);
    model_param(m, -1, "memory_norm", 1, d, INIT_ONE, 0, GROUP_NORM);
    model_state(m, -1, "memory", STATE_CARRIED, 1, n * d, init);
}

/* What this segment reads; its gradient ends here in the first segment after each block of bptt + 1. */
static struct tensor *current(struct forward *f) {
    const struct model_config *c = &f->model->config;
    int64_t bptt = options_int(&c->options, "bptt");
    struct tensor *x = f->in[layer_state(f->model, -1, "memory")];
    if (bptt >= 0 && f->first % (bptt + 1) == 0) x = op_detach(f->tape, x);
    return op_reset_rows(f->tape, x, &layer_param(f->model, -1, "memory_init")->leaf, f->since, 1, f->batch);
}

static void begin(struct forward *f, struct tensor **lead, struct tensor **trail) {
    if (f->lead) *lead = *trail = current(f);
}

static void end(struct forward *f, struct tensor *lead, struct tensor *trail) {
    const struct model_config *c = &f->model->config;
    if (!lead) return;
    struct tensor *row = op_reshape(f->tape, trail, 2, (const int64_t[]){f->batch * memory(c), c->d});
    struct tensor *next = op_rmsnorm(f->tape, row, &layer_param(f->model, -1, "memory_norm")->leaf, c->norm_eps);
    next = op_reshape(f->tape, next, 2, (const int64_t[]){f->batch, memory(c) * c->d});
    f->out[layer_state(f->model, -1, "memory")] = forward_keep(f, next, current(f));
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) { return forward_with_rows(f, layer, in, 0); }

static double extra_params(const struct model_config *c) {
    return memory(c) ? (double)((memory(c) + 1) * c->d) / (double)c->layers : 0;
}

/* The paper's table counts m vectors of every layer, twice; what is carried are m vectors. */
static int64_t table_elements(const struct model_config *c, int64_t context) {
    return (void)context, count_times(count_times(count_times(c->d, memory(c)), c->layers), 2);
}
static const struct footprint table1 = {.model = "RMT",
                                        .formula = "d_model·p·l·2",
                                        .length = "N·S",
                                        .update = "Discarded",
                                        .retrieval = "soft-prompt input",
                                        .elements = table_elements,
                                        .tokens = footprint_text};
static const struct footprint *footprint(const struct model_config *c) { return memory(c) ? &table1 : &footprint_local; }

static int64_t carried(const struct model_config *c, int64_t context) {
    return context < c->segment ? 0 : count_times(memory(c), c->d);
}

/* Of a token: the read rows and the segment, keys and values of all layers. */
static int64_t attended(const struct model_config *c, int64_t context) {
    return footprint_kv(c, memory(c) + (context < c->segment ? context : c->segment));
}

/* Attention of tokens and memory rows, and all products of the layer for the 2m rows that are no tokens. */
static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    (void)before, (void)training;
    double e = (double)c->e, h = (double)c->heads, g = (double)c->kv_heads, d = (double)c->d, n = (double)c->segment;
    double m = (double)memory(c), pairs = n * (n + 1) / 2 + n * m + m * m + m * (n + 2 * m);
    double row = 2 * d * e * (2 * h + 2 * g) + 2 * d * (double)c->ffn_used * (c->ffn_relu ? 2 : 3);
    return (4 * e * h * pairs + 2 * m * row) / n * (double)c->layers;
}

static int64_t reach(const struct model_config *c) { return memory(c) ? UNBOUNDED : c->segment - 1; }

const struct baseline baseline_rmt = {
    .name = "rmt",
    .paper = "Bulatov et al. 2022, arXiv 2207.06881",
    .summary = "memory tokens read before and written after each segment",
    .options = options,
    .version = 1,
    .declare = declare,
    .forward = forward,
    .rows = rows,
    .begin = begin,
    .end = end,
    .extra_params = extra_params,
    .footprint = footprint,
    .carried = carried,
    .attended = attended,
    .mixing_flops = mixing_flops,
    .reach = reach,
};
