/* report_answers.c - what an experiment with Infini-attention and its local-only twin answers, each answer with its figure.
 *
 * Differences are paired over documents and training seeds. Beside each stands the smallest difference that the experiment could
 * have found; "no" is said only where the interval lies on the other side. */
#include "report_document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool has_memory(const struct report_row *r) {
    return strcmp(r->architecture, "infini") == 0 && r->update[0] && strcmp(r->update, "none") != 0;
}

/* a - b; `less`: the question is answered yes where the difference is below 0, else where it is above. */
static void answer(struct table *t, const char *question, struct selection a, struct selection b, bool less) {
    const struct report_data *d = a.data;
    struct interval v = report_difference(a, b);
    if (v.n == 0 || isnan(v.low)) return;
    struct text_buffer seeds = {0};
    for (int i = 0; i < d->seed_count; i++) {
        struct selection x = a, y = b;
        x.seed = y.seed = d->seeds[i];
        struct interval one = report_difference(x, y);
        if (one.n) buffer_printf(&seeds, "%s%+.4f", seeds.n ? ", " : "", one.value);
    }
    bool yes = less ? v.high < 0 : v.low > 0, no = less ? v.low > 0 : v.high < 0;
    table_cell(t, "%s", question);
    table_cell(t, "%s", show_interval(v, 4, true));
    table_cell(t, "%s", seeds.data ? seeds.data : "–");
    table_cell(t, "%lld", (long long)v.n);
    table_cell(t, "%.4f", minimum_detectable(&v));
    table_cell(t, "%s", yes ? "yes" : no ? "no, the opposite" : "not shown");
    buffer_free(&seeds);
}

static void ask(struct table *t, const struct report_data *d, int s, const char *row, const char *other, unsigned positions,
                const char *where) {
    char *question = xprintf("Is %s better than %s%s?", row, other, where);
    answer(t, question, select_row(d, s, row, "", positions), select_row(d, s, other, "", positions), true);
    free(question);
}

void answer_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {"<question", "difference in bits per byte [95 %]", "<by seed", "documents", "detectable",
                                        "<answer"};
    *t = (struct table){.heads = heads, .columns = 6};
    if (d->twin < 0) return;
    const char *twin = d->rows[d->twin].name, *linear = NULL, *delta = NULL;
    for (int i = 0; i < d->row_count; i++) {
        const struct report_row *r = &d->rows[i];
        if (!has_memory(r)) continue;
        if (strcmp(r->update, "linear") == 0 && !linear) linear = r->name;
        if (strcmp(r->update, "delta") == 0 && !delta) delta = r->name;
        ask(t, d, section, r->name, twin, FAR_POSITIONS, ", its local-only twin, beyond segment 5");
    }
    for (int i = 0; i < d->row_count; i++) {
        const struct report_row *r = &d->rows[i];
        static const struct {
            const char *condition, *words;
        } ways[] = {{"knockout=off", "its gates are forced to 0"}, {"knockout=zero", "its memory reads 0"}};
        for (int k = 0; k < 2 && has_memory(r); k++) {
            char *question = xprintf("Does %s lose beyond segment 5 when %s?", r->name, ways[k].words);
            answer(t, question, select_row(d, section, r->name, ways[k].condition, FAR_POSITIONS),
                   select_row(d, section, r->name, "", FAR_POSITIONS), false);
            free(question);
        }
    }
    if (linear && delta) ask(t, d, section, delta, linear, FAR_POSITIONS, " (linear update) beyond segment 5");
    for (int i = 0; i < d->row_count; i++)
        for (int j = 0; j < d->row_count && has_memory(&d->rows[i]); j++)
            if (strcmp(d->rows[j].architecture, "infini") != 0 && strcmp(d->rows[j].architecture, "null") != 0)
                ask(t, d, section, d->rows[i].name, d->rows[j].name, 0, " over whole documents");
}
