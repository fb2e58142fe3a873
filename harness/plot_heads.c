/* plot_heads.c - the tables behind the pictures of the task gates: gates before, during and after training with what each head's
 * memory is worth beside them, and histograms of the gates. Numbers are those of report_heads.c; gnuplot is called in plot.c. */
#include "plot_private.h"
#include "report_heads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LINES 8   /* rows of a picture */
#define PANELS 10 /* across: moments and what is lost */

/* NAME, and the section where there are several. */
static char *picture_name(const struct report_data *d, int section, const char *kind) {
    int sections = 0;
    for (int i = 0; i < d->section_count; i++) sections += strcmp(d->sections[i].task, "gates") == 0;
    if (sections == 1) return xstrdup(kind);
    return xprintf("%s-%s%s%s", kind, d->sections[section].name, *d->sections[section].stage ? "-" : "",
                   d->sections[section].stage);
}

/* A column of panels: a moment, or a loss. */
struct column {
    int moment; /* -1: a loss */
    const struct yardstick *y;
    int way;
    double most;
};

/* What is lost, as cells show it: bits per 1000 bytes, points. */
static double lost(const struct report_data *d, int section, int row, const struct column *c, const struct head_map *m, int head) {
    struct interval v = head_loss(d, section, d->rows[row].name, m->seed, c->y, c->way, m, head);
    return v.n ? (strcmp(c->y->metric, "bits_per_byte") ? 1 : 1000) * v.value : NAN;
}

static int columns_of(struct column out[PANELS], const struct yardstick *y, int count, const struct report_data *d, int section,
                      const bool *shown) {
    static struct head_map m;
    int n = 0;
    for (int k = 0; k < HEAD_MOMENTS; k++)
        for (int row = 0; row < d->row_count; row++)
            if (shown[row] && head_map_first(&m, d, section, row) && m.known[k]) {
                out[n++] = (struct column){.moment = k};
                break;
            }
    for (int k = 0; k < count; k++)
        for (int way = 1; way < 3 && n < PANELS; way++) {
            struct column c = {.moment = -1, .y = &y[k], .way = way};
            bool any = false;
            if (!strcmp(y[k].metric, "answer_nll")) continue;
            for (int row = 0; row < d->row_count; row++) {
                if (!shown[row] || !head_map_first(&m, d, section, row)) continue;
                for (int h = 0; h < m.layers * m.heads; h++) {
                    double v = lost(d, section, row, &c, &m, h);
                    any = any || !isnan(v);
                    c.most = fmax(c.most, v);
                }
            }
            if (any) out[n++] = c;
        }
    return n;
}

/* A number in the room of a cell: ".56", "-3", "1.2k". */
static void cell_words(char out[16], double v, bool gate) {
    if (gate)
        snprintf(out, 16, v >= 0.995 ? "1.0" : "%.2f", v);
    else if (fabs(v) >= 999.5)
        snprintf(out, 16, "%.1fk", v / 1000);
    else
        snprintf(out, 16, fabs(v) < 0.05 ? "0" : fabs(v) < 0.95 ? "%.1f" : "%.0f", v);
    if (gate && *out == '0') memmove(out, out + 1, strlen(out));
}

static int map_plot(struct plots *p, const struct report_data *d, int section, const bool *shown, struct error *e) {
    static struct head_map m;
    struct yardstick y[YARDSTICKS];
    struct column c[PANELS];
    struct text_buffer table = {0}, settings = {0}, names = {0}, titles = {0}, most = {0}, empty = {0};
    int count = yardsticks(y, d, section), columns = columns_of(c, y, count, d, section, shown), lines = 0, layers = 0, heads = 0;
    int moments = 0, result;
    buffer_printf(&table,
                  "# gates and what a head loses when it is knocked out alone: row panel layer head value text; a block a panel\n");
    for (int row = 0; row < d->row_count; row++) {
        if (!shown[row] || !head_map_first(&m, d, section, row)) continue;
        buffer_printf(&names, "%s%s", names.n ? " " : "", d->rows[row].name);
        lines++;
        layers = m.layers > layers ? m.layers : layers;
        heads = m.heads > heads ? m.heads : heads;
        for (int k = 0; k < columns; k++) {
            int points = 0;
            for (int h = 0; h < m.layers * m.heads; h++) {
                double v = c[k].moment >= 0 ? m.gate[c[k].moment][h] : lost(d, section, row, &c[k], &m, h);
                char words[16] = ".";
                if (isnan(v)) continue;
                cell_words(words, v, c[k].moment >= 0);
                buffer_printf(&table, "%s %d %d %d %.6g %s\n", d->rows[row].name, k, h / m.heads, h % m.heads, v, words);
                points++;
            }
            if (!points) buffer_printf(&table, "%s %d NaN NaN NaN .\n", d->rows[row].name, k);
            buffer_printf(&empty, "%s%d", empty.n ? " " : "", !points);
            buffer_printf(&table, "\n\n");
        }
    }
    for (int k = 0; k < columns; k++) {
        moments += c[k].moment >= 0;
        if (c[k].moment >= 0)
            buffer_printf(&titles, "%s\"%s\"", k ? " " : "", head_moments[c[k].moment]);
        else
            buffer_printf(&titles, " \"%s, %s\"", strcmp(c[k].y->metric, "bits_per_byte") ? "points" : "bits/kB",
                          c[k].way == 1 ? "off" : "zero");
        buffer_printf(&most, "%s%.6g", k ? " " : "", c[k].most > 0 ? c[k].most : 1);
    }
    plot_text(&settings, "names", names.data);
    plot_text(&settings, "titles", titles.data);
    plot_text(&settings, "most", most.data);
    plot_text(&settings, "empty", empty.data);
    buffer_printf(&settings, "lines=%d;columns=%d;moments=%d;layers=%d;heads=%d;", lines, columns, moments, layers, heads);
    struct text_buffer caption = {0};
    buffer_printf(&caption, "Gates sigmoid(beta) by layer and head (first seed): initial, ");
    if (columns > 1 && c[1].moment == HEADS_QUARTER)
        buffer_printf(&caption, "after a quarter and half of the steps%s%s, ", *d->sections[section].stage ? " of stage " : "",
                      d->sections[section].stage);
    buffer_printf(&caption, "after training; 0: local attention only, 1: memory only.");
    for (int k = moments; k < columns; k++) {
        if (k > moments && c[k].y == c[k - 1].y) continue;
        bool bits = strcmp(c[k].y->metric, "bits_per_byte") == 0;
        buffer_printf(&caption, "%s %s%s",
                      k == moments ? " Beside them what is lost when the memory of that head alone is knocked out:" : " and",
                      bits ? "bits per 1000 bytes of text" : "points of exact match at ", bits ? "" : show_length(c[k].y->context));
    }
    if (columns > moments) buffer_printf(&caption, ".");
    char *name = picture_name(d, section, "heads");
    result = plot_picture(p, d, section, 0, "heads", name, &table, settings.data, caption.data, e);
    free(name);
    buffer_free(&caption);
    buffer_free(&table);
    buffer_free(&settings);
    buffer_free(&names);
    buffer_free(&titles);
    buffer_free(&most);
    buffer_free(&empty);
    return result;
}

static int bin_of(double gate) { return gate < 1 ? (int)(gate * 10) : 9; }

static int histogram_plot(struct plots *p, const struct report_data *d, int section, const bool *shown, struct error *e) {
    static struct head_map m;
    struct text_buffer table = {0}, settings = {0}, names = {0}, starts = {0}, counts = {0};
    int lines = 0, most = 1, result;
    bool any = false; /* gates were logged while a row was trained */
    buffer_printf(&table, "# heads by gate: row bin_from bin_to heads_after_training heads_at_half_of_the_steps; a block a row\n");
    for (int row = 0; row < d->row_count; row++) {
        int bin[10] = {0}, half[10] = {0}, heads = 0, seeds = 0;
        bool halves = true;
        double least = INFINITY, highest = -INFINITY;
        if (!shown[row]) continue;
        for (int s = 0; s < d->seed_count; s++) {
            if (!head_map(&m, d, section, row, d->seeds[s])) continue;
            seeds++;
            halves = halves && m.known[HEADS_HALF];
            for (int h = 0; h < m.layers * m.heads; h++) {
                double g = m.gate[HEADS_AFTER][h], before = m.gate[HEADS_HALF][h];
                if (isnan(g)) continue;
                heads++;
                bin[bin_of(g)]++;
                if (!isnan(before)) half[bin_of(before)]++;
                least = fmin(least, m.gate[HEADS_INITIAL][h]);
                highest = fmax(highest, m.gate[HEADS_INITIAL][h]);
            }
        }
        for (int k = 0; k < 10; k++) {
            buffer_printf(&table, "%s %.1f %.1f %d ", d->rows[row].name, 0.1 * k, 0.1 * (k + 1), bin[k]);
            buffer_printf(&table, halves ? "%d\n" : "NaN\n", half[k]);
            most = bin[k] > most ? bin[k] : most;
            most = halves && half[k] > most ? half[k] : most;
        }
        buffer_printf(&table, "\n\n");
        any = any || halves;
        buffer_printf(&names, "%s%s", lines ? " " : "", d->rows[row].name);
        buffer_printf(&counts, "%s\"%d heads%s\"", lines ? " " : "", heads, seeds > 1 ? " of all seeds" : "");
        buffer_printf(&starts, "%s%.6g", lines++ ? " " : "", highest - least < 0.005 ? least : -1);
    }
    plot_text(&settings, "names", names.data);
    plot_text(&settings, "counts", counts.data);
    plot_text(&settings, "starts", starts.data);
    buffer_printf(&settings, "lines=%d;most=%d;halves=%d;", lines, most, any);
    char *name = picture_name(d, section, "heads-histogram");
    result =
        plot_picture(p, d, section, 0, "heads-histogram", name, &table, settings.data,
                     any ? "Heads by gate: bars after training, line at half of the steps, dotted where all gates started. Grey: "
                           "specialised heads, below 0.1 (local attention) and above 0.9 (memory)."
                         : "Heads by gate: bars after training, dotted where all gates started. Grey: specialised heads, below 0.1 "
                           "(local attention) and above 0.9 (memory).",
                     e);
    free(name);
    buffer_free(&table);
    buffer_free(&settings);
    buffer_free(&names);
    buffer_free(&counts);
    buffer_free(&starts);
    return result;
}

int heads_plots(struct plots *p, const struct report_data *d, int section, struct error *e) {
    static struct head_map m;
    bool shown[REPORT_ROWS] = {false};
    int lines = 0;
    if (strcmp(d->sections[section].task, "gates") != 0) return 0;
    for (int row = 0; row < d->row_count && lines < LINES; row++) lines += shown[row] = head_map_first(&m, d, section, row);
    if (!lines) return 0;
    int result = map_plot(p, d, section, shown, e);
    return result ? result : histogram_plot(p, d, section, shown, e);
}
