/* report_paper_passkey.c - our pass key results in the form of the paper's Table 3: start/middle/end by length, the paper's
 * token-level accuracy above our digit accuracy and exact match.
 *
 * Sections of the paper's file are "fine_tuned:32768:start"; its first part names the section (or the stage) of the experiment.
 * Rows and sections that the paper does not have stand below. */
#include "report_paper.h"
#include "report_retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Equal but for '-' and '_', up to n characters of b. */
static bool alike(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((a[i] == '-' ? '_' : a[i]) != (b[i] == '-' ? '_' : b[i]) || !a[i]) return false;
    return a[n] == 0;
}

struct beside {
    const struct report_data *d;
    const struct paper *p;
    struct values lengths; /* of the paper and of ours */
};

/* "fine_tuned" */
static size_t setting_size(const char *section) { return strcspn(section, ":"); }

static int section_of(const struct beside *b, const char *section) {
    size_t n = setting_size(section);
    for (int by_stage = 0; by_stage < 2; by_stage++)
        for (int s = 0; s < b->d->section_count; s++) {
            const struct report_section *x = &b->d->sections[s];
            if (strcmp(x->task, "passkey") == 0 && alike(by_stage ? x->stage : x->name, section, n)) return s;
        }
    return -1;
}

/* The group that compares: the paper's filler, one needle, digits; else the first one that has lengths. */
static bool group_of(struct group *out, const struct report_data *d, int section) {
    static struct group g[RETRIEVAL_LIMIT];
    int n = groups_of(g, d, section), found = -1;
    for (int k = 0; k < n; k++) {
        if (!passkey_lengths(&g[k]).n) continue;
        bool paper = strcmp(condition_value(g[k].condition, "haystack"), "repeated") == 0 &&
                     strcmp(condition_value(g[k].condition, "needles"), "1") == 0 &&
                     strcmp(condition_value(g[k].condition, "value"), "digits") == 0;
        if (found < 0 || paper) found = k;
        if (paper) break;
    }
    if (found >= 0) *out = g[found];
    return found >= 0;
}

/* start/middle/end of the paper; false: it has none of them. */
static bool paper_cell(char out[64], const struct beside *b, const char *name, const char *section, int64_t length) {
    size_t at = 0;
    bool any = false;
    for (int k = 0; passkey_places[k]; k++) {
        char key[128];
        snprintf(key, sizeof key, "%.*s:%lld:%s", (int)setting_size(section), section, (long long)length, passkey_places[k]);
        const struct paper_line *x = paper_find(b->p, name, key);
        at += (size_t)snprintf(out + at, 64 - at, "%s%.16s", k ? "/" : "", x ? x->field[PAPER_VALUE] : "–");
        any = any || x;
    }
    return any;
}

static bool our_cell(char out[128], const struct group *g, const char *row, const char *metric, int64_t length) {
    char room[CONDITION_SIZE];
    struct probe p = group_probe(g, row, 0, room);
    struct values seeds = complete_seeds(g, row, 0);
    p.seeds = &seeds;
    size_t at = 0;
    int64_t low = 0, high = 0;
    p.metric = metric;
    p.context = length;
    for (int k = 0; passkey_places[k]; k++) {
        p.position = passkey_places[k];
        struct pooled x = probe_value(&p);
        if (x.value.n)
            at += (size_t)snprintf(out + at, 128 - at, "%s%.4g", k ? "/" : "", round(1000 * x.value.value) / 10);
        else
            at += (size_t)snprintf(out + at, 128 - at, "%s–", k ? "/" : "");
        if (x.value.n && (!low || x.value.n < low)) low = x.value.n;
        if (x.value.n > high) high = x.value.n;
    }
    if (high) snprintf(out + at, 128 - at, low == high ? ", n %lld" : ", n %lld–%lld", (long long)low, (long long)high);
    return high > 0;
}

static bool has_row(const struct group *g, const char *row) {
    char cell[128];
    struct values lengths = passkey_lengths(g);
    for (int l = 0; l < lengths.n; l++)
        if (our_cell(cell, g, row, "exact_match", lengths.v[l])) return true;
    return false;
}

static void our_lines(struct table *t, const struct beside *b, const struct group *g, const char *setting, const char *row) {
    static const char *const metrics[] = {"digit_accuracy", "exact_match"};
    static const char *const words[] = {"ours: digit accuracy", "ours: exact match"};
    for (int m = 0; m < 2; m++) {
        table_cell(t, "%s", setting);
        table_cell(t, "%s", row);
        table_cell(t, "%s", words[m]);
        for (int l = 0; l < b->lengths.n; l++) {
            char cell[128];
            bool any = our_cell(cell, g, row, metrics[m], b->lengths.v[l]);
            table_cell(t, "%s", any ? cell : passkey_skipped(g, row, b->lengths.v[l]) ? "skipped" : "–");
        }
    }
}

/* The first line of the paper's file with this model and setting. */
static bool first_of(const struct paper *p, int line) {
    char *const *x = p->line[line].field;
    if (strcmp(x[PAPER_KIND], "row") != 0) return false;
    for (int i = 0; i < line; i++)
        if (strcmp(p->line[i].field[PAPER_NAME], x[PAPER_NAME]) == 0 &&
            setting_size(p->line[i].field[PAPER_SECTION]) == setting_size(x[PAPER_SECTION]) &&
            strncmp(p->line[i].field[PAPER_SECTION], x[PAPER_SECTION], setting_size(x[PAPER_SECTION])) == 0)
            return false;
    return true;
}

static void paper_lines(struct table *t, const struct beside *b, int line) {
    char *const *x = b->p->line[line].field, setting[48];
    int section = section_of(b, x[PAPER_SECTION]);
    struct group g;
    snprintf(setting, sizeof setting, "%.*s", (int)setting_size(x[PAPER_SECTION]), x[PAPER_SECTION]);
    table_cell(t, "%s", setting);
    table_cell(t, "%s", x[PAPER_NAME]);
    table_cell(t, "paper: token-level accuracy");
    for (int l = 0; l < b->lengths.n; l++) {
        char cell[64];
        table_cell(t, "%s", paper_cell(cell, b, x[PAPER_NAME], x[PAPER_SECTION], b->lengths.v[l]) ? cell : "–");
    }
    if (section >= 0 && group_of(&g, b->d, section) && has_row(&g, x[PAPER_OURS])) our_lines(t, b, &g, setting, x[PAPER_OURS]);
}

/* Is the row in the paper's table in this section? */
static bool in_paper(const struct beside *b, const char *row, int section) {
    for (int i = 0; i < b->p->count; i++) {
        char *const *x = b->p->line[i].field;
        if (strcmp(x[PAPER_KIND], "row") == 0 && strcmp(x[PAPER_OURS], row) == 0 && section_of(b, x[PAPER_SECTION]) == section)
            return true;
    }
    return false;
}

int paper_passkey_table(struct table *t, const struct report_data *d, const struct paper *p) {
    static const char *heads[3 + RETRIEVAL_LIMIT];
    static char words[RETRIEVAL_LIMIT][32];
    struct beside b = {.d = d, .p = p};
    struct group g;
    bool any = false;
    for (int s = 0; s < d->section_count; s++) {
        if (strcmp(d->sections[s].task, "passkey") != 0 || !group_of(&g, d, s)) continue;
        struct values x = passkey_lengths(&g);
        for (int l = 0; l < x.n; l++) values_add(&b.lengths, x.v[l]);
        any = true;
    }
    if (!any) return 1;
    for (int i = 0; i < p->count; i++) {
        const char *colon = strchr(p->line[i].field[PAPER_SECTION], ':');
        if (colon && atoll(colon + 1) > 0) values_add(&b.lengths, atoll(colon + 1));
    }
    heads[0] = "<after", heads[1] = "<model", heads[2] = "<measure, start/middle/end";
    for (int l = 0; l < b.lengths.n; l++) {
        snprintf(words[l], sizeof words[l], "%.30s", show_length(b.lengths.v[l]));
        heads[3 + l] = words[l];
    }
    *t = (struct table){.heads = heads, .columns = 3 + b.lengths.n};
    for (int i = 0; i < p->count; i++)
        if (first_of(p, i)) paper_lines(t, &b, i);
    for (int s = 0; s < d->section_count; s++) { /* what the paper does not have */
        if (strcmp(d->sections[s].task, "passkey") != 0 || !group_of(&g, d, s)) continue;
        for (int i = 0; i < d->row_count; i++)
            if (!in_paper(&b, d->rows[i].name, s) && has_row(&g, d->rows[i].name))
                our_lines(t, &b, &g, d->sections[s].name, d->rows[i].name);
    }
    return 0;
}
