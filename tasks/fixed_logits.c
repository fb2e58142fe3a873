/* fixed_logits.c - logits of a model whose parameters and texts are fixed: exact expectations for the regression gate.
 *
 * Two rows are read side by side; then one of them starts a second document. So the figures depend on every part of the forward
 * pass: local attention, what is carried from segment to segment, partial segments, resets, and that rows do not meet. With `seed`
 * = 0 it is the row's own model, which is only fixed where that is a committed one (`start` of the row). It judges nothing:
 * infinibench check does. */
#include "harness/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct metric metrics[] = {{"logit", "", 0}, {NULL, NULL, 0}};

static const struct option options[] = {
    {"seed", OPTION_INT, "1", 0, 1e15, NULL,
     "the row's shape with parameters drawn from this seed, whatever the training seed is; 0: the row's model as it is"},
    {"symbols", OPTION_INT, "2", 1, 64, NULL,
     "logits that are given at each place, the first of them that of the token that follows"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};

#define TEXT_STREAM 0x74657874u
#define SYMBOL_STREAM 0x73796d62u
#define VECTOR_STREAM 0x76656374u
#define VECTOR_SPREAD 0.3

/* Vectors start at 0 or 1, which would hide what they do: gates, biases and norms are moved off that. */
static void move_vectors(struct model *m, uint64_t seed) {
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = m->params[i];
        if (p->group == GROUP_WEIGHT) continue;
        struct rng r;
        rng_seed(&r, seed, hash64(p->name, strlen(p->name), VECTOR_STREAM));
        real *x = xcalloc((size_t)p->n, sizeof *x);
        m->k->download(x, p->leaf.data, (size_t)p->n * sizeof *x);
        for (int64_t j = 0; j < p->n; j++) x[j] += (real)(VECTOR_SPREAD * rng_normal(&r));
        m->k->upload(p->leaf.data, x, (size_t)p->n * sizeof *x);
        free(x);
    }
}

enum { FIRST, BESIDE, SECOND, DOCUMENTS };
static const char *const document_names[DOCUMENTS] = {"first", "beside", "second"};
/* Lengths in eighths of a segment: the first fills the window of a step of four segments and ends within a segment. */
static const int64_t eighths[DOCUMENTS] = {44, 34, 21};

static void draw_text(int32_t *out, int64_t n, int64_t vocab, int document) {
    struct rng r;
    rng_seed(&r, (uint64_t)document, TEXT_STREAM);
    for (int64_t i = 0; i < n; i++) out[i] = (int32_t)(1 + rng_below(&r, vocab - 1));
}

static void measure(const struct task_run *r, int document, int64_t at, int32_t symbol, double value) {
    char position[24];
    snprintf(position, sizeof position, "%s.%d", document_names[document], symbol);
    cell_measure(r->out, &(struct measurement){.split = "fixed",
                                               .condition = "",
                                               .metric = "logit",
                                               .unit = "",
                                               .position = position,
                                               .context = at,
                                               .writes = at / r->model->config.segment,
                                               .n = 1,
                                               .value = value,
                                               .standard_error = NAN,
                                               .low = NAN,
                                               .high = NAN});
}

/* In the middle of the second segment, at the start of the last one, at the end. */
static void measure_document(const struct task_run *r, int document, const int32_t *tokens, int64_t n, const float *logits) {
    const struct model_config *c = &r->model->config;
    int64_t places[] = {c->segment + c->segment / 2, (n - 1) / c->segment * c->segment, n - 1}, V = c->vocab;
    int64_t symbols = options_int(r->options, "symbols");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct rng g;
        rng_seed(&g, (uint64_t)document, SYMBOL_STREAM + i);
        for (int64_t s = 0; s < symbols; s++) {
            int32_t symbol = s ? (int32_t)rng_below(&g, V) : tokens[places[i]];
            if (s && symbol == tokens[places[i]]) continue;
            measure(r, document, places[i], symbol, (double)logits[places[i] * V + symbol]);
        }
    }
}

static int read_documents(const struct task_run *r, struct model *m, struct error *e) {
    int64_t n[DOCUMENTS], V = m->config.vocab;
    int32_t *text[DOCUMENTS];
    float *logits[DOCUMENTS];
    struct stream *s = stream_open(m, 2, 4, e);
    if (!s) return -1;
    for (int d = 0; d < DOCUMENTS; d++) {
        n[d] = eighths[d] * m->config.segment / 8;
        text[d] = xcalloc((size_t)n[d], sizeof *text[d]);
        logits[d] = xcalloc((size_t)(n[d] * V), sizeof *logits[d]);
        draw_text(text[d], n[d], V, d);
    }
    stream_logits(s, (const int32_t *const[]){text[FIRST], text[BESIDE]}, (int64_t[]){n[FIRST], n[BESIDE]},
                  (float *const[]){logits[FIRST], logits[BESIDE]});
    stream_reset(s, 0);
    stream_logits(s, (const int32_t *const[]){text[SECOND], NULL}, (int64_t[]){n[SECOND], 0},
                  (float *const[]){logits[SECOND], NULL});
    for (int d = 0; d < DOCUMENTS; d++) {
        measure_document(r, d, text[d], n[d], logits[d]);
        free(text[d]);
        free(logits[d]);
    }
    stream_close(s);
    return 0;
}

static int run(struct task_run *r, struct error *e) {
    uint64_t seed = (uint64_t)options_int(r->options, "seed");
    if (!seed) return read_documents(r, r->model, e);
    struct model *m = model_create(&r->model->config, r->model->k, seed, e);
    if (!m) return -1;
    move_vectors(m, seed);
    int status = read_documents(r, m, e);
    model_free(m);
    return status;
}

const struct task task_fixed_logits = {
    .name = "fixed_logits",
    .version = 1,
    .summary = "logits of fixed parameters on fixed texts: exact expectations of the regression gate",
    .protocol = "Two documents of random tokens side by side, then a third in the row of the first; "
                "logits at three places of each.",
    .metrics = metrics,
    .options = options,
    .run = run};
