/* report_recall.c - the tables of the task recall: exact match and estimated capacity by number of pairs, by memory writes. */
#include "report_document.h"
#include "report_retrieval.h"

#include <math.h>
#include <string.h>

static struct pooled at(const struct group *g, const char *metric, const char *row, int knock_out, int64_t pairs) {
    char room[CONDITION_SIZE], all[CONDITION_SIZE], setting[40];
    struct probe p = group_probe(g, row, knock_out, room);
    snprintf(setting, sizeof setting, "pairs=%lld", (long long)pairs);
    condition_with(all, room, setting);
    p.condition = all;
    p.metric = metric;
    p.position = "all";
    return probe_value(&p);
}

/* The formula of capacity with v from the chance that the task wrote. */
static double capacity_of(const struct group *g, int64_t pairs, double share) {
    double v = 1 / at(g, "exact_match_chance", NULL, 0, pairs).value.value;
    return v > 1 ? (double)pairs * (v * share - 1) / (v - 1) : NAN;
}

struct pooled recall_at(const struct group *g, const char *metric, const char *row, int knock_out, int64_t pairs) {
    struct pooled x = at(g, metric, row, knock_out, pairs);
    if (strcmp(metric, "capacity") == 0 && x.value.low >= x.value.high) { /* all answers agree: the width that their share has */
        struct interval share = at(g, "exact_match", row, knock_out, pairs).value;
        double low = capacity_of(g, pairs, share.low), high = capacity_of(g, pairs, share.high);
        if (low < high) x.value.low = low, x.value.high = high;
    }
    return x;
}

double recall_commonest(const struct group *g, int64_t pairs, double *capacity) {
    /* Where keys are rewritten more values are read than count, and they are not independent. */
    bool rewritten = strcmp(condition_value(g->condition, "kind"), "rewrite") == 0;
    double chance = at(g, "exact_match_chance", NULL, 0, pairs).value.value;
    double share = rewritten ? NAN : commonest_share(pairs, round(1 / chance));
    *capacity = capacity_of(g, pairs, share);
    return share;
}

/* " 10 % exact, 10 % a symbol" as the task wrote it. */
static void chance_words(char out[96], const struct group *g) {
    double chance[2];
    struct values pairs = recall_pairs(g);
    for (int k = 0; k < 2; k++)
        chance[k] =
            pairs.n ? recall_at(g, k ? "symbol_accuracy_chance" : "exact_match_chance", NULL, 0, pairs.v[0]).value.value : NAN;
    if (isnan(chance[0]))
        snprintf(out, 96, "not known");
    else
        snprintf(out, 96, "%.3g %% exact, %.3g %% a symbol", 100 * chance[0], 100 * chance[1]);
}

static const char *const measures[] = {"exact_match", "symbol_accuracy", "capacity"};
static const char *const measure_words[] = {"exact match (%)", "symbol accuracy (%)", "capacity (pairs)"};

/* A line per row, knock-out and measure, a column per number of pairs. */
static void pairs_table(struct table *t, const struct group *g, bool knocked, bool by_seed) {
    static const char *heads[RETRIEVAL_LIMIT + 4];
    static char words[RETRIEVAL_LIMIT][64];
    struct values pairs = recall_pairs(g);
    int fixed = 0;
    heads[fixed++] = "<row";
    if (knocked) heads[fixed++] = "<knock-out";
    heads[fixed++] = "<";
    if (by_seed) heads[fixed++] = "seed";
    for (int k = 0; k < pairs.n; k++) {
        int64_t low = 0, high = 0;
        for (int i = 0; i < g->d->row_count; i++) {
            int64_t n = recall_at(g, "exact_match", g->d->rows[i].name, 0, pairs.v[k]).value.n;
            if (n && (!low || n < low)) low = n;
            if (n > high) high = n;
        }
        snprintf(words[k], sizeof words[k], "%lld pair%s", (long long)pairs.v[k], pairs.v[k] == 1 ? "" : "s");
        size_t at = strlen(words[k]);
        if (!by_seed && low == high)
            snprintf(words[k] + at, sizeof words[k] - at, " (n = %lld)", (long long)low);
        else if (!by_seed)
            snprintf(words[k] + at, sizeof words[k] - at, " (n = %lld–%lld)", (long long)low, (long long)high);
        heads[fixed + k] = words[k];
    }
    *t = (struct table){.heads = heads, .columns = fixed + pairs.n};
    for (int i = 0; i < g->d->row_count; i++)
        for (int m = 0; m < 3; m++)
            for (int way = knocked; way < (knocked ? 3 : 1); way++) {
                struct pooled x[RETRIEVAL_LIMIT], *any = NULL;
                for (int k = 0; k < pairs.n; k++) {
                    x[k] = recall_at(g, measures[m], g->d->rows[i].name, way, pairs.v[k]);
                    if (!any || x[k].seeds > any->seeds) any = &x[k];
                }
                if (!any || !any->seeds || (by_seed && (any->seeds < 2 || m == 1)) || (knocked && m == 1)) continue;
                for (int s = 0; s < (by_seed ? any->seeds : 1); s++) {
                    table_cell(t, "%s", g->d->rows[i].name);
                    if (knocked) table_cell(t, "%s", knock_out_words[way]);
                    table_cell(t, "%s", measure_words[m]);
                    if (by_seed) table_cell(t, "%lld", (long long)any->seed[s]);
                    for (int k = 0; k < pairs.n; k++) {
                        int own = 0;
                        while (own < x[k].seeds && x[k].seed[own] != any->seed[s]) own++;
                        if (!x[k].seeds || (by_seed && own == x[k].seeds))
                            table_cell(t, "–");
                        else if (by_seed)
                            table_cell(t, m == 2 ? "%.2f" : "%.1f", (m == 2 ? 1 : 100) * x[k].by_seed[own]);
                        else
                            table_cell(t, "%s", m == 2 ? show_interval(x[k].value, 2, false) : show_share(x[k].value));
                    }
                }
            }
}

/* The control has no samples: exact match and capacity are expectations. */
static void commonest_lines(struct table *t, const struct group *g) {
    struct values pairs = recall_pairs(g);
    for (int m = 0; m < 3; m += 2) {
        double capacity;
        if (!pairs.n || isnan(recall_commonest(g, pairs.v[0], &capacity))) return;
        table_cell(t, "the commonest value, whatever the key");
        table_cell(t, "%s", measure_words[m]);
        for (int k = 0; k < pairs.n; k++) {
            double share = recall_commonest(g, pairs.v[k], &capacity);
            if (isnan(share))
                table_cell(t, "–");
            else
                table_cell(t, m ? "%.2f" : "%.1f", m ? capacity : 100 * share);
        }
    }
}

static void group_part(struct page *doc, const struct group *g, const struct plots *plots, FILE *out) {
    struct table t;
    char chance[96];
    chance_words(chance, g);
    document_text(doc, "Condition: %s.", show_condition(g));
    pairs_table(&t, g, false, false);
    if (t.count) {
        commonest_lines(&t, g);
        report_table(doc, &t, out, "Exact match, symbol accuracy and estimated capacity by number of pairs");
        document_text(
            doc,
            "Capacity: k = n (v a - 1) / (v - 1) for a share a of exact answers, n pairs and v possible values: how many "
            "pairs are stored if the others are guessed; below 0 where fewer are right than guessing gives. Intervals, 95 "
            "%%: Wilson for exact match and, put into the formula, for capacity; bootstrap over samples otherwise; with "
            "several training seeds, which answer the same samples, Wilson over the samples of one for exact match (n: answers "
            "of all), Student's t with the spread between seeds for the others; symbol accuracy is cut to 0 to 100 %%, and one "
            "that reaches them goes as far as Wilson's with all symbols wrong or all right. Chance: "
            "%s. Last lines: what a model scores that knows which values it has read, and not with which key, if it "
            "always gives the commonest (expected over draws). Who does no better has bound no value to a key.",
            chance);
    }
    table_free(&t);
    pairs_table(&t, g, false, true);
    if (t.count) report_table(doc, &t, NULL, "Recall by training seed");
    table_free(&t);
    say_no_twin(doc, g->d);
    recall_answers(&t, g);
    if (t.count)
        report_table(
            doc, &t, NULL,
            "Questions and answers (difference of exact match in points, paired over samples and seeds; above 0 is better)");
    table_free(&t);
    pairs_table(&t, g, true, false);
    if (t.count) report_table(doc, &t, NULL, "Recall with the compressive memory knocked out");
    table_free(&t);
    writes_table(&t, g);
    if (t.count) {
        report_table(doc, &t, out, "Exact match (%) by memory writes between pair and answer");
        document_text(doc, "All numbers of pairs together. 0: the pair lies in the segment of the answer.");
    }
    table_free(&t);
    report_figures(doc, g->d, g->section, g->index, plots);
}

void recall_section(struct page *doc, const struct report_data *d, int section, const struct plots *plots, FILE *out) {
    static struct group g[RETRIEVAL_LIMIT];
    int n = groups_of(g, d, section);
    report_title(doc, d, section);
    fprintf(out, "%s%s%s\n\n", d->sections[section].name, *d->sections[section].stage ? " after stage " : "",
            d->sections[section].stage);
    report_protocol(doc, &d->sections[section]);
    for (int k = 0; k < n; k++) group_part(doc, &g[k], plots, out);
}
