/* autocompressor.c - AutoCompressor (Chevalier et al. 2023, arXiv 2305.14788).
 *
 * `summary` learnt rows (kappa) stand after the tokens of a segment; their outputs of the last layer are the segment's summary.
 * Every segment is preceded by the summaries of all earlier segments of its document, oldest first: [summaries; x; learnt rows].
 * Tokens see the summaries and the tokens up to themselves; the learnt rows see everything. The gradient flows through the
 * summaries and is cut after every second segment of a step (`cut`), as the authors train.
 *
 * What is carried grows with the document. Shapes may not: there is room for the summaries of `kept` segments, beyond which the
 * oldest go (the paper's longest runs have 15 segments); the rows of summaries that are not there yet are masked. kept = 1 is the
 * authors' "RMT mode".
 *
 * Open points: the carried rows are RMS-normalised with a learnt weight (see rmt.c); summary rows see each other in both
 * directions, as memory rows of rmt do: a deviation, the authors' mask is causal; summary rows come on top of the N tokens of a
 * segment, in memory and in FLOP; rotary positions count from the first row of the room, so that
 * the newest summary is always next to the first token; learnt rows start independently (the authors start all from the embedding
 * of EOS). */
#include "../harness/model.h"

static const struct option options[] = {
    {"summary", OPTION_INT, "-1", -1, 1024, NULL,
     "summary rows of a segment (kappa); -1: 50 for a segment of 2,048, as the authors, in proportion"},
    {"kept", OPTION_INT, "16", 1, 4096, NULL, "segments whose summaries are kept"},
    {"cut", OPTION_INT, "2", 1, 1e6, NULL, "the gradient is cut after every so many segments of a step"},
    {NULL, 0, NULL, 0, 0, NULL, NULL},
};

static int64_t summary(const struct model_config *c) {
    int64_t k = options_int(&c->options, "summary");
    return k > 0 ? k : c->segment / 2048 * 50 + (c->segment % 2048 * 50 + 2047) / 2048;
}
/* 0 would be a model without summaries under this name; rmt with memory_tokens = 0 is that control. */
static int check(const struct model_config *c, struct error *e) {
    if (options_int(&c->options, "summary") != 0) return 0;
    return fail(
        e, "architecture autocompressor: summary = 0 leaves nothing to carry; rmt with memory_tokens = 0 is the model without");
}

static int64_t room(const struct model_config *c) { return summary(c) * options_int(&c->options, "kept"); }

static void rows(const struct model_config *c, int64_t *lead, int64_t *trail) { *lead = room(c), *trail = summary(c); }

static void declare(struct model *m, int layer) {
    const struct model_config *c = &m->config;
    if (layer >= 0) return;
    model_param(m, -1, "summary_embed", summary(c), c->d, INIT_NORMAL, 1, GROUP_NORM);
    model_param(m, -1, "summary_norm", 1, c->d, INIT_ONE, 0, GROUP_NORM);
    struct state_spec *s = m->states + model_state(m, -1, "summaries", STATE_CARRIED, 1, room(c) * c->d, NULL);
    s->step = summary(c) * c->d;
    s->every = c->segment;
}

/* The room with the newest summary last; what a new document has not written is masked, and 0. */
static struct tensor *summaries(struct forward *f) {
    struct tensor *x = f->in[layer_state(f->model, -1, "summaries")];
    if (f->first % options_int(&f->model->config.options, "cut") == 0) x = op_detach(f->tape, x);
    return op_reset_rows(f->tape, x, NULL, f->since, 1, f->batch);
}

static void begin(struct forward *f, struct tensor **lead, struct tensor **trail) {
    const struct model_config *c = &f->model->config;
    *lead = summaries(f);
    /* The learnt rows for each batch row: a reset of all of them, whose condition is the position 0 of each row's first token. */
    struct tensor *any = op_slice_rows(f->tape, *lead, 0, summary(c), f->batch, c->d);
    *trail = op_reset_rows(f->tape, any, &layer_param(f->model, -1, "summary_embed")->leaf, f->pos_segment, f->n, f->batch);
}

static void end(struct forward *f, struct tensor *lead, struct tensor *trail) {
    const struct model_config *c = &f->model->config;
    struct tape *t = f->tape;
    (void)lead;
    struct tensor *before = summaries(f), *row = op_reshape(t, trail, 2, (const int64_t[]){f->batch * summary(c), c->d});
    struct tensor *parts[2] = {NULL, op_rmsnorm(t, row, &layer_param(f->model, -1, "summary_norm")->leaf, c->norm_eps)};
    if (room(c) > summary(c)) parts[0] = op_slice_rows(t, before, summary(c), room(c) - summary(c), f->batch, c->d);
    struct tensor *next = op_concat_rows(t, parts, 2, f->batch, c->d);
    f->out[layer_state(f->model, -1, "summaries")] = forward_keep(f, next, before);
}

static struct tensor *forward(struct forward *f, int layer, struct mixer_input in) {
    return forward_with_rows(f, layer, in, summary(&f->model->config));
}

static double extra_params(const struct model_config *c) { return (double)((summary(c) + 1) * c->d) / (double)c->layers; }

/* Rows of summaries after `context` tokens. */
static int64_t filled(const struct model_config *c, int64_t context) {
    int64_t n = summary(c) * (context / c->segment);
    return n < room(c) ? n : room(c);
}

/* The paper's table counts p vectors of every layer for each of the m + 1 segments read; what is carried are those of `kept`, once.
 */
static int64_t table_elements(const struct model_config *c, int64_t context) {
    int64_t read = context / c->segment + (context % c->segment != 0);
    return count_times(count_times(count_times(c->d, summary(c)), c->layers), read);
}
static const struct footprint table1 = {.model = "AutoCompressors",
                                        .formula = "d_model·p·(m + 1)·l",
                                        .length = "N·S",
                                        .update = "Discarded",
                                        .retrieval = "soft-prompt input",
                                        .elements = table_elements,
                                        .tokens = footprint_text};
static const struct footprint *footprint(const struct model_config *c) { return (void)c, &table1; }

static int64_t carried(const struct model_config *c, int64_t context) { return count_times(filled(c, context), c->d); }

static int64_t attended(const struct model_config *c, int64_t context) {
    int64_t own = context < c->segment ? context : c->segment;
    return footprint_kv(c, filled(c, context - own) + own);
}

/* As rmt.c: pairs of tokens, summaries and learnt rows, and all products of a layer for the rows that are no tokens. */
static double mixing_flops(const struct model_config *c, int64_t before, bool training) {
    (void)training;
    double e = (double)c->e, h = (double)c->heads, g = (double)c->kv_heads, d = (double)c->d, n = (double)c->segment;
    double s = (double)filled(c, before), k = (double)summary(c), pairs = n * (n + 1) / 2 + n * s + s * s + k * (n + s + k);
    double row = 2 * d * e * (2 * h + 2 * g) + 2 * d * (double)c->ffn_used * (c->ffn_relu ? 2 : 3);
    return (4 * e * h * pairs + (s + k) * row) / n * (double)c->layers;
}

static int64_t reach(const struct model_config *c) { return (void)c, UNBOUNDED; }

const struct baseline baseline_autocompressor = {
    .name = "autocompressor",
    .paper = "Chevalier et al. 2023, arXiv 2305.14788",
    .summary = "summaries of the last `kept` segments before each segment",
    .options = options,
    .version = 1,
    .check = check,
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
