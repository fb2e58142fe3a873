/* footprint.c - the rows of Table 1.
 *
 * An architecture says its own row (struct footprint in its file). Those of the table that are not in the registry stand here with
 * their formula only; a row of the same model in the registry takes their place. Nothing is built or measured. */
#include "footprint.h"

#include <math.h>
#include <string.h>

int64_t footprint_nothing(const struct model_config *c, int64_t context) { return (void)c, (void)context, 0; }
int64_t footprint_text(const struct model_config *c, int64_t context) { return (void)c, context; }
int64_t footprint_segment(const struct model_config *c, int64_t context) { return (void)context, c->segment; }
int64_t footprint_kv(const struct model_config *c, int64_t rows) {
    return count_times(count_times(count_times(2, c->layers), c->kv_heads), count_times(c->e, rows));
}

const struct footprint footprint_local = {.model = "Local attention only",
                                          .formula = "0",
                                          .length = "N",
                                          .update = "None",
                                          .retrieval = "None",
                                          .elements = footprint_nothing,
                                          .tokens = footprint_segment};

/* ---- by formula alone ---- */

/* d_model times so many vectors in every layer. */
static int64_t vectors(const struct model_config *c, int64_t rows) { return count_times(count_times(c->d, c->layers), rows); }

/* Rae et al. 2020: c compressed vectors beside a cache of one segment. */
static const struct option compressive_options[] = {
    {"compressed", OPTION_INT, "0", 0, 1e15, NULL, "Compressive Transformer: compressed vectors c of a layer; 0: one segment"},
    {"rate", OPTION_INT, "2", 1, 1e9, NULL, "Compressive Transformer: tokens r of a compressed vector; 2 as for PG-19"},
    {NULL, OPTION_INT, NULL, 0, 0, NULL, NULL},
};
static int64_t compressed(const struct model_config *c) {
    int64_t n = options_int(&c->options, "compressed");
    return n > 0 ? n : c->segment;
}
static int64_t compressive_elements(const struct model_config *c, int64_t context) {
    return (void)context, vectors(c, count_plus(compressed(c), c->segment));
}
static int64_t compressive_tokens(const struct model_config *c, int64_t context) {
    (void)context;
    return count_times(count_plus(count_times(compressed(c), options_int(&c->options, "rate")), c->segment), c->layers);
}
static const struct footprint compressive = {.model = "Compressive Transformer",
                                             .formula = "d_model·(c + N)·l",
                                             .length = "(c·r + N)·l",
                                             .update = "Discarded",
                                             .retrieval = "dot-product attention",
                                             .elements = compressive_elements,
                                             .tokens = compressive_tokens};
static const struct footprint *compressive_row(const struct model_config *c) { return (void)c, &compressive; }

static const struct baseline formulas[] = {
    {.name = "compressive", .options = compressive_options, .footprint = compressive_row},
};

/* ---- rows ---- */

bool footprint_runs(const struct baseline *b) { return b->forward || b->logits; }

static void add_row(struct model_config rows[FOOTPRINT_ROWS], int *count, const struct model_config *shape,
                    const struct baseline *b) {
    if (!b->footprint) return;
    struct model_config c = *shape;
    c.arch = b;
    options_init(&c.options, b->options);
    for (int i = 0; i < *count; i++)
        if (strcmp(rows[i].arch->footprint(&rows[i])->model, b->footprint(&c)->model) == 0) return;
    CHECK(*count < FOOTPRINT_ROWS, "more than %d rows of Table 1", FOOTPRINT_ROWS);
    rows[(*count)++] = c;
}

int footprint_rows(struct model_config rows[FOOTPRINT_ROWS], const struct model_config *shape) {
    int count = 0;
    for (int i = 0; baselines[i]; i++) add_row(rows, &count, shape, baselines[i]);
    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++) add_row(rows, &count, shape, &formulas[i]);
    return count;
}

double footprint_ratio(const struct model_config *c, int64_t context) {
    struct model_config m = *c;
    m.arch = baseline_find("memorizing", NULL);
    CHECK(m.arch && m.arch->footprint, "the registry has no Memorizing Transformer to compare with");
    options_init(&m.options, m.arch->options);
    int64_t all = m.arch->footprint(&m)->elements(&m, context);
    int64_t own = c->arch->footprint ? c->arch->footprint(c)->elements(c, context) : 0;
    return own == 0 || own == COUNT_OVERFLOW || all == COUNT_OVERFLOW ? NAN : (double)all / (double)own;
}
