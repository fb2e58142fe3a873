/* plot_summary.c - the tables behind the pictures of summarize and chronicle: ROUGE, and the events named, against the tokens read.
 *
 * Every number is one that the report's tables hold; gnuplot is called in plot.c. */
#include "plot_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct pooled at(const struct group *g, const char *row, const char *metric, int64_t budget) {
    char room[CONDITION_SIZE];
    struct probe p = group_probe(g, row, 0, room);
    p.metric = metric;
    p.position = "all";
    p.context = budget;
    return probe_value(&p);
}

/* A block of what depends on the texts alone: who lists only what was read ("ceiling"), or the floor. */
static void bound(struct drawing *w, const struct group *g, const char *name, const char *metric, const struct values *budgets) {
    for (int b = 0; b < budgets->n; b++) {
        struct pooled x = at(g, NULL, metric, budgets->v[b]);
        if (x.value.n) buffer_printf(&w->table, "%s - %lld %.6g\n", name, (long long)budgets->v[b], x.value.value);
    }
    buffer_printf(&w->table, "\n\n");
}

/* bounds: with ceiling and floor, which only chronicle has. Its budgets are read to the end; texts of summarize may be shorter. */
static int length_plot(struct plots *p, const struct group *g, const char *metric, double scale, bool bounds, bool whole,
                       const char *kind, const char *ylabel, const char *what, struct error *e) {
    struct drawing w = {.n_low = 0};
    struct values budgets = summary_budgets(g);
    double least = INFINITY, most = 0;
    int points = 0;
    buffer_printf(&w.table, "# %s by tokens read: row - tokens value low high n\n", what);
    if (bounds) {
        bound(&w, g, "ceiling", "ceiling_overall", &budgets);
        bound(&w, g, "floor", "floor_overall", &budgets);
        for (int b = 0; b < budgets.n; b++) {
            most = fmax(most, at(g, NULL, "ceiling_overall", budgets.v[b]).value.value);
            least = fmin(least, at(g, NULL, "floor_overall", budgets.v[b]).value.value);
        }
    }
    for (int row = 0; row < g->d->row_count; row++) {
        bool any = false;
        for (int b = 0; b < budgets.n; b++) {
            struct pooled x = at(g, g->d->rows[row].name, metric, budgets.v[b]);
            struct interval v = x.value;
            if (!v.n || isnan(v.value)) continue;
            if (isnan(v.low)) v.low = v.high = v.value;
            drawing_row(&w, g->d, row);
            drawing_count(&w, x.samples);
            any = true;
            points++;
            buffer_printf(&w.table, "%s - %lld %.6g %.6g %.6g %lld\n", g->d->rows[row].name, (long long)budgets.v[b],
                          scale * v.value, scale * v.low, scale * v.high, (long long)x.samples);
            most = fmax(most, scale * v.high);
            least = fmin(least, scale * v.low);
        }
        if (any) buffer_printf(&w.table, "\n\n");
    }
    if (budgets.n < 2 || points < 2) { /* nothing that a curve could show */
        drawing_free(&w);
        return 0;
    }
    double margin = 0.05 * (most - least) + 1e-3;
    drawing_lengths(&w, &budgets);
    buffer_printf(&w.settings, "least=%lld;most=%lld;low=%.6g;high=%.6g;bounds=%d;", (long long)budgets.v[0],
                  (long long)budgets.v[budgets.n - 1], least - margin, most + margin, bounds);
    plot_text(&w.settings, "xlabel", whole ? "tokens read before the summary" : "budget of tokens (a shorter text is read whole)");
    plot_text(&w.settings, "ylabel", ylabel);
    char *caption = xprintf(
        "%s against the %s; 95 %% intervals, %s a point.%s", what,
        whole ? "tokens read before the summary" : "budget of tokens, of which a shorter text fills a part", drawing_n(&w),
        bounds
            ? " Lists only what was read: the summary of exactly the events within reach; no upper bound, since ROUGE rewards the "
              "form and a row that goes on with drawn sentences of the right form can score above it. Floor: as many events "
              "whose words are drawn at random."
            : "");
    return drawing_finish(&w, p, g, "rouge", kind, caption, e);
}

int summary_plots(struct plots *p, const struct report_data *d, int section, struct error *e) {
    static struct group g[RETRIEVAL_LIMIT];
    bool chronicle = strcmp(d->sections[section].task, "chronicle") == 0;
    int result = 0, n = chronicle || strcmp(d->sections[section].task, "summarize") == 0 ? groups_of(g, d, section) : 0;
    for (int k = 0; k < n && result == 0; k++) {
        result = length_plot(p, &g[k], "overall", 1, chronicle, chronicle, chronicle ? "chronicle-rouge" : "summaries-rouge",
                             "ROUGE overall (F1 x 100)", "ROUGE overall, F1 x 100,", e);
        if (result == 0 && chronicle)
            result = length_plot(p, &g[k], "events_named", 100, false, true, "chronicle-events", "events named (%)",
                                 "Share of the events within reach that are named exactly", e);
        if (result == 0 && chronicle)
            result = length_plot(p, &g[k], "words_named", 100, false, true, "chronicle-words", "words right (%)",
                                 "Who, where and what of the events within reach said in their year's sentence, chance 6.25 %", e);
    }
    return result;
}
