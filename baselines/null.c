/* null.c - the unigram model: one logit per symbol, no context. It tests the harness itself: its bits per byte are known in closed
 * form (the cross entropy of the training text's symbol frequencies), and a step of it costs what the harness costs.
 *
 * Carries nothing. Trained like every other row, so data, optimiser and evaluation are exercised. Exempt from equal parameters. */
#include "../harness/model.h"

static void declare(struct model *m, int layer) {
    if (layer < 0) model_param(m, -1, "unigram", 1, m->config.vocab, INIT_ZERO, 0, GROUP_GATE);
}

static struct tensor *logits(struct forward *f) {
    struct tape *t = f->tape;
    struct tensor *zero = tape_tensor2(t, "zero", f->batch * f->segments * f->n, f->model->config.vocab);
    RUN(t, fill, zero->data, 0, zero->n);
    return op_add_bias(t, zero, &layer_param(f->model, -1, "unigram")->leaf);
}

static const struct footprint table1 = {.model = "Unigram (null)",
                                        .formula = "0",
                                        .length = "0",
                                        .update = "None",
                                        .retrieval = "None",
                                        .elements = footprint_nothing,
                                        .tokens = footprint_nothing};
static const struct footprint *footprint(const struct model_config *c) { return (void)c, &table1; }
static double no_flops(const struct model_config *c, int64_t before, bool training) {
    return (void)c, (void)before, (void)training, 0;
}
static int64_t reach(const struct model_config *c) { return (void)c, 0; }

const struct baseline baseline_null = {
    .name = "null",
    .paper = "-",
    .summary = "unigram: symbol frequencies, no context",
    .version = 1,
    .declare = declare,
    .logits = logits,
    .footprint = footprint,
    .carried = footprint_nothing,
    .attended = footprint_nothing,
    .mixing_flops = no_flops,
    .reach = reach,
    .layer_major = true,
};
