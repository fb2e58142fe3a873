/* report_memory.c - the tables of the task memory: Table 1 of the paper for the rows of an experiment, what they carry, what the
 * process takes. Pictures are in plot_memory.c; `infinibench memory` prints formulas without a results folder. */
#include "report_memory.h"
#include "report_document.h"
#include "report_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the paper ---- */

#define PAPER_HEADER "model,footprint,context_length,update,retrieval,preset,context,memory_size,compression,note"

static int take_paper(void *data, const char *path, int line, int count, char **fields, struct error *e) {
    struct paper_memory *p = data;
    (void)count;
    if (p->count == FOOTPRINT_ROWS) return fail(e, "%s:%d: more than %d rows", path, line, FOOTPRINT_ROWS);
    if (*fields[P_CONTEXT] && csv_parse_integer(path, line, "context", fields[P_CONTEXT], &p->context[p->count], e) != 0) return -1;
    for (int i = 0; i < P_COLUMNS; i++) p->field[p->count][i] = xstrdup(fields[i]);
    p->count++;
    return 0;
}

int paper_memory_read(struct paper_memory *p, struct error *e) {
    char *path = project_file("results/paper/memory.csv");
    if (!path) return fail(e, "results/paper/memory.csv, the paper's numbers, is not found; run from the folder of the project");
    int status = csv_read(path, PAPER_HEADER, false, take_paper, p, e);
    free(path);
    return status;
}

void paper_memory_free(struct paper_memory *p) {
    for (int i = 0; i < p->count; i++)
        for (int j = 0; j < P_COLUMNS; j++) free(p->field[i][j]);
    p->count = 0;
}

/* ---- what was measured ---- */

int memory_contexts(int64_t out[MEMORY_LIMIT], const struct report_data *d, int section) {
    struct values x = {.n = 0};
    for (int64_t i = 0; i < d->result_count; i++)
        if (d->result_section[i] == section && strcmp(d->results[i].metric, "formula_elements") == 0)
            values_add(&x, d->results[i].context);
    if (x.n > MEMORY_LIMIT) x.n = MEMORY_LIMIT;
    memcpy(out, x.v, (size_t)x.n * sizeof *out);
    return x.n;
}

int memory_shapes(const char *out[MEMORY_LIMIT], const struct report_data *d, int section) {
    int n = 0;
    for (int64_t i = 0; i < d->result_count; i++) {
        const char *shape = condition_value(d->results[i].condition, "shape");
        bool known = !*shape || d->result_section[i] != section;
        for (int k = 0; k < n && !known; k++) known = strcmp(out[k], shape) == 0;
        if (!known && n < MEMORY_LIMIT) out[n++] = d->results[i].condition + strlen("shape=");
    }
    return n;
}

double memory_value(const struct report_data *d, int section, int row, const char *shape, const char *metric, int64_t context) {
    double sum = 0;
    int n = 0;
    for (int64_t i = 0; i < d->result_count; i++) {
        const struct result_row *r = &d->results[i];
        if (d->result_section[i] != section || r->context != context || strcmp(r->metric, metric) != 0 ||
            strcmp(r->row, d->rows[row].name) != 0 || strcmp(condition_value(r->condition, "shape"), shape) != 0)
            continue;
        sum += r->value;
        n++;
    }
    return n ? sum / n : NAN;
}

double memory_largest(const struct report_data *d, int section, const char *shape, const char *metric, int64_t context) {
    double most = NAN;
    for (int row = 0; row < d->row_count; row++) most = fmax(most, memory_value(d, section, row, shape, metric, context));
    return most;
}

bool memory_config(const struct report_data *d, int row, struct model_config *c) {
    const char *preset = report_setting(d, "budget", "preset");
    struct error ignored;
    char section[80];
    memset(c, 0, sizeof *c);
    if (config_preset(c, preset ? preset : "micro", &ignored) != 0) return false;
    c->arch = baseline_find(d->rows[row].architecture, &ignored);
    if (!c->arch || !c->arch->footprint) return false;
    options_init(&c->options, c->arch->options);
    snprintf(section, sizeof section, "row %s", d->rows[row].name);
    for (int i = 0; i < d->setting_count; i++) {
        const struct report_setting *x = &d->settings[i];
        if (strcmp(x->section, section) != 0) continue;
        if (options_has(&c->options, x->key))
            options_set(&c->options, x->key, x->value, section, &ignored);
        else
            config_set(c, x->key, x->value, section, &ignored);
    }
    return true;
}

/* ---- tables ---- */

static bool measured(const struct report_data *d, int section, int row) {
    for (int64_t i = 0; i < d->result_count; i++)
        if (d->result_section[i] == section && strcmp(d->results[i].row, d->rows[row].name) == 0) return true;
    return false;
}

static void formula_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {"<row",           "<model of Table 1", "<memory footprint", "<context length",
                                        "<memory update", "<memory retrieval"};
    *t = (struct table){.heads = heads, .columns = 6};
    for (int i = 0; i < d->row_count; i++) {
        struct model_config c;
        if (!measured(d, section, i) || !memory_config(d, i, &c)) continue;
        const struct footprint *f = c.arch->footprint(&c);
        table_cell(t, "%s", d->rows[i].name);
        table_cell(t, "%s", f->model);
        table_cell(t, "%s", f->formula);
        table_cell(t, "%s", f->length);
        table_cell(t, "%s", f->update);
        table_cell(t, "%s", f->retrieval);
    }
}

static const char *const counted[] = {"formula_elements", "carried_elements", "carried_bytes", "counter_bytes",
                                      "attended_elements"};
#define COUNTED 5

static bool alike(const struct report_data *d, int section, int row, int64_t a, int64_t b) {
    for (int m = 0; m < COUNTED; m++) {
        double x = memory_value(d, section, row, "", counted[m], a), y = memory_value(d, section, row, "", counted[m], b);
        if (x != y && !(isnan(x) && isnan(y))) return false;
    }
    return true;
}

/* A line for each stretch of contexts in which nothing changes; of many stretches every second, first and last among them. */
static void carried_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {"<row",           "<context",        "formula: elements", "carried: elements",
                                        "carried: bytes", "counters: bytes", "attended: elements"};
    int64_t context[MEMORY_LIMIT];
    int n = memory_contexts(context, d, section), first[MEMORY_LIMIT + 1];
    *t = (struct table){.heads = heads, .columns = 2 + COUNTED};
    for (int i = 0; i < d->row_count; i++) {
        int stretches = 0;
        for (int k = 0; k < n; k++)
            if (k == 0 || !alike(d, section, i, context[k - 1], context[k])) first[stretches++] = k;
        first[stretches] = n;
        for (int j = 0; j < stretches; j++) {
            int64_t from = context[first[j]], to = context[first[j + 1] - 1];
            if (isnan(memory_value(d, section, i, "", counted[0], from))) continue;
            if (stretches > 6 && j && (stretches - 1 - j) % 2) continue;
            table_cell(t, "%s", d->rows[i].name);
            table_cell(t, from == to ? "%s" : "%s to %s", show_length(from), show_length(to));
            for (int m = 0; m < COUNTED; m++) table_cell(t, "%s", show_integer(memory_value(d, section, i, "", counted[m], from)));
        }
    }
}

/* A line a row, a column a context. bytes: the formula in bytes, else the ratio to Memorizing Transformers. */
static void context_table(struct table *t, const struct report_data *d, int section, const char *shape, bool bytes) {
    static const char *heads[MEMORY_LIMIT + 1];
    static char words[MEMORY_LIMIT][24];
    const char *metric = bytes ? "formula_bytes" : "ratio_to_memorizing";
    int64_t context[MEMORY_LIMIT];
    int n = memory_contexts(context, d, section);
    heads[0] = "<row";
    for (int k = 0; k < n; k++) {
        snprintf(words[k], sizeof words[k], "%s", show_length(context[k]));
        heads[k + 1] = words[k];
    }
    *t = (struct table){.heads = heads, .columns = n + 1};
    for (int i = 0; i < d->row_count; i++) {
        if (isnan(memory_value(d, section, i, shape, metric, context[0]))) continue;
        table_cell(t, "%s", d->rows[i].name);
        for (int k = 0; k < n; k++) {
            double x = memory_value(d, section, i, shape, metric, context[k]);
            if (bytes)
                table_cell(t, x > 0 ? "%sB" : "0", show_number(x));
            else
                table_cell(t, x == 1 ? "%.0f" : x < 0.1 ? "%.3f" : x < 10 ? "%.2f" : x < 1000 ? "%.1f" : "%.0f", x);
        }
    }
}

static void resident_table(struct table *t, const struct report_data *d, int section) {
    static const char *const heads[] = {"<row",
                                        "tokens read",
                                        "carried",
                                        "growth while reading",
                                        "arena of the state",
                                        "resident at first",
                                        "resident at last",
                                        "peak",
                                        "tokens/s at first",
                                        "at last"};
    int64_t context[MEMORY_LIMIT];
    int n = memory_contexts(context, d, section);
    *t = (struct table){.heads = heads, .columns = 10};
    for (int i = 0; i < d->row_count; i++) {
        int first = -1, last = -1;
        for (int k = 0; k < n; k++)
            if (!isnan(memory_value(d, section, i, "", "resident_bytes", context[k]))) last = k, first = first < 0 ? k : first;
        if (first < 0) continue;
        table_cell(t, "%s", d->rows[i].name);
        table_cell(t, "%s", show_length(context[last]));
        table_cell(t, "%s", show_bytes(memory_value(d, section, i, "", "carried_bytes", context[last])));
        table_cell(t, "%s", show_bytes(memory_value(d, section, i, "", "resident_growth_bytes", context[last])));
        table_cell(t, "%s", show_bytes(memory_value(d, section, i, "", "arena_bytes", context[last])));
        table_cell(t, "%s", show_bytes(memory_value(d, section, i, "", "resident_bytes", context[first])));
        table_cell(t, "%s", show_bytes(memory_value(d, section, i, "", "resident_bytes", context[last])));
        table_cell(t, "%s", show_bytes(memory_value(d, section, i, "", "resident_peak_bytes", context[last])));
        table_cell(t, "%s", show_number(memory_value(d, section, i, "", "tokens_per_second", context[first])));
        table_cell(t, "%s", show_number(memory_value(d, section, i, "", "tokens_per_second", context[last])));
    }
}

void memory_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out) {
    struct table t;
    const char *shape[MEMORY_LIMIT];
    report_title(doc, d, section);
    fprintf(out, "%s%s%s\n\n", d->sections[section].name, *d->sections[section].stage ? " after stage " : "",
            d->sections[section].stage);
    report_protocol(doc, &d->sections[section]);
    formula_table(&t, d, section);
    report_table(doc, &t, NULL, "The rows in the letters of the paper's Table 1");
    document_text(
        doc, "N segment length, S segments read, l layers, H heads of keys and values, H_q of queries, d_key = d_value size of a "
             "head, T = N S tokens.");
    carried_table(&t, d, section);
    report_table(doc, &t, out, "Memory by the formula, carried and attended to");
    document_text(
        doc,
        "Formula: the paper's counting. Carried: counted in the state that the stream held after so many tokens, per text; – where "
        "it was not streamed that far. Transformer-XL carries the layer inputs from which keys and values are computed again, a "
        "half of its formula where heads x head size = width. The plain transformer's formula is a cache of the whole text, what "
        "it carries here ends at its window; Memorizing Transformers' is a bank of the whole text, here it has the size of its "
        "option. RMT's counts its rows twice in every layer, they are carried once, at the input; so are AutoCompressors', whose "
        "formula goes on growing with the text where here the summaries of the last `kept` segments stay. Counters: position, ring "
        "heads and the inputs of an open segment.");
    context_table(&t, d, section, "", false);
    report_table(doc, &t, out, "Elements of Memorizing Transformers at equal shape over those of the row, by formula");
    resident_table(&t, d, section);
    if (t.count) {
        report_table(doc, &t, out, "Resident memory of the process while one text is streamed");
        document_text(doc,
                      "Growth: resident at the end less resident after the first calls, when every buffer of a call had been used: "
                      "what reading a longer text costs. A ring takes memory as it fills, up to its arena. Tokens/s are those of "
                      "the machine as it was; speed is measured by infinibench bench stream.");
    } else {
        table_free(&t);
    }
    int n = memory_shapes(shape, d, section);
    for (int i = 0; i < n; i++) {
        char title[200];
        double parameters = memory_largest(d, section, shape[i], "parameter_bytes", 0);
        snprintf(title, sizeof title, "By formula at the shape of %s (its parameters: %s%s)", shape[i], show_number(parameters),
                 isnan(parameters) ? " not published" : "B");
        context_table(&t, d, section, shape[i], true);
        report_table(doc, &t, out, title);
    }
    report_figures(doc, d, section, 0, plots);
}
