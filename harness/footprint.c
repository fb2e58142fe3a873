/* footprint.c - the rows of Table 1: every architecture says its own (struct footprint in its file). Nothing is built or measured.
 */
#include "footprint.h"

#include <math.h>

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

/* ---- rows ---- */

static void add_row(struct model_config rows[FOOTPRINT_ROWS], int *count, const struct model_config *shape,
                    const struct baseline *b) {
    if (!b->footprint) return;
    struct model_config c = *shape;
    c.arch = b;
    options_init(&c.options, b->options);
    CHECK(*count < FOOTPRINT_ROWS, "more than %d rows of Table 1", FOOTPRINT_ROWS);
    rows[(*count)++] = c;
}

int footprint_rows(struct model_config rows[FOOTPRINT_ROWS], const struct model_config *shape) {
    int count = 0;
    for (int i = 0; baselines[i]; i++) add_row(rows, &count, shape, baselines[i]);
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
