/* report_paper.c - our numbers beside the paper's, and what differs, from results/paper/TABLE.csv.
 *
 * The file holds the paper's numbers (kind row), its settings beside ours (kind setting; {key} is filled in from experiment.ini)
 * and remarks (kind note). The form of the table follows from its sections: "pg19" (perplexities, here) or "fine_tuned:32768:start"
 * (pass key, report_paper_passkey.c)
 * or "summary:rouge1" (report_paper_summary.c). Perplexities per token of different tokenizers do not compare; what does is each
 * model's negative log likelihood relative to a common row of the same table. */
#include "csv_io.h"
#include "report_paper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER "kind,name,ours,section,value,unit,note"

static int take_line(void *data, const char *path, int line, int count, char **fields, struct error *e) {
    struct paper *p = data;
    struct paper_line x = {.value = NAN};
    (void)count;
    if (strcmp(fields[PAPER_KIND], "row") == 0) {
        if (csv_parse_real(path, line, "value", fields[PAPER_VALUE], false, &x.value, e) != 0) return -1;
    } else if (strcmp(fields[PAPER_KIND], "setting") != 0 && strcmp(fields[PAPER_KIND], "note") != 0) {
        return fail(e, "%s:%d: kind '%s' is none of row, setting, note", path, line, fields[PAPER_KIND]);
    }
    for (int i = 0; i < PAPER_COLUMNS; i++) x.field[i] = xstrdup(fields[i]);
    p->line = xrealloc(p->line, (size_t)p->count + 1, sizeof *p->line);
    p->line[p->count++] = x;
    return 0;
}

static void paper_free(struct paper *p) {
    for (int i = 0; i < p->count; i++)
        for (int j = 0; j < PAPER_COLUMNS; j++) free(p->line[i].field[j]);
    free(p->line);
}

const struct paper_line *paper_find(const struct paper *p, const char *name, const char *section) {
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->line[i].field[PAPER_KIND], "row") == 0 && strcmp(p->line[i].field[PAPER_NAME], name) == 0 &&
            strcmp(p->line[i].field[PAPER_SECTION], section) == 0)
            return &p->line[i];
    return NULL;
}

/* Beside the folder of the results, in the working directory, or in the program's tree; malloc'd, NULL: nowhere. */
static char *table_path(const struct report_data *d) {
    char *beside = xprintf("%s/../paper/%s.csv", d->folder, d->table), *path = xprintf("results/paper/%s.csv", d->table);
    if (access(beside, R_OK) == 0) {
        free(path);
        return beside;
    }
    char *found = project_file(path);
    free(beside);
    free(path);
    return found;
}

/* ---- what differs ---- */
/* "task limit", "experiment seeds": of such a section; "stage:fine_tune lr": of that stage, else of the budget; other keys: of the
 * row that stands for all, the first stage, the budget, the experiment, a task. */
static const char *setting(const struct report_data *d, const char *row, const char *key) {
    const char *const order[] = {"stage ", "budget", "experiment", "task "};
    size_t kind = strcspn(key, " ");
    if (strncmp(key, "stage:", 6) == 0 && key[kind]) {
        char *stage = xprintf("stage %.*s", (int)kind - 6, key + 6);
        const char *own = report_setting(d, stage, key + kind + 1);
        free(stage);
        return own ? own : report_setting(d, "budget", key + kind + 1);
    }
    if (key[kind]) {
        for (int i = 0; i < d->setting_count; i++)
            if (strncmp(d->settings[i].section, key, kind) == 0 && strcmp(d->settings[i].key, key + kind + 1) == 0)
                return d->settings[i].value;
        return NULL;
    }
    char *section = xprintf("row %s", row);
    const char *value = report_setting(d, section, key);
    free(section);
    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        for (int i = 0; i < d->setting_count && !value; i++)
            if (strncmp(d->settings[i].section, order[k], strlen(order[k])) == 0 && strcmp(d->settings[i].key, key) == 0)
                value = d->settings[i].value;
    return value;
}

static char *filled_in(const struct report_data *d, const char *row, const char *text) {
    struct text_buffer b = {0};
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "{");
        buffer_add(&b, at, n);
        at += n;
        const char *end = *at ? strchr(at, '}') : NULL;
        char key[64];
        if (!*at) break;
        if (!end || end - at > 60) {
            buffer_printf(&b, "%s", at);
            break;
        }
        snprintf(key, sizeof key, "%.*s", (int)(end - at - 1), at + 1);
        const char *value = setting(d, row, key);
        buffer_printf(&b, "%s", value ? value : "?");
        at = end + 1;
    }
    return b.data ? b.data : xstrdup("");
}

static void settings_table(struct table *t, const struct report_data *d, const struct paper *p) {
    static const char *const heads[] = {"<", "<paper", "<here"};
    const char *row = d->row_count ? d->rows[0].name : "";
    for (int i = 0; i < d->row_count; i++)
        if (strcmp(d->rows[i].architecture, "infini") == 0) row = d->rows[i].name;
    *t = (struct table){.heads = heads, .columns = 3};
    for (int i = 0; i < p->count; i++) {
        char *const *x = p->line[i].field;
        if (strcmp(x[PAPER_KIND], "setting") != 0) continue;
        char *ours = filled_in(d, row, x[PAPER_OURS]);
        table_cell(t, "%s", x[PAPER_NAME]);
        table_cell(t, "%s", x[PAPER_VALUE]);
        table_cell(t, "%s", ours);
        free(ours);
    }
}

/* Where the paper's rows come from, as far as the file says it; one line for all sections of a row. */
static void say_sources(struct page *doc, const struct paper *p) {
    bool any = false;
    for (int i = 0; i < p->count; i++) {
        char *const *x = p->line[i].field;
        bool again = strcmp(x[PAPER_KIND], "row") != 0 || !*x[PAPER_NOTE];
        for (int j = 0; j < i && !again; j++)
            again = strcmp(p->line[j].field[PAPER_NAME], x[PAPER_NAME]) == 0 &&
                    strcmp(p->line[j].field[PAPER_NOTE], x[PAPER_NOTE]) == 0;
        if (again) continue;
        if (!any) document_text(doc, "What the paper's rows are taken from:");
        any = true;
        bool plain = !strchr(x[PAPER_SECTION], ':'); /* "pg19", "memory": words of their own */
        document_item(doc, "%s%s%s: %s.", x[PAPER_NAME], plain ? ", " : "", plain ? x[PAPER_SECTION] : "", x[PAPER_NOTE]);
    }
}

/* ---- the rows ---- */
struct base {
    double paper, ours; /* negative log likelihood of the row to which the others are set in relation */
};

static void section_cells(struct table *t, const struct report_data *d, int section, const struct paper_line *x, const char *ours,
                          struct base *base) {
    double bits = *ours ? report_bits(d, section, ours, -1).value : NAN, nats = x ? log(x->value) : NAN;
    if (isnan(base->paper) && !isnan(bits) && !isnan(nats)) *base = (struct base){nats, bits};
    table_cell(t, isnan(nats) ? "–" : "%s", x ? x->field[PAPER_VALUE] : "");
    table_cell(t, isnan(nats / base->paper) ? "–" : "%+.1f %%", unsigned_zero(100 * (nats / base->paper - 1), 1));
    table_cell(t, isnan(bits) ? "–" : "%.4f", bits);
    table_cell(t, isnan(bits / base->ours) ? "–" : "%+.1f %%", unsigned_zero(100 * (bits / base->ours - 1), 1));
}

static void one_row(struct table *t, const struct report_data *d, const struct paper *p, const char *name, const char *ours,
                    const int *sections, int count, struct base *base) {
    const struct paper_line *memory = *name ? paper_find(p, name, "memory") : NULL;
    table_cell(t, "%s", *name ? name : "–");
    table_cell(t, "%s", *ours ? ours : "–");
    static const char *const held[] = {"carried_elements", "attended_elements"};
    double formula = NAN, apart;
    if (*ours) report_shape(d, ours, &formula, &apart);
    table_cell(t, "%s", memory ? show_number(memory->value) : "–");
    table_cell(t, "%s", show_number(formula));
    for (int i = 0; i < 2; i++) table_cell(t, "%s", show_number(*ours ? report_training(d, ours, held[i]) : NAN));
    for (int k = 0; k < count; k++)
        section_cells(t, d, sections[k], *name ? paper_find(p, name, d->sections[sections[k]].name) : NULL, ours, &base[k]);
}

/* One line per model of the paper, then our rows that it does not have. */
static int perplexity_table(struct table *t, const struct report_data *d, const struct paper *p) {
    static const char *heads[6 + 4 * REPORT_SECTIONS];
    static char words[4 * REPORT_SECTIONS][64];
    int sections[REPORT_SECTIONS], count = 0, base_row = -1;
    struct base base[REPORT_SECTIONS];
    for (int s = 0; s < d->section_count && count < 8; s++) {
        bool known = false;
        for (int i = 0; i < p->count && !known; i++) known = strcmp(p->line[i].field[PAPER_SECTION], d->sections[s].name) == 0;
        if (!known || strcmp(d->sections[s].task, "language_modeling") != 0) continue;
        base[count] = (struct base){NAN, NAN};
        sections[count++] = s;
    }
    for (int i = 0; i < p->count && base_row < 0; i++)
        if (strcmp(p->line[i].field[PAPER_KIND], "row") == 0 && report_row_index(d, p->line[i].field[PAPER_OURS]) >= 0)
            base_row = i;
    if (!count || base_row < 0) return 1;
    heads[0] = "<paper's row", heads[1] = "<ours", heads[2] = "paper: state elements", heads[3] = "ours, by formula";
    heads[4] = "carried", heads[5] = "attended";
    for (int k = 0; k < count; k++) {
        static const char *const format[] = {"%.20s: paper, token ppl", "NLL against %.30s", "%.20s: ours, bits/byte",
                                             "against %.30s"};
        for (int j = 0; j < 4; j++) {
            const char *of = j == 1   ? p->line[base_row].field[PAPER_NAME]
                             : j == 3 ? p->line[base_row].field[PAPER_OURS]
                                      : d->sections[sections[k]].name;
            snprintf(words[4 * k + j], sizeof *words, format[j], of);
            heads[6 + 4 * k + j] = words[4 * k + j];
        }
    }
    *t = (struct table){.heads = heads, .columns = 6 + 4 * count};
    bool done[REPORT_ROWS] = {false};
    for (int i = 0; i < p->count; i++) {
        const char *name = p->line[i].field[PAPER_NAME], *ours = p->line[i].field[PAPER_OURS];
        bool again = strcmp(p->line[i].field[PAPER_KIND], "row") != 0;
        for (int j = 0; j < i && !again; j++) again = strcmp(p->line[j].field[PAPER_NAME], name) == 0;
        if (again) continue;
        int row = report_row_index(d, ours);
        if (row >= 0) done[row] = true;
        one_row(t, d, p, name, row >= 0 ? ours : "", sections, count, base);
    }
    for (int i = 0; i < d->row_count; i++)
        if (!done[i]) one_row(t, d, p, "", d->rows[i].name, sections, count, base);
    return 0;
}

int paper_section(struct page *doc, const struct report_data *d, FILE *out, struct error *e) {
    if (!*d->table) return 1;
    char *path = table_path(d);
    if (!path) {
        fprintf(out, "results/paper/%s.csv, the paper's numbers, is not found; the report leaves them out\n", d->table);
        return 1;
    }
    struct paper p = {0};
    struct table t;
    int result = csv_read(path, HEADER, false, take_line, &p, e);
    const char *form = p.count ? p.line[0].field[PAPER_SECTION] : "";
    bool summary = strncmp(form, "summary:", 8) == 0, passkey = !summary && strchr(form, ':');
    free(path);
    int (*make)(struct table *, const struct report_data *, const struct paper *) = summary   ? paper_summary_table
                                                                                    : passkey ? paper_passkey_table
                                                                                              : perplexity_table;
    if (result == 0 && make(&t, d, &p) == 0) {
        const char *number = strncmp(d->table, "table", 5) == 0 ? d->table + 5 : d->table;
        document_heading(doc, "Beside the paper's Table %s", number);
        document_text(
            doc, "%s",
            summary
                ? "F1 x 100. Other data, sizes and tokenizers: the paper's rows stand here for the scale of its numbers, not to be "
                  "compared with ours. Of ours the longest budget of each section; tokens read: mean, since a shorter text is read "
                  "whole."
            : passkey ? "In per cent, start/middle/end as in the paper; n: samples of each of our figures, of the training "
                        "seeds together that have all lengths of their section. Intervals are in the tables of the sections."
                      : "Perplexities per token of different tokenizers, sizes and budgets do not compare. What can be set side by "
                        "side is each model's negative log likelihood relative to the same row of the same table.");
        document_table(doc, &t);
        fprintf(out, "Beside the paper's Table %s\n", number);
        table_print(&t, out);
        fputc('\n', out);
        table_free(&t);
        say_sources(doc, &p);
        document_text(doc, "What differs:");
        settings_table(&t, d, &p);
        document_table(doc, &t);
        table_free(&t);
        for (int i = 0; i < p.count; i++)
            if (strcmp(p.line[i].field[PAPER_KIND], "note") == 0) document_item(doc, "%s", p.line[i].field[PAPER_NOTE]);
    }
    paper_free(&p);
    return result;
}
