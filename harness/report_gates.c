/* report_gates.c - experiments whose rows are a grid of initial gates and learning rates of the gates: what was retrieved and what
 * the gates learnt, as a table; the picture's numbers (plot_retrieval.c) are the same. */
#include "report_document.h"
#include "report_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The row's own setting, else the budget's, else what stands. */
static double setting(const struct report_data *d, const char *row, const char *key, double otherwise) {
    char section[80];
    snprintf(section, sizeof section, "row %.64s", row);
    const char *value = report_setting(d, section, key);
    if (!value) value = report_setting(d, "budget", key);
    return value ? atof(value) : otherwise;
}

/* Index of x among n ascending values, put in if it is new; -1: there is no room. */
static int place(double *v, int *n, double x) {
    int i = 0;
    while (i < *n && v[i] < x) i++;
    if (i < *n && v[i] <= x) return i;
    if (*n == GATE_GRID) return -1;
    memmove(v + i + 1, v + i, (size_t)(*n - i) * sizeof *v);
    v[i] = x;
    ++*n;
    return i;
}

bool gate_grid(struct gate_grid *g, const struct report_data *d) {
    *g = (struct gate_grid){.inits = 0};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < d->row_count; i++) {
            if (!row_has_memory(&d->rows[i])) continue;
            int a = place(g->init, &g->inits, setting(d, d->rows[i].name, "gate_init", 0));
            int b = place(g->rate, &g->rates, setting(d, d->rows[i].name, "gate_rate", 10));
            if (a < 0 || b < 0) return false;
            if (!k) continue;
            if (g->row[a][b]) return false; /* rows differ in something else */
            g->row[a][b] = i + 1;
        }
    return g->inits > 1 && g->rates > 1;
}

bool gate_cell(struct gate_outcome *o, const struct report_data *d, int section, int row) {
    static struct group groups[RETRIEVAL_LIMIT];
    if (strcmp(d->sections[section].task, "passkey") != 0 || groups_of(groups, d, section) < 1) return false;
    const struct group *g = &groups[0];
    struct values lengths = passkey_lengths(g);
    char room[CONDITION_SIZE], where[24];
    *o = (struct gate_outcome){.least = INFINITY, .most = -INFINITY};
    if (!lengths.n) return false;
    struct probe p = group_probe(g, d->rows[row].name, 0, room);
    p.metric = "exact_match";
    p.context = o->length = lengths.v[0];
    for (int k = 0; k < 3; k++) {
        p.position = passkey_places[k];
        struct pooled x = probe_value(&p);
        o->exact[k] = x.value.n ? x.value.value : NAN;
        if (!k) o->n = x.value.n;
    }
    p.metric = "gate";
    p.context = 0;
    p.position = where;
    int gates = 0;
    for (int layer = 0; layer < 64; layer++)
        for (int head = 0;; head++, gates++) {
            snprintf(where, sizeof where, "%d.%d", layer, head);
            struct pooled x = probe_value(&p);
            if (!x.value.n) break;
            o->mean += x.value.value;
            o->least = fmin(o->least, x.value.value);
            o->most = fmax(o->most, x.value.value);
        }
    o->mean /= gates;
    return gates && o->n;
}

void gates_section(struct page *doc, const struct report_data *d, const struct plots *plots, FILE *out) {
    struct gate_grid grid;
    struct gate_outcome o = {.n = 0};
    static char words[2 * REPORT_SECTIONS][96];
    static const char *heads[2 + 2 * REPORT_SECTIONS] = {"initial gate", "learning rate x"};
    int columns = 0, section[REPORT_SECTIONS];
    if (!gate_grid(&grid, d)) return;
    for (int s = 0; s < d->section_count; s++) {
        bool any = false;
        for (int row = 0; row < d->row_count && !any; row++) any = gate_cell(&o, d, s, row);
        if (!any) continue;
        section[columns] = s;
        snprintf(words[2 * columns], sizeof words[0], "%s, %s: start / middle / end (%%)", d->sections[s].name,
                 show_length(o.length));
        snprintf(words[2 * columns + 1], sizeof words[0], "gates");
        heads[2 + 2 * columns] = words[2 * columns];
        heads[3 + 2 * columns] = words[2 * columns + 1];
        columns++;
    }
    if (!columns) return;
    struct table t = {.heads = heads, .columns = 2 + 2 * columns};
    for (int a = 0; a < grid.inits; a++)
        for (int b = 0; b < grid.rates; b++) {
            table_cell(&t, "%.2f", 1 / (1 + exp(-grid.init[a])));
            table_cell(&t, "%g", grid.rate[b]);
            for (int c = 0; c < columns; c++) {
                if (!grid.row[a][b] || !gate_cell(&o, d, section[c], grid.row[a][b] - 1)) {
                    table_cell(&t, "–");
                    table_cell(&t, "–");
                    continue;
                }
                table_cell(&t, "%.0f / %.0f / %.0f", 100 * o.exact[0], 100 * o.exact[1], 100 * o.exact[2]);
                table_cell(&t, "%.2f (%.2f to %.2f)", o.mean, o.least, o.most);
            }
        }
    document_heading(doc, "Gates: initial value and learning rate");
    report_table(doc, &t, out, "Exact match and gates learnt, by initial gate and learning rate of the gates");
    document_text(doc,
                  "Exact match at the shortest length of each section by position of the needle; intervals stand in the section's "
                  "own table. Gates after training: mean of all layers and heads (least to largest).");
    report_figures(doc, d, -1, 0, plots);
}
