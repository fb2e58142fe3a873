/* plot_retrieval.c - the tables behind the pictures of passkey and recall: accuracy by length, depth and length as a heat map,
 * exact match by memory writes, capacity by number of pairs.
 *
 * Every number is one that the report's tables hold (report_retrieval.h); gnuplot is called in plot.c. */
#include "plot_private.h"
#include "report_retrieval.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void drawing_free(struct drawing *w) {
    buffer_free(&w->table);
    buffer_free(&w->settings);
    buffer_free(&w->ticks);
    look_free(&w->look);
}

void drawing_count(struct drawing *w, int64_t n) {
    if (!w->n_low || n < w->n_low) w->n_low = n;
    if (n > w->n_high) w->n_high = n;
}

void drawing_row(struct drawing *w, const struct report_data *d, int row) {
    if (w->shown[row]) return;
    look_add(&w->look, d, row, w->shown);
    w->shown[row] = true;
}

const char *drawing_n(const struct drawing *w) {
    static char words[64];
    if (w->n_low == w->n_high)
        snprintf(words, sizeof words, "n = %lld", (long long)w->n_low);
    else
        snprintf(words, sizeof words, "n = %lld to %lld", (long long)w->n_low, (long long)w->n_high);
    return words;
}

/* KIND, then what tells sections and conditions apart where there are several. */
static char *picture_name(const struct group *g, const char *kind) {
    const struct report_section *own = &g->d->sections[g->section];
    struct text_buffer b = {0};
    bool several = false, same = false;
    buffer_printf(&b, "%s", kind);
    for (int i = 0; i < g->d->section_count; i++) {
        const struct report_section *x = &g->d->sections[i];
        if (i == g->section || strcmp(x->task, own->task) != 0) continue;
        several = true;
        same = same || strcmp(x->name, own->name) == 0;
    }
    if (several) buffer_printf(&b, "-%s", own->name);
    if (same && *own->stage) buffer_printf(&b, "-%s", own->stage);
    if (g->count > 1)
        for (const char *at = g->condition; *at;) { /* the values */
            size_t n = strcspn(at, ";");
            const char *equal = memchr(at, '=', n);
            if (equal) buffer_printf(&b, "-%.*s", (int)(at + n - equal - 1), equal + 1);
            at += n + (at[n] == ';');
        }
    for (char *c = b.data; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_') *c = '-';
    if (b.n > 90) b.data[90] = 0;
    return b.data;
}

int drawing_finish(struct drawing *w, struct plots *p, const struct group *g, const char *script, const char *kind, char *caption,
                   struct error *e) {
    int result = 0;
    if (w->look.count) {
        char *name = picture_name(g, kind);
        plot_text(&w->settings, "names", w->look.names.data);
        plot_text(&w->settings, "colors", w->look.colors.data);
        plot_text(&w->settings, "marks", w->look.marks.data);
        plot_text(&w->settings, "twins", w->look.twins.data);
        if (w->ticks.n) plot_text(&w->settings, "ticks", w->ticks.data);
        result = plot_picture(p, g->d, g->section, g->index, script, name, &w->table, w->settings.data, caption, e);
        free(name);
    }
    free(caption);
    drawing_free(w);
    return result;
}

static void add_tick(struct drawing *w, const char *label, double at) {
    buffer_printf(&w->ticks, "%s\"%s\" %.9g", w->ticks.n ? ", " : "", label, at);
}

void drawing_lengths(struct drawing *w, const struct values *lengths) {
    int step = (lengths->n + 6) / 7;
    for (int k = 0; k < lengths->n; k += step) add_tick(w, show_length(lengths->v[k]), (double)lengths->v[k]);
}

/* For narrow panels: the same ticks with every other name a line lower, and the distance of the closest two in octaves. */
static void stagger_lengths(struct drawing *w, const struct values *lengths) {
    struct text_buffer b = {0};
    double closest = 64;
    int step = (lengths->n + 6) / 7;
    for (int k = 0, n = 0; k < lengths->n; k += step, n++) {
        double x = (double)lengths->v[k];
        if (k) closest = fmin(closest, log2(x / (double)lengths->v[k - step]));
        buffer_printf(&b, "%s\"%s%s\" %.9g", n ? ", " : "", n % 2 ? "\\n" : "", show_length(lengths->v[k]), x);
    }
    plot_text(&w->settings, "staggered", b.data);
    buffer_printf(&w->settings, "closest=%.6g;", closest);
    buffer_free(&b);
}

static struct pooled at(const struct group *g, int row, const char *metric, const char *position, int64_t length) {
    char room[CONDITION_SIZE];
    struct probe p = group_probe(g, g->d->rows[row].name, 0, room);
    p.metric = metric;
    p.position = position;
    p.context = length;
    struct values seeds = complete_seeds(g, g->d->rows[row].name, 0);
    p.seeds = &seeds;
    return probe_value(&p);
}

/* "row what x value low high n" in per cent; a block without points needs one line, so that gnuplot counts it. */
static void share_line(struct drawing *w, const char *row, const char *what, double x, const struct interval *v, double second) {
    double low = isnan(v->low) ? v->value : v->low, high = isnan(v->high) ? v->value : v->high;
    buffer_printf(&w->table, "%s %s %.9g %.6g %.6g %.6g %lld %.6g\n", row, what, x, 100 * v->value, 100 * low, 100 * high,
                  (long long)v->n, 100 * second);
}

/* ---- accuracy by length ---- */
static int length_plot(struct plots *p, const struct group *g, struct error *e) {
    struct drawing w = {.n_low = 0};
    struct values lengths = passkey_lengths(g);
    double chance = passkey_chance(g);
    buffer_printf(&w.table, "# accuracy (%%) by length: row position length exact_match low high n digit_accuracy\n");
    for (int row = 0; row < g->d->row_count; row++) {
        struct text_buffer *t = &w.table;
        size_t before = t->n;
        bool any = false;
        for (int k = 0; passkey_places[k]; k++) {
            int points = 0;
            for (int l = 0; l < lengths.n; l++) {
                struct pooled x = at(g, row, "exact_match", passkey_places[k], lengths.v[l]);
                if (!x.value.n) continue;
                struct pooled digits = at(g, row, "digit_accuracy", passkey_places[k], lengths.v[l]);
                share_line(&w, g->d->rows[row].name, passkey_places[k], (double)lengths.v[l], &x.value, digits.value.value);
                drawing_count(&w, x.value.n);
                points++;
            }
            any = any || points;
            if (!points) buffer_printf(t, "%s %s NaN NaN NaN NaN 0 NaN\n", g->d->rows[row].name, passkey_places[k]);
            buffer_printf(t, "\n\n");
        }
        if (any)
            drawing_row(&w, g->d, row);
        else
            t->data[t->n = before] = 0;
    }
    if (lengths.n) {
        drawing_lengths(&w, &lengths);
        stagger_lengths(&w, &lengths);
        buffer_printf(&w.settings, "least=%lld;most=%lld;chance=%.6g;", (long long)lengths.v[0],
                      (long long)lengths.v[lengths.n - 1], isnan(chance) ? -1 : 100 * chance);
    }
    char *caption = xprintf(
        "Pass key retrieval by length of the prompt, a panel a row: exact match of the key (solid, Wilson 95 %% intervals, %s a "
        "point) and share of right symbols (dashed; chance %.1f %% dotted), by position of the needle. At the end no memory is "
        "needed.%s",
        drawing_n(&w), 100 * chance, seeds_left_out(g, NULL) ? " Only training seeds that have all lengths are drawn." : "");
    return drawing_finish(&w, p, g, "length", "passkey-length", caption, e);
}

/* ---- depth and length ---- */
static int depth_plot(struct plots *p, const struct group *g, struct error *e) {
    struct drawing w = {.n_low = 0};
    struct values depths = passkey_depths(g), lengths = passkey_depth_lengths(g);
    bool panels = lengths.n > 1; /* else one panel whose columns are the rows */
    int step = (depths.n + 10) / 11;
    struct text_buffer labels = {0};
    buffer_printf(&w.table, "# exact match (%%): row column depth_index value n\n");
    for (int row = 0; row < g->d->row_count; row++) {
        bool any = false;
        for (int l = 0; l < lengths.n; l++)
            for (int k = 0; k < depths.n; k++) {
                char position[24];
                snprintf(position, sizeof position, "%.2f", (double)depths.v[k] / 10000);
                struct pooled x = at(g, row, "exact_match", position, lengths.v[l]);
                if (!x.value.n) continue;
                if (!any && !panels) add_tick(&w, g->d->rows[row].name, w.look.count);
                drawing_row(&w, g->d, row);
                any = true;
                drawing_count(&w, x.value.n);
                buffer_printf(&w.table, "%s %d %d %.6g %lld\n", g->d->rows[row].name, panels ? l : w.look.count - 1, k,
                              100 * x.value.value, (long long)x.value.n);
            }
        if (any && panels) buffer_printf(&w.table, "\n\n");
    }
    for (int l = 0; l < lengths.n && panels; l++) add_tick(&w, show_length(lengths.v[l]), l);
    for (int k = 0; k < depths.n; k += step) buffer_printf(&labels, "%s\"%g\" %d", k ? ", " : "", (double)depths.v[k] / 100, k);
    if (depths.n) plot_text(&w.settings, "depths", labels.data);
    buffer_free(&labels);
    buffer_printf(&w.settings, "rows_are_panels=%d;across=%d;down=%d;", panels, panels ? lengths.n : w.look.count, depths.n);
    char *caption = xprintf("Exact match (%%) by depth of the needle (0 %%: no filler before it) and %s%s, %s a cell. White: not "
                            "measured.",
                            panels ? "length of the prompt, a panel a row" : "row, prompts of ",
                            panels      ? ""
                            : lengths.n ? show_length(lengths.v[0])
                                        : "",
                            drawing_n(&w));
    return drawing_finish(&w, p, g, "depth", "passkey-depth", caption, e);
}

/* ---- by writes ---- */
static int writes_plot(struct plots *p, const struct group *g, bool passkey, struct error *e) {
    struct drawing w = {.n_low = 0};
    struct writes_class c[RETRIEVAL_LIMIT];
    int classes = writes_classes(c, g), points = 0;
    double least = INFINITY, most = 0, zeros = 0;
    bool grouped = false;
    buffer_printf(&w.table, "# exact match (%%) by memory writes: row class writes value low high n\n");
    for (int row = 0; row < g->d->row_count; row++) {
        bool any = false;
        for (int k = 0; k < classes; k++) {
            double mean;
            char word[48];
            struct pooled x = writes_value(g, g->d->rows[row].name, c[k], &mean);
            if (!x.value.n) continue;
            drawing_row(&w, g->d, row);
            any = true;
            points++;
            drawing_count(&w, x.value.n);
            snprintf(word, sizeof word, "%lld-%lld", (long long)c[k].low, (long long)c[k].high);
            share_line(&w, g->d->rows[row].name, word, mean, &x.value, NAN);
            if (mean > 0) least = fmin(least, mean), most = fmax(most, mean);
            if (mean <= 0) zeros = 1;
            grouped = grouped || c[k].low != c[k].high;
        }
        if (any) buffer_printf(&w.table, "\n\n");
    }
    if (!(most > 0) || points < 2) { /* nothing that a curve could show */
        drawing_free(&w);
        return 0;
    }
    buffer_printf(&w.settings, "zeros=%g;least=%.9g;most=%.9g;", zeros, least, most);
    plot_text(&w.settings, "between", passkey ? "needle and question" : "pair and answer");
    char *caption = xprintf(
        "Exact match against the memory writes between %s%s; 95 %% intervals (Wilson), %s a point. A point holds all samples "
        "with so many writes, of whatever %s: points are of different samples and therefore not joined. 0: both in one "
        "segment.",
        passkey ? "needle and question" : "pair and answer", grouped ? ", in classes of powers of two at their mean" : "",
        drawing_n(&w), passkey ? "prompt length, position and training seed" : "number of pairs and training seed");
    return drawing_finish(&w, p, g, "writes", passkey ? "passkey-writes" : "recall-writes", caption, e);
}

/* ---- capacity ---- */
/* NAME_32: the length of NAME, if another row of the picture differs from it in that number alone; 0: none does. */
static size_t shared_stem(const struct report_data *d, const bool *shown, int row) {
    const char *name = d->rows[row].name, *last = strrchr(name, '_');
    if (!last || !last[1] || last[1 + strspn(last + 1, "0123456789")]) return 0;
    size_t n = (size_t)(last - name);
    for (int i = 0; i < d->row_count; i++) {
        const char *other = d->rows[i].name;
        if (i != row && shown[i] && strncmp(other, name, n + 1) == 0 && other[n + 1] &&
            !other[n + 1 + strspn(other + n + 1, "0123456789")])
            return n;
    }
    return 0;
}

/* Which panel each row stands in and what it is called there: rows of one stem share a panel, the others the last one. */
static void capacity_panels(struct drawing *w, const struct report_data *d) {
    struct text_buffer titles = {0}, panel_of = {0}, labels = {0};
    int panel[REPORT_ROWS], panels = 0;
    bool others = false;
    for (int i = 0; i < d->row_count; i++) {
        size_t n = w->shown[i] ? shared_stem(d, w->shown, i) : 0;
        panel[i] = 0;
        for (int j = 0; j < i && n && !panel[i]; j++)
            if (w->shown[j] && shared_stem(d, w->shown, j) == n && strncmp(d->rows[i].name, d->rows[j].name, n) == 0)
                panel[i] = panel[j];
        if (n && !panel[i]) {
            panel[i] = ++panels;
            buffer_printf(&titles, "%s%.*s", panels > 1 ? " " : "", (int)n, d->rows[i].name);
        }
        others = others || (w->shown[i] && !n);
    }
    if (others) buffer_printf(&titles, "%s-", panels++ ? " " : "");
    for (int i = 0; i < d->row_count; i++) {
        if (!w->shown[i]) continue;
        buffer_printf(&panel_of, "%s%d", panel_of.n ? " " : "", panel[i] ? panel[i] : panels);
        buffer_printf(&labels, "%s%s", labels.n ? " " : "", panel[i] ? strrchr(d->rows[i].name, '_') + 1 : d->rows[i].name);
    }
    buffer_printf(&w->settings, "panels=%d;", panels);
    plot_text(&w->settings, "titles", titles.data);
    plot_text(&w->settings, "panel_of", panel_of.data);
    plot_text(&w->settings, "labels", labels.data);
    buffer_free(&titles);
    buffer_free(&panel_of);
    buffer_free(&labels);
}

static int capacity_plot(struct plots *p, const struct group *g, struct error *e) {
    struct drawing w = {.n_low = 0};
    struct values pairs = recall_pairs(g);
    double high = 1, low = 0;
    buffer_printf(&w.table, "# estimated pairs: row - pairs capacity low high n\n");
    for (int row = 0; row < g->d->row_count; row++) {
        bool any = false;
        for (int k = 0; k < pairs.n; k++) {
            struct interval v = recall_at(g, "capacity", g->d->rows[row].name, 0, pairs.v[k]).value;
            if (!v.n || isnan(v.value)) continue;
            drawing_row(&w, g->d, row);
            any = true;
            drawing_count(&w, v.n);
            if (isnan(v.low)) v.low = v.high = v.value;
            buffer_printf(&w.table, "%s - %lld %.6g %.6g %.6g %lld\n", g->d->rows[row].name, (long long)pairs.v[k], v.value, v.low,
                          v.high, (long long)v.n);
            high = fmax(high, v.value);
            low = fmin(low, v.value);
        }
        if (any) buffer_printf(&w.table, "\n\n");
    }
    bool panels = w.look.count > 10; /* more curves than one picture holds */
    int step = (pairs.n + 11) / 12;
    for (int k = 0, last = 0; k < pairs.n; k += step) {
        char word[24];
        if (panels && k && pairs.v[k] * 5 < pairs.v[last] * 8) continue; /* there is less room */
        last = k;
        snprintf(word, sizeof word, "%lld", (long long)pairs.v[k]);
        add_tick(&w, word, (double)pairs.v[k]);
    }
    int known = 0;
    for (int k = 0; k < pairs.n && w.look.count; k++) {
        double stored;
        if (isnan(recall_commonest(g, pairs.v[k], &stored))) break;
        buffer_printf(&w.table, "commonest - %lld %.6g NaN NaN 0\n", (long long)pairs.v[k], stored);
        known++;
    }
    buffer_printf(&w.settings, "commonest=%d;", known > 1);
    buffer_printf(&w.settings, "least=%lld;most=%lld;high=%.6g;low=%.6g;", (long long)(pairs.n ? pairs.v[0] : 1),
                  (long long)(pairs.n ? pairs.v[pairs.n - 1] : 1), high, low);
    if (panels) capacity_panels(&w, g->d);
    char *caption =
        xprintf("Estimated number of stored pairs against the number presented; on the dashed line all are stored%s. 95 %% "
                "intervals, %s a point.%s",
                known > 1 ? ", on the dotted one the commonest value is answered, whatever the key" : "", drawing_n(&w),
                panels ? " Rows whose names differ in a last number share a panel, with that number as key." : "");
    return drawing_finish(&w, p, g, panels ? "capacity-panels" : "capacity", "recall-capacity", caption, e);
}

/* ---- gates ---- */
int gates_plot(struct plots *p, const struct report_data *d, struct error *e) {
    struct gate_grid g;
    struct drawing w = {.n_low = 0};
    struct text_buffer titles = {0}, inits = {0};
    int panels = 0, result = 0;
    if (!gate_grid(&g, d)) return 0;
    buffer_printf(&w.table, "# exact match (%%), start and middle, and gates learnt: section column line value gates n\n");
    for (int s = 0; s < d->section_count; s++) {
        bool any = false;
        struct gate_outcome o;
        for (int a = 0; a < g.inits; a++)
            for (int b = 0; b < g.rates; b++) {
                if (!g.row[a][b] || !gate_cell(&o, d, s, g.row[a][b] - 1)) continue;
                any = true;
                drawing_count(&w, o.n);
                buffer_printf(&w.table, "%s %d %d %.6g %.2f–%.2f %lld\n", d->sections[s].name, b, a, 50 * (o.exact[0] + o.exact[1]),
                              o.least, o.most, (long long)o.n);
            }
        if (!any) continue;
        panels++;
        buffer_printf(&titles, "%s%s", titles.n ? " " : "", d->sections[s].name);
        buffer_printf(&w.table, "\n\n");
    }
    for (int b = 0; b < g.rates; b++) {
        char word[24];
        snprintf(word, sizeof word, "%g", g.rate[b]);
        add_tick(&w, word, b);
    }
    for (int a = 0; a < g.inits; a++) buffer_printf(&inits, "%s\"%.2f\" %d", a ? ", " : "", 1 / (1 + exp(-g.init[a])), a);
    if (panels) {
        plot_text(&w.settings, "titles", titles.data);
        plot_text(&w.settings, "inits", inits.data);
        plot_text(&w.settings, "rates", w.ticks.data);
        buffer_printf(&w.settings, "panels=%d;across=%d;down=%d;", panels, g.rates, g.inits);
        char *caption =
            xprintf("Exact match (%%, mean of start and middle, %s a position) and below it the gates learnt, least to "
                    "largest of all layers and heads, by initial gate and learning rate of the gates; a panel a section.",
                    drawing_n(&w));
        result = plot_picture(p, d, -1, 0, "gates", "gates", &w.table, w.settings.data, caption, e);
        free(caption);
    }
    buffer_free(&titles);
    buffer_free(&inits);
    drawing_free(&w);
    return result;
}

int retrieval_plots(struct plots *p, const struct report_data *d, int section, struct error *e) {
    static struct group g[RETRIEVAL_LIMIT];
    bool passkey = strcmp(d->sections[section].task, "passkey") == 0;
    int result = 0, n = passkey || strcmp(d->sections[section].task, "recall") == 0 ? groups_of(g, d, section) : 0;
    for (int k = 0; k < n && result == 0; k++) {
        if (passkey) result = length_plot(p, &g[k], e);
        if (result == 0 && passkey) result = depth_plot(p, &g[k], e);
        if (result == 0 && !passkey) result = capacity_plot(p, &g[k], e);
        if (result == 0) result = writes_plot(p, &g[k], passkey, e);
    }
    return result;
}
